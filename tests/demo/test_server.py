"""The demo upstream, over real sockets and by the real `openai` SDK, whose own types check what it sends."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from a2py.demo import Demo, answer, conversation, generate, protocol, tokens

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
    ],
)
async def test_stream_equals_unary(client: Any, body: dict[str, Any]) -> None:
    unary = await client.chat.completions.create(model="demo", **body)
    message = unary.choices[0].message
    streamed = await collect(
        await client.chat.completions.create(model="demo", stream=True, stream_options={"include_usage": True}, **body)
    )
    calls = [[call.function.name, call.function.arguments] for call in message.tool_calls or ()]
    reasoning = getattr(message, "reasoning_content", "")
    assert streamed == (message.content or "", reasoning, calls, unary.choices[0].finish_reason, unary.usage)
    assert unary.usage.total_tokens == unary.usage.prompt_tokens + unary.usage.completion_tokens
    assert unary.usage.completion_tokens_details.reasoning_tokens == tokens.count(reasoning)


async def test_limit_counts_reasoning_and_arguments(client: Any) -> None:
    for limit, kind in ((3, "reasoning"), (25, "call")):
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
    messages = user("What's the weather in San Francisco, CA in celsius?")
    first = await client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER])
    (call,) = first.choices[0].message.tool_calls
    assert first.choices[0].finish_reason == "tool_calls"
    assert json.loads(call.function.arguments) == {"city": "San Francisco, CA", "unit": "celsius"}
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "17 °C, fog"}]
    messages += user("<system-reminder>be brief</system-reminder>")
    second = await client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER])
    assert second.choices[0].finish_reason == "stop"
    assert "17 °C, fog" in second.choices[0].message.content and "get_weather" in second.choices[0].message.content


async def test_tool_choice(client: Any) -> None:
    async def ask(text: str, **more: Any) -> list[tuple[str, Any]]:
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
    assert await ask("weather in Oslo; do not use any tools") == []
    assert await ask("hello") == []
    assert [name for name, _ in await ask("hello", tool_choice="required")] == ["get_weather"]
    assert [
        name for name, _ in await ask("weather in Oslo", tool_choice={"type": "function", "function": {"name": "Bash"}})
    ] == ["Bash"]


@pytest.mark.parametrize(
    "text, call",
    [
        ("run `ls -la /tmp` and tell me", "ls -la /tmp"),
        ("Use the Bash tool to run echo hi", "echo hi"),
        ("list the files in this folder", "ls -la"),
        ("say hello", None),
        ("Explain what a shell is", None),
        ("How do people run a marathon?", None),
        ("What does `ls` mean?", None),
        ("Could you execute the command df -h.", "df -h"),
        ("", None),
    ],
)
def test_shell(text: str, call: str | None) -> None:
    found = answer.choose([BASH["function"]], text, "auto", True)
    assert (found.calls if found else None) == (None if call is None else [("Bash", {"command": call})])


@pytest.mark.parametrize(
    "ask, said",
    [
        ("say hello", "Hello!"),
        ('Please say "a, b"', "a, b"),
        ("Reply with one word: banana", "banana"),
        ("Repeat after me: x y", "x y"),
        ("What is 17 * 23?", "17 * 23 = 391"),
        ("2 ** 10 / 4", "2 ** 10 / 4 = 256"),
        ("-3 + (4 × 2)", "-3 + (4 × 2) = 5"),
        ("count from 3 to 5", "3, 4, 5."),
        ("count to 0", "."),
    ],
)
def test_words(ask: str, said: str) -> None:
    text = answer.words(conversation.Conversation(ask=ask), []).text
    assert text == said


@pytest.mark.parametrize(
    "ask", ["9 ** 9 ** 9", "1 / 0", "2024-11-05", "10 ** 65", "Explain monads", "", "999999 ** 64", "(" * 300 + "1+1"]
)
def test_what_no_rule_answers_says_what_it_is(ask: str) -> None:
    text = answer.words(conversation.Conversation(ask=ask), []).text
    assert answer.WHO in text and answer.CURE in text


@pytest.mark.parametrize(
    "ask, least, most",
    [("Tell me a story of 300 words about an otter", 270, 320), ("a poem", 60, 120), ("a long essay", 370, 420)],
)
def test_stories_have_their_length(ask: str, least: int, most: int) -> None:
    text = answer.words(conversation.Conversation(ask=ask), []).text
    assert least <= len(text.split()) <= most
    assert "otter" not in ask or "the otter" in text


@pytest.mark.parametrize(
    "ask, part",
    [
        ("Hi!", "Hello!"),
        ("who are you", answer.CURE),
        ("what tools do you have", "no tools"),
        ("sum: -7 - -2", "-7 - -2 = -5"),
    ],
)
def test_more_words(ask: str, part: str) -> None:
    assert part in answer.words(conversation.Conversation(ask=ask), []).text


def test_lists_tools_and_summarises() -> None:
    talk = conversation.Conversation(ask="which tools are there?")
    assert (
        "`Bash`\n- `get_weather`: Weather of a city" in answer.words(talk, [BASH["function"], WEATHER["function"]]).text
    )
    talk = conversation.Conversation(ask="Write a <summary>", asks=["first", "second", "Write a <summary>"])
    text = answer.words(talk, []).text
    assert text.endswith("</summary>") and "- first\n- second" in text
    assert (
        "nothing yet"
        in answer.words(conversation.Conversation(ask="summarize this chat", asks=["summarize this chat"]), []).text
    )


def test_report() -> None:
    results = [
        conversation.Result("Bash", "{}", "\n".join(map(str, range(50)))),
        conversation.Result("Read", "{}", "Error: no such file"),
        conversation.Result("Write", "{}", " "),
    ]
    text = answer.report(results).text
    assert (
        "… and 30 more lines." in text
        and "`Read` failed: Error: no such file" in text
        and "`Write` finished without output." in text
    )


async def test_images(client: Any) -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 40, 30)
    gif = b"GIF89a" + struct.pack("<HH", 7, 9)
    urls = [
        f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"
        for kind, raw in (("png", png), ("gif", gif), ("webp", b"x"))
    ]
    urls += ["https://example.com/a.png", "data:image/png;base64,%%%"]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    reply = await client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": [*parts, {"type": "text", "text": "Describe"}]}]
    )
    text = reply.choices[0].message.content
    for part in (
        "image/png of 40 × 30 pixels",
        "image/gif of 7 × 9 pixels",
        "image/webp (1 bytes)",
        "which I do not fetch",
        "base64 is broken",
    ):
        assert part in text
    assert reply.usage.prompt_tokens > 5 * conversation.IMAGE_TOKENS


def test_images_of_a_turn_without_words_belong_to_the_last_words() -> None:
    image = {"type": "image_url", "image_url": "https://example.com/a.png"}
    talk = conversation.read(
        [*user("look"), {"role": "assistant", "content": "ok"}, {"role": "user", "content": [image]}]
    )
    assert talk.ask == "look" and len(talk.images) == 1


def test_a_report_of_long_lines_is_short() -> None:
    told = answer.report([conversation.Result("Read", "{}", "\n".join(["x" * 50_000] * 50))]).text
    assert "… and 30 more lines." in told and len(told) < answer.LINES * (answer.LETTERS + 1) + 100


#: The first message behind a compaction (2.1.330, 2026-11).
COMPACTED = """<system-reminder>a lot</system-reminder>


