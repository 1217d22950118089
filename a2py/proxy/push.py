"""Push mode: what `pump.pull` does, without a task switch per chunk.

Knows: `transport.set_protocol`, and of aiohttp's client only what is public: `response.connection`, its `transport` and `protocol`
(`data_received`, `read_timeout`, `pause_reading`, `resume_reading`, …), and `StreamReader.read_nowait`, `is_eof`, `at_eof`.
Must not know: events, errors' wording.
Invariants: aiohttp's own protocol sees every byte and every event of the transport first, so that its parser, its pool and its timeouts stay
right; it is back in its place before a connection that has ended its body can be used again; nothing raises into the event loop.

Why: one paced chunk costs 16.9 µs of CPU this way, 22.7 µs by `pull` (CPython 3.11, aiohttp 3.14, bench/NOTES.md); on uvloop 15.5 and 17.5.
"""

from __future__ import annotations

import asyncio

import aiohttp

from a2py.proxy.pump import Flow, pull

#: Bytes of one read. (asyncio's own `recv` allocates 256 KiB and shrinks it at each read, for the 200 bytes of a chunk.)
READ_SIZE = 65_536


def read_buffer() -> memoryview:
    """What all taps of one event loop read into: it is emptied before the next read begins. A view, because asyncio's TLS slices it."""
    return memoryview(bytearray(READ_SIZE))


class Tap(asyncio.BufferedProtocol):
    """Stands in front of aiohttp's protocol while one body is read."""

    __slots__ = ("_buffer", "_content", "_flow", "_inner", "_loop", "_silence", "_timer", "_transport", "_waiter", "last")

    def __init__(
        self,
        inner: asyncio.Protocol,
        transport: asyncio.Transport,
        content: aiohttp.StreamReader,
        flow: Flow,
        silence: float | None,
        buffer: memoryview,
    ) -> None:
        self._buffer = buffer
        self._loop = asyncio.get_running_loop()
        self._inner = inner
        self._transport = transport
        self._content = content
        self._flow = flow
        self._silence = silence
        self._waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.last = self._loop.time()

    # -- the transport's side ----------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.last = self._loop.time()
        self._inner.data_received(bytes(self._buffer[:nbytes]))
        if self._content.is_eof():
            self.restore()
        self._take()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
        self._take()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    # -- the relay's side --------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Pass on what has come; wake the relay at the end, at an error, and when the client is full."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        flow, content = self._flow, self._content
        try:
            while data := content.read_nowait():
                flow.pass_on(data)
                if flow.client.full():
                    waiter.set_result(True)
                    if not content.is_eof():
                        self._transport.pause_reading()
                    return
            if flow.ended or content.at_eof():
                waiter.set_result(False)
        except Exception as error:
            waiter.set_exception(error)

    async def run(self) -> None:
        """Until the decoder or the body has ended; raises what aiohttp's reader would."""
        if self._silence:
            self._timer = self._loop.call_later(self._silence, self._watch)
        while True:
            self._waiter = self._loop.create_future()
            self._take()
            if not await self._waiter or self._flow.ended:
                return
            await self._flow.client.drain()
            self.last = self._loop.time()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _watch(self) -> None:
        """The upstream's silence ends the stream. (aiohttp's own timer is re-armed at each read: 2 µs a chunk.)"""
        assert self._silence is not None
        due = self.last + self._silence
        waiter = self._waiter
        if waiter is not None and not waiter.done() and self._loop.time() >= due:
            waiter.set_exception(aiohttp.SocketTimeoutError("the upstream is silent"))
        else:
            self._timer = self._loop.call_at(max(due, self._loop.time() + 0.01), self._watch)

    def restore(self) -> None:
        """aiohttp's protocol back in its place."""
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._inner)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.restore()


async def push(response: aiohttp.ClientResponse, flow: Flow, silence: float | None, buffer: memoryview) -> None:
    """`pull`, by a `Tap`. `silence`: seconds without a byte that end it; `buffer`: the loop's `read_buffer`. What has arrived whole already is pulled."""
    connection = response.connection
    if connection is None or connection.transport is None or connection.protocol is None:
        await pull(response, flow)
        return
    inner, transport = connection.protocol, connection.transport
    inner.read_timeout = None
    inner.pause_reading()  # drops the timer that is armed
    inner.resume_reading()
    tap = Tap(inner, transport, response.content, flow, silence, buffer)
    transport.set_protocol(tap)
    try:
        await tap.run()
    finally:
        tap.stop()
