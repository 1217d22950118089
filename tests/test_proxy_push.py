"""Push mode: what it needs of aiohttp, by name; that it leaves no trace in a connection; that it equals the textbook loop."""

from __future__ import annotations

import asyncio
import inspect

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from a2py.proxy import push as push_module
from tests.proxied import Running, both_modes, config, message, proxied  # noqa: F401
from tests.scripted import SSE, Peer, Scripted, answering, chunk, event, text


@pytest.mark.parametrize(
    "name", ["data_received", "eof_received", "connection_lost", "pause_writing", "resume_writing", "pause_reading", "resume_reading"]
)
def test_aiohttps_protocol_has(name: str) -> None:
    """Push mode hands these on, or calls them."""
    assert callable(getattr(ResponseHandler, name))


def test_aiohttps_protocol_has_a_read_timeout_that_can_be_set() -> None:
    assert isinstance(ResponseHandler.read_timeout, property) and ResponseHandler.read_timeout.fset is not None


@pytest.mark.parametrize("name", ["read_nowait", "is_eof", "at_eof"])
def test_aiohttps_stream_reader_has(name: str) -> None:
    assert callable(getattr(aiohttp.StreamReader, name)) and not inspect.iscoroutinefunction(getattr(aiohttp.StreamReader, name))


@pytest.mark.parametrize("name", ["connection", "content"])
def test_aiohttps_response_has(name: str) -> None:
    assert hasattr(aiohttp.ClientResponse, name)


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
