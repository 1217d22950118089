"""`a2py trust`, and the question before a file that merely lay in the working folder sends a variable to a stranger's host.

Consent is kept as pairs of variable and host for the path of a file. So an edit that adds no pair asks nothing, and one that adds a pair asks
for that pair alone, whoever made it.

Knows: the file of consents, terminals. Must not know: which pairs a configuration makes (config/pairs.py).
Invariants: without a terminal nothing is asked and nothing is allowed; a worker never asks; what is shown of a file holds no control characters;
consents that another user could have written do not count.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from a2py.cli import options, state
from a2py.cli.exits import CONFIG, FAILED, OK, USAGE, Stop
from a2py.cli.terminal import Terminal
from a2py.cli.workers import NUMBER
from a2py.config import Config
from a2py.config.dotenv import locate
from a2py.config.pairs import Pair, Use, is_file

EXAMPLES = (
    "a2py trust                    the file here may send what it sends today",
    "a2py trust --show             what that is, and what is allowed already",
    "a2py trust --list             every file that was allowed something",
    "a2py trust --undo             take it back",
)

# -- the file of consents ------------------------------------------------------------------------------------------------


def store_path() -> str:
    return os.path.join(state.state_dir(os.environ), "trust.json")


def file_key(path: str) -> str:
    """The name under which a file's consents are kept: its folder without links, and its own name. A link to another folder's file is
    another file."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def read_store() -> dict[str, frozenset[Pair]]:
    """Path → what it may send. A file of consents that is damaged, or that somebody else could have written, counts as empty."""
    try:
        with open(store_path(), encoding="utf-8") as file:
            if hasattr(os, "getuid"):
                status = os.fstat(file.fileno())
                if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
                    return {}
            told = json.load(file)
        return {
            str(path): frozenset(Pair(str(name), str(host)) for name, hosts in variables.items() for host in hosts)
            for path, variables in told.items()
        }
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}


@contextmanager
def _alone() -> Iterator[None]:
    """One writer at a time, where the system can do that."""
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
    told: dict[str, dict[str, list[str]]] = {}
    for path, pairs in sorted(store.items()):
        for variable, host in sorted(pairs):
            told.setdefault(path, {}).setdefault(variable, []).append(host)
    state.write(store_path(), json.dumps(told, indent=2) + "\n", 0o600)


def allowed(path: str) -> frozenset[Pair]:
    return read_store().get(file_key(path), frozenset())


def allow(path: str, pairs: Collection[Pair]) -> None:
    with _alone():
        store = read_store()
        key = file_key(path)
        _write_store({**store, key: store.get(key, frozenset()) | frozenset(pairs)})


def take_back(path: str) -> bool:
    """Whether there was anything to take back."""
    with _alone():
        store = read_store()
        there = store.pop(file_key(path), None) is not None
        if there:
            _write_store(store)
    return there


# -- the question --------------------------------------------------------------------------------------------------------


def missing(config: Config, path: str) -> dict[Pair, Use]:
    """What `config` would send and nobody has allowed; empty where nothing of it would really be sent."""
    found = {pair: use for pair, use in config.pairs.items() if pair not in allowed(path)} if config.pairs else {}
    return found if any(use.live for use in found.values()) else {}


def require(config: Config, path: str, *, ask: bool) -> None:
    """Return if everything that `config` sends is allowed, or is now. Stop (exit code 78) if not. `ask`: a person may be asked."""
    pairs = missing(config, path)
    if not pairs:
        return
    shown = printable(os.path.basename(path))
    folder = printable(os.path.dirname(file_key(path)))
    if not ask:
        told = "; ".join(line.strip() for line in _lines(pairs))
        raise Stop(f"{shown} would now send {told}, which nobody has allowed: `a2py trust` in {folder} allows it", CONFIG)
    lines = "\n".join(_lines(pairs))
    what = f"{shown} lay in this folder, nobody has named it{_writer(path)}. It sends secrets to hosts that are not their own:\n{lines}"
    if not can_ask():
        raise Stop(
            f"{what}\nThat needs your consent, and there is no terminal to ask on. If you trust the file: `a2py trust` in {folder}, "
            f"or name the file: --config {shown}",
            CONFIG,
        )
    err = sys.stderr
    err.write(f"{what}\nAllow that, for this file and these hosts? (`a2py trust --undo` takes it back) [y/N] ")
    err.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Stop(f"not allowed, so nothing was started: edit {shown}, or name another file with --config", CONFIG)
    allow(path, pairs)


