"""A unary chat completion → verbs. The decoder's own code reads the message, so that streamed equals unary."""

from __future__ import annotations

from a2py.messages.types import Outcome, Prepared, Sink
from a2py.wires.chat.found import SearchDecoder
from a2py.wires.chat.stream import ChatDecoder


def reply(prepared: Prepared, body: bytes, sink: Sink) -> Outcome:
    """An event stream that answers a unary request is read as one."""
    decoder = SearchDecoder(prepared, sink) if prepared.search else ChatDecoder(prepared, sink)
    decoder.feed(body)
    return decoder.close()
