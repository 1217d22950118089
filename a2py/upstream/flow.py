"""The destination of a response's body: the interface between a connection and the proxy.

Knows: pieces of a body.

Must not know: sockets, HTTP.
Invariants: what a flow keeps is bounded.
"""

from __future__ import annotations

from typing import Protocol


class Splice(Protocol):
    """A shorter way for a read that is one HTTP chunk (messages/splice.py has the one of decoders)."""

    def chunk(self, data: bytes) -> bytes | None:
        """Return the bytes for the client; None if `data` must go the ordinary way."""


class Flow(Protocol):
    """Takes a body piece by piece.

    The connection calls `pass_on` with a piece, and then looks at two things. `is_over`: nothing more is wanted.
    `full()`: nothing more may be read until `drain()` has returned. `splice()` returns a shorter way for the next
    chunk, None if there is none; what it makes goes to `forward`. `progress` grows whenever the body has content;
    comments and empty events leave it as it is."""

    @property
    def is_over(self) -> bool: ...

    @property
    def progress(self) -> int: ...

    def splice(self) -> Splice | None: ...

    def forward(self, data: bytes, now: float) -> None:
        """Write `data`, which the splice made, to the client. `now`: loop time."""

    def pass_on(self, data: bytes) -> None: ...

    def full(self) -> bool: ...

    async def drain(self) -> None: ...


class Patient:
    """A flow that takes everything at once and has no splice. Subclasses add `is_over` and `pass_on`."""

    __slots__ = ()

    progress = 0

    def splice(self) -> None:
        return None

    def forward(self, data: bytes, now: float) -> None:
        raise AssertionError("a flow without a splice")

    def full(self) -> bool:
        return False

    async def drain(self) -> None:
        return None


class Gather(Patient):
    """Collects a body, up to `limit` bytes. It has `is_over` as soon as there is more."""

    __slots__ = ("_limit", "_parts", "_size")

    def __init__(self, limit: int) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._limit = limit

    @property
    def is_over(self) -> bool:
        return self._size > self._limit

    @property
    def progress(self) -> int:  # type: ignore[override]
        return self._size

    def pass_on(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    def body(self) -> bytes:
        return b"".join(self._parts)[: self._limit]
