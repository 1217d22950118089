"""Listening sockets that one a2py in the background hands to its successor, so that a restart refuses nobody.

Knows: SCM_RIGHTS over a Unix socket (unix(7)) in the state directory, which only this user can enter. Must not know: processes, records.
Invariants: the port never stops listening: both hold the same sockets until the old one drains, and what the kernel has queued goes to
whoever accepts next; a missing offer is no failure; an old process never takes away the offer of a newer one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

#: Set by `a2py start` and `restart`: the path at which the daemon offers its sockets.
VARIABLE = "A2PY_OFFER"
#: Descriptors that are taken; seconds for an answer.
MOST, SECONDS = 250, 5.0


@contextmanager
def _short(path: str) -> Iterator[str]:
    """`path` as an address: a Unix socket's has at most 107 bytes, so where it is longer and /proc is there it is told by its directory."""
    if len(os.fsencode(path)) <= 90 or not os.path.isdir("/proc/self/fd"):
        yield path
        return
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


class Offer:
    """`open` and `close` frame the time in which a successor may take `sockets`. Needs a running loop."""

    def __init__(self, path: str, sockets: Sequence[socket.socket]) -> None:
        self.path = path
        self._sockets = list(sockets)
        self._listener: socket.socket | None = None
        self._inode = 0
        self._taken = False

    def open(self) -> None:
        """Offer from now on, in the place of whoever did so before. Where that can't be, a restart is a stop and a start."""
        new = f"{self.path}.{os.getpid()}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short(new) as address:
                listener.bind(address)
            os.chmod(new, 0o600)
            listener.listen()
            listener.setblocking(False)
            self._inode = os.stat(new).st_ino
            os.replace(new, self.path)
            asyncio.get_running_loop().add_reader(listener, self._give)
        except OSError:
            listener.close()
            return
        self._listener = listener

    def _give(self) -> None:
        assert self._listener is not None
        try:
            taker, _ = self._listener.accept()
        except OSError:
            return
        with taker:
            try:
                socket.send_fds(taker, [b"a2py"], [sock.fileno() for sock in self._sockets])
                self._taken = True
            except OSError:
                pass

    def close(self) -> bool:
        """Offer no longer. Return whether a successor does: it accepts from the same sockets."""
        if self._listener is None:
            return False
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        try:
            if os.stat(self.path).st_ino != self._inode:
                return self._taken
            os.unlink(self.path)
        except OSError:
            pass
        return False


def take(path: str) -> list[socket.socket]:
    """The sockets that are offered at `path`; none where nobody offers any."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(SECONDS)
        try:
            with _short(path) as address:
                asking.connect(address)
            told, numbers, _, _ = socket.recv_fds(asking, 16, MOST)
        except OSError:
            return []
    sockets = [socket.socket(fileno=number) for number in numbers]
    if told == b"a2py":
        return sockets
    for sock in sockets:
        sock.close()
    return []
