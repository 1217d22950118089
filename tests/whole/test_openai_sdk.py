"""The real `openai` SDK through the whole proxy, against a scripted upstream."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.proxied import config, deployment, run_proxy, settle
from tests.scripted import SSE, Peer, Script, ScriptedServer, answering, chunk, completion, refusing, text, usage

HELLO: Any = [{"role": "user", "content": "Hi"}]


@asynccontextmanager
async def speaking(*scripts: Script, suffix: str = "/v1", **more: Any) -> AsyncIterator[Any]:
    """The SDK's client, the upstream and the proxy."""
    async with (
        ScriptedServer(*scripts) as upstream,
        run_proxy(config(upstream.base, **more)) as proxy,
        openai.AsyncOpenAI(base_url=proxy.base + suffix, api_key="k", max_retries=0) as client,
    ):
        yield client, upstream, proxy


@pytest.mark.parametrize("suffix", ["/v1", "", "/openai/v1"])
async def test_chat(suffix: str) -> None:
    async with speaking(answering("Hel", "lo"), suffix=suffix) as (client, upstream, proxy):
        answer = await client.chat.completions.create(model="test-model", messages=HELLO)
        assert answer.choices[0].message.content == "Hello" and answer.usage.total_tokens == 14
        assert answer._request_id == proxy.lines[-1]["id"]
        stream = await client.chat.completions.create(model="test-model", messages=HELLO, stream=True)
        chunks = [one async for one in stream]
        assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == "Hello"
        assert upstream.requests[1].json["model"] == "upstream-model"


async def test_tools_in_a_stream() -> None:
    async def script(c: Peer) -> None:
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
        rest = {"index": 0, "function": {"arguments": '"b"}'}}
        assert c.request.json["tools"][0]["function"]["name"] == "f"
        c.head(200, SSE)
        for piece in (chunk({"tool_calls": [call]}), chunk({"tool_calls": [rest]}), chunk({}, "tool_calls")):
            c.events(piece)
            await c.drain()
        c.events(b"data: [DONE]\n\n")
        c.end()

    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
    async with speaking(script) as (client, _, _):
        async with client.chat.completions.stream(model="test-model", messages=HELLO, tools=[tool]) as stream:
            final = await stream.get_final_completion()
        (tool_call,) = final.choices[0].message.tool_calls
        assert (tool_call.function.name, tool_call.function.arguments) == ("f", '{"a":"b"}')


class City(BaseModel):
    name: str
    people: int


async def test_structured_output() -> None:
    async def script(c: Peer) -> None:
        assert c.request.json["response_format"]["json_schema"]["name"] == "City"
        c.reply(completion('{"name": "Rome", "people": 3}'))

    async with speaking(script) as (client, _, _):
        parsed = await client.chat.completions.parse(model="test-model", messages=HELLO, response_format=City)
        assert parsed.choices[0].message.parsed == City(name="Rome", people=3)


def response(text_: str, id: str = "resp_1", status: str = "completed") -> dict[str, Any]:
    content = [{"type": "output_text", "text": text_, "annotations": []}]
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    tokens = {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6}
    details = {"input_tokens_details": {"cached_tokens": 1}, "output_tokens_details": {"reasoning_tokens": 0}}
    return {
        "id": id,
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "upstream-model",
        "output": [message] if text_ else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {**tokens, **details} if text_ else None,
    }


async def responses(c: Peer) -> None:
    if not c.request.json.get("stream"):
        c.reply(response("Hello"))
        return
    part = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    c.head(200, SSE)
    bodies: list[dict[str, Any]] = [
        {"type": "response.created", "response": response("", status="in_progress")},
        {"type": "response.output_text.delta", **part, "delta": "Hel", "logprobs": []},
        {"type": "response.output_text.delta", **part, "delta": "lo", "logprobs": []},
        {"type": "response.completed", "response": response("Hello")},
    ]
    for n, body in enumerate(bodies):
        c.chunk(f"event: {body['type']}\ndata: {json.dumps({**body, 'sequence_number': n})}\n\n".encode())
        await c.drain()
        await asyncio.sleep(0)
    c.end()


