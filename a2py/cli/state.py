"""Files that a2py keeps for itself: where they lie, and how they are written.

Knows: XDG directories, atomic replacement. Must not know: what stands in a file.
Invariants: whatever may hold a key is 0600 from its first byte; a file is either the old one or the whole new one; a link is followed,
never replaced.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import TextIO

#: Bytes of a log that a new run still appends to; a longer one is moved aside to `.1`.
LOG_BYTES = 5 * 1024 * 1024


def state_dir(env: Mapping[str, str]) -> str:
    """`$XDG_STATE_HOME/a2py` (Windows: `%LOCALAPPDATA%\\a2py`)."""
    base = env.get("XDG_STATE_HOME") or env.get("LOCALAPPDATA")
    return os.path.join(base or os.path.join(os.path.expanduser("~"), ".local", "state"), "a2py")


def make_private(directory: str) -> str:
    os.makedirs(directory, mode=0o700, exist_ok=True)
    return directory


def write(path: str, text: str, mode: int | None = None) -> None:
    """Replace `path` as a whole. `mode` None: the old file's, or 0600 for a new one."""
    path = os.path.realpath(path)
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
    try:
        if os.stat(path).st_size > LOG_BYTES:
            os.replace(path, path + ".1")
    except OSError:
        pass
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8")
