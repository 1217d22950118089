"""`a2py setup claude`: write a client's environment into ~/.claude/settings.json, and remove it again.

Knows: that file's shape (an object whose `env` maps variables to strings). Must not know: any variable (clientenv.py).
Invariants:
- Every other key keeps its value and place.
- The file as it was is kept beside it. `--undo` restores exactly the variables that still have the values written here.
- A file that is not a JSON object is never changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from a2py.cli import options, running, state
from a2py.cli.clientenv import REMOVED_VARIABLES, ROUTE, client_env
from a2py.cli.exits import FAILED, OK, Stop
from a2py.cli.source import read_environment
from a2py.cli.terminal import Terminal

EXAMPLES = ("a2py setup claude", "a2py setup claude --url http://gateway.local:4000", "a2py setup claude --undo")
#: Suffixes of the files beside the settings: the settings as they were, and what was changed.
BACKUP, RECORD = ".a2py-backup", ".a2py-record"


def settings_path(env: Mapping[str, str]) -> str:
    directory = env.get("CLAUDE_CONFIG_DIR", "").strip() or os.path.join(os.path.expanduser("~"), ".claude")
    return os.path.join(directory, "settings.json")


def list_misleading(route: Mapping[str, str], env: Mapping[str, str], cwd: str) -> list[str]:
    """Return the variables in the user's and the project's settings that would lead Claude Code past the proxy in
    `route`."""
    project = os.path.join(cwd, ".claude")
    paths = (
        settings_path(env),
        os.path.join(project, "settings.json"),
        os.path.join(project, "settings.local.json"),
    )
    names: dict[str, None] = {}
    for path in paths:
        try:
            settings = _read(path)
        except Stop:
            continue  # Claude Code itself reports what is wrong with the file
        for name, value in ((settings or {}).get("env") or {}).items():
            if (name in ROUTE and value != route[name]) or (name in REMOVED_VARIABLES and value):
                names[name] = None
    return list(names)


def parser(name: str) -> options.Parser:
    description = "Write the client's environment into Claude Code's settings, so that plain `claude` uses this proxy."
    out = options.Parser(name, description, EXAMPLES)
    out.add_argument("what", choices=("claude",), metavar="claude", help="the program whose settings are written")
    out.add_argument("--undo", action="store_true", help="restore the settings")
    return out.flags((running.URL, *options.LISTEN), options.SOURCE)


def run(name: str, argv: list[str]) -> int:
    args = parser(name).read(argv)
    terminal, path = Terminal(), settings_path(os.environ)
    if args.undo:
        names = undo(path)
        note = f"; kept, because they have changed since: {', '.join(names)}" if names else ""
        terminal.print(f"{path}: restored{note}")
        return OK
    target = running.find_running(args, read_environment())
    if target is None:
        target = running.configure_target(args, read_environment(), running.find_url(args, os.environ))
        terminal.warn(f"no a2py answers at {target.url} yet: start one with `a2py`")
    env = client_env(target)
    write(path, env)
    terminal.print(f"{path}: {len(env)} variables written, nothing else changed (a2py setup claude --undo restores it)")
    return OK


def _read(path: str) -> dict[str, Any] | None:
    """Return the object in `path`, None if there is no file. Raise Stop if the file holds anything else."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
        value = json.loads(text) if text.strip() else {}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Stop(
            f"{path} can't be read: {error.strerror or type(error).__name__}; nothing was changed", FAILED
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise Stop(f"{path} can't be read as JSON{place}: correct it first; nothing was changed", FAILED) from None
    if not isinstance(value, dict) or not isinstance(value.get("env"), (dict, type(None))):
        raise Stop(f"{path} is not an object with an object `env`: correct it first; nothing was changed", FAILED)
    return value


def _text(path: str) -> str:
    """Return a file's text with its own line endings, "" if there is no file."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write(path: str, env: Mapping[str, str]) -> None:
    """Put `env` into the settings at `path`. A second call keeps the record of what was there before the first."""
    settings = _read(path)
    record = _read(path + RECORD)
    if record is None:
        had_env = settings is not None and "env" in settings
        record = {"existed": settings is not None, "had_env": had_env, "before": {}, "written": {}}
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
    state.write(
        path, json.dumps(settings, indent=2, ensure_ascii=False) + "\n", 0o600
    )  # 0600: it may hold the proxy's key now


def _restore(current: dict[str, Any], record: dict[str, Any], name: str) -> bool:
    """Restore one variable. Return False, and leave it, if it no longer has the value that was written here."""
    own = record["written"].pop(name)
    before = record["before"].pop(name, None)
    if name in current and current[name] != own:
        return False
    if before is None:
        current.pop(name, None)
    else:
        current[name] = before
    return True


def _with_env(settings: dict[str, Any]) -> dict[str, Any]:
    """Return `settings` with an `env` object, so that a missing one equals an empty one."""
    return {**settings, "env": settings.get("env") or {}}


def undo(path: str) -> list[str]:
    """Undo what `write` wrote. Return the variables that something else has changed since; they stay."""
    record = _read(path + RECORD)
    if record is None:
        raise Stop(f"there is nothing to undo: a2py has not written {path}", FAILED)
    settings = _read(path)
    names: list[str] = []
    if settings is not None:
        current = settings.get("env") or {}
        names = [name for name in list(record["written"]) if not _restore(current, record, name)]
        if not current and not record["had_env"]:
            settings.pop("env", None)
        if settings or record["existed"]:
            backup = _read(path + BACKUP)
            is_as_before = backup is not None and _with_env(backup) == _with_env(settings)
            text = _text(path + BACKUP) if is_as_before else json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
            state.write(path, text, record.get("mode"))
        else:
            os.unlink(path)
    for end in (RECORD, BACKUP):
        if os.path.exists(path + end):
            os.unlink(path + end)
    return names
