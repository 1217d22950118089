"""The bench's mock upstream, over loopback: plans, pacing, flood and back-pressure, and what the client makes of
them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from bench import bodies, client
from bench.client import Mismatch, check, check_unary, put, request
from bench.shapes import KINDS, Plan
from bench.upstream import State, serve

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[tuple[int, State]]:
    server, state = await serve(0)
    async with server:
        yield server.sockets[0].getsockname()[1], state
    for connection in state.connections:
        assert connection.transport is not None
        connection.transport.abort()
    await until(lambda: not state.connections)
    await asyncio.sleep(0.01)  # what the client aborted is closed in the next turn of the loop


async def until(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in 5 s")


def ask(port: int, wire: str, stream: bool = True) -> bytes:
    return request(port, PATHS[wire] + "?beta=true", bodies.encode(wire, bodies.small(stream)), {"x-api-key": "k"})


@pytest.mark.parametrize("wire", PATHS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_flood_arrives_whole(wire: str, kind: str) -> None:
    plan = Plan(kind, 300, batch=7)
    async with upstream() as (port, state):
        await put(port, "/_plan", plan.encode())
        connection = await client.connect(port)
        for _ in range(2):
            pieces = check(wire, plan, await asyncio.wait_for(connection.ask(ask(port, wire)), 10))
            assert len(pieces) == 300
            assert all(piece.stamp <= piece.arrival for piece in pieces)
        connection.close()
        assert (state.requests, len(state.streams), state.broken) == (2, 0, 0)


async def test_paced_pieces_keep_their_distance() -> None:
    plan = Plan("text", 5, gap=0.01, streams=4)
    async with upstream() as (port, _):
        await put(port, "/_plan", plan.encode())
        connections = [await client.connect(port) for _ in range(4)]
        replies = await asyncio.gather(*(connection.ask(ask(port, "openai")) for connection in connections))
        for reply, connection in zip(replies, connections, strict=True):
            for n, piece in enumerate(check("openai", plan, reply)):  # timers fire late, never early
                assert piece.stamp - reply.send_time >= n * 10_000_000 - 1000
            connection.close()


async def test_a_reader_that_stops_stops_the_flood() -> None:
    async with upstream() as (port, state):
        await put(port, "/_plan", Plan("text", 200_000, batch=16).encode())
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(ask(port, "openai"))
        await reader.readexactly(10)
        (stream,) = state.streams
        await until(lambda: stream.connection.is_paused)
        position = stream.position
        await asyncio.sleep(0.05)
        assert stream.position == position < 200_000
        writer.transport.abort()
        await until(lambda: not state.streams)
        assert state.broken == 1
        assert await put(port, "/_stats", b"") == {"requests": 1, "open": 0, "broken": 1}


@pytest.mark.parametrize("wire", PATHS)
async def test_unary_and_unknown(wire: str) -> None:
    plan = Plan(size=4000)
    async with upstream() as (port, _):
        await put(port, "/_plan", plan.encode())
        connection = await client.connect(port)
        check_unary(wire, plan, await connection.ask(ask(port, wire, stream=False)))
        reply = await connection.ask(request(port, "/v1/models", b"", {}))
        assert reply.status == 404
        with pytest.raises(Mismatch, match="status 404"):
            check(wire, plan, reply)
        connection.close()


async def test_chunked_request_bodies_and_pipelining() -> None:
    plan = Plan("text", 3)
    body = bodies.encode("openai", bodies.small(True))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    request = head + b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (9, body[:9], len(body) - 9, body[9:])
    async with upstream() as (port, state):
        await put(port, "/_plan", plan.encode())
        connection = await client.connect(port)
        check("openai", plan, await connection.ask(request))
        connection.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for n in range(0, len(request), 11):
            writer.write(request[n : n + 11])
            await asyncio.sleep(0)
        writer.write(request + request)
        data = b""
        while data.count(b"[DONE]") < 3:
            data += await reader.read(65536)
        writer.close()
        assert state.requests == 4


async def test_expect_100_continue() -> None:
    body = bodies.encode("openai", bodies.small(False))
    async with upstream() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
