"""`a2py setup claude`: the environment of a client inside ~/.claude/settings.json, and back.

Knows: that file's shape (an object whose `env` maps variables to strings). Must not know: any variable (clientenv.py).
Invariants: every other key keeps its value and place; what was there before is kept beside it, and `--undo` puts back exactly what is still
ours; a file that is no JSON object is never touched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from a2py.cli import options, running, state
from a2py.cli.clientenv import REMOVED, ROUTE, client_env
from a2py.cli.exits import FAILED, OK, Stop
from a2py.cli.source import process_env
from a2py.cli.terminal import Terminal

EXAMPLES = ("a2py setup claude", "a2py setup claude --url http://gateway.local:4000", "a2py setup claude --undo")
#: Beside the settings: the file as it was, and what we changed in it.
BACKUP, RECORD = ".a2py-backup", ".a2py-record"


def settings_path(env: Mapping[str, str]) -> str:
    directory = env.get("CLAUDE_CONFIG_DIR", "").strip() or os.path.join(os.path.expanduser("~"), ".claude")
    return os.path.join(directory, "settings.json")


def leading_elsewhere(wanted: Mapping[str, str], env: Mapping[str, str], cwd: str) -> list[str]:
    """Variables of the user's and the project's settings files that would lead Claude Code past the proxy that `wanted` describes."""
    here = os.path.join(cwd, ".claude")
    found: dict[str, None] = {}
    for path in (settings_path(env), os.path.join(here, "settings.json"), os.path.join(here, "settings.local.json")):
        try:
            settings = _read(path)
        except Stop:
            continue  # Claude Code itself says what is wrong with it
        for name, value in ((settings or {}).get("env") or {}).items():
            if (name in ROUTE and value != wanted[name]) or (name in REMOVED and value):
                found[name] = None
    return list(found)


def run(name: str, argv: list[str]) -> int:
    parser = options.Parser(
        name, "Write the client's environment into Claude Code's settings, so that plain `claude` uses this proxy.", EXAMPLES
    )
    parser.add_argument("what", choices=("claude",), metavar="claude", help="whose settings are written")
    parser.add_argument("--undo", action="store_true", help="take it back")
    parser.flags((running.URL, *options.LISTEN), options.SOURCE)
    args = parser.read(argv)
    shown, path = Terminal(), settings_path(os.environ)
    if args.undo:
        left = undo(path)
        shown.print(f"{path}: taken back" + (f"; changed by somebody else since, and left: {', '.join(left)}" if left else ""))
        return OK
    target = running.present(args, process_env())
    if target is None:
        target = running.configured(args, process_env(), running.url_of(args, os.environ))
        shown.warn(f"no a2py answers at {target.url} yet: start one with `a2py`")
    env = client_env(target)
    write(path, env)
    shown.print(f"{path}: {len(env)} variables written, everything else kept (a2py setup claude --undo takes them back)")
    return OK


def _read(path: str) -> dict[str, Any] | None:
    """The object in `path`; None: there is no file. Stop: it is something else."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
        value = json.loads(text) if text.strip() else {}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Stop(f"{path} can't be read: {error.strerror or type(error).__name__}; nothing was changed", FAILED) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise Stop(f"{path} can't be read as JSON{place}: correct it first; nothing was changed", FAILED) from None
    if not isinstance(value, dict) or not isinstance(value.get("env"), (dict, type(None))):
        raise Stop(f"{path} is not an object with an object `env`: correct it first; nothing was changed", FAILED)
    return value


def _text(path: str) -> str:
    """The text of a file to the byte; "" where there is none."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write(path: str, env: Mapping[str, str]) -> None:
    """Put `env` into the settings at `path`. Said twice, what was there before the first time stays on record."""
    settings = _read(path)
    record = _read(path + RECORD)
    if record is None:
        had = settings if settings is not None else {}
        record = {"existed": settings is not None, "had_env": "env" in had, "before": {}, "written": {}}
        if settings is not None:
            record["mode"] = os.stat(path).st_mode & 0o777
            state.write(path + BACKUP, _text(path), 0o600)
    settings = settings if settings is not None else {}
    current: dict[str, Any] = settings.get("env") or {}
    settings["env"] = current
    for name in [name for name in record["written"] if name not in env]:
        _restore(current, record, name)
    for name, value in env.items():
        if name not in record["written"] or current.get(name) != record["written"][name]:
            record["before"][name] = current.get(name)
        record["written"][name] = current[name] = value
    state.make_private(os.path.dirname(path))
    state.write(path + RECORD, json.dumps(record, indent=2) + "\n", 0o600)
    state.write(path, json.dumps(settings, indent=2, ensure_ascii=False) + "\n", 0o600)  # it may hold the proxy's key now


def _restore(current: dict[str, Any], record: dict[str, Any], name: str) -> bool:
    """One variable as it was; False: it is no longer what we wrote, and stays."""
    written = record["written"].pop(name)
    before = record["before"].pop(name, None)
    if name in current and current[name] != written:
        return False
    if before is None:
        current.pop(name, None)
    else:
        current[name] = before
    return True


def undo(path: str) -> list[str]:
    """Take back what `write` wrote; gives the variables that somebody else has changed since."""
    record = _read(path + RECORD)
    if record is None:
        raise Stop(f"there is nothing to take back: {path} was not written by a2py", FAILED)
    settings = _read(path)
    left: list[str] = []
    if settings is not None:
        current = settings.get("env") or {}
        left = [name for name in list(record["written"]) if not _restore(current, record, name)]
        if not current and not record["had_env"]:
            settings.pop("env", None)
        if settings or record["existed"]:
            was = _read(path + BACKUP)
            as_it_was = was is not None and {**was, "env": was.get("env") or {}} == {**settings, "env": settings.get("env") or {}}
            text = _text(path + BACKUP) if as_it_was else json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
            state.write(path, text, record.get("mode"))
        else:
            os.unlink(path)
    for end in (RECORD, BACKUP):
        if os.path.exists(path + end):
            os.unlink(path + end)
    return left
