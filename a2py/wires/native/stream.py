"""An Anthropic event stream → whole events for the sink.

Knows: the events, their order, and which of a server's liberties can be mended (mend.py does it).
Must not know: the client's indexes, ids and model (messages/raw.py), sockets.
Invariants: the decoder contract; an event that lacks nothing goes on as the bytes that came; the end is a success only with message_stop or
a stop reason; a call that may have lost a piece is never closed.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from a2py import jsonsize, jsontext
from a2py.errors import ApiError
from a2py.messages.blocks import CUT
from a2py.messages.types import JSON, Outcome, Prepared, Sink
from a2py.sse import Event
from a2py.wires.common.intake import Intake
from a2py.wires.native import mend

#: A name that may stand in an `event:` line.
_NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}\Z")
#: Bytes of all message_delta events of one reply, laid over each other (512 KiB). It is measured once as many have come as would make twice that.
ENDING_LIMIT = 512 * 1024
#: Notes that one reply may leave in the log.
NOTES = 8
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")


class NativeDecoder(Intake):
    """One upstream reply, as a stream or, where the server answers so, as one JSON message."""

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        super().__init__(prepared)
        self._sink = sink
        self._started = False
        self._stopped = False  # message_stop came
        self._open = -1  # index of the open block
        self._kind = ""  # its type
        self._next = 0
        self._called = False  # a client's tool was called
        self._bare = False  # the newest block is a call that got no arguments yet
        self._held: tuple[JSON, bytes] | None = None  # its end
        self._usage: JSON = {}
        self._ending: JSON = {}  # message_delta
        self._ending_size = 0  # bytes of it at most

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end(self) -> Outcome:
        error = self._error or self._verdict()
        if error is None:
            self._finish()
        delta: JSON = self._ending.get("delta", {})
        reason, stop = delta.get("stop_reason"), delta.get("stop_sequence")
        return Outcome(
            reason=reason if isinstance(reason, str) else "end_turn",
            usage=mend.usage(mend.merged(self._usage, self._ending.get("usage", {}))),
            error=error,
            stop_sequence=stop if isinstance(stop, str) else None,
            model=self._model,
            notes=self._notes,
        )

    def whole(self, value: JSON) -> None:
        """A message, or an error."""
        error = self._error_in(value)
        if error is not None:
            self._fail(error)
            return
        if value.get("type") != "message" and "content" not in value:
            self._fail(_foreign(value))
            return
        for event in mend.events(value):
            self._handle(event["type"], event, b"")
        self._stopped = self.finished = True

    # -- events ------------------------------------------------------------------------------------------------------

    def _events(self, events: list[Event]) -> None:
        for name, data in events:
            self._event(name, data)

    def _event(self, name: bytes, data: bytes) -> None:
        if self.finished:
            return
        if data.strip() == b"[DONE]":
            self.finished = True
            return
        try:
            event: Any = orjson.loads(data)
        except ValueError:
            try:
                event = jsontext.loads(data)
                data = b""
            except ValueError:
                self._bad()
                return
        if event.__class__ is not dict:
            self._bad()
            return
        kind = event.get("type")
        if kind.__class__ is not str:
            kind = name.decode("utf-8", "replace")
            if kind not in _HANDLERS:
                self._fail(self._error_in(event) or _foreign(event)) if event.get(
                    "error"
                ) or "choices" in event else self._bad()
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
            self._bad()

    def _bad(self) -> None:
        """An event that says nothing. Inside a call it may have been a piece of the arguments."""
        self._note("an event of the upstream was skipped")
        if self._open >= 0 and self._kind in _CALLS:
            self._fail(ApiError("upstream", "the upstream sent a broken event inside a tool call"))

    def _note(self, text: str) -> None:
        if len(self._notes) < NOTES:
            self._notes.append(text)

    def _message_start(self, event: JSON, data: bytes) -> None:
        if self._started:
            self._note("a second message_start of the upstream was skipped")
            return
        self._started = True
        given = event.get("message")
        message = mend.message(given)
        if isinstance(message.get("model"), str):
            self._model = message["model"]
        self._usage = message["usage"]
        self._sink.raw("message_start", {"type": "message_start", "message": message}, b"")
        for block in mend.blocks(given):
            index = self._next
            self._block_start({"type": "content_block_start", "index": index, "content_block": block}, b"")
            self._close_block()

    def _block_start(self, event: JSON, data: bytes) -> None:
        if not self._started:
            self._message_start({}, b"")
        index: Any = event.get("index")
        given = event.get("content_block")
        if not _legal(index):
            index = self._next
            event, data = {**event, "index": index}, b""
        if not isinstance(given, dict) or not isinstance(given.get("type"), str):
            self._bad()
            return
        self._close_block()
        self._release()
        self._next = max(self._next, index + 1)
        block, deltas = mend.block(given)
        self._bare = block["type"] == "tool_use" and not deltas
        if block is not given:
            event, data = {**event, "content_block": block}, b""
        self._open, self._kind = index, block["type"]
        self._called = self._called or block["type"] == "tool_use"
        self._sink.raw("content_block_start", event, data)
        for delta in deltas:
            self._sink.raw("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}, b"")

    def _block_delta(self, event: JSON, data: bytes) -> None:
        index, delta = event.get("index"), event.get("delta")
        mended = mend.delta(delta)
        if mended is None:
            if delta.__class__ is not dict or not delta:
                self._bad()
            return
        kind: str = mended["type"]
        argued = bool(mended.get("partial_json"))
        unsigned = kind == "signature_delta" and not mended.get("signature")
        if mended is not delta:
            event, data = {**event, "delta": mended}, b""
        if index != self._open or self._open < 0:
            if unsigned:
                return  # llama.cpp sends the empty signature of its thinking behind the text (b11549, 2026-11): nothing is lost
            if not self._find(index, kind):
                return
            event, data = {**event, "index": self._open}, b""
        if mend.fits(kind, self._kind):
            self._bare = self._bare and not argued
            self._sink.raw("content_block_delta", event, data)
        else:
            self._bad()

    def _find(self, index: Any, kind: str) -> bool:
        """Whether there is a block for a delta whose index is not the open one's: the open one, where the delta names none; else a new
        one, where its type tells which."""
        if not _legal(index) and self._open >= 0:
            return True
        block = mend.missing_start(kind)
        if block is None:
            self._note(f"a {kind} for a block that was not open was skipped")
            if kind == "input_json_delta":
                self._fail(ApiError("upstream", "the upstream sent arguments of a tool call that it never began"))
            return False
        self._block_start({"type": "content_block_start", "index": index, "content_block": {**block}}, b"")
        return True

    def _block_stop(self, event: JSON, data: bytes) -> None:
        index = event.get("index")
        if index != self._open or self._open < 0:
            if _legal(index) or self._open < 0:  # llama.cpp ends all blocks at the end of the message (2026-10)
                return
            event, data = {**event, "index": self._open}, b""
        self._open = -1
        if self._bare:
            self._held = (event, data)
        else:
            self._sink.raw("content_block_stop", event, data)

    def _release(self) -> None:
        """The end of a call without arguments, which is held until it is clear that the limit did not cut them off."""
        if self._held is not None:
            event, data = self._held
            self._held = None
            self._sink.raw("content_block_stop", event, data)

    def _close_block(self) -> None:
        if self._open >= 0:
            self._block_stop({"type": "content_block_stop", "index": self._open}, b"")

    def _message_delta(self, event: JSON, data: bytes) -> None:
        if not self._started:
            self._message_start({}, b"")
        self._ending = mend.ending(self._ending, event)
        self._ending_size += jsonsize.weight(data or jsontext.dumps(event))
        if self._ending_size > 2 * ENDING_LIMIT:  # many that say the same again are no more than one
            self._ending_size = jsonsize.weight(jsontext.dumps(self._ending))
            if self._ending_size > ENDING_LIMIT:
                self._fail(
                    ApiError("upstream", f"the upstream's message_delta events hold more than {ENDING_LIMIT} bytes")
                )

    def _message_stop(self, event: JSON, data: bytes) -> None:
        self._stopped = self.finished = True

    def _ping(self, event: JSON, data: bytes) -> None:
        self._sink.raw("ping", event, data)

    def _failed(self, event: JSON, data: bytes) -> None:
        self._fail(self._error_in(event) or ApiError("api", "the upstream reported an error without saying which"))

    # -- the end -----------------------------------------------------------------------------------------------------

    def _verdict(self) -> ApiError | None:
        """What is wrong with a stream that has ended without saying so."""
        if not self._started:
            return ApiError(
                "upstream", "the upstream sent no message: its answer is empty, or no Anthropic event stream"
            )
        if not self._stopped and not self._ending.get("delta", {}).get("stop_reason"):
            return ApiError("upstream", "the upstream closed the stream early")
        return None

    def _finish(self) -> None:
        """What the upstream left out of a proper end. A call that it left open at a cut stays open: it would be run."""
        ending = self._ending = mend.ending(self._ending, {})
        delta = ending["delta"]
        if not isinstance(delta.get("stop_reason"), str):
            ending["delta"] = delta = {**delta, "stop_reason": "tool_use" if self._called else "end_turn"}
        if self._kind not in _CALLS or delta["stop_reason"] not in CUT:
            self._close_block()
        elif self._held is not None:  # closed with nothing in it the call would be run: what it has now can't be parsed
            torn = {"type": "input_json_delta", "partial_json": "{"}
            self._sink.raw(
                "content_block_delta",
                {"type": "content_block_delta", "index": self._held[0]["index"], "delta": torn},
                b"",
            )
        self._release()
        self._sink.raw("message_delta", ending, b"")


def _legal(index: Any) -> bool:
    return index.__class__ is int and index >= 0


def _foreign(found: JSON) -> ApiError:
    if "choices" in found or found.get("object") == "response":
        return ApiError(
            "upstream",
            "the upstream answered in OpenAI's format: ask it by another wire (model_info: mode, supported_endpoints)",
        )
    return ApiError("upstream", "the upstream's reply is no Anthropic message")


_HANDLERS = {
    "content_block_delta": NativeDecoder._block_delta,
    "content_block_start": NativeDecoder._block_start,
    "content_block_stop": NativeDecoder._block_stop,
    "message_start": NativeDecoder._message_start,
    "message_delta": NativeDecoder._message_delta,
    "message_stop": NativeDecoder._message_stop,
    "ping": NativeDecoder._ping,
    "error": NativeDecoder._failed,
}
