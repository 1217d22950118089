"""What a request builder remembers is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.types import JSON, Call, Request
from a2py.wires.common.draft import Draft, make_prepared


def draft(messages: list[JSON], tools: list[JSON]) -> Draft:
    return Draft(
        Call(Request({}, "m", messages, tools=tools), "msg_1", 0.0), Deployment("n", "i", "custom", "m", "http://x")
    )


def test_lost_names_are_bounded() -> None:
    losing = draft([], [])
    for n in range(99):
        losing.lose(f"{n}" * 200)
    assert len(losing.degraded) == 50 and max(map(len, losing.degraded)) == 100


def test_a_request_that_nests_too_deep_is_refused() -> None:
    """What is below 200 levels went upstream as null."""
    value: Any = 1
    for _ in range(300):
        value = [value]
    deep = draft([], [])
    deep.body["tools"] = [{"function": {"name": "f", "parameters": {"x": value}}}]
    with pytest.raises(ApiError, match="The request nests too deep to be translated: more than 200 levels") as excinfo:
        make_prepared(deep, "http://x", {})
    assert excinfo.value.status == 400
