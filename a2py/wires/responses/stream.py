"""A Responses event stream → verbs. A whole response (unary, or JSON that answers a stream request) goes the same way.

Knows: `response.*` events, and how a reply ends. Must not know: how items are told apart (output.py), Anthropic's events, sockets.
Invariants: the decoder contract (wires/types.py): raises on no input, output depends on the concatenation alone; the end is a success only
with a terminal event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2py import jsontext
from a2py.errors import ApiError
from a2py.messages.types import JSON, Outcome, Prepared, Sink
from a2py.sse import Event
from a2py.wires.common.intake import Intake
from a2py.wires.common.usage import UsageTally
from a2py.wires.responses.item import number, word
from a2py.wires.responses.output import ARGS, FREE, OWNER, PARTS, RAW, REFUSAL, SUMMARY, TEXT, Output

#: Rough size of a token, where the upstream counts none.
CHARS_PER_TOKEN = 4
#: `incomplete_details.reason` → stop reason; any other was cut somewhere, which max_tokens says best.
INCOMPLETE = {"max_output_tokens": "max_tokens", "content_filter": "refusal", "safety": "refusal"}
#: Statuses of a response that will not go on, and did not succeed.
UNFINISHED = {
    "queued": "the upstream only queued the request",
    "in_progress": "the upstream answered before its reply was finished",
    "cancelled": "the upstream cancelled its reply",
}
#: Statuses that a terminal event outranks (`response.done` does not say how it ended).
UNSETTLED = ("queued", "in_progress", "completed")


class ResponsesDecoder(Intake):
    """One upstream reply, streamed or whole."""

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        super().__init__(prepared)
        self._output = Output(prepared, sink)
        self._cuts = bool(prepared.stops)
        self._limit = prepared.limit
        self._bad_lines = 0
        self._status = ""  # of the final response
        self._listed = False  # the final response listed its output
        self._reason = "end_turn"
        self._tally = UsageTally()

    # -- events ------------------------------------------------------------------------------------------------------

    def _events(self, events: list[Event]) -> None:
        for name, data in events:
            if self.finished:
                return
            if data[:1] != b"{" and data.strip() == b"[DONE]":
                self.finished = True
                return
            try:
                event = jsontext.loads(data)
            except ValueError:
                self._bad_lines += 1
                continue
            if event.__class__ is dict:
                kind = event.get("type")
                if kind.__class__ is not str:
                    kind = event["type"] = name.decode("utf-8", "replace")
                handler = _HANDLERS.get(kind)
                if handler is not None:
                    handler(self, event)
                    if self._output.full:
                        self._fail(_too_much())
                        return
                    if self._cuts and self._output.stopped is not None:
                        self.finished = True
                elif event.get("error") and not kind.startswith("response."):
                    self._failure(event)

    def _say(self, kind: str, index: str, event: JSON) -> None:
        delta = event.get("delta")
        if delta.__class__ is str and delta:
            output = self._output
            item = output.mentioned(OWNER[kind], event.get("item_id"), event.get("output_index"))
            output.say(item, kind, max(0, number(event.get(index))), delta)

    def _text(self, event: JSON) -> None:
        self._say(TEXT, "content_index", event)

    def _whole(self, kind: str, index: str, text: Any, event: JSON) -> None:
        if isinstance(text, str) and text:
            output = self._output
            item = output.mentioned(OWNER[kind], event.get("item_id"), event.get("output_index"))
            output.whole(item, kind, max(0, number(event.get(index))), text)

    def _part(self, event: JSON) -> None:
        """A part that is done, with its annotations."""
        part = event.get("part")
        kind = PARTS.get(word(part.get("type"))) if isinstance(part, dict) else None
        if kind is not None:
            output = self._output
            item = output.mentioned(OWNER[kind], event.get("item_id"), event.get("output_index"))
            n = number(event.get("summary_index" if kind == SUMMARY else "content_index"))
            output.part(item, kind, max(0, n), event["part"])

    def _annotation(self, event: JSON) -> None:
        item = self._output.mentioned(OWNER[TEXT], event.get("item_id"), event.get("output_index"))
        self._output.cite(item, max(0, number(event.get("content_index"))), event.get("annotation"))

    def _added(self, event: JSON) -> None:
        if isinstance(event.get("item"), dict):
            self._output.enter(event["item"], event.get("output_index"))

    def _item(self, event: JSON) -> None:
        raw = event.get("item")
        if isinstance(raw, dict):
            self._output.close(self._output.enter(raw, event.get("output_index")), raw)

    def _failure(self, event: JSON) -> None:
        """An `error` event: flat (OpenAI), or with an `error` object."""
        found = self._error_in(event)
        self._fail(found or ApiError("api", "the upstream reported an error without saying which"))

    # -- the response object -----------------------------------------------------------------------------------------

    def _response(self, event: JSON) -> JSON:
        response = event.get("response")
        if not isinstance(response, dict):
            return {}
        self._model = word(response.get("model")) or self._model
        if isinstance(response.get("usage"), dict):
            self._tally.see(response["usage"])
        return response

    def _begun(self, event: JSON) -> None:
        self._response(event)

    def _ended(self, event: JSON) -> None:
        """A terminal event. Its name counts where the response's own status is that of the beginning, or better than the name."""
        kind = word(event.get("type")).rpartition(".")[2]
        response = self._response(event)
        status = word(response.get("status"))
        self._settled(response, kind if not status or (kind != "done" and status in UNSETTLED) else status)

    def _settled(self, response: JSON, status: str) -> None:
        error = response.get("error")
        if status == "failed" or error:
            found = self._error_in({"error": error}) if error else None
            self._fail(found or ApiError("api", "the upstream failed without saying why"))
            return
        if status in UNFINISHED:
            self._fail(ApiError("upstream", UNFINISHED[status]))
            return
        self.finished = True
        self._status = status
        self._listed = bool(response.get("output"))
        if status == "incomplete":
            details = response.get("incomplete_details")
            self._reason = INCOMPLETE.get(word(details.get("reason")) if isinstance(details, dict) else "", "max_tokens")
        elif self._used_up():
            self._reason = "max_tokens"
        self._output.final(response, self._reason == "end_turn")
        if self._output.full:
            self._fail(_too_much())

    def _used_up(self) -> bool:
        """llama.cpp says `completed` also where max_output_tokens cut the reply (xllamacpp 2026.10, 2026-11)."""
        usage = self._tally.usage()
        return usage is not None and usage.output == self._limit > 0

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end(self) -> Outcome:
        output = self._output
        output.drain()
        if self._bad_lines:
            self._notes.append(f"{self._bad_lines} bad line(s) of the upstream skipped")
        if output.hosted:
            self._notes.append("hosted items without a block: " + ", ".join(dict.fromkeys(output.hosted)))
        if output.lost:
            self._notes.append("the upstream's final text differs from what it streamed")
        outcome = self._verdict()
        outcome.model, outcome.notes = self._model, self._notes
        usage = self._tally.usage()
        if usage is None:
            outcome.output_estimate = output.chars // CHARS_PER_TOKEN + 1
        else:
            usage.web_searches = output.searches
            outcome.usage = usage
        return outcome

    def _verdict(self) -> Outcome:
        output = self._output
        if self._error is not None:
            return Outcome(error=self._error)
        if output.stopped is not None:
            return Outcome("stop_sequence", stop_sequence=output.stopped)
        flaw = self._flaw()
        if flaw:
            return Outcome(error=ApiError("upstream", flaw))
        reason = "refusal" if output.refused and self._reason == "end_turn" else self._reason
        return Outcome(reason, stop_details={"type": "refusal", "category": None, "explanation": None} if reason == "refusal" else None)

    def _flaw(self) -> str:
        """What makes an end without an error event a failure after all. A bad line is forgiven where what followed repeats all of it."""
        output = self._output
        if self._bad_lines and (not self._status or output.lost or output.unclosed or not (self._listed or self._bad_lines == 1)):
            return "the upstream's stream was damaged: a part of it is no JSON"
        if not self._status:
            return "upstream closed the stream early" if output.some else "the upstream's reply was empty"
        return "the upstream sent a tool call without a name" if output.nameless else ""

    def whole(self, value: JSON) -> None:
        """A response object."""
        response = value["response"] if isinstance(value.get("response"), dict) else value
        if not isinstance(response.get("output"), list) and not response.get("status") and not response.get("error"):
            error = self._error_in(value)
            self._fail(error or ApiError("upstream", "the upstream's reply is no response object"))
            return
        self._response({"response": response})
        self._settled(response, word(response.get("status")) or "completed")


