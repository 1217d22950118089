"""How a chat-completions reply ended: the stop reason in Anthropic's words, or the failure.

Knows: the finish reasons of servers (rule B4), and which endings mean that a part of the reply is missing.
Must not know: whether a tool block was written (the sink decides on `tool_use`), what a delta holds.
Invariants: a reply succeeds only if the upstream gave a finish_reason, or content and then [DONE].
"""

from __future__ import annotations

from a2py.errors import ApiError
from a2py.messages.types import JSON, Outcome, Usage
from a2py.wires.chat.calls import Calls
from a2py.wires.failure import CHECK_TOOLS, reply_error
from a2py.wires.refusal.peer import Peer

#: finish_reason → stop reason. Together and TGI send eos (2025-06), Z.ai sensitive (docs), old models function_call,
#: watsonx time_limit and Mistral model_length (docs, 2026-08). Relays of Gemini send its own words.
REASONS: dict[str, str] = {
    "": "end_turn",
    "stop": "end_turn",
    "eos": "end_turn",
    "eos_token": "end_turn",
    "end_turn": "end_turn",
    "stop_sequence": "end_turn",
    "complete": "end_turn",
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "time_limit": "max_tokens",
    "tool_calls": "tool_use",
    "tool_use": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
    "sensitive": "refusal",
    "refusal": "refusal",
    "safety": "refusal",
    "recitation": "refusal",
    "blocklist": "refusal",
    "prohibited_content": "refusal",
    "spii": "refusal",
    "model_context_window_exceeded": "model_context_window_exceeded",
    "model_length": "model_context_window_exceeded",
}
#: finish_reason → kind of the error that it means. Gemini's `function_call_filter: MALFORMED_FUNCTION_CALL` is a call
#: that the model could not write (2026-06: another attempt usually succeeds).
FAILURES: dict[str, str] = {
    "error": "upstream",
    "network_error": "upstream",
    "abort": "upstream",
    "aborted": "upstream",
    "cancelled": "upstream",
    "function_call_filter": "upstream",
    "malformed_function_call": "upstream",
    "insufficient_system_resource": "overloaded",
}
#: OpenRouter sends finish_reason tool_calls for a call that the output limit cut. Its native_finish_reason is then one
#: of these (16 of 16 recordings, 2025-10).
CUT_WORDS = frozenset({"length", "max_tokens", "max_output_tokens"})
#: Fields of a choice that may hold the matched stop sequence: vLLM (2025-08), SGLang (2025-09). A number is a token's,
#: and a word may be one of the chat template, so a value counts only if it is a stop sequence of the request.
STOP_FIELDS = ("stop_reason", "matched_stop")


def _normalize(word: str) -> str:
    """Return a finish_reason as the tables have it. Gemini appends the cause: `content_filter: RECITATION`
    (2026-06)."""
    return word.partition(":")[0].strip().lower()


def is_tool_use(word: str) -> bool:
    """Return whether a finish_reason says that the reply calls a tool."""
    return REASONS.get(_normalize(word)) == "tool_use"


class Ending:
    """What decides how a reply ended: the upstream's words for it.

    `word`: finish_reason. `native_word`: OpenRouter's native_finish_reason. `stop_sequence`: the one that the upstream
    says it matched. `is_done`: [DONE] came, or the reply is one JSON body."""

    __slots__ = (
        "_peer",
        "_stops",
        "is_done",
        "native_word",
        "stop_sequence",
        "word",
    )

    def __init__(self, stops: tuple[str, ...], peer: Peer) -> None:
        self._stops = stops  # of the request
        self._peer = peer  # the upstream, for errors
        self.word = ""
        self.native_word = ""
        self.stop_sequence: str | None = None
        self.is_done = False

    def read(self, choice: JSON, word: str) -> None:
        """Read the fields of a choice whose finish_reason is `word`."""
        self.word = self.word or word
        native_word = choice.get("native_finish_reason")
        if isinstance(native_word, str):
            self.native_word = native_word
        for name in STOP_FIELDS:
            stop = choice.get(name)
            if stop in self._stops:
                self.stop_sequence = stop

    @property
    def expects_calls(self) -> bool:
        """Whether the reply ended properly, and its word for the end does not rule out that it calls tools."""
        if not self.word:
            return self.is_done
        return is_tool_use(self.word) and self.native_word.lower() not in CUT_WORDS

    def error(self, has_content: bool, calls: Calls) -> ApiError | None:
        """Return the error of a reply that failed without an error event; None if the reply is whole."""
        if calls.has_nameless:
            return reply_error("sent a tool call without a name", self._peer, CHECK_TOOLS)
        if self.word or (self.is_done and has_content):
            kind = FAILURES.get(_normalize(self.word))
            return reply_error(f"stopped: {self.word[:80]}", self._peer, kind=kind) if kind else None
        if has_content:
            return reply_error("closed the stream early", self._peer)
        return reply_error("sent an empty reply", self._peer)

    def outcome(self, is_refusal: bool, usage: Usage | None, model: str, notes: list[str]) -> Outcome:
        """Return the outcome of a whole reply. `is_refusal`: a part of it was marked as a refusal."""
        reason = REASONS.get(_normalize(self.word))
        if reason is None:
            notes.append(f"unknown finish_reason {self.word[:40]!r}")
            reason = "end_turn"
        if self.native_word.lower() in CUT_WORDS and reason in ("tool_use", "end_turn"):
            reason = "max_tokens"
        if is_refusal and reason == "end_turn":
            reason = "refusal"
        details: JSON | None = None
        if reason == "refusal":
            details = {"type": "refusal", "category": None, "explanation": None}
        if self.stop_sequence is not None and reason == "end_turn":
            return Outcome("stop_sequence", usage, stop_sequence=self.stop_sequence, model=model, notes=notes)
        return Outcome(reason, usage, stop_details=details, model=model, notes=notes)
