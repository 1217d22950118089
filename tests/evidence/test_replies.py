"""What a reply shows: a forced tool and an output limit that were ignored, messages that have phases."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.errors import ApiError
from a2py.evidence.replies import NOTHING, Expectation, expectation_of, judge
from a2py.messages.types import Outcome, Prepared, Request, Usage
from a2py.quirks import Quirks

PLAIN = Quirks()


def outcome(
    reason: str = "end_turn", tools: tuple[str, ...] = (), output: int = 5, thinking: int = 0, **more: Any
) -> Outcome:
    return Outcome(
        reason, Usage(9, output, thinking=thinking), final_reason=reason, called_tools=frozenset(tools), **more
    )


@pytest.mark.parametrize(
    ("choice", "degraded", "expected"),
    [
        ({"type": "tool", "name": "look"}, (), Expectation("look", True, 7)),
        ({"type": "any"}, (), Expectation("", True, 7)),
        ({"type": "auto"}, (), Expectation("", False, 7)),
        (None, (), Expectation("", False, 7)),
        ({"type": "tool", "name": "look"}, ("tool_choice",), Expectation("", False, 7)),
    ],
)
def test_what_was_asked(choice: Any, degraded: tuple[str, ...], expected: Expectation) -> None:
    body = {"tool_choice": choice} if choice else {}
    assert (
        expectation_of(Request(body, "m", [], max_tokens=7), Prepared("u", {}, b"", False, degraded=degraded))
        == expected
    )


def test_a_forced_tool_that_was_called_shows_nothing() -> None:
    assert judge(Expectation("look", True), PLAIN, outcome("tool_use", ("look", "other"))) is NOTHING
    assert judge(Expectation("", True), PLAIN, outcome("tool_use", ("other",))) is NOTHING


@pytest.mark.parametrize("tools", [(), ("other",)])
def test_a_forced_tool_that_was_not_called(tools: tuple[str, ...]) -> None:
    finding = judge(Expectation("look", True), PLAIN, outcome("tool_use" if tools else "end_turn", tools))
    assert finding.changes == {"tool_choice_named": "only"} and "forced" in finding.note
    again = judge(Expectation("look", True), Quirks(tool_choice_named="only"), outcome("end_turn"))
    assert not again.changes and again.note


def test_any_tool_that_was_not_called() -> None:
    finding = judge(Expectation("", True), PLAIN, outcome())
    assert not finding.changes and "no tool" in finding.note


@pytest.mark.parametrize(
    ("field", "other"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
def test_a_limit_that_was_ignored(field: Any, other: str) -> None:
    finding = judge(Expectation(limit=100), Quirks(max_tokens_field=field), outcome(output=215))
    assert finding.changes == {"max_tokens_field": other} and field in finding.note


@pytest.mark.parametrize(
    ("limit", "output", "thinking"),
    [(100, 214, 0), (100, 100, 0), (0, 5000, 0), (100, 5000, 4900)],
    ids=["within the slack", "exact", "no limit", "thinking does not count"],
)
def test_a_limit_that_was_kept(limit: int, output: int, thinking: int) -> None:
    assert judge(Expectation(limit=limit), PLAIN, outcome(output=output, thinking=thinking)) is NOTHING


def test_a_reply_without_usage_shows_no_limit() -> None:
    assert judge(Expectation(limit=1), PLAIN, Outcome("end_turn", None)) is NOTHING


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "stop_sequence"])
def test_a_reply_that_was_cut_shows_nothing(reason: str) -> None:
    assert judge(Expectation("look", True, 1), PLAIN, outcome(reason, output=999)) is NOTHING


def test_a_reply_that_failed_shows_nothing() -> None:
    assert judge(Expectation("look", True), PLAIN, outcome(error=ApiError("upstream", "x"))) is NOTHING


def test_messages_that_have_phases() -> None:
    verdict = judge(Expectation(), PLAIN, outcome(has_phases=True))
    assert verdict.changes == {"phases": "all"} and verdict.note
    for quirks in (Quirks(phases="all"), Quirks(phases="none")):  # known, or refused
        assert judge(Expectation(), quirks, outcome(has_phases=True)) is NOTHING
