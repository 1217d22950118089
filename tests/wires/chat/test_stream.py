"""The chat decoder: corners that no golden shows."""

from __future__ import annotations

import orjson

from a2py.messages.reply import Reply
from a2py.messages.types import JSON, Outcome, Prepared, Usage
from a2py.wires.chat import WIRE
from a2py.wires.chat.stream import ChatDecoder
from tests import streams

REQUEST = Prepared("http://x", {}, b"", True)


def decode(data: bytes, request: Prepared = REQUEST) -> tuple[Outcome, JSON]:
    reply = Reply("msg_1", "m")
    decoder = ChatDecoder(request, reply)
    decoder.feed(data)
    outcome = decoder.close()
    assert decoder.close() is outcome
    return outcome, {} if outcome.error else reply.message(outcome, Usage())


def test_an_error_with_an_empty_choice() -> None:
    outcome, _ = decode(b'data: {"error":{"message":"no"},"choices":[{"index":0}]}\n\n')
    assert outcome.error is not None and outcome.error.message


def test_reasoning_details_of_no_known_shape() -> None:
    _, message = decode(
        b'data: {"choices":[{"delta":{"reasoning_details":"x","reasoning":"y","content":"z"},"finish_reason":"stop"}]}\n\n'
    )
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]


def test_reasoning_that_is_no_text_is_ignored() -> None:
    _, message = decode(b'data: {"choices":[{"delta":{"reasoning":7,"content":"z"},"finish_reason":"stop"}]}\n\n')
    assert [block["type"] for block in message["content"]] == ["text"]


def test_a_custom_call_in_a_reply_that_a_stop_sequence_cut_stays_open() -> None:
    """Its text may lack the end, and Claude Code runs every call whose input parses."""
    call = {"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "f", "input": "rm -r a"}}]}
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in (call, {"content": "x END"})]
    data = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks)
    message = streams.collect(WIRE, streams.upstream_request(stops=("END",)), data)
    assert message["stop_reason"] == "max_tokens"
    assert "__unparsedToolInput" in message["content"][0]["input"]
