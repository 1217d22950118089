"""`a2py env`: the environment of a client, printed for a shell.

Knows: flags. Must not know: any variable (clientenv.py).
"""

from __future__ import annotations

import os
import sys

from a2py.cli import options, running
from a2py.cli.clientenv import REMOVED_VARIABLES, SHELLS, client_env
from a2py.cli.exits import OK
from a2py.cli.source import read_environment
from a2py.cli.terminal import Terminal

EXAMPLES = (
    'eval "$(a2py env)"                        sh, bash, zsh',
    "a2py env --shell fish | source",
    "a2py env --shell powershell | Invoke-Expression",
    "a2py env --shell json                     for a program",
    "a2py env --shell settings                 for ~/.claude/settings.json (or: a2py setup claude)",
)


def parser(name: str) -> options.Parser:
    out = options.Parser(
        name, "Print the environment with which Claude Code and other clients use this proxy.", EXAMPLES
    )
    out.flags((running.URL, *options.LISTEN), options.SOURCE)
    out.add_argument("--shell", choices=tuple(SHELLS), help="the output's syntax (default: that of your shell)")
    return out


def run(name: str, argv: list[str]) -> int:
    args, terminal = parser(name).read(argv), Terminal()
    target = running.find_running(args, read_environment())
    if target is None:
        target = running.configure_target(args, read_environment(), running.find_url(args, os.environ))
        terminal.note(f"no a2py answers at {target.url} yet: start one with `a2py`")
    problem = running.describe_small_window(target)
    if problem:
        terminal.warn(problem)
    unset = tuple(name for name in REMOVED_VARIABLES if os.environ.get(name))
    terminal.print_exact(SHELLS[args.shell or guess_shell()](client_env(target), unset))
    return OK


def guess_shell() -> str:
    """Return the syntax of the user's shell, as far as the environment says."""
    if sys.platform == "win32":
        return "powershell"
    return "fish" if os.path.basename(os.environ.get("SHELL", "")) == "fish" else "sh"
