"""The verbs → Anthropic's event stream, as bytes.

Knows: the shapes of message_start, content_block_*, message_delta, message_stop, ping and error (docs.claude.com, streaming).
Must not know: any upstream, when bytes are written.
Invariants: `take()` gives whole events only; exactly one message_start and one terminal event, or nothing but pings; all text,
thinking and tool input travels in deltas (Claude Code loses what stands in content_block_start).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from a2py import jsontext
from a2py.messages.blocks import SCAN_SIZE
from a2py.messages.items import TEXT, THINKING, TOOL, WHOLE, Item
from a2py.messages.raw import RawBlocks

if TYPE_CHECKING:
    from a2py.errors import ApiError
    from a2py.messages.types import JSON, Key, Outcome, Usage

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_END = b"}}\n\n"
_INPUT = b'"input_json_delta","partial_json":'
_FIELDS = {TEXT: b'"text_delta","text":', THINKING: b'"thinking_delta","thinking":', TOOL: _INPUT, WHOLE: _INPUT}
_EMPTY: dict[str, JSON] = {
    TEXT: {"type": "text", "text": ""},
    THINKING: {"type": "thinking", "thinking": "", "signature": ""},
}


def event(type: str, body: JSON) -> bytes:
    """One event; `type` is its name and its body's `type`."""
    return b"event: %b\ndata: %b\n\n" % (type.encode(), jsontext.dumps({"type": type, **body}))


