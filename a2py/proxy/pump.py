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


async def pump(response: aiohttp.ClientResponse, decoder: Decoder, writer: Writer, client: EventStream, first: Callable[[], None]) -> None:
    """Until the decoder has finished or the body has ended; raises what aiohttp raises. `first` is called before the first write."""
    readany = response.content.readany
    begun = False
    while not decoder.finished:
        data = await readany()
        if not data:
            return
        decoder.feed(data)
        out = writer.take()
        if out:
            if not begun:
                begun = True
                first()
            client.write(out)
            if client.full:
                await client.drain()
        if writer.problem is not None:
            return


async def collect(response: aiohttp.ClientResponse, decoder: Decoder, sink: Reply) -> None:
    """The same for a reply that is given whole: an upstream that only streams, a client that does not."""
    readany = response.content.readany
    while not decoder.finished and sink.problem is None:
        data = await readany()
        if not data:
            return
        decoder.feed(data)
