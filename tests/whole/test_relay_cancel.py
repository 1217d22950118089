"""A client that leaves ends the work upstream at once, in every phase; what is finished gives its connection back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.proxied import Running, config, deployment, message, run_proxy, settle
from tests.scripted import SSE, Peer, Raw, Script, ScriptedServer, answering, chunk, completion, refusing, text


def close(client: Raw) -> None:
    client.writer.close()


def half_close(client: Raw) -> None:
    client.writer.write_eof()


def reset(client: Raw) -> None:
    client.reset()


#: What the upstream has done when the client leaves; None: it has only taken the request.
PHASES: dict[str, Callable[[Peer], None] | None] = {
    "before the headers": None,
    "after the headers": lambda c: c.head(200, SSE),
    "after a role": lambda c: (c.head(200, SSE), c.events(chunk({"role": "assistant"})))[0],  # type: ignore[func-returns-value]
    "inside a text": lambda c: (c.head(200, SSE), c.events(chunk({"content": "Hi"})))[0],  # type: ignore[func-returns-value]
    "inside an error body": lambda c: (c.head(500, length=100), c.write(b'{"error'))[0],  # type: ignore[func-returns-value]
    "inside a whole body": lambda c: (c.head(200, {"content-type": "application/json"}, length=100), c.write(b"{"))[0],  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("leave", [close, half_close, reset])
@pytest.mark.parametrize("phase", PHASES)
async def test_the_upstream_sees_the_client_leave(phase: str, leave: Callable[[Raw], None], stream: bool) -> None:
    arrival = asyncio.Event()

    async def script(c: Peer) -> None:
        act = PHASES[phase]
        if act is not None:
            act(c)
            await c.drain()
        arrival.set()
        await c.wait_disconnect()

    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, num_retries=3)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message(stream=stream))
        await arrival.wait()
        leave(client)
        await asyncio.wait_for(upstream.someone_left.wait(), 10)
        await settle(lambda: not proxy.services.running.exchanges)
        assert len(upstream.requests) == 1
        assert [line["status"] for line in proxy.lines if line["event"] == "request"] == [499]


@pytest.mark.parametrize("commit", [0.01, 60.0])
async def test_it_sees_it_after_a_commit_too(commit: float) -> None:
    async def script(c: Peer) -> None:
        await c.wait_disconnect()

    settings: dict[str, Any] = {"commit_seconds": commit, "keepalive_seconds": 0.02}
    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, **settings)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message())
        if commit < 1:
            await client.head()
            await client.piece()
        else:
            await settle(lambda: upstream.requests)
        client.reset()
        await asyncio.wait_for(upstream.someone_left.wait(), 10)


async def test_before_the_next_paced_chunk() -> None:
    """The proxy learns that the client has left from the client's socket, not from a failing write."""
    left_before_writing = asyncio.Event()

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "one"}))
        await c.drain()
        await c.wait_disconnect()
        left_before_writing.set()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy, proxy.client() as client:
        client.ask("POST", "/v1/messages", message())
        await client.head()
        assert b"one" in await client.piece()
        client.writer.close()
        await asyncio.wait_for(left_before_writing.wait(), 10)


