"""Choices besides the first (more in goldens/repairs.md)."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.wires.chat import calls
from a2py.wires.chat.choices import OtherChoices, first_choice

CALL: dict[str, Any] = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}


def read(*chunks: list[Any]) -> list[Any]:
    others = OtherChoices()
    for choices in chunks:
        others.add(choices, first_choice(choices))
    return others.read_calls()


def test_calls_come_in_the_order_of_their_choices() -> None:
    one, two = {"function_call": {"name": "1"}}, {"function_call": {"name": "2"}}
    assert read([{"index": 2, "delta": two}], [{"index": 1, "delta": one}], [{"index": 1, "delta": one}]) == [
        one,
        one,
        two,
    ]


def test_a_choice_without_index_has_its_place() -> None:
    assert read([{"delta": {"content": "x"}}, {"message": {**CALL, "content": ""}}]) == [CALL]
    assert read([{"delta": {"content": "x"}}, {"index": "1", "delta": CALL}, {"index": True, "delta": CALL}]) == [
        CALL,
        CALL,
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"delta": {**CALL, "content": "other"}},
        {"delta": {**CALL, "refusal": "no"}},
        {"delta": CALL, "text": "other"},
        {"delta": CALL, "finish_reason": "length"},
        {"delta": CALL, "finish_reason": 5},
        {"delta": 5, "message": [CALL]},
        {"delta": {"tool_calls": []}},
        5,
    ],
)
def test_other_answers_cut_calls_and_nonsense_are_left(other: Any) -> None:
    assert read([{"delta": {}}, other]) == []


def test_too_much_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "KEPT_LIMIT", 10_000)
    others = OtherChoices()
    for n in range(10_000):
        others.add([{"index": n + 1, "delta": CALL}], None)
    assert others.size < 20_000
    assert others.read_calls() == []
