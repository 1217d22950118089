"""Collect a reply as one JSON message, for clients that do not stream.

Knows: the shape of a Message. Must not know: any upstream, event streams.
Invariants: the same verbs give the same blocks as the stream's (both are `Blocks`). What is collected is bounded by
REPLY_LIMIT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from a2py import jsonsize, jsontext
from a2py.errors import ApiError
from a2py.messages.arguments import NO_ARGUMENTS
from a2py.messages.blocks import Blocks
from a2py.messages.items import Item, as_text
from a2py.messages.output import Output
from a2py.messages.sequence import PART_COST

if TYPE_CHECKING:
    from a2py.messages.types import JSON, Outcome, Usage

#: Characters of one message (32 Mi; a piece counts for PART_COST more), and what a block counts for beside its
#: characters.
REPLY_LIMIT, BLOCK_COST = 32 * 1024 * 1024, 1024
#: Types of deltas that hold text, and their field for it. The fields of a delta of any other type are copied into the
#: block.
_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_RESERVED_FIELDS = frozenset({"type", "input", *_TEXTS.values()})


def wrap_unparsed(raw: str) -> JSON:
    """Return tool input that shows `raw`, which is no object, and can't be run. Claude Code itself replays such input
    in this form."""
    return {"__unparsedToolInput": {"raw": raw, "len": len(raw)}}


def tool_input(raw: str) -> JSON:
    """Return a call's arguments as an object: `{}` if there are none, `wrap_unparsed` if they are no object."""
    try:
        body = raw.encode()
        value: Any = None if jsonsize.exceeds(body) else jsontext.loads(body)
        if raw.count("{") + raw.count("[") > jsontext.DEPTH:
            orjson.dumps(value)
    except (ValueError, TypeError):  # no JSON, or a nest too deep to be written again
        value = None
    if isinstance(value, dict):
        return value
    return {} if raw.strip() in NO_ARGUMENTS else wrap_unparsed(raw)


def _join(parts: list[str]) -> str:
    """Return `parts` as one text. Half of a surrogate pair becomes U+FFFD, as in the stream, where each part is written
    alone."""
    text = "".join(parts)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(map(jsontext.without_surrogates, parts))
    return text


