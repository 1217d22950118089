"""Keyed verbs → strictly sequential content blocks: the half that the stream writer and the unary reply share.

Knows: block order, which items are held back, which tool ids were used, when a tool call counts as complete.
Must not know: bytes of an event stream, JSON of a message (its two subclasses know one each), any upstream.
Invariants: at most one block is open; a block once closed is never reopened; nothing that was cut is ever completed
(Claude Code runs every closed, parsable tool block, whatever follows it); held bytes are bounded by HELD_LIMIT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from a2py import jsonsize, jsontext
from a2py.errors import ApiError
from a2py.messages import ids, signatures
from a2py.messages.items import NO_ARGUMENTS, TEXT, THINKING, TOOL, WHOLE, Item, Part, without_placeholder

if TYPE_CHECKING:
    from a2py.messages.types import JSON, Key, Outcome

#: Characters that may wait in memory: items behind an open tool call, arguments without a name, hidden thinking (16 Mi).
HELD_LIMIT = 16 * 1024 * 1024
#: What a waiting part and a waiting item count for beside their characters (CPython objects; so that endless empty ones are bounded).
PART_COST, ITEM_COST = 64, 16 * 1024
#: Tool calls of one reply. Their ids and keys are known until its end, some 2 KiB for each.
CALLS_LIMIT = 4096
#: Fragments of a call in which its argument object must begin, to be streamed; garbage waits for the end of the call.
TRIES = 64
#: Characters of an open call between two looks for its end, so that they need not all be kept.
SCAN_SIZE = 256 * 1024
#: Stop reasons that say that the reply was cut somewhere.
CUT = frozenset({"max_tokens", "refusal", "model_context_window_exceeded"})


class Blocks:
    """The verbs of `Sink`, made sequential. Subclasses say what starting, filling, signing and stopping a block is.

    `thinking`: `show`, `omit` (blocks with empty text, the text sealed in the signature) or `none`; `origin`: who replies (for
    the envelope); `used`: tool ids that stand in the request's history.
    """

    def __init__(self, origin: str = "", thinking: str = "show", used: frozenset[str] = frozenset()) -> None:
        self._origin = origin
        self._mode = thinking
        self._ids = ids.Allocator(used)
        self._live: Key | None = None  # key of the open block, if its deltas go straight out
        self._tool: Key | None = None  # key of the open block, if it is a call
        self._item: Item | None = None  # the item that streams, opened or about to be
        self._held: list[Item] = []
        self._held_size = 0  # of held items, of the live one until it opens, of hidden thinking
        self._tools: dict[Key, Item] = {}
        self.count = 0  # blocks opened
        self.tools_emitted = 0
        self.torn = False  # a call was closed whose arguments have no end
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

    def again(self) -> None:
        """A further upstream stream continues this message (after a search of the proxy's own): its keys are new ones."""
        self._tools.clear()

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

    def around(self, key: Key) -> tuple[bytes, bytes] | None:
        return None

    def signature(self, key: Key, kind: str, state: JSON) -> None:
        if self._mode == "none":
            return
        item = self._run(key, THINKING)
        item.sealed = kind
        item.state = state
        if item is not self._item:
            self._keep(item, "", jsonsize.weight(jsontext.dumps(state)))

    def tool(self, key: Key, id: str, name: str) -> None:
        item = self._call(key)
        item.id = item.id or id
        if name and not item.name:
            item.name = name
            if item is self._item and self._ready(item):
                self._advance()

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
            if item is self._item and self._ready(item):
                self._advance()
        elif self._item is not None and self._item.key == key:
            self._end()

    def server_tool(self, key: Key, id: str, name: str, input: JSON) -> None:
        self._whole(key, {"type": "server_tool_use", "id": id, "name": name, "input": {}}, jsontext.dumps(input).decode())

    def server_result(self, key: Key, type: str, tool_use_id: str, content: Any) -> None:
        self._whole(key, {"type": type, "tool_use_id": tool_use_id, "content": content})

    def citation(self, key: Key, citation: JSON) -> None:
        if key == self._live and self._item is not None and self._item.kind == TEXT:
            self._cite(citation)
            return
        for item in reversed(self._held):
            if item.key == key and item.kind == TEXT:
                item.citations.append(citation)
                self._keep(item, "", PART_COST + jsonsize.weight(jsontext.dumps(citation)))
                return

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
            item = Item(TOOL, key)
            if len(self._tools) >= CALLS_LIMIT:
                item.closed = True
                self._give_up(f"the upstream sent more than {CALLS_LIMIT} tool calls in one reply")
                return item
            self._tools[key] = item
            self._arrive(item)
        return item

    def _whole(self, key: Key, block: JSON, input: str = "") -> None:
        """A block that comes as a whole; `input` travels in a delta, like any tool's."""
        item = Item(WHOLE, key)
        item.block = block
        item.parts = [input] if input else []
        item.done = True
        self._arrive(item)
        if item is self._item:
            self._end()

    def _arrive(self, item: Item) -> None:
        if self.problem is not None:
            return
        if self._item is None:
            self._item = item
        else:
            self._held.append(item)
            self._keep(item, "", ITEM_COST + (jsonsize.weight(jsontext.dumps(item.block)) + sum(map(len, item.parts)) if item.block else 0))
            self._advance()

    def _put(self, item: Item, part: Part) -> None:
        if item is not self._item:
            self._keep(item, part)
            return
        if not item.opened:
            self._open(item)
        if self._hidden(item):
            self._keep(item, part)
        else:
            self._fill(part)

    def _hidden(self, item: Item) -> bool:
        """Its text is not shown, but sealed in the signature."""
        return item.kind == THINKING and self._mode == "omit"

    def _argue(self, item: Item, part: Part) -> None:
        if item.closed:
            return
        if item is not self._item:
            self._keep(item, part)
        elif item.opened:
            self._fill(part)
            item.parts.append(part)
            item.size += len(part)
            self._look()
            return
        else:
            item.parts.append(part)
            if item.name and len(item.parts) <= TRIES:
                self._try(item)
            if not item.opened:
                self._keep(item, item.parts.pop())
        if self._held:
            self._advance()

    def _look(self) -> None:
        """The open call got more."""
        item = self._item
        if item is not None and item.size > SCAN_SIZE:
            item.scanned()
        if self._held:
            self._advance()

    def _keep(self, item: Item, part: Part, cost: int = PART_COST) -> None:
        """`item` holds `part` until it can be given out. Too much of that ends the reply: nothing with a gap is ever opened or closed."""
        if self.problem is not None:
            return
        if part:
            item.parts.append(part)
        size = len(part) + cost
        item.size += size
        self._held_size += size
        if self._held_size > HELD_LIMIT:
            self._give_up(f"the upstream interleaved more than {HELD_LIMIT} characters of tool calls or hidden thinking")

    def _give_up(self, why: str) -> None:
        """The reply ends with an error: more of it can't be kept."""
        self.problem = self.problem or ApiError("upstream", why)
        self._held.clear()
        if self._item is not None and not self._item.opened:
            self._item = None

    def _free(self, item: Item) -> None:
        self._held_size -= item.size
        item.size = 0

    def _ready(self, item: Item) -> bool:
        """Give out what can be given of the live call; whether that was all of it."""
        if item.name and item.done:
            self._end()
            return True
        if item.name and item.parts and not item.opened:
            self._try(item)
        return False

    def _try(self, item: Item) -> None:
        """Open a call as soon as an argument object has really begun."""
        text = without_placeholder(item.joined()).lstrip()
        if text[:1] == "{" and text.rstrip() != "{}":
            self._flush(item)

    def _flush(self, item: Item, whole: bool = False) -> None:
        """Open `item` and give out what it holds; `whole`: there is no more of it."""
        if item.kind == TOOL:
            text = item.joined()
            item.parts = ["{}" if whole and text.strip() in NO_ARGUMENTS else without_placeholder(text)]
        self._open(item)
        if not self._hidden(item):
            self._free(item)
            for part in item.parts:
                self._fill(part)
            for citation in item.citations:
                self._cite(citation)

    def _open(self, item: Item) -> None:
        item.opened = True
        if item.kind == TOOL:
            item.id = self._ids.legal(item.id)
            self.tools_emitted += 1
        self.count += 1
        self._start(item)
        # a call's fragments are also kept (to tell its end), a hidden text is not shown: neither takes the short way
        self._live = None if item.kind == TOOL or self._hidden(item) else item.key
        self._tool = item.key if item.kind == TOOL else None

    def _fill(self, part: Part) -> None:
        if isinstance(part, str):
            self._delta(part)
        else:
            self._delta_json(part)

    def _complete(self, item: Item) -> bool:
        """Whether `item` may be closed because another one waits. A call that shows only `{}` may still get its object."""
        if item.kind != TOOL:
            return True
        if not item.opened:
            return item.done and bool(item.name)
        return item.done or item.scanned()

    def _advance(self) -> None:
        while self._held and (self._item is None or self._complete(self._item)):
            if self._item is not None:
                self._end()
            if self._held:  # not if that was too much to keep
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
        if item.kind == TOOL:
            self._ready(item)
        elif item.kind == WHOLE:
            self._end()
        elif item.parts or item.kind == TEXT:
            self._flush(item)

    def _end(self) -> None:
        """Close the live item's block; a complete call that never opened is opened for it."""
        item = self._item
        assert item is not None
        if not item.opened:
            self._flush(item, whole=True)
        if item.kind == THINKING:
            self._sign(self._seal(item))
        elif item.kind == TOOL:
            self.torn = self.torn or item.torn()
        self._stop()
        if self._hidden(item):
            self._free(item)
        item.parts = []
        item.closed = True
        self._item = None
        self._live = self._tool = None

    def _seal(self, item: Item) -> str:
        state = dict(item.state)
        if self._mode == "omit":
            state["text"] = item.joined()
        return signatures.make(item.sealed or signatures.PLAIN, self._origin, state)

    def finish(self, outcome: Outcome) -> str:
        """Close what is open, give out what was held, and tell the final stop reason.

        After a cut a call whose arguments never began is left out: an empty object would be run. Arguments without an end were cut,
        whatever the upstream says (OpenRouter: tool_calls in 16 of 16 recordings, 2025-10)."""
        cut = outcome.reason in CUT or outcome.reason == "stop_sequence"  # a stop that is applied here cuts, too
        while self._item is not None or self._held:
            if self._item is None:
                self._promote()
                continue
            if self._item.kind == TOOL and not self._item.opened and self._lost(self._item, cut):
                outcome.notes.append(f"a tool call was left out: {self._item.name[:100] or 'it has no name'}")
                self._item = None
                continue
            if self._late(self._item):
                outcome.notes.append("vendor state behind the text was left out")
                self._item = None
                continue
            self._end()
        if not self.count:
            self._open(Item(TEXT, "empty"))
            self._stop()
        if self.torn and outcome.reason not in CUT:
            outcome.notes.append("a tool call was cut, though the upstream does not say so")
            return "max_tokens"
        if outcome.reason in ("end_turn", "tool_use", "stop_sequence"):
            if self.tools_emitted:
                return "tool_use"
            return outcome.reason if outcome.reason != "tool_use" else "end_turn"
        return outcome.reason

    def _late(self, item: Item) -> bool:
        """Vendor state that came behind the text of a turn without calls. No vendor demands it back, and `claude -p` (2.1.330) takes the last
        block for its result: a thinking block there makes it empty."""
        return item.kind == THINKING and not item.opened and not item.parts and self.count > 0 and not self.tools_emitted

    def _lost(self, item: Item, cut: bool) -> bool:
        """A call that can't be given out: nameless, or cut before its arguments began."""
        return not item.name or (cut and not item.done and item.joined().strip() in NO_ARGUMENTS)
