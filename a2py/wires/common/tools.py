"""Which tools are in force, and what each one is to a wire that has only functions.

Knows: Anthropic's tool types: custom, client-side typed (typed.py has their functions), server tools, tool search, deferred tools.
Must not know: any upstream's tool shape.
Invariants: a server tool never becomes a function with an empty schema; every other tool goes upstream, deferred or not.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.typed import TYPED, Function

#: Claude Code's stand-in for tools that it has not loaded (2.1.330): no tool at all.
PLACEHOLDER = "DeferredToolPlaceholder"


#: Prefix of a server tool's type → its name in x-a2py-degraded.
SERVER: dict[str, str] = {
    "web_search_": "web_search",
    "web_fetch_": "web_fetch",
    "code_execution_": "code_execution",
    "tool_search_tool_": "tool_search",
    "advisor_": "advisor",
    "mcp_toolset": "mcp_servers",
    "computer_toolset_": "computer_toolset",  # one entry, seventeen tools: none of them is declared
}


def server_name(tool: JSON) -> str:
    """The degraded name of a server tool; "" for tools that the client runs."""
    kind = tool.get("type") or "custom"
    if kind == "custom":
        return ""
    for prefix, name in SERVER.items():
        if kind.startswith(prefix):
            return name
    return "" if any(kind.startswith(prefix) for prefix in TYPED) or isinstance(tool.get("input_schema"), dict) else str(kind)


def in_force(draft: Draft) -> list[JSON]:
    """The request's tools, changed by the `tool_addition` and `tool_removal` blocks of its messages, in order."""
    known = {str(tool.get("name", n)): tool for n, tool in enumerate(draft.request.tools)}
    tools = {**known}
    for message in draft.request.messages:
        content = message["content"]
        if message["role"] != "system" or not isinstance(content, list):
            continue
        for block in content:
            change = block.get("tool")
            if not isinstance(change, dict):
                continue
            definition = change.get("definition")
            name = definition.get("name") if isinstance(definition, dict) else change.get("name") or change.get("tool_name")
            if not isinstance(name, str):
                continue
            if block["type"] == "tool_removal":
                tools.pop(name, None)
            elif block["type"] == "tool_addition" and isinstance(definition, dict):
                tools[name] = known[name] = definition
            elif block["type"] == "tool_addition" and name in known:  # by reference: one that was removed comes back
                tools[name] = known[name]
    return list(tools.values())


def function(tool: JSON) -> Function | None:
    """`tool` as a function; None for server tools and placeholders."""
    name = tool.get("name")
    if name == PLACEHOLDER or server_name(tool):
        return None
    schema: Any = tool.get("input_schema")
    description = tool.get("description")
    if isinstance(schema, dict) and isinstance(name, str) and name:
        return Function(name, description if isinstance(description, str) else "", schema)
    kind = tool.get("type") or ""
    for prefix, published in TYPED.items():
        if kind.startswith(prefix):
            found = published(tool)
            return found._replace(name=name) if isinstance(name, str) and name else found
    return None


def functions(draft: Draft, searches: bool = False) -> Slices[list[Function]]:
    """The functions to offer; server tools are noted as lost, but the web search where the upstream `searches`."""
    out = []
    for n, tool in enumerate(in_force(draft), 1):
        if not n % ITEMS:
            yield
        lost = server_name(tool)
        if lost:
            if lost != "web_search" or not searches:
                draft.lose(lost)
            continue
        found = function(tool)
        if found is not None:
            out.append(found)
    if draft.request.body.get("mcp_servers"):
        draft.lose("mcp_servers")
    return out
