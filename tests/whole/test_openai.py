"""OpenAI's endpoints, passed through the whole proxy: exact paths, bytes, headers, errors, retries, limits."""

from __future__ import annotations

import asyncio
import json
import os
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from a2py.errors import ApiError
from a2py.proxy.accounts import MAX_RESPONSES, Accounts
from a2py.proxy.limits import FIRST_OUTPUT
from a2py.wires.passthrough.endpoints import ENDPOINTS, PATHS
from tests.proxied import SECRET, config, deployment, message, run_proxy, settle
from tests.scripted import (
    JSON_TYPE,
    SSE,
    Answer,
    Peer,
    Script,
    ScriptedServer,
    answering,
    chunk,
    completion,
    event,
    refusing,
    text,
)

CHAT = "/v1/chat/completions"


def ask_body(model: str = "test-model", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}


def check_error(answer: Answer, status: int, code: str | None, type: str = "invalid_request_error") -> str:
    """Check an error of a2py's own in OpenAI's shape, and return its message."""
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json"), answer.body
    body = answer.json
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
    assert (body["error"]["type"], body["error"]["code"]) == (type, code)
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    message: str = body["error"]["message"]
    return message


def saying(body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> Script:
    async def script(c: Peer) -> None:
        c.head(status, headers or JSON_TYPE, length=len(body))
        c.write(body)

    return script


# -- the table ---------------------------------------------------------------------------------------------------------


async def test_each_path_of_the_table_reaches_its_endpoint() -> None:
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        for path, endpoint in PATHS.items():
            answer = await proxy.ask(ask_body(), path)
            assert answer.status == 200, path
            assert upstream.requests[-1].target == f"/v1/{endpoint.name}"
        assert len(upstream.requests) == 3 * len(ENDPOINTS)


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/chat%2fcompletions", "/v1/chat%2Fcompletions", "/v1/x/../chat/completions", "/v1/./chat/completions"),
        *("/v1/chat/completions/", "//v1/chat/completions", "/v1//chat/completions", "/v1/v1/chat/completions"),
        *(
            "/v1/chat/completion%73",
            "/v1/%2e%2e/v1/chat/completions",
            "/v1/chat/completions/..",
            "/V1/chat/completions",
        ),
        *("/x/v1/chat/completions", "/v1/chat/completions%00", "/v1/chat\\completions", "/v1/chat/completions;a=b"),
        *("/v1/responses/resp_1/cancel", "/v1/audio", "/v1/images/variations", "/v1/embeddings/x"),
        *("/openai/deployments/test-model/chat/completions", "/v1/engines/test-model/completions"),
    ],
)
async def test_nothing_else_reaches_an_upstream(path: str) -> None:
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(ask_body(), path)
        assert answer.status in (400, 404), answer.body
        assert not upstream.requests


async def test_a_query_is_not_passed_on() -> None:
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        assert (await proxy.ask(ask_body(), CHAT + "?api-version=1&key=abc")).status == 200
        assert upstream.requests[0].target == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", "/v1/responses/resp_1"), ("DELETE", "/v1/responses/resp_1"), ("GET", "/v1/files")),
        *(("POST", "/v1/files"), ("POST", "/v1/batches"), ("POST", "/openai/v1/conversations")),
    ],
)
async def test_requests_without_a_model_are_a_404_in_words(method: str, path: str) -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        message = check_error(await proxy.ask(None, path, method), 404, None)
        assert f"{method} {path}" in message and "name none" in message


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_another_method(method: str) -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        answer = await proxy.ask(None, CHAT, method)
        check_error(answer, 405, "method_not_supported")
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/realtime?model=x", "/responses"])
async def test_a_websocket_is_refused_in_words(path: str) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x"}
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        answer = await proxy.ask(None, path, "GET", headers)
        message = check_error(answer, 426, None)
        assert "WebSocket" in message and "POST" in message and answer.headers["upgrade"] == "HTTP/1.1"


# -- the request -------------------------------------------------------------------------------------------------------


async def test_two_models_are_a_400() -> None:
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        for body in (b'{"model":"test-model","model":"secret"}', b'{"model":"test-model","mod\\u0065l":"secret"}'):
            assert "more than one" in check_error(await proxy.ask(body, CHAT), 400, None)
        assert not upstream.requests


