"""A request while it is translated: the state that the modules of a wire's request side share, and the `Prepared` that it becomes.

Knows: call, deployment, what was lost on the way. Must not know: any upstream's field names.
Invariants: `lost` names each thing once, in order of appearance; every `Prepared` is made by `prepared`.
"""

from __future__ import annotations

from collections.abc import Mapping

from a2py import jsontext
from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call, Prepared
from a2py.wires.common.names import Names
from a2py.wires.common.text import block_text, blocks, omitted, without_billing

#: Lost things that are named, and the characters of each name: the client's own words may be among them.
LOST_LIMIT, NAME_LIMIT = 50, 100


class Draft:
    """`body`: the upstream request so far; `stops`: what the decoder must cut at; `added`: fields that a lesson may take away;
    `stream`: the upstream is asked for a stream."""

    __slots__ = ("_lost", "added", "body", "call", "dep", "forced", "names", "quirks", "request", "search", "stops", "stream")

    def __init__(self, call: Call, dep: Deployment, stream: bool = False) -> None:
        self.call = call
        self.request = call.request
        self.dep = dep
        self.quirks = dep.quirks
        self.body: JSON = {}
        self.names = Names(dep.quirks.tool_name_limit)
        self.stops: tuple[str, ...] = ()
        self.added: set[str] = set()
        self.search = ""  # what the upstream is to search the web for
        self.stream = stream or dep.quirks.stream_only
        self.forced = False  # the client forces a tool call
        self._lost: dict[str, None] = {}

    def lose(self, what: str) -> None:
        """Note a thing that the upstream will not get."""
        if len(self._lost) < LOST_LIMIT:
            self._lost[what[:NAME_LIMIT]] = None

    def text(self, block: JSON) -> str:
        """Return `block` as text. What the text leaves out is noted as lost."""
        if block["type"] == "text":
            return str(block["text"])
        for what in omitted(block):
            self.lose(what)
        return block_text(block)

    def system_texts(self, message: JSON) -> list[str]:
        """Return the texts of a system message in mid-conversation, non-empty ones only."""
        return [text for block in blocks(message["content"]) if (text := without_billing(self.text(block)))]

    @property
    def degraded(self) -> tuple[str, ...]:
        return tuple(self._lost)


def prepared(draft: Draft, url: str, headers: Mapping[str, str], limit: int = 0) -> Prepared:
    """Return the request as it goes upstream. `limit`: output tokens that mean a cut reply if exactly so many come; 0: not looked at."""
    quirks = draft.quirks
    return Prepared(
        url=url,
        headers=dict(headers),
        body=jsontext.packed(draft.body),
        stream=draft.stream,
        names=draft.names.back,
        stops=draft.stops,
        degraded=draft.degraded,
        added=frozenset(draft.added),
        think_tags=quirks.think_tags,
        think_open=quirks.think_open,
        limit=limit,
        provider=draft.dep.provider,
        address=draft.dep.address,
        search=draft.search,
    )
