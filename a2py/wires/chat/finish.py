"""How a chat-completions reply ended, in Anthropic's words.

Knows: the finish reasons of servers (rule B4). Must not know: whether a tool block was emitted (the sink decides on tool_use).
"""

from __future__ import annotations

from a2py.errors import ApiError
from a2py.messages.types import JSON, Outcome, Usage
from a2py.wires.failure import reply_error
from a2py.wires.refusal.peer import Peer

#: finish_reason → stop reason. Together and TGI say eos (2025-06), Z.ai sensitive (docs), old models function_call, watsonx time_limit and
#: Mistral model_length (docs, 2026-08), relays of Gemini its own words.
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
#: finish_reason → kind of the failure that it is. Gemini: `function_call_filter: MALFORMED_FUNCTION_CALL`, a call that it could not write
#: (2026-06: another attempt succeeds as a rule).
FAILED: dict[str, str] = {
    "error": "upstream",
    "network_error": "upstream",
    "abort": "upstream",
    "aborted": "upstream",
    "cancelled": "upstream",
    "function_call_filter": "upstream",
    "malformed_function_call": "upstream",
    "insufficient_system_resource": "overloaded",
}
#: OpenRouter says tool_calls for a call that the limit cut; the provider's own word tells (16 of 16 recordings, 2025-10).
CUT = frozenset({"length", "max_tokens", "max_output_tokens"})


def _plain(word: str) -> str:
    """Gemini: `content_filter: RECITATION` (2026-06)."""
    return word.partition(":")[0].strip().lower()


def failed(word: str, peer: Peer) -> ApiError | None:
    """The failure that a finish_reason tells."""
    kind = FAILED.get(_plain(word))
    return reply_error(f"stopped: {word[:80]}", peer, kind=kind) if kind else None


def promises_calls(word: str) -> bool:
    return REASONS.get(_plain(word)) == "tool_use"


def finish(word: str, native: str, stop: str | None, refused: bool, usage: Usage | None, model: str, notes: list[str]) -> Outcome:
    """`word`: finish_reason; `native`: OpenRouter's native_finish_reason; `stop`: the matched stop sequence where the upstream tells."""
    reason = REASONS.get(_plain(word))
    if reason is None:
        notes.append(f"unknown finish_reason {word[:40]!r}")
        reason = "end_turn"
    if native.lower() in CUT and reason in ("tool_use", "end_turn"):
        reason = "max_tokens"
    if refused and reason == "end_turn":
        reason = "refusal"
    details: JSON | None = None
    if reason == "refusal":
        details = {"type": "refusal", "category": None, "explanation": None}
    if stop is not None and reason == "end_turn":
        return Outcome("stop_sequence", usage, stop_sequence=stop, model=model, notes=notes)
    return Outcome(reason, usage, stop_details=details, model=model, notes=notes)
