"""`a2py trust`: show, give and take back consent for a file that is found in the working folder.

Knows: flags, the consents (consent.py). Must not know: which pairs a configuration makes (config/pairs.py).
"""

from __future__ import annotations

import os

from a2py.cli import options
from a2py.cli.consent import approve, escape_text, format_pair, format_pairs, read_approved, read_store, revoke
from a2py.cli.exits import FAILED, OK, USAGE, Stop
from a2py.cli.source import read_environment
from a2py.cli.terminal import Terminal
from a2py.config import load
from a2py.config.dotenv import locate

EXAMPLES = (
    "a2py trust                    allow the file in this folder what it sends today",
    "a2py trust --show             print what it sends, and whether that is allowed",
    "a2py trust --list             print every file that is allowed something",
    "a2py trust --undo             take it back",
)
#: Variables that name the file. `a2py trust` is about the file that is found without them.
_NAMING = ("A2PY_CONFIG", "CONFIG_FILE_PATH")


def parser(name: str) -> options.Parser:
    description = "Allow the configuration in this folder to send the variables that it names to its hosts."
    out = options.Parser(name, description, EXAMPLES)
    out.add_argument("file", nargs="?", help="default: the file that a2py finds here")
    actions = out.add_mutually_exclusive_group()
    actions.add_argument(
        "--show", action="store_true", help="print what it sends and whether that is allowed; change nothing"
    )
    actions.add_argument("--list", action="store_true", help="print every file that is allowed something")
    actions.add_argument("--undo", action="store_true", help="revoke what the file is allowed")
    return out


def run(name: str, argv: list[str]) -> int:
    args, terminal = parser(name).read(argv), Terminal()
    if args.list:
        if args.file:
            raise Stop("--list prints every file: leave the name out", USAGE)
        _list_consents(terminal)
        return OK
    env, cwd = read_environment(), os.getcwd()
    config_file = locate(args.file, {key: value for key, value in env.items() if key not in _NAMING}, cwd)
    if config_file is None or not (args.file or config_file.is_untrusted):
        raise Stop("there is no a2py.yaml or litellm_config.yaml in this folder: name a file", FAILED)
    path, basename = config_file.path, escape_text(os.path.basename(config_file.path))
    if args.undo:
        terminal.print(f"{basename}: consent revoked" if revoke(path) else f"{basename} was not allowed anything")
        return OK
    config, before = load(path, env, cwd, is_untrusted=True), read_approved(path)
    if not config.pairs:
        terminal.print(f"{basename} sends no variable to a foreign host")
        return OK
    if args.show:
        terminal.print(f"{basename} sends:")
        for line, pair in zip(format_pairs(config.pairs), sorted(config.pairs), strict=True):
            terminal.print(f"{line}: {'allowed' if pair in before else 'not allowed'}")
        return OK
    if config.pairs.keys() - before:
        approve(path, config.pairs)
    terminal.print("\n".join((f"{basename} may send:", *format_pairs(config.pairs))))
    return OK


def _list_consents(terminal: Terminal) -> None:
    """Print every file that is allowed something, and what."""
    for path, pairs in sorted(read_store().items()):
        terminal.print("\n".join((escape_text(path), *(f"  {format_pair(pair)}" for pair in sorted(pairs)))))
