"""Decode an Anthropic event stream into whole events for the sink.

Knows: the events, their order, and which mistakes of servers can be mended (mend.py does it).
Must not know: the client's indexes, ids and model (messages/raw.py), sockets.
Invariants: raises on no input, and the output depends only on the bytes, not on how they are cut; an event that needs
no change goes on as the bytes that came; a reply without message_stop or a stop reason is an error; a call that may
have lost a piece is never closed.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from a2py import jsontext
from a2py.errors import ApiError
from a2py.messages.blocks import was_cut
from a2py.messages.types import JSON, Outcome, Prepared, Sink
from a2py.sse import Event
from a2py.wires.common.intake import Intake
from a2py.wires.common.usage import estimate_tokens
from a2py.wires.failure import reply_error
from a2py.wires.native import mend
from a2py.wires.native.ending import ENDING_LIMIT, Ending
from a2py.wires.native.repairs import Repairs, add_note
from a2py.wires.refusal.peer import Peer

#: A name that may be sent in an `event:` line.
_NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}\Z")
#: Type of a delta → the field whose characters are output.
_OUTPUT_FIELDS = {kind: field for kind, field in mend.FIELDS.items() if kind != "signature_delta"}


class BlockState:
    """Which block is open.

    `index`: of the open block, -1 if none is open; `type`: of the newest block; `next_index`: for a block that the
    upstream gives no index; `has_call`: a client's tool was called; `is_bare_call`: the newest block is a call that has
    no arguments so far; `held_stop`: the end of such a call, see `NativeDecoder._release_stop`."""

    __slots__ = ("has_call", "held_stop", "index", "is_bare_call", "next_index", "type")

    def __init__(self) -> None:
        self.index = -1
        self.type = ""
        self.next_index = 0
        self.has_call = False
        self.is_bare_call = False
        self.held_stop: tuple[JSON, bytes] | None = None


class NativeDecoder(Intake):
    """One upstream reply, as a stream or, if the server answers so, as one JSON message."""

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        super().__init__(prepared)
        self._sink = sink
        self._repairs = Repairs(prepared, sink, self._notes)
        self._is_started = False
        self._is_stopped = False  # message_stop came
        self._block = BlockState()
        self._ending = Ending()
        self._chars = 0  # of text, thinking and arguments so far

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end(self) -> Outcome:
        error = self._error or self._missing_end()
        if error is None:
            self._finish()
        else:
            self._repairs.end_text()
        reason, stop = self._ending.delta.get("stop_reason"), self._ending.delta.get("stop_sequence")
        usage, is_estimated = self._ending.usage, bool(self._chars) and not self._ending.has_output
        if is_estimated:
            usage.output = max(usage.output, estimate_tokens(self._chars))
        return Outcome(
            reason=reason if isinstance(reason, str) else "end_turn",
            usage=usage,
            is_estimated=is_estimated,
            error=error,
            stop_sequence=stop if isinstance(stop, str) else None,
            model=self._model,
            notes=self._notes,
        )

    def whole(self, value: JSON) -> None:
        """Read a message, or an error."""
        error = self._error_in(value)
        if error is not None:
            self._fail(error)
            return
        if value.get("type") != "message" and "content" not in value:
            self._fail(_wrong_format(value, self._peer))
            return
        for event in mend.as_events(value):
            self._handle(event["type"], event, b"")
        self._is_stopped = self.is_finished = True

    # -- events ------------------------------------------------------------------------------------------------------

    def _events(self, events: list[Event]) -> None:
        for name, data in events:
            self._event(name, data)

    def _event(self, name: bytes, data: bytes) -> None:
        """Read one event. `data` stays the bytes that came for as long as the event needs no change; b"" afterwards."""
        if self.is_finished:
            return
        if data.strip() == b"[DONE]":
            self.is_finished = True
            return
        try:
            event: Any = orjson.loads(data)
        except ValueError:
            try:
                event = jsontext.loads(data)  # accepts what orjson rejects, such as half of a surrogate pair
                data = b""
            except ValueError:
                self._read_bad_event(name, data)
                return
        if event.__class__ is not dict:
            self._noise += 1
            return
        kind = event.get("type")
        if kind.__class__ is not str:
            kind = name.decode("utf-8", "replace")
            if kind not in _HANDLERS:
                if event.get("error") or "choices" in event:
                    self._fail(self._error_in(event) or _wrong_format(event, self._peer))
                else:
                    self._skip()
                return
            event, data = {**event, "type": kind}, b""
        self._handle(kind, event, b"" if b"\n" in data else data)

    def _handle(self, kind: str, event: JSON, data: bytes) -> None:
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, event, data)
        elif _NAME.match(kind):
            self._sink.raw(kind, event, data)
        else:
            self._skip()

    def _skip(self) -> None:
        """Ignore an event that cannot be read.

        Inside a call it may have been a piece of the arguments, so the reply fails."""
        self._note("an event of the upstream was skipped")
        if self._block.index >= 0 and self._block.type in mend.CALLS:
            self._fail_reply("sent a broken event inside a tool call")

    def _note(self, text: str) -> None:
        add_note(self._notes, text)

    def _on_message_start(self, event: JSON, data: bytes) -> None:
        if self._is_started:
            self._note("a second message_start of the upstream was skipped")
            return
        self._is_started = True
        message = mend.mend_message(event.get("message"))
        if isinstance(message.get("model"), str):
            self._model = message["model"]
        self._ending.start_usage = message["usage"]
        self._sink.raw("message_start", {"type": "message_start", "message": message}, b"")
        for block in mend.content_blocks(event.get("message")):
            index = self._block.next_index
            self._on_block_start({"type": "content_block_start", "index": index, "content_block": block}, b"")
            self._close_block()

    def _on_block_start(self, event: JSON, data: bytes) -> None:
        if not self._is_started:
            self._on_message_start({}, b"")
        index: Any = event.get("index")
        block = event.get("content_block")
        if not _is_index(index):
            index = self._block.next_index
            event, data = {**event, "index": index}, b""
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            self._skip()
            return
        self._close_block()
        self._release_stop()
        self._block.next_index = max(self._block.next_index, index + 1)
        start, deltas = mend.mend_block(block)
        self._block.is_bare_call = start["type"] == "tool_use" and not deltas
        if start is not block:
            event, data = {**event, "content_block": start}, b""
        self._block.index, self._block.type = index, start["type"]
        self._block.has_call = self._block.has_call or start["type"] == "tool_use"
        self._repairs.start(event, data)
        for delta in deltas:
            self._send_delta(index, delta)

    def _send_delta(self, index: int, delta: JSON) -> None:
        """Send a delta that the upstream did not send itself."""
        self._count(delta)
        self._repairs.delta({"type": "content_block_delta", "index": index, "delta": delta}, b"")

    def _count(self, delta: Any) -> None:
        """Count the output in a delta that has its type."""
        text = delta.get(_OUTPUT_FIELDS.get(delta["type"], ""))
        if text.__class__ is str:
            self._chars += len(text)

    def _on_block_delta(self, event: JSON, data: bytes) -> None:
        index, delta = event.get("index"), event.get("delta")
        new_delta = mend.mend_delta(delta)
        if new_delta is None:
            if not isinstance(delta, dict) or not delta:
                self._skip()
            return
        kind: str = new_delta["type"]
        has_arguments = bool(new_delta.get("partial_json"))
        is_empty_signature = kind == "signature_delta" and not new_delta.get("signature")
        if new_delta is not delta:
            event, data = {**event, "delta": new_delta}, b""
        if index != self._block.index or self._block.index < 0:
            # llama.cpp sends the empty signature of its thinking after the text (b11549, 2026-11). Nothing is lost
            # without it.
            if is_empty_signature:
                return
            if not self._open_block_for(index, kind):
                return
            event, data = {**event, "index": self._block.index}, b""
        if mend.accepts(self._block.type, kind):
            self._count(new_delta)
            self._block.is_bare_call = self._block.is_bare_call and not has_arguments
            if self._repairs.is_plain:
                self._sink.raw("content_block_delta", event, data)
            else:
                self._repairs.delta(event, data)
        else:
            self._skip()

    def _open_block_for(self, index: Any, kind: str) -> bool:
        """Return whether a block is open for a delta whose index is not that of the open block.

        A delta without an index belongs to the open block. For any other one a block is begun, if the delta's type
        shows which."""
        if not _is_index(index) and self._block.index >= 0:
            return True
        block = mend.missing_start(kind)
        if block is None:
            self._note(f"a {kind} for a block that was not open was skipped")
            if kind == "input_json_delta":
                self._fail_reply("sent arguments of a tool call that it never began")
            return False
        self._on_block_start({"type": "content_block_start", "index": index, "content_block": {**block}}, b"")
        return True

    def _on_block_stop(self, event: JSON, data: bytes) -> None:
        index = event.get("index")
        if index != self._block.index or self._block.index < 0:
            # Ignore a stop of another block: llama.cpp stops all blocks again at the end of the message (2026-10).
            if _is_index(index) or self._block.index < 0:
                return
            event, data = {**event, "index": self._block.index}, b""
        self._block.index = -1
        if self._block.is_bare_call:
            self._block.held_stop = (event, data)
        else:
            self._repairs.stop(event, data)

    def _release_stop(self) -> None:
        """Send the held content_block_stop of a call without arguments.

        Once a call is closed, the client runs it. So the stop is held until the stop reason shows that the output limit
        did not cut the arguments off."""
        if self._block.held_stop is not None:
            event, data = self._block.held_stop
            self._block.held_stop = None
            self._repairs.stop(event, data)

    def _close_block(self) -> None:
        if self._block.index >= 0:
            self._on_block_stop({"type": "content_block_stop", "index": self._block.index}, b"")

    def _on_message_delta(self, event: JSON, data: bytes) -> None:
        if not self._is_started:
            self._on_message_start({}, b"")
        if not self._ending.add(event, data):
            self._fail_reply(f"sent message_delta events of more than {ENDING_LIMIT} bytes")

    def _on_message_stop(self, event: JSON, data: bytes) -> None:
        self._is_stopped = self.is_finished = True

    def _on_ping(self, event: JSON, data: bytes) -> None:
        self._sink.raw("ping", event, data)

    def _on_error(self, event: JSON, data: bytes) -> None:
        self._fail(self._error_in(event) or self._error_event(event))

    # -- the end -----------------------------------------------------------------------------------------------------

    def _missing_end(self) -> ApiError | None:
        """Return what is wrong with a stream that ended without an error event, None if nothing is."""
        if not self._is_started:
            fault = "sent no message: its answer is empty, or no Anthropic event stream"
            return reply_error(fault, self._peer, "Check `api_base` and the server's log.")
        if not self._is_stopped and not self._ending.delta.get("stop_reason"):
            return reply_error("closed the stream early", self._peer)
        return None

    def _finish(self) -> None:
        """Send what the upstream left out of a proper end.

        A call that the output limit cut stays open, or the client would run it."""
        self._ending.complete(self._block.has_call)
        is_cut = was_cut(self._ending.delta["stop_reason"])
        if self._block.type not in mend.CALLS or not is_cut:
            self._close_block()
        elif self._block.held_stop is not None:
            # The upstream has closed the call itself, without arguments. The client would parse them as {} and run the
            # call. With "{" they cannot be parsed.
            self._send_delta(self._block.held_stop[0]["index"], {"type": "input_json_delta", "partial_json": "{"})
        self._release_stop()
        self._repairs.end(is_cut)
        self._sink.raw("message_delta", self._ending.event, b"")


def _is_index(value: Any) -> bool:
    return value.__class__ is int and value >= 0


def _wrong_format(reply: JSON, peer: Peer) -> ApiError:
    """Return the error for a reply that is no Anthropic message."""
    if "choices" in reply or reply.get("object") == "response":
        advice = "Use another wire for this model: set `mode` or `supported_endpoints` in `model_info`."
        return reply_error("answered in OpenAI's format", peer, advice)
    return reply_error("sent a reply that is no Anthropic message", peer, "Check `api_base`.")


_HANDLERS = {
    "content_block_delta": NativeDecoder._on_block_delta,
    "content_block_start": NativeDecoder._on_block_start,
    "content_block_stop": NativeDecoder._on_block_stop,
    "message_start": NativeDecoder._on_message_start,
    "message_delta": NativeDecoder._on_message_delta,
    "message_stop": NativeDecoder._on_message_stop,
    "ping": NativeDecoder._on_ping,
    "error": NativeDecoder._on_error,
}
