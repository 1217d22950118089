"""Decode a chat-completions reply, a stream or one JSON body, into the verbs of a sink.

Knows: chunks, and where some 55 servers put things in them that OpenAI puts elsewhere (each has a golden).
Must not know: Anthropic's events, sockets.
Invariants: the decoder contract (wires/types.py): raises on no input; the output depends on the concatenation of the
input alone.
"""

from __future__ import annotations

import json
import re
from typing import Any

from a2py import jsontext
from a2py.errors import ApiError
from a2py.messages.blocks import was_cut
from a2py.messages.signatures import LIMIT
from a2py.messages.types import JSON, Outcome, Prepared, Sink
from a2py.sse import Event
from a2py.wires import failure
from a2py.wires.chat.calls import Calls, thought_signature
from a2py.wires.chat.choices import OtherChoices, first_choice
from a2py.wires.chat.delta import CALLS, LEGACY_CALL, REASONING, REFUSAL, STATE, TEXT, fields_of
from a2py.wires.chat.finish import Ending
from a2py.wires.chat.output import Output
from a2py.wires.chat.pieces import join_text
from a2py.wires.common.intake import Intake
from a2py.wires.common.names import CalledNames
from a2py.wires.common.usage import UsageTally, estimate_tokens

_DECODER = json.JSONDecoder()
#: What may be between two JSON objects of one event.
_GAP = re.compile(r"\s*(?:data:\s*)?")
REASONING_FIELDS, STATE_FIELDS = fields_of(REASONING), fields_of(STATE)
#: Fields of a delta that make `choice.text` (Together, Writer: 2025-08) a repetition.
CONTENT_FIELDS = fields_of(TEXT, REASONING, CALLS, LEGACY_CALL, REFUSAL)


def _split_event(data: bytes) -> list[bytes]:
    """Return the chunks in the data of one event: kilo-gateway (2026-02) leaves out the blank line, or any separator,
    between two events.

    `{"a":1}{"b":2}` and `{"a":1} data: {"b":2}` give `[{"a":1}, {"b":2}]`. Data that is not JSON gives an empty
    list."""
    if b"\n" in data:
        return data.split(b"\n")
    text, at, chunks = data.decode("utf-8", "replace"), 0, []
    try:
        while at < len(text):
            _, end = _DECODER.raw_decode(text, at)
            chunks.append(text[at:end].encode())
            at = end + len(_GAP.match(text, end)[0])  # type: ignore[index]
    except (ValueError, RecursionError):
        return []
    return chunks


