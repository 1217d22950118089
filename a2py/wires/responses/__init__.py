"""The wire to OpenAI's Responses API."""

from a2py.wires.responses.request import prepare_in_slices
from a2py.wires.responses.stream import ResponsesDecoder
from a2py.wires.types import Wire

WIRE = Wire(prepare_in_slices, ResponsesDecoder)
