"""`web_search_call` items of a response, as a call of Anthropic's web search and its result.

Knows: the forms of these items at OpenAI and DeepSeek, and that the cited pages replace a list of results that is
missing.
Must not know: how Anthropic's blocks look (common/search.py), how items are identified.
Invariants: any JSON is accepted; every call gets exactly one result unless the reply is cut; block ids are unique.
"""

from __future__ import annotations

from itertools import chain, count
from typing import Any, NamedTuple

from a2py.messages.types import JSON, Sink
from a2py.wires.common import search
from a2py.wires.common.search import MARK, strip_mark
from a2py.wires.responses.item import Item


class Search(NamedTuple):
    """One hosted search.

    `input`: of the server_tool_use block; `sources`: URLs, None if the upstream lists none; `has_failed`: there is
    no result; `is_query`: False if a page was only opened or read."""

    input: JSON
    sources: list[str] | None
    has_failed: bool
    is_query: bool


def read(item: JSON) -> Search:
    """Parse a `web_search_call` item: a search, a page that was opened, or a text that was looked for in a page."""
    action = item.get("action")
    action = action if isinstance(action, dict) else {}
    queries = action.get("queries")
    words = [action.get("query"), *(queries if isinstance(queries, list) else ()), action.get("pattern")]
    unique = dict.fromkeys(word for word in words if isinstance(word, str))
    texts = [text for text in unique if text and not text.startswith(MARK)]
    url = action.get("url")
    pages = [strip_mark(url)] if isinstance(url, str) and url else []
    sources = _urls(action.get("sources")) or _urls(item.get("results")) or pages
    return Search(
        input={"query": "; ".join(texts or pages)},
        sources=sources or None,
        has_failed=item.get("status") == "failed",
        is_query=action.get("type", "search") == "search",
    )


def _urls(sources: Any) -> list[str]:
    """Return the URLs of a list of sources, each once. A source is an object or a bare URL."""
    values = sources if isinstance(sources, list) else []
    urls = (source.get("url") if isinstance(source, dict) else source for source in values)
    return list(dict.fromkeys(strip_mark(url) for url in urls if isinstance(url, str) and url))


class SearchWriter:
    """Writes the blocks of hosted searches. `queries`: searches so far, as Anthropic's usage counts them."""

    __slots__ = ("_block_ids", "_pages", "_pending", "_sink", "queries")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._block_ids: set[str] = set()
        self._pending: list[tuple[int, str]] = []  # searches without a list of results: item key and block id
        self._pages: dict[str, str] = {}  # cited URL → title
        self.queries = 0

    def add_page(self, url: str, title: str) -> None:
        """Remember a page that the reply cites."""
        self._pages.setdefault(url, title)

    def write(self, item: Item, raw: JSON) -> None:
        """Write the call, and its result if the item lists its sources."""
        call = read(raw)
        id = self._new_block_id(item)
        self.queries += call.is_query
        self._sink.server_tool(item.key, id, search.NAME, call.input)
        if call.has_failed:
            self._sink.server_result(item.key, search.RESULT, id, search.failure())
        elif call.sources is not None:
            pages = dict.fromkeys(call.sources, "")
            self._sink.server_result(item.key, search.RESULT, id, search.result_content(pages))
        else:
            self._pending.append((item.key, id))

    def finish(self) -> None:
        """Write the missing results. The pages that the reply cites become the result of the last search."""
        for n, (key, id) in enumerate(self._pending, 1):
            pages = self._pages if n == len(self._pending) else {}
            self._sink.server_result(key, search.RESULT, id, search.result_content(pages))

    def _new_block_id(self, item: Item) -> str:
        """Return an id that no other block has.

        Items may share an id, or have ids that differ only where `make_block_id` cuts."""
        name = item.id or str(item.key)
        names = chain((name, f"{name}_{item.key}"), (f"{name}_{item.key}_{n}" for n in count(2)))
        id = next(id for id in map(search.make_block_id, names) if id not in self._block_ids)
        self._block_ids.add(id)
        return id