async def test_headers_pass_by_list() -> None:
    headers = {
        "Authorization": "Bearer theirs",
        "Cookie": "a=b",
        "OpenAI-Organization": "org",
        "OpenAI-Project": "p",
        "OpenAI-Beta": "assistants=v2",
        "Accept": "text/event-stream",
        "Idempotency-Key": "i-1",
        "X-Other": "x",
    }
    back = {
        "set-cookie": "c=d",
        "openai-organization": "theirs",
        "x-request-id": "up_1",
        "openai-processing-ms": "5",
        "x-ratelimit-remaining-requests": "7",
        "server": "nginx",
        "x-internal": "host-7",
    }

    async def script(c: Peer) -> None:
        c.reply(completion(), headers=back)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(ask_body(), CHAT, headers=headers)
        assert set(upstream.requests[0].headers) == {
            *("host", "content-type", "accept", "accept-encoding", "authorization", "openai-beta", "idempotency-key"),
            *("user-agent", "x-a2py-hop", "content-length"),
        }
        assert upstream.requests[0].headers["authorization"] == f"Bearer {SECRET}"
        assert upstream.requests[0].headers["accept"] == "text/event-stream"
    assert set(answer.headers) == {
        *("content-type", "content-length", "request-id", "x-request-id", "openai-processing-ms"),
        "x-ratelimit-remaining-requests",
    }
    assert answer.headers["x-request-id"] == "up_1"


async def test_configured_parameters_are_not_added() -> None:
    """Nothing but the model's name changes: defaults of the file are for translated requests."""
    async with ScriptedServer(answering("Hi")) as upstream:
        to = deployment(upstream.base, params={"temperature": 0.1}, extra_body={"seed": 7})
        async with run_proxy(config(deployments=(to,))) as proxy:
            await proxy.ask(ask_body(), CHAT)
            assert upstream.requests[0].json == ask_body("upstream-model")


# -- bytes, both ways --------------------------------------------------------------------------------------------------

MEMBERS = st.dictionaries(st.text(max_size=8), st.recursive(st.integers() | st.text(max_size=8), st.lists), max_size=4)
REPLY = st.one_of(
    st.binary(max_size=300),
    st.lists(st.text(max_size=40), max_size=8).map(
        lambda texts: b"".join(event(chunk({"content": one})) for one in texts)
    ),
)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(MEMBERS, REPLY, st.lists(st.integers(0, 400), max_size=6), st.sampled_from(["sse", "json", "close", "length"]))
def test_every_byte_passes(members: dict[str, Any], reply: bytes, cuts: list[int], framing: str) -> None:
    """Random bodies, random replies, at random splits, in each framing."""
    asyncio.run(check_bytes(members, reply, cuts, framing))


async def check_bytes(members: dict[str, Any], reply: bytes, cuts: list[int], framing: str) -> None:
    members = {name: value for name, value in members.items() if name.casefold() != "model"}
    raw = json.dumps({"a": 1, **members, "model": "test-model", "z": {"model": "x"}}, ensure_ascii=False).encode()
    places = sorted({0, len(reply), *(cut for cut in cuts if cut < len(reply))})

    async def script(c: Peer) -> None:
        if framing == "length":
            c.head(200, JSON_TYPE, length=len(reply))
        elif framing == "close":
            c.head(200, JSON_TYPE, version="HTTP/1.0")
        else:
            c.head(200, SSE if framing == "sse" else {"content-type": "audio/mpeg"})
        for start, end in pairwise(places):
            c.chunk(reply[start:end])
            await c.drain()
            await asyncio.sleep(0)
        c.end()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base), collect=False) as proxy:
        answer = await proxy.ask(raw, CHAT)
        assert answer.whole and answer.status == 200 and answer.body == reply
        assert upstream.requests[0].body == raw.replace(b'"test-model"', b'"upstream-model"')


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_large_binary_passes_under_back_pressure(version: str) -> None:
    """A client that does not read stops the upstream: what is in between is bounded."""
    data = os.urandom(1024 * 1024) * 48  # more than the buffers of three sockets
    size = 0

    async def script(c: Peer) -> None:
        nonlocal size
        c.head(200, {"content-type": "audio/mpeg"})
        for n in range(0, len(data), 65536):
            c.chunk(data[n : n + 65536])
            await c.drain()
            size = n + 65536
        c.end()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy, proxy.client() as client:
        body = json.dumps(ask_body()).encode()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        head = f"POST /v1/audio/speech HTTP/{version}\r\nHost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
        client.send(head.encode() + body)
        await settle(lambda: size > 0)
        before = -1
        while before != size:  # until it stands still
            before = size
            await asyncio.sleep(0.2)
        assert size < len(data), "the upstream is not read while the client does not read"
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        answer = await client.answer()
        assert answer.body == data and answer.whole


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
async def test_the_status_passes(status: int) -> None:
    async with ScriptedServer(saying(b"{}", status=status)) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(ask_body(), CHAT)
        assert (answer.status, answer.body) == (status, b"{}")


