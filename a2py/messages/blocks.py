"""Turn the decoders' verbs into content blocks, one after the other.

Upstreams may mix the pieces of several items; Anthropic's clients take one block at a time. So the first item that
comes is the current one, and its pieces are written at once. The others are held until the current block can be closed.
Example, with two calls that an upstream interleaves (`+` opens a block, `-` closes it):

    verbs     tool(0, "a")  args(0, '{"x":')      tool(1, "b")  args(1, '{}')   args(0, '1}')      finish()
    written                 +a {"x":                                            1} -               +b {} -

Knows: block order, which items are held, which tool ids were used, when a tool call is complete.
Must not know: bytes of an event stream, JSON of a message (an `Output` knows one each), any upstream.
Invariants: at most one block is open. A closed block is never reopened. Nothing that was cut is ever completed, because
Claude Code runs every closed tool block whose input parses, whatever follows it. What is held is bounded by HELD_LIMIT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from a2py import jsonsize, jsontext
from a2py.errors import ApiError
from a2py.messages import ids, signatures
from a2py.messages.items import KINDS, TEXT, THINKING, TOOL, WHOLE, Held, Item, Part
from a2py.messages.raw import HIDDEN

if TYPE_CHECKING:
    from a2py.messages.output import Output
    from a2py.messages.types import JSON, Key, Outcome

#: Characters that may be held: items after an open tool call, arguments without a name, hidden thinking (16 Mi).
HELD_LIMIT = 16 * 1024 * 1024
#: What a held piece and a held item count for beside their characters. They are CPython objects, so endless empty ones
#: must count, too.
PART_COST, ITEM_COST = 64, 16 * 1024
#: Tool calls of one reply. Their ids and keys are kept until its end, some 2 KiB for each.
CALLS_LIMIT = 4096
#: A call is streamed only if its argument object begins within so many pieces. Others wait for the end of the call.
TRIES = 64
#: Characters of an open call after which its end is looked for, so that they need not all be kept.
SCAN_SIZE = 256 * 1024
#: Stop reasons that mean that the reply was cut.
CUT = frozenset({"max_tokens", "refusal", "model_context_window_exceeded"})
_HIDDEN_TYPES = ("thinking", "redacted_thinking")


class Blocks:
    """The verbs of `Sink`, made sequential and written to `output`.

    `origin`: who replies, for the signatures. `thinking`: `show`, `omit` (blocks with empty text, whose text is in the
    signature) or `none`. `used`: tool ids of the request's history. `count`: blocks that were opened; `tools_emitted`:
    calls among them."""

    def __init__(
        self, output: Output, origin: str = "", thinking: str = "show", used: frozenset[str] = frozenset()
    ) -> None:
        self._output = output
        self._origin = origin
        self._reasoning_field = ""  # where the upstream writes its reasoning
        self._thinking = thinking
        self._ids = ids.Allocator(used)
        self._current: Item | None = None  # the item whose pieces are written, or will be when its block opens
        self._open_key: Key | None = None  # its key, while its block is open and its pieces need nothing but writing
        self._open_call: Key | None = None  # its key, while its block is open and is a call
        self._held = Held()
        self._calls: dict[Key, Item] = {}
        self._is_cut = False  # the reply was
        self._is_call_cut = False  # a call was closed whose arguments have no end
        self.count = 0
        self.tools_emitted = 0
        self.called: set[str] = set()  # names of the tools

    @property
    def problem(self) -> ApiError | None:
        """Why the reply can't be completed."""
        return self._output.problem

    # -- verbs (documented at `Sink`) ----------------------------------------------------------------------------------

    def text(self, key: Key, s: str) -> None:
        if s and key == self._open_key:
            self._output.add_text(s)
        elif s:
            self._add(self._find_run(key, TEXT), s)

    def text_json(self, key: Key, raw: bytes) -> None:
        if raw and key == self._open_key:
            self._output.add_json(raw)
        elif raw:
            self._add(self._find_run(key, TEXT), raw)

    def thinking(self, key: Key, s: str) -> None:
        if s and key == self._open_key:
            self._output.add_text(s)
        elif s and self._thinking != "none":
            self._add(self._find_run(key, THINKING), s)

    def thinking_json(self, key: Key, raw: bytes) -> None:
        if raw and key == self._open_key:
            self._output.add_json(raw)
        elif raw and self._thinking != "none":
            self._add(self._find_run(key, THINKING), raw)

    def around(self, key: Key) -> tuple[bytes, bytes] | None:
        return self._output.frame if key == self._open_key else None

    def signature(self, key: Key, kind: str, state: JSON) -> None:
        if self._thinking == "none":
            return
        item = self._find_run(key, THINKING)
        if item.state and item is not self._current:  # text came between the two: each is of its own
            item = Item(THINKING, key)
            self._add_item(item)
        item.state_kind = kind
        item.state = state
        if item is not self._current:
            self._keep(item, "", jsonsize.weight(jsontext.dumps(state)))

    def reasoning_field(self, name: str) -> None:
        self._reasoning_field = name

    def tool(self, key: Key, id: str, name: str) -> None:
        item = self._find_call(key)
        item.id = item.id or id
        if name and not item.name:
            item.name = name
            if item is self._current and self._continue_call(item):
                self._advance()

    def args(self, key: Key, s: str) -> None:
        item = self._current
        if s and item is not None and key == self._open_call:
            # What `_add_arguments` does, without its calls: every piece of a streamed call comes here.
            self._output.add_text(s)
            item.parts.append(s)
            item.size += len(s)
            if self._held.items or item.size > SCAN_SIZE:
                self._check_open_call(item)
        elif s:
            self._add_arguments(self._find_call(key), s)

    def args_json(self, key: Key, raw: bytes) -> None:
        if raw:
            self._add_arguments(self._find_call(key), raw)

    def done(self, key: Key) -> None:
        item = self._calls.get(key)
        if item is not None:
            item.is_done = True
            if item is self._current and self._continue_call(item):
                self._advance()
        elif self._current is not None and self._current.key == key:
            self._close_block()
            self._advance()

    def server_tool(self, key: Key, id: str, name: str, input: JSON) -> None:
        self._add_whole(
            key, {"type": "server_tool_use", "id": id, "name": name, "input": {}}, jsontext.dumps(input).decode()
        )

    def server_result(self, key: Key, type: str, tool_use_id: str, content: Any) -> None:
        self._add_whole(key, {"type": type, "tool_use_id": tool_use_id, "content": content})

    def citation(self, key: Key, citation: JSON) -> None:
        if key == self._open_key and self._current is not None and self._current.kind == TEXT:
            self._output.cite(citation)
            return
        item = self._held.newest(key, TEXT)
        if item is not None:
            item.citations.append(citation)
            self._keep(item, "", PART_COST + jsonsize.weight(jsontext.dumps(citation)))

    def raw(self, type: str, event: JSON, data: bytes) -> None:
        raw = self._output.raw
        if type == "content_block_delta":
            event, data = raw.renumber(event, data)
            if event:
                self._output.pass_event(type, event, data)
        elif type == "content_block_start":
            self._start_raw(event, data)
        elif type == "content_block_stop":
            self._stop_raw(event, data)
        elif type == "message_start":
            raw.begin(event["message"])
        elif type == "message_delta":
            raw.closing = event
        elif self.count:  # a ping before the first block would commit the answer to its status 200
            self._output.pass_event(type, event, data)

    # -- items: the current one, and those that are held ---------------------------------------------------------------

    def _find_run(self, key: Key, kind: str) -> Item:
        """Return the run `key` if it is still the newest item, else a new run. Thinking does not end a text."""
        last = self._held.newest_but(THINKING if kind == TEXT else "", self._current)
        if last is None or last.key != key or last.kind != kind:
            last = Item(kind, key)
            self._add_item(last)
        return last

    def _find_call(self, key: Key) -> Item:
        """Return the call `key`, a new one if there is none."""
        item = self._calls.get(key)
        if item is None:
            item = Item(TOOL, key)
            if len(self._calls) >= CALLS_LIMIT:
                item.is_closed = True
                self._give_up(f"the upstream sent more than {CALLS_LIMIT} tool calls in one reply")
                return item
            self._calls[key] = item
            self._add_item(item)
        return item

    def _add_whole(self, key: Key, block: JSON, input: str = "") -> None:
        """Add a block that comes as a whole. `input` is sent as a delta, like any tool's."""
        item = Item(WHOLE, key)
        item.block = block
        item.parts = [input] if input else []
        item.is_done = True
        self._add_item(item)
        if item is self._current:
            self._close_block()

    def _add_item(self, item: Item) -> None:
        if self.problem is not None:
            return
        if self._current is None:
            self._current = item
            return
        self._held.items.append(item)
        block = jsonsize.weight(jsontext.dumps(item.block)) + sum(map(len, item.parts)) if item.block else 0
        self._keep(item, "", ITEM_COST + block)
        self._advance()

    def _add(self, item: Item, part: Part) -> None:
        """Add a piece to a run of text or thinking."""
        if item is not self._current:
            self._keep(item, part)
            return
        if not item.is_started:
            self._open_block(item)
        if self._is_hidden(item):
            self._keep(item, part)
        else:
            self._write(part)

    def _is_hidden(self, item: Item) -> bool:
        """Return whether the text of `item` is not shown, but kept for the signature."""
        return item.kind == THINKING and self._thinking == "omit"

    def _add_arguments(self, item: Item, part: Part) -> None:
        """Add a piece to a call. Its block opens when an argument object begins, and pieces are written from then."""
        if item.is_closed:
            return
        if item is not self._current:
            self._keep(item, part)
        elif item.is_started:
            self._write(part)
            item.parts.append(part)
            item.size += len(part)
            self._check_open_call(item)
            return
        else:
            item.parts.append(part)
            if item.name and len(item.parts) <= TRIES and item.begins_object():
                self._write_kept(item)
            if not item.is_started:
                self._keep(item, item.parts.pop())
        if self._held.items:
            self._advance()

    def _check_open_call(self, item: Item) -> None:
        """The open call `item` got more: scan much of it, and close the block if it is complete and others wait."""
        if item.size > SCAN_SIZE:
            item.has_whole_object()
        if self._held.items:
            self._advance()

    def _keep(self, item: Item, part: Part, cost: int = PART_COST) -> None:
        """Keep `part` until it can be written. Too much ends the reply: nothing with a gap is opened or closed."""
        if self.problem is not None:
            return
        self._held.keep(item, part, cost)
        if self._held.size > HELD_LIMIT:
            self._give_up(
                f"the upstream interleaved more than {HELD_LIMIT} characters of tool calls or hidden thinking"
            )

    def _give_up(self, reason: str) -> None:
        """End the reply with an error, because more of it can't be kept."""
        self._output.problem = self._output.problem or ApiError("upstream", reason)
        self._held.items.clear()
        if self._current is not None and not self._current.is_started:
            self._current = None

    # -- blocks: opened, written, closed -------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Close the current block and take the next item, for as long as items wait and blocks are complete."""
        while self._held.items and (self._current is None or self._current.may_close(self._held)):
            if self._current is not None:
                self._close_block()
            if self._held.items:  # none if closing the block gave the reply up
                self._take_next()

    def _take_next(self) -> None:
        """Make the next held item the current one, and write what it has."""
        item = self._current = self._held.take_next()
        if item.kind == TOOL:
            self._continue_call(item)
        elif item.kind == WHOLE:
            self._close_block()
        elif item.parts or item.kind == TEXT:
            self._write_kept(item)

    def _continue_call(self, item: Item) -> bool:
        """Write what can be written of the current call. Return whether it is closed now."""
        if item.name and item.is_done and not item.is_encoded_twice():
            self._close_block()
            return True
        if item.name and item.parts and not item.is_started and item.begins_object():
            self._write_kept(item)
        return False

    def _write_kept(self, item: Item, *, is_whole: bool = False) -> None:
        """Open the block of `item` and write what it has kept. `is_whole`: there is no more of it."""
        if item.kind == TOOL:
            item.settle_arguments(is_whole=is_whole, is_cut=self._is_cut)
        self._open_block(item)
        if not self._is_hidden(item):
            self._held.release(item)
            for part in item.parts:
                self._write(part)
            for citation in item.citations:
                self._output.cite(citation)

    def _open_block(self, item: Item) -> None:
        item.is_started = True
        if item.kind == TOOL:
            item.id = self._ids.legal(item.id)
            self.tools_emitted += 1
            self.called.add(item.name)
        index = self.count
        self.count += 1
        self._output.start(index, item)
        # The pieces of a call are kept as well, to find its end, and those of a hidden text are not written.
        self._open_key = None if item.kind == TOOL or self._is_hidden(item) else item.key
        self._open_call = item.key if item.kind == TOOL else None

    def _write(self, part: Part) -> None:
        if isinstance(part, str):
            self._output.add_text(part)
        else:
            self._output.add_json(part)

    def _close_block(self) -> None:
        """Close the block of the current item, which is complete. Open it first if it has not been opened yet."""
        item = self._current
        assert item is not None
        if not item.is_started:
            self._write_kept(item, is_whole=True)
        if item.kind == THINKING:
            self._output.sign(self._signature_of(item))
        elif item.kind == TOOL:
            self._is_call_cut = self._is_call_cut or item.is_cut_off()
        self._output.stop()
        if self._is_hidden(item):
            self._held.release(item)
        item.parts = []
        item.is_closed = True
        self._current = None
        self._open_key = self._open_call = None

    def _signature_of(self, item: Item) -> str:
        state = dict(item.state)
        if self._reasoning_field:
            state["r"] = self._reasoning_field
        if self._thinking == "omit":
            state["text"] = item.joined()
        return signatures.make(item.state_kind or signatures.PLAIN, self._origin, state)

    # -- whole events of an upstream that speaks Anthropic -------------------------------------------------------------

    def _start_raw(self, event: JSON, data: bytes) -> None:
        """Pass a block's start on, with an index of ours and, for a call, a legal id. A block that the client does not
        get is hidden."""
        block, upstream_index, raw = event["content_block"], event["index"], self._output.raw
        kind = KINDS.get(block["type"], WHOLE)
        if kind == TOOL and self.tools_emitted >= CALLS_LIMIT:
            self._give_up(f"the upstream sent more than {CALLS_LIMIT} tool calls in one reply")
        if self.problem is not None or (block["type"] in _HIDDEN_TYPES and self._thinking == "none"):
            raw.add_block(upstream_index, HIDDEN)
            return
        raw.add_block(upstream_index, self.count)
        event, data = raw.renumber(event, data)
        item = self._current = Item(kind, upstream_index)
        item.is_started = True
        if kind == TOOL:
            self.tools_emitted += 1
            id = self._ids.legal(block["id"])
            if id != block["id"]:
                event, data = {**event, "content_block": {**block, "id": id}}, b""
        self.count += 1
        self._output.pass_event("content_block_start", event, data)

    def _stop_raw(self, event: JSON, data: bytes) -> None:
        upstream_index, raw = event["index"], self._output.raw
        event, data = raw.renumber(event, data)
        raw.remove_block(upstream_index)
        if event:
            self._output.pass_event("content_block_stop", event, data)
            if self._current is not None and self._current.key == upstream_index:
                self._current = None

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self, outcome: Outcome) -> str:
        """Close what is open, write what is held, and return the final stop reason. The reply has a block then.

        A call whose arguments never began is left out after a cut, because an empty object would be run. A call whose
        arguments do not end was cut, whatever the upstream says (OpenRouter said tool_calls in 16 of 16 recordings of
        that, 2025-10). What is left out is noted in `outcome.notes`."""
        self._close_all(outcome)
        if not self.count:
            self._open_block(Item(TEXT, "empty"))
            self._output.stop()
        if self._is_call_cut and outcome.reason not in CUT:
            outcome.notes.append("a tool call was cut, though the upstream does not say so")
            return "max_tokens"
        if outcome.reason in ("end_turn", "tool_use", "stop_sequence"):
            if self.tools_emitted:
                return "tool_use"
            return outcome.reason if outcome.reason != "tool_use" else "end_turn"
        return outcome.reason

    def _close_all(self, outcome: Outcome) -> None:
        # a2py applies stop sequences itself, and that cuts the reply, too.
        is_cut = self._is_cut = outcome.reason in CUT or outcome.reason == "stop_sequence"
        while self._current is not None or self._held.items:
            item = self._current
            is_behind = self.count and not self.tools_emitted and self._held.has_only_thinking()
            if is_behind and (item is None or item.is_only_state()):
                # `claude -p` (2.1.332) takes the last block for its result, and no vendor needs it back there
                outcome.notes.append("vendor state or reasoning behind the text was left out")
                self._held.items, self._current = [], None
            elif item is None:
                self._take_next()
            elif item.kind == TOOL and not item.is_started and item.is_lost(is_cut):
                outcome.notes.append(f"a tool call was left out: {item.name[:100] or 'it has no name'}")
                self._current = None
            else:
                self._close_block()
