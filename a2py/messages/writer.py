"""Write a reply as Anthropic's event stream, in bytes.

Knows: the shapes of message_start, content_block_*, message_delta, message_stop, ping and error (docs.claude.com,
streaming).
Must not know: any upstream, when bytes are written to the client.
Invariants: `take()` returns only complete events. A stream has exactly one message_start and one terminal event, or
only pings. All text, thinking and tool input travels in deltas, because Claude Code ignores content in
content_block_start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from a2py import jsontext
from a2py.messages.blocks import Blocks
from a2py.messages.items import KINDS, TEXT, THINKING, TOOL, WHOLE, Item
from a2py.messages.output import Output

if TYPE_CHECKING:
    from a2py.errors import ApiError
    from a2py.messages.types import JSON, Outcome, Usage

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
#: What follows the string of a delta.
_END = b"}}\n\n"
_INPUT = b'"input_json_delta","partial_json":'
#: Kind of an item → type of its deltas and the field that holds their string.
_FIELDS = {TEXT: b'"text_delta","text":', THINKING: b'"thinking_delta","thinking":', TOOL: _INPUT, WHOLE: _INPUT}


def event(type: str, body: JSON) -> bytes:
    """Return one event. `type` is its name, and the `type` of its body."""
    return b"event: %b\ndata: %b\n\n" % (type.encode(), jsontext.dumps({"type": type, **body}))


class _Events(Output):
    """The events of a reply. `events`: those that nobody has taken yet; `has_begun`: message_start is among the events;
    `has_ended`: so is the last event, and no other one is added."""

    __slots__ = ("_estimate", "_index", "_message_id", "_model", "_prefix", "events", "has_begun", "has_ended")

    def __init__(self, message_id: str, model: str, estimate: Usage) -> None:
        super().__init__()
        self._message_id = message_id
        self._model = model
        self._estimate = estimate
        self._index = 0  # of the block that was started last
        self._prefix = b""  # what precedes the JSON string in each delta of it
        self.events: list[bytes] = []
        self.has_begun = False
        self.has_ended = False

    def begin(self) -> None:
        """Add message_start, once. It has an estimate of the input tokens; the true number follows in message_delta."""
        if self.has_begun:
            return
        self.has_begun = True
        if self.raw.opening is not None:
            message = {**self.raw.opening}
            message["id"] = message["id"] or self._message_id
            message["model"] = self._model
            message["usage"] = self.raw.opening_usage(message["usage"], self._estimate)
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
        self.events.append(event("message_start", {"message": message}))

    def start(self, index: int, item: Item) -> None:
        self.begin()
        self.events.append(event("content_block_start", {"index": index, "content_block": item.opening()}))
        self._prepare_deltas(index, item.kind)

    def _prepare_deltas(self, index: int, kind: str) -> None:
        self._index = index
        self._prefix = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%b'
            % (
                index,
                _FIELDS[kind],
            )
        )
        self.frame = self._prefix + b'"', b'"' + _END

    def add_text(self, text: str) -> None:
        try:
            self.events.append(self._prefix + orjson.dumps(text) + _END)
        except TypeError:  # half of a surrogate pair
            self.events.append(self._prefix + jsontext.dumps(text) + _END)

    def add_json(self, raw: bytes) -> None:
        self.events.append(b'%b"%b"}}\n\n' % (self._prefix, raw))

    def sign(self, signature: str) -> None:
        self._add_delta({"type": "signature_delta", "signature": signature})

    def cite(self, citation: JSON) -> None:
        self._add_delta({"type": "citations_delta", "citation": citation})

    def _add_delta(self, delta: JSON) -> None:
        self.events.append(event("content_block_delta", {"index": self._index, "delta": delta}))

    def stop(self) -> None:
        self.events.append(
            b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index
        )

    def pass_event(self, type: str, body: JSON, data: bytes) -> None:
        if self.has_ended:
            return
        if type == "content_block_start":
            self.begin()
            self._prepare_deltas(body["index"], KINDS.get(body["content_block"]["type"], WHOLE))
        self.events.append(b"event: %b\ndata: %b\n\n" % (type.encode(), data) if data else event(type, body))

    def end(self, name: str, body: JSON) -> None:
        """Add the last event, `name`, and message_stop after a message_delta."""
        self.has_ended = True
        self.events.append(event(name, body))
        if name == "message_delta":
            self.events.append(STOP)


class Writer(Blocks):
    """A reply for a client that streams: the verbs of `Sink`, and those of the relay.

    `estimate`: tokens for message_start, and for message_delta if the upstream reports none."""

    def __init__(
        self,
        message_id: str,
        model: str,
        estimate: Usage,
        origin: str = "",
        thinking: str = "show",
        history_ids: frozenset[str] = frozenset(),
    ) -> None:
        self._events = _Events(message_id, model, estimate)
        self._estimate = estimate
        super().__init__(self._events, origin, thinking, history_ids)

    @property
    def has_begun(self) -> bool:
        """Whether message_start was written."""
        return self._events.has_begun

    @property
    def has_delivered(self) -> bool:
        """Whether a content block was opened, so that the upstream must not be asked again."""
        return self.count > 0

    @property
    def has_output(self) -> bool:
        """Whether `take` would return anything."""
        return bool(self._events.events)

    def begin(self) -> None:
        """Write message_start, if it was not written yet."""
        self._events.begin()

    def take(self) -> bytes:
        """Return the events since the last call."""
        events = self._events.events
        if not events:
            return b""
        data = events[0] if len(events) == 1 else b"".join(events)
        self._events.events = []
        return data

    def keepalive(self) -> None:
        """Write a sign of life: an empty delta of the open block if it is text or thinking, else a ping.

        Why these two: proxy/keepalive.py."""
        if self._events.has_ended:
            return
        item = self._current
        if item is not None and item.is_started and item.kind in (TEXT, THINKING):
            self._events.add_json(b"")
        else:
            self._events.events.append(PING)

    def close(self, outcome: Outcome) -> None:
        """End the message: close its blocks, then exactly one message_delta and message_stop. An error in `outcome`
        ends it as an error."""
        error = self.problem or outcome.error  # what made us stop reading comes first
        if error is not None:
            self.error(error)
            return
        if self._events.has_ended:
            return
        raw = self._events.raw
        if raw.closing is not None:
            self.begin()
            usage = raw.closing_usage(raw.closing["usage"], outcome.final_usage(self._estimate))
            self._events.end("message_delta", {**raw.closing, "usage": usage})
            return
        reason = outcome.final_reason = self.finish(outcome)
        outcome.called_tools = frozenset(self.called_tools)
        delta: JSON = {
            "stop_reason": reason,
            "stop_sequence": outcome.stop_sequence if reason == "stop_sequence" else None,
        }
        if outcome.stop_details is not None:
            delta["stop_details"] = outcome.stop_details
        self._events.end("message_delta", {"delta": delta, "usage": outcome.final_usage(self._estimate).body()})

    def error(self, error: ApiError, request_id: str = "", type: str = "") -> None:
        """Write `event: error` as the last event. Open blocks stay open, because the client would run a closed tool
        block.

        `type` replaces Anthropic's `error.type` of this kind of error."""
        if self._events.has_ended:
            return
        body = error.envelope(request_id, type)
        if not request_id:
            del body["request_id"]
        self._events.end("error", body)