async def test_responses() -> None:
    async with speaking(responses) as (client, upstream, proxy):
        answer = await client.responses.create(model="test-model", input="Hi")
        assert answer.output_text == "Hello"
        stream = await client.responses.create(model="test-model", input="Hi", stream=True)
        events = [one async for one in stream]
        assert [one.delta for one in events if one.type == "response.output_text.delta"] == ["Hel", "lo"]
        more = await client.responses.create(model="test-model", input="more", previous_response_id=answer.id)
        assert more.output_text == "Hello" and upstream.requests[-1].json["previous_response_id"] == "resp_1"
        assert [(line["in"], line["cached"], line["out"]) for line in proxy.lines] == [(3, 1, 2)] * 3
        with pytest.raises(openai.NotFoundError, match="name none"):
            await client.responses.retrieve("resp_1")
        with pytest.raises(openai.NotFoundError, match="name none"):
            await client.files.list()


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings(encoding: str) -> None:
    """The SDK asks for base64 by itself."""
    vectors: dict[str, Any] = {"float": [0.5, 1.0], "base64": "AAAAPwAAgD8="}

    async def script(c: Peer) -> None:
        row = {"object": "embedding", "index": 0, "embedding": vectors[c.request.json["encoding_format"]]}
        tokens = {"prompt_tokens": 3, "total_tokens": 3}
        c.reply({"object": "list", "model": "m", "usage": tokens, "data": [row]})

    async with speaking(script) as (client, _, proxy):
        more: dict[str, Any] = {"encoding_format": "float"} if encoding == "float" else {}
        answer = await client.embeddings.create(model="test-model", input="Hi", **more)
        assert answer.data[0].embedding == [0.5, 1.0] and proxy.lines[-1]["in"] == 3


async def test_audio_of_20_mb() -> None:
    audio = os.urandom(20 * 1024 * 1024)

    async def script(c: Peer) -> None:
        assert audio in c.request.body and b'name="model"\r\n\r\nupstream-model\r\n' in c.request.body
        c.reply(
            {"text": "spoken", "usage": {"type": "tokens", "input_tokens": 9, "output_tokens": 2, "total_tokens": 11}}
        )

    async with speaking(refusing(500), script, num_retries=1) as (client, upstream, proxy):
        file = ("a.wav", io.BytesIO(audio), "audio/wav")
        transcription = await client.audio.transcriptions.create(model="test-model", file=file)
        assert transcription.text == "spoken" and len(upstream.requests) == 2, "it was asked again, whole"
        assert (proxy.lines[-1]["in"], proxy.lines[-1]["out"], proxy.lines[-1]["attempts"]) == (9, 2, 2)
        with pytest.warns(DeprecationWarning):
            translation = await client.audio.translations.create(model="test-model", file=("a.wav", audio, "audio/wav"))
        assert translation.text == "spoken" and upstream.requests[-1].target == "/v1/audio/translations"


async def test_speech_and_images() -> None:
    sound = os.urandom(100_000)

    async def script(c: Peer) -> None:
        if c.request.target.endswith("/speech"):
            c.head(200, {"content-type": "audio/mpeg"})
            for n in range(0, len(sound), 7000):
                c.chunk(sound[n : n + 7000])
                await c.drain()
            c.end()
            return
        if c.request.target.endswith("/edits"):
            assert b'name="image"' in c.request.body and b"upstream-model" in c.request.body
        c.reply({"created": 1, "data": [{"b64_json": "aGk="}]})

    async with speaking(script) as (client, _, _):
        speech = await client.audio.speech.create(model="test-model", voice="alloy", input="Hi")
        assert speech.content == sound
        generation = await client.images.generate(model="test-model", prompt="a cat")
        assert generation.data[0].b64_json == "aGk="
        edit = await client.images.edit(model="test-model", image=("a.png", b"\x89PNG", "image/png"), prompt="blue")
        assert edit.data[0].b64_json == "aGk="


async def test_moderations_and_completions() -> None:
    async def script(c: Peer) -> None:
        if c.request.target.endswith("/moderations"):
            c.reply({"id": "modr_1", "model": "m", "results": []})
            return
        choice = {"index": 0, "text": "there", "finish_reason": "stop", "logprobs": None}
        c.reply(
            {
                "id": "cmpl_1",
                "object": "text_completion",
                "created": 1,
                "model": "m",
                "choices": [choice],
                "usage": usage(),
            }
        )

    async with speaking(script) as (client, _, proxy):
        assert (await client.moderations.create(model="test-model", input="Hi")).id == "modr_1"
        assert (await client.completions.create(model="test-model", prompt="Hi")).choices[0].text == "there"
        assert (proxy.lines[-1]["in"], proxy.lines[-1]["out"]) == (11, 3)


