"""Anthropic's tools: which are in force, and which function replaces each on a wire that has only functions.

Knows: Anthropic's tool types: custom, client-side typed (typed.py has their functions), server tools, tool search,
deferred tools.
Must not know: how an upstream writes a tool.
Invariants: a server tool never becomes a function with an empty schema; every other tool is sent, deferred or not.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON
from a2py.wires.common.typed import TYPED_TOOLS, Function

#: Name of an entry by which Claude Code (2.1.332) represents tools that it has not loaded. It is no tool.
PLACEHOLDER = "DeferredToolPlaceholder"
#: Start of a server tool's type → its name in the header x-a2py-degraded.
SERVER: dict[str, str] = {
    "web_search_": "web_search",
    "web_fetch_": "web_fetch",
    "code_execution_": "code_execution",
    "tool_search_tool_": "tool_search",
    "advisor_": "advisor",
    "mcp_toolset": "mcp_servers",
    "computer_toolset_": "computer_toolset",  # one entry for seventeen tools, whose schemas are not published
}


def server_name(tool: JSON) -> str:
    """Return the name of a server tool in x-a2py-degraded; "" for tools that the client runs."""
    kind = tool.get("type") or "custom"
    if kind == "custom":
        return ""
    for prefix, name in SERVER.items():
        if kind.startswith(prefix):
            return name
    return (
        ""
        if any(kind.startswith(prefix) for prefix in TYPED_TOOLS) or isinstance(tool.get("input_schema"), dict)
        else str(kind)
    )


class ToolList:
    """The tools of a request, changed by the `tool_addition` and `tool_removal` blocks of its system messages.

    `is_changed`: a block has changed them. A definition replaces an older one with the same name. A reference restores
    a tool that was removed. Both are added at the end."""

    def __init__(self, tools: list[JSON]) -> None:
        self.is_changed = False
        self._tools: list[JSON | None] = []
        self._definitions: dict[str, JSON] = {}  # also of removed tools
        self._places: dict[str, list[int]] = {}  # name → indexes in `_tools`
        for tool in tools:
            self.add(tool)

    def add(self, tool: JSON) -> None:
        self._add(tool.get("name"), tool)

    def change(self, block: JSON) -> None:
        """Apply one block. Blocks of other types and malformed ones are ignored."""
        change = block.get("tool")
        if not isinstance(change, dict):
            return
        definition = change.get("definition")
        name = definition.get("name") if isinstance(definition, dict) else change.get("name") or change.get("tool_name")
        if not isinstance(name, str):
            return
        if block["type"] == "tool_addition" and isinstance(definition, dict):
            self._remove(name)
            self._add(name, definition)
        elif block["type"] == "tool_addition" and name in self._definitions and name not in self._places:
            self._add(name, self._definitions[name])
        elif block["type"] == "tool_removal" and name in self._places:
            self._remove(name)
        else:
            return
        self.is_changed = True

    def _add(self, name: Any, tool: JSON) -> None:
        if isinstance(name, str):
            self._definitions[name] = tool
            self._places.setdefault(name, []).append(len(self._tools))
        self._tools.append(tool)

    def _remove(self, name: str) -> None:
        for place in self._places.pop(name, ()):
            self._tools[place] = None

    def current(self) -> list[JSON]:
        """Return the tools that are in force."""
        return [tool for tool in self._tools if tool is not None]


def as_function(tool: JSON) -> Function | None:
    """Return `tool` as a function; None for server tools and placeholders."""
    name = tool.get("name")
    if name == PLACEHOLDER or server_name(tool):
        return None
    schema: Any = tool.get("input_schema")
    description = tool.get("description")
    if isinstance(schema, dict) and isinstance(name, str) and name:
        return Function(name, description if isinstance(description, str) else "", schema)
    kind = tool.get("type") or ""
    for prefix, make in TYPED_TOOLS.items():
        if kind.startswith(prefix):
            function = make(tool)
            return function._replace(name=name) if isinstance(name, str) and name else function
    return None
