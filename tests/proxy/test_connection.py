"""The HTTP connections against raw sockets: rejected requests, kept connections, evicted connections, and details that
no response may reveal."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson
import pytest

from a2py.proxy.connection import Connection
from a2py.proxy.routes import ROUTES, Route
from tests.proxied import Running, config, message, run_proxy, settle
from tests.proxy.test_http import envelope
from tests.scripted import LIMIT, Peer, Raw, ScriptedServer, answering, completion

NOWHERE = "http://127.0.0.1:1/v1"
GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n"
BODY = orjson.dumps(message("a line\r\n\r\nand another", stream=False))
SIZED_BODY = b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
CHUNKED_BODY = b"Transfer-Encoding: chunked\r\n\r\n5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (
    BODY[:5],
    len(BODY) - 5,
    BODY[5:],
)


async def read_to_end(client: Raw) -> bytes:
    """What comes until the connection is closed."""
    return await asyncio.wait_for(client.reader.read(), LIMIT)


# -- what no response tells --------------------------------------------------------------------------------------------


async def test_no_response_names_its_software() -> None:
    async def crash(*_: object) -> None:
        raise RuntimeError("nobody expected this")

    raws = [
        *(
            b"%b %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % pair
            for pair in ((b"GET", b"/"), (b"HEAD", b"/"), (b"GET", b"/health"))
        ),
        *(
            b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path
            for path in (b"/metrics", b"/nothing", b"/v1/models", b"/v1/messages", b"/crash")
        ),
        b"OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /v1/models HTTP/1.0\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        GET + b"X-Long: " + b"a" * 70_000 + b"\r\n\r\n",
        POST + b"Content-Length: 99999999\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 2\r\n\r\n{}",
        POST + SIZED_BODY,
        POST + CHUNKED_BODY,
        POST + b"Expect: 100-continue\r\n" + SIZED_BODY,
    ]
    settings: dict[str, Any] = {"max_body_mb": 1, "allowed_origins": ("https://app.example",)}
    ROUTES["/crash"] = Route(("GET",), crash)  # type: ignore[arg-type]
    try:
        async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base, **settings)) as proxy:
            for raw in (
                *raws,
                POST + b"Content-Length: %d\r\n\r\n%b" % (len(stream := orjson.dumps(message())), stream),
            ):
                async with proxy.client() as client:
                    client.send(raw)
                    status, headers = await client.head()
                    if status == 100:
                        status, headers = await client.head()
                    assert not {"server", "x-powered-by", "via"} & set(headers), raw[:60]
                    assert headers["request-id"].startswith("req_"), raw[:60]
            assert [line["at"] for line in proxy.lines if line["event"] == "crash"]
            proxy._out.truncate(0)
            proxy._out.seek(0)
    finally:
        del ROUTES["/crash"]


# -- two ways to read a request ----------------------------------------------------------------------------------------


INNER = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        POST + b"Content-Length: %d\r\n" % len(BODY) + SIZED_BODY + INNER,
        POST + b"Content-Length: %d, %d\r\n\r\n" % (len(BODY), len(BODY)) + BODY + INNER,
        POST + b"Content-Length: 5\r\n" + CHUNKED_BODY + INNER,
        POST + b"Transfer-Encoding: chunked\r\n" + SIZED_BODY + INNER,
        POST + b"Transfer-Encoding: \r\n" + SIZED_BODY + INNER,
        POST + b"Transfer-Encoding: identity\r\n\r\n" + INNER,
        POST + CHUNKED_BODY.replace(b"chunked", b"gzip, chunked") + INNER,
        POST + CHUNKED_BODY.replace(b"chunked", b"identity, chunked") + INNER,
        POST + CHUNKED_BODY.replace(b"chunked", b"chunked, chunked") + INNER,
        POST + CHUNKED_BODY.replace(b"chunked", b"chunked, gzip") + INNER,
        POST + CHUNKED_BODY.replace(b"chunked", b"chunked,") + INNER,
        POST + CHUNKED_BODY.replace(b"chunked", b"chunked;a=b") + INNER,
        POST + CHUNKED_BODY.replace(b"chunked", b"\x0bchunked") + INNER,
        POST + CHUNKED_BODY.replace(b"chunked", b'"chunked"') + INNER,
        POST + b"Transfer-Encoding: gzip\r\n" + CHUNKED_BODY + INNER,
        POST + CHUNKED_BODY.replace(b"Encoding:", b"Encoding:\r\n ") + INNER,
        POST + CHUNKED_BODY.replace(b"Encoding:", b"Encoding :") + INNER,
        POST.replace(b"1.1", b"1.0") + CHUNKED_BODY + INNER,
        POST + CHUNKED_BODY.replace(b"\r\n5\r\n", b"\r\n0x5\r\n") + INNER,
        POST + CHUNKED_BODY.replace(b"\r\n5\r\n", b"\r\n5\n") + INNER,
        POST + CHUNKED_BODY.replace(b"\r\n5\r\n", b"\r\n-5\r\n") + INNER,
        POST + CHUNKED_BODY.replace(b"\r\n5\r\n", b"\r\nfffffffffffffffff5\r\n") + INNER,
        GET + b"X-Folded: a\r\n b\r\n\r\n" + INNER,
        GET + b"X-Cr: a\rX-Evil: b\r\n\r\n" + INNER,
        GET + b"X-Nul: a\x00b\r\n\r\n" + INNER,
        GET + b"Host: evil.example\r\n\r\n" + INNER,
        b"GET /v1/models HTTP/1.1\rHost: localhost\r\r" + INNER,
        b"GET /v1/models HTTP/1.1\nHost: localhost\n\n" + INNER,
        b"GET /v1/models HTTP/1.1\r\n\r\n" + INNER,
        b"GET /v1/models\x0b HTTP/1.1\r\nHost: localhost\r\n\r\n" + INNER,
        b"GET /v1/mo\xe2\x80\xaedels HTTP/1.1\r\nHost: localhost\r\n\r\n" + INNER,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + INNER,
        b"POST /v1/messages\r\nHost: localhost\r\n" + CHUNKED_BODY + INNER,
        b"POST /v1/messages HTTP/2.0\r\nHost: localhost\r\n" + CHUNKED_BODY + INNER,
        b"CONNECT /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" + INNER,
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + INNER,
    ],
)
async def test_what_may_be_read_in_two_ways_is_refused_and_nothing_after_it_is_served(raw: bytes) -> None:
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
    ):
        client.send(raw)
        came = await read_to_end(client)
        assert re.match(rb"HTTP/1\.[01] 4", came) and len(re.findall(rb"HTTP/\d.\d \d", came)) == 1, came
        client.reader = asyncio.StreamReader()
        client.reader.feed_data(came)
        envelope(await client.answer(), 405 if raw.startswith(b"CONNECT") else 400, "invalid_request_error")
        assert not upstream.requests


@pytest.mark.parametrize("extra", [b"", b"X-Trailer: a\r\n"])
async def test_a_chunked_body_with_extensions_and_trailers(extra: bytes) -> None:
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
    ):
        client.send(POST + CHUNKED_BODY.replace(b"\r\n5\r\n", b"\r\n5;name=value\r\n")[:-2] + extra + b"\r\n" + INNER)
        assert (await client.answer()).status == 200
        assert (await client.answer()).json["data"]
    assert len(upstream.requests) == 1


async def test_a_good_request_before_a_bad_one_is_answered() -> None:
    async with run_proxy(config(NOWHERE)) as proxy, proxy.client() as client:
        client.send(INNER + INNER + b"NONSENSE\r\n\r\n" + INNER)
        assert [(await client.answer()).status for _ in range(3)] == [200, 200, 400]
        assert await read_to_end(client) == b""


async def test_head_sends_no_body_and_the_next_answer_is_its_own() -> None:
    async with run_proxy(config(NOWHERE)) as proxy, proxy.client() as client:
        for path in (b"/v1/models", b"/nothing", b"/v1/messages"):
            client.send(b"HEAD %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path + INNER)
            head = await client.answer("HEAD")
            assert head.status in (200, 404, 405) and int(head.headers["content-length"]) > 0
            assert (await client.answer()).json["data"]


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (b"http://localhost/v1/models", b"localhost", 200),
        (b"http://localhost:4000/v1/models", b"evil.example", 200),
        (b"HTTP://LOCALHOST/v1/models?limit=3", b"evil.example", 200),
        (b"http://evil.example/v1/models", b"localhost", 403),
        (b"http://localhost:80@evil.example/v1/models", b"localhost", 403),
        (b"http://localhost@evil.example/v1/models", b"localhost", 403),
        (b"http://[::1].evil.example/v1/models", b"localhost", (400, 403)),
        (b"http://[::1]/v1/models", b"evil.example", 200),
        (b"http:///v1/models", b"localhost", (400, 403)),
    ],
)
async def test_a_target_in_absolute_form_names_its_own_host(
    target: bytes, host: bytes, status: int | tuple[int, ...]
) -> None:
    async with run_proxy(config(NOWHERE)) as proxy, proxy.client() as client:
        client.send(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host))
        answer = await client.answer()
        assert answer.status in ((status,) if isinstance(status, int) else status), answer.body


@pytest.mark.parametrize("length", [8000, 16_000])
async def test_long_targets_are_read_and_very_long_ones_refused(length: int) -> None:
    async with run_proxy(config(NOWHERE)) as proxy, proxy.client() as client:
        client.send(b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * length))
        assert len(envelope(await client.answer(), 404, "not_found_error")) < 400
        client.send(b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * (length + 16_384)))
        envelope(await client.answer(), 431, "invalid_request_error")
        assert await read_to_end(client) == b""


# -- broken bodies -----------------------------------------------------------------------------------------------------


async def test_a_body_that_breaks_later_is_refused_at_once() -> None:
    """Also if the broken chunk arrives after the head: the body's reader must not wait for the rest."""
    async with run_proxy(config(NOWHERE)) as proxy, proxy.client() as client:
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await settle(lambda: proxy.busy)
        client.send(b"zz\r\n")
        envelope(await client.answer(), 400, "invalid_request_error")
        assert await read_to_end(client) == b""


