"""A request while it is translated: the state that the modules of a wire's request side share, and the `Prepared` that
it becomes.

Knows: call, deployment, what could not be translated. Must not know: any upstream's field names.
Invariants: `degraded` names each lost thing once, in order of appearance; every `Prepared` is made by `make_prepared`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from a2py import jsontext
from a2py.deployment import Deployment
from a2py.messages.session import strip_billing
from a2py.messages.types import JSON, Call, Prepared
from a2py.wires.common.names import Names
from a2py.wires.common.text import block_text, blocks, list_omitted, too_deep

#: How many lost things are named, and the characters of each name. Some names come from the client.
LOST_LIMIT, NAME_LIMIT = 50, 100
#: Params under which a configuration sets an output limit.
PRESETS = ("max_tokens", "max_completion_tokens")


class Draft:
    """`body`: the upstream request so far. `stops`: stop sequences that the decoder applies. `added_fields`: optional
    fields, which a lesson may remove. `stream`: the upstream is asked for a stream. `search`: what the upstream is to
    search the web for. `forces_tool`: the client forces a tool call."""

    __slots__ = (
        "_losses",
        "added_fields",
        "body",
        "call",
        "dep",
        "forces_tool",
        "names",
        "quirks",
        "request",
        "search",
        "stops",
        "stream",
    )

    def __init__(self, call: Call, dep: Deployment, stream: bool = False) -> None:
        self.call = call
        self.request = call.request
        self.dep = dep
        self.quirks = dep.quirks
        self.body: JSON = {}
        self.names = Names(dep.quirks.tool_name_limit)
        self.stops: tuple[str, ...] = ()
        self.added_fields: set[str] = set()
        self.search = ""
        self.stream = (stream or dep.quirks.stream_only) and not dep.quirks.whole_only
        self.forces_tool = False
        self._losses: dict[str, None] = {}

    def lose(self, what: str) -> None:
        """Report `what` as lost: the upstream will not get it."""
        if len(self._losses) < LOST_LIMIT:
            self._losses[what[:NAME_LIMIT]] = None

    def text(self, block: JSON) -> str:
        """Return `block` as text. What the text leaves out is reported as lost."""
        if block["type"] == "text":
            return str(block["text"])
        for what in list_omitted(block):
            self.lose(what)
        return block_text(block)

    def system_texts(self, message: JSON) -> list[str]:
        """Return the texts of a system message in mid-conversation, non-empty ones only."""
        return [text for block in blocks(message["content"]) if (text := strip_billing(self.text(block)))]

    def lower_to_maximum(self, limit: int) -> int:
        """Return an output `limit`, in tokens, or the smallest maximum that a quirk, the deployment or its params
        give."""
        maxima = [self.quirks.max_tokens_limit, self.dep.max_output_tokens, *map(self.dep.params.get, PRESETS)]
        return min([limit, *(maximum for maximum in maxima if isinstance(maximum, int) and maximum > 0)])

    @property
    def degraded(self) -> tuple[str, ...]:
        return tuple(self._losses)


def make_prepared(draft: Draft, url: str, headers: Mapping[str, str], limit: int = 0) -> Prepared:
    """Return the request as it is sent. `limit`: a reply of exactly so many output tokens was cut; 0: its length says
    nothing. Raise `ApiError` if the request nests too deep to be sent whole."""
    quirks = draft.quirks
    try:
        body = jsontext.dumps_to_keep(draft.body)
    except ValueError as error:
        raise too_deep(error) from None
    return Prepared(
        url=url,
        headers=dict(headers),
        body=body,
        stream=draft.stream,
        names=draft.names.back,
        stops=draft.stops,
        degraded=draft.degraded,
        added_fields=frozenset(draft.added_fields),
        think_tags=quirks.think_tags,
        think_open=quirks.think_open,
        limit=limit,
        provider=draft.dep.provider,
        address=draft.dep.address,
        tools=frozenset(_tool_names(draft.body.get("tools"))),
        search=draft.search,
    )


def _tool_names(tools: Any) -> Iterator[str]:
    """Return the names of a request's tools, in either of OpenAI's forms or Anthropic's."""
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function", tool) if tool.__class__ is dict else None
        name = function.get("name") if function.__class__ is dict else None
        if name.__class__ is str:
            yield name
