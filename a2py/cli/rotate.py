"""A log file that is this process's standard error, and is moved aside when it is long.

Knows: descriptors, inodes, renaming. Must not know: what is logged.
Invariants: everything that is written to standard error is in the file, also tracebacks. Several processes may share
the file; each notices by itself that another has moved it. Two processes never move it at the same time.
"""

from __future__ import annotations

import os
import sys

from a2py.cli import state

#: Variable, set by `a2py start`: the path of the file that is standard error.
VARIABLE = "A2PY_LOG"
#: LIMIT: bytes after which the file is moved aside. EVERY: how many lines are written between two checks.
LIMIT, EVERY = 10 * 1024 * 1024, 64


class Rotating:
    """A stream for a2py.proxy's Log."""

    def __init__(self, path: str, limit: int = LIMIT, every: int = EVERY) -> None:
        self.path = path
        self._limit = limit
        self._every = every
        self._count = 0

    def write(self, text: str) -> int:
        self._count += 1
        if self._count >= self._every:
            self._count = 0
            self.check()
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def check(self) -> None:
        """Move the file aside if it is long. Switch to the new file if another process has moved it."""
        import fcntl

        try:
            current = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError:
            return  # a log that can't be moved grows on, but no request fails
        try:
            if self._is_current(2) and os.fstat(2).st_size < self._limit:
                return
            # A lock on standard error would be held by the parent and all workers, because they share its open file
            # description. So lock this one, which is our own.
            fcntl.flock(current, fcntl.LOCK_EX)
            if self._is_current(2) and self._is_current(current):
                state.move_aside(self.path)
            sys.stderr.flush()
            new = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(new, 2)
            os.close(new)
        except OSError:
            pass
        finally:
            os.close(current)

    def _is_current(self, descriptor: int) -> bool:
        """Return whether `descriptor` is the file that is now at the path."""
        try:
            return os.stat(self.path).st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False
