"""The body of a response on its way to the client: framing cut anywhere, back-pressure, damage."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.proxied import config, message, run_proxy
from tests.scripted import SSE, Peer, ScriptedServer, answering, chunk, event, text
from tests.steady import steady_clock


async def test_a_slow_client_is_no_silent_upstream() -> None:
    """While the upstream is not read its silence does not count."""
    pieces = [f"{n:05d}" + "x" * 4000 for n in range(3000)]
    stuck = asyncio.Event()

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.writer.transport.set_write_buffer_limits(high=65536)
        for piece in pieces:
            c.events(chunk({"content": piece}))
            try:
                await asyncio.wait_for(c.drain(), 0.5)
            except asyncio.TimeoutError:
                stuck.set()
                await c.drain()
        c.events(*text()[1:])
        c.end()

    async with steady_clock(), ScriptedServer(script) as upstream:
        settings = config(upstream.base, stream_timeout=0.3, buffer_kb=64)
        async with run_proxy(settings) as proxy, proxy.client() as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.ask("POST", "/v1/messages", message())
            await asyncio.wait_for(stuck.wait(), 120)  # only so that a fault ends: 12 MB are slow on a busy machine
            await asyncio.sleep(0.5)
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            answer = await client.answer()
    texts = [data["delta"]["text"] for name, data in answer.events if name == "content_block_delta"]
    assert [piece for piece in texts if piece] == pieces and answer.names[-1] == "message_stop"


RAW = [
    b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in map(event, text(*words))) + b"0\r\n\r\n"
    for words in (["Hello", " ", "w\u00f6rld"], ["x" * 3000] * 40, [f"word {n} " for n in range(120)])
]


@pytest.mark.parametrize("size", [1, 2, 3, 50, 199, 200, 201, 1000, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("raw", RAW, ids=["short", "large", "many"])
async def test_however_the_connection_cuts_it(raw: bytes, size: int) -> None:
    """HTTP's own framing cut anywhere: in a size line, between CR and LF, in the last chunk; and the connection is used
    again."""
    if size < 50 and len(raw) > 5000:
        raw = RAW[0]

    async def script(c: Peer) -> None:
        c.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await c.drain()
        await asyncio.sleep(0.002)
        for n in range(0, len(raw), size):
            c.write(raw[n : n + size])
            await c.drain()
            await asyncio.sleep(0)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        bodies = [(await proxy.ask(message())).events for _ in range(2)]
        assert upstream.connections == 1
    for events in bodies:
        texts = [data["delta"]["text"] for name, data in events if name == "content_block_delta"]
        chunks = [json.loads(line[6:])["choices"] for line in raw.split(b"\n") if line.startswith(b"data: {")]
        expected = [
            choices[0]["delta"]["content"] for choices in chunks if choices and choices[0]["delta"].get("content")
        ]
        assert texts == expected and events[-1][0] == "message_stop"


async def test_chunk_extensions_in_mid_body() -> None:
    """With extensions and trailers the body is the same, and the connection is used again."""
    pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in map(event, text(*"abcdefgh"))]
    size, rest = pieces[4].split(b"\r\n", 1)
    pieces[4] = size + b";ext=1\r\n" + rest
    pieces[-1] += b"0\r\nx-trailer: 1\r\n\r\n"

    async def script(c: Peer) -> None:
        c.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in pieces:
            await c.drain()
            await asyncio.sleep(0.002)
            c.write(piece)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        for _ in range(2):
            events = (await proxy.ask(message())).events
            assert (
                "".join(data["delta"]["text"] for name, data in events if name == "content_block_delta") == "abcdefgh"
            )
        assert upstream.connections == 1


@pytest.mark.parametrize(
    "bad", [b"zz\r\n", b"5\r\nhello!!!!", b"5\r\nab", b"5\nhello\r\n", b"-1\r\n", b"fffffffff\r\n", b"", b"\r\n"]
)
async def test_broken_chunks_in_mid_body(bad: bytes) -> None:
    good = event(chunk({"content": "so far "}))

    async def script(c: Peer) -> None:
        c.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(4):
            await c.drain()
            await asyncio.sleep(0.002)
            c.write(b"%x\r\n%b\r\n" % (len(good), good))
        await c.drain()
        await asyncio.sleep(0.002)
        c.write(bad)
        await c.drain()
        c.close()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
    assert answer.body.count(b"so far ") == 4 and answer.names[-1] == "error" and answer.names.count("error") == 1


async def test_broken_framing_of_a_whole_reply() -> None:
    async def script(c: Peer) -> None:
        c.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        await c.drain()
        await asyncio.sleep(0.01)
        c.write(b"2\r\n{}\r\n")
        await c.drain()
        await asyncio.sleep(0.01)
        c.write(b"zz\r\n")
        await c.wait_disconnect()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(stream=False))
        assert answer.status == 502 and answer.json["error"]["type"] == "api_error"
        assert (
            "sent an answer that can't be read: a chunk size that is not a hexadecimal number"
            in answer.json["error"]["message"]
        )


async def test_a_decoder_that_raises_ends_one_answer_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder must not raise. If it does, the event loop and other requests are not affected."""
    from a2py.wires.chat.stream import ChatDecoder

    async with ScriptedServer(answering("Hi"), answering("Hi")) as upstream:
        with pytest.raises(AssertionError, match="crash"):
            async with run_proxy(config(upstream.base)) as proxy:
                with monkeypatch.context() as patch:
                    patch.setattr(ChatDecoder, "feed", lambda self, data: 1 / 0)
                    answer = await proxy.ask(message())
                assert answer.status == 500 and answer.json["error"]["type"] == "api_error"
                assert (await proxy.ask(message())).status == 200


