"""Push mode: what it needs of aiohttp, by name; that it leaves no trace in a connection; that it equals the textbook loop."""

from __future__ import annotations

import asyncio
import inspect
import json

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from a2py.proxy import pump
from a2py.proxy import push as push_module
from a2py.proxy.lean import READ_SIZE, small_reads
from tests.proxied import Running, both_modes, config, message, proxied  # noqa: F401
from tests.scripted import SSE, Peer, Scripted, answering, chunk, event, text


@pytest.mark.parametrize("name", ["data_received", "eof_received", "connection_lost", "pause_writing", "resume_writing", "start_timeout"])
def test_aiohttps_protocol_has(name: str) -> None:
    """Push mode hands these on, or calls them."""
    assert callable(getattr(ResponseHandler, name))


def test_aiohttps_protocol_has_a_read_timeout_that_can_be_set() -> None:
    assert isinstance(ResponseHandler.read_timeout, property) and ResponseHandler.read_timeout.fset is not None


@pytest.mark.parametrize("name", ["read_nowait", "is_eof", "at_eof"])
def test_aiohttps_stream_reader_has(name: str) -> None:
    assert callable(getattr(aiohttp.StreamReader, name)) and not inspect.iscoroutinefunction(getattr(aiohttp.StreamReader, name))


def test_aiohttps_stream_reader_counts_its_bytes() -> None:
    assert "total_bytes" in vars(aiohttp.StreamReader) or "total_bytes" in aiohttp.StreamReader.__slots__


@pytest.mark.parametrize("name", ["connection", "content"])
def test_aiohttps_response_has(name: str) -> None:
    assert hasattr(aiohttp.ClientResponse, name)


async def test_asyncios_transport_has_a_size_of_its_reads() -> None:
    """Without it each read of 300 bytes allocates 256 KiB."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        small_reads(writer.transport)
        assert vars(writer.transport)["max_size"] == READ_SIZE < type(writer.transport).max_size
        writer.close()
        await writer.wait_closed()


async def test_the_tap_is_used_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream whose body does not come with its head goes through a tap; a kept connection has aiohttp's protocol again."""
    go = asyncio.Event()
    taps: list[push_module.Tap] = []
    real = push_module.Tap.run

    async def run(self: push_module.Tap) -> None:
        taps.append(self)
        go.set()
        await real(self)

    monkeypatch.setattr(push_module.Tap, "run", run)

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        await c.drain()
        await go.wait()
        c.events(*text("Hel", "lo"))
        c.end()

    async with Scripted(script) as upstream, proxied(config(upstream.base)) as proxy:
        for _ in range(3):
            assert (await proxy.ask(message())).names[-1] == "message_stop"
            go.clear()
        assert upstream.connections == 1 and len(taps) == 3
        for tap in taps:
            assert isinstance(tap._transport.get_protocol(), ResponseHandler)


async def test_an_answer_that_came_whole_needs_no_tap() -> None:
    async with Scripted(answering("Hi")) as upstream, proxied(config(upstream.base)) as proxy:
        assert (await proxy.ask(message())).names[-1] == "message_stop"


@pytest.mark.usefixtures("both_modes")
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

    async with Scripted(script) as upstream:
        settings = config(upstream.base, stream_timeout=0.3, buffer_kb=64)
        async with proxied(settings) as proxy, proxy.client() as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.ask("POST", "/v1/messages", message())
            await asyncio.wait_for(stuck.wait(), 30)
            await asyncio.sleep(0.5)
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            answer = await client.answer()
    texts = [data["delta"]["text"] for name, data in answer.events if name == "content_block_delta"]
    assert [piece for piece in texts if piece] == pieces and answer.names[-1] == "message_stop"


@pytest.mark.parametrize("size", [1, 7, 100, 65_536])
async def test_push_equals_pull(size: int) -> None:
    """Byte for byte, however the upstream's writes are cut."""
    data = b"".join(map(event, text("Hello", " ", "w\u00f6rld", "!" * 500)))

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        for n in range(0, len(data), size):
            c.chunk(data[n : n + size])
            await c.drain()
            await asyncio.sleep(0)
        c.end()

    async def ask(proxy: Running) -> bytes:
        body = (await proxy.ask(message())).body
        start = body.index(b"event: content_block_start")
        return body[start:]

    async with Scripted(script) as upstream:
        async with proxied(config(upstream.base), push=True) as one:
            pushed = await ask(one)
        async with proxied(config(upstream.base), push=False) as other:
            pulled = await ask(other)
    assert pushed == pulled and pushed.endswith(b'data: {"type":"message_stop"}\n\n')


