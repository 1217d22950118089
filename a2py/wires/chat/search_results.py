"""The pages that a chat-completions upstream found by itself, as Anthropic shows a web search.

Knows: annotations, Perplexity's lists. Must not know: how the search was asked for (chat/tools.py), Anthropic's events.
Invariants: pages become a call and its result: before the text if they came before it, otherwise after it. Citations go
to the text. A reply that fails gets neither.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON, Outcome, Prepared, Sink
from a2py.wires.chat.choices import first_choice
from a2py.wires.chat.delta import TEXT
from a2py.wires.chat.fastpath import FastDecoder
from a2py.wires.chat.output import Output
from a2py.wires.chat.stream import ChatDecoder
from a2py.wires.common.search import NAME, RESULT, convert_citation, make_block_id, result_content, strip_mark
from a2py.wires.common.text import dumps

#: Characters of the pages and annotations of one reply that are kept (4 Mi), and what each counts for besides its own.
SEEN_LIMIT, SEEN_COST = 4 * 1024 * 1024, 256


class SearchOutput(Output):
    """An `Output` that also writes the pages of a search. `calls`: search calls written so far. `is_full`: more pages
    came than are kept."""

    __slots__ = (
        "_citations",
        "_has_text",
        "_pages",
        "_query",
        "_reply_id",
        "_seen_keys",
        "_seen_size",
        "calls",
        "is_full",
    )

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        super().__init__(prepared, sink)
        self.calls = 0
        self.is_full = False
        self._query = prepared.search
        self._reply_id = ""  # the calls' ids are made of it
        self._pages: dict[str, str] = {}  # URL → title, not written yet
        self._citations: list[JSON] = []  # not written yet
        self._seen_keys: set[str] = set()  # URLs and annotations: servers repeat them in each chunk
        self._seen_size = 0
        self._has_text = False

    def text(self, text: str) -> None:
        if not self._has_text:
            self.write_pages()
            self._has_text = True
        super().text(text)

    def read(self, chunk: JSON, field: str) -> None:
        """Keep the pages that a chunk names: at its top (Perplexity), in the delta, or beside it (OpenRouter, 2026-03).

        `field`: where a choice has its delta or message. Check `is_full` afterwards."""
        if not self._reply_id and isinstance(chunk.get("id"), str):
            self._reply_id = chunk["id"]
        for page in _list(chunk.get("search_results")):
            if isinstance(page, dict):
                self._add_page(page.get("url"), page.get("title"))
        for url in _list(chunk.get("citations")):
            self._add_page(url, "")
        choice = first_choice(_list(chunk.get("choices")))
        if choice is not None:
            self._read_annotations(choice)
            self._read_annotations(choice.get(field))

    def _read_annotations(self, holder: Any) -> None:
        for annotation in _list(holder.get("annotations")) if isinstance(holder, dict) else ():
            citation = convert_citation(annotation)
            if citation is not None:
                self._add_page(citation["url"], citation["title"])
                if self._is_new(dumps(annotation)):
                    self._citations.append(citation)

    def _add_page(self, url: Any, title: Any) -> None:
        title = title if isinstance(title, str) else ""
        if isinstance(url, str) and url and self._is_new(strip_mark(url), len(title)):
            self._pages[strip_mark(url)] = title

    def _is_new(self, mark: str, chars: int = 0) -> bool:
        """Return whether `mark` comes for the first time. `chars`: characters that are kept with it."""
        if mark in self._seen_keys or self.is_full:
            return False
        self._seen_size += len(mark) + chars + SEEN_COST
        self.is_full = self._seen_size > SEEN_LIMIT
        if not self.is_full:
            self._seen_keys.add(mark)
        return not self.is_full

    def write_citations(self) -> None:
        """Write the citations, if there is text that they can belong to."""
        if self._has_text:
            for citation in self._citations:
                self.sink.citation(TEXT, citation)
            self._citations = []

    def write_pages(self) -> None:
        """Write the pages that are not written yet as a search call and its result."""
        if not self._pages:
            return
        self.has_content = True
        self.calls += 1
        key, id = f"search {self.calls}", make_block_id(f"{self._reply_id or NAME}_{self.calls}")
        self.sink.server_tool(key, id, NAME, {"query": self._query})
        self.sink.server_result(key, RESULT, id, result_content(self._pages))
        self._pages = {}


class SearchDecoder(ChatDecoder):
    """A `ChatDecoder` of a reply to a request that asked for a search."""

    __slots__ = ("_search_output",)

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        self._search_output = SearchOutput(prepared, sink)
        super().__init__(prepared, sink, self._search_output)

    def chunk(self, chunk: JSON, name: bytes = b"") -> None:
        self._search_output.read(chunk, self._field)
        if self._search_output.is_full:
            self._fail_reply("listed more pages than a2py can keep")
        super().chunk(chunk, name)
        self._search_output.write_citations()

    def _end(self) -> Outcome:
        outcome = super()._end()
        if outcome.error is None:
            self._search_output.write_pages()
            if outcome.usage is not None:
                outcome.usage.web_searches = max(outcome.usage.web_searches, self._search_output.calls)
        return outcome


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def make_decoder(prepared: Prepared, sink: Sink) -> ChatDecoder:
    """Return the decoder for a reply. The fast path does not look for pages."""
    return SearchDecoder(prepared, sink) if prepared.search else FastDecoder(prepared, sink)
