"""Decode a Responses event stream, or a whole response (a unary reply, or JSON that answers a stream request).

Knows: `response.*` events, and how a reply ends.
Must not know: how items are identified (index.py), what they become (output.py), Anthropic's events, sockets.
Invariants: raises on no input; the output depends only on the bytes, not on how they are cut; a reply without a
terminal event is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2py import jsontext
from a2py.errors import ApiError
from a2py.messages.blocks import was_cut
from a2py.messages.types import JSON, Outcome, Prepared, Sink
from a2py.sse import Event
from a2py.wires.common.intake import Intake
from a2py.wires.common.usage import UsageTally, estimate_tokens
from a2py.wires.failure import CHECK_TOOLS, reply_error
from a2py.wires.responses.item import ARGS, INPUT, OWNER, PARTS, RAW, REFUSAL, SUMMARY, TEXT, Item, as_index, as_text
from a2py.wires.responses.output import Output

#: `incomplete_details.reason` → stop reason. Any other reason becomes max_tokens, which makes clients treat the reply
#: as cut.
INCOMPLETE = {"max_output_tokens": "max_tokens", "content_filter": "refusal", "safety": "refusal"}
#: Status of a response that will not continue and did not succeed → what the server did.
STATUS_FAULTS = {
    "queued": "only queued the request",
    "in_progress": "answered before its reply was finished",
    "cancelled": "cancelled its reply",
}
#: What the server did if its items are more than the budget (budget.py).
TOO_MUCH = "sent more items, parts or citations than a2py can keep"
#: Statuses that the name of a terminal event overrides, because its response may still hold the status of the
#: beginning.
OPEN_STATUSES = ("queued", "in_progress", "completed")


class ResponsesDecoder(Intake):
    """One upstream reply, streamed or whole."""

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        super().__init__(prepared)
        self._output = Output(prepared, sink)
        self._limit = prepared.limit
        self._reason = ""  # of the final response: Anthropic's stop reason
        self._tally = UsageTally()

    # -- events ------------------------------------------------------------------------------------------------------

    def _events(self, events: list[Event]) -> None:
        for name, data in events:
            if self.is_finished:
                return
            if data[:1] != b"{" and data.strip() == b"[DONE]":
                self.is_finished = True
                return
            try:
                event = jsontext.loads(data)
            except ValueError:
                self._read_bad_event(name, data)
                continue
            if event.__class__ is dict:
                self._event(name, event)

    def _event(self, name: bytes, event: JSON) -> None:
        kind = event.get("type")
        if kind.__class__ is not str:
            kind = event["type"] = name.decode("utf-8", "replace")
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, event)
            if self._output.budget.is_full:
                self._fail_reply(TOO_MUCH)
            elif self._output.stop_sequence is not None:
                self.is_finished = True
        elif event.get("error") and not kind.startswith("response."):
            self._on_error(event)

    def _item_of(self, kind: str, event: JSON) -> Item:
        """Return the item that an event about a part of this kind belongs to."""
        return self._output.index.for_delta(OWNER[kind], event.get("item_id"), event.get("output_index"))

    def _add_delta(self, kind: str, index: str, event: JSON) -> None:
        delta = event.get("delta")
        if delta.__class__ is str and delta:
            self._output.add_delta(self._item_of(kind, event), kind, max(0, as_index(event.get(index))), delta)

    def _add_whole(self, kind: str, index: str, text: Any, event: JSON) -> None:
        if isinstance(text, str) and text:
            self._output.add_whole(self._item_of(kind, event), kind, max(0, as_index(event.get(index))), text)

    def _on_text_delta(self, event: JSON) -> None:
        self._add_delta(TEXT, "content_index", event)

    def _on_part_done(self, event: JSON) -> None:
        """A complete part, with its annotations."""
        part = event.get("part")
        kind = PARTS.get(as_text(part.get("type"))) if isinstance(part, dict) else None
        if kind is not None:
            n = as_index(event.get("summary_index" if kind == SUMMARY else "content_index"))
            self._output.add_part(self._item_of(kind, event), kind, max(0, n), event["part"])

    def _on_annotation(self, event: JSON) -> None:
        n = max(0, as_index(event.get("content_index")))
        self._output.add_citation(self._item_of(TEXT, event), n, event.get("annotation"))

    def _on_item_added(self, event: JSON) -> None:
        if isinstance(event.get("item"), dict):
            self._output.add_item(event["item"], event.get("output_index"))

    def _on_item_done(self, event: JSON) -> None:
        raw = event.get("item")
        if isinstance(raw, dict):
            self._output.close_item(self._output.add_item(raw, event.get("output_index")), raw)

    def _on_error(self, event: JSON) -> None:
        """An `error` event: flat (OpenAI), or with an `error` object."""
        self._fail(self._error_in(event) or self._error_event(event))

    # -- the response object -----------------------------------------------------------------------------------------

    def _read_response(self, event: JSON) -> JSON:
        """Return the response object of an event, {} if it has none. Its model and usage are kept."""
        response = event.get("response")
        if not isinstance(response, dict):
            return {}
        self._model = as_text(response.get("model")) or self._model
        if isinstance(response.get("usage"), dict):
            self._tally.see(response["usage"])
        return response

    def _on_begin(self, event: JSON) -> None:
        self._read_response(event)

    def _on_end(self, event: JSON) -> None:
        """A terminal event, `response.<name>`.

        The response's status counts, unless it is missing, or is one of OPEN_STATUSES while the event's name says more.
        `response.done` does not say how the reply ended."""
        name = as_text(event.get("type")).rpartition(".")[2]
        response = self._read_response(event)
        status = as_text(response.get("status"))
        use_name = not status or (name != "done" and status in OPEN_STATUSES)
        self._settle(response, name if use_name else status)

    def _settle(self, response: JSON, status: str) -> None:
        """End the reply as `status` says."""
        error = response.get("error")
        if status == "failed" or error:
            details = self._error_in({"error": error}) if error else None
            self._fail(details or reply_error("failed without saying why", self._peer, kind="api"))
            return
        if status in STATUS_FAULTS:
            self._fail_reply(STATUS_FAULTS[status])
            return
        self.is_finished = True
        self._reason = self._stop_reason(response, status)
        self._output.add_final(response, is_complete=self._reason == "end_turn")
        if self._output.budget.is_full:
            self._fail_reply(TOO_MUCH)

    def _stop_reason(self, response: JSON, status: str) -> str:
        """Return Anthropic's stop reason for a final response."""
        if status == "incomplete":
            details = response.get("incomplete_details")
            reason = as_text(details.get("reason")) if isinstance(details, dict) else ""
            return INCOMPLETE.get(reason, "max_tokens")
        return "max_tokens" if self._used_whole_limit() else "end_turn"

    def _used_whole_limit(self) -> bool:
        """Return whether the reply has as many tokens as were allowed, so that it was cut.

        llama.cpp calls such a reply `completed` (xllamacpp 2026.10, 2026-11)."""
        usage = self._tally.usage()
        return usage is not None and usage.output == self._limit > 0

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end(self) -> Outcome:
        output = self._output
        output.flush()
        if output.hosted_types:
            self._notes.append("hosted items without a block: " + ", ".join(dict.fromkeys(output.hosted_types)))
        if output.has_conflict:
            self._notes.append("the upstream's final text differs from what it streamed")
        outcome = self._outcome_of()
        if outcome.error is None:
            output.settle_names(was_cut(outcome.reason))
        outcome.model, outcome.notes, outcome.has_phases = self._model, self._notes, output.has_phases
        usage = self._tally.usage()
        outcome.output_estimate = estimate_tokens(output.chars)
        if usage is not None:
            usage.web_searches = output.searches.queries
            outcome.usage = usage
        return outcome

    def _outcome_of(self) -> Outcome:
        """Return how the reply ended, without its usage."""
        output = self._output
        if self._error is not None:
            return Outcome(error=self._error)
        if output.stop_sequence is not None:
            return Outcome("stop_sequence", stop_sequence=output.stop_sequence)
        fault = self._fault()
        if fault is not None:
            return Outcome(error=fault)
        reason = self._reason or "end_turn"
        if reason == "refusal" or (output.has_refusal and reason == "end_turn"):
            return Outcome("refusal", stop_details={"type": "refusal", "category": None, "explanation": None})
        return Outcome(reason)

    def _fault(self) -> ApiError | None:
        """Return what makes a reply without an error event fail all the same, None if nothing does."""
        output = self._output
        if not self._reason:
            fault = "closed the stream early" if output.has_output else "sent an empty reply"
            return reply_error(fault, self._peer)
        if output.has_nameless_call:
            return reply_error("sent a tool call without a name", self._peer, CHECK_TOOLS)
        return None

    def whole(self, value: JSON) -> None:
        """Read a response object."""
        response = value["response"] if isinstance(value.get("response"), dict) else value
        if not isinstance(response.get("output"), list) and not response.get("status") and not response.get("error"):
            error = self._error_in(value)
            self._fail(error or reply_error("sent a reply that is no response object", self._peer, "Check `api_base`."))
            return
        self._read_response({"response": response})
        self._settle(response, as_text(response.get("status")) or "completed")


