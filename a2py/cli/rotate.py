"""A log that is this process's standard error, and is moved aside when it is long.

Knows: descriptors, inodes, renaming. Must not know: what is logged.
Invariants: everything that goes to standard error lands in the file, tracebacks too; several processes may share it: each finds out by
itself that another has moved it aside; two never move it at once.
"""

from __future__ import annotations

import os
import sys

from a2py.cli import state

#: Set by `a2py start`: the file that standard error is.
VARIABLE = "A2PY_LOG"
#: Bytes after which the file is moved aside, and how many lines are written between two looks.
LIMIT, EVERY = 10 * 1024 * 1024, 64


class Rotating:
    """What a2py.proxy's Log writes to (`write`, `flush`)."""

    def __init__(self, path: str, limit: int = LIMIT, every: int = EVERY) -> None:
        self.path = path
        self._limit = limit
        self._every = every
        self._count = 0

    def write(self, text: str) -> int:
        self._count += 1
        if self._count >= self._every:
            self._count = 0
            self.look()
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def look(self) -> None:
        """Move the file aside if it is long and still ours; take the new one if somebody else has."""
        import fcntl

        try:
            there = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError:
            return  # a log that can't be moved goes on growing; no request fails for it
        try:
            if self._is(2) and os.fstat(2).st_size < self._limit:
                return
            # On an opening of our own: parent and workers share the one that is standard error, and a lock on that is held by all of them.
            fcntl.flock(there, fcntl.LOCK_EX)
            if self._is(2) and self._is(there):
                state.move_aside(self.path)
            sys.stderr.flush()
            new = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(new, 2)
            os.close(new)
        except OSError:
            pass
        finally:
            os.close(there)

    def _is(self, descriptor: int) -> bool:
        """Whether `descriptor` is what now lies at the path."""
        try:
            return os.stat(self.path).st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False
