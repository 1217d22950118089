"""The native wire: an upstream that speaks Anthropic Messages itself."""

from a2py.wires import failure
from a2py.wires.native.request import prepare_in_slices
from a2py.wires.native.stream import NativeDecoder
from a2py.wires.native.unary import reply
from a2py.wires.types import Wire

WIRE = Wire(prepare_in_slices, NativeDecoder, reply, failure.read)
