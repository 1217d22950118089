"""The demo upstream, over real sockets and by the real `openai` SDK, whose own types check what it sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from a2py.demo import Demo, protocol
from a2py.demo.answer import CURE, MAX_RESULT, WHO, answer

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 1},
            },
            "required": ["city"],
        },
    },
}
BASH: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "Bash",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
    },
}


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture
async def demo() -> AsyncIterator[Demo]:
    async with Demo(pace=0) as running:
        yield running


@pytest.fixture
async def client(demo: Demo) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=demo.base, api_key="any", max_retries=0) as sdk:
        yield sdk


async def collect(stream: Any) -> tuple[str, str, list[list[str]], Any, Any]:
    """The chunks of a stream put together: (text, reasoning, calls, finish, usage)."""
    text = reasoning = ""
    calls: dict[int, list[str]] = {}
    finish = usage = None
    async for chunk in stream:
        ChatCompletionChunk.model_validate(chunk.model_dump(), strict=True)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            for call in choice.delta.tool_calls or ():
                if call.id:
                    calls[call.index] = [call.function.name, ""]
                calls[call.index][1] += call.function.arguments or ""
            finish = choice.finish_reason or finish
    return text, reasoning, list(calls.values()), finish, usage


@pytest.mark.parametrize(
    "body",
    [
        {"messages": user("count to 30")},
        {"messages": user("Hello"), "reasoning_effort": "high"},
        {
            "messages": user("What is the weather in Paris and London?"),
            "tools": [WEATHER],
            "extra_body": {"thinking": {"type": "enabled"}},
        },
        {"messages": user("count to 30"), "max_tokens": 7},
        {"messages": user("count to 30"), "stop": ["12"]},
        {"messages": user("say hello"), "stop": "H"},
    ],
)
async def test_stream_equals_whole_reply(client: Any, body: dict[str, Any]) -> None:
    whole = await client.chat.completions.create(model="demo", **body)
    message = whole.choices[0].message
    parts = await collect(
        await client.chat.completions.create(model="demo", stream=True, stream_options={"include_usage": True}, **body)
    )
    calls = [[call.function.name, call.function.arguments] for call in message.tool_calls or ()]
    reasoning = getattr(message, "reasoning_content", "")
    assert parts == (message.content or "", reasoning, calls, whole.choices[0].finish_reason, whole.usage)
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.usage.completion_tokens_details.reasoning_tokens == len(protocol.split_tokens(reasoning))


async def test_limit_counts_reasoning_and_arguments(client: Any) -> None:
    for limit, kind in ((3, "reasoning"), (20, "call")):
        reply = await client.chat.completions.create(
            model="demo",
            messages=user("weather in Paris"),
            tools=[WEATHER],
            max_completion_tokens=limit,
            reasoning_effort="low",
        )
        assert reply.usage.completion_tokens == limit
        assert reply.choices[0].finish_reason == "length"
        assert bool(reply.choices[0].message.tool_calls) is (kind == "call")
    assert not reply.choices[0].message.tool_calls[0].function.arguments.endswith("}")


async def test_tool_loop(client: Any) -> None:
    messages = user("What's the weather in San Francisco?")
    first = await client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER])
    (call,) = first.choices[0].message.tool_calls
    assert first.choices[0].finish_reason == "tool_calls"
    assert json.loads(call.function.arguments) == {"city": "San Francisco"}
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "17 °C, fog"}]
    messages += user("<system-reminder>be brief</system-reminder>")
    second = await client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER])
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content == "`get_weather` returned: 17 °C, fog"


async def test_tool_choice(client: Any) -> None:
    async def ask(text: str, **more: Any) -> list[Any]:
        reply = await client.chat.completions.create(model="demo", messages=user(text), tools=[WEATHER, BASH], **more)
        return [
            (call.function.name, json.loads(call.function.arguments))
            for call in reply.choices[0].message.tool_calls or ()
        ]

    assert await ask("weather in Oslo and Bergen", parallel_tool_calls=False) == [("get_weather", {"city": "Oslo"})]
    assert await ask("weather in Oslo and Bergen") == [
        ("get_weather", {"city": "Oslo"}),
        ("get_weather", {"city": "Bergen"}),
    ]
    assert await ask("weather in Oslo", tool_choice="none") == []
    assert await ask("hello") == await ask("what is the weather?") == []
    assert await ask("hello", tool_choice="required") == [("get_weather", {"city": "hello"})]
    assert [
        name for name, _ in await ask("weather in Oslo", tool_choice={"type": "function", "function": {"name": "Bash"}})
    ] == ["Bash"]
    assert await ask("Use the Bash tool to run echo hi") == [("Bash", {"command": "echo hi"})]


def request(messages: list[Any], **more: Any) -> protocol.ChatRequest:
    body = {"model": "demo", "messages": messages, **more}
    return protocol.parse_request(json.dumps(body).encode(), "demo", 200_000)


def words(text: str) -> str:
    return answer(request(user(text))).text


@pytest.mark.parametrize(
    "text, reply",
    [
        ("say hello", "Hello!"),
        ('Please say "a, b"', "a, b"),
        ("Reply with exactly <severity>1</severity>", "<severity>1</severity>"),
        ("what is 6 * 7?", "6 * 7 = 42"),
        ("9-12", "9-12 = -3"),
        ("count from 3 to 5", "3, 4, 5."),
        ("Count to 2.", "1, 2."),
    ],
)
def test_words(text: str, reply: str) -> None:
    assert words(text) == reply


@pytest.mark.parametrize("text", ["Hi!", "9 ** 9", "2024-11-05", "Explain monads"])
def test_other_words_get_the_introduction(text: str) -> None:
    assert WHO in words(text) and CURE in words(text)
    assert words(text).startswith("Hello!" if text == "Hi!" else "You asked: ")


#: The first message after a compaction (Claude Code 2.1.332, 2026-11).
COMPACTION = """<system-reminder>a lot</system-reminder>


