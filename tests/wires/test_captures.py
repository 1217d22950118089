"""Requests of real clients (../shared/clients) → upstream bodies that the `openai` SDK's own request types accept,
unknown keys forbidden."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest
from anthropic.types import Message
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from a2py.demo import MODEL, Demo
from a2py.messages.request import parse
from a2py.messages.types import JSON, Call
from a2py.wires import wire
from tests import golden, process, streams, typed
from tests.recordings import CLIENTS, Capture, captures, load_captures

TYPES: dict[tuple[str, bool], Any] = {
    ("chat", False): CompletionCreateParamsNonStreaming,
    ("chat", True): CompletionCreateParamsStreaming,
    ("responses", False): ResponseCreateParamsNonStreaming,
    ("responses", True): ResponseCreateParamsStreaming,
}
#: A server of unknown make, OpenAI's plain and reasoning models.
CONFIGS: list[JSON] = [
    {"wire": "chat"},
    {"wire": "chat", "provider": "openai", "model": "gpt-4.1"},
    {"wire": "chat", "provider": "openai", "model": "gpt-5.5"},
    {"wire": "responses", "provider": "openai", "model": "gpt-5.5"},
]


def call_of(capture: Capture) -> Call:
    headers = capture.headers
    return Call(
        parse(orjson.dumps(capture.body)),
        "msg_test",
        golden.NOW,
        session=headers.get("x-claude-code-session-id", ""),
        betas=tuple(filter(None, headers.get("anthropic-beta", "").split(","))),
        version=headers.get("anthropic-version", ""),
    )


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: " ".join(config.values()))
@pytest.mark.parametrize("capture", captures())
def test_the_upstream_body_is_one_that_openai_accepts(capture: Capture, config: JSON) -> None:
    to = golden.deployment(config)
    call = call_of(capture)
    upstream_request = wire(to.wire).prepare(call, to, call.request.stream)
    body = orjson.loads(upstream_request.body)
    assert body.get("stream", False) is call.request.stream
    assert typed.problems(body, TYPES[to.wire, call.request.stream]) == []
    assert b"x-anthropic-billing-header" not in upstream_request.body
    assert b"DeferredToolPlaceholder" not in b"".join(orjson.dumps(tool) for tool in body.get("tools", ()))
    assert b"cache_control" not in upstream_request.body
    assert b"device_id" not in upstream_request.body


@pytest.mark.parametrize("capture", captures())
def test_every_call_of_the_history_has_its_result(capture: Capture) -> None:
    """Calls and results pair up, results right behind their calls, and nothing that a person or a tool said is lost."""
    upstream_request = wire("chat").prepare(call_of(capture), golden.deployment({}), True)
    waiting: list[str] = []
    for message in orjson.loads(upstream_request.body)["messages"]:
        if message["role"] == "tool":
            assert waiting and message["tool_call_id"] == waiting.pop(0), message["tool_call_id"]
            continue
        assert not waiting, f"calls without results: {waiting}"
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    assert not waiting
    for text in texts_of(capture.body):
        if not text.startswith("x-anthropic-billing-header"):
            assert orjson.dumps(text)[1:-1].strip() in upstream_request.body, text[:200]


def texts_of(body: JSON) -> list[str]:
    """All text of a request: system, messages, tool results."""
    blocks: list[Any] = [body.get("system")] + [message["content"] for message in body["messages"]]
    texts = []
    while blocks:
        block = blocks.pop()
        if isinstance(block, str):
            texts.append(block)
        elif isinstance(block, list):
            blocks += block
        elif isinstance(block, dict) and block["type"] in ("text", "tool_result"):
            blocks.append(block.get("text") or block.get("content"))
    return [text for text in texts if text.strip()]


@pytest.mark.integration
async def test_captured_requests_through_a_real_process(tmp_path: Path) -> None:
    """As the client sent them, header by header but for the key: real sockets, and the demo upstream, which checks what
    it is asked."""
    if not load_captures():
        pytest.skip(f"no captured requests in {CLIENTS}")
    async with Demo(pace=0) as demo:
        with process.running(tmp_path, [process.deployment("*", demo.base, MODEL, "openai")]) as proxy:
            for capture in load_captures():
                answer = await asyncio.to_thread(send, proxy, capture)
                try:
                    check_answer(capture, answer)
                except AssertionError as error:
                    raise AssertionError(f"{capture.name}: {error}\n{proxy.log.read_text()[-1500:]}") from error


def send(proxy: process.Proxy, capture: Capture) -> bytes:
    own = ("host", "content-length", "connection", "accept-encoding", "x-api-key", "authorization")
    headers = {name: value for name, value in capture.headers.items() if name not in own}
    url = f"{proxy.base}{capture.path}?{capture.query}"
    request = urllib.request.Request(
        url, orjson.dumps(capture.body), {**headers, "authorization": f"Bearer {proxy.key}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers["request-id"]
        data: bytes = answer.read()
    return data


def check_answer(capture: Capture, answer: bytes) -> None:
    if "count_tokens" in capture.path:
        assert orjson.loads(answer)["input_tokens"] > 1
    elif capture.body.get("stream"):
        message = streams.accumulate(streams.events(answer))
        assert "error" not in message, message["error"]
        assert message["model"] == capture.body["model"]
    else:
        assert Message.model_validate_json(answer).content


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}, None),
        ({"model": "m", "messages": [{"role": "user", "content": "x"}]}, ".stream: missing"),
        ({"model": "m", "messages": [], "stream": True, "top_k": 1}, ".top_k: unknown"),
        (
            {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}], "stream": True},
            "int instead of str",
        ),
        ({"model": "m", "messages": [{"role": "tool", "content": "x"}], "stream": True}, "tool_call_id: missing"),
        ({"model": "m", "messages": {}, "stream": True}, "dict instead of a list"),
        ({"model": "m", "messages": [], "stream": True, "reasoning_effort": "huge"}, "is none of"),
        ({"model": "m", "messages": [], "stream": True, "temperature": True}, "bool instead of"),
    ],
)
def test_the_check_itself(value: JSON, says: str | None) -> None:
    problems = typed.problems(value, CompletionCreateParamsStreaming)
    assert not problems if says is None else any(says in problem for problem in problems), problems
