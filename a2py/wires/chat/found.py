"""The pages that a chat-completions upstream found by itself, as Anthropic shows a search.

Knows: annotations, Perplexity's lists. Must not know: how the search was asked for (chat/tools.py), Anthropic's events.
Invariants: what was found becomes one call with its result, ahead of the text where it was known by then, else behind it; citations go to
the text; a reply that fails gets neither.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON, Outcome, Prepared, Sink
from a2py.wires.chat.delta import TEXT
from a2py.wires.chat.fastpath import FastDecoder
from a2py.wires.chat.stream import ChatDecoder
from a2py.wires.common.search import NAME, RESULT, block_id, citation, clean, results
from a2py.wires.common.text import dumps

#: Characters of the pages and annotations of one reply that are known (4 Mi), and what each counts for beside its own.
SEEN_LIMIT, SEEN_COST = 4 * 1024 * 1024, 256


class SearchDecoder(ChatDecoder):
    """A `ChatDecoder` of a reply to a request that asked for a search."""

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        super().__init__(prepared, sink)
        self._query = prepared.search
        self._id = ""  # of the reply, which makes the call's id
        self._pages: dict[str, str] = {}  # URL → title, not told yet
        self._cited: list[JSON] = []  # citations, not told yet
        self._seen: set[str] = set()
        self._seen_size = 0
        self._said = False
        self._calls_told = 0

    def chunk(self, chunk: JSON, name: bytes = b"") -> None:
        if not self._id and isinstance(chunk.get("id"), str):
            self._id = chunk["id"]
        self._see(chunk)
        super().chunk(chunk, name)
        self._cite()

    def _text(self, text: str) -> None:
        if not self._said:
            self._tell()
            self._said = True
        super()._text(text)

    def _end(self) -> Outcome:
        outcome = super()._end()
        if outcome.error is None:
            self._tell()
            if outcome.usage is not None:
                outcome.usage.web_searches = max(outcome.usage.web_searches, self._calls_told)
        return outcome

    def _see(self, chunk: JSON) -> None:
        """Whatever a chunk knows of pages: at the top (Perplexity), in the delta, or beside it (OpenRouter, 2026-03)."""
        for found in _items(chunk.get("search_results")):
            if isinstance(found, dict):
                self._page(found.get("url"), found.get("title"))
        for url in _items(chunk.get("citations")):
            self._page(url, "")
        choice = next((choice for choice in _items(chunk.get("choices")) if isinstance(choice, dict) and not choice.get("index")), {})
        for holder in (choice, choice.get(self._field)):
            for annotation in _items(holder.get("annotations")) if isinstance(holder, dict) else ():
                cited = citation(annotation)
                if cited is not None:
                    self._page(cited["url"], cited["title"])
                    if self._new(dumps(annotation)):
                        self._cited.append(cited)

    def _page(self, url: Any, title: Any) -> None:
        title = title if isinstance(title, str) else ""
        if isinstance(url, str) and url and self._new(clean(url), len(title)):
            self._pages[clean(url)] = title

    def _new(self, mark: str, more: int = 0) -> bool:
        """Whether `mark` was not seen yet. `more`: characters that are kept with it."""
        if mark in self._seen or self.finished:
            return False
        self._seen_size += len(mark) + more + SEEN_COST
        if self._seen_size > SEEN_LIMIT:
            self._fail_reply("listed more pages than a2py can keep")
            return False
        self._seen.add(mark)
        return True

    def _cite(self) -> None:
        if self._said:
            for cited in self._cited:
                self._sink.citation(TEXT, cited)
            self._cited = []

    def _tell(self) -> None:
        """The pages found so far, as a call and its result."""
        if not self._pages:
            return
        self._some = True
        self._calls_told += 1
        key, id = f"search {self._calls_told}", block_id(f"{self._id or NAME}_{self._calls_told}")
        self._sink.server_tool(key, id, NAME, {"query": self._query})
        self._sink.server_result(key, RESULT, id, results(self._pages))
        self._pages = {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def decoder(prepared: Prepared, sink: Sink) -> ChatDecoder:
    """The decoder of a stream."""
    return SearchDecoder(prepared, sink) if prepared.search else FastDecoder(prepared, sink)
