"""A hosted web search, as Anthropic shows its own: the call, its results, and citations of them.

Knows: `web_search_call` items and `url_citation` annotations. Must not know: the order of items, sinks.
Invariants: any JSON is accepted; ids are legal.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from a2py.messages.types import JSON

NAME, RESULT, PREFIX = "web_search", "web_search_tool_result", "srvtoolu_"
#: DeepSeek leaves a mark of its own in queries and URLs (2026-08).
MARK = "ws_call_id="
#: Longest id that Anthropic's own SDKs and Claude Code take.
ID_LIMIT = 64
_ILLEGAL = re.compile(r"[^A-Za-z0-9_]")


class Search(NamedTuple):
    """`input`: of the server_tool_use block; `sources`: URLs, None where the upstream names none; `failed`: nothing was found out;
    `searched`: False where a page was only opened or read."""

    input: JSON
    sources: list[str] | None
    failed: bool
    searched: bool


def _clean(url: str) -> str:
    return url.partition("#" + MARK)[0]


def _urls(found: Any) -> list[str]:
    sources = found if isinstance(found, list) else []
    named = (source.get("url") if isinstance(source, dict) else source for source in sources)
    return list(dict.fromkeys(_clean(url) for url in named if isinstance(url, str) and url))


def read(item: JSON) -> Search:
    """A `web_search_call` item: a search, a page that was opened, or a text that was looked for in a page."""
    action = item.get("action")
    action = action if isinstance(action, dict) else {}
    queries = action.get("queries")
    said = [action.get("query"), *(queries if isinstance(queries, list) else ()), action.get("pattern")]
    texts = [text for text in dict.fromkeys(s for s in said if isinstance(s, str)) if text and not text.startswith(MARK)]
    url = action.get("url")
    opened = [_clean(url)] if isinstance(url, str) and url else []
    sources = _urls(action.get("sources")) or _urls(item.get("results")) or opened
    return Search(
        {"query": "; ".join(texts or opened)}, sources or None, item.get("status") == "failed", action.get("type", "search") == "search"
    )


def block_id(id: str) -> str:
    """Anthropic's form of a server tool's id; the end of a long one is kept, where ids differ."""
    return PREFIX + _ILLEGAL.sub("_", id)[-(ID_LIMIT - len(PREFIX)) :]


def results(pages: dict[str, str]) -> list[JSON]:
    """The content of a result block; `pages`: URL → title."""
    return [
        {"type": "web_search_result", "url": url, "title": title or url, "encrypted_content": "", "page_age": None}
        for url, title in pages.items()
    ]


#: The content of a result block where the search failed.
FAILED: JSON = {"type": "web_search_tool_result_error", "error_code": "unavailable"}


def citation(annotation: Any) -> JSON | None:
    """A `url_citation` as Anthropic cites a search result; None for other annotations (files that the client does not know)."""
    if not isinstance(annotation, dict) or annotation.get("type") != "url_citation":
        return None
    inner = annotation.get("url_citation")  # the chat wire's nesting, seen where a gateway passes it through
    said = inner if isinstance(inner, dict) else annotation
    url, title = said.get("url"), said.get("title")
    if not isinstance(url, str) or not url:
        return None
    return {
        "type": "web_search_result_location",
        "url": _clean(url),
        "title": title if isinstance(title, str) and title else _clean(url),
        "encrypted_index": "",
        "cited_text": "",
    }
