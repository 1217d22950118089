"""The two pivots (rule B7): `committed` chooses between an HTTP status and an event, `delivered` ends retry and
fallback; keep-alive."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from a2py.upstream import client as upstream_module
from tests.proxied import config, deployment, message, run_proxy
from tests.scripted import (
    DONE,
    JSON_TYPE,
    SSE,
    Peer,
    Raw,
    Script,
    ScriptedServer,
    answering,
    chunk,
    refusing,
    text,
    usage,
)

PING = b'event: ping\ndata: {"type":"ping"}\n\n'


async def ping(client: Raw) -> None:
    """The next piece is a ping, and nothing but it."""
    assert await client.piece() == PING


# -- before the commit: the true status --------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "type"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
async def test_status_before_commit(status: int, type: str, stream: bool) -> None:
    async with ScriptedServer(refusing(status)) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(stream=stream))
    assert answer.status == status and answer.headers["content-type"] == "application/json"
    assert answer.json["type"] == "error" and answer.json["error"]["type"] == type
    assert answer.json["request_id"] == answer.headers["request-id"]


async def test_retry_after_is_passed_on() -> None:
    async with (
        ScriptedServer(refusing(429, headers={"retry-after": "17"})) as upstream,
        run_proxy(config(upstream.base)) as proxy,
    ):
        answer = await proxy.ask(message())
    assert answer.status == 429 and answer.headers["retry-after"] == "17" and len(upstream.requests) == 1


async def nothing(c: Peer) -> None:
    c.head(200, SSE)
    c.end()


async def only_a_role(c: Peer) -> None:
    c.head(200, SSE)
    c.events(chunk({"role": "assistant", "content": ""}))
    c.end()


async def error_inside(c: Peer) -> None:
    c.head(200, SSE)
    c.events({"error": {"message": "the model has crashed", "code": 500}})
    c.end()


async def closes_at_once(c: Peer) -> None:
    c.close()


async def resets_at_once(c: Peer) -> None:
    c.reset()


async def resets_after_head(c: Peer) -> None:
    c.head(200, SSE)
    await c.drain()
    c.reset()


async def not_http(c: Peer) -> None:
    c.write(b"220 smtp.example ESMTP\r\n\r\n")
    c.close()


async def short_body(c: Peer) -> None:
    c.head(200, JSON_TYPE, length=1000)
    c.write(b'{"choices":')
    c.close()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "script",
    [nothing, only_a_role, error_inside, closes_at_once, resets_at_once, resets_after_head, not_http, short_body],
)
async def test_a_failure_before_anything_leaves_no_byte_of_a_stream(script: Script, stream: bool) -> None:
    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(stream=stream))
    assert answer.status in (500, 502, 529) and answer.json["error"]["type"] in ("api_error", "overloaded_error")
    address = upstream.base.removeprefix("http://").partition("/")[0]
    assert answer.json["error"]["message"].count(address) == 1


async def test_nobody_listens() -> None:
    async with ScriptedServer(nothing) as upstream:
        base = upstream.base
    async with run_proxy(config(base)) as proxy:
        answer = await proxy.ask(message())
    assert answer.status == 502 and answer.json["error"]["type"] == "api_error"


async def test_redirects_are_not_followed() -> None:
    async def away(c: Peer) -> None:
        c.reply({}, 307, {"location": f"{c.server.base}/elsewhere"})

    async with ScriptedServer(away, answering("no")) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
        assert answer.status == 502 and "api_base" in answer.json["error"]["message"] and len(upstream.requests) == 1


@pytest.mark.parametrize("status", [101, 304])
async def test_a_status_that_answers_nothing(status: int) -> None:
    async def script(c: Peer) -> None:
        c.keep = False
        c.write(f"HTTP/1.1 {status} x\r\n\r\n".encode())

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
        text = answer.json["error"]["message"]
        assert answer.status == 502 and str(status) in text and "api_base" in text and "redirect" not in text


@pytest.mark.parametrize("stream", [True, False])
async def test_a_web_page_says_so(stream: bool) -> None:
    """An api_base without its /v1, or a captive portal: 200 and HTML. One attempt, and the message names the cure."""

    async def page(c: Peer) -> None:
        data = b"<!doctype html><html><body>Welcome to my models</body></html>"
        c.head(200, {"content-type": "text/html; charset=utf-8"}, length=len(data))
        c.write(data)

    async with ScriptedServer(page) as upstream, run_proxy(config(upstream.base, num_retries=2)) as proxy:
        answer = await proxy.ask(message(stream=stream))
        assert answer.status == 502 and answer.headers["x-should-retry"] == "false" and len(upstream.requests) == 1
        assert "a web page" in answer.json["error"]["message"] and "api_base" in answer.json["error"]["message"]


async def test_a_stream_that_calls_itself_a_web_page() -> None:
    """PHP's default type, on a relay that streams all the same."""

    async def odd(c: Peer) -> None:
        c.head(200, {"content-type": "text/html"})
        c.events(*text("Hi"))
        c.end()

    async with ScriptedServer(odd) as upstream, run_proxy(config(upstream.base)) as proxy:
        assert (await proxy.ask(message())).names[-1] == "message_stop"


