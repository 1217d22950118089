"""Tools and tool_choice on the Responses wire.

Knows: function tools, the hosted web search, the forms of tool_choice. Must not know: message history.
Invariants: tool_choice and parallel_tool_calls never go without tools; strict mode is never asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from a2py.messages.types import JSON
from a2py.slices import Slices
from a2py.wires.common import search
from a2py.wires.common.draft import Draft
from a2py.wires.common.schema import clean
from a2py.wires.common.tools import function, in_force, server_name

#: What makes an upstream name the pages that its search found.
SOURCES = "web_search_call.action.sources"


def add(draft: Draft) -> Slices[None]:
    """`tools`, `tool_choice`, `parallel_tool_calls` and what the hosted search needs."""
    q = draft.quirks
    choice = draft.request.body.get("tool_choice") or {}
    kind, wanted = choice.get("type"), choice.get("name")
    sent: dict[str, JSON] = {}
    asked: JSON | None = None
    yield
    for tool in in_force(draft):
        yield
        server = server_name(tool)
        if server == "web_search" and q.web_search == "responses":
            asked = asked or tool
        elif server:
            draft.lose(server)
        else:
            found = function(tool)
            if found is not None:
                sent[found.name] = {
                    "type": "function",
                    "name": draft.names.sent(found.name),
                    **({"description": found.description} if found.description else {}),
                    "parameters": clean(found.schema, q.schema),
                    "strict": False,  # where it is absent OpenAI makes a schema strict by itself, and the model answers nulls
                }
    if draft.request.body.get("mcp_servers"):
        draft.lose("mcp_servers")
    if sent and not q.tools:
        draft.lose("tools")
        sent = {}
    hosted = [] if asked is None else [_hosted(draft, asked)]
    named = kind == "tool"
    if named and wanted not in sent and not (asked is not None and wanted == asked.get("name")):
        draft.lose("tool_choice")
        named, kind = False, None
    if named and q.tool_choice_named == "only":
        sent = {name: tool for name, tool in sent.items() if name == wanted}
        hosted = hosted if not sent else []
    tools = [*sent.values(), *hosted]
    if not tools:
        if draft.degraded and kind == "any":  # it forced one that was lost
            draft.lose("tool_choice")
        return
    if kind == "none" and not q.tool_choice_none:
        return
    draft.body["tools"] = tools
    form = _CHOICES.get(kind) if isinstance(kind, str) else None
    if form is not None:
        form(draft, sent.get(str(wanted)) if named else None)
    if choice.get("disable_parallel_tool_use"):
        if q.parallel_tool_calls:
            draft.body["parallel_tool_calls"] = False
            draft.added.add("parallel_tool_calls")
        else:
            draft.lose("disable_parallel_tool_use")


def _auto(draft: Draft, tool: JSON | None) -> None:
    draft.body["tool_choice"] = "auto"


def _none(draft: Draft, tool: JSON | None) -> None:
    draft.body["tool_choice"] = "none"


def _any(draft: Draft, tool: JSON | None) -> None:
    word = draft.quirks.tool_choice_any
    if word:
        draft.forced = True
        draft.body["tool_choice"] = word
        draft.added.add("tool_choice")
    else:
        draft.body["tool_choice"] = "auto"
        draft.lose("tool_choice")


def _tool(draft: Draft, tool: JSON | None) -> None:
    """`tool`: the function that is named; None where it is the hosted search."""
    form = draft.quirks.tool_choice_named
    if form == "only":
        _any(draft, tool)
    elif form == "none":
        draft.lose("tool_choice")
    else:
        draft.forced = True
        draft.body["tool_choice"] = (
            {"type": "function", "name": tool["name"]}
            if tool is not None
            else {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}
        )
        draft.added.add("tool_choice")


_CHOICES: dict[str, Callable[[Draft, JSON | None], None]] = {"auto": _auto, "none": _none, "any": _any, "tool": _tool}


def _hosted(draft: Draft, tool: JSON) -> JSON:
    """Anthropic's web search as the upstream's own. `blocked_domains` has no counterpart; `max_uses` bounds all hosted calls of the reply."""
    out: JSON = {"type": "web_search"}
    allowed = search.domains(tool.get("allowed_domains"))
    if allowed:
        out["filters"] = {"allowed_domains": allowed}
    if search.domains(tool.get("blocked_domains")):
        draft.lose("web_search.blocked_domains")
    place = search.place(tool.get("user_location"))
    if place is not None:
        out["user_location"] = place
    uses = tool.get("max_uses")
    if isinstance(uses, int) and uses > 0 and draft.quirks.max_tool_calls:
        draft.body["max_tool_calls"] = uses
        draft.added.add("max_tool_calls")
    draft.body["include"] = [SOURCES]
    draft.added.add("include")
    return out
