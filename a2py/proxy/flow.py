"""Where an upstream's body goes: through a decoder to a client that streams, or into a reply.

Knows: decoders, writers, the client's stream. Must not know: sockets, retries, how errors are worded.
Invariants: one write for each read of the upstream; a client that does not read stops the reading of the upstream; a
flow that is abandoned has written only complete events.
"""

from __future__ import annotations

from collections.abc import Callable

from a2py.messages.reply import Reply
from a2py.messages.splice import Splice
from a2py.messages.types import Decoder
from a2py.messages.writer import Writer
from a2py.proxy.client import EventStream
from a2py.upstream import Patient


class ToClient:
    """The body of a stream on its way to a client that streams. `on_content` is called before the first write."""

    __slots__ = ("_client", "_decoder", "_has_content", "_on_content", "_writer")

    def __init__(self, decoder: Decoder, writer: Writer, client: EventStream, on_content: Callable[[], None]) -> None:
        self._decoder = decoder
        self._writer = writer
        self._client = client
        self._on_content = on_content
        self._has_content = False

    @property
    def is_over(self) -> bool:
        return self._decoder.is_finished or self._writer.problem is not None

    @property
    def progress(self) -> int:
        splice = self._decoder.splice
        return self._decoder.progress + (splice.count if splice is not None else 0)

    def pass_on(self, data: bytes) -> None:
        self._decoder.feed(data)
        writer = self._writer
        if not writer.has_output:
            return
        if not self._has_content:
            self._has_content = True
            self._on_content()
        if not self._decoder.is_finished:
            # The last output goes out together with the end of the message: one system call less.
            self._client.write(writer.take())

    def splice(self) -> Splice | None:
        """Return the decoder's splice, if what it makes may be sent as it is: the head is out, and the client takes
        chunks."""
        return self._decoder.splice if self._has_content and self._client.chunked else None

    def forward(self, data: bytes, now: float) -> None:
        client = self._client
        client.send(data)
        client.last_write = now

    def full(self) -> bool:
        return self._client.full()

    async def drain(self) -> None:
        await self._client.drain()


class ToReply(Patient):
    """The body of a stream for a client that wants one message, because the upstream only streams, or of a JSON
    reply."""

    __slots__ = ("_decoder", "_sink", "pass_on")

    def __init__(self, decoder: Decoder, sink: Reply) -> None:
        self._decoder = decoder
        self._sink = sink
        self.pass_on = decoder.feed

    @property
    def is_over(self) -> bool:
        return self._decoder.is_finished or self._sink.problem is not None