async def test_an_empty_reply_passes() -> None:
    async def bodiless(c: Peer) -> None:
        c.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with (
        ScriptedServer(saying(b""), bodiless, saying(b"next")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", CHAT, ask_body())
        answer = await client.answer()
        assert (answer.status, answer.body, answer.whole) == (200, b"", True)
        client.ask("POST", CHAT, ask_body())
        status, headers = await client.head()
        assert status == 204 and not {"content-length", "transfer-encoding"} & set(headers)
        client.ask("POST", CHAT, ask_body())
        assert (await client.answer()).body == b"next"


# -- multipart ---------------------------------------------------------------------------------------------------------


def form(model: str, audio: bytes, first: bool) -> bytes:
    name = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n' % model.encode()
    file = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n%b\r\n' % audio
    return (name + file if first else file + name) + b"--B--\r\n"


@pytest.mark.parametrize("first", [True, False])
async def test_an_upload_is_gathered_so_that_it_can_be_asked_again(first: bool) -> None:
    audio = os.urandom(300_000)
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    async with (
        ScriptedServer(refusing(503)) as down,
        ScriptedServer(refusing(500), saying(b'{"text":"hi"}')) as upstream,
    ):
        there = deployment(down.base, id="down", order=0, retries=1)
        other = deployment(upstream.base, "other", id="up", model="whisper", retries=1)
        fallbacks = [{"test-model": ["other"]}]
        async with run_proxy(config(deployments=(there, other), fallbacks=fallbacks)) as proxy:
            answer = await proxy.ask(form("test-model", audio, first), "/v1/audio/transcriptions", headers=headers)
            assert (answer.status, answer.body) == (200, b'{"text":"hi"}')
        assert [request.body for request in down.requests] == [form("upstream-model", audio, first)] * 2
        assert [request.body for request in upstream.requests] == [form("whisper", audio, first)] * 2
        assert upstream.requests[0].headers["content-type"] == "multipart/form-data; boundary=B"


async def test_an_upload_above_the_limit() -> None:
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base, max_body_mb=1)) as proxy:
        answer = await proxy.ask(form("test-model", bytes(2 << 20), True), "/v1/audio/transcriptions")
        check_error(answer, 413, None)
        assert not upstream.requests


# -- which deployment --------------------------------------------------------------------------------------------------


async def test_modes_decide_where_a_model_is_served() -> None:
    async with ScriptedServer(answering("Hi")) as upstream:
        vectors = deployment(upstream.base, "vectors", id="v", mode="embedding")
        chat = deployment(upstream.base, "chat", id="c", mode="chat")
        pairs = (("b1", "embedding", "e"), ("b2", "chat", "c"))
        both = [deployment(upstream.base, "both", id=id, mode=mode, model=model) for id, mode, model in pairs]
        claude = deployment("http://127.0.0.1:1", "claude", id="n", wire="native", provider="anthropic")
        async with run_proxy(config(deployments=(vectors, chat, *both, claude))) as proxy:
            assert (await proxy.ask(ask_body("vectors"), "/v1/embeddings")).status == 200
            assert (await proxy.ask(ask_body("chat"), CHAT)).status == 200
            refusal = await proxy.ask(ask_body("vectors"), CHAT)
            assert "mode` is embedding" in check_error(refusal, 404, "model_not_found")
            check_error(await proxy.ask(ask_body("chat"), "/v1/embeddings"), 404, "model_not_found")
            words = check_error(await proxy.ask(ask_body("claude"), CHAT), 404, "model_not_found")
            assert "Anthropic's own API" in words
            for _ in range(4):
                await proxy.ask(ask_body("both"), "/v1/embeddings")
                assert upstream.requests[-1].json["model"] == "e"
                await proxy.ask(ask_body("both"), CHAT)
                assert upstream.requests[-1].json["model"] == "c"
            before = len(upstream.requests)
            answer = await proxy.ask(message(model="vectors"))
            assert answer.status == 404 and "does not write text" in answer.json["error"]["message"]
            assert len(upstream.requests) == before
            assert (await proxy.ask(message(model="both"))).names[-1] == "message_stop"


