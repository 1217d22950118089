"""Anthropic's client-side typed tools as functions. A request has only their type: Claude knows the rest, other models
do not.

Knows: what docs.claude.com publishes about each version of the bash, text editor, computer use and memory tools.
Must not know: which tools are in force.
Invariants: a function has only commands of its version. The client would reject others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from a2py.messages.types import JSON


class Function(NamedTuple):
    """A tool as a function. `schema` may be the client's own object, and must not be changed in place."""

    name: str
    description: str
    schema: JSON


def _object(required: list[str], **properties: JSON) -> JSON:
    return {"type": "object", "properties": properties, "required": required}


def _text(description: str, *enum: str) -> JSON:
    out: JSON = {"type": "string", "description": description}
    return {**out, "enum": list(enum)} if enum else out


def _integer(description: str) -> JSON:
    return {"type": "integer", "description": description}


def _integers(description: str) -> JSON:
    return {"type": "array", "items": {"type": "integer"}, "description": description}


_RANGE = _integers("First and last line to show; -1 is the last line.")
_INSERT: JSON = {
    "insert_line": _integer("The line after which to insert; 0 is the beginning."),
    "insert_text": _text("The text to insert."),
}
_EDIT: JSON = {
    "file_text": _text("Content of the file to create."),
    "old_str": _text("The text to replace; it must be unique in the file."),
    "new_str": _text("The text that takes its place."),
}

_BASH = Function(
    "bash",
    "Run a command in a persistent bash session.",
    _object(
        [],
        command=_text("The command to run."),
        restart={"type": "boolean", "description": "Restart the session instead."},
    ),
)
_EDITOR = "View, create and edit text files."
_PATH = _text("Absolute path of a file or directory.")
_EDITOR_2025 = Function(
    "str_replace_based_edit_tool",
    _EDITOR,
    _object(
        ["command", "path"],
        command=_text("What to do.", "view", "create", "str_replace", "insert"),
        path=_PATH,
        **_EDIT,
        **_INSERT,
        view_range=_RANGE,
    ),
)
#: The versions until 2025-01, which have `undo_edit`, and in which `insert` takes its text from `new_str`.
_EDITOR_2024 = Function(
    "str_replace_editor",
    _EDITOR,
    _object(
        ["command", "path"],
        command=_text("What to do.", "view", "create", "str_replace", "insert", "undo_edit"),
        path=_PATH,
        **{**_EDIT, "new_str": _text("The text that takes its place, or the text to insert.")},
        insert_line=_INSERT["insert_line"],
        view_range=_RANGE,
    ),
)
_MEMORY = Function(
    "memory",
    "Keep notes in files below /memories between conversations.",
    _object(
        ["command"],
        command=_text("What to do.", "view", "create", "str_replace", "insert", "delete", "rename"),
        path=_text("Path below /memories."),
        view_range=_RANGE,
        **_EDIT,
        **_INSERT,
        old_path=_text("The path to rename."),
        new_path=_text("The new path."),
    ),
)
#: Actions of the computer tool by version.
_ACTIONS_2024 = (
    *("key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "middle_click", "double_click"),
    *("screenshot", "cursor_position"),
)
_ACTIONS_2025 = (*_ACTIONS_2024, "triple_click", "left_mouse_down", "left_mouse_up", "scroll", "hold_key", "wait")
_POINT = _integers("x and y in pixels.")


def _computer(tool: JSON, actions: tuple[str, ...], **more: JSON) -> Function:
    width, height = tool.get("display_width_px"), tool.get("display_height_px")
    size = (
        f" The screen is {width} pixels wide and {height} high."
        if isinstance(width, int) and isinstance(height, int)
        else ""
    )
    return Function(
        "computer",
        f"Control a screen, a mouse and a keyboard, and take screenshots.{size}",
        _object(
            ["action"],
            action=_text("What to do.", *actions),
            coordinate=_POINT,
            text=_text("Text to type, or keys to press."),
            **more,
        ),
    )


def _computer_2024(tool: JSON) -> Function:
    return _computer(tool, _ACTIONS_2024)


def _computer_2025(tool: JSON) -> Function:
    zoom = tool.get("enable_zoom") is True
    return _computer(
        tool,
        (*_ACTIONS_2025, "zoom") if zoom else _ACTIONS_2025,
        start_coordinate=_POINT,
        scroll_direction=_text("Where to scroll.", "up", "down", "left", "right"),
        scroll_amount=_integer("How many clicks to scroll."),
        duration={"type": "number", "description": "Seconds to hold or wait."},
        **({"region": _integers("x0, y0, x1, y1 to zoom into.")} if zoom else {}),
    )


#: Start of a tool's type → function that returns its `Function`. The first match is used.
TYPED_TOOLS: dict[str, Callable[[JSON], Function]] = {
    "bash_": lambda tool: _BASH,
    "text_editor_2024": lambda tool: _EDITOR_2024,
    "text_editor_20250124": lambda tool: _EDITOR_2024,
    "text_editor_": lambda tool: _EDITOR_2025,
    "computer_2024": _computer_2024,
    "computer_": _computer_2025,
    "memory_": lambda tool: _MEMORY,
}
