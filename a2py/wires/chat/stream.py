"""A chat-completions stream → verbs.

Knows: chunks, and the liberties that some 55 servers take with them (each has a golden).
Must not know: Anthropic's events, sockets.
Invariants: the decoder contract (wires/types.py): raises on no input, output depends on the concatenation alone; the end is a success only
with a finish_reason, or with [DONE] behind content.
"""

from __future__ import annotations

import json
import re
from typing import Any

from a2py import jsontext
from a2py.errors import ApiError
from a2py.messages.blocks import CUT
from a2py.messages.signatures import LIMIT
from a2py.messages.types import JSON, Outcome, Prepared, Sink, Usage
from a2py.sse import Event
from a2py.wires import failure
from a2py.wires.chat.calls import Calls, thought_signature
from a2py.wires.chat.delta import CALLS, LEGACY_CALL, REASONING, REFUSAL, STATE, TEXT, fields
from a2py.wires.chat.finish import failed, finish, promises_calls
from a2py.wires.chat.pieces import Details, runs, said
from a2py.wires.common.filters import Stops, ThinkTags
from a2py.wires.common.intake import Intake
from a2py.wires.common.usage import UsageTally

#: Rough size of a token, where the upstream counts none.
CHARS_PER_TOKEN = 4
#: What may stand between two events that were glued together.
_ONE = json.JSONDecoder()
_GAP = re.compile(r"\s*(?:data:\s*)?")
THOUGHTS, STATES = fields(REASONING), fields(STATE)
#: Fields of a delta that make `choice.text` (Together, Writer: 2025-08) a repetition.
SPOKEN = fields(TEXT, REASONING, CALLS, LEGACY_CALL, REFUSAL)
#: Where a choice tells the matched stop sequence: vLLM (2025-08), SGLang (2025-09); a number is a token's, a word may be a template's own.
STOP_FIELDS = ("stop_reason", "matched_stop")


def _apart(data: bytes) -> list[bytes]:
    """The events that stand in one, for want of a blank line, or of any end between them (kilo-gateway, 2026-02); none: it is not that."""
    if b"\n" in data:
        return data.split(b"\n")
    text, at, out = data.decode("utf-8", "replace"), 0, []
    try:
        while at < len(text):
            _, end = _ONE.raw_decode(text, at)
            out.append(text[at:end].encode())
            at = end + len(_GAP.match(text, end)[0])  # type: ignore[index]
    except (ValueError, RecursionError):
        return []
    return out


