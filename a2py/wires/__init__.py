"""The wires by name. Each is imported when it is first used."""

from __future__ import annotations

from importlib import import_module

from a2py.messages.types import Outcome, Prepared, Sink
from a2py.wires.types import Wire

#: Name → module that holds its `WIRE`.
WIRES = {"chat": "a2py.wires.chat", "responses": "a2py.wires.responses", "native": "a2py.wires.native"}


#: Bytes of a whole body that a decoder reads at once.
READ = 64 * 1024


def wire(name: str) -> Wire:
    """Return the wire `name`. Raises KeyError if there is none."""
    found: Wire = import_module(WIRES[name]).WIRE
    return found


def reply(wire: Wire, prepared: Prepared, body: bytes, sink: Sink) -> Outcome:
    """Read a whole `body` into `sink`: one JSON object, or the event stream that some servers send all the same."""
    decoder = wire.decoder(prepared, sink)
    for at in range(0, len(body), READ):
        decoder.feed(body[at : at + READ])
    return decoder.close()
