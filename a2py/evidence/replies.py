"""What a reply shows of its server: a forced tool or an output limit that it ignored, and messages that have phases.

Servers that do not know a field ignore it without a word (llama.cpp the object form of `tool_choice`, an old vLLM
`max_completion_tokens`). The request succeeds, and means something else. What can be said in another way is said so in
the next request; the rest is noted in the log.

Knows: what was asked, and how the reply ended. Must not know: how a fact is kept (proxy/lessons.py).
Invariants: a reply that was cut, or that failed, shows nothing; a quirk is changed only if another value may help.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from a2py.messages.types import Outcome, Prepared, Request
from a2py.quirks import OTHER_LIMIT_NAME, Quirks

#: Output tokens by which a reply may exceed its limit before the limit counts as ignored: servers count reasoning and
#: template tokens differently.
SLACK_FACTOR, SLACK_TOKENS = 1.5, 64
#: Stop reasons of a reply that ended as the model wanted.
NORMAL_REASONS = frozenset(("end_turn", "tool_use"))


class Expectation(NamedTuple):
    """What a request asked for. `tool`: name of the tool that must be called; `is_forced`: some tool must be called;
    `limit`: output tokens."""

    tool: str = ""
    is_forced: bool = False
    limit: int = 0


class Finding(NamedTuple):
    """`changes`: quirk → value for the next requests; `note`: what the reply shows, "" for nothing."""

    changes: dict[str, Any] = {}
    note: str = ""


NOTHING = Finding()


def expectation_of(request: Request, prepared: Prepared) -> Expectation:
    """Return what `request` asks for, as far as it was not left out of `prepared`. Call it before the request's body is
    dropped."""
    choice = request.body.get("tool_choice")
    if not isinstance(choice, dict) or "tool_choice" in prepared.degraded:
        choice = {}
    kind = choice.get("type")
    name = str(choice.get("name", "")) if kind == "tool" else ""
    return Expectation(name, kind in ("tool", "any"), request.max_tokens)


def judge(expectation: Expectation, quirks: Quirks, outcome: Outcome) -> Finding:
    """Return what a reply that was read to its end shows."""
    if outcome.error is not None or (outcome.final_reason or outcome.reason) not in NORMAL_REASONS:
        return NOTHING
    if expectation.tool and expectation.tool not in outcome.called_tools:
        changes = {"tool_choice_named": "only"} if quirks.tool_choice_named == "object" else {}
        return Finding(changes, "the reply did not call the tool that was forced")
    if expectation.is_forced and not outcome.called_tools:
        return Finding(note="the reply called no tool, although one was forced")
    output = outcome.usage.output - outcome.usage.thinking if outcome.usage is not None else 0
    if (
        quirks.max_tokens_field
        and 0 < expectation.limit < output
        and output > expectation.limit * SLACK_FACTOR + SLACK_TOKENS
    ):
        other = OTHER_LIMIT_NAME[quirks.max_tokens_field]
        return Finding(
            {"max_tokens_field": other}, f"the reply exceeded its limit: `{quirks.max_tokens_field}` is ignored"
        )
    if outcome.has_phases and quirks.phases == "reply":
        return Finding({"phases": "all"}, "its messages have phases")
    return NOTHING
