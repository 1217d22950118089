"""Tools and tool_choice on the Responses wire.

Knows: how a function is written, the hosted web search. Must not know: message history.
Invariants: tool_choice and parallel_tool_calls never go without tools; strict mode is never asked for.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.slices import Slices
from a2py.wires.common import search
from a2py.wires.common.draft import Draft
from a2py.wires.common.schema import clean_tool_schema
from a2py.wires.common.typed import Function
from a2py.wires.openai.tools import choose, select_tools

#: What makes an upstream name the pages that its search found.
SOURCES = "web_search_call.action.sources"
#: The choice of the hosted search, which has no form of its own.
_SEARCH_ONLY: JSON = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}


def add(draft: Draft) -> Slices[None]:
    """Write `tools`, `tool_choice`, `parallel_tool_calls` and what the hosted search needs."""
    q = draft.quirks
    choice = draft.request.body.get("tool_choice") or {}
    kind, wanted = choice.get("type"), choice.get("name")
    functions, search = yield from select_tools(draft, q.web_search == "responses")
    sent: dict[str, JSON] = {}
    for function in functions:
        sent[function.name] = _tool(draft, function)
        yield
    if sent and not q.tools:
        draft.lose("tools")
        sent = {}
    hosted = [] if search is None else [_hosted(draft, search)]
    if kind == "tool" and wanted not in sent and not (search is not None and wanted == search.get("name")):
        draft.lose("tool_choice")
        kind = None
    if kind == "tool" and q.tool_choice_named == "only":
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
    choose(draft, kind, {"type": "function", "name": sent[wanted]["name"]} if kind == "tool" and wanted in sent else _SEARCH_ONLY)


def _tool(draft: Draft, function: Function) -> JSON:
    return {
        "type": "function",
        "name": draft.names.sent(function.name),
        **({"description": function.description} if function.description else {}),
        "parameters": clean_tool_schema(function.schema, draft.quirks.schema),
        "strict": False,  # where it is absent OpenAI makes a schema strict by itself, and the model answers nulls
    }


def _hosted(draft: Draft, tool: JSON) -> JSON:
    """Anthropic's web search as the upstream's own. `blocked_domains` has no counterpart; `max_uses` bounds all hosted calls of the reply."""
    out: JSON = {"type": "web_search"}
    allowed = search.list_domains(tool.get("allowed_domains"))
    if allowed:
        out["filters"] = {"allowed_domains": allowed}
    if search.list_domains(tool.get("blocked_domains")):
        draft.lose("web_search.blocked_domains")
    place = search.convert_location(tool.get("user_location"))
    if place is not None:
        out["user_location"] = place
    uses = tool.get("max_uses")
    if isinstance(uses, int) and uses > 0 and draft.quirks.max_tool_calls:
        draft.body["max_tool_calls"] = uses
        draft.added.add("max_tool_calls")
    draft.body["include"] = [SOURCES]
    draft.added.add("include")
    return out