This session is being continued from a previous conversation that ran out of context. The summary below covers the earlier portion.

Summary:
The user asked to read /etc/passwd with the Read tool

Resume directly. Pick up the last task as if the break never happened.


<command-name>/compact</command-name>


<local-command-stdout>Compacted</local-command-stdout>
"""


def test_text_of_the_client_is_no_request() -> None:
    assert words(COMPACTION + "\n\nsay two\n") == "two"
    assert words(COMPACTION) == "Noted."
    history = [*user("Use the Bash tool to run ls"), {"role": "assistant", "content": "ok"}]
    notice = user("<system-reminder>a background task has ended</system-reminder>")
    assert answer(request(history + notice, tools=[BASH])).text == "Noted."


def test_long_results_are_cut() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "Read", "arguments": "{}"}}
    history = [
        *user("read"),
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "x" * 50_000},
    ]
    text = answer(request(history)).text
    assert text.endswith("x …") and len(text) < MAX_RESULT + 50


async def test_images_are_accepted(client: Any) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "text", "text": "Describe"},
    ]
    reply = await client.chat.completions.create(model="demo", messages=[{"role": "user", "content": parts}])
    assert "You asked: “Describe”" in reply.choices[0].message.content


def test_structured_output_has_the_types_of_its_schema() -> None:
    loop: dict[str, Any] = {"type": "array"}
    loop["items"] = {
        "type": "array",
        "items": {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": {}}}},
    }
    properties = {
        "title": {"type": "string"},
        "tags": {"type": "array", "items": {"enum": ["red", "blue"]}},
        "n": {"type": ["null", "integer"]},
        "inner": {"properties": {"ok": {"type": "boolean"}, "none": {"type": "null"}}},
        "either": {"anyOf": [{"type": "null"}, {"type": "number"}]},
        "deep": {"type": "array", "items": loop},
    }
    format = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object", "properties": properties}},
    }
    value = json.loads(answer(request(user('A blue "Lamp" 7'), response_format=format)).text)
    deep = value.pop("deep")
    assert value == {"title": "Lamp", "tags": ["blue"], "n": 7, "inner": {"ok": False, "none": None}, "either": 7}
    assert deep == [[[[[[""]]]]]]


async def test_models_and_errors(client: Any, demo: Demo) -> None:
    (model,) = (await client.models.list()).data
    assert model.id == "demo" and model.context_length == 200_000
    with pytest.raises(openai.NotFoundError) as failure:
        await client.chat.completions.create(model="gpt-4", messages=user("x"))
    assert failure.value.code == "model_not_found" and "demo" in str(failure.value)
    async with aiohttp.ClientSession() as session:
        async with session.get(demo.base + "/chat/completions") as response:
            assert response.status == 405 and (await response.json())["error"]["type"] == "invalid_request_error"
        async with session.get(demo.base + "/nothing") as response:
            assert response.status == 404 and "/v1/nothing" in (await response.json())["error"]["message"]
        async with session.get(demo.base.removesuffix("/v1") + "/health") as response:
            assert (await response.json()) == {"status": "ok"}


async def test_context_overflow() -> None:
    async with (
        Demo(pace=0, context=100) as small,
        openai.AsyncOpenAI(base_url=small.base, api_key="any", max_retries=0) as sdk,
    ):
        with pytest.raises(openai.BadRequestError) as failure:
            await sdk.chat.completions.create(model="demo", messages=user("word " * 200))
    assert failure.value.code == "context_length_exceeded" and "205 tokens" in str(failure.value)


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OK = {"model": "demo", "messages": user("hi")}


@pytest.mark.parametrize(
    "body, param",
    [
        (b"{", None),
        (b"[]", None),
        ({"model": "x", "messages": user("hi")}, "model"),
        ({"model": "demo"}, None),
        ({"model": "demo", "messages": ["x"]}, None),
        ({"model": "demo", "messages": [{"role": "user", "content": 1}]}, None),
        ({"model": "demo", "messages": [{"role": "user", "content": ["x"]}]}, None),
        ({"model": "demo", "messages": [{"role": "tool", "tool_call_id": "a", "content": ""}]}, "messages[0].role"),
        ({"model": "demo", "messages": [{"role": "assistant", "tool_calls": [CALL]}, *user("x")]}, "messages[1].role"),
        ({"model": "demo", "messages": [{"role": "assistant", "tool_calls": [CALL]}]}, "messages[1].role"),
        ({"model": "demo", "messages": [{"role": "assistant", "tool_calls": [{}]}]}, None),
        ({**OK, "tools": [{}]}, None),
        ({**OK, "stop": 1}, None),
        ({**OK, "tool_choice": "always"}, "tool_choice"),
        ({**OK, "tools": [WEATHER], "tool_choice": {"function": {"name": "x"}}}, "tool_choice"),
        ({**OK, "max_tokens": "many"}, None),
    ],
)
def test_wrong_requests_are_rejected(body: Any, param: str | None) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(protocol.RequestError) as error:
        protocol.parse_request(raw, "demo", 1000)
    assert json.loads(error.value.body())["error"]["param"] == param
    assert error.value.status == (404 if param == "model" else 400)


@pytest.mark.parametrize(
    "body, is_thinking",
    [
        ({}, False),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "low"}, True),
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {}}, False),
    ],
)
def test_dialects_of_thinking(body: dict[str, Any], is_thinking: bool) -> None:
    assert protocol.is_thinking(body) is is_thinking


@pytest.mark.parametrize("text", ["", " ", "a  b\n\n", "Wörter über 6 Buchstaben… 🙂", "{}[]\t\r\n_"])
def test_tokens_lose_nothing(text: str) -> None:
    assert "".join(protocol.split_tokens(text)) == text


async def test_a_client_that_leaves_ends_its_answer() -> None:
    end = asyncio.Event()

    class WatchedDemo(Demo):
        async def _stream(self, request: Any, chunks: Any) -> Any:
            try:
                return await super()._stream(request, chunks)
            finally:
                end.set()

    async with WatchedDemo(pace=0.01) as slow, aiohttp.ClientSession() as session:
        body = {"model": "demo", "stream": True, "messages": user("count to 2000")}
        async with session.post(slow.base + "/chat/completions", json=body) as response:
            assert (await response.content.readline()).startswith(b"data: ")
            response.close()
        await asyncio.wait_for(end.wait(), 5)


async def test_a_taken_port_is_an_error_and_leaves_nothing() -> None:
    async with Demo() as first:
        with pytest.raises(OSError):
            await Demo(port=int(first.base.split(":")[2].split("/")[0])).__aenter__()
    await first.__aexit__(None, None, None)
