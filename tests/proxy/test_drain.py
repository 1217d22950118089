# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""A drain serves every accepted connection: those that are just being accepted, those without a request yet, running
requests, answers that are read slowly. It closes connections that stay silent."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from a2py.proxy import server
from a2py.proxy.log import Log
from a2py.proxy.timeouts import Timeouts
from tests.proxied import Running, config, message, run_proxy, settle
from tests.proxy.test_server import Process, certificate, server_context
from tests.scripted import SSE, Peer, Raw, ScriptedServer, answering, completion, text

pytestmark = pytest.mark.filterwarnings("error")
PATH = "/v1/messages"
HELLO = b"GET /health/liveliness HTTP/1.1\r\nhost: localhost\r\n\r\n"


def connections(proxy: Running) -> int:
    """Return how many connections the server holds."""
    table = proxy.server._connections
    assert table is not None
    return len(table.connections)


# -- connections at every stage of being accepted ----------------------------------------------------------------------


@contextmanager
def callers(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections whose handshake the kernel has completed, and whose request it holds. The loop has had no turn
    since."""
    socks: list[socket.socket] = []
    try:
        for _ in range(count):
            socks.append(sock := socket.create_connection(("127.0.0.1", port), 10))
            sock.sendall(HELLO)
        yield socks
    finally:
        for sock in socks:
            sock.close()


def has_answer(sock: socket.socket) -> bool:
    data = b""
    try:
        while more := sock.recv(65536):
            data += more
    except OSError as error:
        data += repr(error).encode()
    return (
        data.startswith(b"HTTP/1.1 200")
        and b"connection: close" in data.lower()
        and b'"name":"a2py"' in data
        and data.endswith(b"}")
    )


@pytest.mark.parametrize("turns", range(5))
async def test_a_connection_is_served_at_whatever_stage_of_being_accepted_it_is(turns: int) -> None:
    """In the kernel's queue; accepted by asyncio, whose task is still to make the transport; with a transport and no
    handler."""
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        with callers(proxy.port, 100) as waiting:
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.wait_for(proxy.server.drain(), 10)
            assert all(map(has_answer, waiting))  # their answers lie in the kernel


async def test_what_waits_in_the_kernel_is_left_to_a_successor() -> None:
    """It accepts from the same socket; the one before it accepts nothing any more."""
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        (listening,) = proxy.server._listening[0].sockets
        successor = socket.socket(fileno=os.dup(listening.fileno()))
        with successor, callers(proxy.port, 10):
            await asyncio.wait_for(proxy.server.drain(handed_over=True), 10)
            rest = server._accept_queued(successor)
            assert len(rest) == 10
            for connection in rest:
                connection.close()


async def test_a_handshake_of_tls_that_runs_is_waited_for(certificate: Path) -> None:
    listener = server.Server(config("http://127.0.0.1:1/v1"), log=Log(io.StringIO()))
    addresses = await listener.start(server.Listen("127.0.0.1", 0, ssl_context=server_context(certificate)))
    port = addresses[0][1]
    first = socket.create_connection(("127.0.0.1", port))
    for _ in range(3):
        await asyncio.sleep(0)
    waiting = socket.create_connection(("127.0.0.1", port))
    drain = asyncio.ensure_future(listener.drain())
    context = ssl.create_default_context(cafile=str(certificate))
    for sock in (first, waiting):
        reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname="localhost")
        writer.write(HELLO)
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200")
        writer.close()
    await asyncio.wait_for(drain, 10)


# -- requests and answers on their way ---------------------------------------------------------------------------------


async def test_a_request_whose_body_is_on_its_way_is_answered() -> None:
    body = json.dumps(message(stream=False)).encode()
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", PATH, body[:20], (("content-length", str(len(body))),))
        await settle(lambda: proxy.busy)
        drain = asyncio.ensure_future(proxy.server.drain())
        await settle(lambda: proxy.services.running.is_draining)
        await asyncio.sleep(0.05)
        assert not drain.done()
        client.send(body[20:])
        answer = await client.answer()
        assert (
            answer.status == 200
            and answer.headers["connection"] == "close"
            and answer.json["content"][0]["text"] == "Hi"
        )
        await asyncio.wait_for(drain, 10)
        assert await client.reader.read() == b""


@pytest.mark.parametrize("stream", [True, False])
async def test_a_connection_that_has_not_asked_yet_may_ask(stream: bool) -> None:
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base), timeouts=Timeouts(fresh=30.0)) as proxy,
        proxy.client() as client,
    ):
        await settle(lambda: connections(proxy))
        drain = asyncio.ensure_future(proxy.server.drain())
        await settle(lambda: proxy.log.count("draining"))
        client.ask("POST", PATH, message(stream=stream))
        answer = await client.answer()
        assert answer.status == 200 and answer.whole and b"Hi" in answer.body
        await asyncio.wait_for(drain, 10)
        assert await client.reader.read() == b""


async def test_one_that_never_asks_is_closed() -> None:
    async with (
        run_proxy(config("http://127.0.0.1:1/v1", drain_seconds=60), timeouts=Timeouts(fresh=0.05)) as proxy,
        proxy.client() as client,
    ):
        await settle(lambda: connections(proxy))
        await asyncio.wait_for(proxy.server.drain(), 10)
        assert await client.reader.read() == b""


async def test_one_that_was_answered_a_moment_ago_may_ask_again() -> None:
    """A client that asks all the time hears `Connection: close`; closed at once, its next request would be lost now and
    then."""
    async with (
        run_proxy(config("http://127.0.0.1:1/v1", drain_seconds=60), timeouts=Timeouts(fresh=30.0)) as proxy,
        proxy.client() as client,
    ):
        client.ask("GET", "/")
        assert "connection" not in (await client.answer()).headers
        drain = asyncio.ensure_future(proxy.server.drain())
        await settle(lambda: proxy.log.count("draining"))
        client.ask("GET", "/")
        assert (await client.answer()).headers["connection"] == "close"
        await asyncio.wait_for(drain, 10)


async def test_one_that_has_been_idle_is_closed_at_once() -> None:
    async with (
        run_proxy(config("http://127.0.0.1:1/v1", drain_seconds=60), timeouts=Timeouts(fresh=0.0)) as proxy,
        proxy.client() as client,
    ):
        client.ask("GET", "/")
        await client.answer()
        drain = asyncio.ensure_future(proxy.server.drain())
        assert await asyncio.wait_for(client.reader.read(), 10) == b""
        await asyncio.wait_for(drain, 10)


async def test_an_idle_connection_that_has_just_asked_is_answered() -> None:
    """What lies in the socket when the drain begins counts as asked."""
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", PATH, message(stream=False))
        assert (await client.answer()).status == 200
        client.ask("POST", PATH, message(stream=False))
        await asyncio.wait_for(proxy.server.drain(), 10)
        assert (await client.answer()).status == 200


async def test_a_client_that_leaves_does_not_hold_the_drain() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1", drain_seconds=30), timeouts=Timeouts(fresh=30.0)) as proxy:
        async with proxy.client() as client:
            await settle(lambda: connections(proxy))
            drain = asyncio.ensure_future(proxy.server.drain())
            await settle(lambda: proxy.log.count("draining"))
            assert not drain.done() and client
        await asyncio.wait_for(drain, 10)


# -- slow readers ------------------------------------------------------------------------------------------------------

#: An answer that no socket's buffers hold.
LARGE = "0123456789abcdef" * (21 << 16)


class Slow(Raw):
    """A client that reads nothing until it is told to."""

    async def __aenter__(self) -> Slow:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (self.host, self.port))
        self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=1 << 16)
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]
        return self

    def read(self) -> None:
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]


def content(stream: bool, body: bytes) -> str:
    if not stream:
        return str(json.loads(body)["content"][0]["text"])
    blocks = [
        json.loads(block.partition(b"\ndata: ")[2])
        for block in body.split(b"\n\n")
        if block.startswith(b"event: content_block_delta")
    ]
    return "".join(block["delta"].get("text", "") for block in blocks)


async def large(c: Peer) -> None:
    if c.request.json.get("stream"):
        c.head(200, SSE)
        c.events(*text(*(LARGE[at : at + 65536] for at in range(0, len(LARGE), 65536))))
        c.end()
    else:
        c.reply(completion(LARGE))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_drain_waits_until_an_answer_is_read(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the answer has ended and only its bytes wait: of a stream whole in the buffer, of a body that aiohttp
    writes."""
    monkeypatch.setattr(server, "LAST_WORDS", 0.05)
    async with (
        ScriptedServer(large) as upstream,
        run_proxy(config(upstream.base, drain_seconds=60, buffer_kb=64 << 10)) as proxy,
        Slow(proxy.port) as client,
    ):
        client.ask("POST", PATH, message(stream=stream))
        await settle(lambda: proxy.log.count('"request"'))
        drain = asyncio.ensure_future(proxy.server.drain())
        await asyncio.wait({drain}, timeout=0.5)
        assert not drain.done() and not proxy.services.running.exchanges
        client.read()
        answer = await client.answer()
        assert answer.whole and content(stream, answer.body) == LARGE
        await asyncio.wait_for(drain, 10)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("stream", [True, False])
async def test_a_slow_reader_gets_a_whole_answer_of_a_process_that_ends(stream: bool) -> None:
    """Read in 64 pieces with pauses, of some 3 s in all: longer than interrupted answers get."""
    async with ScriptedServer(large) as upstream, Process(upstream.base) as process, Slow(process.port) as client:
        client.ask("POST", PATH, message(stream=stream))
        await settle(lambda: upstream.requests)
        process.process.terminate()
        await process.line("draining")
        client.read()
        data, size = [], 0
        while piece := await asyncio.wait_for(client.reader.read(1 << 20), 20):
            data.append(piece)
            size += len(piece)
            if size > len(LARGE) // 64:
                size = 0
                await asyncio.sleep(0.05)
        _, _, body = b"".join(data).partition(b"\r\n\r\n")
        assert len(body) >= len(LARGE) and body.endswith(b"0\r\n\r\n" if stream else b"}")
        if not stream:
            assert content(stream, body) == LARGE
        await process.line("ENDED")