RAW = [
    b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in map(event, text(*words))) + b"0\r\n\r\n"
    for words in (["Hello", " ", "w\u00f6rld"], ["x" * 3000] * 40, [f"word {n} " for n in range(120)])
]


@pytest.mark.parametrize("size", [1, 2, 3, 50, 199, 200, 201, 1000, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("raw", RAW, ids=["short", "large", "many"])
async def test_however_the_connection_cuts_it(raw: bytes, size: int) -> None:
    """HTTP's own framing cut anywhere: in a size line, between CR and LF, in the last chunk; and the connection is used again."""
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

    async with Scripted(script) as upstream, proxied(config(upstream.base)) as proxy:
        bodies = [(await proxy.ask(message())).events for _ in range(2)]
        assert upstream.connections == 1
    for events in bodies:
        texts = [data["delta"]["text"] for name, data in events if name == "content_block_delta"]
        expected = [json.loads(line[6:])["choices"] for line in raw.split(b"\n") if line.startswith(b"data: {")]
        wanted = [choices[0]["delta"]["content"] for choices in expected if choices and choices[0]["delta"].get("content")]
        assert texts == wanted and events[-1][0] == "message_stop"


async def test_whole_chunks_go_past_aiohttps_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is certain that the parser stands between two; the end of the body goes through it again."""
    parsed: list[bytes] = []
    real = ResponseHandler.data_received
    monkeypatch.setattr(ResponseHandler, "data_received", lambda self, data: (parsed.append(data), real(self, data))[1])

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        await c.drain()
        for n in range(100):
            await asyncio.sleep(0.001)
            c.events(chunk({"content": f"word {n} "}))
            await c.drain()
        c.events(*text()[1:])
        c.end()

    async with Scripted(script) as upstream, proxied(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
        assert answer.body.count(b"word") == 100 and answer.names[-1] == "message_stop"
        seen = b"".join(parsed)
        assert seen.count(b"word") < 20 and seen.endswith(b"0\r\n\r\n")
        await proxy.ask(message())
        assert upstream.connections == 1


async def test_chunk_extensions_in_mid_body() -> None:
    """Not plain: aiohttp's parser takes over, and what follows is in step again."""
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

    async with Scripted(script) as upstream, proxied(config(upstream.base)) as proxy:
        for _ in range(2):
            events = (await proxy.ask(message())).events
            assert "".join(data["delta"]["text"] for name, data in events if name == "content_block_delta") == "abcdefgh"
        assert upstream.connections == 1


@pytest.mark.parametrize("bad", [b"zz\r\n", b"5\r\nhello!!!!", b"5\r\nab", b"5\nhello\r\n", b"-1\r\n", b"fffffffff\r\n", b"", b"\r\n"])
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

    async with Scripted(script) as upstream, proxied(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
    assert answer.body.count(b"so far ") == 4 and answer.names[-1] == "error" and answer.names.count("error") == 1


@pytest.mark.usefixtures("both_modes")
async def test_broken_framing_of_a_whole_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp 3.14 closes the connection and forgets to tell who reads the body."""
    monkeypatch.setattr(pump, "LOOK_SECONDS", 0.01)

    async def script(c: Peer) -> None:
        c.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        await c.drain()
        await asyncio.sleep(0.01)
        c.write(b"2\r\n{}\r\n")
        await c.drain()
        await asyncio.sleep(0.01)
        c.write(b"zz\r\n")
        await c.left()

    async with Scripted(script) as upstream, proxied(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(stream=False))
        assert answer.status == 502 and answer.json["error"]["type"] == "api_error"


async def test_a_decoder_that_raises_ends_one_answer_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not; if it does, the event loop never sees it."""
    from a2py.wires.chat.stream import ChatDecoder

    async with Scripted(answering("Hi"), answering("Hi")) as upstream:
        with pytest.raises(AssertionError, match="crash"):
            async with proxied(config(upstream.base)) as proxy:
                with monkeypatch.context() as patch:
                    patch.setattr(ChatDecoder, "feed", lambda self, data: 1 / 0)
                    answer = await proxy.ask(message())
                assert answer.status == 500 and answer.json["error"]["type"] == "api_error"
                assert (await proxy.ask(message())).status == 200