class ChatDecoder(Intake):
    """Decodes one upstream reply. `output`: for a subclass that writes more than ChatDecoder reads."""

    __slots__ = ("_calls", "_ending", "_field", "_output", "_tally")

    def __init__(self, prepared: Prepared, sink: Sink, output: Output | None = None) -> None:
        super().__init__(prepared)
        self._output = output or Output(prepared, sink)
        self._calls = Calls(sink, CalledNames(prepared.names, prepared.tools))
        self._tally = UsageTally()
        self._ending = Ending(prepared.stops, self._peer)
        # Perplexity and Writer send both `delta` and `message` (2025-10): a stream is read from the one, a whole reply
        # from the other.
        self._field = "delta"

    # -- events ------------------------------------------------------------------------------------------------------

    def _events(self, events: list[Event]) -> None:
        for name, data in events:
            if self.is_finished:
                return
            if data == b"[DONE]" or data.strip() == b"[DONE]":
                self._ending.is_done = self.is_finished = True
                return
            try:
                chunk = jsontext.loads(data)
            except ValueError:
                self._read_bad_event(name, data)
                continue
            if isinstance(chunk, dict):
                self.chunk(chunk, name)

    def _read_bad_event(self, name: bytes, data: bytes) -> None:
        """Read an event whose data is not one JSON value."""
        chunks = _split_event(data)
        if len(chunks) > 1:
            self._events([(name, chunk) for chunk in chunks])
        else:
            super()._read_bad_event(name, data)

    # -- one chunk, or one whole completion --------------------------------------------------------------------------

    def chunk(self, chunk: JSON, name: bytes = b"") -> None:
        usage = chunk.get("usage")
        if usage.__class__ is dict:
            self._tally.see(usage)
        choices = chunk.get("choices")
        if not choices or choices.__class__ is not list:
            self._read_bare(chunk, name)
            return
        if chunk.get("error") or name == b"error":
            self._read_bare(chunk, name)
        choice = choices[0]
        if len(choices) > 1 or choice.__class__ is not dict or choice.get("index"):
            choice = first_choice(choices)
            self._output.others = self._output.others or OtherChoices()
            self._output.others.add(choices, choice)
            if choice is None:
                return
        self._read_choice(chunk, choice)

    def _read_choice(self, chunk: JSON, choice: JSON) -> None:
        if not self._model and isinstance(chunk.get("model"), str):
            self._model = chunk["model"]
        if choice.get("error"):  # OpenRouter, 2025-10
            self._fail_unless_ended(self._error_in({"error": choice["error"]}))
        delta = choice.get(self._field)
        if delta.__class__ is not dict or choice.get("text"):
            delta = self._unusual_delta(choice, delta)
        if self.is_finished and self._error is not None and not delta:
            return
        self._read_delta(delta)
        word = choice.get("finish_reason")
        if word:
            self._ending.read(choice, str(word))
            self._read_groq_usage(chunk)
        usage = choice.get("usage")
        if usage.__class__ is dict:  # Moonshot, 2025-07
            self._tally.see(usage)

    def _unusual_delta(self, choice: JSON, delta: Any) -> JSON:
        """Return the delta of a choice that has none in the usual place, or text beside it."""
        if delta.__class__ is not dict:
            delta = choice.get("message" if self._field == "delta" else "delta")
        members: JSON = delta if delta.__class__ is dict else {}
        text = choice.get("text")
        if text and text.__class__ is str and not any(map(members.get, CONTENT_FIELDS)):
            return {**members, "content": text}
        return members

    def _read_groq_usage(self, chunk: JSON) -> None:
        """Read usage from Groq's own place, in the chunk with the finish_reason or in one of its own (2025-09)."""
        extra = chunk.get("x_groq")
        if isinstance(extra, dict) and isinstance(extra.get("usage"), dict):
            self._tally.see(extra["usage"])

    def _read_bare(self, chunk: JSON, name: bytes) -> None:
        """Read a chunk without choices: usage, an error, a keep-alive."""
        self._read_groq_usage(chunk)
        error = self._error_in(chunk)
        if error is None and name == b"error":
            error = self._error_event(chunk)
        self._fail_unless_ended(error)

    def _fail_unless_ended(self, error: ApiError | None) -> None:
        """End the reply with `error`, unless the upstream has given a finish_reason: then the reply is whole."""
        if error is not None and not self._ending.word:
            self._fail(error)

    # -- a delta -----------------------------------------------------------------------------------------------------

    def _read_delta(self, delta: JSON) -> None:
        output = self._output
        name, reasoning = _reasoning_of(delta)
        details = delta.get("reasoning_details")
        if name:
            output.sink.reasoning_field(name)
        if details or name:
            self._read_reasoning(reasoning, details)
        content = delta.get("content")
        if not content or len(delta) > 2:  # a delta with text, and `role` beside it at most, has no state
            self._read_state(delta)
        if content.__class__ is str:
            if content:
                output.text(content)
        elif content:
            output.parts(content)
        if delta.get("tool_calls") or delta.get("function_call"):
            self._read_calls(delta)
        refusal = delta.get("refusal")
        if refusal and isinstance(refusal, str):
            output.refusal(refusal)
        if output.has_filters and output.stop_sequence is not None:
            self.is_finished = True  # the relay closes the upstream's response

    def _read_reasoning(self, reasoning: Any, details: Any) -> None:
        """Write reasoning. OpenRouter repeats it in `reasoning_details`, whose text counts only if there is no
        other."""
        if details and isinstance(details, list):
            text = self._output.add_details(details)
            if self._output.details.is_full:
                self._fail_reply("sent more reasoning details than a2py can keep")
            reasoning = reasoning or text
        if reasoning.__class__ is str:
            self._output.thinking(reasoning)
        elif reasoning.__class__ is dict or reasoning.__class__ is list:
            self._output.thinking(join_text(reasoning))

    def _read_calls(self, delta: JSON) -> None:
        self._output.begin_call()
        fragments = delta.get("tool_calls")
        if fragments:
            self._calls.add_fragments(fragments, self._field == "message")
            if self._calls.is_full:
                self._fail_reply("sent longer tool calls than a2py can keep")
        if delta.get("function_call"):
            self._calls.add_legacy(delta["function_call"])

    def _read_state(self, delta: JSON) -> None:
        """Keep what must come back with the message. Gemini may send a thought signature without a call."""
        for name in STATE_FIELDS:
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
            self._output.add_field(name, value)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end(self) -> Outcome:
        self._output.flush()
        others = self._output.others
        if others is not None and self._error is None and self._output.stop_sequence is None:
            self._read_other_choices(others)
        outcome = self._judge()
        if outcome.error is None:
            self._calls.close(was_cut(outcome.reason))
        outcome.output_estimate = estimate_tokens(self._output.chars + self._calls.chars)
        return outcome

    def _read_other_choices(self, others: OtherChoices) -> None:
        """Read the calls that the first choice announces and does not hold."""
        if self._ending.expects_calls and not self._calls.has_calls:
            for delta in others.read_calls():
                self._read_calls(delta)

    def _judge(self) -> Outcome:
        """Return the outcome: a failure, a stop sequence that the proxy applied, or what the upstream says."""
        output, ending, usage = self._output, self._ending, self._tally.usage()
        stop = output.stop_sequence
        error = self._error
        if error is None and stop is None:
            error = ending.error(output.has_content, self._calls)
        if error is not None:
            return Outcome(error=error, usage=usage, model=self._model, notes=self._notes)
        if stop is not None:
            return Outcome("stop_sequence", usage, stop_sequence=stop, model=self._model, notes=self._notes)
        return ending.outcome(output.is_refusal, usage, self._model, self._notes)

    def whole(self, value: JSON) -> None:
        """Read a reply that is one JSON body, whether a stream was asked for or not."""
        error = self._error_in(value)
        if error is None and "choices" not in value:
            error = failure.reply_error("sent a reply that is no chat completion", self._peer, "Check `api_base`.")
        if error is not None:
            self._fail(error)
            return
        self._ending.is_done = True
        self._field = "message"
        self.chunk(value)
        if not self._output.has_content and not self._ending.word and self._error is None and value.get("choices"):
            self._ending.word = "stop"


def _reasoning_of(delta: JSON) -> tuple[str, Any]:
    """Return the field that holds reasoning, and its value; ("", None) if none does."""
    for name in REASONING_FIELDS:
        value = delta.get(name)
        if value:
            return name, value
    return "", None
