"""The fault list: everything that upstreams and networks do wrong, each with one answer and nothing left behind; and
the real SDK on top."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import subprocess
import sys
import zlib
from typing import Any

import anthropic
import pytest

from a2py.upstream import client as upstream_module
from a2py.upstream.client import ERROR_BODY
from tests.proxied import Running, config, message, run_proxy
from tests.scripted import DONE, JSON_TYPE, SSE, Peer, Script, ScriptedServer, answering, chunk, event, refusing, text

WHOLE = b"".join(map(event, text("Hel", "lo")))


# -- odd but right -----------------------------------------------------------------------------------------------------


async def byte_by_byte(c: Peer) -> None:
    c.head(200, SSE)
    for n in range(len(WHOLE)):
        c.chunk(WHOLE[n : n + 1])
        await c.drain()
        await asyncio.sleep(0)
    c.end()


async def gzip_whole(c: Peer) -> None:
    """An upstream that compresses although it was asked not to."""
    assert c.request.headers["accept-encoding"] == "identity"
    data = gzip.compress(WHOLE)
    c.head(200, {**SSE, "content-encoding": "gzip"}, length=len(data))
    c.write(data)


async def gzipped_in_pieces(c: Peer) -> None:
    packer = zlib.compressobj(wbits=31)
    c.head(200, {**SSE, "content-encoding": "gzip"})
    for line in WHOLE.splitlines(keepends=True):
        c.chunk(packer.compress(line) + packer.flush(zlib.Z_SYNC_FLUSH))
        await c.drain()
    c.chunk(packer.flush())
    c.end()


async def early_hints(c: Peer) -> None:
    c.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    c.head(200, SSE)
    c.chunk(WHOLE)
    c.end()


async def http_1_0(c: Peer) -> None:
    c.head(200, SSE, version="HTTP/1.0")
    c.write(WHOLE)


async def half_close(c: Peer) -> None:
    """The upstream ends its side without a length; ours is still open."""
    c.keep = False
    c.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + WHOLE)
    c.writer.write_eof()
    await c.wait_disconnect()


async def bare_newlines(c: Peer) -> None:
    c.head(200, SSE)
    c.chunk(b"\xef\xbb\xbf" + WHOLE.replace(b"\n", b"\r\n"))
    c.end()


async def chunk_extensions_and_trailers(c: Peer) -> None:
    c.keep = False
    c.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    c.write(b"%x;name=value\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (len(WHOLE), WHOLE))


async def no_content_type(c: Peer) -> None:
    c.head(200)
    c.chunk(WHOLE)
    c.end()


async def status_201(c: Peer) -> None:
    c.head(201, SSE)
    c.chunk(WHOLE)
    c.end()


async def bytes_after_the_end(c: Peer) -> None:
    c.head(200, SSE)
    c.chunk(WHOLE + b"data: {broken\n\n" + b"x" * 100_000)
    c.end()


@pytest.mark.parametrize(
    "script",
    [
        byte_by_byte,
        gzip_whole,
        gzipped_in_pieces,
        early_hints,
        http_1_0,
        half_close,
        bare_newlines,
        chunk_extensions_and_trailers,
        no_content_type,
        status_201,
        bytes_after_the_end,
    ],
)
async def test_odd_but_right(script: Script) -> None:
    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
    deltas = [data["delta"].get("text", "") for name, data in answer.events if name == "content_block_delta"]
    assert "".join(deltas) == "Hello" and answer.names[-1] == "message_stop"


# -- wrong -------------------------------------------------------------------------------------------------------------

START = b"".join(map(event, [chunk({"content": "Hel"})]))


async def truncated_chunk(c: Peer) -> None:
    c.head(200, SSE)
    c.chunk(START)
    c.write(b"ffff\r\ndata: {")
    await c.drain()
    c.close()


async def too_short(c: Peer) -> None:
    c.head(200, SSE, length=len(START) + 500)
    c.write(START)
    await c.drain()
    c.close()


async def no_chunk_size(c: Peer) -> None:
    c.head(200, SSE)
    c.chunk(START)
    await c.drain()
    c.write(b"zzzz\r\nwhat\r\n")
    await c.wait_disconnect()


async def cut_gzip(c: Peer) -> None:
    data = gzip.compress(START + os.urandom(200_000).hex().encode())
    c.head(200, {**SSE, "content-encoding": "gzip"})
    c.chunk(data[: len(data) // 2])
    c.end()


async def no_gzip(c: Peer) -> None:
    c.head(200, {**SSE, "content-encoding": "gzip"})
    c.chunk(b"this is no gzip at all")
    await c.drain()
    c.end()


async def length_and_chunked(c: Peer) -> None:
    c.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


async def huge_header(c: Peer) -> None:
    c.head(200, {**SSE, "x-huge": "x" * 1_000_000})
    c.chunk(WHOLE)
    c.end()


async def endless_headers(c: Peer) -> None:
    c.keep = False
    c.write(b"HTTP/1.1 200 OK\r\n")
    try:
        for n in range(100_000):
            c.write(b"x-%d: y\r\n" % n)
            if n % 100 == 0:
                await c.drain()
    except ConnectionError:
        pass


async def binary(c: Peer) -> None:
    c.head(200, SSE)
    c.chunk(bytes(range(256)) * 100)
    c.end()


async def html(c: Peer) -> None:
    c.head(200, {"content-type": "text/html"})
    c.chunk(b"<html><body>Sign in to continue</body></html>")
    c.end()


async def endless_line(c: Peer) -> None:
    c.head(200, SSE)
    c.writer.transport.set_write_buffer_limits(high=1 << 20)
    c.chunk(b"data: ")
    try:
        for _ in range(200):
            c.chunk(b"x" * (1 << 20))
            await c.drain()
    except ConnectionError:
        pass
    c.keep = False


WRONG: list[Script] = [
    truncated_chunk,
    too_short,
    no_chunk_size,
    cut_gzip,
    no_gzip,
    length_and_chunked,
    huge_header,
    endless_headers,
    binary,
    html,
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", [*WRONG, endless_line])
async def test_wrong(script: Script, stream: bool) -> None:
    """One error: a status where nothing was delivered, else an event; and the upstream's connection is not used
    again."""
    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(stream=stream))
        if answer.status == 200:
            assert (
                stream
                and answer.names[-1] == "error"
                and answer.names.count("error") == 1
                and "message_stop" not in answer.names
            )
        else:
            assert answer.status in (500, 502, 529) and answer.json["error"]["type"] in (
                "api_error",
                "overloaded_error",
            )


async def test_an_endless_error_body_is_read_for_a_while_only() -> None:
    size = 0

    async def script(c: Peer) -> None:
        nonlocal size
        c.head(500, JSON_TYPE)
        c.writer.transport.set_write_buffer_limits(high=1 << 16)
        try:
            for _ in range(1 << 14):
                c.chunk(b"x" * (1 << 16))
                await c.drain()
                size += 1 << 16
        except ConnectionError:
            pass
        c.keep = False

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
        assert answer.status == 500 and len(answer.body) < 10_000
    assert size < 64 * ERROR_BODY


async def test_an_error_body_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "ERROR_SECONDS", 0.05)

    async def script(c: Peer) -> None:
        c.head(429, {**JSON_TYPE, "retry-after": "3"}, length=100)
        c.write(b'{"error"')
        await c.wait_disconnect()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
        assert answer.status == 429 and answer.headers["retry-after"] == "3"


async def test_a_gzip_bomb_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unary reply of 300 KB that unpacks to 300 MB."""
    monkeypatch.setattr("a2py.wires.common.intake.BODY_LIMIT", 1 << 20)
    bomb = gzip.compress(b" " * (300 << 20), 9)

    async def script(c: Peer) -> None:
        c.head(200, {**JSON_TYPE, "content-encoding": "gzip"}, length=len(bomb))
        c.write(bomb)
        try:
            await c.drain()
        except ConnectionError:
            pass
        c.keep = False

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(stream=False))
        assert answer.status == 502


