"""Tools, tool_choice and the upstream's own web search on the chat wire.

Knows: how a function is written; OpenRouter's plugin and server tool, Perplexity. Must not know: message history, which
provider searches (providers/), the pages that a reply brings (search_results.py).
Invariants: tool_choice and parallel_tool_calls are never sent without tools; the upstream searches only if the client
offers a search.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2py.messages.types import JSON
from a2py.slices import Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.schema import clean_tool_schema
from a2py.wires.common.search import NAME, convert_location, list_domains
from a2py.wires.common.text import block_text, blocks
from a2py.wires.common.typed import Function
from a2py.wires.openai.tools import choose, select_tools

#: Characters of the user's question that are shown as the query of the search. Upstreams do not report their real
#: query.
QUERY_LIMIT = 400


def add(draft: Draft) -> Slices[None]:
    """Write `tools`, `tool_choice`, `parallel_tool_calls` and the fields that make the upstream search."""
    q = draft.quirks
    choice = draft.request.body.get("tool_choice") or {}
    kind, name = choice.get("type"), choice.get("name")
    functions, search = yield from select_tools(draft, q.web_search in _SEARCHES)
    search_tools: list[JSON] = []
    if search is not None and kind != "none":
        search_only = not functions or (kind == "tool" and name == search.get("name"))
        draft.search = _question(draft)
        search_tools = _SEARCHES[q.web_search](draft, search, search_only)
        kind = None if search_only else kind
    if not functions:
        if draft.degraded and kind in ("any", "tool"):  # the choice names a tool that was dropped
            draft.lose("tool_choice")
        return
    if not q.tools:
        draft.lose("tools")
        return
    if kind == "none" and not q.tool_choice_none:
        return
    tool_choice: JSON = {}
    if kind == "tool":
        kind, tool_choice, functions = _choose_named(draft, functions, name)
    tools: list[JSON] = []
    for function in functions:
        tools.append(_tool(draft, function))
        yield
    draft.body["tools"] = tools + search_tools
    _switch_tool_stream(draft)
    choose(draft, kind, tool_choice)


def _choose_named(draft: Draft, functions: list[Function], name: Any) -> tuple[str | None, JSON, list[Function]]:
    """Return the kind of a choice that names a tool, the choice as OpenAI writes it, and the functions to send. A name
    that no function has is reported as lost."""
    same = [function for function in functions if function.name == name]
    if not same:
        draft.lose("tool_choice")
        return None, {}, functions
    tool_choice = {"type": "function", "function": {"name": draft.names.to_upstream(same[0].name)}}
    return "tool", tool_choice, same if draft.quirks.tool_choice_named == "only" else functions


def _switch_tool_stream(draft: Draft) -> None:
    if draft.quirks.tool_stream and draft.stream:
        draft.body["tool_stream"] = True


def _tool(draft: Draft, function: Function) -> JSON:
    description = {"description": function.description} if function.description else {}
    schema = clean_tool_schema(function.schema, draft.quirks.schema)
    return {
        "type": "function",
        "function": {"name": draft.names.to_upstream(function.name), **description, "parameters": schema},
    }


# -- the upstream's web search ----------------------------------------------------------------------------------------


def _question(draft: Draft) -> str:
    """Return the text of the user's last message that has some."""
    for message in reversed(draft.request.messages):
        text = "\n".join(block_text(block) for block in blocks(message["content"]) if block["type"] == "text").strip()
        if message["role"] == "user" and text:
            return text[:QUERY_LIMIT]
    return NAME


def _use_openrouter(draft: Draft, tool: JSON, search_only: bool) -> list[JSON]:
    """Write OpenRouter's plugin, which searches once for every request, or return its server tool, which the model may
    call (openrouter.ai/docs, 2026-10)."""
    allowlist, blocklist = (
        list_domains(tool.get("allowed_domains")),
        list_domains(tool.get("blocked_domains")),
    )
    location = convert_location(tool.get("user_location"))
    user_location: JSON = {"user_location": location} if location else {}
    if not search_only:
        filters: JSON = (
            {"allowed_domains": allowlist} if allowlist else {"excluded_domains": blocklist} if blocklist else {}
        )
        parameters = {**filters, **user_location}
        return [{"type": "openrouter:web_search", **({"parameters": parameters} if parameters else {})}]
    plugin: JSON = {"id": "web"}
    if allowlist:
        plugin["include_domains"] = allowlist
    if blocklist:
        plugin["exclude_domains"] = blocklist
    uses = tool.get("max_uses")
    if isinstance(uses, int) and uses > 0:
        plugin["max_uses"] = uses
    draft.body["plugins"] = [{**plugin, **user_location}]
    return []


def _use_perplexity(draft: Draft, tool: JSON, search_only: bool) -> list[JSON]:
    """Write nothing: Perplexity's Sonar searches for every request."""
    return []


#: Quirks.web_search → function that writes what makes the upstream search, and returns what to add to the tools.
#: `search_only`: the upstream must search, whether the model asks for it or not.
_SEARCHES: dict[str, Callable[[Draft, JSON, bool], list[JSON]]] = {"plugin": _use_openrouter, "always": _use_perplexity}
