"""Tools of the two OpenAI wires: which of them a conversation leaves in force."""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call, Request
from a2py.slices import ITEMS, at_once
from a2py.wires.common.draft import Draft
from a2py.wires.openai.tools import current_tools


def draft(messages: list[JSON], tools: list[JSON]) -> Draft:
    return Draft(
        Call(Request({}, "m", messages, tools=tools), "msg_1", 0.0), Deployment("n", "i", "custom", "m", "http://x")
    )


def test_a_server_tool_as_the_definition_of_an_addition_and_nonsense() -> None:
    messages: list[JSON] = [
        {"role": "system", "content": "text"},
        {
            "role": "system",
            "content": [
                {"type": "tool_addition", "tool": "junk"},
                {"type": "tool_addition", "tool": {"name": 5}},
                {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "a"}},
                {"type": "tool_removal", "tool": {"tool_name": "b"}},
            ],
        },
    ]
    tools = [{"name": "a", "input_schema": {}}, {"name": "b", "input_schema": {}}]
    assert at_once(current_tools(draft(messages, tools))) == tools[:1]


def test_changes_of_tools_are_read_in_slices() -> None:
    changes: list[JSON] = [
        {"role": "system", "content": [{"type": "tool_removal", "tool": {"tool_name": "a"}}]}
    ] * ITEMS
    work = current_tools(draft(changes, [{"name": "a"}, {"name": "b"}]))
    assert sum(1 for _ in work) == 3 and at_once(current_tools(draft(changes, [{"name": "a"}, {"name": "b"}]))) == [
        {"name": "b"}
    ]
