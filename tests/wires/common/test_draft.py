"""What a request builder remembers is bounded."""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call, Request
from a2py.wires.common.draft import Draft
from a2py.wires.common.text import block_text


def draft(messages: list[JSON], tools: list[JSON]) -> Draft:
    return Draft(Call(Request({}, "m", messages, tools=tools), "msg_1", 0.0), Deployment("n", "i", "custom", "m", "http://x"))


def test_lost_names_and_unchecked_results_are_bounded() -> None:
    losing = draft([], [])
    for n in range(99):
        losing.lose(f"{n}" * 200)
    assert len(losing.degraded) == 50 and max(map(len, losing.degraded)) == 100
    nest: JSON = {"data": 1}
    for _ in range(99):
        nest = {"x": nest}
    assert block_text({"type": "later_tool_result", "content": nest}).count("x") == 32
