"""Ask for consent before a file found in the working folder sends a variable to a foreign host, and store the answer.

Consent is stored as pairs (variable, host) for the path of a file. An edit that adds no pair needs no new consent. An
edit that adds one needs consent for that pair alone.

Knows: the file with the consents, terminals. Must not know: which pairs a configuration makes (config/pairs.py).
Invariants: without a terminal nothing is asked and nothing is allowed; a worker never asks; nothing printed here
contains control characters; the store is ignored if another user could have written it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping

from a2py.cli import state
from a2py.cli.control import NUMBER
from a2py.cli.exits import CONFIG, Stop
from a2py.config import Config
from a2py.config.pairs import Pair, Use, is_file

# -- the store -------------------------------------------------------------------------------------------------


def store_path() -> str:
    return os.path.join(state.state_dir(os.environ), "trust.json")


def file_key(path: str) -> str:
    """Return the name under which a file's consents are stored: its folder after following links, and its own name.

    The last link is not followed. A link in another folder to the same file is another file, since that folder decides
    what it includes."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def read_store() -> dict[str, frozenset[Pair]]:
    """Return path → allowed pairs.

    A store that is damaged, or that another user owns or can write, is ignored."""
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


def _write_store(store: Mapping[str, frozenset[Pair]]) -> None:
    data: dict[str, dict[str, list[str]]] = {}
    for path, pairs in sorted(store.items()):
        for variable, host in sorted(pairs):
            data.setdefault(path, {}).setdefault(variable, []).append(host)
    state.write(store_path(), json.dumps(data, indent=2) + "\n", 0o600)


def read_approved(path: str) -> frozenset[Pair]:
    """Return the pairs that the file at `path` is allowed."""
    return read_store().get(file_key(path), frozenset())


def approve(path: str, pairs: Collection[Pair]) -> None:
    """Allow `pairs` to the file at `path`, besides what it is allowed already."""
    with state.lock("trust"):  # on Windows the last of two writers wins, and a2py asks again
        store, key = read_store(), file_key(path)
        _write_store({**store, key: store.get(key, frozenset()) | frozenset(pairs)})


def revoke(path: str) -> bool:
    """Take back what the file at `path` is allowed. Return whether it was allowed anything."""
    with state.lock("trust"):
        store = read_store()
        if store.pop(file_key(path), None) is None:
            return False
        _write_store(store)
    return True


# -- the question ----------------------------------------------------------------------------------------------


def list_unapproved(config: Config, path: str) -> dict[Pair, Use]:
    """Return the pairs of `config` that need consent first; nothing if none of them would really send anything."""
    if not config.pairs:
        return {}
    approvals = read_approved(path)
    pairs = {pair: use for pair, use in config.pairs.items() if pair not in approvals}
    return pairs if any(use.live for use in pairs.values()) else {}


def require(config: Config, path: str, *, ask: bool) -> None:
    """Return if all that `config` sends is allowed, or if the user allows it now. Raise Stop (exit code 78) otherwise.

    `ask`: False for a reload, which must not wait for a person."""
    pairs = list_unapproved(config, path)
    if not pairs:
        return
    name, folder = escape_text(os.path.basename(path)), escape_text(os.path.dirname(file_key(path)))
    lines = format_pairs(pairs)
    if not ask:
        summary = "; ".join(line.strip() for line in lines)
        raise Stop(
            f"{name} would now send {summary}, which is not allowed. To allow it, run `a2py trust` in {folder}, "
            "then reload",
            CONFIG,
        )
    what = "\n".join(
        (
            f"{name} was found in this folder{_describe_owner(path)}. It sends secrets to hosts that are not "
            "their own provider's:",
            *lines,
        )
    )
    if not can_ask():
        raise Stop(
            f"{what}\nThat needs your consent, and there is no terminal to ask on. If you trust the file, run "
            f"`a2py trust` in {folder}, "
            f"or name the file: --config {name}",
            CONFIG,
        )
    sys.stderr.write(f"{what}\nAllow this file to send them there? (`a2py trust --undo` takes it back) [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Stop(f"not allowed, so nothing was sent. Edit {name}, or name another file with --config", CONFIG)
    approve(path, pairs)


def can_ask() -> bool:
    """Return whether a person can read a question and answer it.

    A worker shares the terminal with its parent, so it must not ask."""
    return NUMBER not in os.environ and all(
        stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)
    )


def format_pairs(pairs: Mapping[Pair, Use]) -> list[str]:
    return [f"  {format_pair(pair)} ({escape_text(use.place)})" for pair, use in sorted(pairs.items())]


def format_pair(pair: Pair) -> str:
    """Return `OPENAI_API_KEY → gateway.example`; a literal key is named by its file."""
    secret = escape_text(pair.variable)
    return f"{f'a key in {secret}' if is_file(pair.variable) else secret} → {escape_text(pair.host)}"


def escape_text(text: str) -> str:
    """Return `text` with control, format and separator characters escaped, so that a name cannot change the terminal or
    hide a part of itself."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _describe_owner(path: str) -> str:
    """Return who owns a file, if that is another user."""
    if sys.platform == "win32":
        return ""
    import pwd

    try:
        owner = os.stat(path).st_uid
        return "" if owner == os.geteuid() else f" and belongs to {escape_text(pwd.getpwuid(owner).pw_name)}"
    except (OSError, KeyError):
        return ""
