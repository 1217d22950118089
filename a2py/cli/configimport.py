"""`a2py config import`: write a configuration that is made from another proxy's.

Knows: files, what an import reports. Must not know: any other program's format (a2py.config.imports).
Invariants: a file that exists is replaced only with --force, never the file that is read; the new file has mode 0600
from its first byte, because it may contain keys; no key is printed, except by --output -.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from a2py.cli import state
from a2py.cli.consent import escape_text
from a2py.cli.exits import FAILED, OK, Stop
from a2py.cli.source import read_environment
from a2py.cli.terminal import Terminal, pluralize
from a2py.config import Config, load
from a2py.config.collapse import collapse
from a2py.config.imports.draft import Draft, Source
from a2py.config.imports.recognize import translate
from a2py.config.tree import MAX_BYTES


def import_file(args: argparse.Namespace, terminal: Terminal) -> int:
    draft = translate(read_text(args.file), Source(args.file, env=read_environment()))
    if not draft.models:  # a file without models serves what the environment has keys for, at somebody's cost
        report_notes(draft, terminal)
        raise Stop(f"{args.file} has no model that can be asked, so nothing is written", FAILED)
    if args.output == "-":
        terminal.print(draft.render().rstrip("\n"))
        report_notes(draft, terminal)
        return OK
    path = os.path.abspath(args.output)
    if os.path.realpath(path) == os.path.realpath(args.file):
        raise Stop(f"{args.output} is the file that is read: name another one with -o", FAILED)
    if os.path.lexists(path) and not args.force:  # also a dangling link, which writing would follow
        raise Stop(f"{args.output} exists: --force replaces it, -o writes another file", FAILED)
    state.make_private(os.path.dirname(path))
    state.write(path, draft.render(), 0o600)
    report_notes(draft, terminal)
    config = load(path, read_environment(), os.getcwd())
    report_problems(config, terminal)
    parts = [pluralize(len(config.deployments), "model"), pluralize(len(draft.routes), "route")]
    terminal.print(f"{args.output} written from {args.file} ({draft.source.program}): {', '.join(parts)}")
    terminal.print(f"next: {format_start(args.output, draft)}")
    return OK


def read_text(name: str) -> str:
    """Return the text of the file that is imported."""
    try:
        with open(os.path.expanduser(name), "rb") as file:
            return file.read(MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Stop(f"{name} is not UTF-8 text: save it as UTF-8", FAILED) from None
    except OSError as error:
        cure = "Name a config.json or .env: a2py config import FILE"
        raise Stop(f"{name} can't be read: {error.strerror or type(error).__name__}. {cure}", FAILED) from None


def report_notes(draft: Draft, terminal: Terminal) -> None:
    """Tell what could not be carried, and what means something else now."""
    if draft.notes:
        terminal.note(f"not carried from {draft.source.name}, or different in a2py:")
    for note in draft.notes:
        terminal.note(f"  - {escape_text(note)}")


def report_problems(config: Config, terminal: Terminal) -> None:
    """Tell what is still wrong with the new file: mostly a variable that is not set here."""
    for problem in collapse(dep.problem for dep in config.deployments if dep.problem):
        terminal.warn(problem)


def format_start(output: str, draft: Draft) -> str:
    """Return the command that serves the new file where the other program listened.

    It names the file: one that is only found in the folder has to be trusted first."""
    command = ["a2py", "--config", output]
    command += ["--host", draft.host] if draft.host else []
    command += ["--port", draft.port] if draft.port else []
    return shlex.join(command) if sys.platform != "win32" else " ".join(command)
