"""The Responses decoder and the vocabulary of OpenAI's own SDK: nothing that it knows is new to us."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.responses import ResponseError, ResponseOutputItem, ResponseStreamEvent

from a2py.wires.responses.stream import _HANDLERS
from tests import streams
from tests.wires.responses.test_stream import DONE, RESPONSES, item, sse, text

#: Events that tell nothing which a later one does not tell whole: progress of hosted tools, what a call or a part
#: begins with, audio, images.
PASSED_OVER = re.compile(
    r"response\.(audio\.|image_generation_call\.|code_interpreter_call|file_search_call\.|web_search_call\.|mcp_|shell_call|compaction\."
    r"|content_part\.added|reasoning_summary_part\.added)"
)
#: Items that become blocks, or are named in the log: whatever the upstream ran by itself.
ITEMS = {"message", "reasoning", "function_call", "custom_tool_call", "web_search_call"}


def members(union: Any) -> Iterator[Any]:
    for member in typing.get_args(union):
        if hasattr(member, "model_fields"):
            yield member
        else:
            yield from members(member)


def names(union: Any) -> set[str]:
    return {name for member in members(union) for name in typing.get_args(member.model_fields["type"].annotation)}


def test_every_event_of_the_sdk_is_handled_or_passed_over_knowingly() -> None:
    event_names = names(ResponseStreamEvent)
    assert len(event_names) > 50
    assert {name for name in event_names - set(_HANDLERS) if not PASSED_OVER.match(name)} == set()
    assert [name for name in _HANDLERS if PASSED_OVER.match(name)] == []


@pytest.mark.parametrize("kind", sorted(names(ResponseOutputItem) - ITEMS))
def test_an_item_that_has_no_block_is_named_in_the_log_and_is_no_client_call(kind: str) -> None:
    raw = {"type": kind, "id": "x1", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"}
    whole, outcome = streams.drive(
        RESPONSES, streams.upstream_request(), [sse(item(raw), text("Hi", output_index=1), DONE)], streams.writer()
    )
    assert [block["type"] for block in streams.accumulate(streams.events(whole))["content"]] == ["text"]
    assert outcome.notes == [f"hosted items without a block: {kind}"]


@pytest.mark.parametrize("code", typing.get_args(ResponseError.model_fields["code"].annotation))
def test_every_error_code_of_the_sdk(code: str) -> None:
    """Asked again is only what another attempt may change; images are told as Anthropic tells them, so that the client
    drops them."""
    event = {
        "type": "response.failed",
        "response": {"status": "failed", "error": {"code": code, "message": "Something."}},
    }
    _, outcome = streams.drive(RESPONSES, streams.upstream_request(), [sse(event)], streams.writer())
    assert outcome.error is not None
    if "image" in code and "policy" not in code:
        assert outcome.error.kind == "image" and outcome.error.message.startswith("Could not process image")
    assert outcome.error.retryable is (code in ("server_error", "rate_limit_exceeded", "vector_store_timeout")), (
        outcome.error
    )