async def test_while_a_retry_waits() -> None:
    async with (
        ScriptedServer(refusing(500)) as upstream,
        run_proxy(config(upstream.base, num_retries=9)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message())
        await settle(lambda: upstream.requests)
        client.reset()
        await settle(lambda: not proxy.services.running.exchanges)
        assert len(upstream.requests) < 9


async def test_while_connecting() -> None:
    """A TLS handshake that the server does not answer."""
    connection, departure = asyncio.Event(), asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection.set()
        try:
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass
        departure.set()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with run_proxy(config(f"https://127.0.0.1:{port}/v1")) as proxy, proxy.client() as client:
        client.ask("POST", "/v1/messages", message())
        await asyncio.wait_for(connection.wait(), 10)
        client.reset()
        await asyncio.wait_for(departure.wait(), 10)
    server.close()
    await server.wait_closed()


async def test_while_a_large_request_is_sent() -> None:
    """An upstream that takes the connection and does not read."""
    connection, departure = asyncio.Event(), asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writers.append(writer)
        connection.set()
        await go.wait()
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        try:
            while await reader.read(1 << 20):
                pass
        except ConnectionError:
            pass
        departure.set()
        writer.close()

    go = asyncio.Event()
    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with run_proxy(config(f"http://127.0.0.1:{port}/v1")) as proxy, proxy.client() as client:
        client.ask("POST", "/v1/messages", message("x" * (20 << 20)))
        await asyncio.wait_for(connection.wait(), 10)
        await settle(lambda: proxy.services.limits.running)
        client.reset()
        await settle(lambda: not proxy.services.running.exchanges)
        go.set()
        await asyncio.wait_for(departure.wait(), 10)
    server.close()
    await server.wait_closed()


# -- back-pressure -----------------------------------------------------------------------------------------------------


async def test_a_client_that_does_not_read_stops_the_upstream() -> None:
    """Memory per stream stays bounded: the upstream can't get rid of its bytes."""
    size = 0
    stuck = asyncio.Event()

    async def flood(c: Peer) -> None:
        nonlocal size
        c.head(200, SSE)
        piece = {"content": "x" * 16_000}
        c.writer.transport.set_write_buffer_limits(high=65536)
        for _ in range(4000):
            c.events(chunk(piece))
            try:
                await asyncio.wait_for(c.drain(), 0.5)
            except asyncio.TimeoutError:
                stuck.set()
                break
            size += 16_000
        await c.wait_disconnect()

    async with (
        ScriptedServer(flood) as upstream,
        run_proxy(config(upstream.base, buffer_kb=64)) as proxy,
        proxy.client() as client,
    ):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.ask("POST", "/v1/messages", message())
        await asyncio.wait_for(stuck.wait(), 30)
        connection = next(iter(proxy.busy))
        transport = connection.transport
        assert transport is not None and transport.get_write_buffer_size() < 1_000_000
        assert size < 30_000_000
        client.reset()
        await asyncio.wait_for(upstream.someone_left.wait(), 10)


async def test_a_slow_client_gets_everything() -> None:
    pieces = [f"{n:05d}" + "x" * 4000 for n in range(5000)]

    async with (
        ScriptedServer(answering(*pieces)) as upstream,
        run_proxy(config(upstream.base, buffer_kb=64)) as proxy,
        proxy.client() as client,
    ):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.ask("POST", "/v1/messages", message())
        await settle(lambda: any(c.transport and c.transport.get_write_buffer_size() > 65536 for c in proxy.busy))
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        answer = await client.answer()
    deltas = [data["delta"]["text"] for name, data in answer.events if name == "content_block_delta"]
    assert [delta for delta in deltas if delta] == pieces and answer.names[-1] == "message_stop"


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_an_upstream_that_stays_open_after_done_is_left() -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*text("Hi"))
        await c.drain()
        await c.wait_disconnect()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
        assert answer.names[-1] == "message_stop"
        await asyncio.wait_for(upstream.someone_left.wait(), 10)


async def test_a_late_end_of_the_body_still_gives_the_connection_back() -> None:
    """[DONE], then a moment later the last chunk of the HTTP body: the client does not wait for it, and the connection
    is used again."""
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*text("Hi"))
        await c.drain()
        await go.wait()
        c.end()

    async with ScriptedServer(script, answering("again")) as upstream, run_proxy(config(upstream.base)) as proxy:
        assert (await proxy.ask(message())).names[-1] == "message_stop"
        go.set()
        await settle(lambda: _count_idle(proxy) == 1)
        assert (await proxy.ask(message())).names[-1] == "message_stop"
        assert upstream.connections == 1


def _count_idle(proxy: Running) -> int:
    return proxy.services.upstream.idle


async def test_a_local_stop_sequence_ends_the_upstream_at_once() -> None:
    """A stop list that the upstream does not accept: the proxy cuts the text, and the rest is never generated."""
    from a2py.quirks import Quirks

    async def script(c: Peer) -> None:
        assert "stop" not in c.request.json
        c.head(200, SSE)
        c.events(chunk({"content": "one STOP two"}))
        await c.drain()
        await c.wait_disconnect()

    async with ScriptedServer(script) as upstream:
        one = deployment(upstream.base, quirks=Quirks(stop_limit=0))
        async with run_proxy(config(deployments=(one,))) as proxy:
            answer = await proxy.ask(message(stop_sequences=["STOP"]))
            await asyncio.wait_for(upstream.someone_left.wait(), 10)
    delta = dict(answer.events)["message_delta"]["delta"]
    assert delta == {"stop_reason": "stop_sequence", "stop_sequence": "STOP"}
    assert b"two" not in answer.body


# -- connections that are kept -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_kept_connection_that_was_just_closed_is_asked_again_invisibly(how: str) -> None:
    """The race of every connection pool: the upstream closes an idle connection while a request is on its way."""

    async def first(c: Peer) -> None:
        c.reply(completion("first"))

    async def hang_up(c: Peer) -> None:
        c.close() if how == "close" else c.reset()

    async with (
        ScriptedServer(first, hang_up, answering("third")) as upstream,
        run_proxy(config(upstream.base, num_retries=0)) as proxy,
    ):
        assert (await proxy.ask(message(stream=False))).status == 200
        answer = await proxy.ask(message(stream=False))
        assert answer.status == 200 and answer.json["content"][0]["text"] == "third"
        assert upstream.connections == 2


async def test_it_is_asked_again_once_only() -> None:
    async def hang_up(c: Peer) -> None:
        c.close()

    scripts: tuple[Script, ...] = (answering("first"), hang_up)
    async with ScriptedServer(*scripts) as upstream, run_proxy(config(upstream.base, num_retries=0)) as proxy:
        assert (await proxy.ask(message())).status == 200
        assert (await proxy.ask(message())).status == 502
        assert len(upstream.requests) == 3