# -- the commit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head_first", [True, False])
async def test_commit_while_the_upstream_is_silent(head_first: bool) -> None:
    """200 and pings at commit_seconds, also while the upstream withholds its headers; message_start comes with the
    first content."""
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        if head_first:
            c.head(200, SSE)
            c.events(": still loading\n\n", chunk({"role": "assistant", "content": ""}))
            await c.drain()
        await go.wait()
        if not head_first:
            c.head(200, SSE)
        c.events(*text("late"))
        c.end()

    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, commit_seconds=0.05)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message())
        status, headers = await client.head()
        assert status == 200 and headers["content-type"].startswith("text/event-stream")
        await ping(client)
        go.set()
        first = await client.piece()
        assert first.startswith(b"event: message_start\n")


@pytest.mark.parametrize(
    ("script", "type"),
    [
        (refusing(500), "overloaded_error"),
        (refusing(429), "overloaded_error"),
        (refusing(529), "overloaded_error"),
        (closes_at_once, "overloaded_error"),
        (nothing, "overloaded_error"),
        (error_inside, "overloaded_error"),
        (refusing(400), "invalid_request_error"),
        (refusing(404), "not_found_error"),
    ],
)
async def test_error_after_commit(script: Script, type: str) -> None:
    """Retryable ones become overloaded_error (Claude Code asks again as a stream), others keep their type; the status
    line is out."""
    go = asyncio.Event()

    async def late(c: Peer) -> None:
        await go.wait()
        await script(c)

    async with (
        ScriptedServer(late) as upstream,
        run_proxy(config(upstream.base, commit_seconds=0.02)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message())
        status, headers = await client.head()
        await ping(client)
        go.set()
        body = await client.piece()
        assert await client.piece() == b""
        assert status == 200 and body.startswith(b"event: error\n") and b'"type":"%b"' % type.encode() in body
        assert headers["request-id"].encode() in body


async def test_retry_after_commit_goes_on_in_the_same_response() -> None:
    go = asyncio.Event()

    async def late(c: Peer) -> None:
        await go.wait()
        c.reply({"error": {"message": "busy"}}, 500)

    async with ScriptedServer(late, answering("second")) as upstream:
        settings = config(upstream.base, commit_seconds=0.02, num_retries=1)
        async with run_proxy(settings) as proxy, proxy.client() as client:
            client.ask("POST", "/v1/messages", message())
            await client.head()
            await ping(client)
            go.set()
            answer = b""
            while piece := await client.piece():
                answer += piece
    assert answer.replace(PING, b"").startswith(b"event: message_start") and answer.endswith(
        b'data: {"type":"message_stop"}\n\n'
    )
    assert answer.count(b"event: message_start") == 1 and len(upstream.requests) == 2


async def test_what_is_lost_is_told_with_a_commit_too() -> None:
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        await go.wait()
        await answering("Hi")(c)

    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, commit_seconds=0.02)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message(top_k=3))
        _, headers = await client.head()
        assert headers["x-a2py-degraded"] == "top_k"
        go.set()


