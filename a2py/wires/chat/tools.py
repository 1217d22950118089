"""Tools, tool_choice and the upstream's own web search on the chat wire.

Knows: how a function is written; OpenRouter's plugin and server tool, Perplexity. Must not know: message history, which provider searches
(providers), the pages that a reply brings (found.py).
Invariants: tool_choice and parallel_tool_calls never go without tools; a search that was not asked for is never begun.
"""

from __future__ import annotations

from collections.abc import Callable

from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft
from a2py.wires.common.schema import clean
from a2py.wires.common.search import NAME, domains, place
from a2py.wires.common.text import block_text, blocks
from a2py.wires.common.typed import Function
from a2py.wires.openai.tools import choose, offered

#: Characters of the question that are shown as the query of the search: upstreams do not say what they looked for.
QUERY_LIMIT = 400


def add(draft: Draft) -> None:
    """Write `tools`, `tool_choice`, `parallel_tool_calls` and whatever makes the upstream search."""
    q = draft.quirks
    choice = draft.request.body.get("tool_choice") or {}
    kind, wanted = choice.get("type"), choice.get("name")
    functions, search = offered(draft, q.web_search in _SEARCHES)
    further: list[JSON] = []
    if search is not None and kind != "none":
        alone = not functions or (kind == "tool" and wanted == search.get("name"))
        draft.search = _question(draft)
        further = _SEARCHES[q.web_search](draft, search, alone)
        kind = None if alone else kind
    if not functions:
        if draft.degraded and kind in ("any", "tool"):  # it forced one that was lost
            draft.lose("tool_choice")
        return
    if not q.tools:
        draft.lose("tools")
        return
    if kind == "none" and not q.tool_choice_none:
        return
    named: JSON = {}
    if kind == "tool":
        same = [function for function in functions if function.name == wanted]
        if not same:
            draft.lose("tool_choice")
            kind = None
        else:
            named = {"type": "function", "function": {"name": draft.names.sent(same[0].name)}}
            functions = same if q.tool_choice_named == "only" else functions
    draft.body["tools"] = [_tool(draft, function) for function in functions] + further
    if q.tool_stream and draft.stream:
        draft.body["tool_stream"] = True
    choose(draft, kind, named)


def _tool(draft: Draft, function: Function) -> JSON:
    described = {"description": function.description} if function.description else {}
    schema = clean(function.schema, draft.quirks.schema)
    return {"type": "function", "function": {"name": draft.names.sent(function.name), **described, "parameters": schema}}


# -- the upstream's web search -------------------------------------------------------------------------------------------


def _question(draft: Draft) -> str:
    """Return the last words of the user."""
    for message in reversed(draft.request.messages):
        said = "\n".join(block_text(block) for block in blocks(message["content"]) if block["type"] == "text").strip()
        if message["role"] == "user" and said:
            return said[:QUERY_LIMIT]
    return NAME


def _openrouter(draft: Draft, tool: JSON, alone: bool) -> list[JSON]:
    """The plugin searches once for every request. Beside other tools the server tool leaves it to the model (openrouter.ai/docs, 2026-10)."""
    allowed, blocked, here = domains(tool.get("allowed_domains")), domains(tool.get("blocked_domains")), place(tool.get("user_location"))
    where = {"user_location": here} if here else {}
    if not alone:
        chosen = {**({"allowed_domains": allowed} if allowed else {"excluded_domains": blocked} if blocked else {}), **where}
        return [{"type": "openrouter:web_search", **({"parameters": chosen} if chosen else {})}]
    plugin: JSON = {"id": "web", **({"include_domains": allowed} if allowed else {}), **({"exclude_domains": blocked} if blocked else {})}
    uses = tool.get("max_uses")
    if isinstance(uses, int) and uses > 0:
        plugin["max_uses"] = uses
    draft.body["plugins"] = [{**plugin, **where}]
    return []


def _always(draft: Draft, tool: JSON, alone: bool) -> list[JSON]:
    """Perplexity's Sonar searches for every request."""
    return []


#: Quirks.web_search → writes what makes the upstream search, and returns what goes among the tools. `alone`: the upstream must search,
#: whatever the model thinks.
_SEARCHES: dict[str, Callable[[Draft, JSON, bool], list[JSON]]] = {"plugin": _openrouter, "always": _always}
