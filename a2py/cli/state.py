"""Files that a2py keeps for itself: where they lie, and how they are written.

Knows: XDG directories, atomic replacement, old logs. Must not know: what stands in a file.
Invariants: whatever may hold a key is 0600 from its first byte; a file is either the old one or the whole new one; a link is followed,
never replaced; what can't be written ends the command with its name and the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from a2py.cli.exits import FAILED, Stop

#: Bytes of a log that a new run still appends to; how many older ones stay.
LOG_BYTES, LOGS_KEPT = 5 * 1024 * 1024, 3


def state_dir(env: Mapping[str, str]) -> str:
    """`$XDG_STATE_HOME/a2py` (Windows: `%LOCALAPPDATA%\\a2py`); a path that is not absolute counts as none."""
    named = (env.get(name, "") for name in ("XDG_STATE_HOME", "LOCALAPPDATA"))
    base = next(filter(os.path.isabs, named), os.path.join(os.path.expanduser("~"), ".local", "state"))
    return os.path.join(base, "a2py")


@contextmanager
def writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = " (XDG_STATE_HOME names another place)" if path.startswith(state_dir(os.environ)) else ""
        raise Stop(f"{path} can't be written: {error.strerror or type(error).__name__}{hint}", FAILED) from None


def make_private(directory: str) -> str:
    with writing(directory):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    return directory


def write(path: str, text: str, mode: int | None = None) -> None:
    """Replace `path` as a whole. `mode` None: the old file's, or 0600 for a new one."""
    import tempfile  # 5 ms that a start has no need of

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
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def open_log(path: str) -> TextIO:
    """The log at `path`, to append to, 0600; a long one is moved to `.1` before."""
    make_private(os.path.dirname(os.path.abspath(path)))
    with writing(path):
        if os.path.isfile(path) and os.path.getsize(path) > LOG_BYTES:
            move_aside(path)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8")


def move_aside(log: str) -> None:
    """`log` becomes `.1`, `.1` becomes `.2` …"""
    for n in range(LOGS_KEPT - 1, 0, -1):
        if os.path.exists(f"{log}.{n}"):
            os.replace(f"{log}.{n}", f"{log}.{n + 1}")
    os.replace(log, f"{log}.1")