async def test_a_deployments_own_interval() -> None:
    go = asyncio.Event()
    async with ScriptedServer(pace(go=go)) as upstream:
        settings = config(
            deployments=(deployment(upstream.base, keepalive=0.02),), commit_seconds=0.01, delta_keepalive_seconds=0.05
        )
        async with run_proxy(settings) as proxy, proxy.client() as client:
            client.ask("POST", "/v1/messages", message())
            await client.head()
            for _ in range(3):
                await ping(client)
            go.set()


# -- delivered ---------------------------------------------------------------------------------------------------------


async def cut(c: Peer) -> None:
    c.close()


async def reset(c: Peer) -> None:
    await c.drain()
    await asyncio.sleep(0)
    c.reset()


async def proper_end(c: Peer) -> None:
    c.end()


async def error_chunk(c: Peer) -> None:
    c.events({"error": {"message": "out of memory", "code": 503}})
    c.end()


@pytest.mark.parametrize("how", [cut, reset, proper_end, error_chunk])
async def test_a_cut_after_delivery_is_one_error_event(how: Script) -> None:
    """Nothing is asked again, no block is closed that was open, and nothing follows the error."""
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "half an ans"}))
        await c.drain()
        await go.wait()
        await how(c)

    async with ScriptedServer(script, answering("again")) as upstream:
        settings = config(upstream.base, num_retries=3)
        async with run_proxy(settings) as proxy, proxy.client() as client:
            client.ask("POST", "/v1/messages", message())
            await client.head()
            assert b"half an ans" in await client.piece()
            go.set()
            rest = await client.piece()
            assert await client.piece() == b""
    assert rest.startswith(b"event: error\n") and rest.count(b"event: ") == 1
    assert len(upstream.requests) == 1


async def test_a_whole_answer_that_is_cut_is_asked_again() -> None:
    async with (
        ScriptedServer(short_body, answering("whole")) as upstream,
        run_proxy(config(upstream.base, num_retries=1)) as proxy,
    ):
        answer = await proxy.ask(message(stream=False))
    assert answer.status == 200 and answer.json["content"][0]["text"] == "whole" and len(upstream.requests) == 2


# -- keep-alive --------------------------------------------------------------------------------------------------------


def pace(*events: object, go: asyncio.Event) -> Script:
    """`events`, then silence until `go`, then the end of the answer."""

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*events)
        await c.drain()
        await go.wait()
        c.events(chunk({}, "stop"), chunk(usage=usage()), DONE)
        c.end()

    return script


@pytest.mark.parametrize(
    ("delta", "empty"),
    [
        ({"content": "Hi"}, b'"delta":{"type":"text_delta","text":""}'),
        ({"reasoning_content": "Hm"}, b'"delta":{"type":"thinking_delta","thinking":""}'),
    ],
)
async def test_an_open_block_is_kept_alive_by_its_own_empty_delta(delta: dict[str, str], empty: bytes) -> None:
    go = asyncio.Event()
    settings: dict[str, Any] = {"keepalive_seconds": 60, "delta_keepalive_seconds": 0.02}
    script = pace(chunk(delta), go=go)
    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, **settings)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message(thinking={"type": "adaptive"}))
        await client.head()
        await client.piece()
        for _ in range(3):
            assert empty in await client.piece()
        go.set()
        while await client.piece():
            pass


async def test_an_open_tool_call_is_kept_alive_by_pings() -> None:
    call = chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": '{"a":'}}]})
    go = asyncio.Event()
    settings: dict[str, Any] = {"keepalive_seconds": 0.02, "delta_keepalive_seconds": 60}
    script = pace(call, go=go)
    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, **settings)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message(tools=[{"name": "f", "input_schema": {"type": "object"}}]))
        await client.head()
        await client.piece()
        await ping(client)
        await ping(client)
        go.set()
        while await client.piece():
            pass


