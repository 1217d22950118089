"""A unary response → verbs. The decoder's own code reads the object, so that streamed equals unary."""

from __future__ import annotations

from a2py.messages.types import Outcome, Prepared, Sink
from a2py.wires.responses.stream import ResponsesDecoder


def reply(prepared: Prepared, body: bytes, sink: Sink) -> Outcome:
    """An event stream that answers a unary request is read as one."""
    decoder = ResponsesDecoder(prepared, sink)
    decoder.feed_whole(body)
    return decoder.close()
