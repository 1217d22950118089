"""The wires by name. Each is imported when it is first used."""

from __future__ import annotations

from importlib import import_module

from a2py.wires.types import Wire

#: Name → module that holds its `WIRE`.
WIRES = {"chat": "a2py.wires.chat", "responses": "a2py.wires.responses", "native": "a2py.wires.native"}


def wire(name: str) -> Wire:
    """The wire `name`; KeyError where there is none."""
    found: Wire = import_module(WIRES[name]).WIRE
    return found
