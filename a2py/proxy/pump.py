"""Upstream bytes → decoder → client, for as long as one upstream stream lasts.

Knows: aiohttp's `StreamReader`, the decoder, the writer, the client's stream. Must not know: retries, errors' wording.
Invariants: one write per upstream read; a client that does not read stops the reading of the upstream; a cancelled pump has written
whole events only.
"""

from __future__ import annotations

from collections.abc import Callable

import aiohttp

from a2py.messages.reply import Reply
from a2py.messages.types import Decoder
from a2py.messages.writer import Writer
from a2py.proxy.client import EventStream


class Flow:
    """What one read of an upstream stream becomes. `first` is called before the first write."""

    __slots__ = ("_begun", "_decoder", "_feed", "_first", "_take", "_write", "_writer", "client")

    def __init__(self, decoder: Decoder, writer: Writer, client: EventStream, first: Callable[[], None]) -> None:
        self._decoder = decoder
        self._writer = writer
        self._first = first
        self._feed, self._take, self._write = decoder.feed, writer.take, client.write
        self._begun = False
        self.client = client

    @property
    def ended(self) -> bool:
        """Nothing more is to be read."""
        return self._decoder.finished or self._writer.problem is not None

    def pass_on(self, data: bytes) -> None:
        self._feed(data)
        out = self._take()
        if out and (self._begun or self._begins()):
            self._write(out)

    def _begins(self) -> bool:
        """The first output; a ping of the upstream's own, before anything, is none."""
        if not self._writer.begun and not self.client.committed:
            return False
        self._begun = True
        self._first()
        return True


async def pull(response: aiohttp.ClientResponse, flow: Flow) -> None:
    """The textbook loop, a task switch per read. Ends with the decoder or the body; raises what aiohttp raises."""
    readany, client = response.content.readany, flow.client
    while not flow.ended:
        data = await readany()
        if not data:
            return
        flow.pass_on(data)
        if client.full():
            await client.drain()


async def collect(response: aiohttp.ClientResponse, decoder: Decoder, sink: Reply) -> None:
    """The same for a reply that is given whole: an upstream that only streams, a client that does not."""
    readany = response.content.readany
    while not decoder.finished and sink.problem is None:
        data = await readany()
        if not data:
            return
        decoder.feed(data)