PINGS = b": keep-alive\n\n"


@pytest.mark.parametrize(
    "what", [PINGS, b"\n\n", b"data:\n\n", b": OPENROUTER PROCESSING\n\n"], ids=["comment", "blank", "empty", "named"]
)
async def test_comments_reset_the_silence(what: bytes) -> None:
    """DeepSeek and OpenRouter send comments for minutes while a request waits. These are not silence
    (stream_timeout)."""

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        for _ in range(12):
            c.chunk(what)
            await c.drain()
            await asyncio.sleep(0.05)
        c.events(*text("Hi"))
        c.end()

    async with (
        steady_clock(),
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, stream_timeout=0.3, request_timeout=30)) as proxy,
    ):
        assert (await proxy.ask(message())).names[-1] == "message_stop"


@pytest.mark.parametrize("what", [PINGS, b"\n\n", b"data:\n\n"], ids=["comment", "blank", "empty"])
@pytest.mark.parametrize("has_begun", [False, True])
async def test_comments_alone_do_not_last_for_ever(has_begun: bool, what: bytes) -> None:
    """After request_timeout without anything else the stream ends in an error, and the upstream is left."""
    disconnect = asyncio.Event()

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        if has_begun:
            c.events(chunk({"content": "Hel"}))
        try:
            while not c.writer.transport.is_closing():
                c.chunk(what)
                await c.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        disconnect.set()
        c.keep = False

    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, request_timeout=0.5, stream_timeout=5.0)) as proxy,
    ):
        answer = await proxy.ask(message())
        assert answer.names[-1] == "error" if has_begun else answer.status == 504
        assert (
            "no content: only comments and empty events for 0.5 s. If the server needs longer, raise `timeout`"
            in answer.body.decode()
        )
        await asyncio.wait_for(disconnect.wait(), 10)


async def test_reasoning_that_is_hidden_is_progress() -> None:
    """Nothing is written to the client for a while, although the upstream sends content."""

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        for _ in range(30):
            c.events(chunk({"reasoning_content": "hm "}))
            await c.drain()
            await asyncio.sleep(0.03)
        c.events(*text("Hi"))
        c.end()

    settings: dict[str, Any] = {"request_timeout": 0.6, "stream_timeout": 5.0}
    async with (
        steady_clock(),
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, **settings)) as proxy,
    ):
        assert (await proxy.ask(message(thinking={"type": "disabled"}))).names[-1] == "message_stop"
