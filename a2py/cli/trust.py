"""`a2py trust`, and the question before a file that was found in the working folder sends a variable to a foreign host.

Consent is stored as pairs (variable, host) for the path of a file. An edit that adds no pair needs no new consent. An edit that adds one needs
consent for that pair alone, whoever made it.

Knows: the file with the consents, terminals. Must not know: which pairs a configuration makes (config/pairs.py).
Invariants: without a terminal nothing is asked and nothing is allowed; a worker never asks; nothing printed here contains control characters;
a store that another user could have written is ignored.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from a2py.cli import options, state
from a2py.cli.control import NUMBER
from a2py.cli.exits import CONFIG, FAILED, OK, USAGE, Stop
from a2py.cli.terminal import Terminal
from a2py.config import Config
from a2py.config.dotenv import locate
from a2py.config.pairs import Pair, Use, is_file

EXAMPLES = (
    "a2py trust                    allow the file in this folder what it sends today",
    "a2py trust --show             print what it sends, and whether that is allowed",
    "a2py trust --list             print every file that is allowed something",
    "a2py trust --undo             take it back",
)
#: Variables that name the file. `a2py trust` is about the file that is found without them.
_NAMING = ("A2PY_CONFIG", "CONFIG_FILE_PATH")

# -- the store -----------------------------------------------------------------------------------------------------------


def store_path() -> str:
    return os.path.join(state.state_dir(os.environ), "trust.json")


def file_key(path: str) -> str:
    """Return the name under which a file's consents are stored: its folder after following links, and its own name.

    The last link is not followed. A link in another folder to the same file is another file, since that folder decides what it includes."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def read_store() -> dict[str, frozenset[Pair]]:
    """Return path → allowed pairs. A damaged store counts as empty, and so does one that another user owns or can write."""
    try:
        with open(store_path(), encoding="utf-8") as file:
            if hasattr(os, "geteuid"):
                status = os.fstat(file.fileno())
                if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
                    return {}
            data = json.load(file)
        return {
            path: frozenset(Pair(str(variable), str(host)) for variable, hosts in variables.items() for host in hosts)
            for path, variables in data.items()
        }
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}


@contextmanager
def _lock() -> Iterator[None]:
    """Let one process change the store at a time. Windows has no flock: there, the last of two writers wins, and a2py asks again."""
    directory = state.make_private(state.state_dir(os.environ))
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with state.writing(directory):
        lock = open(os.path.join(directory, "trust.lock"), "w")  # noqa: SIM115  (closed below)
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_store(store: Mapping[str, frozenset[Pair]]) -> None:
    data: dict[str, dict[str, list[str]]] = {}
    for path, pairs in sorted(store.items()):
        for variable, host in sorted(pairs):
            data.setdefault(path, {}).setdefault(variable, []).append(host)
    state.write(store_path(), json.dumps(data, indent=2) + "\n", 0o600)


def approved(path: str) -> frozenset[Pair]:
    """Return the pairs that the file at `path` is allowed."""
    return read_store().get(file_key(path), frozenset())


def approve(path: str, pairs: Collection[Pair]) -> None:
    """Allow `pairs` to the file at `path`, besides what it is allowed already."""
    with _lock():
        store, key = read_store(), file_key(path)
        _write_store({**store, key: store.get(key, frozenset()) | frozenset(pairs)})


def revoke(path: str) -> bool:
    """Take back what the file at `path` is allowed. Return whether it was allowed anything."""
    with _lock():
        store = read_store()
        if store.pop(file_key(path), None) is None:
            return False
        _write_store(store)
    return True


# -- the question --------------------------------------------------------------------------------------------------------


def unapproved(config: Config, path: str) -> dict[Pair, Use]:
    """Return the pairs of `config` that need consent first; nothing if none of them would really send anything."""
    if not config.pairs:
        return {}
    known = approved(path)
    pairs = {pair: use for pair, use in config.pairs.items() if pair not in known}
    return pairs if any(use.live for use in pairs.values()) else {}


