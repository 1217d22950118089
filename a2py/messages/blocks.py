"""Keyed verbs → strictly sequential content blocks: the half that the stream writer and the unary reply share.

Knows: block order, which items are held back, which tool ids were used, when a tool call counts as complete.
Must not know: bytes of an event stream, JSON of a message (its two subclasses know one each), any upstream.
Invariants: at most one block is open; a block once closed is never reopened; nothing that was cut is ever completed
(Claude Code runs every closed, parsable tool block, whatever follows it); held bytes are bounded by HELD_LIMIT.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Union

import orjson

from a2py.errors import ApiError
from a2py.messages import envelope, ids

if TYPE_CHECKING:
    from a2py.messages.types import JSON, Key, Outcome

TEXT, THINKING, TOOL, WHOLE = "text", "thinking", "tool", "whole"
#: Characters of items that wait for an open tool call to end (16 Mi).
HELD_LIMIT = 16 * 1024 * 1024
#: Arguments that say "none": Groq sends null (2025-09), DeepSeek and Mistral "", others `{}` ahead of the object.
NO_ARGUMENTS = frozenset({"", "{}", "null", "[]", '""'})

Part = Union[str, bytes]  # bytes: the inside of a JSON string, still escaped


def plain(part: Part) -> str:
    """A part as text."""
    if isinstance(part, str):
        return part
    text: str = orjson.loads(b'"' + part + b'"')
    return text


class Item:
    """One upstream item on its way to being a block."""

    __slots__ = ("block", "closed", "done", "id", "key", "kind", "name", "opened", "parts", "scan", "sealed", "state")

    def __init__(self, kind: str, key: Key) -> None:
        self.kind = kind
        self.key = key
        self.id = ""
        self.name = ""
        self.parts: list[Part] = []
        self.opened = False
        self.done = False
        self.closed = False
        self.sealed = ""  # kind of the vendor state
        self.state: JSON = {}
        self.block: JSON = {}
        self.scan: JsonScan | None = None

    def joined(self) -> str:
        return "".join(map(plain, self.parts))


class JsonScan:
    """Tells, fragment by fragment and in linear time, whether a JSON object has been closed."""

    __slots__ = ("complete", "depth", "escaped", "quoted", "seen")
    _TOKEN = re.compile(r'["\\{}\[\]]')

    def __init__(self) -> None:
        self.seen = 0  # parts already scanned
        self.depth = 0
        self.quoted = False
        self.escaped = -1  # offset of an escaped character, relative to the fragment
        self.complete = False

    def feed(self, s: str) -> None:
        for match in self._TOKEN.finditer(s):
            at = match.start()
            if at == self.escaped:
                continue
            c = s[at]
            if self.quoted:
                if c == "\\":
                    self.escaped = at + 1
                elif c == '"':
                    self.quoted = False
            elif c == '"':
                self.quoted = True
            elif c in "{[":
                self.depth += 1
            elif c in "}]":
                self.depth -= 1
                self.complete = self.complete or self.depth == 0
        self.escaped = 0 if self.escaped == len(s) else -1


class Blocks:
    """The verbs of `Sink`, made sequential. Subclasses say what starting, filling, signing and stopping a block is.

    `thinking`: `show`, `omit` (blocks with empty text, the text sealed in the signature) or `none`; `origin`: who replies (for
    the envelope); `used`: tool ids that stand in the request's history.
    """

    def __init__(self, origin: str = "", thinking: str = "show", used: frozenset[str] = frozenset()) -> None:
        self._origin = origin
        self._mode = thinking
        self._ids = ids.Allocator(used)
        self._live: Key | None = None  # key of the open block
        self._item: Item | None = None  # the item that streams, opened or about to be
        self._held: list[Item] = []
        self._held_size = 0
        self._tools: dict[Key, Item] = {}
        self.count = 0  # blocks opened
        self.tools_emitted = 0
        self.problem: ApiError | None = None

    # -- what a subclass knows ---------------------------------------------------------------------------------------

    def _start(self, item: Item) -> None:
        raise NotImplementedError

    def _delta(self, s: str) -> None:
        raise NotImplementedError

    def _delta_json(self, raw: bytes) -> None:
        raise NotImplementedError

    def _sign(self, signature: str) -> None:
        raise NotImplementedError

    def _cite(self, citation: JSON) -> None:
        raise NotImplementedError

    def _stop(self) -> None:
        raise NotImplementedError

    # -- verbs -------------------------------------------------------------------------------------------------------

    def text(self, key: Key, s: str) -> None:
        if key == self._live:
            self._delta(s)
        elif s:
            self._put(self._run(key, TEXT), s)

    def text_json(self, key: Key, raw: bytes) -> None:
        if key == self._live:
            self._delta_json(raw)
        elif raw:
            self._put(self._run(key, TEXT), raw)

    def thinking(self, key: Key, s: str) -> None:
        if s and self._mode != "none":
            self._put(self._run(key, THINKING), s)

    def thinking_json(self, key: Key, raw: bytes) -> None:
        if raw and self._mode != "none":
            self._put(self._run(key, THINKING), raw)

    def signature(self, key: Key, kind: str, state: JSON) -> None:
        if self._mode == "none":
            return
        item = self._run(key, THINKING)
        item.sealed = kind
        item.state = state
        if item is self._item and not item.opened:
            self._open(item)

    def tool(self, key: Key, id: str, name: str) -> None:
        item = self._call(key)
        item.id = item.id or id
        item.name = item.name or name
        if item is self._item and item.parts and not item.opened:
            self._try(item)

    def args(self, key: Key, s: str) -> None:
        if s:
            self._argue(self._call(key), s)

    def args_json(self, key: Key, raw: bytes) -> None:
        if raw:
            self._argue(self._call(key), raw)

    def done(self, key: Key) -> None:
        item = self._tools.get(key)
        if item is not None:
            item.done = True
            if item is self._item and item.name:
                self._end()
                self._advance()
        elif self._item is not None and self._item.key == key:
            self._end()

    def server_tool(self, key: Key, id: str, name: str, input: JSON) -> None:
        self._whole(key, {"type": "server_tool_use", "id": id, "name": name, "input": input})

    def server_result(self, key: Key, type: str, tool_use_id: str, content: Any) -> None:
        self._whole(key, {"type": type, "tool_use_id": tool_use_id, "content": content})

    def citation(self, key: Key, citation: JSON) -> None:
        if key == self._live and self._item is not None and self._item.kind == TEXT:
            self._cite(citation)

    # -- the order of blocks -----------------------------------------------------------------------------------------

    def _run(self, key: Key, kind: str) -> Item:
        """The text or thinking run `key`, if it is still the newest item; else a new run."""
        last = self._held[-1] if self._held else self._item
        if last is None or last.key != key or last.kind != kind:
            last = Item(kind, key)
            self._arrive(last)
        return last

    def _call(self, key: Key) -> Item:
        item = self._tools.get(key)
        if item is None:
            item = self._tools[key] = Item(TOOL, key)
            self._arrive(item)
        return item

    def _whole(self, key: Key, block: JSON) -> None:
        item = Item(WHOLE, key)
        item.block = block
        item.done = True
        self._arrive(item)
        if item is self._item:
            self._end()

    def _arrive(self, item: Item) -> None:
        if self._item is None:
            self._item = item
        else:
            self._held.append(item)
            self._advance()

    def _put(self, item: Item, part: Part) -> None:
        if item is not self._item:
            self._hold(item, part)
            return
        if not item.opened:
            self._open(item)
        if self._hidden(item):
            item.parts.append(part)
        else:
            self._fill(part)

    def _hidden(self, item: Item) -> bool:
        """Its text is not shown, but sealed in the signature."""
        return item.kind == THINKING and self._mode == "omit"

    def _argue(self, item: Item, part: Part) -> None:
        if item.closed:
            return
        if item is not self._item:
            self._hold(item, part)
        elif item.opened:
            item.parts.append(part)
            self._fill(part)
        else:
            item.parts.append(part)
            self._grow(len(part))
            self._try(item)
        if self._held:
            self._advance()

    def _hold(self, item: Item, part: Part) -> None:
        item.parts.append(part)
        self._grow(len(part))

    def _grow(self, size: int) -> None:
        self._held_size += size
        if self._held_size > HELD_LIMIT and self.problem is None:
            self.problem = ApiError("upstream", f"the upstream interleaved more than {HELD_LIMIT} characters of tool calls")

    def _try(self, item: Item) -> None:
        """Open a call as soon as its name is known and an argument object has really begun."""
        if item.name:
            text = item.joined().lstrip()
            if text[:1] == "{" and text.rstrip() != "{}":
                self._flush(item)

    def _flush(self, item: Item, whole: bool = False) -> None:
        """Open `item` and give out what it holds. A placeholder `{}` ahead of the real object is left out."""
        parts = item.parts
        if item.kind == TOOL:
            text = item.joined()
            stripped = text.strip()
            if whole and stripped in NO_ARGUMENTS:
                text = "{}"
            elif stripped[:2] == "{}":
                text = stripped[2:]
            parts = item.parts = [text]
        self._open(item)
        if not self._hidden(item):
            for part in parts:
                self._fill(part)

    def _open(self, item: Item) -> None:
        item.opened = True
        if item.kind == TOOL:
            item.id = self._ids.legal(item.id)
            self.tools_emitted += 1
        self.count += 1
        self._start(item)
        # a call's fragments are also kept (to tell its end), a hidden text is not shown: neither takes the short way
        self._live = None if item.kind == TOOL or self._hidden(item) else item.key

    def _fill(self, part: Part) -> None:
        if isinstance(part, str):
            self._delta(part)
        else:
            self._delta_json(part)

    def _complete(self, item: Item) -> bool:
        """Whether `item` may be closed because another one waits."""
        if item.kind != TOOL or item.done:
            return item.kind != TOOL or bool(item.name)
        if not item.name:
            return False
        scan = item.scan = item.scan or JsonScan()
        for part in item.parts[scan.seen :]:
            scan.feed(plain(part))
        scan.seen = len(item.parts)
        return scan.complete

    def _advance(self) -> None:
        while self._held and (self._item is None or self._complete(self._item)):
            if self._item is not None:
                self._end()
            self._promote()

    def _promote(self) -> None:
        """The next held item becomes the live one: calls that wait together go by their index."""
        at = 0
        if self._held[0].kind == TOOL:
            for n, other in enumerate(self._held):
                if other.kind != TOOL:
                    break
                if isinstance(other.key, int) and isinstance(self._held[at].key, int) and other.key < self._held[at].key:  # type: ignore[operator]
                    at = n
        item = self._item = self._held.pop(at)
        self._held_size -= sum(map(len, item.parts))
        if item.kind == TOOL:
            self._try(item)
        elif item.kind == WHOLE:
            self._end()
        elif item.parts or item.sealed:
            self._flush(item)

    def _end(self) -> None:
        """Close the live item's block; a complete call that never opened is opened for it."""
        item = self._item
        assert item is not None
        if not item.opened and item.kind in (TOOL, WHOLE):
            self._flush(item, whole=True)
        if item.opened:
            if item.kind == THINKING:
                self._sign(self._seal(item))
            self._stop()
        item.closed = True
        self._item = None
        self._live = None

    def _seal(self, item: Item) -> str:
        state = dict(item.state)
        if self._mode == "omit":
            state["text"] = item.joined()
        return envelope.seal(item.sealed or envelope.PLAIN, self._origin, state)

    def finish(self, outcome: Outcome) -> str:
        """Close what is open, give out what was held, and tell the final stop reason.

        After `max_tokens` a call whose arguments never began is left out: an empty object would be run."""
        cut = outcome.reason == "max_tokens"
        while self._item is not None or self._held:
            if self._item is None:
                self._promote()
                continue
            item = self._item
            if (
                item.kind == TOOL
                and not item.opened
                and (not item.name or (cut and not item.done and item.joined().strip() in NO_ARGUMENTS))
            ):
                self._item = None
                continue
            self._end()
        if not self.count:
            self._open(Item(TEXT, "empty"))
            self._stop()
        if outcome.reason in ("end_turn", "tool_use", "stop_sequence"):
            if self.tools_emitted:
                return "tool_use"
            return outcome.reason if outcome.reason != "tool_use" else "end_turn"
        return outcome.reason
