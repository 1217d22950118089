"""Searches as the content blocks of Anthropic's own web search.

Knows: `server_tool_use`, `web_search_tool_result`, the citations of a text. Must not know: backends, models.
Invariants: what a client sends back of a search has everything that its text for the next model is made of, so that the
same history always gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from a2py.messages import signatures
from a2py.messages.types import JSON
from a2py.search.page import Page

RESULT = "web_search_tool_result"
#: Kind and origin of the signature in `encrypted_content`, where Anthropic has its own copy of the page.
KIND, ORIGIN = "search", "a2py"
#: Characters of `cited_text`, as Anthropic has them (docs.claude.com, web search tool, 2026-11).
CITED = 150
#: `[3]` and `[1, 2]`, but not the index in `items[3]`.
_MARK = re.compile(r"(?<![\w)])\[(\d{1,3}(?:\s{0,2},\s{0,2}\d{1,3}){0,8})\]")
#: Characters of the longest mark, of which a piece may have the beginning.
_LONGEST = 64


def results(pages: Iterable[Page]) -> list[JSON]:
    """Return the content of a result block."""
    return [
        {
            "type": "web_search_result",
            "url": page.url,
            "title": page.title or page.url,
            "encrypted_content": signatures.make(KIND, ORIGIN, {"s": page.snippet}),
            "page_age": page.age or None,
        }
        for page in pages
    ]


def failure(code: str) -> JSON:
    """Return the content of the result block of a failed search."""
    return {"type": "web_search_tool_result_error", "error_code": code}


def citation(page: Page, number: int) -> JSON:
    """Return the citation of a page that the model named by its number."""
    return {
        "type": "web_search_result_location",
        "url": page.url,
        "title": page.title or page.url,
        "encrypted_index": signatures.make(KIND, ORIGIN, {"n": number}),
        "cited_text": page.snippet[:CITED],
    }


class MarkReader:
    """Finds the numbers that a text cites, however it is split into pieces."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = ""

    def feed(self, piece: str) -> Iterator[int]:
        """Yield the numbers of the marks that `piece` completes."""
        text = self._tail + piece
        end = 0
        for match in _MARK.finditer(text):
            end = match.end()
            yield from map(int, match[1].split(","))
        # the bracket that is still open, with the character before it; else the last character, for the next mark
        start = text.rfind("[", end)
        if start < 0 or "]" in text[start:] or len(text) - start > _LONGEST:
            start = len(text)
        self._tail = text[max(start - 1, end, 0) :] if start > end else text[start:]
