"""A conversation that moves from one wire to another, and back: through the real proxy, with an upstream that speaks
all three.

Each wire gets its own reasoning back, and never another's; calls and results stay pairs; nothing of a2py's own goes
upstream."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import orjson
import pytest

from a2py.messages.types import JSON
from a2py.quirks import Quirks
from tests import streams
from tests.proxied import config, deployment, run_proxy
from tests.scripted import SSE, Peer, ScriptedServer

CALL = {"city": "Rome"}
TOOLS = [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]
QUIRKS = {
    "chat": Quirks(reasoning="effort", reasoning_history="reasoning_content"),
    "responses": Quirks(reasoning="effort"),
    "native": Quirks(mid_system="inline", native_betas="all", tool_ids="keep"),
}
#: What each wire's reasoning must be in its own later requests, and nowhere else.
MARKS = {"chat": b"thought by chat", "responses": b"ENCRYPTED", "native": b"sig-native"}


def chat(n: int) -> list[JSON]:
    call = {
        "index": 0,
        "id": f"call_{n}",
        "type": "function",
        "function": {"name": "weather", "arguments": orjson.dumps(CALL).decode()},
    }
    deltas: list[JSON] = [{"reasoning_content": "thought by chat"}, {"content": "I look."}, {"tool_calls": [call]}]
    chunks: list[JSON] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return [*chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}]


def responses(n: int) -> list[JSON]:
    items: list[JSON] = [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "summed up"}],
            "encrypted_content": "ENCRYPTED",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I look."}],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": f"call_{n}",
            "name": "weather",
            "arguments": orjson.dumps(CALL).decode(),
        },
    ]
    events: list[JSON] = [
        {"type": "response.output_item.done", "output_index": at, "item": item} for at, item in enumerate(items)
    ]
    return [*events, {"type": "response.completed", "response": {"status": "completed", "output": items}}]


def native(n: int) -> list[JSON]:
    blocks: list[tuple[JSON, list[JSON]]] = [
        (
            {"type": "thinking", "thinking": "", "signature": ""},
            [
                {"type": "thinking_delta", "thinking": "natively"},
                {"type": "signature_delta", "signature": "sig-native"},
            ],
        ),
        ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "I look."}]),
        (
            {"type": "tool_use", "id": f"call_{n}", "name": "weather", "input": {}},
            [{"type": "input_json_delta", "partial_json": orjson.dumps(CALL).decode()}],
        ),
    ]
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "m",
        "usage": {"input_tokens": 9},
    }
    out: list[JSON] = [{"type": "message_start", "message": message}]
    for at, (block, deltas) in enumerate(blocks):
        out.append({"type": "content_block_start", "index": at, "content_block": block})
        out += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        out.append({"type": "content_block_stop", "index": at})
    ends = {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 5},
    }
    return [*out, ends, {"type": "message_stop"}]


SPEAKS = {"/v1/chat/completions": chat, "/v1/responses": responses, "/v1/messages": native}


def pairs(wire: str, body: JSON) -> list[tuple[str, str]]:
    """(call, result) ids of a request, in order."""
    calls: list[str]
    results: list[str]
    if wire == "responses":
        calls = [item["call_id"] for item in body["input"] if item["type"] == "function_call"]
        results = [item["call_id"] for item in body["input"] if item["type"] == "function_call_output"]
    elif wire == "chat":
        calls = [call["id"] for message in body["messages"] for call in message.get("tool_calls", ())]
        results = [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"]
    else:
        blocks = [
            block
            for message in body["messages"]
            if isinstance(message["content"], list)
            for block in message["content"]
        ]
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    return list(zip(calls, results, strict=True))


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("display", ["", "omitted"])
@pytest.mark.parametrize(("first", "second"), list(permutations(QUIRKS, 2)), ids=lambda wire: str(wire))
async def test_there_and_back(first: str, second: str, display: str, stream: bool) -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*SPEAKS[c.request.target](len(upstream.requests)))
        c.end()

    thinking = {"type": "adaptive", **({"display": display} if display else {})}
    messages: list[JSON] = [{"role": "user", "content": "The weather?"}]
    async with ScriptedServer(script) as upstream:
        root = upstream.base.removesuffix("/v1")
        deployments = tuple(
            deployment(root if wire == "native" else upstream.base, name=wire, id=wire, wire=wire, quirks=QUIRKS[wire])
            for wire in (first, second)
        )
        async with run_proxy(config(deployments=deployments)) as proxy:
            for wire in (first, second, first):
                body = {"model": wire, "max_tokens": 4096, "thinking": thinking, "tools": TOOLS, "messages": messages}
                answer = await proxy.ask({**body, "stream": True} if stream else body)
                assert answer.status == 200
                content = (streams.sdk_message(answer.body) if stream else answer.json)["content"]
                assert [block["type"] for block in content] == ["thinking", "text", "tool_use"]
                result: Any = {
                    "type": "tool_result",
                    "tool_use_id": content[2]["id"],
                    "content": f"sunny {len(messages)}",
                }
                messages += [{"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    _, there, back = (request.body for request in upstream.requests)
    assert MARKS[first] not in there and b"a2py1." not in there + back
    assert MARKS[first] in back and MARKS[second] not in back
    assert pairs(second, orjson.loads(there)) == [("call_1", "call_1")]
    assert pairs(first, orjson.loads(back)) == [("call_1", "call_1"), ("call_2", "call_2")]
    assert all(words in back for words in (b"I look.", b"sunny 1", b"sunny 3", b"Rome"))


async def test_thinking_that_another_vendor_signed() -> None:
    """From one vendor's Anthropic endpoint to another's: no proxy can tell whose a signature is. The refusal tells; for
    this request the thinking is left out, and the next conversation keeps its own."""
    foreign = {"type": "thinking", "thinking": "hm", "signature": "of another vendor"}
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [foreign, {"type": "text", "text": "Yes?"}]},
    ]

    async def script(c: Peer) -> None:
        if b"of another vendor" in c.request.body:
            problem = {
                "type": "invalid_request_error",
                "message": "messages.1.content.0: Invalid `signature` in `thinking` block",
            }
            c.reply({"type": "error", "error": problem}, 400)
            return
        c.head(200, SSE)
        c.events(*native(1))
        c.end()

    async with ScriptedServer(script) as upstream:
        to = deployment(upstream.base.removesuffix("/v1"), name="native", wire="native", quirks=QUIRKS["native"])
        async with run_proxy(config(deployments=(to,))) as proxy:
            body = {
                "model": "native",
                "max_tokens": 4096,
                "stream": True,
                "messages": [*turns, {"role": "user", "content": "Go on"}],
            }
            answer = await proxy.ask(body)
            assert answer.status == 200 and answer.names[-1] == "message_stop"
            assert proxy.services.lessons.report() == []
    first, second = (orjson.loads(request.body)["messages"] for request in upstream.requests)
    assert [block["type"] for block in first[1]["content"]] == ["thinking", "text"]
    assert second == [
        turns[0],
        {"role": "assistant", "content": [{"type": "text", "text": "Yes?"}]},
        {"role": "user", "content": "Go on"},
    ]
