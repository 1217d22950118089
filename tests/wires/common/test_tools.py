"""The tools of a request: what is one, and how a conversation changes them."""

from __future__ import annotations

import pytest

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call, Request
from a2py.slices import at_once
from a2py.wires.common.draft import Draft
from a2py.wires.common.tools import ToolList, as_function
from a2py.wires.openai.tools import select_tools


def draft(messages: list[JSON], tools: list[JSON]) -> Draft:
    return Draft(
        Call(Request({}, "m", messages, tools=tools), "msg_1", 0.0), Deployment("n", "i", "custom", "m", "http://x")
    )


def test_a_tool_that_is_none() -> None:
    assert as_function({"type": "bash_20250124"}) is not None
    assert as_function({"type": "custom"}) is None
    assert at_once(select_tools(draft([], [{"type": "custom"}]), False)) == ([], None)


@pytest.mark.parametrize(
    ("changes", "rest", "is_changed"),
    [
        ([], ["a1", "b1", "", "a2"], False),
        ([("tool_removal", {"name": "a"})], ["b1", ""], True),
        ([("tool_removal", {"name": "never"})], ["a1", "b1", "", "a2"], False),
        ([("tool_addition", {"definition": {"name": "a", "n": "a3"}})], ["b1", "", "a3"], True),
        ([("tool_removal", {"name": "b"}), ("tool_addition", {"name": "b"})], ["a1", "", "a2", "b1"], True),
        ([("tool_addition", {"name": "b"})], ["a1", "b1", "", "a2"], False),
        (
            [("tool_addition", {"definition": {"name": "c", "n": "c1"}}), ("tool_removal", {"tool_name": "c"})],
            ["a1", "b1", "", "a2"],
            True,
        ),
        (
            [("tool_addition", {"definition": {"n": "nameless"}}), ("other", {"name": "a"})],
            ["a1", "b1", "", "a2"],
            False,
        ),
    ],
)
def test_a_tool_list_and_its_changes(changes: list[tuple[str, JSON]], rest: list[str], is_changed: bool) -> None:
    tools = ToolList([{"name": "a", "n": "a1"}, {"name": "b", "n": "b1"}, {"n": ""}, {"name": "a", "n": "a2"}])
    for kind, change in changes:
        tools.change({"type": kind, "tool": change})
    assert ([tool["n"] for tool in tools.current()], tools.is_changed) == (rest, is_changed)
