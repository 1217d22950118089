"""What a wire is: how one upstream protocol is asked and understood.

Knows: the two functions of a wire. Must not know: which wires there are (wires/__init__.py), sockets.

A decoder and its sink keep five promises, which tests/streams.py checks for every wire on every recording and golden:

1. After each `feed`, the sink's `take()` returns only complete events.
2. The decoder raises on no input. A data line that begins with `{` and is no JSON is damage and ends the reply with one error. Any other
   line that is no event is skipped.
3. The output depends on the concatenation of the input, never on where it was cut.
4. Either nothing was begun and the answer is one error, or there is exactly one `message_start` and one terminal event.
5. After the end nothing follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from a2py.deployment import Deployment
from a2py.messages.types import Call, Decoder, Prepared, Sink
from a2py.slices import Slices, at_once


class Wire(NamedTuple):
    """`prepare_in_slices`: makes the request as it goes upstream, streamed or not; `decoder`: reads the answer, a stream or one JSON body."""

    prepare_in_slices: Callable[[Call, Deployment, bool], Slices[Prepared]]
    decoder: Callable[[Prepared, Sink], Decoder]

    def prepare(self, call: Call, dep: Deployment, stream: bool) -> Prepared:
        """Return the request, made without a pause."""
        return at_once(self.prepare_in_slices(call, dep, stream))