async def test_an_early_refusal_of_a_large_body() -> None:
    """The upstream answers 413 before it has read the request."""
    departure = asyncio.Event()

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 30\r\n\r\n" + b'{"error":{"message":"largest"}}'[:30])
        await writer.drain()
        try:
            while await reader.read(1 << 20):
                pass
        except ConnectionError:
            pass
        writer.close()
        departure.set()

    server = await asyncio.start_server(hasty, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with run_proxy(config(f"http://127.0.0.1:{port}/v1")) as proxy:
        answer = await proxy.ask(message("x" * (4 << 20)))
        assert answer.status == 413 and answer.json["error"]["type"] == "request_too_large", proxy.log
        await asyncio.wait_for(departure.wait(), 10)
    server.close()
    await server.wait_closed()


SERVER = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
peer, _ = server.accept()
data = b""
while b"\\r\\n\\r\\n" not in data:
    data += peer.recv(65536)
body = b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\\n\\n'
peer.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n%x\\r\\n%b\\r\\n" % (len(body), body))
time.sleep(60)
"""


@pytest.mark.integration
async def test_an_upstream_that_is_killed_in_mid_stream() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(await asyncio.wait_for(process.stdout.readline(), 20))
    async with run_proxy(config(f"http://127.0.0.1:{port}/v1", num_retries=2)) as proxy, proxy.client() as client:
        client.ask("POST", "/v1/messages", message())
        await client.head()
        assert b"Hel" in await client.piece()
        process.send_signal(signal.SIGKILL)
        assert (await client.piece()).startswith(b"event: error")
        assert await client.piece() == b""
    await process.wait()
    process._transport.close()  # type: ignore[attr-defined]


# -- the real SDK ------------------------------------------------------------------------------------------------------


def sdk(proxy: Running, **more: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url=proxy.base, api_key="any", max_retries=0, _strict_response_validation=True, **more
    )


ASK: dict[str, Any] = {"model": "test-model", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}


async def test_sdk_create_and_stream() -> None:
    async with (
        ScriptedServer(answering("Hel", "lo")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        sdk(proxy) as client,
    ):
        whole: Any = await client.messages.create(**ASK)
        async with client.messages.stream(**ASK) as stream:
            texts = [piece async for piece in stream.text_stream]
            final: Any = await stream.get_final_message()
        raw = [event.type async for event in await client.messages.create(**ASK, stream=True)]
    assert texts == ["Hel", "lo"]
    assert (
        final.content[0].text == whole.content[0].text == "Hello"
        and final.stop_reason == whole.stop_reason == "end_turn"
    )
    assert final.usage.output_tokens == whole.usage.output_tokens == 3
    assert whole._request_id and whole._request_id.startswith("req_")
    assert raw[0] == "message_start" and raw[-1] == "message_stop"


async def test_sdk_tools() -> None:
    async def script(c: Peer) -> None:
        pieces = ['{"ci', 'ty": "P', 'aris"}']
        calls = [
            {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": pieces[0]}}
        ]
        calls += [{"index": 0, "function": {"arguments": piece}} for piece in pieces[1:]]
        c.head(200, SSE)
        c.events(*[chunk({"tool_calls": [call]}) for call in calls], chunk({}, "tool_calls"), DONE)
        c.end()

    tool: Any = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy, sdk(proxy) as client:
        manager = client.messages.stream(**ASK, tools=[tool])
        async with manager as stream:
            final = await stream.get_final_message()
    block = final.content[0]
    assert (
        block.type == "tool_use"
        and block.name == "weather"
        and block.input == {"city": "Paris"}
        and final.stop_reason == "tool_use"
    )


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
async def test_sdk_errors(status: int, error: type[anthropic.APIStatusError]) -> None:
    async with (
        ScriptedServer(refusing(status)) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        sdk(proxy) as client,
    ):
        with pytest.raises(error) as excinfo:
            await client.messages.create(**ASK)
        assert excinfo.value.request_id and excinfo.value.request_id.startswith("req_")
        with pytest.raises(error):
            async with client.messages.stream(**ASK) as stream:
                await stream.get_final_message()


async def test_sdk_retries_by_itself_what_is_worth_it() -> None:
    """The SDK's own retry meets our headers: a refused key is not asked again, a 500 is."""
    async with ScriptedServer(refusing(401)) as upstream, run_proxy(config(upstream.base)) as proxy:
        async with anthropic.AsyncAnthropic(base_url=proxy.base, api_key="any", max_retries=3) as client:
            with pytest.raises(anthropic.AuthenticationError):
                await client.messages.create(**ASK)
        assert len(upstream.requests) == 1
    async with ScriptedServer(refusing(500), answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        patient = anthropic.AsyncAnthropic(base_url=proxy.base, api_key="any", max_retries=1)
        async with patient as client:
            assert (await client.messages.create(**ASK)).content


async def test_sdk_sees_an_error_in_mid_stream() -> None:
    async with (
        ScriptedServer(truncated_chunk) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        sdk(proxy) as client,
    ):
        with pytest.raises(anthropic.APIError):
            async with client.messages.stream(**ASK) as stream:
                await stream.get_final_message()


async def test_sdk_pings_are_no_trouble() -> None:
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        await go.wait()
        c.events(*text("Hi"))
        c.end()

    settings: dict[str, Any] = {"commit_seconds": 0.01, "keepalive_seconds": 0.01, "delta_keepalive_seconds": 0.01}
    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, **settings)) as proxy,
        sdk(proxy) as client,
    ):
        manager = client.messages.stream(**ASK)
        async with manager as stream:
            go.set()
            assert (await stream.get_final_message()).content[0].text == "Hi"  # type: ignore[union-attr]


