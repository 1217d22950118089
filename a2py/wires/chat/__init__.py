"""The chat-completions wire."""

from a2py.wires import failure
from a2py.wires.chat.pages import decoder
from a2py.wires.chat.request import prepare_in_slices
from a2py.wires.chat.unary import reply
from a2py.wires.types import Wire

WIRE = Wire(prepare_in_slices, decoder, reply, failure.read)
