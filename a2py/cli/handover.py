"""Hand the listening sockets of a background proxy to its successor, so that a restart refuses no connection.

Knows: SCM_RIGHTS over a Unix socket (unix(7)) in the state directory, which only this user can enter.
Must not know: processes, records.
Invariants:
- The port never stops listening. Both processes hold the same sockets until the old one drains, and connections that
  wait in the kernel go to the process that accepts next.
- It is not an error if no sockets are on offer.
- An old process never withdraws the offer of a newer one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

#: Variable, set by `a2py start` and `restart`: the path at which the proxy offers its sockets.
VARIABLE = "A2PY_OFFER"
#: How many descriptors are accepted at most, and how many seconds the offering process may take.
MAX_DESCRIPTORS, SECONDS = 250, 5.0


@contextmanager
def _short_address(path: str) -> Iterator[str]:
    """Yield an address for `path`.

    A Unix socket's address has at most 107 bytes; a longer path goes through /proc, if it exists."""
    if len(os.fsencode(path)) <= 90 or not os.path.isdir("/proc/self/fd"):
        yield path
        return
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


class Offer:
    """Between `open` and `close`, a successor may take `sockets`. Needs a running event loop."""

    def __init__(self, path: str, sockets: Sequence[socket.socket]) -> None:
        self.path = path
        self._sockets = list(sockets)
        self._listener: socket.socket | None = None
        self._inode = 0
        self._is_taken = False

    def open(self) -> None:
        """Offer the sockets, instead of the process that did so before.

        If that fails, a restart is a stop and a start."""
        new = f"{self.path}.{os.getpid()}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short_address(new) as address:
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
        """Send the sockets to a process that has connected."""
        assert self._listener is not None
        try:
            taker, _ = self._listener.accept()
        except OSError:
            return
        with taker:
            try:
                socket.send_fds(taker, [b"a2py"], [sock.fileno() for sock in self._sockets])
                self._is_taken = True
            except OSError:
                pass

    def close(self) -> bool:
        """Withdraw the offer. Return whether a successor has taken the sockets and offers them by now."""
        if self._listener is None:
            return False
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        try:
            if os.stat(self.path).st_ino != self._inode:
                return self._is_taken
            os.unlink(self.path)
        except OSError:
            pass
        return False


def take(path: str) -> list[socket.socket]:
    """Return the sockets on offer at `path`, an empty list if there are none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(SECONDS)
        try:
            with _short_address(path) as address:
                client.connect(address)
            greeting, numbers, _, _ = socket.recv_fds(client, 16, MAX_DESCRIPTORS)
        except OSError:
            return []
    sockets = [socket.socket(fileno=number) for number in numbers]
    if greeting == b"a2py":
        return sockets
    for sock in sockets:
        sock.close()
    return []
