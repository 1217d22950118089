"""Calls and results of an interrupted conversation."""

from __future__ import annotations

import pytest

from a2py.messages.types import JSON
from a2py.wires.common.text import NO_RESULT
from a2py.wires.native.pairs import pair_calls


def use(id: str) -> JSON:
    return {"type": "tool_use", "id": id, "name": "f", "input": {}}


def result(id: str, text: str = "1") -> JSON:
    return {"type": "tool_result", "tool_use_id": id, "content": text}


def missing(id: str) -> JSON:
    return {"type": "tool_result", "tool_use_id": id, "content": NO_RESULT, "is_error": True}


def result_text(text: str) -> JSON:
    return {"type": "text", "text": f"[result of an earlier tool call]\n{text}"}


def assistant(*content: JSON) -> JSON:
    return {"role": "assistant", "content": list(content)}


def user(*content: JSON) -> JSON:
    return {"role": "user", "content": list(content)}


GO: JSON = {"type": "text", "text": "Go"}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user(GO), assistant(use("a"))], [user(GO), assistant(use("a")), user(missing("a"))]),
        (
            [assistant(use("a")), assistant(use("b")), user(result("b"))],
            [assistant(use("a")), user(missing("a")), assistant(use("b")), user(result("b"))],
        ),
        (
            [assistant(use("a"), use("b")), user(GO, result("b"))],
            [assistant(use("a"), use("b")), user(missing("a"), result("b"), GO)],
        ),
        ([assistant(GO), user(result("a"), GO)], [assistant(GO), user(result_text("1"), GO)]),
        (
            [assistant(use("a")), user(result("a"), result("a", "2"))],
            [assistant(use("a")), user(result("a"), result_text("2"))],
        ),
        (
            [assistant(use("a")), {"role": "user", "content": "Go"}],
            [assistant(use("a")), user(missing("a"), GO)],
        ),
        ([{"role": "user", "content": "Go"}, assistant(GO)], [{"role": "user", "content": "Go"}, assistant(GO)]),
        (
            [assistant(use("a")), {"role": "system", "content": "x"}, user(result("a"))],
            [assistant(use("a")), {"role": "system", "content": "x"}, user(result("a"))],
        ),
    ],
)
def test_each_call_gets_one_result_and_no_text_is_lost(messages: list[JSON], expected: list[JSON]) -> None:
    body: JSON = {"messages": messages}
    pair_calls(body)
    assert body["messages"] == expected
