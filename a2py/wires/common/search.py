"""A search that the upstream runs by itself, as Anthropic shows its own: the call, its results, and citations of them.

Knows: the blocks, and `url_citation` annotations. Must not know: how a wire asks for a search or tells of one, sinks.
Invariants: any JSON is accepted; ids are legal.
"""

from __future__ import annotations

import re
from typing import Any

from a2py.messages.types import JSON

NAME, RESULT, PREFIX = "web_search", "web_search_tool_result", "srvtoolu_"
#: DeepSeek leaves a mark of its own in queries and URLs (2026-08).
MARK = "ws_call_id="
#: Longest id that Anthropic's own SDKs and Claude Code take.
ID_LIMIT = 64
_ILLEGAL = re.compile(r"[^A-Za-z0-9_]")
_PLACE = ("city", "country", "region", "timezone")
#: The content of a result block where the search failed.
FAILED: JSON = {"type": "web_search_tool_result_error", "error_code": "unavailable"}


def clean(url: str) -> str:
    return url.partition("#" + MARK)[0]


def block_id(id: str) -> str:
    """Anthropic's form of a server tool's id; the end of a long one is kept, where ids differ."""
    return PREFIX + _ILLEGAL.sub("_", id)[-(ID_LIMIT - len(PREFIX)) :]


def results(pages: dict[str, str]) -> list[JSON]:
    """The content of a result block; `pages`: URL → title."""
    return [
        {"type": "web_search_result", "url": url, "title": title or url, "encrypted_content": "", "page_age": None}
        for url, title in pages.items()
    ]


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
        "url": clean(url),
        "title": title if isinstance(title, str) and title else clean(url),
        "encrypted_index": "",
        "cited_text": "",
    }


def place(given: Any) -> JSON | None:
    """Anthropic's `user_location`, which OpenAI and OpenRouter have taken over."""
    if not isinstance(given, dict):
        return None
    return {"type": "approximate", **{name: given[name] for name in _PLACE if isinstance(given.get(name), str)}}


def domains(given: Any) -> list[str]:
    return [domain for domain in given if isinstance(domain, str)] if isinstance(given, list) else []
