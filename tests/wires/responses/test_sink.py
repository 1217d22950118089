"""What the Responses wire asked of the sink: a server tool's input in a delta, citations of waiting text, calls that a
filter cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from a2py.errors import ApiError
from a2py.messages import blocks, sequence
from a2py.messages.reply import Reply
from a2py.messages.types import JSON, Outcome
from tests import streams

CITATION: JSON = {
    "type": "web_search_result_location",
    "url": "https://a.example",
    "title": "A",
    "encrypted_index": "",
    "cited_text": "",
}


def both(tell: Callable[[Any], None], outcome: Outcome | None = None) -> JSON:
    """The message of the stream writer and of the reply, which must be one."""
    writer, reply = streams.writer(), Reply(streams.MESSAGE_ID, streams.MODEL, "test")
    tell(writer)
    tell(reply)
    writer.close(outcome or Outcome())
    message = streams.accumulate(streams.events(writer.take()))
    assert reply.message(outcome or Outcome(), streams.ESTIMATE) == message
    return message


def test_a_server_tools_input_travels_in_a_delta() -> None:
    def tell(sink: Any) -> None:
        sink.server_tool("w", "srvtoolu_1", "web_search", {"query": 'a "b"'})
        sink.server_result("w", "web_search_tool_result", "srvtoolu_1", [])
        sink.server_tool("w2", "srvtoolu_2", "web_search", {})

    content = both(tell)["content"]
    assert content[0] == {
        "type": "server_tool_use",
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {"query": 'a "b"'},
    }
    assert content[2]["input"] == {}


def test_a_server_tool_waits_behind_an_open_call() -> None:
    def tell(sink: Any) -> None:
        sink.tool(0, "c", "read")
        sink.args(0, '{"a":')
        sink.server_tool("w", "srvtoolu_1", "web_search", {"query": "q"})
        sink.args(0, "1}")
        sink.complete(0)

    assert [block["input"] for block in both(tell)["content"]] == [{"a": 1}, {"query": "q"}]


def test_citations_of_text_that_waits() -> None:
    def tell(sink: Any) -> None:
        sink.tool(0, "c", "read")
        sink.text("t", "See.")
        sink.citation("t", CITATION)
        sink.citation("unknown", CITATION)
        sink.text("t", " There.")
        sink.args(0, "{}")
        sink.complete(0)
        sink.citation("t", CITATION)

    assert both(tell)["content"][1] == {"type": "text", "text": "See. There.", "citations": [CITATION, CITATION]}


def test_waiting_citations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_LIMIT", 100_000)
    writer = streams.writer()
    writer.tool(0, "c", "read")
    writer.text("t", "See.")
    for _ in range(2000):
        writer.citation("t", CITATION)
    writer.close(Outcome())
    assert isinstance(writer.problem, ApiError)
    assert streams.accumulate(streams.events(writer.take()))["error"]["type"] == "api_error"


@pytest.mark.parametrize("reason", sorted(blocks.CUT))
def test_a_call_that_was_cut_ahead_of_its_arguments_is_left_out(reason: str) -> None:
    def tell(sink: Any) -> None:
        sink.text("t", "I read.")
        sink.tool(0, "c", "read")

    stop = "END" if reason == "stop_sequence" else None
    assert [block["type"] for block in both(tell, Outcome(reason, stop_sequence=stop))["content"]] == ["text"]
    assert [block["type"] for block in both(tell)["content"]] == ["text", "tool_use"]
