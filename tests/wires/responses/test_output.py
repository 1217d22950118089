"""Output items that a Responses stream leaves open, or that are too long to keep."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.messages.types import JSON
from a2py.wires.responses import budget
from tests.wires.responses.test_stream import DONE, item, message_of, texts

FREE: JSON = {"type": "custom_tool_call", "id": "x", "call_id": "c", "name": "run", "input": ""}


def free(event: str, **more: Any) -> JSON:
    return {"type": f"response.custom_tool_call_input.{event}", "item_id": "x", "output_index": 0, **more}


@pytest.mark.parametrize(
    "events",
    [
        (free("delta", delta="a"), free("delta", delta="b")),
        (free("delta", delta="a"), free("done", input="ab")),
        (free("done", input="ab"),),
        (free("delta", delta="a"), item({**FREE, "input": "ab", "status": "completed"})),
        (item({**FREE, "input": "ab"}), free("done", input="ab")),
    ],
)
def test_a_tool_of_free_text_whose_item_has_no_end(events: tuple[JSON, ...]) -> None:
    start = {"type": "response.output_item.added", "output_index": 0, "item": FREE}
    assert message_of(start, *events, DONE)["content"][0]["input"] == {"input": "ab"}
    cut = message_of(
        start, free("delta", delta="a"), {"type": "response.incomplete", "response": {"status": "incomplete"}}
    )
    assert (texts(cut), cut["stop_reason"]) == ([""], "max_tokens")


def test_free_text_too_long_to_keep_is_never_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "KEPT_LIMIT", 3)
    start = {"type": "response.output_item.added", "output_index": 0, "item": FREE}
    message = message_of(start, free("delta", delta="ab"), free("delta", delta="cd"), DONE)
    assert message["stop_reason"] == "max_tokens" and "__unparsedToolInput" in message["content"][0]["input"]


def test_a_phase_that_is_too_long_is_none() -> None:
    """It would travel with every later turn."""
    message_item = {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Hi"}],
    }
    message = message_of(item({**message_item, "phase": "x" * 65}), DONE)
    assert [block["type"] for block in message["content"]] == ["text"]