def _too_much() -> ApiError:
    return ApiError("upstream", "the upstream sent more items, parts or citations than can be kept")


def _deltas(kind: str, index: str) -> Callable[[ResponsesDecoder, JSON], None]:
    return lambda decoder, event: decoder._say(kind, index, event)


def _wholes(kind: str, index: str, field: str) -> Callable[[ResponsesDecoder, JSON], None]:
    return lambda decoder, event: decoder._whole(kind, index, event.get(field), event)


_D = ResponsesDecoder
#: Event → what it does; any other one is ignored (progress of hosted tools, audio, logprobs, what is to come).
_HANDLERS: dict[str, Callable[[ResponsesDecoder, JSON], None]] = {
    "response.output_text.delta": _D._text,
    "response.output_text.done": _wholes(TEXT, "content_index", "text"),
    "response.refusal.delta": _deltas(REFUSAL, "content_index"),
    "response.refusal.done": _wholes(REFUSAL, "content_index", "refusal"),
    "response.reasoning_summary_text.delta": _deltas(SUMMARY, "summary_index"),
    "response.reasoning_summary_text.done": _wholes(SUMMARY, "summary_index", "text"),
    "response.reasoning_summary_part.done": _D._part,
    "response.reasoning_text.delta": _deltas(RAW, "content_index"),
    "response.reasoning_text.done": _wholes(RAW, "content_index", "text"),
    "response.reasoning_part.done": _D._part,  # vLLM and Bedrock's own, 2026-08
    "response.content_part.done": _D._part,
    "response.function_call_arguments.delta": _deltas(ARGS, ""),
    "response.function_call_arguments.done": _wholes(ARGS, "", "arguments"),
    "response.custom_tool_call_input.delta": _deltas(FREE, ""),
    "response.custom_tool_call_input.done": _wholes(FREE, "", "input"),
    "response.output_text.annotation.added": _D._annotation,
    "response.output_item.added": _D._added,
    "response.output_item.done": _D._item,
    "response.created": _D._begun,
    "response.in_progress": _D._begun,
    "response.queued": _D._begun,
    "response.completed": _D._ended,
    "response.done": _D._ended,
    "response.incomplete": _D._ended,
    "response.failed": _D._ended,
    "response.cancelled": _D._ended,
    "response.error": _D._failure,
    "error": _D._failure,
}
