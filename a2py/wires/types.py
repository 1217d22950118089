"""What a wire is: how one upstream protocol is asked, read and understood.

Knows: the four functions of a wire. Must not know: which wires there are (wires/__init__.py), sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.types import Call, Decoder, Outcome, Prepared, Sink


class Wire(NamedTuple):
    """`prepare`: the request as it goes upstream; `decoder`: of a stream; `reply`: of a unary JSON body; `error`: of a status that is not 2xx
    (status, headers with lower-case names, body as far as it was read)."""

    prepare: Callable[[Call, Deployment, bool], Prepared]
    decoder: Callable[[Prepared, Sink], Decoder]
    reply: Callable[[Prepared, bytes, Sink], Outcome]
    error: Callable[[int, Mapping[str, str], bytes], ApiError]
