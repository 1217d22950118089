"""Tools and the web search of a chat request: corners that no golden shows."""

from __future__ import annotations

import pytest

from a2py.messages.types import JSON
from a2py.wires import wire
from tests import golden

CHAT = wire("chat")
OPENROUTER: JSON = {"provider": "openrouter", "model": "z-ai/glm-5.2"}
SEARCH: JSON = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    ("messages", "question"),
    [
        ([{"role": "user", "content": "Why?"}], "Why?"),
        ([{"role": "user", "content": "Why?"}, {"role": "system", "content": "So"}], "Why?"),
        ([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "1"}]}], "web_search"),
        ([{"role": "user", "content": "x" * 500}], "x" * 400),
    ],
)
def test_the_question(messages: list[JSON], question: str) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": messages, "tools": [SEARCH]}
    call = golden.call(body, OPENROUTER)
    upstream_request = CHAT.prepare(call, golden.deployment(OPENROUTER), True)
    assert upstream_request.search == question
