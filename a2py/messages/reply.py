"""The verbs → one JSON message, for clients that do not stream.

Knows: the shape of a Message. Must not know: any upstream, event streams.
Invariants: the same verbs give the same blocks as the stream writer's (both are `Blocks`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from a2py import jsonsize, jsontext
from a2py.messages.blocks import PART_COST
from a2py.messages.items import NO_ARGUMENTS, TEXT, THINKING, TOOL, Item, plain
from a2py.messages.raw import RawBlocks

if TYPE_CHECKING:
    from a2py.messages.types import JSON, Outcome, Usage


#: Characters of one message (32 Mi; a part counts for PART_COST more), and what a block counts for beside its characters.
REPLY_LIMIT, BLOCK_COST = 32 * 1024 * 1024, 1024
#: Deltas of text and the field that holds it; delta types that this table does not name are laid over the block.
_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_RESERVED = frozenset({"type", "input", *_TEXTS.values()})


def unparsed(raw: str) -> JSON:
    """Input that is no object, visible and unrunnable, in the form in which Claude Code itself replays it."""
    return {"__unparsedToolInput": {"raw": raw, "len": len(raw)}}


def tool_input(raw: str) -> JSON:
    """A call's arguments as an object."""
    try:
        body = raw.encode()
        value: Any = None if jsonsize.exceeds(body) else jsontext.loads(body)
        if raw.count("{") + raw.count("[") > jsontext.DEPTH:
            orjson.dumps(value)
    except (ValueError, TypeError):  # no JSON, or a nest too deep to be written again
        value = None
    if isinstance(value, dict):
        return value
    return {} if raw.strip() in NO_ARGUMENTS else unparsed(raw)


def _join(parts: list[str]) -> str:
    """`parts` as one text; half a surrogate pair is U+FFFD, as in the stream."""
    text = "".join(parts)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(map(jsontext.whole, parts))
    return text


class Reply(RawBlocks):
    def __init__(self, message_id: str, model: str, origin: str = "", thinking: str = "show", used: frozenset[str] = frozenset()) -> None:
        super().__init__(origin, thinking, used)
        self._message_id = message_id
        self._model = model
        self._content: list[JSON] = []
        self._parts: list[str] = []
        self._unfinished: dict[int, dict[str, list[str]]] = {}  # index of a raw block → field → its deltas
        self._size = 0

    def _fits(self, size: int) -> bool:
        """Whether `size` characters more can be kept."""
        self._size += size
        if self._size > REPLY_LIMIT and self.problem is None:
            self._give_up(f"the reply is longer than {REPLY_LIMIT} characters; only a client that streams can get it")
            self._content, self._parts, self._unfinished = [], [], {}
        return self.problem is None

    def _start(self, item: Item) -> None:
        self._parts = []
        if not self._fits(BLOCK_COST + (jsonsize.weight(jsontext.dumps(item.block)) if item.block else 0)):
            return
        if item.kind == TOOL:
            block: JSON = {"type": "tool_use", "id": item.id, "name": item.name, "input": {}}
        elif item.kind == THINKING:
            block = {"type": "thinking", "thinking": "", "signature": ""}
        elif item.kind == TEXT:
            block = {"type": "text", "text": ""}
        else:
            block = item.block
        self._content.append(block)

    def _delta(self, s: str) -> None:
        if self._fits(len(s) + PART_COST):
            self._parts.append(s)

    def _delta_json(self, raw: bytes) -> None:
        self._delta(plain(raw))

    def _sign(self, signature: str) -> None:
        if self._fits(len(signature)):
            self._content[-1]["signature"] = signature

    def _cite(self, citation: JSON) -> None:
        if self._fits(jsonsize.weight(jsontext.dumps(citation)) + PART_COST):
            self._content[-1].setdefault("citations", []).append(citation)

    def _stop(self) -> None:
        if self.problem is not None:
            return
        block = self._content[-1]
        text = _join(self._parts)
        if block["type"] in ("tool_use", "server_tool_use"):
            block["input"] = tool_input(text)
        elif block["type"] in ("text", "thinking"):
            block[block["type"]] = text

    def message(self, outcome: Outcome, estimate: Usage) -> JSON:
        """The whole Message; raises `outcome.error` (or the sink's own problem) if there is one."""
        error = self.problem or outcome.error  # what ended the reading comes first
        if error is not None:
            raise error
        if self._opening is not None and self._closing is not None:
            return self._raw_whole(self._opening, self._closing, outcome.usage or estimate, estimate)
        reason = outcome.told = self.finish(outcome)
        if self.problem is not None:  # what waited for the end was too much
            raise self.problem
        message: JSON = {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": self._content,
            "stop_reason": reason,
            "stop_sequence": outcome.stop_sequence if reason == "stop_sequence" else None,
            "usage": outcome.final_usage(estimate).body(),
        }
        if outcome.stop_details is not None:
            message["stop_details"] = outcome.stop_details
        return message

    # -- whole events ------------------------------------------------------------------------------------------------

    def _pass(self, type: str, event: JSON, data: bytes) -> None:
        field = _TEXTS.get(event["delta"]["type"]) if type == "content_block_delta" else None
        cost = len(event["delta"][field]) if field else BLOCK_COST + jsonsize.weight(data or jsontext.dumps(event))
        if not self._fits(cost + PART_COST):
            return
        if type == "content_block_start":
            self._unfinished[event["index"]] = {}
            block = {**event["content_block"]}
            if isinstance(block.get("citations"), list):
                block["citations"] = [*block["citations"]]
            self._content.append(block)
        elif type == "content_block_delta":
            self._lay(event["index"], event["delta"])
        elif type == "content_block_stop":
            self._fill_raw(event["index"], stopped=True)

    def _lay(self, index: int, delta: JSON) -> None:
        block, kind = self._content[index], delta["type"]
        field = _TEXTS.get(kind)
        if field:
            self._unfinished[index].setdefault(field, []).append(delta[field])
        elif kind == "citations_delta":
            if not isinstance(block.get("citations"), list):
                block["citations"] = []
            block["citations"].append(delta.get("citation"))
        else:
            block.update({name: value for name, value in delta.items() if name not in _RESERVED})

    def _fill_raw(self, index: int, *, stopped: bool) -> None:
        block = self._content[index]
        if not stopped and block["type"] == "tool_use":
            block["input"] = unparsed("")
        for field, parts in self._unfinished.pop(index, {}).items():
            text = _join(parts)
            if field == "partial_json":
                block["input"] = tool_input(text) if stopped else unparsed(text)
            else:
                before = block.get(field)  # a block of a kind that nobody knows may start with some
                block[field] = before + text if isinstance(before, str) else text

    def _raw_whole(self, opening: JSON, closing: JSON, usage: Usage, estimate: Usage) -> JSON:
        for index in list(self._unfinished):
            self._fill_raw(index, stopped=False)
        first = self._first_usage(opening["usage"], estimate)
        last = {name: value for name, value in self._last_usage(closing["usage"], usage).items() if value is not None or name not in first}
        rest = {name: value for name, value in closing.items() if name not in ("type", "delta", "usage")}
        return {
            **opening,
            "id": opening["id"] or self._message_id,
            "model": self._model,
            "content": self._content,
            **closing["delta"],
            **rest,
            "usage": {**first, **last},
        }
