"""Turn the decoders' verbs into content blocks, one after the other (sequence.py), and end the reply.

Example, with two calls that an upstream interleaves (`+` opens a block, `-` closes it):

    verbs     tool(0, "a")  args(0, '{"x":')      tool(1, "b")  args(1, '{}')   args(0, '1}')      finish()
    written                 +a {"x":                                            1} -               +b {} -

Knows: verbs, which items they mean, what is left at the end of a reply.
Must not know: bytes of an event stream, JSON of a message (an `Output` knows one each), any upstream.
Invariants: nothing that was cut is ever completed, because Claude Code runs every closed tool block whose input parses,
whatever follows it. Arguments are repaired only in a reply that ends properly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from a2py import jsonsize, jsontext
from a2py.messages.arguments import OBJECTS_LIMIT
from a2py.messages.items import KINDS, TEXT, THINKING, TOOL, WHOLE, Item
from a2py.messages.raw import NO_INDEX
from a2py.messages.sequence import PART_COST, SCAN_SIZE, Sequence

if TYPE_CHECKING:
    from a2py.messages.types import JSON, Key, Outcome

#: Tool calls of one reply. Their ids and keys are kept until its end, some 2 KiB for each.
CALLS_LIMIT = 4096
#: Stop reasons that mean that the reply was cut. a2py applies stop sequences itself, and that cuts the reply, too.
CUT = frozenset({"max_tokens", "refusal", "model_context_window_exceeded", "stop_sequence"})
_HIDDEN_TYPES = ("thinking", "redacted_thinking")


def was_cut(reason: str) -> bool:
    """Return whether a stop reason means that the reply was cut."""
    return reason in CUT


class Blocks(Sequence):
    """The verbs of `Sink`, made sequential and written to an `Output`."""

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
        if s and item is not None and key == self._open_call and "}" not in s:
            # What `_add_arguments` does, without its calls: nearly every piece of a streamed call comes here.
            self._output.add_text(s)
            item.parts.append(s)
            item.size += len(s)
            if self._queue.items or item.size > SCAN_SIZE:
                self._check_open_call(item)
        elif s:
            self._add_arguments(self._find_call(key), s)

    def args_json(self, key: Key, raw: bytes) -> None:
        item = self._current
        if raw and item is not None and key == self._open_call and b"}" not in raw:
            self._output.add_json(raw)
            item.parts.append(raw)
            item.size += len(raw)
            if self._queue.items or item.size > SCAN_SIZE:
                self._check_open_call(item)
        elif raw:
            self._add_arguments(self._find_call(key), raw)

    def complete(self, key: Key) -> None:
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
        item = self._queue.newest(key, TEXT)
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
        last = self._queue.newest_but(THINKING if kind == TEXT else "", self._current)
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

    # -- whole events of an upstream that speaks Anthropic -------------------------------------------------------------

    def _start_raw(self, event: JSON, data: bytes) -> None:
        """Pass a block's start on, with an index of ours and, for a call, a legal id. A block that the client does not
        get is hidden."""
        block, upstream_index, raw = event["content_block"], event["index"], self._output.raw
        kind = KINDS.get(block["type"], WHOLE)
        if kind == TOOL and self.tools_emitted >= CALLS_LIMIT:
            self._give_up(f"the upstream sent more than {CALLS_LIMIT} tool calls in one reply")
        if self.problem is not None or (block["type"] in _HIDDEN_TYPES and self._thinking == "none"):
            raw.add_block(upstream_index, NO_INDEX)
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
        if self._is_call_cut and (outcome.reason == "stop_sequence" or not was_cut(outcome.reason)):
            outcome.notes.append("a tool call was cut, though the upstream does not say so")
            return "max_tokens"
        if outcome.reason in ("end_turn", "tool_use", "stop_sequence"):
            if self.tools_emitted:
                return "tool_use"
            return outcome.reason if outcome.reason != "tool_use" else "end_turn"
        return outcome.reason

    def _close_all(self, outcome: Outcome) -> None:
        is_cut = self._is_cut = was_cut(outcome.reason)
        while self._current is not None or self._queue.items:
            item = self._current
            is_behind = self.count and not self.tools_emitted and self._queue.has_only_thinking()
            if is_behind and (item is None or item.is_only_state()):
                # `claude -p` (2.1.332) takes the last block for its result, and no vendor needs it back there
                outcome.notes.append("vendor state or reasoning behind the text was left out")
                self._queue.items, self._current = [], None
            elif item is None:
                self._take_next()
            elif item.kind == TOOL and not item.is_started and item.is_lost(is_cut):
                outcome.notes.append(f"a tool call was left out: {item.name[:100] or 'it has no name'}")
                self._current = None
            else:
                if item.kind == TOOL:
                    self._settle_call(item, outcome)
                self._close_block()

    def _settle_call(self, item: Item, outcome: Outcome) -> None:
        """Write what follows the object of a call, or leave it out, or make calls of it."""
        if not item.is_started and item.begins_object():
            self._write_kept(item)
        if not item.rest:
            return
        size, is_full = sum(map(len, item.rest)), len(self._calls) > CALLS_LIMIT - OBJECTS_LIMIT
        texts = item.settle_rest(self._is_cut or is_full)
        for text in item.rest:
            self._write(text)
        item.parts += item.rest
        if not item.rest:
            outcome.notes.append(item.describe_rest(size, len(texts)))
        for n, text in enumerate(texts):
            call = self._calls[f"{item.key} {n}"] = Item(TOOL, f"{item.key} {n}")
            call.name, call.parts, call.is_done = item.name, [text], True
            self._queue.items.insert(n, call)