class Writer(RawBlocks):
    """`begun`: message_start was given out; `delivered`: a content block was, so that the reply can't be asked for again."""

    def __init__(
        self,
        message_id: str,
        model: str,
        estimate: Usage,
        origin: str = "",
        thinking: str = "show",
        used: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(origin, thinking, used)
        self._out: list[bytes] = []
        self._prefix = b""
        self._around = b"", b""
        self._message_id = message_id
        self._model = model
        self._estimate = estimate
        self.begun = False
        self.ended = False

    @property
    def delivered(self) -> bool:
        return self.count > 0

    @property
    def has_output(self) -> bool:
        """Whether `take` would return anything."""
        return bool(self._out)

    def take(self) -> bytes:
        """The events since the last call."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        self._out = []
        return data

    # -- the hot path: deltas of the open block ----------------------------------------------------------------------

    def text(self, key: Key, s: str) -> None:
        if key == self._live and s:
            try:
                self._out.append(self._prefix + orjson.dumps(s) + _END)
            except TypeError:  # half a surrogate pair
                self._delta(s)
        elif s:
            super().text(key, s)

    def text_json(self, key: Key, raw: bytes) -> None:
        if key == self._live and raw:
            self._out.append(b'%b"%b"}}\n\n' % (self._prefix, raw))
        elif raw:
            super().text_json(key, raw)

    def thinking(self, key: Key, s: str) -> None:
        if key == self._live and s:
            try:
                self._out.append(self._prefix + orjson.dumps(s) + _END)
            except TypeError:  # half a surrogate pair
                self._delta(s)
        else:
            super().thinking(key, s)

    def thinking_json(self, key: Key, raw: bytes) -> None:
        if key == self._live and raw:
            self._out.append(b'%b"%b"}}\n\n' % (self._prefix, raw))
        else:
            super().thinking_json(key, raw)

    def around(self, key: Key) -> tuple[bytes, bytes] | None:
        return self._around if key == self._live else None

    def args(self, key: Key, s: str) -> None:
        item = self._item
        if item is not None and key == self._tool and s:
            self._delta(s)
            item.parts.append(s)
            item.size += len(s)
            if self._held or item.size > SCAN_SIZE:
                self._look()
        else:
            super().args(key, s)

    # -- blocks ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """message_start, once, with an estimate of the input (the truth comes in message_delta)."""
        if self.begun:
            return
        self.begun = True
        if self._opening is not None:
            message = {**self._opening}
            message["id"] = message["id"] or self._message_id
            message["model"] = self._model
            message["usage"] = self._first_usage(message["usage"], self._estimate)
        else:
            usage = self._estimate.body()
            usage["output_tokens"] = max(1, self._estimate.output)
            message = {
                "id": self._message_id,
                "type": "message",
                "role": "assistant",
                "model": self._model,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": usage,
            }
        self._out.append(event("message_start", {"message": message}))

    def _start(self, item: Item) -> None:
        self.begin()
        index = self.count - 1
        if item.kind == TOOL:
            block: JSON = {"type": "tool_use", "id": item.id, "name": item.name, "input": {}}
        else:
            block = item.block or _EMPTY[item.kind]
        self._out.append(event("content_block_start", {"index": index, "content_block": block}))
        self._render(item)

    def _render(self, item: Item) -> None:
        """What stands before the text of each delta of the block that was just started."""
        self._prefix = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%b' % (
            self.count - 1,
            _FIELDS.get(item.kind, b""),
        )
        self._around = self._prefix + b'"', b'"' + _END

    def _delta(self, s: str) -> None:
        try:
            self._out.append(self._prefix + orjson.dumps(s) + _END)
        except TypeError:
            self._out.append(self._prefix + jsontext.dumps(s) + _END)

    def _delta_json(self, raw: bytes) -> None:
        self._out.append(b'%b"%b"}}\n\n' % (self._prefix, raw))

    def _sign(self, signature: str) -> None:
        self._out.append(
            event("content_block_delta", {"index": self.count - 1, "delta": {"type": "signature_delta", "signature": signature}})
        )

    def _cite(self, citation: JSON) -> None:
        self._out.append(
            event("content_block_delta", {"index": self.count - 1, "delta": {"type": "citations_delta", "citation": citation}})
        )

    def _stop(self) -> None:
        self._out.append(b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % (self.count - 1))

    def _pass(self, type: str, body: JSON, data: bytes) -> None:
        if self.ended:
            return
        if type == "content_block_start":
            self.begin()
            assert self._item is not None
            self._render(self._item)
        self._out.append(b"event: %b\ndata: %b\n\n" % (type.encode(), data) if data else event(type, body))

    # -- the relay's verbs -------------------------------------------------------------------------------------------

    def keepalive(self) -> None:
        """A sign of life: the open block's own empty delta (text, thinking), else a ping (why: proxy/keepalive.py)."""
        if self.ended:
            return
        item = self._item
        if item is not None and item.opened and item.kind in (TEXT, THINKING):
            self._out.append(self._prefix + b'""' + _END)
        else:
            self._out.append(PING)

    def close(self, outcome: Outcome) -> None:
        """End the message: blocks, exactly one message_delta, message_stop; an `outcome.error` ends it as an error."""
        error = self.problem or outcome.error  # what ended the reading comes first
        if error is not None:
            self.error(error)
            return
        if self.ended:
            return
        if self._closing is not None:
            self.begin()
            self.ended = True
            usage = self._last_usage(self._closing["usage"], outcome.usage or self._estimate)
            self._out.append(event("message_delta", {**self._closing, "usage": usage}))
            self._out.append(STOP)
            return
        reason = outcome.told = self.finish(outcome)
        self.ended = True
        delta: JSON = {"stop_reason": reason, "stop_sequence": outcome.stop_sequence if reason == "stop_sequence" else None}
        if outcome.stop_details is not None:
            delta["stop_details"] = outcome.stop_details
        usage = outcome.final_usage(self._estimate).body()
        self._out.append(event("message_delta", {"delta": delta, "usage": usage}))
        self._out.append(STOP)

    def error(self, error: ApiError, request_id: str = "", type: str = "") -> None:
        """`event: error`, the last event; open blocks stay open: a closed tool block would be run."""
        if self.ended:
            return
        self.ended = True
        body = error.envelope(request_id, type)
        if not request_id:
            del body["request_id"]
        self._out.append(event("error", body))
