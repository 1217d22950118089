"""Tools and tool_choice on the chat wire.

Knows: function tools, the forms of tool_choice. Must not know: message history.
Invariants: tool_choice and parallel_tool_calls never go without tools.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.slices import Slices
from a2py.wires.chat import search
from a2py.wires.common.draft import Draft
from a2py.wires.common.schema import clean
from a2py.wires.common.tools import functions


def add(draft: Draft) -> Slices[None]:
    """`tools`, `tool_choice` and `parallel_tool_calls` of the body."""
    q = draft.quirks
    choice = draft.request.body.get("tool_choice") or {}
    kind = choice.get("type")
    hosted = search.tool(draft)
    yield
    found = yield from functions(draft, hosted is not None)
    further: list[JSON] = []
    if hosted is not None and kind != "none":
        forced = kind == "tool" and choice.get("name") == hosted.get("name")
        further = search.ask(draft, hosted, forced or not found)
        if forced or not found:
            kind = None
    if not found:
        if draft.degraded and kind in ("any", "tool"):  # it forced one that was lost
            draft.lose("tool_choice")
        return
    if not q.tools:
        draft.lose("tools")
        return
    if kind == "none" and not q.tool_choice_none:
        return
    if kind == "tool":
        wanted = choice.get("name")
        if not any(f.name == wanted for f in found):
            draft.lose("tool_choice")
            kind = None
        elif q.tool_choice_named == "only":
            found = [f for f in found if f.name == wanted]
    tools: list[JSON] = []
    for f in found:
        described = {"description": f.description} if f.description else {}
        spec = {"name": draft.names.sent(f.name), **described, "parameters": clean(f.schema, q.schema)}
        tools.append({"type": "function", "function": spec})
        yield
    draft.body["tools"] = tools + further
    if q.tool_stream and draft.stream:
        draft.body["tool_stream"] = True
    if isinstance(kind, str):
        form = _CHOICES.get(kind)
        if form is not None:
            form(draft, choice)
    if choice.get("disable_parallel_tool_use"):
        if q.parallel_tool_calls:
            draft.body["parallel_tool_calls"] = False
            draft.added.add("parallel_tool_calls")
        else:
            draft.lose("disable_parallel_tool_use")


def _auto(draft: Draft, choice: JSON) -> None:
    draft.body["tool_choice"] = "auto"


def _none(draft: Draft, choice: JSON) -> None:
    draft.body["tool_choice"] = "none"


def _any(draft: Draft, choice: JSON) -> None:
    word = draft.quirks.tool_choice_any
    if word:
        draft.forced = True
        draft.body["tool_choice"] = word
        draft.added.add("tool_choice")
    else:
        draft.body["tool_choice"] = "auto"
        draft.lose("tool_choice")


def _tool(draft: Draft, choice: JSON) -> None:
    form = draft.quirks.tool_choice_named
    if form == "object":
        draft.forced = True
        draft.body["tool_choice"] = {"type": "function", "function": {"name": draft.names.sent(choice["name"])}}
        draft.added.add("tool_choice")
    elif form == "only":
        _any(draft, choice)
    else:
        draft.lose("tool_choice")


_CHOICES = {"auto": _auto, "none": _none, "any": _any, "tool": _tool}
