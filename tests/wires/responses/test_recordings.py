"""Every recorded Responses body of ../shared/wire: the contract, and the message against an oracle that reads the
recording by itself.

Knows: the shape of output items. The oracle takes whole items only (of the final object, else of `output_item.done`),
never deltas, and shares no code with the wire."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.errors import ApiError
from a2py.messages import signatures
from a2py.messages.types import JSON
from a2py.wires import wire
from a2py.wires.failure import read
from tests import streams
from tests.recordings import Recording, recordings

RESPONSES = wire("responses")


def events_of(data: bytes) -> list[JSON]:
    return [
        orjson.loads(line.partition(b":")[2])
        for line in data.splitlines()
        if line.startswith(b"data:") and b"{" in line
    ]


def final_of(data: bytes) -> JSON:
    """The response that the recording ends with; its output from the items where it lists none (chatgpt-codex)."""
    events = events_of(data)
    whole: JSON = events[-1]["response"]
    items = {event["output_index"]: event["item"] for event in events if event["type"] == "response.output_item.done"}
    return {**whole, "output": whole["output"] or [items[n] for n in sorted(items)]}


def blocks_of(output: list[JSON]) -> list[tuple[str, Any]]:
    """What the client must see, as (kind, content); neighbouring texts of one kind are one."""
    blocks: list[tuple[str, Any]] = []
    for item in output:
        kind = item["type"]
        if kind == "reasoning":
            texts = [part["text"] for part in item.get("summary") or item.get("content") or []]
            blocks += [("thinking", text) for text in texts]
            if item.get("encrypted_content"):
                blocks.append(("encrypted", (item["id"], item["encrypted_content"])))
        elif kind == "message":
            blocks += [("text", part["text"]) for part in item["content"] if part["text"]]
        elif kind == "function_call":
            blocks.append(("call", (item["call_id"], item["name"], orjson.loads(item["arguments"]))))
        elif kind == "web_search_call":
            blocks.append(("search", item["id"]))
    return blocks


def client_blocks_of(message: JSON) -> list[tuple[str, Any]]:
    """The same of a message."""
    blocks: list[tuple[str, Any]] = []
    for block in message["content"]:
        if block["type"] == "thinking":
            if block["thinking"]:
                blocks.append(("thinking", block["thinking"]))
            signature = signatures.read(block["signature"])
            assert signature is not None
            item = signature.state.get("item", {})
            if item.get("encrypted_content"):
                assert signature.kind == "responses"
                blocks.append(("encrypted", (item["id"], item["encrypted_content"])))
        elif block["type"] == "text" and block["text"]:
            blocks.append(("text", block["text"]))
        elif block["type"] == "tool_use":
            blocks.append(("call", (block["id"], block["name"], block["input"])))
        elif block["type"] == "server_tool_use":
            blocks.append(("search", block["id"].removeprefix("srvtoolu_")))
    return blocks


def check(message: JSON, response: JSON) -> None:
    expected = blocks_of(response["output"])
    hosted_types = [
        item["type"]
        for item in response["output"]
        if item["type"] in ("image_generation_call", "file_search_call", "x_search_call")
    ]
    blocks = client_blocks_of(message)
    kinds = [kind for kind, _ in expected]
    if kinds[-2:] == ["text", "encrypted"] and "call" not in kinds:
        expected.pop()  # vendor state after the text of a turn without calls is left out
    if hosted_types and not any(kind == "text" for kind, _ in expected):
        assert blocks.pop() == ("text", f"[{hosted_types[0]}]")
    assert blocks == expected
    usage, upstream_usage = message["usage"], response["usage"]
    cached = upstream_usage.get("input_tokens_details", {}).get("cached_tokens", 0)
    assert usage["input_tokens"] == max(1, upstream_usage["input_tokens"] - cached)
    assert usage["cache_read_input_tokens"] == cached
    assert usage["output_tokens"] == upstream_usage["total_tokens"] - upstream_usage["input_tokens"]
    thinking = upstream_usage.get("output_tokens_details", {}).get("reasoning_tokens", 0)
    assert usage.get("output_tokens_details", {}).get("thinking_tokens", 0) == thinking
    calls = any(kind == "call" for kind, _ in expected)
    assert message["stop_reason"] == ("tool_use" if calls else "end_turn")


@pytest.mark.parametrize("recording", recordings("responses", "stream"))
def test_stream(recording: Recording) -> None:
    message = streams.check_contract(RESPONSES, streams.upstream_request(), recording.data)
    response = final_of(recording.data)
    check(message, response)
    assert message == streams.unary(RESPONSES, streams.upstream_request(stream=False), orjson.dumps(response))
    assert message == streams.collect(RESPONSES, streams.upstream_request(), recording.data)


@pytest.mark.parametrize("recording", recordings("responses", "stream"))
def test_stream_without_deltas(recording: Recording) -> None:
    """The same message where the stream has only its whole items, and only its terminal event."""
    message = streams.accumulate(streams.events(streams.run(RESPONSES, streams.upstream_request(), [recording.data])))
    events = [
        e
        for e in events_of(recording.data)
        if not e["type"].endswith((".delta", "_text.done", "arguments.done", "part.done"))
    ]
    if recording.provider == "openrouter":  # its reasoning item ends after the text that followed it
        events = [e for e in events if e["type"] != "response.output_item.done"]
    again = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    assert streams.accumulate(streams.events(streams.run(RESPONSES, streams.upstream_request(), [again]))) == message
    last = b"data: " + orjson.dumps({**events[-1], "response": final_of(recording.data)}) + b"\n\n"
    assert streams.accumulate(streams.events(streams.run(RESPONSES, streams.upstream_request(), [last]))) == message


@pytest.mark.parametrize("recording", recordings("responses", "stream"))
def test_the_sdk_reads_the_same(recording: Recording) -> None:
    data = streams.run(RESPONSES, streams.upstream_request(), [recording.data])
    ours = streams.accumulate(streams.events(data))
    theirs = streams.sdk_message(data)
    assert [{k: v for k, v in block.items() if v is not None} for block in theirs["content"]] == ours["content"]
    assert theirs["stop_reason"] == ours["stop_reason"]


@pytest.mark.parametrize("recording", recordings("responses", "nonstream"))
def test_unary(recording: Recording) -> None:
    body = orjson.loads(recording.data)
    if body["status"] == "in_progress":
        with pytest.raises(ApiError, match="before its reply was finished"):
            streams.unary(RESPONSES, streams.upstream_request(stream=False), recording.data)
        return
    message = streams.unary(RESPONSES, streams.upstream_request(stream=False), recording.data)
    check(message, body)
    assert (
        streams.check_contract(RESPONSES, streams.upstream_request(), recording.data, cuts=len(recording.data) < 4000)
        == message
    )


@pytest.mark.parametrize("recording", recordings("responses", "error"))
def test_error(recording: Recording) -> None:
    """A refusal with its status, and the same body inside a 200."""
    error = read(recording.status or 400, recording.headers, recording.data)
    assert error.message
    assert orjson.loads(error.body("req_1"))["error"]["type"] in streams.ERROR_TYPES
    if recording.scenario == "error-context-length":
        assert error.message.startswith("prompt is too long")
    with pytest.raises(ApiError):
        streams.unary(RESPONSES, streams.upstream_request(stream=False), recording.data)
    assert "error" in streams.check_contract(RESPONSES, streams.upstream_request(), recording.data)
