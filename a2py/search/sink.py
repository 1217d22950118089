"""The sink of one hop: between a decoder and the reply that the client gets.

A *hop* is one question to the model within one reply. The model may call the search function in it; then the searches
are made, and the next hop has their results. The client sees one message.

Knows: which call is a search; the verbs of `Sink`. Must not know: how searches are made, bytes.
Invariants: the client never sees the function's call, only the `server_tool_use` that stands for it, in its place; what
is recorded is the turn as the model wrote it, for the next hop's history; keys of different hops never meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from a2py import jsonsize
from a2py.messages.items import as_text
from a2py.search import blocks
from a2py.search.function import read_query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from a2py.messages.reply import Reply
    from a2py.messages.types import JSON, Key, Sink
    from a2py.search.page import Page

#: Characters of one call's arguments. A query has QUERY at most; longer ones are no query.
ARGUMENTS = 64 * 1024
#: Searches that the model asks for at once. Models ask for one to five.
CALLS = 256
_BLOCK_EVENTS = ("content_block_delta", "content_block_stop")


class _EarlyCall:
    """A call whose name has not come yet. `size`: characters of its arguments."""

    def __init__(self) -> None:
        self.id = ""
        self.parts: list[str] = []
        self.size = 0

    def add(self, part: str) -> None:
        self.parts.append(part)
        self.size += len(part)


class _Other:
    """A call of one of the client's tools."""


_OTHER = _Other()


class SearchCall:
    """One call of the function. `id`: the model's own; `block_id`: of the `server_tool_use` block; `query`: "" if the
    arguments have none, or do not end."""

    __slots__ = ("_is_complete", "_size", "block_id", "id", "parts", "query")

    def __init__(self, id: str) -> None:
        self.id = id
        self.block_id = ""
        self.query = ""
        self.parts: list[str] = []
        self._size = 0
        self._is_complete: bool | None = None  # None: not known yet

    def add(self, part: str) -> None:
        self._size += len(part)
        if self._size <= ARGUMENTS:
            self.parts.append(part)
            self._is_complete = None

    def parse(self) -> bool:
        """Read the query. Return whether the arguments are complete.

        Every piece of text asks it, so the same arguments are read once."""
        if self._is_complete is None:
            self._is_complete = self._read()
        return self._is_complete

    def _read(self) -> bool:
        text = "".join(self.parts).encode("utf-8", "replace")
        try:
            input = None if jsonsize.exceeds(text) else orjson.loads(text)
            if isinstance(input, str):  # encoded twice
                input = orjson.loads(input)
        except ValueError:
            return False
        self.query = read_query(input)
        return True


