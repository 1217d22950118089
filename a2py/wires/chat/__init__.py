"""The chat-completions wire."""

from a2py.wires import failure
from a2py.wires.chat.fastpath import FastDecoder
from a2py.wires.chat.request import prepare
from a2py.wires.chat.unary import reply
from a2py.wires.types import Wire

WIRE = Wire(prepare, FastDecoder, reply, failure.read)
