"""Anthropic's web search on the chat wire: how an upstream that searches by itself is asked.

Knows: OpenRouter's plugin and server tool, Perplexity. Must not know: which provider has which (providers), the reply (pages.py).
Invariants: a search that was not asked for is never begun.
"""

from __future__ import annotations

from collections.abc import Callable

from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft
from a2py.wires.common.search import NAME, domains, place
from a2py.wires.common.text import block_text, blocks
from a2py.wires.common.tools import in_force, server_name

#: Characters of the question that stand as the query of the call: upstreams do not tell what they looked for.
QUERY_LIMIT = 400


def tool(draft: Draft) -> JSON | None:
    """The client's web search, where the upstream has one on this wire."""
    if draft.quirks.web_search not in _FORMS:
        return None
    return next((tool for tool in in_force(draft) if server_name(tool) == NAME), None)


def ask(draft: Draft, tool: JSON, alone: bool) -> list[JSON]:
    """Have the upstream search; what it takes among `tools`. `alone`: it is to search, whatever the model thinks."""
    draft.search = _question(draft)
    return _FORMS[draft.quirks.web_search](draft, tool, alone)


def _question(draft: Draft) -> str:
    """The last words of the user."""
    for message in reversed(draft.request.messages):
        said = "\n".join(block_text(block) for block in blocks(message["content"]) if block["type"] == "text").strip()
        if message["role"] == "user" and said:
            return said[:QUERY_LIMIT]
    return NAME


def _openrouter(draft: Draft, tool: JSON, alone: bool) -> list[JSON]:
    """The plugin searches once for every request; among other tools the server tool leaves it to the model (openrouter.ai/docs, 2026-10)."""
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


_FORMS: dict[str, Callable[[Draft, JSON, bool], list[JSON]]] = {"plugin": _openrouter, "always": _always}