@pytest.mark.parametrize("path", [b"/v1/messages", b"/nothing"])
async def test_a_broken_body_leaves_no_traceback(path: bytes, caplog: pytest.LogCaptureFixture) -> None:
    whole = gzip.compress(BODY)
    broken = whole[:20] + b"\xff" * (len(whole) - 20)
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % (
        path,
        len(broken),
    )
    with caplog.at_level(logging.DEBUG):
        async with run_proxy(config(NOWHERE)) as proxy:
            for first in (len(broken), 0, 30):
                async with proxy.client() as client:
                    client.send(head + broken[:first])
                    if not first:
                        await settle(lambda: proxy.busy or path == b"/nothing")
                    client.send(broken[first:])
                    assert (await client.answer()).status == (400 if path == b"/v1/messages" else 404)
                    assert await read_to_end(client) == b""
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING]


# -- bytes after a refused Upgrade ------------------------------------------------------------------------------------

UPGRADES = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    b"connection: upgrade\r\nuPGRADE: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n",
]
REQUESTS = [GET + b"\r\n", POST + SIZED_BODY, POST + CHUNKED_BODY]


def add_upgrade(request: bytes, upgrade: bytes) -> bytes:
    line, _, rest = request.partition(b"\r\n")
    return line + b"\r\n" + upgrade + rest


