"""Each limit of a connection that docs/limits.md names is flooded."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from a2py.http1 import BadResponse, Inflater, ResponseReader
from a2py.http1.coding import STEP
from a2py.http1.head import MAX_HEADERS
from a2py.http1.response import MAX_CHUNK_LINE, MAX_HEAD, MAX_INTERIM
from a2py.upstream.connect import DNS_HOSTS, Resolver, Route
from a2py.upstream.connection import TAIL_SIZE, Connection, Phase
from a2py.upstream.origin import Origin
from a2py.upstream.pool import IDLE_ALL, IDLE_EACH, Pool
from a2py.upstream.transports import READ_SIZE
from a2py.upstream.watch import Limits
from tests.whole.test_limits import table

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
ROWS = table("Connections to upstreams")


def rejects(fits: bytes, floods: bytes) -> None:
    ResponseReader().receive(fits)
    with pytest.raises(BadResponse):
        ResponseReader().receive(floods)


async def head() -> None:
    rejects(OK + b"x: " + b"a" * (MAX_HEAD - 100), OK + b"x: " + b"a" * MAX_HEAD)
    rejects(CHUNKED + b"0\r\nx: " + b"a" * (MAX_HEAD - 100), CHUNKED + b"0\r\nx: " + b"a" * MAX_HEAD)


async def headers() -> None:
    rejects(OK + b"x: a\r\n" * MAX_HEADERS + b"\r\n", OK + b"x: a\r\n" * (MAX_HEADERS + 1) + b"\r\n")


async def interim() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    rejects(hint * MAX_INTERIM + OK + b"\r\n", hint * (MAX_INTERIM + 1) + OK + b"\r\n")


async def chunk_line() -> None:
    rejects(CHUNKED + b"1;x=" + b"a" * (MAX_CHUNK_LINE - 100), CHUNKED + b"1;x=" + b"a" * MAX_CHUNK_LINE)


async def step() -> None:
    sizes = [len(piece) for piece in Inflater("gzip").pieces(gzip.compress(b" " * 10_000_000))]
    assert max(sizes) <= STEP and sum(sizes) == 10_000_000


class Transport(asyncio.Transport):
    """Takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = True
        self.is_closed = False

    def write(self, data: Any) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def abort(self) -> None:
        self.is_closed = True


class Owner:
    def take_back(self, connection: Connection) -> None:
        pass

    def remove(self, connection: Connection) -> None:
        pass


async def start_answer() -> tuple[Connection, Transport]:
    """A connection on which the head of a response has come."""
    connection, transport = Connection(asyncio.get_running_loop(), Owner()), Transport()
    connection.connection_made(transport)
    asking = asyncio.create_task(connection.ask(b"", b"", Limits()))
    await asyncio.sleep(0)
    connection.data_received(OK + b"content-length: 1000000000\r\n\r\n")
    await asking
    return connection, transport


async def early() -> None:
    connection, transport = await start_answer()
    reads = 0
    while transport.reads:
        connection.data_received(b"x" * 4096)
        reads += 1
    assert reads * 4096 <= READ_SIZE + 4096
    connection.close()


async def tail() -> None:
    connection, transport = await start_answer()
    connection.leave(is_complete=True)
    size = 0
    while connection.phase is Phase.TAIL:
        connection.data_received(b"x" * 4096)
        size += 4096
    assert transport.is_closed and size <= TAIL_SIZE + 4096


class Idle(Connection):
    def is_usable(self, now: float, idle_seconds: float) -> bool:
        return True


async def flooded_pool(servers: int) -> int:
    loop = asyncio.get_running_loop()
    pool = Pool(loop)
    for n in range(2 * IDLE_ALL):
        connection = Idle(loop, pool)
        pool.add(connection, Route(Origin("http", f"host{n % servers}", 80), None, True))
        pool.take_back(connection)
    idle = pool.idle
    assert idle == len(pool.connections)
    pool.close()
    return idle


async def idle_each() -> None:
    assert await flooded_pool(1) == IDLE_EACH


async def idle_all() -> None:
    assert await flooded_pool(2 * IDLE_ALL // 8) == IDLE_ALL


async def hosts() -> None:
    class Loop:
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.time, self.create_task = loop.time, loop.create_task

        async def getaddrinfo(self, host: str, port: int, **more: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    resolver = Resolver(Loop(asyncio.get_running_loop()))  # type: ignore[arg-type]
    for n in range(3 * DNS_HOSTS):
        await resolver.addresses(f"host{n}.example", 80)
        assert len(resolver._cache) <= DNS_HOSTS
    await resolver.close()


FLOODS: dict[str, Callable[[], Awaitable[None]]] = {
    "a2py.http1.response.MAX_HEAD": head,
    "a2py.http1.head.MAX_HEADERS": headers,
    "a2py.http1.response.MAX_INTERIM": interim,
    "a2py.http1.response.MAX_CHUNK_LINE": chunk_line,
    "a2py.http1.coding.STEP": step,
    "a2py.upstream.transports.READ_SIZE": early,
    "a2py.upstream.connection.TAIL_SIZE": tail,
    "a2py.upstream.pool.IDLE_EACH": idle_each,
    "a2py.upstream.pool.IDLE_ALL": idle_all,
    "a2py.upstream.connect.DNS_HOSTS": hosts,
}


def test_each_row_has_its_flood() -> None:
    assert set(FLOODS) == set(ROWS)


@pytest.mark.parametrize("where", FLOODS)
async def test_a_flood_stays_within_the_limit(where: str) -> None:
    await FLOODS[where]()