class ChatDecoder(Intake):
    """One upstream reply, streamed or whole (`whole`).

    Slots: from its 30th attribute on an instance has a dict of its own, 1.6 KiB, and slower access to it (CPython 3.11)."""

    __slots__ = (
        "_asked",
        "_bad",
        "_bad_lines",
        "_calls",
        "_chars",
        "_details",
        "_done",
        "_field",
        "_fields",
        "_finish",
        "_native_finish",
        "_refused",
        "_sent",
        "_sink",
        "_some",
        "_stop_word",
        "_stops",
        "_tags",
        "_tally",
        "_torn",
    )

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        super().__init__(prepared)
        self._sink = sink
        self._tally = UsageTally()
        self._calls = Calls(sink, prepared.names)
        self._tags = ThinkTags(prepared.think_open) if prepared.think_tags or prepared.think_open else None
        self._asked = prepared.stops
        self._stops = Stops(prepared.stops) if prepared.stops else None
        self._field = (
            "delta"  # Perplexity and Writer send both delta and message (2025-10): a stream means the one, a whole reply the other
        )
        self._finish = ""
        self._native_finish = ""
        self._stop_word: str | None = None
        self._done = False
        self._refused = False
        self._chars = 0  # of text and reasoning, for an estimate where no usage comes
        self._some = False  # something that a client can see was emitted
        self._bad = False  # the last data line was no JSON
        self._bad_lines = 0
        self._torn = False  # a bad line may have held a piece of a tool call
        self._details = Details()
        self._fields: dict[str, str] = {}

    # -- events ------------------------------------------------------------------------------------------------------

    def _events(self, events: list[Event]) -> None:
        for name, data in events:
            if self.finished:
                return
            if data == b"[DONE]" or data.strip() == b"[DONE]":
                self._done = self.finished = True
                return
            try:
                chunk = jsontext.loads(data)
            except ValueError:
                self._unread(name, data)
                continue
            self._bad = False
            if isinstance(chunk, dict):
                self.chunk(chunk, name)

    def _unread(self, name: bytes, data: bytes) -> None:
        """An event that is no JSON."""
        parts = _apart(data)
        if len(parts) > 1:
            self._events([(name, part) for part in parts])
        elif name == b"error":
            self._fail(failure.read_event(data, self._peer))
        elif data.strip():  # an empty one is a sign of life
            self._bad = True
            self._bad_lines += 1
            self._torn = self._torn or self._calls.open

    # -- one chunk, or one whole completion --------------------------------------------------------------------------

    def chunk(self, chunk: JSON, name: bytes = b"") -> None:
        choices = chunk.get("choices")
        usage = chunk.get("usage")
        if usage.__class__ is dict:
            self._tally.see(usage)
        if not choices or choices.__class__ is not list or chunk.get("error") or name == b"error":
            self._bare(chunk, name)
            if not choices or choices.__class__ is not list:
                return
        choice = choices[0]
        if choice.__class__ is not dict or choice.get("index"):
            choice = next((c for c in choices if isinstance(c, dict) and not c.get("index")), None)
            if choice is None:
                return
        if not self._model and isinstance(chunk.get("model"), str):
            self._model = chunk["model"]
        if choice.get("error"):  # OpenRouter, 2025-10
            self._blame(self._error_in({"error": choice["error"]}))
        delta = choice.get(self._field)
        if delta.__class__ is not dict:
            delta = choice.get("message" if self._field == "delta" else "delta")
            if delta.__class__ is not dict:
                delta = {}
        text = choice.get("text")
        if text and text.__class__ is str and not any(map(delta.get, SPOKEN)):
            delta = {**delta, "content": text}
        if self.finished and self._error is not None and not delta:
            return
        self._delta(delta)
        word = choice.get("finish_reason")
        if word:
            self._finish_with(choice, str(word))
            self._extra_usage(chunk)
        usage = choice.get("usage")
        if usage.__class__ is dict:  # Moonshot, 2025-07
            self._tally.see(usage)

    def _finish_with(self, choice: JSON, word: str) -> None:
        self._finish = self._finish or word
        native = choice.get("native_finish_reason")
        if isinstance(native, str):
            self._native_finish = native
        for name in STOP_FIELDS:
            stop = choice.get(name)
            if stop in self._asked:
                self._stop_word = stop

    def _extra_usage(self, chunk: JSON) -> None:
        """Groq's own place for usage, on the finish chunk or on one of its own (2025-09)."""
        extra = chunk.get("x_groq")
        if isinstance(extra, dict) and isinstance(extra.get("usage"), dict):
            self._tally.see(extra["usage"])

    def _bare(self, chunk: JSON, name: bytes) -> None:
        """A chunk without choices: usage, an error, a keep-alive."""
        self._extra_usage(chunk)
        error = self._error_in(chunk)
        if error is None and name == b"error":
            error = failure.read_event(chunk, self._peer)
        self._blame(error)

    def _blame(self, error: ApiError | None) -> None:
        if error is not None and not self._finish:
            self._fail(error)

    def _delta(self, delta: JSON) -> None:
        sink = self._sink
        details = delta.get("reasoning_details")
        reasoning = None
        for name in THOUGHTS:
            reasoning = delta.get(name)
            if reasoning:
                break
        if details:
            reasoning = self._detail(details, reasoning)
        if reasoning.__class__ is str and reasoning:
            self._some = True
            self._chars += len(reasoning)
            sink.thinking(REASONING, reasoning)
        elif reasoning.__class__ is dict or reasoning.__class__ is list:
            self._think(said(reasoning))
        content = delta.get("content")
        if not content or len(delta) > 2:
            self._state(delta)
        if content.__class__ is str:
            if content:
                self._text(content)
        elif content:
            for kind, piece in runs(content):
                self._say(kind, piece)
        calls = delta.get("tool_calls")
        if calls:
            self._before_call()
            self._calls.fragments(calls, self._field == "message")
            if self._calls.full:
                self._fail_reply("sent longer tool calls than a2py can keep")
        if delta.get("function_call"):
            self._before_call()
            self._calls.legacy(delta["function_call"])
        refusal = delta.get("refusal")
        if refusal and isinstance(refusal, str):
            self._refuse(refusal)

    def _say(self, kind: str, text: str) -> None:
        if kind == REASONING:
            self._think(text)
        elif kind == REFUSAL:
            self._refuse(text)
        elif text:
            self._text(text)

    def _refuse(self, text: str) -> None:
        self._refused = self._some = True
        self._chars += len(text)
        self._seal()
        self._sink.text(REFUSAL, text)

    def _think(self, text: str) -> None:
        if text:
            self._some = True
            self._chars += len(text)
            self._sink.thinking(REASONING, text)

    def _text(self, text: str) -> None:
        self._some = True
        self._chars += len(text)
        if self._details or self._fields:
            self._seal()
        if self._tags is None and self._stops is None:
            self._sink.text(TEXT, text)
        elif self._tags is None:
            self._cut(text)
        else:
            for thinking, piece in self._tags.feed(text):
                self._piece(thinking, piece)

    def _piece(self, thinking: bool, text: str) -> None:
        if thinking:
            self._sink.thinking(REASONING, text)
        else:
            self._cut(text)

    def _cut(self, text: str) -> None:
        """Text through the local stop list; a match ends the reply, and the relay hangs up."""
        if self._stops is not None:
            text = self._stops.feed(text)
            if self._stops.matched is not None:
                self.finished = True
        if text:
            self._sink.text(TEXT, text)

    def _drain(self) -> None:
        """Text that the filters hold back."""
        if self._tags is not None:
            for thinking, piece in self._tags.close():
                self._piece(thinking, piece)
        if self._stops is not None:
            rest = self._stops.close()
            if rest:
                self._sink.text(TEXT, rest)

    def _before_call(self) -> None:
        self._some = True
        self._drain()
        self._seal()

    # -- vendor state of reasoning -----------------------------------------------------------------------------------

    def _detail(self, details: Any, reasoning: Any) -> Any:
        """OpenRouter's reasoning_details: kept for the next turn; their text counts only where no `reasoning` repeats it."""
        if not isinstance(details, list):
            return reasoning
        text = "".join([self._details.see(detail) for detail in details if isinstance(detail, dict) and not self._details.full])
        if self._details.full:
            self._fail_reply("sent more reasoning details than a2py can keep")
        return reasoning or text

    def _state(self, delta: JSON) -> None:
        """State of the whole message that must come back. Gemini's signature may come without a call."""
        for name in STATES:
            value = delta.get(name)
            if value and value.__class__ is str:  # Venice: `"reasoning_encrypted": false` (2026-08)
                self._keep(name, value)
        signature = thought_signature(delta)
        if signature:
            self._keep("thought_signature", signature)

    def _keep(self, name: str, value: str) -> None:
        if len(value) > LIMIT:
            self._fail_reply(f"sent more than {LIMIT} characters of state (`{name}`)")
        else:
            self._fields[name] = value

    def _seal(self) -> None:
        if not self._details and not self._fields:
            return
        details, fields = self._details.take(), self._fields
        self._fields = {}
        state: JSON = {**({"d": details} if details else {}), **({"f": fields} if fields else {})}
        self._sink.signature(REASONING, "details" if details else "fields", state)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end(self) -> Outcome:
        self._drain()
        self._seal()
        usage = self._tally.usage()
        outcome = self._judged(usage)
        if outcome.error is None:
            self._calls.close(outcome.reason in CUT)
        outcome.output_estimate = (self._chars + self._calls.chars) // CHARS_PER_TOKEN + 1
        return outcome

    def _judged(self, usage: Usage | None) -> Outcome:
        error = self._error or self._verdict()
        if self._bad_lines:
            self._notes.append(f"{self._bad_lines} bad line(s) of the upstream skipped")
        if error is not None:
            return Outcome(error=error, usage=usage, model=self._model, notes=self._notes)
        matched = self._stops.matched if self._stops is not None else None
        if matched is not None:
            return Outcome("stop_sequence", usage, stop_sequence=matched, model=self._model, notes=self._notes)
        return finish(self._finish, self._native_finish, self._stop_word, self._refused, usage, self._model, self._notes)

    def _verdict(self) -> ApiError | None:
        """What makes an end without an error event a failure after all."""
        if self._stops is not None and self._stops.matched is not None:
            return None
        lost = not self._some or (promises_calls(self._finish) and not self._calls.open)
        if self._bad_lines and (self._bad or self._torn or lost or self._bad_lines > 1 or not self._finish):
            return failure.reply_error("sent a damaged stream: a part of it is not JSON", self._peer)
        if self._calls.nameless:
            return failure.reply_error("sent a tool call without a name", self._peer, failure.CHECK_TOOLS)
        if self._finish or (self._done and self._some):
            return failed(self._finish, self._peer)
        if self._some:
            return failure.reply_error("closed the stream early", self._peer)
        return failure.reply_error("sent an empty reply", self._peer)

    def whole(self, value: JSON) -> None:
        """A unary body, or a JSON body that answers a stream request."""
        error = self._error_in(value)
        if error is None and "choices" not in value:
            error = failure.reply_error("sent a reply that is no chat completion", self._peer, "Check `api_base`.")
        if error is not None:
            self._fail(error)
            return
        self._done = True
        self._field = "message"
        self.chunk(value)
        if not self._some and not self._finish and self._error is None and value.get("choices"):
            self._finish = "stop"
