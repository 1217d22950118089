"""The real `anthropic` SDK (strict validation) through a real a2py process to llama.cpp's real server with the tiny
model.

Knows: what that server can be made to do (tiny_model.py). Must not know: scripted upstreams (test_relay*.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, ToolUseBlock

from tests import process
from tests.llamacpp import Servers
from tests.tiny_model import SURE

pytestmark = pytest.mark.integration
CONTEXT = 2048
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
def proxy(llamacpp: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Proxy]:
    servers = {
        "plain": llamacpp(),
        "tools": llamacpp(tool_first=SURE),
        "parallel": llamacpp(tool_first=SURE, again=0.7),
        "chatty": llamacpp(tool=0.05, end=0.05),
        "think": llamacpp(think=True),
        "think-tools": llamacpp(think=True, tool_first=SURE),
        "small": llamacpp(ctx=CONTEXT),
    }
    models = [process.deployment(name, server.base) for name, server in servers.items()]
    models.append(
        process.deployment("unknown", servers["plain"].base, provider="openai")
    )  # no row: what it refuses must be learned
    with process.running(tmp_path_factory.mktemp("proxy"), models) as running:
        yield running


@pytest.fixture
def client(proxy: process.Proxy) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=proxy.base, api_key=proxy.key, max_retries=0, _strict_response_validation=True
    ) as sdk:
        yield sdk


@pytest.fixture
async def aclient(proxy: process.Proxy) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=proxy.base, api_key=proxy.key, max_retries=0, _strict_response_validation=True
    ) as sdk:
        yield sdk


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def calls_of(message: Message) -> list[ToolUseBlock]:
    return [block for block in message.content if block.type == "tool_use"]


def content_of(message: Message) -> tuple[Any, ...]:
    """What two answers to one request share: the server's seed is fixed, ids are not."""
    return (
        message.stop_reason,
        text_of(message),
        [(call.name, call.input) for call in calls_of(message)],
        message.usage.output_tokens,
    )


def test_text_whole_and_streamed(client: anthropic.Anthropic) -> None:
    options: Any = {"model": "plain", "max_tokens": 200, "messages": [USER]}
    whole = client.messages.create(**options)
    assert whole.model == "plain"
    assert whole.stop_reason == "end_turn"
    assert len(text_of(whole)) > 10
    with client.messages.stream(**options) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 3
    assert "".join(pieces) == text_of(final)
    assert content_of(final) == content_of(whole)
    events = list(client.messages.create(**options, stream=True))
    assert [events[0].type, events[-1].type] == ["message_start", "message_stop"]
    assert final.usage.input_tokens + (final.usage.cache_read_input_tokens or 0) == whole.usage.input_tokens + (
        whole.usage.cache_read_input_tokens or 0
    )


async def test_text_async(aclient: anthropic.AsyncAnthropic) -> None:
    options: Any = {"model": "plain", "max_tokens": 200, "messages": [USER], "system": "Be short."}
    whole = await aclient.messages.create(**options)
    async with aclient.messages.stream(**options) as stream:
        pieces = [piece async for piece in stream.text_stream]
        final = await stream.get_final_message()
    assert "".join(pieces) == text_of(final) == text_of(whole)
    assert content_of(final) == content_of(whole)


def test_the_limit(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model="plain", max_tokens=5, messages=[USER])
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 5


def test_a_stop_sequence(client: anthropic.Anthropic) -> None:
    free = text_of(client.messages.create(model="plain", max_tokens=200, messages=[USER]))
    word = free.split()[4]
    cut = client.messages.create(model="plain", max_tokens=200, messages=[USER], stop_sequences=[word])
    assert text_of(cut) == free[: free.index(word)]
    assert cut.stop_reason in ("stop_sequence", "end_turn")


async def test_a_tool_loop_of_several_turns(aclient: anthropic.AsyncAnthropic) -> None:
    """Each turn's calls are answered and go back as history; the last turn has no choice but text."""
    messages: list[Any] = [USER]
    ids: set[str] = set()
    for turn in range(4):
        async with aclient.messages.stream(model="tools", max_tokens=500, tools=[TOOL], messages=messages) as stream:
            message = await stream.get_final_message()
        assert message.stop_reason == "tool_use"
        (call,) = calls_of(message)
        assert call.name == "get_weather"
        assert isinstance(call.input, dict) and isinstance(call.input["city"], str)
        assert call.id not in ids, "an id came twice"
        ids.add(call.id)
        messages += [
            {
                "role": "assistant",
                "content": [block.model_dump(mode="json", exclude_unset=True) for block in message.content],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": call.id, "content": f"turn {turn}: 21 degrees"}],
            },
        ]
    last = await aclient.messages.create(
        model="plain", max_tokens=100, tools=[TOOL], tool_choice={"type": "none"}, messages=messages
    )
    assert last.stop_reason == "end_turn"
    assert text_of(last)