class HopSink:
    """Passes the verbs on to `sink`, the client's reply, and to `record`, a reply of its own.

    `name`: of the function; `hop`: its number; `pages`: number → page of the earlier hops, which a text may cite;
    `calls`: the searches of this hop, in their order; `closing`: the latest message_delta of an upstream that speaks
    Anthropic; `has_other_calls`: the client's tools are called, too; `has_lost_call`: a call beside the searches has no
    name; `is_flooded`: there were more than CALLS."""

    def __init__(
        self, sink: Sink, record: Reply, name: str, hop: int, pages: Mapping[int, Page], make_id: Callable[[str], str]
    ) -> None:
        self._sink = sink
        self._record = record
        self._name = name
        self._prefix = f"{hop}." if hop else ""
        self._pages = pages
        self._make_id = make_id
        self._kinds: dict[Key, SearchCall | _EarlyCall | _Other] = {}
        self._marks: dict[Key, blocks.MarkReader] = {}
        self._raw_calls: dict[int, SearchCall] = {}  # by the upstream's index
        self._block_count = 0  # calls whose block is written
        self.calls: list[SearchCall] = []
        self.closing: JSON | None = None
        self.has_other_calls = False
        self.has_lost_call = False
        self.is_flooded = False

    def _key(self, key: Key) -> Key:
        return f"{self._prefix}{key}" if self._prefix else key

    # -- text and reasoning --------------------------------------------------------------------------------------------

    def text(self, key: Key, s: str) -> None:
        self._show_complete()
        self._sink.text(self._key(key), s)
        self._record.text(key, s)
        if self._pages:
            self._cite(key, s)

    def text_json(self, key: Key, raw: bytes) -> None:
        self._show_complete()
        self._sink.text_json(self._key(key), raw)
        self._record.text_json(key, raw)
        if self._pages:
            self._cite(key, raw.decode("utf-8", "replace"))

    def _cite(self, key: Key, text: str) -> None:
        """Write the citations of the pages whose numbers stand in `text`."""
        for number in self._read_marks(key, text):
            self._sink.citation(self._key(key), blocks.citation(self._pages[number], number))

    def _read_marks(self, key: Key, text: str) -> list[int]:
        """Return the numbers of pages that `text`, the next piece of `key`, cites."""
        reader = self._marks.get(key)
        if reader is None:
            reader = self._marks[key] = blocks.MarkReader()
        return [number for number in reader.feed(text) if number in self._pages]

    def thinking(self, key: Key, s: str) -> None:
        self._show_complete()
        self._sink.thinking(self._key(key), s)
        self._record.thinking(key, s)

    def thinking_json(self, key: Key, raw: bytes) -> None:
        self._show_complete()
        self._sink.thinking_json(self._key(key), raw)
        self._record.thinking_json(key, raw)

    def around(self, key: Key) -> tuple[bytes, bytes] | None:
        """Return None: a splice would pass by the recorded turn."""
        return None

    def signature(self, key: Key, kind: str, state: JSON) -> None:
        self._sink.signature(self._key(key), kind, state)
        self._record.signature(key, kind, state)

    def reasoning_field(self, name: str) -> None:
        self._sink.reasoning_field(name)
        self._record.reasoning_field(name)

    # -- calls ---------------------------------------------------------------------------------------------------------

    def tool(self, key: Key, id: str, name: str) -> None:
        self._record.tool(key, id, name)
        kind = self._kinds.setdefault(key, _EarlyCall())
        if isinstance(kind, _EarlyCall):
            kind.id = kind.id or id
            if name:
                self._name_call(key, kind, name)
        elif isinstance(kind, SearchCall):
            kind.id = kind.id or id
        else:
            self._sink.tool(self._key(key), id, name)

    def _name_call(self, key: Key, early: _EarlyCall, name: str) -> None:
        """The call `key` has got its name: pass on, or keep, what came before."""
        self._show_complete()
        if name != self._name:
            self._pass_call(key, early, name)
            return
        call = self._kinds[key] = self._new_call(early.id)
        for part in early.parts:
            call.add(part)

    def _new_call(self, id: str) -> SearchCall:
        call = SearchCall(id)
        if len(self.calls) < CALLS:
            self.calls.append(call)
        else:
            self.is_flooded = True
        return call

    def _pass_call(self, key: Key, early: _EarlyCall, name: str) -> None:
        self._kinds[key] = _OTHER
        self.has_other_calls = True
        self._sink.tool(self._key(key), early.id, name)
        for part in early.parts:
            self._sink.args(self._key(key), part)

    def args(self, key: Key, s: str) -> None:
        self._record.args(key, s)
        self._add_arguments(key, s)

    def args_json(self, key: Key, raw: bytes) -> None:
        self._record.args_json(key, raw)
        self._add_arguments(key, as_text(raw))

    def _add_arguments(self, key: Key, s: str) -> None:
        kind = self._kinds.setdefault(key, _EarlyCall())
        if isinstance(kind, SearchCall):
            kind.add(s)
        elif isinstance(kind, _EarlyCall):
            kind.add(s)
            if kind.size > ARGUMENTS:  # no query is so long; the reply itself bounds what it holds
                self._pass_call(key, kind, "")
        else:
            self._sink.args(self._key(key), s)

    def complete(self, key: Key) -> None:
        self._record.complete(key)
        kind = self._kinds.get(key)
        if isinstance(kind, (SearchCall, _EarlyCall)):
            self._show_complete()
        else:
            self._sink.complete(self._key(key))

    def _show_complete(self) -> None:
        """Write the blocks of the searches whose arguments are complete, before what comes behind them."""
        while self._block_count < len(self.calls) and self.calls[self._block_count].parse():
            self._show(self.calls[self._block_count])

    def _show(self, call: SearchCall) -> None:
        self._block_count += 1
        call.block_id = self._make_id(call.id)
        self._sink.server_tool(call.block_id, call.block_id, self._name, {"query": call.query} if call.query else {})

    def end(self) -> None:
        """The hop is complete: close what it has opened, and write the blocks that are missing."""
        for key, kind in list(self._kinds.items()):
            if not isinstance(kind, _EarlyCall):
                continue
            if self.calls:  # the client gets no such call either; the searches go on without it
                self.has_lost_call = True
            else:
                self._pass_call(key, kind, "")
        while self._block_count < len(self.calls):
            call = self.calls[self._block_count]
            call.parse()
            self._show(call)
        # the recorded turn has them in the order in which they began, not in which they got their names
        self.calls = [kind for kind in self._kinds.values() if isinstance(kind, SearchCall)] or self.calls

    # -- hosted tools, whole events of the upstream --------------------------------------------------------------------

    def server_tool(self, key: Key, id: str, name: str, input: JSON) -> None:
        self._sink.server_tool(self._key(key), id, name, input)
        self._record.server_tool(key, id, name, input)

    def server_result(self, key: Key, type: str, tool_use_id: str, content: Any) -> None:
        self._sink.server_result(self._key(key), type, tool_use_id, content)
        self._record.server_result(key, type, tool_use_id, content)

    def citation(self, key: Key, citation: JSON) -> None:
        self._sink.citation(self._key(key), citation)
        self._record.citation(key, citation)

    def raw(self, type: str, event: JSON, data: bytes) -> None:
        """Pass a whole event on, but for those of searches, and for what a message may have only once."""
        self._record.raw(type, event, data)
        if type == "message_delta":
            self.closing = event
        elif type == "message_start":
            if not self._prefix:
                self._sink.raw(type, event, data)
        elif type == "content_block_start" and self._is_search(event["content_block"]):
            self._raw_calls[event["index"]] = self._new_call(event["content_block"]["id"])
        elif type in _BLOCK_EVENTS and event["index"] in self._raw_calls:
            self._read_raw_call(type, event)
        else:
            if type == "content_block_start" and event["content_block"]["type"] == "tool_use":
                self.has_other_calls = True
            self._sink.raw(type, event, data)
            if type == "content_block_delta" and self._pages and event["delta"]["type"] == "text_delta":
                self._cite_raw(event)

    def _is_search(self, block: JSON) -> bool:
        return block["type"] == "tool_use" and block.get("name") == self._name

    def _read_raw_call(self, type: str, event: JSON) -> None:
        if type == "content_block_delta":
            if event["delta"]["type"] == "input_json_delta":
                self._raw_calls[event["index"]].add(event["delta"]["partial_json"])
        else:
            del self._raw_calls[event["index"]]
            self._show_complete()

    def _cite_raw(self, event: JSON) -> None:
        for number in self._read_marks(event["index"], event["delta"]["text"]):
            delta = {"type": "citations_delta", "citation": blocks.citation(self._pages[number], number)}
            self._sink.raw(
                "content_block_delta", {"type": "content_block_delta", "index": event["index"], "delta": delta}, b""
            )