async def test_cancel_closes_the_upstream() -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*text("Hel")[:2])
        await c.drain()
        await c.wait_disconnect()

    async with speaking(script) as (client, upstream, proxy):
        stream = await client.chat.completions.create(model="test-model", messages=HELLO, stream=True)
        async for one in stream:
            if one.choices[0].delta.content:
                break
        await stream.close()
        await asyncio.wait_for(upstream.someone_left.wait(), 10)
        await settle(lambda: any(line.get("status") == 499 for line in proxy.lines))


async def test_errors_are_the_sdks_own() -> None:
    async def breaks(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "Hel"}))
        await c.drain()
        await asyncio.sleep(0.02)
        c.reset()

    async with speaking(refusing(429, "slow down", {"retry-after": "1"}), breaks) as (client, _, _):
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.chat.completions.create(model="nope", messages=HELLO)
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.RateLimitError, match="slow down"):
            await client.chat.completions.create(model="test-model", messages=HELLO)
        with pytest.raises(openai.APIError, match="closed the stream early"):
            async for _ in await client.chat.completions.create(model="test-model", messages=HELLO, stream=True):
                pass
    async with speaking(answering("Hi"), master_key="sk-master") as (client, _, _):
        with pytest.raises(openai.AuthenticationError, match="master_key"):
            await client.chat.completions.create(model="test-model", messages=HELLO)
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


async def test_models() -> None:
    """One list for the clients of both APIs."""
    names = [f"model-{n:02d}" for n in range(30)]
    settings = config(deployments=tuple(deployment("http://127.0.0.1:1/v1", name, id=name) for name in names))
    async with run_proxy(settings) as proxy, openai.AsyncOpenAI(base_url=proxy.base + "/v1", api_key="k") as client:
        models = [model async for model in client.models.list()]
        assert [model.id for model in models][:30] == names
        assert {(model.object, model.created, model.owned_by) for model in models} == {("model", 0, "scripted")}
        assert (await client.models.retrieve("model-03")).id == "model-03"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nope")
        for headers in ({}, {"anthropic-version": "2023-06-01"}):
            page = (await proxy.ask(None, "/v1/models", "GET", headers)).json
            assert page["object"] == "list" and len(page["data"]) == 60 and page["has_more"] is False
        for path in ("/model/info", "/v1/model/info"):
            row = (await proxy.ask(None, path, "GET")).json["data"][0]
            assert row["model_name"] == "model-00" and row["model_info"]["mode"] == "chat"
        for path in ("/models", "/models/model-03", "/openai/v1/models"):
            assert (await proxy.ask(None, path, "GET")).status == 200


async def test_errors_of_the_list_of_models_have_the_shape_of_the_client_s_api() -> None:
    anthropic_header = {"anthropic-version": "2023-06-01"}
    async with run_proxy(config("http://127.0.0.1:1/v1", master_key="sk-m")) as proxy:
        async with openai.AsyncOpenAI(base_url=proxy.base + "/v1", api_key="sk-m") as client:
            with pytest.raises(openai.NotFoundError) as not_found:
                await client.models.retrieve("nope")
            assert not_found.value.code == "model_not_found" and not_found.value.param == "model"
            assert (not_found.value.request_id or "").startswith("req_")
            with pytest.raises(openai.AuthenticationError) as excinfo:
                await client.with_options(api_key="wrong").models.list()
            assert excinfo.value.code == "invalid_api_key" and excinfo.value.request_id
        for path in ("/v1/models", "/models/x", "/x/v1/models/y"):
            error = await proxy.ask(None, path, "GET", anthropic_header)
            assert error.status == 401 and error.json["type"] == "error" and "x-request-id" not in error.headers
            error = await proxy.ask(None, path, "GET")
            assert error.status == 401 and set(error.json) == {"error"} and "x-request-id" in error.headers
            error = await proxy.ask(None, path, "PUT", {"x-api-key": "sk-m"})
            assert error.status == 405 and set(error.json) == {"error"} and "GET" in error.headers["allow"]


async def test_the_sdks_own_retries_stop_where_nothing_would_change() -> None:
    async with speaking(answering("Hi")) as (client, _, proxy):
        with pytest.raises(openai.NotFoundError):
            await client.with_options(max_retries=2).chat.completions.create(model="nope", messages=HELLO)
        assert len(proxy.lines) == 1
