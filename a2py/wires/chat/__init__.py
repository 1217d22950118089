"""The chat-completions wire."""

from a2py.wires.chat.found import decoder
from a2py.wires.chat.request import prepare_in_slices
from a2py.wires.types import Wire

WIRE = Wire(prepare_in_slices, decoder)
