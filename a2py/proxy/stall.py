"""Cut off clients that do not read.

Bytes that a client does not read stay in the write buffer of its transport. `Transport.close` waits until they are
written, without a limit of its own, and a handler that waits for the buffer to drain waits as long. So a client that
stops reading, on purpose or because its machine is asleep, would hold its connection and its answer for ever.

Knows: asyncio's transports. Must not know: HTTP.
"""

from __future__ import annotations

import asyncio
from typing import Any


class StallGuard:
    """Aborts `transport` if its write buffer does not shrink within `seconds`.

    It is started when the buffer is full, or when the connection was closed with bytes in it. Nothing is added to the
    buffer in either state, so a size that does not fall means that the client has read nothing."""

    __slots__ = ("_seconds", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self.stop()
        self._watch(self._transport.get_write_buffer_size())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def has_unsent(self) -> bool:
        """Return whether bytes for the client still wait in this process."""
        transport: Any = self._transport
        # With asyncio's TLS there are two buffers: of plain bytes, and of encrypted ones in the transport below. There
        # is no public way to it.
        below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
        try:
            return any(layer.get_write_buffer_size() for layer in (transport, below) if layer is not None)
        except AttributeError:  # a TLS transport that was closed twice has dropped its connection
            return False

    def _watch(self, size: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._check, size) if size else None

    def _check(self, size_before: int) -> None:
        size = self._transport.get_write_buffer_size()
        if size < size_before:
            self._watch(size)
        else:
            self._transport.abort()