@asynccontextmanager
async def connect(proxy: Running) -> AsyncIterator[tuple[Raw, Connection]]:
    """A client, and the server's end of its connection, which can be given bytes in any pieces."""
    before = set(proxy.server._connections._handlers)  # type: ignore[union-attr]
    async with proxy.client() as client:
        await settle(lambda: set(proxy.server._connections._handlers) - before)  # type: ignore[union-attr]
        (connection,) = set(proxy.server._connections._handlers) - before  # type: ignore[union-attr]
        assert isinstance(connection, Connection)
        yield client, connection


@pytest.mark.parametrize("upgrade", UPGRADES, ids=["h2c", "websocket", "tcp"])
@pytest.mark.parametrize("request_", REQUESTS, ids=["no body", "sized", "chunked"])
async def test_what_follows_a_request_with_upgrade_is_served(request_: bytes, upgrade: bytes) -> None:
    """As HTTP/1.1, wherever the bytes were split on their way."""
    first = add_upgrade(request_, upgrade)
    raw = first + POST + SIZED_BODY + first + GET + b"\r\n"
    splits = [[len(raw)], [1] * len(raw), [7] * len(raw), *([n] for n in range(len(first) - 9, len(first) + 9))]
    splits += [[n] for n in range(first.index(b"\r\n\r\n") - 2, first.index(b"\r\n\r\n") + 7)]
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        for sizes in splits:
            async with connect(proxy) as (client, connection):
                at = 0
                for size in (*sizes, len(raw)):
                    if at < len(raw):
                        connection.data_received(raw[at : at + size])
                        at += size
                for part in (request_, POST, request_, GET):
                    answer = await client.answer()
                    assert (
                        answer.status == 200 and ("content" if part.startswith(b"POST") else "data") in answer.json
                    ), sizes[:3]
    assert all(request.json["messages"][-1]["content"] == "a line\r\n\r\nand another" for request in upstream.requests)


async def test_very_many_requests_with_upgrade_at_once() -> None:
    """More than the parser queues before it pauses."""
    number = 200
    async with run_proxy(config(NOWHERE)) as proxy, proxy.client() as client:
        client.send(add_upgrade(GET + b"\r\n", UPGRADES[0]) * number)
        for _ in range(number):
            assert (await client.answer()).json["data"]


async def test_a_large_compressed_body_with_upgrade() -> None:
    """Its parser is paused again and again, as it expands faster than it is read."""
    body = gzip.compress(orjson.dumps(message("x" * (4 << 20), stream=False)))
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
    ):
        for _ in range(2):
            client.send(
                add_upgrade(POST, UPGRADES[0]) + head + body + add_upgrade(GET, UPGRADES[0]) + b"\r\n" + GET + b"\r\n"
            )
            assert (await client.answer()).json["content"]
            assert (await client.answer()).json["data"]
            assert (await client.answer()).json["data"]
    assert len(upstream.requests) == 2


