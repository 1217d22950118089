"""The tool runner of Anthropic's SDK, whose second request holds only the tool's result."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import anthropic
from anthropic import beta_tool

from a2py.quirks import Quirks
from tests.proxied import Running, config, deployment, message, run_proxy
from tests.scripted import SSE, Peer, ScriptedServer, chunk, completion, refusing, text

#: A deployment of Anthropic itself.
VENDOR: dict[str, Any] = {"wire": "native", "quirks": replace(Quirks(), native_betas="all", mid_system="inline")}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
CONTINUE: dict[str, Any] = {"thread": {"type": "continue", "previous_message_id": "msg_1"}}
USAGE = {"input_tokens": 1, "output_tokens": 1}


@beta_tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"rain in {city}"


async def chat_model(c: Peer) -> None:
    """Call the tool, then answer with its result. A request without the question is an orphan."""
    messages = c.request.json["messages"]
    assert "Rome?" in str(messages[0]), messages
    is_answered = messages[-1]["role"] == "tool"
    if c.request.json.get("stream"):
        c.head(200, SSE)
        call = [chunk({"tool_calls": [CALL]}), chunk(finish="tool_calls"), "[DONE]"]
        c.events(*(text("Take a coat") if is_answered else call))
        c.end()
    elif is_answered:
        c.reply(completion("Take a coat"))
    else:
        c.reply(completion("", "tool_calls", tool_calls=[CALL]))


def run_tools(proxy: Running, stream: bool) -> str:
    """Return the last answer of the SDK's tool runner."""
    question: Any = {"role": "user", "content": "Rome?"}
    arguments: Any = {"model": "test-model", "max_tokens": 100, "messages": [question], "tools": [weather]}
    last: Any = None
    with anthropic.Anthropic(base_url=proxy.base, api_key="x", max_retries=0, timeout=30) as client:
        turns: Any = client.beta.messages.tool_runner(**arguments, max_iterations=4, stream=stream)
        for turn in turns:
            last = turn.get_final_message() if stream else turn
    return str(last.content[0].text)


async def test_the_tool_runner_sends_everything_again() -> None:
    async with ScriptedServer(chat_model) as upstream, run_proxy(config(upstream.base)) as proxy:
        for stream in (False, True):
            before = len(upstream.requests)
            assert await asyncio.to_thread(run_tools, proxy, stream) == "Take a coat"
            assert len(upstream.requests) - before == 2


async def test_who_keeps_no_threads_refuses_them_on_every_wire() -> None:
    for wire in ("chat", "responses", "native"):
        async with ScriptedServer(chat_model) as upstream:
            settings = config(deployments=(deployment(upstream.base, wire=wire),))
            async with run_proxy(settings) as proxy:
                answer = await proxy.ask(message(**CONTINUE))
                assert answer.status == 400
                assert answer.json["error"]["details"] == {"error_code": "thread_unsupported_request"}
            assert not upstream.requests


async def test_the_vendor_gets_the_thread() -> None:
    async def answer(c: Peer) -> None:
        content = [{"type": "text", "text": "Hi"}]
        c.reply(
            {
                "id": "msg_2",
                "type": "message",
                "role": "assistant",
                "content": content,
                "stop_reason": "end_turn",
                "usage": USAGE,
            }
        )

    async with ScriptedServer(answer) as upstream, ScriptedServer(chat_model) as other:
        settings = config(
            deployments=(deployment(upstream.base, **VENDOR), deployment(other.base, id="b")),
        )
        async with run_proxy(settings) as proxy:
            for _ in range(8):
                assert (await proxy.ask(message(stream=False, **CONTINUE))).status == 200
        assert [request.json["thread"] for request in upstream.requests] == [CONTINUE["thread"]] * 8
        assert not other.requests


async def test_a_thread_never_falls_back() -> None:
    async with ScriptedServer(refusing(529)) as upstream, ScriptedServer(chat_model) as other:
        settings = config(
            deployments=(
                deployment(upstream.base, **VENDOR),
                deployment(other.base, id="b"),
                deployment(other.base, "spare", id="c"),
            ),
            fallbacks=[{"test-model": ["spare"]}],
        )
        async with run_proxy(settings) as proxy:
            assert (await proxy.ask(message(**CONTINUE))).status == 529
        assert len(upstream.requests) == 1 and not other.requests


async def test_errors_about_a_thread_reach_the_client() -> None:
    details = {"error_code": "thread_not_found"}

    async def lose_thread(c: Peer) -> None:
        error = {"type": "not_found_error", "message": "no such thread", "details": details}
        c.reply({"type": "error", "error": error}, 404)

    async with ScriptedServer(lose_thread) as upstream:
        async with run_proxy(config(deployments=(deployment(upstream.base, **VENDOR),))) as proxy:
            for _ in range(2):
                answer = await proxy.ask(message(**CONTINUE))
                assert answer.status == 404 and answer.json["error"]["details"] == details
        assert len(upstream.requests) == 2
