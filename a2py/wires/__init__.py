"""The wires by name. Each is imported when it is first used."""

from __future__ import annotations

from importlib import import_module

from a2py.messages.types import Outcome, Prepared, Sink
from a2py.wires.types import Wire

#: Name → module that holds its `WIRE`.
WIRES = {"chat": "a2py.wires.chat", "responses": "a2py.wires.responses", "native": "a2py.wires.native"}


#: Bytes of a body that are passed to a decoder together.
READ = 64 * 1024


def wire(name: str) -> Wire:
    """Return the wire `name`. Raises KeyError if there is none."""
    implementation: Wire = import_module(WIRES[name]).WIRE
    return implementation


def reply(wire: Wire, prepared: Prepared, body: bytes, sink: Sink) -> Outcome:
    """Decode a whole `body` into `sink`. It is one JSON object, or an event stream, which some servers send although
    none was asked for."""
    decoder = wire.decoder(prepared, sink)
    for at in range(0, len(body), READ):
        decoder.feed(body[at : at + READ])
    return decoder.close()
