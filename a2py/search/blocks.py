"""Pages that a2py has found, as results and citations of Anthropic's web search.

Knows: what of a page travels in the blocks, the marks of a text that cite it. Must not know: backends, models, how the
blocks look (wires/common/search.py).
Invariants: what a client sends back of a search has everything that its text for the next model is made of, so that the
same history always gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from a2py.messages import signatures
from a2py.messages.types import JSON
from a2py.search.page import Page
from a2py.wires.common.search import make_citation, make_result

#: Kind and origin of the signature in `encrypted_content`, where Anthropic has its own copy of the page.
KIND, ORIGIN = "search", "a2py"
#: Characters of `cited_text`, as Anthropic has them (docs.claude.com, web search tool, 2026-11).
CITATION_LENGTH = 150
#: `[3]` and `[1, 2]`, but not the index in `items[3]`.
_MARK = re.compile(r"(?<![\w)])\[(\d{1,3}(?:\s{0,2},\s{0,2}\d{1,3}){0,8})\]")
#: Characters of the longest mark, of which a piece may have the beginning.
_LONGEST = 64


def results(pages: Iterable[Page]) -> list[JSON]:
    """Return the content of a result block."""
    return [
        make_result(page.url, page.title, signatures.make(KIND, ORIGIN, {"s": page.snippet}), page.age or None)
        for page in pages
    ]


def citation(page: Page, number: int) -> JSON:
    """Return the citation of a page that the model named by its number."""
    return make_citation(
        page.url, page.title, signatures.make(KIND, ORIGIN, {"n": number}), page.snippet[:CITATION_LENGTH]
    )


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
