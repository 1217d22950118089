"""What a wire is: the translation to and from one upstream API.

Knows: the two functions of a wire. Must not know: which wires there are (wires/__init__.py), sockets.

The decoder contract. A decoder and its sink keep five promises, which tests/streams.py checks for every wire with every
recording and golden:

1. After each `feed`, the sink's `take()` returns only complete events. It may return nothing.
2. The decoder raises on no input. An event whose data begins with `{` and is not JSON is damage, and ends the reply
   with one error. Any other event that is not JSON is noise: it is skipped, and counted in a note for the log.
3. The output depends on the concatenation of the input, never on where it was cut.
4. The output is either one error, or exactly one `message_start` and one terminal event.
5. Nothing follows the terminal event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from a2py.deployment import Deployment
from a2py.messages.types import Call, Decoder, Prepared, Sink
from a2py.slices import Slices, at_once


class Wire(NamedTuple):
    """`prepare_in_slices`: returns the upstream's request. Its last argument says whether to ask for a stream.
    `decoder`: returns a decoder for the reply, a stream or one JSON body."""

    prepare_in_slices: Callable[[Call, Deployment, bool], Slices[Prepared]]
    decoder: Callable[[Prepared, Sink], Decoder]

    def prepare(self, call: Call, dep: Deployment, stream: bool) -> Prepared:
        """Return the request, made in one go."""
        return at_once(self.prepare_in_slices(call, dep, stream))
