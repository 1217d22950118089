"""Which tools go out on both OpenAI wires, and how the client's choice among them is told.

Knows: the quirks of tool_choice. Must not know: how a wire writes a tool, message history.
Invariants: tool_choice and parallel_tool_calls never go without tools.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.search import NAME
from a2py.wires.common.tools import ToolList, function, server_name
from a2py.wires.common.typed import Function


def in_force(draft: Draft) -> Slices[list[JSON]]:
    """Return the client's tools after all changes in mid-conversation. Of two with one name the later counts."""
    given = draft.request.tools
    changes = [message for message in draft.request.messages if message["role"] == "system" and isinstance(message["content"], list)]
    if changes:
        tools = ToolList([])
        for n, tool in enumerate(given):
            if n % ITEMS == 0:
                yield
            tools.add(tool)
        for n, message in enumerate(changes, 1):
            if not n % ITEMS:
                yield
            for block in message["content"]:
                tools.change(block)
        given = tools.left()
    left: dict[str, JSON] = {}
    for n, tool in enumerate(given):
        if n % ITEMS == 0:
            yield
        left[str(tool.get("name", n))] = tool
    return list(left.values())


def offered(draft: Draft, searches: bool) -> Slices[tuple[list[Function], JSON | None]]:
    """Return the functions to offer, and the client's web search if the upstream `searches` by itself. Other server tools are noted as lost."""
    functions: list[Function] = []
    search: JSON | None = None
    tools = yield from in_force(draft)
    for n, tool in enumerate(tools, 1):
        if not n % ITEMS:
            yield
        server = server_name(tool)
        if server == NAME and searches:
            search = search or tool
        elif server:
            draft.lose(server)
        else:
            found = function(tool)
            if found is not None:
                functions.append(found)
    if draft.request.body.get("mcp_servers"):
        draft.lose("mcp_servers")
    return functions, search


def choose(draft: Draft, kind: Any, named: JSON) -> None:
    """Write `tool_choice` and `parallel_tool_calls` beside the tools in the body. `kind`: type of the client's choice; `named`: how the wire
    writes the choice of the tool that the client names."""
    q = draft.quirks
    if kind == "tool" and q.tool_choice_named == "object":
        _force(draft, named)
    elif kind == "tool" and q.tool_choice_named == "none":
        draft.lose("tool_choice")
    elif kind in ("any", "tool") and q.tool_choice_any:  # `only`: the named tool is the only one in the body
        _force(draft, q.tool_choice_any)
    elif kind in ("any", "tool"):
        draft.body["tool_choice"] = "auto"
        draft.lose("tool_choice")
    elif kind in ("auto", "none"):
        draft.body["tool_choice"] = kind
    if (draft.request.body.get("tool_choice") or {}).get("disable_parallel_tool_use"):
        if q.parallel_tool_calls:
            draft.body["parallel_tool_calls"] = False
            draft.added.add("parallel_tool_calls")
        else:
            draft.lose("disable_parallel_tool_use")


def _force(draft: Draft, choice: Any) -> None:
    draft.forced = True
    draft.body["tool_choice"] = choice
    draft.added.add("tool_choice")
