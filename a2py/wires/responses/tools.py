"""Write tools and tool_choice of a Responses request.

Knows: how a function is written, the hosted web search. Must not know: message history.
Invariants: tool_choice and parallel_tool_calls are never sent without tools; strict mode is never requested.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.slices import Slices
from a2py.wires.common import search
from a2py.wires.common.draft import Draft
from a2py.wires.common.schema import clean
from a2py.wires.common.typed import Function
from a2py.wires.openai.tools import choose, offered

#: Value of `include` that makes an upstream list the pages that its search found.
SOURCES = "web_search_call.action.sources"
#: A tool_choice that forces the hosted search. There is no simpler form.
_SEARCH_ONLY: JSON = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}


def add(draft: Draft) -> Slices[None]:
    """Write `tools`, `tool_choice`, `parallel_tool_calls`, and the fields of the hosted search."""
    q = draft.quirks
    choice = draft.request.body.get("tool_choice") or {}
    kind, wanted = choice.get("type"), choice.get("name")
    functions, search = yield from offered(draft, q.web_search == "responses")
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
        if draft.degraded and kind == "any":  # the client forced a call, and no tool is left
            draft.lose("tool_choice")
        return
    if kind == "none" and not q.tool_choice_none:
        return
    draft.body["tools"] = tools
    named = sent.get(wanted) if isinstance(wanted, str) and kind == "tool" else None
    choose(draft, kind, _SEARCH_ONLY if named is None else {"type": "function", "name": named["name"]})


def _tool(draft: Draft, function: Function) -> JSON:
    return {
        "type": "function",
        "name": draft.names.sent(function.name),
        **({"description": function.description} if function.description else {}),
        "parameters": clean(function.schema, draft.quirks.schema),
        "strict": False,  # without it OpenAI makes the schema strict, and the model fills optional fields with null
    }


def _hosted(draft: Draft, tool: JSON) -> JSON:
    """Return Anthropic's web search as the upstream's own.

    `blocked_domains` has no counterpart. `max_uses` becomes `max_tool_calls`, which limits all hosted calls of the
    reply."""
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
