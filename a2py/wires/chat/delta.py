"""The fields of a chat-completions delta: one table for the decoder, the fast path and the history.

Knows: what each field holds. Must not know: how a value is read (stream.py, pieces.py, calls.py), sinks.
Invariants: the decoder reads no field that is not in DELTA. The fast path takes a delta only if it has one string and
no other value but labels, so that it never skips a field which the decoder may read.
"""

from __future__ import annotations

#: What a field holds. The first three are also the keys of the sink's runs.
TEXT, REASONING, REFUSAL = "text", "reasoning", "refusal"
CALLS, LEGACY_CALL = "calls", "legacy call"
#: DETAILS: OpenRouter's pieces of reasoning with their signatures. STATE: a string that goes back in the same field of
#: the next request. EXTRA: Google's object with a thought signature.
DETAILS, STATE, EXTRA = "details", "state", "extra"
#: LABEL: a word that is no part of the reply and is ignored.
LABEL = "label"

#: Field of a delta → what it holds. Where several fields hold reasoning, the first one with a value counts.
DELTA: dict[str, str] = {
    "content": TEXT,
    "reasoning_content": REASONING,
    "reasoning": REASONING,
    "reasoning_text": REASONING,  # Copilot, 2025-11
    "reasoning_details": DETAILS,
    "reasoning_opaque": STATE,  # Copilot, 2025-11
    "reasoning_encrypted": STATE,  # Venice, 2026-08
    "extra_content": EXTRA,  # Gemini, 2025-06
    "tool_calls": CALLS,
    "function_call": LEGACY_CALL,
    "refusal": REFUSAL,
    "role": LABEL,
    "name": LABEL,  # MiniMax, Hugging Face: who speaks (2025-08)
    "channel": LABEL,  # Groq: `analysis` beside `reasoning` (gpt-oss, 2025-08)
}


def fields_of(*kinds: str) -> tuple[str, ...]:
    """Return the fields that hold one of `kinds`, in the order of the table."""
    return tuple(name for name, kind in DELTA.items() if kind in kinds)
