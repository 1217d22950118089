"""A whole Anthropic message → the sink. Knows: nothing that the stream's decoder does not know."""

from __future__ import annotations

from a2py.messages.types import Outcome, Prepared, Sink
from a2py.wires.native.stream import NativeDecoder


def reply(prepared: Prepared, body: bytes, sink: Sink) -> Outcome:
    """`body`: a JSON message, or the event stream that some servers send all the same."""
    decoder = NativeDecoder(prepared, sink)
    decoder.feed_whole(body)
    return decoder.close()
