"""Tools of a native request: what an upstream without Anthropic's own tools gets."""

from __future__ import annotations

import orjson
import pytest

from a2py.messages.types import JSON
from a2py.quirks import Quirks
from a2py.wires.common.tools import PLACEHOLDER
from tests.wires.native.test_request import deployment, prepare


@pytest.mark.parametrize(("kind", "is_reported"), [("auto", False), ("none", False), ("any", True)])
def test_a_choice_among_lost_tools_is_dropped_and_reported_if_it_forced_one(kind: str, is_reported: bool) -> None:
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
        "tool_choice": {"type": kind},
    }
    upstream_request = prepare(body, deployment(quirks=Quirks(native_drop=frozenset({"tools.web_search"}))))
    assert b"tool_choice" not in upstream_request.body and ("tool_choice" in upstream_request.degraded) is is_reported


def test_the_placeholder_of_deferred_tools_is_no_tool() -> None:
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "bash_20250124", "name": name} for name in (PLACEHOLDER, "bash")],
    }
    upstream_request = prepare(body, deployment(quirks=Quirks(native_drop=frozenset({"tools.typed"}))))
    assert [tool["name"] for tool in orjson.loads(upstream_request.body)["tools"]] == ["bash"]


@pytest.mark.parametrize(
    ("quirks", "thinking", "expected"),
    [
        (Quirks(), {"type": "enabled", "budget_tokens": 1024}, {"type": "enabled", "budget_tokens": 1024}),
        (Quirks(tool_choice_thinking=False), {"type": "disabled"}, {"type": "disabled"}),
        (Quirks(tool_choice_thinking=False), {"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}),
    ],
)
def test_thinking_stays_as_it_is_unless_the_upstream_rejects_it_beside_a_forced_tool(
    quirks: Quirks, thinking: JSON, expected: JSON
) -> None:
    body = {
        "model": "m",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any"},
        "thinking": thinking,
    }
    upstream_request = prepare(body, deployment(quirks=quirks))
    upstream = orjson.loads(upstream_request.body)
    assert upstream["tool_choice"] == {"type": "any"} and upstream["thinking"] == expected
    assert ("thinking" in upstream_request.degraded) is (expected != thinking)
