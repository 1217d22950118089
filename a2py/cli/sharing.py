"""Which worker accepts from which listening socket.

On Linux each worker has sockets of its own on the same port (SO_REUSEPORT). The kernel gives each socket its share of
the connections, whether or not its worker lives. Connections of a worker that cannot start would wait, so another
worker borrows its sockets meanwhile. One socket for all would need no borrowing, but the worker that wakes first
accepts every connection that waits, and long streams pile up on one worker.

Knows: sockets, workers' numbers. Must not know: processes, how a socket travels to a worker.
Invariants: while any worker serves, every socket has a worker that accepts from it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence, Set
from typing import NamedTuple

from a2py.cli import listen


class Loan(NamedTuple):
    """A message to `worker` about the socket at `position`. `sock`: accept from it; None: give it back."""

    worker: int
    position: int
    sock: socket.socket | None


class Sharing:
    """`borrowers`: index of a socket → the worker that accepts from it instead of its own."""

    def __init__(self, sockets: Sequence[socket.socket], count: int) -> None:
        self.sockets = list(sockets)
        self.count = count
        self.borrowers: dict[int, int] = {}
        self._shares = listen.share_out(sockets, count)

    def descriptors(self, worker: int) -> list[int]:
        """Return the descriptors of a worker's own sockets."""
        return [sock.fileno() for sock in self._shares[worker]]

    def cover(self, ready: Set[int]) -> list[Loan]:
        """Lend each socket whose own workers are all gone to a worker in `ready`, and take it back once one of its own
        is ready."""
        loans = []
        for index, sock in enumerate(self.sockets):
            is_served = any(sock in self._shares[worker] for worker in ready)
            borrower = self.borrowers.get(index)
            if borrower is not None and (is_served or borrower not in ready):
                del self.borrowers[index]
                if borrower in ready:
                    loans.append(Loan(borrower, index, None))
            if ready and not is_served and index not in self.borrowers:
                sibling = min(ready, key=list(self.borrowers.values()).count)
                self.borrowers[index] = sibling
                loans.append(Loan(sibling, index, sock))
        return loans

    def close(self) -> None:
        """Close this process's copies of the sockets."""
        for sock in self.sockets:
            sock.close()
