"""A request being translated: the state that the topic modules of a wire's request builder share.

Knows: call, deployment, what was lost on the way. Must not know: any upstream's field names.
Invariants: `lost` names each thing once, in order of appearance.
"""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call
from a2py.wires.common.names import Names
from a2py.wires.common.text import block_text, blocks, omitted, without_billing

#: Lost things that are named, and the characters of each name: the client's own words may be among them.
LOST_LIMIT, NAME_LIMIT = 50, 100


class Draft:
    """`body`: the upstream request so far; `stops`: what the decoder must cut at; `added`: fields that a lesson may take away."""

    __slots__ = ("_lost", "added", "body", "call", "dep", "forced", "names", "quirks", "request", "search", "stops", "stream", "tools")

    def __init__(self, call: Call, dep: Deployment) -> None:
        self.call = call
        self.request = call.request
        self.dep = dep
        self.quirks = dep.quirks
        self.body: JSON = {}
        self.names = Names(dep.quirks.tool_name_limit)
        self.stops: tuple[str, ...] = ()
        self.added: set[str] = set()
        self.search = ""  # what the upstream is to search the web for
        self.tools: list[JSON] = []  # the client's tools that are in force, as it sent them
        self.stream = False  # the upstream is asked for a stream
        self.forced = False  # the client forces a tool call
        self._lost: dict[str, None] = {}

    def lose(self, what: str) -> None:
        """Note a thing that the upstream will not get."""
        if len(self._lost) < LOST_LIMIT:
            self._lost[what[:NAME_LIMIT]] = None

    def text(self, block: JSON) -> str:
        """`block` as text; what the text leaves out is noted as lost."""
        if block["type"] == "text":
            return str(block["text"])
        for what in omitted(block):
            self.lose(what)
        return block_text(block)

    def system_texts(self, message: JSON) -> list[str]:
        """The texts of a system message in mid-conversation, non-empty ones only."""
        return [text for block in blocks(message["content"]) if (text := without_billing(self.text(block)))]

    @property
    def degraded(self) -> tuple[str, ...]:
        return tuple(self._lost)