This session is being continued from a previous conversation that ran out of context. The summary below covers the earlier portion.

Summary:
The user asked to read /etc/passwd with the Read tool

Resume directly. Pick up the last task as if the break never happened.


<local-command-caveat>The command below was run directly</local-command-caveat>


<command-name>/compact</command-name>
            <command-message>compact</command-message>


<local-command-stdout>Compacted</local-command-stdout>
"""


def test_what_stands_above_the_words_behind_a_compaction_is_not_asked() -> None:
    assert conversation.read(user(COMPACTED + "\n\nsay two\n")).ask == "say two"
    alone = conversation.read(user(COMPACTED))
    assert alone.ask == "" and alone.notice
    assert answer.answer(alone, [], "auto", True, {}).text == "Noted."


def test_a_notice_behind_an_answer_is_not_the_question_again() -> None:
    asked = [*user("Use the Bash tool to run ls"), {"role": "assistant", "content": "ok"}]
    for inside, said in (
        ("<result>\nHello!\n</result>", "It is done, with this result: Hello!"),
        ("something ended", "Noted."),
    ):
        talk = conversation.read([*asked, *user(f"<system-reminder>{inside}</system-reminder>")])
        assert answer.answer(talk, [BASH["function"]], "auto", True, {}).text == said


async def test_structured_output(client: Any) -> None:
    schema = {
        "$defs": {"tag": {"type": "string", "enum": ["red", "blue"]}},
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
            "n": {"type": ["integer", "null"]},
        },
        "required": ["title"],
    }
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    reply = await client.chat.completions.create(model="demo", messages=user('A blue "Lamp" 7'), response_format=format)
    assert json.loads(reply.choices[0].message.content) == {"title": "Lamp", "tags": ["blue"], "n": 7}
    reply = await client.chat.completions.create(
        model="demo", messages=user("what is 2 + 2"), response_format={"type": "json_object"}
    )
    assert json.loads(reply.choices[0].message.content) == {"answer": "2 + 2 = 4"}


async def test_models_and_errors(client: Any, demo: Demo) -> None:
    (model,) = (await client.models.list()).data
    assert model.id == "demo" and model.context_length == 200_000
    assert (await client.models.retrieve("demo")).id == "demo"
    with pytest.raises(openai.NotFoundError) as failure:
        await client.models.retrieve("other")
    assert failure.value.code == "model_not_found"
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
    assert failure.value.code == "context_length_exceeded" and "208 tokens" in str(failure.value)


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OK = {"model": "demo", "messages": user("hi")}


@pytest.mark.parametrize(
    "body, param",
    [
        (b"{", None),
        (b"[]", None),
        ({}, None),
        ({"model": "demo"}, "messages"),
        ({"model": "demo", "messages": {}}, "messages"),
        ({"model": "demo", "messages": []}, "messages"),
        ({"model": "demo", "messages": [{"role": "bot"}]}, "messages[0].role"),
        ({"model": "demo", "messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"model": "demo", "messages": [{"role": "tool", "tool_call_id": "a", "content": ""}]}, "messages[0].role"),
        ({"model": "demo", "messages": [{"role": "assistant", "tool_calls": [CALL]}, *user("x")]}, "messages[1].role"),
        (
            {"model": "demo", "messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]},
            "messages[0].tool_calls[0]",
        ),
        ({"model": "demo", "messages": [{"role": "assistant", "tool_calls": {"a": 1}}]}, "messages[0].tool_calls"),
        ({**OK, "tools": {}}, "tools"),
        ({**OK, "tools": []}, "tools"),
        ({**OK, "tools": [{}]}, "tools[0].function"),
        ({**OK, "tools": [{"function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({**OK, "tool_choice": "auto"}, "tool_choice"),
        ({**OK, "tools": [WEATHER], "tool_choice": {"function": {"name": "x"}}}, "tool_choice"),
        ({**OK, "max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({**OK, "max_tokens": "1"}, "max_tokens"),
        ({**OK, "max_tokens": 0}, "max_tokens"),
        ({**OK, "stop": 1}, "stop"),
        ({**OK, "stop": list("abcde")}, "stop"),
        ({**OK, "n": 2}, "n"),
        ({**OK, "stream_options": {}}, "stream_options"),
    ],
)
def test_refusals(body: dict[str, Any], param: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(protocol.Refused) as refused:
        protocol.check(raw, ("demo",), 1000)
    assert json.loads(refused.value.body())["error"]["param"] == param
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body, on",
    [
        ({}, False),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "low"}, True),
        ({"reasoning": {"effort": "high"}}, True),
        ({"reasoning": {"enabled": True}}, True),
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {}}, False),
        ({"enable_thinking": True}, True),
        ({"think": "high"}, True),
        ({"think": False}, False),
    ],
)
def test_every_dialect_of_thinking(body: dict[str, Any], on: Any) -> None:
    assert protocol.thinks(body) is on


@pytest.mark.parametrize("text", ["", " ", "a  b\n\n", "Wörter über 6 Buchstaben… 🙂", "{}[]\t\r\n_"])
def test_tokens_lose_nothing(text: str) -> None:
    assert "".join(tokens.split(text)) == text and tokens.count(text) == len(tokens.split(text))


def test_a_stop_at_the_beginning_leaves_an_empty_text() -> None:
    ask = protocol.check(json.dumps({**OK, "messages": user("say hello"), "stop": "H"}).encode(), ("demo",), 1000)
    reply = generate.Reply()
    assert list(generate.deltas(ask, reply, lambda: "id")) == []
    assert reply.message()["content"] == "" and reply.finish == "stop"


async def test_a_client_that_leaves_ends_its_answer() -> None:
    ended = asyncio.Event()

    class Watched(Demo):
        async def _stream(self, request: Any, ask: Any, head: Any) -> Any:
            try:
                return await super()._stream(request, ask, head)
            finally:
                ended.set()

    async with Watched(pace=0.01) as slow, aiohttp.ClientSession() as session:
        body = {"model": "demo", "stream": True, "messages": user("count to 2000")}
        async with session.post(slow.base + "/chat/completions", json=body) as response:
            assert (await response.content.readline()).startswith(b"data: ")
            response.close()
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_taken_port_is_an_error_and_leaves_nothing() -> None:
    async with Demo() as first:
        with pytest.raises(OSError):
            await Demo(port=int(first.base.split(":")[2].split("/")[0])).__aenter__()
    await first.__aexit__(None, None, None)