async def test_an_unknown_model_and_a_missing_key() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1", master_key="sk-master")) as proxy:
        missing = check_error(await proxy.ask(ask_body(), CHAT), 401, "invalid_api_key")
        assert "OPENAI_API_KEY" in missing
        key = {"Authorization": "Bearer sk-master"}
        answer = await proxy.ask(ask_body("nope"), CHAT, headers=key)
        assert "nope is not served" in check_error(answer, 404, "model_not_found")
        assert answer.json["error"]["param"] == "model"


async def test_an_upstreams_own_error_passes_as_it_is() -> None:
    body = b' {"error": {"message": "no such path", "weird": [1.50]}}\n'
    headers = {"content-type": "application/problem+json", "x-request-id": "up_9", "set-cookie": "a=b"}
    for status in (400, 401, 403, 404, 422, 429, 500, 503):
        script = saying(body, {**headers, "retry-after": "30"}, status)
        async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
            answer = await proxy.ask(ask_body(), "/v1/rerank")
            assert (answer.status, answer.body) == (status, body), "unknown: asked, and its own word passes"
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["x-request-id"] == "up_9" and "set-cookie" not in answer.headers
            assert answer.headers["retry-after"] == "30"
            assert proxy.lines[-1]["status"] == status and proxy.lines[-1]["wire"] == "passthrough"
            assert bool(proxy.services.router.cooldowns.active) is (status in (401, 403, 429)), "a 404 is the path's"


async def test_an_upstreams_error_does_not_show_its_key(tmp_path: Any) -> None:
    body = b'{"error": {"message": "Incorrect API key provided: %b."}}' % SECRET.encode()
    async with (
        ScriptedServer(saying(body, status=401)) as upstream,
        run_proxy(config(upstream.base, capture_dir=str(tmp_path))) as proxy,
    ):
        answer = await proxy.ask(ask_body(), CHAT)
        assert answer.status == 401 and answer.body == body.replace(SECRET.encode(), b"[redacted]")
        await settle(lambda: bool(list(tmp_path.glob("*.json"))))
    (file,) = tmp_path.glob("*.json")
    assert SECRET not in file.read_text()


@pytest.mark.parametrize("escape", ["\\u%04x", "\\\\u%04X"])
async def test_nor_in_another_spelling(escape: str) -> None:
    """As JSON escapes, also in a string within a string."""
    spelt = "".join(escape % ord(char) for char in SECRET[:2]) + SECRET[2:]
    body = b'{"error": {"message": "Incorrect API key provided: %b."}, "n": 1.50}' % spelt.encode()
    async with ScriptedServer(saying(body, status=401)) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(ask_body(), CHAT)
    assert answer.status == 401 and answer.body == body.replace(spelt.encode(), b"[redacted]")
    assert SECRET[2:] not in proxy.log


async def test_nor_over_the_events_of_an_error() -> None:
    events = b"".join(b'data: {"delta": "%b"}\n\n' % SECRET[at : at + 5].encode() for at in range(0, len(SECRET), 5))
    script = saying(events, {"content-type": "text/event-stream"}, status=401)
    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(ask_body(), CHAT)
    text = "".join(json.loads(line[6:])["delta"] for line in answer.body.splitlines() if line)
    assert answer.status == 401 and text == "[redacted]"


