"""`web_search_call` items of a response: what was searched, and what was found.

Knows: their forms at OpenAI and DeepSeek. Must not know: Anthropic's blocks (common/search.py), the order of items, sinks.
Invariants: any JSON is accepted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from a2py.messages.types import JSON
from a2py.wires.common.search import MARK, strip_mark


class Search(NamedTuple):
    """`input`: of the server_tool_use block; `sources`: URLs, None where the upstream names none; `failed`: nothing was found out;
    `searched`: False where a page was only opened or read."""

    input: JSON
    sources: list[str] | None
    failed: bool
    searched: bool


def _urls(found: Any) -> list[str]:
    sources = found if isinstance(found, list) else []
    named = (source.get("url") if isinstance(source, dict) else source for source in sources)
    return list(dict.fromkeys(strip_mark(url) for url in named if isinstance(url, str) and url))


def read(item: JSON) -> Search:
    """A `web_search_call` item: a search, a page that was opened, or a text that was looked for in a page."""
    action = item.get("action")
    action = action if isinstance(action, dict) else {}
    queries = action.get("queries")
    said = [action.get("query"), *(queries if isinstance(queries, list) else ()), action.get("pattern")]
    texts = [text for text in dict.fromkeys(s for s in said if isinstance(s, str)) if text and not text.startswith(MARK)]
    url = action.get("url")
    opened = [strip_mark(url)] if isinstance(url, str) and url else []
    sources = _urls(action.get("sources")) or _urls(item.get("results")) or opened
    return Search(
        {"query": "; ".join(texts or opened)}, sources or None, item.get("status") == "failed", action.get("type", "search") == "search"
    )
