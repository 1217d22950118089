"""Whole Anthropic events of an upstream that speaks Anthropic → the same message, in our order and with our ids.

Knows: which fields of an event are ours (index, tool id, message id, model), which blocks the client does not want.
Must not know: what a broken upstream event looks like (wires/native mends it first), bytes on a socket.
Invariants: what needs no change is passed as the bytes that came; message_start waits for the first block (nothing begun is ever
taken back), message_delta for the end (exactly one, and none before an error).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2py.messages.blocks import CALLS_LIMIT, Blocks
from a2py.messages.items import TEXT, THINKING, TOOL, WHOLE, Item

if TYPE_CHECKING:
    from a2py.messages.types import JSON, Usage

_KINDS = {"text": TEXT, "thinking": THINKING, "tool_use": TOOL}
_HIDDEN = ("thinking", "redacted_thinking")
#: The three numbers that make up the input.
_INPUT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_NUMBERS = (*_INPUT, "output_tokens")


class RawBlocks(Blocks):
    """`Blocks` with the verb `raw`. A subclass says what passing an event on is."""

    _opening: JSON | None = None  # the upstream's message, of message_start
    _closing: JSON | None = None  # message_delta
    _estimated = False  # message_start told an estimate for want of a number
    _told: JSON = {}  # usage of message_start

    def _pass(self, type: str, event: JSON, data: bytes) -> None:
        raise NotImplementedError

    def raw(self, type: str, event: JSON, data: bytes) -> None:
        """An event; `data`: its JSON as it came, b"" where it must be written anew.

        Sane already: `index` is an int, the fields that the SDKs need are there, a block's start is empty, text comes in deltas."""
        if type == "content_block_delta":
            event, data = self._indexed(event, data)
            if event:
                self._pass(type, event, data)
        elif type == "content_block_start":
            self._raw_start(event, data)
        elif type == "content_block_stop":
            n = event["index"]
            event, data = self._indexed(event, data)
            del self._indexes[n]
            if event:
                self._pass(type, event, data)
                if self._item is not None and self._item.key == n:
                    self._item = None
        elif type in _RAW:
            _RAW[type](self, event)
        elif self.count:  # a ping before the first block would commit the answer to its 200
            self._pass(type, event, data)

    def _raw_message(self, event: JSON) -> None:
        self._opening = event["message"]
        self._closing = None
        self._indexes: dict[int, int] = {}  # the upstream's → ours; -1: hidden

    def _raw_end(self, event: JSON) -> None:
        self._closing = event

    def _indexed(self, event: JSON, data: bytes) -> tuple[JSON, bytes]:
        n = event["index"]
        index = self._indexes[n]
        if index == n:
            return event, data
        return ({**event, "index": index}, b"") if index >= 0 else ({}, b"")

    def _raw_start(self, event: JSON, data: bytes) -> None:
        block = event["content_block"]
        n = event["index"]
        called = block["type"] == "tool_use"
        if called and self.tools_emitted >= CALLS_LIMIT:
            self._give_up(f"the upstream sent more than {CALLS_LIMIT} tool calls in one reply")
        if self.problem is not None or (block["type"] in _HIDDEN and self._mode == "none"):
            self._indexes[n] = -1
            return
        self._indexes[n] = self.count
        event, data = self._indexed(event, data)
        item = self._item = Item(_KINDS.get(block["type"], WHOLE), n)
        item.opened = True
        if item.kind == TOOL:
            self.tools_emitted += 1
            id = self._ids.legal(block["id"])
            if id != block["id"]:
                event, data = {**event, "content_block": {**block, "id": id}}, b""
        self.count += 1
        self._pass("content_block_start", event, data)

    def _first_usage(self, usage: JSON, estimate: Usage) -> JSON:
        """`usage` of message_start; where the upstream does not know its input yet, an estimate stands for it."""
        out = _counted({"output_tokens": 1, **usage})
        self._estimated = not any(out[name] for name in _INPUT)
        out["input_tokens"] = max(1, estimate.input if self._estimated else out["input_tokens"])
        self._told = out
        return out

    def _last_usage(self, usage: JSON, reported: Usage) -> JSON:
        """`usage` of message_delta; a number that it lacks is the one that message_start told. Claude Code merges field by field and
        values above 0 win: an estimate beside the upstream's `input_tokens: 0, cache_read_input_tokens: 50000` would count twice."""
        told, given = self._told, _counted(usage)
        out = {**usage, **{name: given[name] or told[name] for name in _INPUT}}
        if self._estimated and not given["input_tokens"] and any(given[name] for name in _INPUT):
            out["input_tokens"] = 1
        out["output_tokens"] = given["output_tokens"] if usage.get("output_tokens").__class__ is int else reported.output
        return out


def _counted(usage: JSON) -> JSON:
    """`usage` with each of the four numbers that every client adds up."""
    return {**usage, **{name: usage[name] if usage.get(name).__class__ is int and usage[name] > 0 else 0 for name in _NUMBERS}}


_RAW = {"message_start": RawBlocks._raw_message, "message_delta": RawBlocks._raw_end}