async def test_retries_before_the_first_byte_and_fallbacks() -> None:
    async def cut(c: Peer) -> None:
        c.head(200, SSE)
        await c.drain()
        c.reset()

    async with (
        ScriptedServer(cut, answering("He", "llo")) as upstream,
        run_proxy(config(upstream.base, num_retries=1)) as proxy,
    ):
        answer = await proxy.ask(ask_body(stream=True), CHAT)
        assert answer.body == b"".join(map(event, text("He", "llo")))
        assert proxy.lines[-1]["attempts"] == 2 and proxy.lines[-1]["in"] == 11 and proxy.lines[-1]["out"] == 3
    async with ScriptedServer(refusing(500)) as down, ScriptedServer(answering("Hi")) as upstream:
        other = deployment(upstream.base, "other", id="o", model="big")
        vectors = deployment(upstream.base, "vectors", id="v", mode="embedding")
        settings = config(down.base, deployments=(other, vectors), fallbacks=[{"test-model": ["vectors", "other"]}])
        async with run_proxy(settings) as proxy:
            assert (await proxy.ask(ask_body(), CHAT)).json["choices"]
            assert upstream.requests[0].json["model"] == "big", "not the fallback that has no such endpoint"


async def test_limits_count_passed_requests() -> None:
    async with ScriptedServer(answering("Hi")) as upstream:
        to = deployment(upstream.base, rpm=1, tpm=1000)
        async with run_proxy(config(deployments=(to,))) as proxy:
            assert (await proxy.ask(ask_body(max_tokens=5), CHAT)).status == 200
            assert proxy.services.limits.usage()["test-model/1"].tokens == 14, "as the upstream counted"
            answer = await proxy.ask(ask_body(max_tokens=5), CHAT)
            assert "rpm 1" in check_error(answer, 429, "rate_limit_exceeded", "rate_limit_error")
            assert int(answer.headers["retry-after"]) > 0


async def test_an_endpoint_without_output_counts_as_its_upstream_has_counted() -> None:
    body = b'{"object": "list", "data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}'
    async with (
        ScriptedServer(saying(body)) as upstream,
        run_proxy(config(deployments=(deployment(upstream.base, tpm=10_000),))) as proxy,
    ):
        assert (await proxy.ask(ask_body(input="x" * 3000), "/v1/embeddings")).status == 200
        assert proxy.services.limits.usage()["test-model/1"].tokens == 5


async def test_a_stream_that_its_client_leaves_counts_as_reserved() -> None:
    """What has come is no measure of what the upstream has done, or of the model's usual output."""

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "Hel"}))
        await c.drain()
        await c.wait_disconnect()

    async with ScriptedServer(script) as upstream:
        to = deployment(upstream.base, tpm=10_000)
        async with run_proxy(config(deployments=(to,))) as proxy:
            async with proxy.client() as client:
                client.ask("POST", CHAT, ask_body(stream=True, max_tokens=500))
                await client.head()
                client.reset()
            await settle(lambda: any(line.get("status") == 499 for line in proxy.lines))
            limits = proxy.services.limits
            assert limits.usage()["test-model/1"].tokens > 500 and limits.usual_output(to) == FIRST_OUTPUT


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_a_stream_that_breaks_off_between_events_ends_with_an_error() -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "Hel"}))
        await c.drain()
        await asyncio.sleep(0.02)
        c.reset()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(ask_body(stream=True), CHAT)
        assert answer.whole and answer.status == 200
        whole, _, last = answer.body.rpartition(b"event: error\ndata: ")
        error = json.loads(last)["error"]
        assert whole == event(chunk({"content": "Hel"})) and answer.body.endswith(b"\n\n")
        assert error["code"] == "upstream_error" and "closed" in error["message"]
        assert proxy.lines[-1]["error"].startswith("upstream: ") and proxy.lines[-1]["estimated"] is True


async def test_a_connection_that_breaks_after_the_last_event_does_no_harm() -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*text("Hel", "lo"))
        await c.drain()
        await asyncio.sleep(0.02)
        c.reset()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(ask_body(stream=True), CHAT)
        assert answer.whole and answer.body == b"".join(map(event, text("Hel", "lo")))
        assert "error" not in proxy.lines[-1]


