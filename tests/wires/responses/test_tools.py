"""Tools of a Responses request: corners that no golden shows."""

from __future__ import annotations

from typing import Any

import orjson

from a2py.messages.types import JSON
from a2py.wires import wire
from tests import golden


def prepare(body: JSON, config: JSON | None = None) -> Any:
    config = config or {"wire": "responses"}
    to = golden.deployment(config)
    call = golden.call({"model": "claude-test", "max_tokens": 100, **body}, config)
    return wire("responses").prepare(call, to, call.request.stream)


def user(*content: JSON | str) -> JSON:
    return {"role": "user", "content": [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]}


def test_a_forced_tool_that_was_lost_is_told() -> None:
    upstream_request = prepare(
        {
            "messages": [user("Hi")],
            "tools": [{"type": "code_execution_20250825", "name": "x"}],
            "tool_choice": {"type": "any"},
        }
    )
    assert "tool_choice" in upstream_request.degraded and "tools" not in orjson.loads(upstream_request.body)
