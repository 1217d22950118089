"""Retry, fallback and lessons over real sockets: the client sees one answer, whoever gave it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from a2py.config import Config, Settings
from a2py.quirks import Quirks
from tests.proxied import config, deployment, message, run_proxy, settle
from tests.scripted import DONE, SSE, Peer, ScriptedServer, answering, chunk, completion, refusing


async def test_a_retry_after_a_500() -> None:
    async with (
        ScriptedServer(refusing(500), answering("second")) as upstream,
        run_proxy(config(upstream.base, num_retries=1)) as proxy,
    ):
        answer = await proxy.ask(message())
        line = next(line for line in proxy.lines if line["event"] == "request")
    assert answer.names[-1] == "message_stop" and len(upstream.requests) == 2
    assert line["status"] == 200 and line["attempts"] == 2


async def test_a_429_goes_to_another_of_the_name_at_once() -> None:
    async with (
        ScriptedServer(refusing(429, headers={"retry-after": "30"})) as busy,
        ScriptedServer(answering("other")) as free,
    ):
        settings = config(
            deployments=(deployment(busy.base, id="busy", order=1), deployment(free.base, id="free", order=2))
        )
        async with run_proxy(settings) as proxy:
            for _ in range(3):
                assert (await proxy.ask(message())).names[-1] == "message_stop"
            assert len(busy.requests) == 1, "it cools down for as long as it said"
            assert len(free.requests) == 3


@pytest.mark.parametrize("stream", [True, False])
async def test_a_429_without_another_is_passed_on_at_once(stream: bool) -> None:
    async with (
        ScriptedServer(refusing(429, headers={"retry-after": "30"})) as upstream,
        run_proxy(config(upstream.base, num_retries=5)) as proxy,
    ):
        answer = await proxy.ask(message(stream=stream))
    assert answer.status == 429 and answer.headers["retry-after"] == "30" and len(upstream.requests) == 1


async def test_a_fallback_is_translated_anew() -> None:
    """Another model, another dialect: nothing of the first translation is left in the second."""
    async with ScriptedServer(refusing(503)) as first, ScriptedServer(answering("from the fallback")) as second:
        settings = config(
            deployments=(
                deployment(
                    first.base,
                    id="first",
                    quirks=Quirks(max_tokens_field="max_completion_tokens", system_role="developer"),
                ),
                deployment(second.base, name="other", id="second", model="other-model"),
            ),
            fallbacks={"test-model": ("other",)},
        )
        async with run_proxy(settings) as proxy:
            answer = await proxy.ask(message(system="Be brief.", stream=False))
    assert answer.json["content"][0]["text"] == "from the fallback"
    assert answer.json["model"] == "test-model", "the name that the client asked for"
    assert (
        first.requests[0].json["max_completion_tokens"] == 100
        and first.requests[0].json["messages"][0]["role"] == "developer"
    )
    body = second.requests[0].json
    assert body["max_tokens"] == 100 and body["messages"][0]["role"] == "system" and body["model"] == "other-model"


async def test_an_overflow_goes_to_the_larger_context() -> None:
    overflow = refusing(
        400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    )
    async with ScriptedServer(overflow) as small, ScriptedServer(answering("large")) as large:
        settings = Config(
            deployments=(deployment(small.base), deployment(large.base, name="large", id="large")),
            settings=Settings(num_retries=0, drain_seconds=5.0, context_window_fallbacks={"test-model": ("large",)}),
        )
        async with run_proxy(settings) as proxy:
            assert (await proxy.ask(message())).names[-1] == "message_stop"
    async with ScriptedServer(overflow) as small, run_proxy(config(small.base, num_retries=3)) as proxy:
        answer = await proxy.ask(message())
        assert answer.status == 400 and answer.json["error"]["message"].startswith(
            "prompt is too long: 9000 tokens > 8192 maximum"
        )
        assert len(small.requests) == 1


async def test_an_error_in_the_stream_before_content_falls_back_too() -> None:
    async def broken(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"role": "assistant", "content": ""}), {"error": {"message": "overloaded", "code": 529}})
        c.end()

    async with ScriptedServer(broken) as first, ScriptedServer(answering("second")) as second:
        settings = config(
            deployments=(deployment(first.base, id="a", order=1), deployment(second.base, id="b", order=2))
        )
        async with run_proxy(settings) as proxy:
            answer = await proxy.ask(message())
    assert answer.names.count("message_start") == 1 and answer.names[-1] == "message_stop"


async def test_a_dead_deployment_is_passed_over() -> None:
    async with ScriptedServer(answering("x")) as server:
        dead = server.base
    async with ScriptedServer(answering("alive")) as upstream:
        settings = config(
            deployments=(deployment(dead, id="dead", order=1), deployment(upstream.base, id="alive", order=2))
        )
        async with run_proxy(settings) as proxy:
            for _ in range(6):
                assert (await proxy.ask(message())).names[-1] == "message_stop"
            assert proxy.services.router.cooldowns.report()[0]["deployment"] == "dead"


async def test_a_running_stream_keeps_its_configuration() -> None:
    go = asyncio.Event()

    async def late(c: Peer) -> None:
        await go.wait()
        c.reply({"error": {"message": "busy"}}, 500)

    async with (
        ScriptedServer(late, answering("old")) as old,
        ScriptedServer(answering("new")) as new,
        run_proxy(config(old.base, num_retries=1)) as proxy,
    ):
        async with proxy.client() as client:
            client.ask("POST", "/v1/messages", message())
            await settle(lambda: old.requests)
            proxy.services.reload(config(new.base))
            go.set()
            assert (await client.answer()).names[-1] == "message_stop"
        assert len(old.requests) == 2 and not new.requests
        await proxy.ask(message())
        assert len(new.requests) == 1


# -- lessons -----------------------------------------------------------------------------------------------------------


def unknown(field: str) -> Any:
    return refusing(400, f"Unknown parameter: '{field}'.", param=field, code="unknown_parameter")


async def test_a_refused_field_is_left_out_and_remembered() -> None:
    async def script(c: Peer) -> None:
        if "stream_options" in c.request.json:
            await unknown("stream_options")(c)
        else:
            await answering("Hi")(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        for _ in range(3):
            assert (await proxy.ask(message())).names[-1] == "message_stop"
        notes = [line.get("notes") for line in proxy.lines if line["event"] == "request"]
    assert ["stream_options" in request.json for request in upstream.requests] == [True, False, False, False]
    assert notes == ["learned stream_usage", None, None]


async def test_several_lessons_for_one_request() -> None:
    fields = ("stream_options", "top_p", "parallel_tool_calls")

    async def script(c: Peer) -> None:
        bad = next((field for field in fields if field in c.request.json), None)
        await (unknown(bad) if bad else answering("Hi"))(c)

    body = message(
        top_p=0.5,
        tools=[{"name": "f", "input_schema": {"type": "object"}}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )
    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        assert (await proxy.ask(body)).names[-1] == "message_stop"
    assert len(upstream.requests) == 4


async def test_a_lesson_that_does_not_help_is_not_tried_twice() -> None:
    async with (
        ScriptedServer(unknown("stream_options")) as upstream,
        run_proxy(config(upstream.base, num_retries=3)) as proxy,
    ):
        answer = await proxy.ask(message())
    assert answer.status == 400 and len(upstream.requests) == 2


async def test_a_limit_that_holds_for_this_request_only() -> None:
    """Too large a max_tokens for this prompt: lowered and asked once more, but nothing is remembered."""
    words = "This model's maximum context length is 8192 tokens. However, you requested 8292 tokens (4192 in the messages, 4100 in the completion)."

    async def script(c: Peer) -> None:
        await (refusing(400, words) if c.request.json["max_tokens"] > 4000 else answering("Hi"))(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(max_tokens=4100))
        assert answer.status == 200, answer.body
        assert not proxy.services.lessons.report()
    assert [request.json["max_tokens"] for request in upstream.requests] == [4100, 4000]


async def test_an_upstream_that_only_streams() -> None:
    async with ScriptedServer(answering("Hel", "lo")) as upstream:
        settings = config(deployments=(deployment(upstream.base, quirks=Quirks(stream_only=True)),))
        async with run_proxy(settings) as proxy:
            answer = await proxy.ask(message(stream=False))
    assert answer.json["content"] == [{"type": "text", "text": "Hello"}] and upstream.requests[0].json["stream"] is True


@pytest.mark.parametrize("wire", ["native", "responses"])
async def test_a_wire_that_the_upstream_does_not_speak(wire: str) -> None:
    """404 on the wire that was chosen by itself: chat completions, at once, and remembered."""

    async def script(c: Peer) -> None:
        await (answering("Hi") if c.request.target == "/v1/chat/completions" else refusing(404, "Not Found"))(c)

    async with ScriptedServer(script) as upstream:
        base = upstream.base if wire == "responses" else upstream.base.removesuffix("/v1")
        async with run_proxy(config(deployments=(deployment(base, wire=wire),))) as proxy:
            for _ in range(2):
                assert (await proxy.ask(message())).names[-1] == "message_stop"
            assert proxy.services.lessons.report()[0]["field"] == "wire"
        assert [request.target for request in upstream.requests][1:] == ["/v1/chat/completions"] * 2
        async with run_proxy(config(deployments=(deployment(base, wire=wire, wire_fixed=True),))) as proxy:
            assert (await proxy.ask(message())).status == 404


async def test_a_model_that_no_wire_has_teaches_no_wire() -> None:
    script = refusing(404, "model not found", code="model_not_found")
    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(deployments=(deployment(upstream.base, wire="responses"),))) as proxy,
    ):
        for _ in range(2):
            assert (await proxy.ask(message())).status == 404
        assert proxy.services.lessons.report() == []
    assert [request.target for request in upstream.requests] == ["/v1/responses", "/v1/chat/completions"] * 2


async def test_a_wire_is_remembered_once_a_request_has_gone_through_on_it() -> None:
    """Not after a refusal there: a client that provokes a 404 and then a 400 must not choose the wire for the
    others."""
    refuse = True

    async def script(c: Peer) -> None:
        if c.request.target == "/v1/responses":
            await refusing(405, "Not allowed")(c)
        else:
            await (refusing(400, "no such tool") if refuse else answering("Hi"))(c)

    both = ["/v1/responses", "/v1/chat/completions"]
    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(deployments=(deployment(upstream.base, wire="responses"),))) as proxy,
    ):
        assert [(await proxy.ask(message())).status for _ in range(2)] == [400, 400]
        assert [request.target for request in upstream.requests] == both * 2
        refuse = False
        assert [(await proxy.ask(message())).status for _ in range(2)] == [200, 200]
    assert [request.target for request in upstream.requests] == both * 3 + ["/v1/chat/completions"]


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        (
            "This model is only supported in v1/responses and not in v1/chat/completions.",
            ["/v1/chat/completions", "/v1/responses", "/v1/responses"],
        ),
        ("The model does not exist.", ["/v1/chat/completions"] * 2),
    ],
)
async def test_a_model_that_is_served_by_responses_alone(words: str, targets: list[str]) -> None:
    whole = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
    }

    async def script(c: Peer) -> None:
        if c.request.target == "/v1/responses":
            c.reply(whole)
        else:
            await refusing(404, words, param="model")(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        for _ in range(2):
            answer = await proxy.ask(message(stream=False))
            assert answer.status == (200 if "/v1/responses" in targets else 404)
    assert [request.target for request in upstream.requests] == targets


# -- the log -----------------------------------------------------------------------------------------------------------


async def test_one_line_a_request_and_never_content() -> None:
    async with ScriptedServer(answering("the secret answer")) as upstream, run_proxy(config(upstream.base)) as proxy:
        await proxy.ask(message("the secret question", top_k=3, metadata={"user_id": '{"session_id":"s-1"}'}))
        lines = [line for line in proxy.lines if line["event"] == "request"]
        assert "secret" not in proxy.log
    assert len(lines) == 1
    line = lines[0]
    assert line["model"] == "test-model" and line["upstream"] == "d0/upstream-model" and line["wire"] == "chat"
    assert (
        line["status"] == 200
        and line["in"] == 11
        and line["out"] == 3
        and line["stop"] == "end_turn"
        and line["degraded"] == "top_k"
    )
    assert line["id"].startswith("req_") and line["ms"] >= line["first_ms"]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_line_tells_the_stop_reason_that_the_client_got(stream: bool) -> None:
    """Ollama and others say `stop` after a tool call."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

    async def script(c: Peer) -> None:
        if stream:
            c.head(200, SSE)
            c.events(chunk({"tool_calls": [call]}), chunk({}, "stop"), DONE)
            c.end()
        else:
            c.reply(completion("", tool_calls=[call]))

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        tools = [{"name": "f", "input_schema": {"type": "object"}}]
        assert (await proxy.ask(message(stream=stream, tools=tools))).status == 200
        (line,) = [line for line in proxy.lines if line["event"] == "request"]
    assert line["stop"] == "tool_use"


@pytest.mark.parametrize("stream", [True, False])
async def test_what_was_lost_is_told(stream: bool) -> None:
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(stream=stream, top_k=3))
        assert answer.headers["x-a2py-degraded"] == "top_k"
        assert "x-a2py-degraded" not in (await proxy.ask(message(stream=stream))).headers