async def test_a_stream_of_a_known_length_is_complete_with_its_last_byte() -> None:
    """If it ended properly after its last event, the client would take the next answer for the rest of this one."""

    async def script(c: Peer) -> None:
        c.head(200, SSE, length=1000)
        c.write(b"".join(map(event, text("Hel", "lo"))))
        await c.drain()
        await asyncio.sleep(0.02)
        c.reset()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await asyncio.wait_for(proxy.ask(ask_body(stream=True), CHAT), 10)
        assert not answer.whole and answer.body == b"".join(map(event, text("Hel", "lo")))
        assert proxy.lines[-1]["error"].startswith("upstream: ")


@pytest.mark.parametrize("headers", [SSE, JSON_TYPE, {**JSON_TYPE, "content-length": "1000"}])
async def test_what_breaks_off_anywhere_else_is_not_completed(headers: dict[str, str]) -> None:
    async def script(c: Peer) -> None:
        c.head(200, headers)
        c.chunk(b'data: {"choices"')
        await c.drain()
        await asyncio.sleep(0.02)
        c.reset()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(ask_body(stream=True), CHAT)
        assert not answer.whole and answer.body == b'data: {"choices"'


async def test_a_web_page_is_an_error_in_words() -> None:
    page = saying(b"<html>log in</html>", {"content-type": "text/html; charset=utf-8"})
    async with ScriptedServer(page) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(ask_body(), CHAT)
        assert "web page" in check_error(answer, 502, "upstream_error", "server_error")


async def test_a_redirect_is_not_followed() -> None:
    async with (
        ScriptedServer(saying(b"", {"location": "http://evil.example/"}, 307)) as upstream,
        run_proxy(config(upstream.base)) as proxy,
    ):
        answer = await proxy.ask(ask_body(), CHAT)
        assert "redirect" in check_error(answer, 502, "upstream_error", "server_error")


async def test_a_client_that_leaves_closes_the_upstream() -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "Hel"}))
        await c.drain()
        await c.wait_disconnect()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        async with proxy.client() as client:
            client.ask("POST", CHAT, ask_body(stream=True))
            await settle(lambda: bool(upstream.requests))
            await asyncio.sleep(0.05)
            client.reset()
        await asyncio.wait_for(upstream.someone_left.wait(), 5)
        await settle(lambda: any(line.get("status") == 499 for line in proxy.lines))


async def test_usage_in_metrics() -> None:
    async def silent(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*[chunk({"content": "some words here "}) for _ in range(10)], b"data: [DONE]\n\n")
        c.end()

    async with ScriptedServer(answering("Hi"), silent) as upstream, run_proxy(config(upstream.base)) as proxy:
        await proxy.ask(ask_body(stream=True), CHAT)
        await proxy.ask(ask_body(stream=True), CHAT)
        assert upstream.requests[1].json == ask_body("upstream-model", stream=True), "nothing is added to the request"
        lines = proxy.lines
        assert "estimated" not in lines[0] and lines[1]["estimated"] is True and lines[1]["out"] == 41
        page = (await proxy.ask(None, "/metrics", "GET")).body.decode()
        assert 'a2py_tokens_total{deployment="d0",direction="output"} 3' in page
        assert 'a2py_tokens_estimated_total{deployment="d0",direction="output"} 41' in page
        assert 'a2py_requests_total{deployment="d0",wire="passthrough",status="200"} 2' in page


# -- stored responses --------------------------------------------------------------------------------------------------


def storing(id: str, stream: bool = False) -> Script:
    async def script(c: Peer) -> None:
        body = {
            "id": id,
            "object": "response",
            "output": [{"id": "msg_1"}],
            "usage": {"input_tokens": 3, "output_tokens": 1},
        }
        if not stream:
            c.reply(body)
            return
        c.head(200, SSE)
        c.events({"type": "response.created", "response": {"id": id}}, {"type": "response.completed", "response": body})
        c.end()

    return script


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stored_response_goes_back_to_its_account(stream: bool) -> None:
    async with ScriptedServer(storing("resp_a", stream)) as a, ScriptedServer(storing("resp_b", stream)) as b:
        settings = config(deployments=(deployment(a.base, id="a", order=0), deployment(b.base, id="b", order=1)))
        async with run_proxy(settings) as proxy:
            path = "/v1/responses"
            assert (await proxy.ask(ask_body(), path)).status == 200
            proxy.services.router.accounts.note("resp_b", "x")  # of an account that is gone
            for _ in range(3):
                assert (await proxy.ask(ask_body(previous_response_id="resp_a"), path)).status == 200
            assert (len(a.requests), len(b.requests)) == (4, 0)
            refusal = await proxy.ask(ask_body(previous_response_id="resp_b"), path)
            assert "another account" in check_error(refusal, 400, "previous_response_not_found")
            unknown = await proxy.ask(ask_body(previous_response_id="resp_x"), path)
            assert "not known which" in check_error(unknown, 400, "previous_response_not_found")
            assert unknown.json["error"]["param"] == "previous_response_id"
            assert (len(a.requests), len(b.requests)) == (4, 0)


