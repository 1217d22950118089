"""A web search in the form of Anthropic's own: the tool, the result of a call, and citations of it; and those of an
upstream that searches by itself.

Knows: the tool, the blocks, and `url_citation` annotations. Must not know: how a wire asks for a search or reports one,
sinks.
Invariants: any JSON is accepted; ids are legal.
"""

from __future__ import annotations

import re
from typing import Any

from a2py.messages.types import JSON
from a2py.quirks import Quirks

NAME, RESULT, PREFIX = "web_search", "web_search_tool_result", "srvtoolu_"
#: DeepSeek appends this to queries and URLs (2026-08).
MARK = "ws_call_id="
#: Longest id that Anthropic's own SDKs and Claude Code accept.
ID_LIMIT = 64
_ILLEGAL = re.compile(r"[^A-Za-z0-9_]")
_PLACE = ("city", "country", "region", "timezone")
#: Start of the type of the tool (docs.claude.com, web search tool, 2026-11).
TYPE = "web_search_"


def is_search(tool: JSON) -> bool:
    """Return whether `tool` is Anthropic's own web search."""
    kind = tool.get("type")
    return isinstance(kind, str) and kind.startswith(TYPE)


def can_search(wire: str, quirks: Quirks) -> bool:
    """Return whether the upstream runs a web search by itself, by `wire`."""
    if wire == "native":
        return "tools.web_search" not in quirks.native_drop
    return quirks.web_search == "responses" if wire == "responses" else quirks.web_search in ("plugin", "always")


def strip_mark(url: str) -> str:
    """Return `url` without DeepSeek's mark."""
    return url.partition("#" + MARK)[0]


def make_block_id(id: str) -> str:
    """Return an upstream's id in Anthropic's form for server tools. Of a long id the end is kept, because ids differ
    there."""
    return PREFIX + _ILLEGAL.sub("_", id)[-(ID_LIMIT - len(PREFIX)) :]


def make_result(url: str, title: str, content: str = "", age: str | None = None) -> JSON:
    """Return one page of a result block. `content`: what Anthropic has encrypted there."""
    return {
        "type": "web_search_result",
        "url": url,
        "title": title or url,
        "encrypted_content": content,
        "page_age": age,
    }


def result_content(pages: dict[str, str]) -> list[JSON]:
    """Return the content of a result block. `pages`: URL → title."""
    return [make_result(url, title) for url, title in pages.items()]


def failure(code: str = "unavailable") -> JSON:
    """Return the content of the result block of a search that failed."""
    return {"type": "web_search_tool_result_error", "error_code": code}


def make_citation(url: str, title: str, index: str = "", text: str = "") -> JSON:
    """Return a citation of a page. `index`: what Anthropic has encrypted there; `text`: what of the page is cited."""
    return {
        "type": "web_search_result_location",
        "url": url,
        "title": title or url,
        "encrypted_index": index,
        "cited_text": text,
    }


def convert_citation(annotation: Any) -> JSON | None:
    """Return a `url_citation` as Anthropic cites a search result; None for other annotations (they cite files of the
    upstream)."""
    if not isinstance(annotation, dict) or annotation.get("type") != "url_citation":
        return None
    inner = annotation.get("url_citation")  # chat completions nest it, and a gateway may pass that on to Responses
    members = inner if isinstance(inner, dict) else annotation
    url, title = members.get("url"), members.get("title")
    if not isinstance(url, str) or not url:
        return None
    return make_citation(strip_mark(url), title if isinstance(title, str) else "")


def convert_location(location: Any) -> JSON | None:
    """Return Anthropic's `user_location`, whose form OpenAI and OpenRouter share; None if it is not an object."""
    if not isinstance(location, dict):
        return None
    return {"type": "approximate", **{name: location[name] for name in _PLACE if isinstance(location.get(name), str)}}


def list_domains(value: Any) -> list[str]:
    """Return the strings of a list of domains."""
    return [domain for domain in value if isinstance(domain, str)] if isinstance(value, list) else []
