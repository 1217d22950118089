"""The items of a response → verbs, whether they come in deltas, as whole items, or only in the final response object.

Knows: item and part types, and how to tell that two mentions are one item (ids that rotate, indexes that repeat or are missing).
Must not know: events (stream.py), how a reply ends.
Invariants: each text is told once, however often the upstream repeats it; what was streamed is completed by what follows, never
contradicted by it; a call that the upstream cut is never declared done; any JSON is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, count
from typing import Any

from a2py.messages.types import JSON, Prepared, Sink
from a2py.wires.common import search
from a2py.wires.common.filters import Stops, ThinkTags
from a2py.wires.common.text import dumps
from a2py.wires.responses.item import Item, Part, fits, number, texts, word
from a2py.wires.responses.search import read

TEXT, REFUSAL, SUMMARY, RAW, ARGS, FREE = "text", "refusal", "summary", "raw", "args", "free"
MESSAGE, REASONING, CALL, CUSTOM, SEARCH = "message", "reasoning", "function_call", "custom_tool_call", "web_search_call"
#: Part type → what it is.
PARTS = {"output_text": TEXT, "text": TEXT, "refusal": REFUSAL, "summary_text": SUMMARY, "reasoning_text": RAW}
#: What a delta or part belongs to.
OWNER = {TEXT: MESSAGE, REFUSAL: MESSAGE, SUMMARY: REASONING, RAW: REASONING, ARGS: CALL, FREE: CUSTOM}
#: Fields of a reasoning item that must come back (`format`, `signature`: OpenRouter, 2025-11).
VENDOR = ("encrypted_content", "signature")
KEPT = ("id", *VENDOR, "format")
#: Characters that are kept of one reply (16 Mi), to be compared with their repetition; free text until its end. What a piece counts for beside.
KEPT_LIMIT, PIECE_COST = 16 * 1024 * 1024, 64
#: Bytes that are kept of the items of one reply beside their text (16 MiB), and what an item, a part or an id counts for beside its characters.
ITEMS_LIMIT, ITEM_COST, PART_COST, ID_COST = 16 * 1024 * 1024, 2048, 768, 128
_NONE: Iterator[int] = iter(())


class Output:
    """`some`: something that a client can see was told; `lost`: a repetition contradicts what was streamed; `hosted`: items of tools that
    the upstream ran by itself and that Anthropic has no block for; `size`: what is kept of items, `kept`: of their texts; `full`: too much."""

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        self._sink = sink
        self._names = prepared.names
        self._tags = ThinkTags(prepared.think_open) if prepared.think_tags or prepared.think_open else None
        self._stops = Stops(prepared.stops) if prepared.stops else None
        self._text_key = ""
        self._items: list[Item] = []
        self._by_id: dict[str, Item] = {}
        self._by_index: dict[int, Item] = {}
        self._newest: dict[str, Item] = {}
        self._keys: set[int] = set()
        self._next_key = 0
        self._silent: list[Item] = []  # calls without a character of arguments: only the end tells whether they were cut
        self._block_ids: set[str] = set()
        self._searches: list[tuple[int, str]] = []  # searches whose results are not known yet: key and block id
        self._pages: dict[str, str] = {}  # cited URLs and their titles
        self.searches = 0
        self.some = False
        self.lost = False
        self.refused = False
        self.hosted: list[str] = []
        self.size = self.kept = 0

    @property
    def full(self) -> bool:
        return self.size > ITEMS_LIMIT

    # -- which item --------------------------------------------------------------------------------------------------

    def mentioned(self, kind: str, id: Any, index: Any) -> Item:
        """The item that a delta speaks of: by its id, else its index (Copilot's ids change with every event), else the newest of its kind."""
        id, index = word(id), number(index)
        item = self._by_id.get(id)
        if item is not None and item.kind == kind:
            return item
        item = self._by_index.get(index) if index >= 0 else self._newest.get(kind)
        if item is None or item.kind != kind or (item.closed and id):
            item = self._new(kind, index)
            if id:
                item.id = id
                self._identify(item, id)
        return item

    def enter(self, raw: JSON, index: Any) -> Item:
        """The item that `output_item.added` or `.done` holds."""
        kind, id, call_id = word(raw.get("type")), word(raw.get("id")), word(raw.get("call_id"))
        index = number(index)
        item = self._by_id.get(id)
        if item is None:
            item = self._by_id.get(call_id)
            if item is not None and item.index != index and item.index >= 0 <= index:
                item = None  # two calls that came with one call_id
        if item is None or not fits(item, kind, call_id):
            item = self._by_index.get(index)
            if item is None or item.closed or not fits(item, kind, call_id):
                item = self._new(kind, index)
        self._name(item, raw)
        return item

    def _new(self, kind: str, index: int) -> Item:
        key = index if index >= 0 and index not in self._keys else self._next_key
        self._keys.add(key)
        self._next_key = max(self._next_key, key + 1)
        self.size += ITEM_COST + len(kind)
        item = Item(kind, key, index)
        self._items.append(item)
        self._newest[kind] = item
        if index >= 0:
            self._by_index[index] = item
        return item

    def _identify(self, item: Item, id: str) -> None:
        if self._by_id.get(id) is not item:
            self._by_id[id] = item
            self.size += ID_COST + len(id)

    def _name(self, item: Item, raw: JSON) -> None:
        """Ids and names, the first ones count; a call becomes known to the sink."""
        id, call_id = word(raw.get("id")), word(raw.get("call_id"))
        item.id = item.id or id
        item.call_id = item.call_id or call_id
        for known in (id, call_id):
            if known:
                self._identify(item, known)
        if item.kind in (CALL, CUSTOM):
            if not item.name:
                self.drain()
                item.name = word(raw.get("name"))
                self.size += len(item.name)
            self.some = True
            self._sink.tool(item.key, item.call_id or item.id, self._names.get(item.name, item.name))

    # -- its texts ---------------------------------------------------------------------------------------------------

    def say(self, item: Item, kind: str, n: int, s: str) -> None:
        """A piece of the item's `n`th part, not empty."""
        part = item.parts.get((kind, n))
        if part is None:
            part = self._part(item, kind, n)
        self._tell(item, part, s)

    def _part(self, item: Item, kind: str, n: int) -> Part:
        part = item.parts[kind, n] = Part(kind, f"{item.key}.{kind}.{n}")
        self.size += PART_COST
        return part

    def _tell(self, item: Item, part: Part, s: str) -> None:
        part.size += len(s)
        if part.said is not None:
            part.said = self._kept(part, part.said, s)
        if part.kind != FREE:  # free text waits for its end
            _VERBS[part.kind](self, item, part, s)

    def _kept(self, part: Part, said: list[str], s: str) -> list[str] | None:
        """What is kept of a part that goes on with `s`; None: it is too much."""
        cost = len(s) + PIECE_COST
        if self.kept + cost > KEPT_LIMIT:
            self.kept -= part.kept
            return None
        said.append(s)
        part.kept += cost
        self.kept += cost
        return said

    def whole(self, item: Item, kind: str, n: int, text: str) -> None:
        """The complete text of a part, of which some or all may have been told."""
        part = item.parts.get((kind, n))
        if part is None:
            if text:
                self._tell(item, self._part(item, kind, n), text)
        elif part.said is not None and len(text) != part.size:
            if len(text) > part.size and text.startswith("".join(part.said)):
                self._tell(item, part, text[part.size :])
            elif text:
                self.lost = True

    def _say_text(self, item: Item, part: Part, s: str) -> None:
        if self._tags is None and self._stops is None:
            self.some = True
            self._sink.text(part.key, s)
            return
        if self._text_key != part.key:
            self.drain()
            self._text_key = part.key
        if self._tags is None:
            self._cut(s)
        else:
            self._pieces(self._tags.feed(s))

    def _pieces(self, pieces: list[tuple[bool, str]]) -> None:
        for thinking, text in pieces:
            if thinking:
                self.some = True
                self._sink.thinking("think", text)
            else:
                self._cut(text)

    def _cut(self, s: str) -> None:
        if self._stops is not None:
            s = self._stops.feed(s)
        if s:
            self.some = True
            self._sink.text(self._text_key, s)

    def drain(self) -> None:
        """Text that the filters hold back."""
        if self._tags is not None:
            self._pieces(self._tags.close())
        if self._stops is not None:
            rest = self._stops.close()
            if rest:
                self._sink.text(self._text_key, rest)

    def _say_refusal(self, item: Item, part: Part, s: str) -> None:
        self.drain()
        self.some = self.refused = True
        self._sink.text(part.key, s)

    def _say_thinking(self, item: Item, part: Part, s: str) -> None:
        """Summary and raw text of one item say the same: the first to speak is told."""
        if not item.voice:
            item.voice = part.kind
        if item.voice != part.kind:
            return
        if part.kind == RAW and part.size == len(s):
            self._sink.signature(part.key, "responses", {"raw": True})
        self.some = True
        self._sink.thinking(part.key, s)

    def _say_args(self, item: Item, part: Part, s: str) -> None:
        self._sink.args(item.key, s)

    @property
    def stopped(self) -> str | None:
        """The stop sequence that the text ran into."""
        return self._stops.matched if self._stops is not None else None

    def cite(self, item: Item, n: int, annotation: Any) -> None:
        """An annotation of the item's `n`th text."""
        found = search.convert_citation(annotation)
        if found is None:
            return
        part = item.parts.get((TEXT, n)) or self._part(item, TEXT, n)
        mark = dumps(annotation)
        if mark not in part.cited:
            part.cited.add(mark)
            self.size += 2 * ID_COST + len(mark) + len(found["url"]) + len(found["title"])
            self._pages.setdefault(found["url"], found["title"])
            self._sink.citation(part.key, found)

    # -- whole items -------------------------------------------------------------------------------------------------

    def close(self, item: Item, raw: JSON) -> None:
        """The item as the upstream shows it at its end."""
        if item.closed:
            return
        item.closed = True
        end = _ENDS.get(item.kind)
        if end is not None:
            end(self, item, raw)
        elif item.kind:
            self.hosted.append(item.kind)

    def _parts(self, item: Item, parts: Any, only: str = "") -> None:
        """Parts as the item repeats them. They are matched by their order: Bedrock streams content_index 1 for the first one (2026-08)."""
        if isinstance(parts, str):
            parts = [{"type": "output_text", "text": parts}]
        told: dict[str, list[int]] = {}
        for kind, n in item.parts:
            told.setdefault(kind, []).append(n)
        known = {kind: iter(numbers) for kind, numbers in told.items()}
        last = {kind: max(numbers) for kind, numbers in told.items()}
        for part in parts if isinstance(parts, list) else ():
            if self.full:
                return
            if not isinstance(part, dict):
                continue
            kind = PARTS.get(word(part.get("type")), "")
            if OWNER.get(kind) != item.kind or (only and kind != only):
                continue
            n = next(known.get(kind, _NONE), -1)
            if n < 0:
                n = 1 + last.get(kind, -1)
            self.part(item, kind, n, part)
            if (kind, n) in item.parts:
                last[kind] = max(n, last.get(kind, -1))

    def part(self, item: Item, kind: str, n: int, part: JSON) -> None:
        """One whole part, with its annotations."""
        self.whole(item, kind, n, word(part.get("refusal" if kind == REFUSAL else "text")))
        annotations = part.get("annotations")
        if kind == TEXT and isinstance(annotations, list):
            for annotation in annotations:
                if not self.full:
                    self.cite(item, n, annotation)

    def _end_message(self, item: Item, raw: JSON) -> None:
        self._parts(item, raw.get("content"))
        self.drain()
        for part in item.parts.values():
            self._sink.done(part.key)

    def _end_reasoning(self, item: Item, raw: JSON) -> None:
        self._parts(item, raw.get("summary"), SUMMARY)
        self._parts(item, raw.get("content"), RAW)
        keys = [part.key for part in item.parts.values() if part.kind == item.voice]
        kept = {name: raw[name] for name in KEPT if word(raw.get(name))}
        if any(name in kept for name in VENDOR):
            state: JSON = {"item": kept}
            if item.voice == RAW:
                state["raw"] = True
            else:
                state["item"]["summary"] = texts(raw.get("summary"))
            self._sink.signature(keys[-1] if keys else f"{item.key}.{SUMMARY}.0", "responses", state)
            self.some = True
        for key in keys[-1:]:  # state without a text waits for what follows: behind the text of a turn without calls it is left out
            self._sink.done(key)

    def _end_call(self, item: Item, raw: JSON) -> None:
        arguments = raw.get("arguments")
        self.whole(item, ARGS, 0, arguments if isinstance(arguments, str) else dumps(arguments) if arguments is not None else "")
        if raw.get("status") == "incomplete":
            return
        if (ARGS, 0) in item.parts:
            self._sink.done(item.key)
        else:
            self._silent.append(item)

    def _end_custom(self, item: Item, raw: JSON) -> None:
        if raw.get("status") != "incomplete":
            self.whole(item, FREE, 0, word(raw.get("input")))
            self._give_free(item)

    def _give_free(self, item: Item) -> None:
        """A tool that takes free text: as `{"input": …}`, like on the chat wire; in one piece, so that a cut one is never closed."""
        part = item.parts.get((FREE, 0))
        if part is not None and part.said is None:
            self._sink.args(item.key, '{"input":')  # longer than what is kept: it stays open
            return
        self._sink.args(item.key, dumps({"input": "" if part is None else "".join(part.said or ())}))
        self._sink.done(item.key)

    def _end_search(self, item: Item, raw: JSON) -> None:
        self.drain()
        found = read(raw)
        name = item.id or str(item.key)
        names = chain((name, f"{name}_{item.key}"), (f"{name}_{item.key}_{n}" for n in count(2)))
        id = next(id for id in map(search.make_block_id, names) if id not in self._block_ids)
        self._block_ids.add(id)
        self.searches += found.searched
        self.some = True
        self._sink.server_tool(item.key, id, search.NAME, found.input)
        if found.failed:
            self._sink.server_result(item.key, search.RESULT, id, search.FAILED)
        elif found.sources is not None:
            self._sink.server_result(item.key, search.RESULT, id, search.result_content(dict.fromkeys(found.sources, "")))
        else:
            self._searches.append((item.key, id))

    # -- the final response object -----------------------------------------------------------------------------------

    def final(self, response: JSON, complete: bool) -> None:
        """`output` of the final response: what was streamed is matched, the rest is told. `complete`: the reply was not cut."""
        self._bare(response)
        output = response.get("output")
        left: dict[str, list[Item]] = {}
        for item in reversed(self._items):
            left.setdefault(item.kind, []).append(item)
        used: set[int] = set()
        for raw in output if isinstance(output, list) else ():
            if isinstance(raw, dict):
                item = self._match(raw, left.get(word(raw.get("type")), []), used)
                used.add(item.key)
                self.close(item, raw)
            if self.stopped is not None or self.full:
                return
        if complete:
            self._complete()

    def _match(self, raw: JSON, left: list[Item], used: set[int]) -> Item:
        """OpenRouter's final ids differ from the streamed ones (2025-11): then the order of the items of one kind tells."""
        kind, call_id = word(raw.get("type")), word(raw.get("call_id"))
        for id in (word(raw.get("id")), call_id):
            item = self._by_id.get(id)
            if item is not None and item.key not in used and fits(item, kind, call_id):
                return item
        while left:
            item = left.pop()
            if item.key not in used and fits(item, kind, call_id):
                return item
        item = self._new(kind, -1)
        self._name(item, raw)
        return item

    def _bare(self, response: JSON) -> None:
        """Text that stands in no item: `reasoning` and `output_text` at the top (mistral.rs, 2025-12)."""
        if self._items:
            return
        reasoning = response.get("reasoning")
        if isinstance(reasoning, str) and reasoning.strip():
            self.some = True
            self._sink.thinking("reasoning", reasoning)
        if not response.get("output") and word(response.get("output_text")):
            self.say(self._new(MESSAGE, -1), TEXT, 0, response["output_text"])

    def _complete(self) -> None:
        for item in self._silent:
            self._sink.done(item.key)
        for item in self._items:
            if item.kind == CUSTOM and not item.closed:
                self._give_free(item)
        for n, (key, id) in enumerate(self._searches, 1):
            pages = self._pages if n == len(self._searches) else {}
            self._sink.server_result(key, search.RESULT, id, search.result_content(pages))
        if not self.some and self.hosted:
            self._sink.text("hosted", f"[{', '.join(dict.fromkeys(self.hosted))}]")

    @property
    def chars(self) -> int:
        """Characters of text, reasoning and arguments so far."""
        return sum(part.size for item in self._items for part in item.parts.values())

    @property
    def unclosed(self) -> bool:
        """An item was begun whose end was not seen."""
        return any(not item.closed for item in self._items)

    @property
    def nameless(self) -> bool:
        """A call was never given a name."""
        return any(item.kind in (CALL, CUSTOM) and not item.name for item in self._items)


_VERBS: dict[str, Callable[[Output, Item, Part, str], None]] = {
    TEXT: Output._say_text,
    REFUSAL: Output._say_refusal,
    SUMMARY: Output._say_thinking,
    RAW: Output._say_thinking,
    ARGS: Output._say_args,
}
_ENDS: dict[str, Callable[[Output, Item, JSON], None]] = {
    MESSAGE: Output._end_message,
    REASONING: Output._end_reasoning,
    CALL: Output._end_call,
    CUSTOM: Output._end_custom,
    SEARCH: Output._end_search,
}
