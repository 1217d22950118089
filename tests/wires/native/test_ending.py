"""The end of an Anthropic reply, merged from message_start and any number of message_delta events."""

from __future__ import annotations

import orjson
import pytest

from a2py.messages.types import JSON
from a2py.wires.native import ending as endings
from a2py.wires.native.ending import Ending


def add_events(*events: JSON) -> Ending:
    ending = Ending()
    for event in events:
        assert ending.add(event, orjson.dumps(event))
    return ending


def test_events_are_merged_and_usage_goes_on_from_the_start() -> None:
    ending = Ending()
    ending.start_usage = {"input_tokens": 7, "output_tokens": 1}
    assert ending.delta == {}
    for event in ({"delta": {"stop_reason": "max_tokens"}}, {"usage": {"output_tokens": 5}}):
        assert ending.add(event, b"")
    assert ending.delta["stop_reason"] == "max_tokens"
    assert (ending.usage.input, ending.usage.output) == (7, 5)


@pytest.mark.parametrize(
    ("events", "has_call", "reason"),
    [
        ((), False, "end_turn"),
        ((), True, "tool_use"),
        (({"delta": {"stop_reason": None}},), True, "tool_use"),
        (({"delta": {"stop_reason": 5}},), False, "end_turn"),
        (({"delta": {"stop_reason": "pause_turn"}},), True, "pause_turn"),
    ],
)
def test_a_missing_stop_reason_is_added(events: tuple[JSON, ...], has_call: bool, reason: str) -> None:
    ending = add_events(*events)
    ending.complete(has_call)
    assert ending.delta["stop_reason"] == reason


def test_only_the_merged_event_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "ENDING_LIMIT", 20_000)
    event: JSON = {"delta": {"stop_reason": "end_turn", "x": "y" * 4000}}
    add_events(*[event] * 50)
    ending = Ending()
    results = [ending.add({"delta": {f"x{n}": "y" * 4000}}, b"") for n in range(20)]
    assert results[0] and not all(results), "each event adds a field of its own"
