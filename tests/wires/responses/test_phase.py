"""Phases of the assistant's messages: carried by signatures, or added by position."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.messages import signatures
from a2py.messages.types import JSON
from a2py.wires.responses.item import PHASE_LIMIT
from a2py.wires.responses.phase import TurnPhases, add_by_position, make_state
from tests.wires.responses.test_reasoning import ORIGIN, assistant, body_of, prepare, text_block, thinking, user
from tests.wires.responses.test_stream import DONE, item, message_of

OTHER = "responses:custom:other-model"
ALL: JSON = {"wire": "responses", "quirks": {"phases": "all"}}
CALL: JSON = {"type": "tool_use", "id": "call_1", "name": "ls", "input": {}}
RESULT: JSON = {"type": "tool_result", "tool_use_id": "call_1", "content": "a"}


def phase(name: Any, *, is_behind: bool = False, origin: str = ORIGIN) -> JSON:
    return thinking(signatures.make("responses", origin, make_state(name, is_behind=is_behind)), "")


def phases(*content: JSON, config: JSON | None = None) -> list[Any]:
    """Phases of the messages of one turn with this content, which a user's turn follows."""
    body = body_of({"messages": [user("Hi"), assistant(*content), user(RESULT, "Go")]}, config)
    return [one.get("phase") for one in body["input"] if one.get("role") == "assistant"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([phase("commentary"), text_block("a"), CALL], ["commentary"]),
        ([phase("later_word"), text_block("a"), CALL], ["later_word"]),
        ([text_block("a"), phase("commentary", is_behind=True), CALL], ["commentary"]),
        ([text_block("a"), CALL, phase("commentary", is_behind=True)], ["commentary"]),
        ([phase("commentary"), text_block("a"), text_block("b"), CALL], ["commentary"]),
        (
            [phase("commentary"), text_block("a"), phase("final_answer"), text_block("b")],
            ["commentary", "final_answer"],
        ),
        ([phase("commentary"), text_block("a"), phase(""), text_block("b")], ["commentary", None]),
        ([text_block("a"), phase("commentary", is_behind=True), phase(""), text_block("b")], ["commentary", None]),
        ([phase("commentary"), phase("final_answer"), text_block("a")], ["final_answer"]),
        # the text did not come, or the client left it out
        ([phase("commentary"), CALL, text_block("a")], [None]),
        ([phase("commentary"), text_block(" "), CALL], []),
        ([phase("commentary", is_behind=True), text_block("a")], [None]),
        # not this model's, or forged
        ([phase("commentary", origin=OTHER), text_block("a"), CALL], [None]),
        ([phase("commentary", origin="chat:custom:test-model"), text_block("a"), CALL], [None]),
        ([phase(7), text_block("a")], [None]),
        ([phase("x" * (PHASE_LIMIT + 1)), text_block("a")], [None]),
        ([phase(None, is_behind=True), text_block("a")], [None]),
    ],
)
def test_a_phase_goes_back_to_its_message(content: list[JSON], expected: list[Any]) -> None:
    assert phases(*content) == expected


def test_the_same_model_with_another_key_gets_its_phase() -> None:
    """A phase belongs to no account, unlike encrypted reasoning."""
    assert phases(phase("commentary", origin=f"{ORIGIN}@12345678"), text_block("a"), CALL) == ["commentary"]


def test_refused_phases_stay_out() -> None:
    config: JSON = {"wire": "responses", "quirks": {"phases": "none"}}
    assert phases(phase("commentary"), text_block("a"), CALL, config=config) == [None]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([text_block("a"), CALL], ["commentary"]),
        ([text_block("a")], ["final_answer"]),
        ([CALL, text_block("a")], ["final_answer"]),
        ([phase("final_answer"), text_block("a"), CALL], ["final_answer"]),
        ([phase("commentary"), text_block("a"), phase(""), text_block("b"), CALL], ["commentary", "commentary"]),
    ],
)
def test_a_phase_by_position(content: list[JSON], expected: list[str]) -> None:
    assert phases(*content, config=ALL) == expected


def test_a_prefill_gets_no_phase() -> None:
    body = body_of({"messages": [user("Hi"), assistant(text_block("So"))]}, ALL)
    assert "phase" not in body["input"][-1]


def test_only_a_request_with_phases_may_blame_them() -> None:
    assert "phase" not in prepare({"messages": [user("Hi"), assistant(text_block("a")), user("Go")]}).added_fields
    assert "phase" not in prepare({"messages": [user("Hi")]}, ALL).added_fields
    for content, config in (([phase("commentary"), text_block("a")], None), ([text_block("a")], ALL)):
        assert "phase" in prepare({"messages": [user("Hi"), assistant(*content), user("Go")]}, config).added_fields


def test_reasoning_before_a_call_is_skipped() -> None:
    items: list[JSON] = [
        {"type": "message", "role": "assistant"},
        {"type": "reasoning"},
        {"type": "function_call"},
        {"type": "message", "role": "user"},
    ]
    assert add_by_position(items) and items[0]["phase"] == "commentary"
    assert not add_by_position(items)


def test_a_phase_without_a_message_is_dropped() -> None:
    turn: list[JSON] = [{"type": "function_call"}]
    of_turn = TurnPhases(turn)
    of_turn.read(make_state("commentary", is_behind=True))
    assert turn == [{"type": "function_call"}] and not of_turn.has_phases and not of_turn.begins_message


# -- of a reply --------------------------------------------------------------------------------------------------------


def message_item(phase: Any, text: str = "a", **more: Any) -> JSON:
    content = [{"type": "output_text", "text": text}] if text else []
    return {"type": "message", "id": "m", "content": content, "phase": phase, **more}


def item_start(raw: JSON) -> JSON:
    return {"type": "response.output_item.added", "output_index": 0, "item": {**raw, "content": []}}


def states(*events: JSON) -> list[JSON]:
    """States of the signatures of a reply."""
    content = message_of(*events, DONE)["content"]
    read = [signatures.read(block["signature"]) for block in content if block["type"] == "thinking"]
    return [one.state for one in read if one is not None]


@pytest.mark.parametrize("name", [None, "", 7, ["commentary"], "x" * (PHASE_LIMIT + 1)])
def test_what_is_no_phase_is_not_carried(name: Any) -> None:
    raw = message_item(name)
    assert states(item_start(raw), item(raw)) == []


def test_the_first_phase_counts() -> None:
    assert states(item_start(message_item("commentary")), item(message_item("final_answer"))) == [
        {"phase": "commentary"}
    ]


def test_a_message_without_text_has_no_phase_to_carry() -> None:
    raw = message_item("commentary", "")
    assert states(item_start(raw), item(raw)) == []


def test_a_refusal_has_its_phase() -> None:
    raw = message_item("final_answer", "", content=[{"type": "refusal", "refusal": "No."}])
    assert states(item_start(raw), item(raw)) == [{"phase": "final_answer"}]