def require(config: Config, path: str, *, ask: bool) -> None:
    """Return if all that `config` sends is allowed, or if the user allows it now. Raise Stop (exit code 78) otherwise.

    `ask`: False for a reload, which must not wait for a person."""
    pairs = unapproved(config, path)
    if not pairs:
        return
    name, folder = printable(os.path.basename(path)), printable(os.path.dirname(file_key(path)))
    lines = _format(pairs)
    if not ask:
        summary = "; ".join(line.strip() for line in lines)
        raise Stop(f"{name} would now send {summary}, which is not allowed. To allow it, run `a2py trust` in {folder}, then reload", CONFIG)
    what = "\n".join(
        (f"{name} was found in this folder{_format_owner(path)}. It sends secrets to hosts that are not their own provider's:", *lines)
    )
    if not can_ask():
        raise Stop(
            f"{what}\nThat needs your consent, and there is no terminal to ask on. If you trust the file, run `a2py trust` in {folder}, "
            f"or name the file: --config {name}",
            CONFIG,
        )
    sys.stderr.write(f"{what}\nAllow this file to send them there? (`a2py trust --undo` takes it back) [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Stop(f"not allowed, so nothing was sent. Edit {name}, or name another file with --config", CONFIG)
    approve(path, pairs)


def can_ask() -> bool:
    """Return whether a person can read a question and answer it. A worker shares the terminal with its parent, so it must not ask."""
    return NUMBER not in os.environ and all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def _format(pairs: Mapping[Pair, Use]) -> list[str]:
    return [f"  {format_pair(pair)} ({printable(use.place)})" for pair, use in sorted(pairs.items())]


def format_pair(pair: Pair) -> str:
    """Return `OPENAI_API_KEY → gateway.example`; a literal key is named by its file."""
    secret = printable(pair.variable)
    return f"{f'a key in {secret}' if is_file(pair.variable) else secret} → {printable(pair.host)}"


def printable(text: str) -> str:
    """Return `text` with control, format and separator characters escaped, so that a name cannot change the terminal or hide a part of itself."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _format_owner(path: str) -> str:
    """Return who owns a file, if that is another user."""
    if sys.platform == "win32":
        return ""
    import pwd

    try:
        owner = os.stat(path).st_uid
        return "" if owner == os.geteuid() else f" and belongs to {printable(pwd.getpwuid(owner).pw_name)}"
    except (OSError, KeyError):
        return ""


# -- the command ---------------------------------------------------------------------------------------------------------


def run(name: str, argv: list[str]) -> int:
    from a2py.cli.source import process_env
    from a2py.config import load

    parser = options.Parser(name, "Allow the configuration in this folder to send the variables that it names to its hosts.", EXAMPLES)
    parser.add_argument("file", nargs="?", help="default: the one that a2py finds here")
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--show", action="store_true", help="print what it sends, and whether that is allowed; change nothing")
    actions.add_argument("--list", action="store_true", help="print every file that is allowed something")
    actions.add_argument("--undo", action="store_true", help="take back what the file is allowed")
    args = parser.read(argv)
    terminal = Terminal()
    if args.list:
        if args.file:
            raise Stop("--list prints every file: leave the name out", USAGE)
        for path, pairs in sorted(read_store().items()):
            terminal.print("\n".join((printable(path), *(f"  {format_pair(pair)}" for pair in sorted(pairs)))))
        return OK
    env, cwd = process_env(), os.getcwd()
    located = locate(args.file, {key: value for key, value in env.items() if key not in _NAMING}, cwd)
    if located is None or not (args.file or located.untrusted):
        raise Stop("there is no a2py.yaml or litellm_config.yaml in this folder: name a file", FAILED)
    path, basename = located.path, printable(os.path.basename(located.path))
    if args.undo:
        terminal.print(f"{basename}: taken back" if revoke(path) else f"{basename} was not allowed anything")
        return OK
    config, before = load(path, env, cwd, untrusted=True), approved(path)
    if not config.pairs:
        terminal.print(f"{basename} sends no variable to a foreign host")
        return OK
    if not args.show and config.pairs.keys() - before:
        approve(path, config.pairs)
    terminal.print(f"{basename} {'sends' if args.show else 'may send'}:")
    for line, pair in zip(_format(config.pairs), sorted(config.pairs), strict=True):
        terminal.print(line + (f": {'allowed' if pair in before else 'not allowed'}" if args.show else ""))
    return OK