@pytest.mark.parametrize("model", ["plain", "unknown"])
def test_a_call_that_was_cut_does_not_spoil_the_conversation(client: anthropic.Anthropic, model: str) -> None:
    """llama.cpp answers 500 to arguments in the history that are not JSON, and Claude Code sends a cut call again
    unchanged."""
    call: Any = {
        "type": "tool_use",
        "id": "c1",
        "name": "get_weather",
        "input": {"__unparsedToolInput": {"raw": '{"city": "R', "len": 11}},
    }
    result: Any = {"type": "tool_result", "tool_use_id": "c1", "content": "Invalid JSON", "is_error": True}
    history: Any = [USER, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    message = client.messages.create(model=model, max_tokens=8, messages=history, tools=[TOOL])
    assert message.usage.output_tokens


def test_parallel_calls(client: anthropic.Anthropic) -> None:
    options: Any = {"model": "parallel", "max_tokens": 1000, "tools": [TOOL], "messages": [USER]}
    with client.messages.stream(**options) as stream:
        final = stream.get_final_message()
    whole = client.messages.create(**options)
    calls = calls_of(final)
    assert len(calls) > 1
    assert len({call.id for call in calls}) == len(calls)
    assert content_of(final) == content_of(whole)


def test_a_forced_tool(client: anthropic.Anthropic) -> None:
    """llama.cpp ignores the object form of tool_choice; the model by itself talks, and may call either tool."""
    other: Any = {"name": "other", "description": "Another", "input_schema": {"type": "object", "properties": {}}}
    choice: Any = {"type": "tool", "name": "get_weather"}
    for n in range(3):
        turn: Any = {"role": "user", "content": f"Question {n}"}
        message = client.messages.create(
            model="chatty", max_tokens=2000, tools=[other, TOOL], tool_choice=choice, messages=[turn]
        )
        assert {call.name for call in calls_of(message)} == {"get_weather"}
        assert message.stop_reason == "tool_use"


def test_reasoning_and_its_way_back(client: anthropic.Anthropic) -> None:
    options: Any = {"model": "think", "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    with client.messages.stream(**options, messages=[USER]) as stream:
        message = stream.get_final_message()
    first = message.content[0]
    assert first.type == "thinking"
    assert first.thinking.strip() and first.signature
    assert "think>" not in first.thinking + text_of(message)
    history = [block.model_dump(mode="json", exclude_unset=True) for block in message.content]
    turns: Any = [USER, {"role": "assistant", "content": history}, USER]
    again = client.messages.create(**options, messages=turns)
    assert again.content[0].type == "thinking"
    off = client.messages.create(model="think", max_tokens=2000, thinking={"type": "disabled"}, messages=[USER])
    assert [block.type for block in off.content] == ["text"]


def test_reasoning_before_a_call(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="think-tools", max_tokens=2000, tools=[TOOL], messages=[USER]) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "tool_use"]


@pytest.mark.parametrize("stream", [False, True])
def test_context_overflow_has_the_true_numbers(client: anthropic.Anthropic, stream: bool) -> None:
    words = "word " * CONTEXT
    with pytest.raises(anthropic.BadRequestError) as excinfo:
        client.messages.create(
            model="small", max_tokens=50, messages=[{"role": "user", "content": words}], stream=stream
        )
    body = excinfo.value.response.json()
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    message = body["error"]["message"]
    assert message.startswith("prompt is too long: "), message
    tokens, _, limit = (
        message.removeprefix("prompt is too long: ").removesuffix(" maximum").replace(" tokens", "").partition(" > ")
    )
    assert int(limit) == CONTEXT
    count = client.messages.count_tokens(model="small", messages=[{"role": "user", "content": words}]).input_tokens
    assert abs(int(tokens) - count) <= 0.05 * count


def test_structured_output_constrains(client: anthropic.Anthropic) -> None:
    """A model of random words can only answer in this form if its server is made to."""
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "kind": {"enum": ["bug", "feature"]}, "urgent": {"type": "boolean"}},
        "required": ["name", "kind", "urgent"],
        "additionalProperties": False,
    }
    config: Any = {"format": {"type": "json_schema", "schema": schema}}
    for words in ("Name it.", "Is it urgent?"):
        message = client.messages.create(
            model="plain", max_tokens=1000, messages=[{"role": "user", "content": words}], output_config=config
        )
        value = json.loads(text_of(message))
        assert set(value) == {"name", "kind", "urgent"}
        assert value["kind"] in ("bug", "feature")
        assert isinstance(value["urgent"], bool) and isinstance(value["name"], str)


def test_count_tokens_is_the_servers_own(client: anthropic.Anthropic) -> None:
    options: Any = {"model": "plain", "messages": [USER], "system": "Be short.", "tools": [TOOL]}
    count = client.messages.count_tokens(**options).input_tokens
    usage = client.messages.create(**options, max_tokens=10).usage
    real = usage.input_tokens + (usage.cache_read_input_tokens or 0)
    assert abs(count - real) <= max(30, 0.1 * real), (count, real)


def test_models(client: anthropic.Anthropic) -> None:
    names = {model.id for model in client.models.list(limit=100)}
    assert {"plain", "tools", "think", "small"} <= names
    assert client.models.retrieve("plain").id == "plain"


def test_unknown_model_names_the_known_ones(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="plain"):
        client.messages.create(model="nonsense", max_tokens=5, messages=[USER])


def test_a_wrong_key(proxy: process.Proxy) -> None:
    with (
        anthropic.Anthropic(base_url=proxy.base, api_key="sk-wrong", max_retries=0) as wrong,
        pytest.raises(anthropic.AuthenticationError) as excinfo,
    ):
        wrong.messages.create(model="plain", max_tokens=5, messages=[USER])
    assert "sk-wrong" not in str(excinfo.value)
    assert process.KEY not in str(excinfo.value)


async def test_many_at_once(aclient: anthropic.AsyncAnthropic) -> None:
    """Streams of one server with one slot wait for each other, and all end."""

    async def one(n: int) -> Message:
        async with aclient.messages.stream(
            model="plain", max_tokens=60, messages=[{"role": "user", "content": f"Say {n}"}]
        ) as stream:
            return await stream.get_final_message()

    messages = await asyncio.gather(*map(one, range(12)))
    assert {message.stop_reason for message in messages} <= {"end_turn", "max_tokens"}
    assert all(message.usage.output_tokens for message in messages)
