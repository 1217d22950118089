"""Write tools and tool_choice of a Responses request.

Knows: how a function is written, the hosted web search. Must not know: message history.
Invariants: tool_choice and parallel_tool_calls are never sent without tools; strict mode is never requested.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON
from a2py.slices import Slices
from a2py.wires.common import search
from a2py.wires.common.draft import Draft
from a2py.wires.common.schema import clean_tool_schema
from a2py.wires.common.typed import Function
from a2py.wires.openai.tools import choose, select_tools

#: Value of `include` that makes an upstream list the pages that its search found.
SOURCES = "web_search_call.action.sources"
#: A tool_choice that forces the hosted search. There is no simpler form.
_SEARCH_ONLY: JSON = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}


def add(draft: Draft) -> Slices[None]:
    """Write `tools`, `tool_choice`, `parallel_tool_calls`, and the fields of the hosted search."""
    q = draft.quirks
    functions, search_tool = yield from select_tools(draft, q.web_search == "responses")
    tools: dict[str, JSON] = {}
    for function in functions:
        tools[function.name] = _tool(draft, function)
        yield
    if tools and not q.tools:
        draft.lose("tools")
        tools = {}
    hosted_tools = [] if search_tool is None else [_search_tool(draft, search_tool)]
    choice = draft.request.body.get("tool_choice") or {}
    kind: Any = choice.get("type")
    if kind != "tool":
        _write(draft, [*tools.values(), *hosted_tools], kind, None)
        return
    name: Any = choice.get("name")
    forced_tool = tools.get(name)
    if forced_tool is None and (search_tool is None or name != search_tool.get("name")):
        draft.lose("tool_choice")
        _write(draft, [*tools.values(), *hosted_tools], None, None)
    elif q.tool_choice_named != "only":
        _write(draft, [*tools.values(), *hosted_tools], kind, forced_tool)
    else:
        _write(draft, hosted_tools if forced_tool is None else [forced_tool], kind, forced_tool)


def _write(draft: Draft, tools: list[JSON], kind: Any, forced_tool: JSON | None) -> None:
    """Write the tools and the choice. `kind`: of the client's choice; `forced_tool`: the function that it names."""
    if not tools:
        if draft.degraded and kind == "any":  # the client forced a call, and no tool is left
            draft.lose("tool_choice")
        return
    if kind == "none" and not draft.quirks.tool_choice_none:
        return
    draft.body["tools"] = tools
    choose(draft, kind, _SEARCH_ONLY if forced_tool is None else {"type": "function", "name": forced_tool["name"]})


def _tool(draft: Draft, function: Function) -> JSON:
    return {
        "type": "function",
        "name": draft.names.to_upstream(function.name),
        **({"description": function.description} if function.description else {}),
        "parameters": clean_tool_schema(function.schema, draft.quirks.schema),
        "strict": False,  # without it OpenAI makes the schema strict, and the model fills optional fields with null
    }


def _search_tool(draft: Draft, tool: JSON) -> JSON:
    """Return Anthropic's web search as the upstream's own.

    `blocked_domains` has no counterpart. `max_uses` becomes `max_tool_calls`, which limits all hosted calls of the
    reply."""
    out: JSON = {"type": "web_search"}
    domains = search.list_domains(tool.get("allowed_domains"))
    if domains:
        out["filters"] = {"allowed_domains": domains}
    if search.list_domains(tool.get("blocked_domains")):
        draft.lose("web_search.blocked_domains")
    place = search.convert_location(tool.get("user_location"))
    if place is not None:
        out["user_location"] = place
    uses = tool.get("max_uses")
    if isinstance(uses, int) and uses > 0 and draft.quirks.max_tool_calls:
        draft.body["max_tool_calls"] = uses
        draft.added_fields.add("max_tool_calls")
    draft.body["include"] = [SOURCES]
    draft.added_fields.add("include")
    return out
