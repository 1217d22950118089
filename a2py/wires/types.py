"""What a wire is: how one upstream protocol is asked, read and understood.

Knows: the four functions of a wire. Must not know: which wires there are (wires/__init__.py), sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.types import Call, Decoder, Outcome, Prepared, Sink
from a2py.slices import Slices, at_once


class Wire(NamedTuple):
    """`prepare_in_slices`: the request as it goes upstream; `decoder`: of a stream; `reply`: of a unary JSON body; `error`: of a status that is
    not 2xx (status, headers with lower-case names, body as far as it was read)."""

    prepare_in_slices: Callable[[Call, Deployment, bool], Slices[Prepared]]
    decoder: Callable[[Prepared, Sink], Decoder]
    reply: Callable[[Prepared, bytes, Sink], Outcome]
    error: Callable[[int, Mapping[str, str], bytes], ApiError]

    def prepare(self, call: Call, dep: Deployment, stream: bool) -> Prepared:
        """`prepare_in_slices`, at once."""
        return at_once(self.prepare_in_slices(call, dep, stream))
