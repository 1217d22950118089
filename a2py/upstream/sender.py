"""Send a request on a connection, without copying its body and without filling the transport's buffer.

asyncio's transport takes everything that is written and keeps what the socket does not accept yet. It calls its
protocol's `pause_writing` once it keeps more than its limit (64 KiB), and `resume_writing` when it has sent most of
that. A body of 32 MB, written at once, would be copied into the buffer; here the transport gets views of it, SEND_SIZE
bytes each, and only while it is not paused.

Knows: asyncio's transports. Must not know: what is sent, responses.
Invariants: nothing is written after `drop`; the body is not referred to once it is sent or dropped.
"""

from __future__ import annotations

import asyncio

#: Bytes of a body that the transport is given at a time. A smaller body is sent together with its head.
SEND_SIZE = 128 * 1024


class Sender:
    """The writing half of one connection."""

    __slots__ = ("_is_paused", "_transport", "_unsent")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._unsent: memoryview | None = None
        self._is_paused = False

    def attach(self, transport: asyncio.Transport | None) -> None:
        """Write to `transport` from now on. None releases it."""
        self._transport = transport

    @property
    def has_unsent(self) -> bool:
        """Whether a part of the body has not been given to the transport."""
        return self._unsent is not None

    @property
    def is_done(self) -> bool:
        """Whether the socket has accepted everything."""
        transport = self._transport
        return transport is not None and self._unsent is None and not transport.get_write_buffer_size()

    def send(self, head: bytes, body: bytes) -> None:
        """Begin to send a request."""
        transport = self._transport
        assert transport is not None
        if len(body) <= SEND_SIZE:
            transport.write(head + body)
        else:
            transport.write(head)
            self._unsent = memoryview(body)
            self._continue()

    def drop(self) -> None:
        """Forget what the transport has not been given."""
        self._unsent = None

    def pause(self) -> None:
        """The transport's buffer is full."""
        self._is_paused = True

    def resume(self) -> None:
        """The transport's buffer has room again."""
        self._is_paused = False
        self._continue()

    def _continue(self) -> None:
        transport = self._transport
        assert transport is not None
        # `write` calls `pause` when the buffer is full.
        while self._unsent is not None and not self._is_paused and not transport.is_closing():
            part, rest = self._unsent[:SEND_SIZE], self._unsent[SEND_SIZE:]
            self._unsent = rest if len(rest) else None
            transport.write(part)
