"""What a request builder remembers is bounded."""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call, Request
from a2py.wires.common.draft import Draft


def draft(messages: list[JSON], tools: list[JSON]) -> Draft:
    return Draft(
        Call(Request({}, "m", messages, tools=tools), "msg_1", 0.0), Deployment("n", "i", "custom", "m", "http://x")
    )


def test_lost_names_are_bounded() -> None:
    losing = draft([], [])
    for n in range(99):
        losing.lose(f"{n}" * 200)
    assert len(losing.degraded) == 50 and max(map(len, losing.degraded)) == 100