def _deltas(kind: str, index: str) -> Callable[[ResponsesDecoder, JSON], None]:
    """Return a handler for pieces of parts of this kind. `index`: the event's field with the part's number."""
    return lambda decoder, event: decoder._add_delta(kind, index, event)


def _wholes(kind: str, index: str, field: str) -> Callable[[ResponsesDecoder, JSON], None]:
    """Return a handler for complete parts of this kind. `field`: the event's field with the text."""
    return lambda decoder, event: decoder._add_whole(kind, index, event.get(field), event)


_D = ResponsesDecoder
#: Event → handler. Others are ignored: progress of hosted tools, audio, logprobs, events that are newer than this
#: table.
_HANDLERS: dict[str, Callable[[ResponsesDecoder, JSON], None]] = {
    "response.output_text.delta": _D._on_text_delta,
    "response.output_text.done": _wholes(TEXT, "content_index", "text"),
    "response.refusal.delta": _deltas(REFUSAL, "content_index"),
    "response.refusal.done": _wholes(REFUSAL, "content_index", "refusal"),
    "response.reasoning_summary_text.delta": _deltas(SUMMARY, "summary_index"),
    "response.reasoning_summary_text.done": _wholes(SUMMARY, "summary_index", "text"),
    "response.reasoning_summary_part.done": _D._on_part_done,
    "response.reasoning_text.delta": _deltas(RAW, "content_index"),
    "response.reasoning_text.done": _wholes(RAW, "content_index", "text"),
    "response.reasoning_part.done": _D._on_part_done,  # only vLLM and Bedrock send it, 2026-08
    "response.content_part.done": _D._on_part_done,
    "response.function_call_arguments.delta": _deltas(ARGS, ""),
    "response.function_call_arguments.done": _wholes(ARGS, "", "arguments"),
    "response.custom_tool_call_input.delta": _deltas(INPUT, ""),
    "response.custom_tool_call_input.done": _wholes(INPUT, "", "input"),
    "response.output_text.annotation.added": _D._on_annotation,
    "response.output_item.added": _D._on_item_added,
    "response.output_item.done": _D._on_item_done,
    "response.created": _D._on_begin,
    "response.in_progress": _D._on_begin,
    "response.queued": _D._on_begin,
    "response.completed": _D._on_end,
    "response.done": _D._on_end,
    "response.incomplete": _D._on_end,
    "response.failed": _D._on_end,
    "response.cancelled": _D._on_end,
    "response.error": _D._on_error,
    "error": _D._on_error,
}
