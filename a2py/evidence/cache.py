"""Whether an upstream's prompt cache still held a conversation, and why it did not.

Knows: what a turn was, and how much of its prompt was cached. Must not know: clocks, sessions, where turns are kept.
Invariants: a conversation's first turn loses nothing; a turn that only adds to the prompt loses nothing, however small
the cached share becomes by it.
"""

from __future__ import annotations

from typing import NamedTuple

#: Seconds for which vendors usually keep a cache (Anthropic: 5 minutes, or an hour for marks with `ttl: 1h`,
#: docs.claude.com, prompt caching, 2026-10).
SHORT_LIFE, LONG_LIFE = 300.0, 3600.0
#: The part of what was cached before that must still be cached.
LEAST_SHARE = 0.9


class Turn(NamedTuple):
    """One turn of a conversation. `number`: 1 is the first; `deployment`: its id; `end`: seconds of a clock; `system`,
    `tools`, `first`: numbers of a fingerprint; `messages`: how many the history has, and `history`: their number;
    `cached`: tokens that the upstream's cache held or took."""

    number: int
    deployment: str
    end: float
    system: int
    tools: int
    first: int
    messages: int
    history: int
    cached: int


def list_losses(before: Turn, now: Turn, prefix: int, cached: int, age: float) -> tuple[str, ...]:
    """Return why the cache lost the conversation between two of its turns; () if it did not lose it.

    `prefix`: the number of the present history's first `before.messages` messages; `cached`: tokens of the present
    prompt that were cached; `age`: seconds from the end of the turn before to this request."""
    if cached >= before.cached * LEAST_SHARE:
        return ()
    reasons = []
    if before.deployment != now.deployment:
        reasons.append("another deployment")
    if before.system != now.system:
        reasons.append("the system prompt changed")
    if before.tools != now.tools:
        reasons.append("the tool list changed")
    if now.messages < before.messages or prefix != before.history:
        reasons.append("the history changed")
    if age >= LONG_LIFE:
        reasons.append("older than an hour")
    elif age >= SHORT_LIFE:
        reasons.append("older than 5 minutes")
    return tuple(reasons) or ("the upstream dropped it",)