# -- too many connections ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def clients(proxy: Running, number: int) -> AsyncIterator[list[Raw]]:
    """So many connections, in this order."""
    async with AsyncExitStack() as stack:
        connections: Any = proxy.server._connections
        peers = []
        for _ in range(number):
            peers.append(await stack.enter_async_context(proxy.client()))
            await settle(lambda: connections.open >= min(len(peers), connections.max_connections))
        yield peers


@pytest.mark.parametrize("start", [b"", b"POST /v1/messages HTTP/1.1\r\nHost: loc"])
async def test_silent_connections_keep_nobody_out(start: bytes) -> None:
    """The oldest one that has not asked makes room, also if it has sent half a request."""
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base, max_connections=20)) as proxy,
    ):
        async with clients(proxy, 100) as silent:
            for client in silent:
                client.send(start)
            for _ in range(30):
                assert (await proxy.ask(message())).status == 200
            assert proxy.server._connections is not None and proxy.server._connections.open <= 20
            for client in silent[:80]:
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await client.reader.readexactly(1)
        assert not [line for line in proxy.lines if line["status"] == 529]
    assert len(upstream.requests) == 30


async def test_the_newest_silent_connection_stays() -> None:
    async with run_proxy(config(NOWHERE, max_connections=3)) as proxy, clients(proxy, 4) as (one, two, three, four):
        assert await read_to_end(one) == b""
        for client in (four, three, two):
            client.ask("GET", "/v1/models")
            assert (await client.answer()).status == 200


async def test_connections_that_wait_for_their_next_request_come_after_silent_ones() -> None:
    """Else who asks once on each of them would keep everybody out as well. Their clients ask again on a new one."""
    async with (
        run_proxy(config(NOWHERE, max_connections=3)) as proxy,
        clients(proxy, 3) as (one, two, silent),
        AsyncExitStack() as stack,
    ):
        for client in (two, one, two):
            client.ask("GET", "/v1/models")
            assert (await client.answer()).status == 200
        for leaves, stay in ((silent, (one, two)), (one, (two,)), (two, ())):
            more = await stack.enter_async_context(proxy.client())
            more.ask("GET", "/v1/models")
            assert (await more.answer()).status == 200
            assert await read_to_end(leaves) == b""
            assert not [client for client in stay if client.reader.at_eof()]


async def test_where_all_are_busy_a_new_one_is_refused_and_far_more_are_cut_off() -> None:
    go = asyncio.Event()

    async def slow(c: Peer) -> None:
        await go.wait()
        c.reply(completion("Hi"))

    async with ScriptedServer(slow) as upstream, run_proxy(config(upstream.base, max_connections=2)) as proxy:
        connections = proxy.server._connections
        assert connections is not None
        async with AsyncExitStack() as stack:
            running = [await stack.enter_async_context(proxy.client()) for _ in range(2)]
            for client in running:
                client.ask("POST", "/v1/messages", message(stream=False))
            await settle(lambda: len(upstream.requests) == 2)
            for _ in range(3):
                client = await stack.enter_async_context(proxy.client())
                client.ask("GET", "/v1/models", None, (("anthropic-version", "2023-06-01"),))
                answer = await client.answer()
                assert (
                    "max_connections" in envelope(answer, 529, "overloaded_error")
                    and answer.headers["retry-after"] == "1"
                )
                assert await read_to_end(client) == b""
            for number in (3, 4):  # refused ones whose bodies are still to come are busy too
                stuck = await stack.enter_async_context(proxy.client())
                stuck.send(POST + b"Content-Length: 10\r\n\r\n")
                assert (await stuck.answer()).status == 529
                assert connections.open == number
            cut = await stack.enter_async_context(proxy.client())
            cut.ask("GET", "/v1/models")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await cut.answer()
            assert len(upstream.requests) == 2
            go.set()
            for client in running:
                assert (await client.answer()).status == 200
        await settle(lambda: connections.open == 0)
        assert (await proxy.ask(message(stream=False))).status == 200


# -- what is counted ---------------------------------------------------------------------------------------------------


async def test_every_connection_is_forgotten() -> None:
    async with run_proxy(config(NOWHERE, max_connections=5)) as proxy:
        connections = proxy.server._connections
        assert connections is not None
        async with clients(proxy, 12) as peers:
            for client in peers[-4:]:
                client.ask("GET", "/v1/models")
                assert (await client.answer()).status == 200
            peers[-1].reset()
            await settle(lambda: connections.open == 4)
            assert len(connections.idle) + len(connections.fresh) + len(connections.busy) == 4
        await settle(lambda: not connections.open)
        assert not connections.idle and not connections.fresh and not connections.busy