async def test_sdk_with_a_key() -> None:
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base, master_key="sk-1234")) as proxy,
    ):
        async with anthropic.AsyncAnthropic(base_url=proxy.base, api_key="sk-1234", max_retries=0) as client:
            assert (await client.messages.create(**ASK)).content
        async with anthropic.AsyncAnthropic(base_url=proxy.base, auth_token="sk-1234", max_retries=0) as client:
            assert (await client.messages.create(**ASK)).content
        async with anthropic.AsyncAnthropic(base_url=proxy.base, api_key="wrong", max_retries=0) as client:
            with pytest.raises(anthropic.AuthenticationError):
                await client.messages.create(**ASK)


async def test_many_at_once() -> None:
    """Fifty streams side by side: no client gets another's text."""

    async def script(c: Peer) -> None:
        word = c.request.json["messages"][0]["content"]
        c.head(200, SSE)
        for n in range(10):
            c.events(chunk({"content": f"{word}.{n} "}))
            await c.drain()
            await asyncio.sleep(0)
        c.events(chunk({}, "stop"), DONE)
        c.end()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:

        async def one(n: int) -> None:
            answer = await proxy.ask(message(f"word{n}"))
            words = "".join(
                data["delta"].get("text", "") for name, data in answer.events if name == "content_block_delta"
            )
            assert words == "".join(f"word{n}.{k} " for k in range(10)) and answer.names[-1] == "message_stop"

        await asyncio.gather(*map(one, range(50)))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_wrong_api_base_is_named_with_host_port_and_model(stream: bool) -> None:
    """`openai` is the prefix of every compatible server, so the provider's name would not say which one it is."""

    async def web_page(c: Peer) -> None:
        c.reply(b"<html><body>Welcome</body></html>", headers={"content-type": "text/html"})

    for script, problem in (
        (refusing(301), "answered 301, a redirect. Set `api_base` to"),
        (web_page, "web page"),
    ):
        async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
            answer = await proxy.ask(message(stream=stream))
        error = answer.json["error"]["message"]
        assert f"127.0.0.1:{upstream.port}" in error and problem in error and "`api_base`" in error, error
        assert "scripted" not in error