def can_ask() -> bool:
    """Whether a person reads standard error and writes to standard input. A worker shares them with its parent."""
    streams = (sys.stdin, sys.stderr)
    return NUMBER not in os.environ and all(stream is not None and stream.isatty() for stream in streams)


def _lines(pairs: Mapping[Pair, Use]) -> list[str]:
    return [f"  {secret_name(pair.variable)} → {printable(pair.host)} ({printable(use.place)})" for pair, use in sorted(pairs.items())]


def secret_name(variable: str) -> str:
    """A secret as it is shown: a variable, or a file's own key."""
    return f"a key in {printable(variable)}" if is_file(variable) else printable(variable)


def printable(text: str) -> str:
    """`text` without what could change a terminal or hide itself (control, format and private characters)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in text)


def _writer(path: str) -> str:
    """Who wrote a file, where that is somebody else."""
    if sys.platform == "win32":
        return ""
    import pwd

    try:
        owner = os.stat(path).st_uid
        return "" if owner == os.geteuid() else f" (it belongs to {printable(pwd.getpwuid(owner).pw_name)})"
    except (OSError, KeyError):
        return ""


# -- the command ---------------------------------------------------------------------------------------------------------


def run(name: str, argv: list[str]) -> int:
    from a2py.cli.source import process_env
    from a2py.config import load

    parser = options.Parser(
        name, "Allow the configuration in this folder to send the variables that it names to the hosts that it names.", EXAMPLES
    )
    parser.add_argument("file", nargs="?", help="default: the one that a2py would find here")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--show", action="store_true", help="show what it sends and what is allowed, change nothing")
    what.add_argument("--list", action="store_true", help="every file that was allowed something")
    what.add_argument("--undo", action="store_true", help="take back what the file was allowed")
    args = parser.read(argv)
    shown, env, cwd = Terminal(), process_env(), os.getcwd()
    if args.list:
        if args.file:
            raise Stop("--list shows every file: leave the name out", USAGE)
        for path, pairs in sorted(read_store().items()):
            shown.print(printable(path))
            for pair in sorted(pairs):
                shown.print(f"  {secret_name(pair.variable)} → {printable(pair.host)}")
        return OK
    located = locate(args.file, env, cwd) if args.file else locate(None, {k: v for k, v in env.items() if k not in _NAMING}, cwd)
    if located is None or not (args.file or located.here):
        raise Stop("there is no a2py.yaml or litellm_config.yaml in this folder: name a file", FAILED)
    path, named = located.path, printable(os.path.basename(located.path))
    if args.undo:
        shown.print(f"{named}: taken back" if take_back(path) else f"{named} was allowed nothing")
        return OK
    config, before = load(path, env, cwd, found=True), allowed(path)
    if not args.show and set(config.pairs) - before:
        allow(path, config.pairs)
    shown.print(f"{named} {'sends' if args.show else 'may send'}:" if config.pairs else f"{named} sends no variable to a stranger's host")
    for line, pair in zip(_lines(config.pairs), sorted(config.pairs), strict=True):
        shown.print(line + (": allowed" if args.show and pair in before else ": not allowed" if args.show else ""))
    return OK


#: Variables that name a file, which is then not merely found.
_NAMING = ("A2PY_CONFIG", "CONFIG_FILE_PATH")
