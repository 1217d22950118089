"""The native wire's real end: the `anthropic` SDK through a real a2py process to llama.cpp's own `/v1/messages`."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, ToolUseBlock

from a2py.messages import signatures
from tests import process
from tests.llamacpp import Server, Servers
from tests.tiny_model import SURE

pytestmark = pytest.mark.integration
NATIVE: dict[str, Any] = {"supported_endpoints": ["/v1/messages"]}
TOOL: Any = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
}
USER: Any = {"role": "user", "content": "What is the weather?"}


@pytest.fixture(scope="module")
def servers(llamacpp: Servers) -> dict[str, Server]:
    return {
        "plain": llamacpp(),
        "tools": llamacpp(tool_first=SURE),
        "think-tools": llamacpp(think=True, tool_first=SURE),
        "think": llamacpp(think=True),
        "small": llamacpp(ctx=2048),
    }


@pytest.fixture(scope="module")
def proxy(servers: dict[str, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Proxy]:
    models = [process.deployment(name, server.base, **NATIVE) for name, server in servers.items()]
    models.append(process.deployment("by-chat", servers["think-tools"].base))
    with process.running(tmp_path_factory.mktemp("native"), models) as running:
        yield running


@pytest.fixture
def client(proxy: process.Proxy) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=proxy.base, api_key=proxy.key, max_retries=0, _strict_response_validation=True
    ) as sdk:
        yield sdk


def direct(server: Server, path: str, body: dict[str, Any]) -> Any:
    """llama.cpp's own answer, without a proxy."""
    request = urllib.request.Request(
        server.base + path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def dump_content(message: Message) -> list[Any]:
    return [block.model_dump(mode="json", exclude_unset=True, exclude={"id"}) for block in message.content]


def without_ids(content: list[Any]) -> list[Any]:
    return [{name: value for name, value in block.items() if name != "id"} for block in content]


@pytest.mark.parametrize("model", ["plain", "tools", "think", "think-tools"])
def test_whole_streamed_and_direct_are_one_message(
    client: anthropic.Anthropic, servers: dict[str, Server], model: str
) -> None:
    """The server's seed is fixed. Ids are its own, and new each time."""
    options: Any = {
        "model": model,
        "max_tokens": 300,
        "messages": [USER],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    if "tools" in model:
        options["tools"] = [TOOL]
    truth = direct(servers[model], "/messages", {**options, "model": "tiny"})
    whole = client.messages.create(**options)
    with client.messages.stream(**options) as stream:
        final = stream.get_final_message()
    assert without_ids(truth["content"]) == dump_content(whole) == dump_content(final)
    for message in (whole, final):
        assert message.model == model
        assert message.id.startswith("msg_")
        assert message.stop_reason == truth["stop_reason"]
        assert message.usage.output_tokens == truth["usage"]["output_tokens"]
        read = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
        assert read == truth["usage"]["input_tokens"] + truth["usage"]["cache_read_input_tokens"]


def test_every_event_is_what_the_sdk_demands(client: anthropic.Anthropic) -> None:
    """Strict validation; llama.cpp leaves `input` and `signature` out and ends its blocks late (2026-10)."""
    options: Any = {
        "model": "think-tools",
        "max_tokens": 300,
        "messages": [USER],
        "tools": [TOOL],
        "thinking": {"type": "adaptive"},
    }
    events = list(client.messages.create(**options, stream=True))
    at = [(event.type, event.index) for event in events if event.type in ("content_block_start", "content_block_stop")]
    assert at == [(f"content_block_{what}", n) for n in range(len(at) // 2) for what in ("start", "stop")]
    assert [events[0].type, events[-2].type, events[-1].type] == ["message_start", "message_delta", "message_stop"]


def calls_of(message: Message) -> list[ToolUseBlock]:
    return [block for block in message.content if block.type == "tool_use"]


def test_a_conversation_begun_on_the_chat_wire_goes_on(client: anthropic.Anthropic) -> None:
    """Thinking that was sealed there is left out, the call and its result stay."""
    options: Any = {"max_tokens": 300, "tools": [TOOL], "thinking": {"type": "adaptive"}}
    first = client.messages.create(model="by-chat", messages=[USER], **options)
    thinking = [block for block in first.content if block.type == "thinking"]
    assert thinking and signatures.is_ours(thinking[0].signature)
    history: list[Any] = [USER]
    for model in ("think-tools", "by-chat", "think-tools"):
        (call,) = calls_of(first)
        history += [
            {
                "role": "assistant",
                "content": [block.model_dump(mode="json", exclude_unset=True) for block in first.content],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}]},
        ]
        first = client.messages.create(model=model, messages=history, **options)
        assert first.stop_reason == "tool_use"


@pytest.mark.parametrize("stream", [False, True])
def test_context_overflow_has_the_true_numbers(client: anthropic.Anthropic, stream: bool) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 2048 maximum"):
        client.messages.create(
            model="small", max_tokens=10, messages=[{"role": "user", "content": "Hi " * 5000}], stream=stream
        )


def test_count_tokens_is_the_servers_own(client: anthropic.Anthropic, servers: dict[str, Server]) -> None:
    options: Any = {"messages": [USER], "tools": [TOOL], "system": "Be short."}
    count = client.messages.count_tokens(model="tools", **options)
    assert (
        count.input_tokens
        == direct(servers["tools"], "/messages/count_tokens", {"model": "tiny", **options})["input_tokens"]
    )


def test_the_log_tells_what_was_used(client: anthropic.Anthropic, proxy: process.Proxy) -> None:
    message = client.messages.create(model="plain", max_tokens=50, messages=[USER])
    deadline = time.monotonic() + 10
    while True:  # the line is written after the answer
        lines = [line for line in proxy.log.read_text("utf-8").splitlines() if f"id={message._request_id}" in line]
        if lines or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert "wire=native" in lines[0]
    assert (
        f" in={message.usage.input_tokens} cached={message.usage.cache_read_input_tokens} out={message.usage.output_tokens} "
        in lines[0]
    )
    assert "notes=" not in lines[0]