async def test_one_account_needs_no_memory() -> None:
    """After a restart, or in another worker: there is only one who can have it."""
    async with ScriptedServer(storing("resp_a")) as upstream:
        pair = tuple(deployment(upstream.base, id=id, model=id) for id in ("a", "b"))
        async with run_proxy(config(deployments=pair)) as proxy:
            answer = await proxy.ask(ask_body(previous_response_id="resp_old"), "/v1/responses")
            assert answer.status == 200 and upstream.requests[0].json["previous_response_id"] == "resp_old"


async def test_a_stored_response_gets_no_other_account_as_a_fallback() -> None:
    async with ScriptedServer(storing("resp_a"), refusing(500)) as a, ScriptedServer(answering("Hi")) as b:
        deployments = (deployment(a.base, id="a"), deployment(b.base, "other", id="b", key="another-key"))
        async with run_proxy(config(deployments=deployments, fallbacks=[{"test-model": ["other"]}])) as proxy:
            await proxy.ask(ask_body(), "/v1/responses")
            answer = await proxy.ask(ask_body(previous_response_id="resp_a"), "/v1/responses")
            assert answer.status == 500 and not b.requests


def test_the_newest_responses_are_kept() -> None:
    accounts = Accounts()
    for n in range(MAX_RESPONSES + 5):
        accounts.note(f"resp_{n}", "a")
        if n == MAX_RESPONSES - 1:
            accounts.note("resp_0", "b")
    assert len(accounts._accounts) == MAX_RESPONSES
    assert (accounts.find("resp_0"), accounts.find("resp_1"), accounts.find(f"resp_{n}")) == ("b", "", "a")


# -- captures, drain, CORS ---------------------------------------------------------------------------------------------


async def test_a_capture_holds_both_sides(tmp_path: Any) -> None:
    async with (
        ScriptedServer(answering("He", "llo")) as upstream,
        run_proxy(config(upstream.base, capture_dir=str(tmp_path))) as proxy,
    ):
        answer = await proxy.ask(ask_body(stream=True), CHAT)
        await settle(lambda: bool(list(tmp_path.glob("*.json"))))
    (file,) = tmp_path.glob("*.json")
    capture = json.loads(file.read_text())
    assert capture["answer"]["body"] == "".join(capture["attempts"][0]["pieces"]) == answer.body.decode()
    assert json.loads(capture["client"]["body"]) == ask_body(stream=True) and SECRET not in file.read_text()


async def test_a_page_of_an_allowed_origin_may_read_it() -> None:
    async with ScriptedServer(answering("Hi"), refusing(400)) as upstream:
        settings = config(upstream.base, allowed_origins=("https://app.example",))
        async with run_proxy(settings) as proxy:
            for status in (200, 400):
                answer = await proxy.ask(ask_body(), CHAT, headers={"Origin": "https://app.example"})
                assert answer.status == status
                assert answer.headers["access-control-allow-origin"] == "https://app.example"


async def test_an_interrupted_request_gets_its_error() -> None:
    async def hang(c: Peer) -> None:
        await c.wait_disconnect()

    async with ScriptedServer(hang) as upstream, run_proxy(config(upstream.base)) as proxy, proxy.client() as client:
        client.ask("POST", CHAT, ask_body())
        await settle(lambda: bool(upstream.requests))
        for exchange in list(proxy.services.running.exchanges):
            exchange.interrupt(ApiError("overloaded", "shutting down", retry_after=1))
        check_error(await client.answer(), 503, "server_overloaded", "server_error")
