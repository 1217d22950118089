"""Which tools are sent on both OpenAI wires, and the client's choice among them.

Knows: the quirks of tool_choice. Must not know: how a wire writes a tool, message history.
Invariants: tool_choice and parallel_tool_calls are never sent without tools.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.search import NAME
from a2py.wires.common.tools import ToolList, as_function, server_name
from a2py.wires.common.typed import Function


def current_tools(draft: Draft) -> Slices[list[JSON]]:
    """Return the client's tools after all changes in mid-conversation. Of two with the same name the later is used."""
    tools = draft.request.tools
    changes = [
        message
        for message in draft.request.messages
        if message["role"] == "system" and isinstance(message["content"], list)
    ]
    if changes:
        tool_list = ToolList([])
        for n, tool in enumerate(tools):
            if n % ITEMS == 0:
                yield
            tool_list.add(tool)
        for n, message in enumerate(changes, 1):
            if not n % ITEMS:
                yield
            for block in message["content"]:
                tool_list.change(block)
        tools = tool_list.current()
    by_name: dict[str, JSON] = {}
    for n, tool in enumerate(tools):
        if n % ITEMS == 0:
            yield
        by_name[str(tool.get("name", n))] = tool
    return list(by_name.values())


def select_tools(draft: Draft, searches: bool) -> Slices[tuple[list[Function], JSON | None]]:
    """Return the functions to send, and the client's web search if the upstream `searches` by itself. Other server
    tools are reported as lost."""
    functions: list[Function] = []
    search: JSON | None = None
    tools = yield from current_tools(draft)
    for n, tool in enumerate(tools, 1):
        if not n % ITEMS:
            yield
        server = server_name(tool)
        if server == NAME and searches:
            search = search or tool
        elif server:
            draft.lose(server)
        else:
            function = as_function(tool)
            if function is not None:
                functions.append(function)
    if draft.request.body.get("mcp_servers"):
        draft.lose("mcp_servers")
    return functions, search


def choose(draft: Draft, kind: Any, tool_choice: JSON) -> None:
    """Write `tool_choice` and `parallel_tool_calls`. `kind`: type of the client's choice. `tool_choice`: how the wire
    writes a choice of the tool that the client names."""
    q = draft.quirks
    if kind == "tool" and q.tool_choice_named == "object":
        _force(draft, tool_choice)
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
            draft.added_fields.add("parallel_tool_calls")
        else:
            draft.lose("disable_parallel_tool_use")


def _force(draft: Draft, choice: Any) -> None:
    draft.forces_tool = True
    draft.body["tool_choice"] = choice
    draft.added_fields.add("tool_choice")
