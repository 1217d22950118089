"""An upstream's body → what becomes of it (a `Flow`), for as long as the body lasts.

Knows: aiohttp's `StreamReader`, the decoder, the writer, the client's stream. Must not know: retries, errors' wording.
Invariants: one write per upstream read; a client that does not read stops the reading of the upstream; a cancelled pump has written
whole events only; what a flow keeps is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import aiohttp

from a2py.messages.reply import Reply
from a2py.messages.types import Decoder
from a2py.messages.writer import Writer
from a2py.proxy.client import EventStream
from a2py.proxy.direct import Direct

#: Seconds between two looks whether a connection was lost without a word (`pull` alone needs them).
LOOK_SECONDS = 1.0


class Flow(Protocol):
    """`ended`: nothing more is to be read; `full`: nothing more shall be read until `drain` has returned; `direct`: a shorter way for what
    comes next, until anything else has been passed on."""

    @property
    def ended(self) -> bool: ...

    def direct(self) -> Direct | None: ...

    def pass_on(self, data: bytes) -> None: ...

    def full(self) -> bool: ...

    async def drain(self) -> None: ...


class ToClient:
    """A stream for a client that streams. `first` is called before the first write."""

    __slots__ = ("_begun", "_client", "_decoder", "_direct", "_first", "_writer")

    def __init__(self, decoder: Decoder, writer: Writer, client: EventStream, first: Callable[[], None]) -> None:
        self._decoder = decoder
        self._writer = writer
        self._client = client
        self._first = first
        self._begun = False
        self._direct: Direct | None = None

    @property
    def ended(self) -> bool:
        return self._decoder.finished or self._writer.problem is not None

    def pass_on(self, data: bytes) -> None:
        self._decoder.feed(data)
        out = self._writer.take()
        if out and (self._begun or self._begins()):
            self._client.write(out)

    def full(self) -> bool:
        return self._client.full()

    async def drain(self) -> None:
        await self._client.drain()

    def direct(self) -> Direct | None:
        lane = self._decoder.lane
        if lane is None or not self._begun or not self._client.chunked:
            return None
        direct = self._direct
        if direct is None or direct.lane is not lane:
            direct = self._direct = Direct(lane, self._client)
        return direct

    def _begins(self) -> bool:
        """The first output; a ping of the upstream's own, before anything, is none."""
        if not self._writer.begun and not self._client.committed:
            return False
        self._begun = True
        self._first()
        return True


class Patient:
    """A flow that takes everything at once."""

    __slots__ = ()

    def direct(self) -> None:
        return None

    def full(self) -> bool:
        return False

    async def drain(self) -> None:
        return None


class ToReply(Patient):
    """A stream for a client that wants it whole: the upstream only streams."""

    __slots__ = ("_decoder", "_sink", "pass_on")

    def __init__(self, decoder: Decoder, sink: Reply) -> None:
        self._decoder = decoder
        self._sink = sink
        self.pass_on = decoder.feed

    @property
    def ended(self) -> bool:
        return self._decoder.finished or self._sink.problem is not None


class Gather(Patient):
    """A body as it is, up to `limit` bytes; `ended` before its end: it has more."""

    __slots__ = ("_limit", "_parts", "_size")

    def __init__(self, limit: int) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._limit = limit

    @property
    def ended(self) -> bool:
        return self._size > self._limit

    def pass_on(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    def body(self) -> bytes:
        return b"".join(self._parts)[: self._limit]


async def gather(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """A whole body, or its first `limit` bytes; raises what aiohttp raises."""
    body = Gather(limit)
    await pull(response, body)
    return body.body()


async def pull(response: aiohttp.ClientResponse, flow: Flow) -> None:
    """The textbook loop, a task switch per read. Ends with the flow or the body; raises what aiohttp raises."""
    readany = response.content.readany
    timer: list[asyncio.TimerHandle] = []
    if not response.content.is_eof():
        _arm(response, timer)
    try:
        while not flow.ended:
            data = await readany()
            if not data:
                return
            flow.pass_on(data)
            if flow.full():
                await flow.drain()
    finally:
        for armed in timer:
            armed.cancel()


def _arm(response: aiohttp.ClientResponse, timer: list[asyncio.TimerHandle]) -> None:
    """Not a closure: it would refer to itself, a cycle that holds the body."""
    timer[:] = [asyncio.get_running_loop().call_later(LOOK_SECONDS, _look, response, timer)]


def _look(response: aiohttp.ClientResponse, timer: list[asyncio.TimerHandle]) -> None:
    """aiohttp 3.14 forgets to tell the reader of a body whose framing broke (`zz` for a chunk's size): it would wait for ever."""
    content, connection = response.content, response.connection
    if (connection is None or connection.closed) and not content.is_eof() and content.exception() is None:
        content.set_exception(lost())
    _arm(response, timer)


def lost() -> aiohttp.ClientPayloadError:
    return aiohttp.ClientPayloadError("the connection was lost in mid-body")
