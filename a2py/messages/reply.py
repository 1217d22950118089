"""The verbs → one JSON message, for clients that do not stream.

Knows: the shape of a Message. Must not know: any upstream, event streams.
Invariants: the same verbs give the same blocks as the stream writer's (both are `Blocks`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from a2py.messages.blocks import NO_ARGUMENTS, TEXT, THINKING, TOOL, Blocks, Item, plain

if TYPE_CHECKING:
    from a2py.messages.types import JSON, Outcome, Usage


def tool_input(raw: str) -> JSON:
    """A call's arguments as an object. Broken JSON stays visible and unrunnable in the form in which Claude Code itself replays it."""
    try:
        value: Any = orjson.loads(raw)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    if raw.strip() in NO_ARGUMENTS:
        return {}
    return {"__unparsedToolInput": {"raw": raw, "len": len(raw)}}


class Reply(Blocks):
    def __init__(self, message_id: str, model: str, origin: str = "", thinking: str = "show", used: frozenset[str] = frozenset()) -> None:
        super().__init__(origin, thinking, used)
        self._message_id = message_id
        self._model = model
        self._content: list[JSON] = []
        self._parts: list[str] = []

    def _start(self, item: Item) -> None:
        self._parts = []
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
        self._parts.append(s)

    def _delta_json(self, raw: bytes) -> None:
        self._parts.append(plain(raw))

    def _sign(self, signature: str) -> None:
        self._content[-1]["signature"] = signature

    def _cite(self, citation: JSON) -> None:
        self._content[-1].setdefault("citations", []).append(citation)

    def _stop(self) -> None:
        block = self._content[-1]
        text = "".join(self._parts)
        if block["type"] == "tool_use":
            block["input"] = tool_input(text)
        elif block["type"] in ("text", "thinking"):
            block[block["type"]] = text

    def message(self, outcome: Outcome, estimate: Usage) -> JSON:
        """The whole Message; raises `outcome.error` (or the sink's own problem) if there is one."""
        error = outcome.error or self.problem
        if error is not None:
            raise error
        reason = self.finish(outcome)
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
