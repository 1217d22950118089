"""Which tools are in force, and what each one is to a wire that has only functions.

Knows: Anthropic's tool types: custom, client-side typed (bash, text editor, computer, memory), server tools, tool search, deferred tools.
Must not know: any upstream's tool shape.
Invariants: a server tool never becomes a function with an empty schema; every other tool goes upstream, deferred or not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft


class Function(NamedTuple):
    """A tool as a function. `schema` is the client's own object, never changed in place."""

    name: str
    description: str
    schema: JSON


#: Claude Code's stand-in for tools that it has not loaded (2.1.330): no tool at all.
PLACEHOLDER = "DeferredToolPlaceholder"


def _object(required: list[str], **properties: JSON) -> JSON:
    return {"type": "object", "properties": properties, "required": required}


def _text(description: str, *enum: str) -> JSON:
    out: JSON = {"type": "string", "description": description}
    return {**out, "enum": list(enum)} if enum else out


def _integer(description: str) -> JSON:
    return {"type": "integer", "description": description}


_RANGE: JSON = {"type": "array", "items": {"type": "integer"}, "description": "First and last line to show; -1 is the last line."}
_POINT: JSON = {"type": "array", "items": {"type": "integer"}, "description": "x and y in pixels."}

#: Prefix of a client-side tool's type → its function (docs.claude.com: bash, text editor, computer use and memory tools).
TYPED: dict[str, Function] = {
    "bash_": Function(
        "bash",
        "Run a command in a persistent bash session.",
        _object([], command=_text("The command to run."), restart={"type": "boolean", "description": "Restart the session instead."}),
    ),
    "text_editor_": Function(
        "str_replace_based_edit_tool",
        "View, create and edit text files.",
        _object(
            ["command", "path"],
            command=_text("What to do.", "view", "create", "str_replace", "insert", "undo_edit"),
            path=_text("Absolute path of a file or directory."),
            file_text=_text("Content of the file to create."),
            old_str=_text("The text to replace; it must be unique in the file."),
            new_str=_text("The text that takes its place."),
            insert_line=_integer("The line after which to insert."),
            insert_text=_text("The text to insert."),
            view_range=_RANGE,
        ),
    ),
    "computer_": Function(
        "computer",
        "Control a screen, a mouse and a keyboard, and take screenshots.",
        _object(
            ["action"],
            action=_text(
                "What to do.",
                *[
                    "key",
                    "type",
                    "mouse_move",
                    "left_click",
                    "left_click_drag",
                    "right_click",
                    "middle_click",
                    "double_click",
                    "triple_click",
                    "screenshot",
                ],
                *["cursor_position", "left_mouse_down", "left_mouse_up", "scroll", "hold_key", "wait", "zoom"],
            ),
            coordinate=_POINT,
            start_coordinate=_POINT,
            text=_text("Text to type, or keys to press."),
            scroll_direction=_text("Where to scroll.", "up", "down", "left", "right"),
            scroll_amount=_integer("How many clicks to scroll."),
            duration={"type": "number", "description": "Seconds to hold or wait."},
            region={"type": "array", "items": {"type": "integer"}, "description": "x0, y0, x1, y1 to zoom into."},
        ),
    ),
    "memory_": Function(
        "memory",
        "Keep notes in files below /memories between conversations.",
        _object(
            ["command"],
            command=_text("What to do.", "view", "create", "str_replace", "insert", "delete", "rename"),
            path=_text("Path below /memories."),
            view_range=_RANGE,
            file_text=_text("Content of the file to create."),
            old_str=_text("The text to replace."),
            new_str=_text("The text that takes its place."),
            insert_line=_integer("The line after which to insert."),
            insert_text=_text("The text to insert."),
            old_path=_text("The path to rename."),
            new_path=_text("The new path."),
        ),
    ),
}
#: Prefix of a server tool's type → its name in x-a2py-degraded.
SERVER: dict[str, str] = {
    "web_search_": "web_search",
    "web_fetch_": "web_fetch",
    "code_execution_": "code_execution",
    "tool_search_tool_": "tool_search",
    "advisor_": "advisor",
    "mcp_toolset": "mcp_servers",
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
            return published._replace(name=name if isinstance(name, str) and name else published.name)
    return None


def functions(draft: Draft, searches: bool = False) -> list[Function]:
    """The functions to offer; server tools are noted as lost, but the web search where the upstream `searches`."""
    out = []
    for tool in in_force(draft):
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
