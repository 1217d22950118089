"""The wire to upstreams that speak Anthropic themselves."""

from a2py.wires.native.request import prepare_in_slices
from a2py.wires.native.stream import NativeDecoder
from a2py.wires.types import Wire

WIRE = Wire(prepare_in_slices, NativeDecoder)