async def test_pings_before_a_block_at_their_own_interval() -> None:
    go = asyncio.Event()
    settings: dict[str, Any] = {"commit_seconds": 0.01, "keepalive_seconds": 0.02, "delta_keepalive_seconds": 60}
    async with (
        ScriptedServer(pace(go=go)) as upstream,
        run_proxy(config(upstream.base, **settings)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message())
        await client.head()
        for _ in range(3):
            await ping(client)
        go.set()


async def test_the_upstreams_comments_are_no_sign_of_life_for_the_client() -> None:
    """llama.cpp, OpenRouter: comments while the prompt is read. The client still gets pings."""
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        while not go.is_set():
            c.events(": processing\n\n")
            await asyncio.sleep(0.005)
        c.events(*text("done"))
        c.end()

    settings: dict[str, Any] = {"commit_seconds": 0.01, "keepalive_seconds": 0.05}
    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, **settings)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message())
        await client.head()
        await ping(client)
        await ping(client)
        go.set()
        while await client.piece():
            pass


# -- time --------------------------------------------------------------------------------------------------------------


async def silence(c: Peer) -> None:
    await c.wait_disconnect()


async def head_then_silence(c: Peer) -> None:
    c.head(200, SSE)
    await c.drain()
    await c.wait_disconnect()


async def some_then_silence(c: Peer) -> None:
    c.head(200, SSE)
    c.events(chunk({"content": "Hi"}))
    await c.drain()
    await c.wait_disconnect()


@pytest.mark.parametrize("script", [silence, head_then_silence])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_silent_upstream_times_out(script: Script, stream: bool) -> None:
    settings: dict[str, Any] = {"stream_timeout": 0.05, "request_timeout": 0.05}
    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base, **settings)) as proxy:
        answer = await proxy.ask(message(stream=stream))
        assert answer.status == 504 and answer.json["error"]["type"] == "timeout_error"
        await asyncio.wait_for(upstream.someone_left.wait(), 10)


async def test_silence_in_mid_stream_times_out() -> None:
    async with (
        ScriptedServer(some_then_silence) as upstream,
        run_proxy(config(upstream.base, stream_timeout=0.05)) as proxy,
    ):
        answer = await proxy.ask(message())
        assert answer.names[-1] == "error" and "content_block_stop" not in answer.names
        await asyncio.wait_for(upstream.someone_left.wait(), 10)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["name", "tcp", "tls", "proxy"])
async def test_a_connection_that_is_never_made_times_out(
    phase: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One limit for all of it: the name, TCP, TLS, and a proxy's answer to CONNECT."""
    monkeypatch.setattr(upstream_module, "CONNECT_SECONDS", 0.1)

    async def never(*args: object, **more: object) -> None:
        await asyncio.Event().wait()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    loop = asyncio.get_running_loop()
    hears = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = hears.sockets[0].getsockname()[1]
    base = f"http://127.0.0.1:{port}/v1"
    if phase == "name":
        monkeypatch.setattr(loop, "getaddrinfo", never)
        base = "http://upstream.example/v1"
    elif phase == "tls":
        base = f"https://127.0.0.1:{port}/v1"
    elif phase == "proxy":
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        base = "https://upstream.example/v1"
    async with run_proxy(config(base)) as proxy, proxy.client() as client:
        if phase == "tcp":
            real = loop.sock_connect

            async def connect(sock: socket.socket, address: tuple[str, int]) -> None:
                await (never() if address[1] == port else real(sock, address))

            monkeypatch.setattr(loop, "sock_connect", connect)
        client.ask("POST", "/v1/messages", message(stream=stream))
        answer = await client.answer()
    assert answer.status == 504 and "accept a connection in time" in answer.json["error"]["message"]
    hears.close()
