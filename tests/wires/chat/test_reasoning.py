"""Reasoning on the chat wire: corners that no golden shows."""

from __future__ import annotations

import pytest

from a2py.messages.types import JSON
from a2py.wires.chat.reasoning import DIALECTS


def test_think_goes_ahead_of_typed_parts() -> None:
    from a2py.wires.chat.reasoning import _put_think

    message: JSON = {"content": [{"type": "text", "text": "x"}]}
    _put_think(message, "t", [])
    assert message["content"] == [{"type": "text", "text": "<think>\nt\n</think>\n\n"}, {"type": "text", "text": "x"}]


def test_every_dialect_is_named_in_the_quirk(request: pytest.FixtureRequest) -> None:
    assert set(DIALECTS) >= {"none", "effort", "openrouter", "thinking_type", "enable_thinking", "template", "think"}
