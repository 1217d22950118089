"""Push mode: what `pump.pull` does, without a task switch per chunk.

Knows: `transport.set_protocol`, and of aiohttp's client only what is public: `response.connection`, its `transport` and `protocol`
(`data_received`, `read_timeout`, `start_timeout`, …), and `StreamReader.read_nowait`, `is_eof`, `at_eof`, `total_bytes`.
Must not know: events, errors' wording.
Invariants: aiohttp's own protocol sees every byte and every event of the transport first, so that its parser, its pool and its timeouts stay
right, but for whole chunks that begin and end where it stands between two; it is back in its place before a connection that has ended its
body can be used again; nothing raises into the event loop.

Why: one paced chunk costs 15.2 µs of CPU this way (17.0 where all of it goes through aiohttp's parser and reader), 21.7 µs by `pull`
(CPython 3.11, aiohttp 3.14, one lockstep stream; bench/NOTES.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import aiohttp

from a2py.proxy.dechunk import UNKNOWN, dechunk
from a2py.proxy.direct import Direct
from a2py.proxy.lean import small_reads
from a2py.proxy.pump import Flow, lost, pull

NEVER = float("inf")


class Tap(asyncio.Protocol):
    """Stands in front of aiohttp's protocol while one body is read.

    `owed`: bytes of the open chunk that aiohttp's parser must still get to stand between two chunks; 0: it does, and whole chunks need not
    pass through it; UNKNOWN: it gets everything."""

    __slots__ = (
        "_chunked",
        "_content",
        "_direct",
        "_due",
        "_flow",
        "_inner",
        "_loop",
        "_silence",
        "_time",
        "_timer",
        "_transport",
        "_waiter",
        "last",
        "owed",
    )

    def __init__(
        self,
        inner: asyncio.Protocol,
        transport: asyncio.Transport,
        response: aiohttp.ClientResponse,
        flow: Flow,
        silence: float | None,
        due: float | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._inner = inner
        self._transport = transport
        self._content = response.content
        self._chunked = plainly_chunked(response.headers)
        self._flow = flow
        self._direct: Direct | None = None
        self._silence = silence
        self._due = due
        self._waiter: asyncio.Future[bool] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self.owed = UNKNOWN
        self.last = self._time()

    # -- the transport's side ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.last = now = self._time()
        direct = self._direct
        if direct is not None:
            try:
                if direct(data, now):
                    if direct.stream.full():
                        self._wake(True)
                    return
            except Exception as error:
                self._waiter.set_exception(error)
            self._direct = None
        at, size = self.owed, len(data)
        if at > 0:
            self._parse(data[:at])
            self.owed = max(0, at - size)
            if at >= size:
                return
        if at < 0 or self._waiter.done():
            self._compare(data[at:] if at > 0 else data)
            return
        pieces, end, owed = dechunk(data, at)
        if pieces:
            self._pass(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if end < size:
            self.owed = owed
            self._parse(data[end:])
        elif not self._waiter.done():
            self._direct = self._flow.direct()

    def _compare(self, data: bytes) -> None:
        """By aiohttp's parser alone. Where `data` looks like a number of whole chunks, and the parser has made just that of it, it stands
        between two now: had it stood elsewhere, other bytes would have been payload to it."""
        before = self._content.total_bytes
        self.owed = UNKNOWN
        self._parse(data)
        if self._chunked:
            pieces, end, _ = dechunk(data)
            if end == len(data) and sum(map(len, pieces)) == self._content.total_bytes - before:
                self.owed = 0

    def _parse(self, data: bytes) -> None:
        self._inner.data_received(data)
        if self._content.is_eof():
            self.restore()
        self._take()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
        self._take()
        if not self._waiter.done():  # aiohttp 3.14 forgets to tell where a body's framing broke
            self._waiter.set_exception(lost())

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    # -- the relay's side --------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Pass on what aiohttp's parser has made."""
        content = self._content
        try:
            while not self._waiter.done() and (data := content.read_nowait()):
                self._pass(data)
            if not self._waiter.done() and content.at_eof():
                self._waiter.set_result(False)
        except Exception as error:
            self._waiter.set_exception(error)

    def _pass(self, data: bytes) -> None:
        """A piece of the body; wakes the relay at the end, at an error, and when the client is full."""
        flow, waiter = self._flow, self._waiter
        try:
            flow.pass_on(data)
            if flow.full():
                self._wake(True)
            elif flow.ended:
                self._wake(False)
        except Exception as error:
            waiter.set_exception(error)

    def _wake(self, full: bool) -> None:
        """The relay's turn: the client is `full`, or the flow has ended."""
        self._direct = None
        self._waiter.set_result(full)
        if full and not self._content.is_eof():
            self._transport.pause_reading()

    async def run(self) -> None:
        """Until the decoder or the body has ended; raises what aiohttp's reader would."""
        self._transport.set_protocol(self)
        try:
            if self._silence or self._due:
                self._watch()
            while True:
                self._take()
                if not await self._waiter or self._flow.ended:
                    return
                await self._flow.drain()
                self._waiter = self._loop.create_future()
                self.last = self._time()
                if not self._transport.is_closing():
                    self._transport.resume_reading()
        finally:
            self._stop()

    def _watch(self) -> None:
        """The upstream's silence ends the stream, and so does its time. (aiohttp's own timer is re-armed at each read: 2 µs a chunk.)"""
        now = self._loop.time()
        end = self._due or NEVER
        if self._silence:
            end = min(end, self.last + self._silence)
        if end > now or self._waiter.done():
            self._timer = self._loop.call_at(max(end, now + 0.01), self._watch)
        else:
            self._direct = None
            self._waiter.set_exception(aiohttp.SocketTimeoutError("the upstream is silent, or takes too long"))

    def restore(self) -> None:
        """aiohttp's protocol back in its place."""
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._inner)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter.done() and not self._waiter.cancelled():
            self._waiter.exception()  # seen, also where the relay was cancelled before it could look
        self.restore()


def plainly_chunked(headers: Mapping[str, str]) -> bool:
    """The body's bytes are the payloads of its chunks."""
    return headers.get("transfer-encoding", "").lower() == "chunked" and headers.get("content-encoding", "identity").lower() == "identity"


def push(response: aiohttp.ClientResponse, flow: Flow, silence: float | None, due: float | None) -> Coroutine[Any, Any, None]:
    """`pull`, by a `Tap`. `silence`: seconds without a byte that end it; `due`: loop time at which it must have ended. What has arrived whole
    already is pulled."""
    connection = response.connection
    if connection is None or connection.transport is None or connection.protocol is None or response.content.is_eof():
        return pull(response, flow)
    inner, transport = connection.protocol, connection.transport
    inner.read_timeout = None
    inner.start_timeout()  # drops the timer that is armed
    small_reads(transport)
    return Tap(inner, transport, response, flow, silence, due).run()
