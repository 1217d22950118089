"""A request being translated: the state that the topic modules of a wire's request builder share.

Knows: call, deployment, what was lost on the way. Must not know: any upstream's field names.
Invariants: `lost` names each thing once, in order of appearance.
"""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call
from a2py.wires.common.names import Names


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
        self._lost[what] = None

    @property
    def degraded(self) -> tuple[str, ...]:
        return tuple(self._lost)
