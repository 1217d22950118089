"""Write files that a2py keeps for itself.

Knows: XDG directories, atomic replacement, old logs. Must not know: what a file contains.
Invariants:
- A file that may contain a key has mode 0600 from its first byte.
- A reader sees the old file or the complete new one.
- A link is followed, not replaced.
- If a file can't be written, the command ends with its path and the reason.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from a2py.cli.exits import FAILED, Stop

#: LOG_BYTES: a new run starts a new log if the old one is longer. LOGS_KEPT: how many old logs are kept.
LOG_BYTES, LOGS_KEPT = 5 * 1024 * 1024, 3
#: What to do about an own ledger that can't be read.
LEDGER_CURE = "Restore it, or move it away: the proxy makes another at its next start"


def state_dir(env: Mapping[str, str]) -> str:
    """Return `$XDG_STATE_HOME/a2py` (Windows: `%LOCALAPPDATA%\\a2py`). A path that is not absolute is ignored."""
    paths = (env.get(name, "") for name in ("XDG_STATE_HOME", "LOCALAPPDATA"))
    base = next(filter(os.path.isabs, paths), os.path.join(os.path.expanduser("~"), ".local", "state"))
    return os.path.join(base, "a2py")


def ledger_path(env: Mapping[str, str]) -> str:
    """Return the path of the ledger of this user's proxies, unless a configuration names another."""
    return os.path.join(state_dir(env), "usage.db")


def page_secret_path(env: Mapping[str, str]) -> str:
    """Return the path of the secret that opens the page of a proxy without keys (docs/page.md)."""
    return os.path.join(state_dir(env), "ui.secret")


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn an OSError of the block into a Stop that names `path`."""
    try:
        yield
    except OSError as error:
        hint = " (XDG_STATE_HOME chooses another folder)" if path.startswith(state_dir(os.environ)) else ""
        raise Stop(f"{path} can't be written: {error.strerror or type(error).__name__}{hint}", FAILED) from None


def make_private(directory: str) -> str:
    """Make a directory that only this user can enter, unless it exists. Return its path."""
    with writing(directory):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    return directory


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Let one process at a time run the block. `name`: of the lock.

    Windows has no flock: there, nobody waits."""
    directory = make_private(state_dir(os.environ))
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with writing(directory):
        lock = open(os.path.join(directory, f"{name}.lock"), "w")  # noqa: SIM115  (closed below)
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(path: str, text: str, mode: int | None = None) -> None:
    """Replace the file at `path`. `mode` None: the old file's mode, or 0600 for a new file."""
    import tempfile  # takes 5 ms, and most starts do not need it

    path = os.path.realpath(path)
    with writing(path):
        if mode is None:
            try:
                mode = os.stat(path).st_mode & 0o777
            except FileNotFoundError:
                mode = 0o600
        handle, temporary = tempfile.mkstemp(prefix=".a2py-", dir=os.path.dirname(path))  # mkstemp: 0600
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            _keep_owner(path, temporary)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def _keep_owner(path: str, temporary: str) -> None:
    """Give the new file to the owner of the old one. Only root can, and needs to: a proxy of another user reads it."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and os.path.exists(path):
        status = os.stat(path)
        os.chown(temporary, status.st_uid, status.st_gid)


def open_log(path: str) -> TextIO:
    """Open the log at `path` for appending, with mode 0600. A long log is moved to `.1` first."""
    make_private(os.path.dirname(os.path.abspath(path)))
    with writing(path):
        if os.path.isfile(path) and os.path.getsize(path) > LOG_BYTES:
            move_aside(path)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8")


def move_aside(log: str) -> None:
    """Rename `log` to `.1`, `.1` to `.2` and so on."""
    for n in range(LOGS_KEPT - 1, 0, -1):
        if os.path.exists(f"{log}.{n}"):
            os.replace(f"{log}.{n}", f"{log}.{n + 1}")
    os.replace(log, f"{log}.1")