class _Content(Output):
    """The content blocks of a message. `blocks`: empty once they were too large to keep."""

    __slots__ = ("_open_deltas", "_parts", "_size", "blocks")

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[JSON] = []
        self._parts: list[str] = []  # of the open block
        self._open_deltas: dict[
            int, dict[str, list[str]]
        ] = {}  # index of an open block of whole events → field → its deltas
        self._size = 0

    def _make_room(self, size: int) -> bool:
        """Return whether `size` characters more can be kept. If not, nothing of the message is kept any longer."""
        self._size += size
        if self._size > REPLY_LIMIT and self.problem is None:
            self.problem = ApiError(
                "upstream", f"the reply is longer than {REPLY_LIMIT} characters; only a client that streams can get it"
            )
            self.blocks, self._parts, self._open_deltas = [], [], {}
        return self.problem is None

    def start(self, index: int, item: Item) -> None:
        self._parts = []
        if not self._make_room(BLOCK_COST + (jsonsize.weight(jsontext.dumps(item.block)) if item.block else 0)):
            return
        self.blocks.append(item.opening())

    def add_text(self, text: str) -> None:
        if self._make_room(len(text) + PART_COST):
            self._parts.append(text)

    def add_json(self, raw: bytes) -> None:
        self.add_text(as_text(raw))

    def sign(self, signature: str) -> None:
        if self._make_room(len(signature)):
            self.blocks[-1]["signature"] = signature

    def cite(self, citation: JSON) -> None:
        if self._make_room(jsonsize.weight(jsontext.dumps(citation)) + PART_COST):
            self.blocks[-1].setdefault("citations", []).append(citation)

    def stop(self) -> None:
        if self.problem is not None:
            return
        block = self.blocks[-1]
        text = _join(self._parts)
        if block["type"] in ("tool_use", "server_tool_use"):
            block["input"] = tool_input(text)
        elif block["type"] in ("text", "thinking"):
            block[block["type"]] = text

    # -- whole events of an upstream that speaks Anthropic -------------------------------------------------------------

    def pass_event(self, type: str, event: JSON, data: bytes) -> None:
        field = _TEXTS.get(event["delta"]["type"]) if type == "content_block_delta" else None
        cost = len(event["delta"][field]) if field else BLOCK_COST + jsonsize.weight(data or jsontext.dumps(event))
        if not self._make_room(cost + PART_COST):
            return
        if type == "content_block_start":
            self._open_deltas[event["index"]] = {}
            block = {**event["content_block"]}
            if isinstance(block.get("citations"), list):
                block["citations"] = [*block["citations"]]
            self.blocks.append(block)
        elif type == "content_block_delta":
            self._add_delta(event["index"], event["delta"])
        elif type == "content_block_stop":
            self._complete(event["index"], is_stopped=True)

    def _add_delta(self, index: int, delta: JSON) -> None:
        block, kind = self.blocks[index], delta["type"]
        field = _TEXTS.get(kind)
        if field:
            self._open_deltas[index].setdefault(field, []).append(delta[field])
        elif kind == "citations_delta":
            if not isinstance(block.get("citations"), list):
                block["citations"] = []
            block["citations"].append(delta.get("citation"))
        else:
            block.update({name: value for name, value in delta.items() if name not in _RESERVED_FIELDS})

    def complete_all(self) -> None:
        """Complete the blocks that the upstream has not stopped. A call among them can't be run: its input may be
        cut."""
        for index in list(self._open_deltas):
            self._complete(index, is_stopped=False)

    def _complete(self, index: int, *, is_stopped: bool) -> None:
        block = self.blocks[index]
        if not is_stopped and block["type"] == "tool_use":
            block["input"] = wrap_unparsed("")
        for field, parts in self._open_deltas.pop(index, {}).items():
            text = _join(parts)
            if field == "partial_json":
                block["input"] = tool_input(text) if is_stopped else wrap_unparsed(text)
            else:
                before = block.get(field)  # a block of an unknown type may start with text
                block[field] = before + text if isinstance(before, str) else text


class Reply(Blocks):
    """A reply for a client that does not stream: the verbs of `Sink`, then `message`."""

    def __init__(
        self,
        message_id: str,
        model: str,
        origin: str = "",
        thinking: str = "show",
        history_ids: frozenset[str] = frozenset(),
    ) -> None:
        self._content = _Content()
        self._message_id = message_id
        self._model = model
        super().__init__(self._content, origin, thinking, history_ids)

    def message(self, outcome: Outcome, estimate: Usage) -> JSON:
        """Return the whole Message. `estimate`: tokens where the upstream reported none. Raises the problem or
        `outcome.error` if there is one."""
        error = self.problem or outcome.error  # what made us stop reading comes first
        if error is not None:
            raise error
        raw = self._content.raw
        if raw.opening is not None and raw.closing is not None:
            return self._raw_message(raw.opening, raw.closing, outcome.final_usage(estimate), estimate)
        reason = outcome.final_reason = self.finish(outcome)
        outcome.called_tools = frozenset(self.called_tools)
        if self.problem is not None:  # what waited for the end was too much
            raise self.problem
        message: JSON = {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": self._content.blocks,
            "stop_reason": reason,
            "stop_sequence": outcome.stop_sequence if reason == "stop_sequence" else None,
            "usage": outcome.final_usage(estimate).body(),
        }
        if outcome.stop_details is not None:
            message["stop_details"] = outcome.stop_details
        return message

    def _raw_message(self, opening: JSON, closing: JSON, usage: Usage, estimate: Usage) -> JSON:
        """Return the message of an upstream that speaks Anthropic, with all fields that it sent."""
        self._content.complete_all()
        raw = self._content.raw
        first = raw.opening_usage(opening["usage"], estimate)
        last = {
            name: value
            for name, value in raw.closing_usage(closing["usage"], usage).items()
            if value is not None or name not in first
        }
        rest = {name: value for name, value in closing.items() if name not in ("type", "delta", "usage")}
        return {
            **opening,
            "id": opening["id"] or self._message_id,
            "model": self._model,
            "content": self._content.blocks,
            **closing["delta"],
            **rest,
            "usage": {**first, **last},
        }
