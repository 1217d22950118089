"""The chat-completions wire: the API that most OpenAI-compatible servers implement."""

from a2py.wires.chat.request import prepare_in_slices
from a2py.wires.chat.search_results import make_decoder
from a2py.wires.types import Wire

WIRE = Wire(prepare_in_slices, make_decoder)
