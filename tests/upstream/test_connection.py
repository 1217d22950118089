"""One connection, without the proxy: phases, idle bytes, limits, sending, compression."""

from __future__ import annotations

import asyncio
import gzip
import random
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from a2py.http1 import BadResponse, Inflater
from a2py.messages.splice import Splice
from a2py.upstream import connection as module
from a2py.upstream.connect import Route
from a2py.upstream.connection import Connection, Phase
from a2py.upstream.failure import Failure, NoResponse
from a2py.upstream.flow import Gather
from a2py.upstream.origin import Origin
from a2py.upstream.pool import MAX_AGE, Pool
from a2py.upstream.sender import SEND_SIZE
from a2py.upstream.transports import READ_SIZE
from a2py.upstream.watch import Limits
from tests.proxied import settle
from tests.steady import steady_clock

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n\r\n"
ROUTE = Route(Origin("http", "127.0.0.1", 80), None, True)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Owner:
    def __init__(self) -> None:
        self.idle: list[Connection] = []
        self.removals: list[Connection] = []

    def take_back(self, connection: Connection) -> None:
        self.idle.append(connection)

    def remove(self, connection: Connection) -> None:
        self.removals.append(connection)


class Slow(Gather):
    """Is full after each piece, until `go` is set."""

    def __init__(self, limit: int = 1 << 30) -> None:
        super().__init__(limit)
        self.drains = 0
        self.largest = 0
        self._full = False

    def pass_on(self, data: bytes) -> None:
        assert not self._full, "a piece although the flow is full"
        super().pass_on(data)
        self.largest = max(self.largest, len(data))
        self._full = True

    def full(self) -> bool:
        return self._full

    async def drain(self) -> None:
        self.drains += 1
        await asyncio.sleep(0.001)
        self._full = False


@asynccontextmanager
async def open_connection(serve: Serve, owner: Owner | None = None) -> AsyncIterator[Connection]:
    """A connection to a server that runs `serve` on it."""
    end = asyncio.Event()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            end.set()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(run, "127.0.0.1", 0)
    sock = socket.create_connection(server.sockets[0].getsockname())
    sock.setblocking(False)
    _, connection = await loop.create_connection(lambda: Connection(loop, owner or Owner(), sock), sock=sock)
    try:
        yield connection
    finally:
        connection.close()
        await asyncio.wait_for(end.wait(), 10)
        server.close()
        await server.wait_closed()


async def request(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def until_closed(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass


async def body_of(connection: Connection, limit: int = 1 << 20) -> bytes:
    flow = Gather(limit)
    await connection.read(flow)
    return flow.body()


async def test_it_carries_one_exchange_after_another() -> None:
    owner = Owner()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            await request(reader)
            writer.write(OK)
        await until_closed(reader)

    async with open_connection(serve, owner) as connection:
        for n in range(3):
            head = await connection.ask(HEAD, b"", Limits())
            assert head.status == 200 and await body_of(connection) == b"ok"
            assert connection.phase is Phase.COMPLETE
            connection.leave(is_complete=True)
            assert connection.phase is Phase.IDLE and owner.idle == [connection] * (n + 1)  # type: ignore[comparison-overlap]
            assert connection.is_usable(asyncio.get_running_loop().time(), 10)
    assert owner.removals == [connection]


@pytest.mark.parametrize(
    "late", [b"x", b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", OK]
)
@pytest.mark.parametrize("when", ["in the same read", "soon", "unseen"])
async def test_bytes_on_an_idle_connection_close_it(late: bytes, when: str) -> None:
    """They must never become the answer to the next request."""
    go = asyncio.Event()
    surplus = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK + (late if when == "in the same read" else b""))
        await go.wait()
        if when != "in the same read":
            writer.write(late)
        surplus.set()
        await until_closed(reader)

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits())
        assert await body_of(connection) == b"ok"
        connection.leave(is_complete=True)
        go.set()
        if when == "soon":
            await settle(lambda: connection.phase is Phase.CLOSED)
        elif when == "unseen":  # in the kernel, but the event loop has not read it
            connection._pause_reading(True)
            await surplus.wait()
            await asyncio.sleep(0.01)
            assert connection.phase is Phase.IDLE
        assert not connection.is_usable(asyncio.get_running_loop().time(), 10)


@pytest.mark.parametrize(
    ("response", "usable"),
    [
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=30\r\ncontent-length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=1, max=5\r\ncontent-length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 7\r\n\r\n2\r\nok\r\n0\r\n\r\n", False),
    ],
)
async def test_what_the_server_says_of_the_connection(response: bytes, usable: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(response)
        await until_closed(reader)

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits())
        assert await body_of(connection) == b"ok"
        connection.leave(is_complete=True)
        assert connection.is_usable(asyncio.get_running_loop().time(), 10) is usable


async def test_an_idle_connection_that_is_too_old_is_not_usable() -> None:
    async with open_connection(lambda reader, writer: until_closed(reader)) as connection:
        now = asyncio.get_running_loop().time()
        assert connection.is_usable(now, 10)
        assert not connection.is_usable(now + 10.1, 10)
        pool = Pool(asyncio.get_running_loop())
        pool.add(connection, ROUTE)
        pool.take_back(connection)
        assert pool.take(ROUTE) is connection and pool.idle == 0
        pool.connections[connection] = ROUTE, now - MAX_AGE
        pool.take_back(connection)
        assert pool.idle == 1 and pool.take(ROUTE) is None and pool.idle == 0
        pool.close()


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 2"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_that_ends_before_its_answer(start: bytes, how: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(start)
        await asyncio.sleep(0.01)
        if how == "reset":
            writer.transport.abort() if not start else writer.close()

    async with open_connection(serve) as connection:
        with pytest.raises(Failure) as excinfo:
            await connection.ask(HEAD + b"x" * 100, b"", Limits())
        assert excinfo.value.cause.kind == "cut" and isinstance(excinfo.value, NoResponse) is not bool(start)
        assert connection.phase is Phase.CLOSED


@pytest.mark.parametrize("stage", ["nothing", "head", "body"])
@pytest.mark.parametrize("limit", ["silence", "due"])
async def test_limits(stage: str, limit: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write({"nothing": b"", "head": b"HTTP/1.1 200 OK\r\nx: ", "body": OK[:-1]}[stage])
        await until_closed(reader)

    async with open_connection(serve) as connection:
        now = asyncio.get_running_loop().time()
        limits = Limits(silence=0.05) if limit == "silence" else Limits(due=now + 0.05)
        with pytest.raises(Failure) as excinfo:
            await connection.ask(HEAD, b"", limits)
            await body_of(connection)
        assert excinfo.value.cause.kind == (
            "timeout_first_byte" if stage != "body" else "timeout_idle" if limit == "silence" else "timeout_total"
        )
        assert excinfo.value.cause.detail == ("no byte for 0.05 s" if limit == "silence" else "its limit has passed")
        assert connection.phase is Phase.CLOSED


@pytest.mark.parametrize("stage", ["head", "body", "drain"])
async def test_cancelling_closes_at_once(stage: str) -> None:
    has_arrived, is_left = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        if stage != "head":
            writer.write(OK[:-1])
        has_arrived.set()
        await until_closed(reader)
        is_left.set()

    class Stuck(Slow):
        async def drain(self) -> None:
            self.drains += 1
            await asyncio.Event().wait()

    async with open_connection(serve) as connection:
        flow = Stuck() if stage == "drain" else Gather(100)

        async def work() -> None:
            await connection.ask(HEAD, b"", Limits(silence=60))
            await connection.read(flow)

        task = asyncio.create_task(work())
        await has_arrived.wait()
        if isinstance(flow, Stuck):
            await settle(lambda: flow.drains)
        elif stage == "body":
            await settle(flow.body)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert connection.phase is Phase.CLOSED and connection._watch._timer is None
        await asyncio.wait_for(is_left.wait(), 60)


@pytest.mark.parametrize("size", [0, 1, SEND_SIZE, SEND_SIZE + 1, 20 << 20])
async def test_a_body_arrives_whole_and_is_not_copied(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        await asyncio.sleep(0.01)
        bodies.append(await reader.readexactly(size))
        writer.write(OK)
        await until_closed(reader)

    async with open_connection(serve) as connection:
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, connection._transport.get_write_buffer_size())  # type: ignore[union-attr]
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        await connection.ask(HEAD, body, Limits())
        watching.cancel()
        assert bodies == [body] and most <= 3 * SEND_SIZE + len(HEAD)


@pytest.mark.parametrize("size", [1 << 20, 8 << 20])
@pytest.mark.parametrize("end", ["close", "reset", "stay"])
@pytest.mark.parametrize("status", [413, 401])
async def test_an_early_answer_counts(status: int, end: str, size: int) -> None:
    """The server answers while the body is still going out, and closes without reading the rest."""
    answer = b"HTTP/1.1 %d No\r\ncontent-length: 5\r\n\r\nnever" % status

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(answer)
        await writer.drain()
        if end == "stay":
            await until_closed(reader)
        elif end == "close":
            writer.close()

    for _ in range(10):
        owner = Owner()
        async with open_connection(serve, owner) as connection:
            head = await connection.ask(HEAD, b"x" * size, Limits())
            assert head.status == status and await body_of(connection) == b"never"
            connection.leave(is_complete=True)
            if size > 1 << 20:  # more than the kernel takes
                assert connection.phase is Phase.CLOSED and not owner.idle


@pytest.mark.parametrize("reads", [0, 1, 2], ids=["nothing", "head", "part of the body"])
async def test_what_came_before_a_failed_write_is_read(reads: int) -> None:
    """EPIPE ends asyncio's transport without a look at what the kernel has received. `reads`: reads before that."""
    parts = [b"HTTP/1.1 413 No\r\ncontent-length: 5\r\n\r\n", b"ne", b"ver"]
    go, reply = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"".join(parts[:reads]))
        await go.wait()
        writer.write(b"".join(parts[reads:]))
        await writer.drain()
        reply.set()

    async with open_connection(serve) as connection:
        transport = connection._transport
        assert transport is not None
        asking = asyncio.create_task(connection.ask(HEAD, b"", Limits(silence=5)))
        flow = Gather(100)
        if reads:
            assert (await asking).status == 413
            reading = asyncio.create_task(connection.read(flow))
        await settle(lambda: len(flow.body()) == (2 if reads == 2 else 0))
        await asyncio.sleep(0)
        connection._pause_reading(True)  # the event loop has no chance to read it first
        go.set()
        await reply.wait()
        await asyncio.sleep(0.02)
        for _ in range(3):
            if not transport.is_closing():
                transport.write(b"x" * 1000)
            await asyncio.sleep(0.02)
        if reads:
            await reading
            assert flow.body() == b"never"
        else:
            assert (await asking).status == 413
            assert await body_of(connection) == b"never"


async def test_a_server_that_takes_a_body_slowly_is_not_silent() -> None:
    """The silence before the answer is counted from the last part of the request that the server took."""
    silence = 0.7

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Otherwise the system may enlarge its buffer until the whole body is in it, long before it is read.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        await request(reader)
        loop = asyncio.get_running_loop()
        start, size = loop.time(), 0
        while size < 2 << 20:
            size += len(await reader.read(1 << 16))
            await asyncio.sleep(max(0.0, start + 2 * silence * size / (2 << 20) - loop.time()))
        writer.write(OK)
        await until_closed(reader)

    async with steady_clock(), open_connection(serve) as connection:
        assert connection._sock is not None
        connection._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        assert (await connection.ask(HEAD, b"x" * (2 << 20), Limits(silence=silence))).status == 200
        assert await body_of(connection) == b"ok"


async def test_the_silence_of_a_server_that_takes_nothing() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        await asyncio.sleep(0.3)
        await until_closed(reader)

    async with open_connection(serve) as connection:
        with pytest.raises(Failure) as excinfo:
            await connection.ask(HEAD, b"x" * (20 << 20), Limits(silence=0.1))
        assert excinfo.value.cause.kind == "timeout_first_byte"


def events(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


async def test_a_full_flow_stops_the_reading() -> None:
    """No second piece before the flow has drained, and all of them in the end."""
    pieces = [bytes([65 + n % 26]) * 100_000 for n in range(40)]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + events(*pieces) + b"0\r\n\r\n")
        await until_closed(reader)

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits(silence=5))
        flow = Slow()
        await connection.read(flow)
        assert flow.body() == b"".join(pieces) and flow.drains >= 10


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "members"])
@pytest.mark.parametrize("slow", [False, True])
async def test_a_compressed_body(slow: bool, coding: str) -> None:
    plain = b"data: hello\n\n" * 50_000
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    payload = {
        "gzip": gzip.compress(plain),
        "deflate": zlib.compress(plain),
        "raw deflate": packer.compress(plain) + packer.flush(),
        "members": gzip.compress(plain[:1000]) + gzip.compress(plain[1000:]),
    }[coding]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for n in range(0, len(payload), 500):
            writer.write(events(payload[n : n + 500]))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        await until_closed(reader)

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits(silence=5))
        flow = Slow() if slow else Gather(1 << 30)
        await connection.read(flow, Inflater("deflate" if "deflate" in coding else "gzip"))
        assert flow.body() == plain
        connection.leave(is_complete=True)
        assert connection.phase is Phase.IDLE


class Brief(Gather):
    """Is full after each piece, and no more in the next turn of the loop: a client whose buffer empties before the task
    has run."""

    full_now = False

    def pass_on(self, data: bytes) -> None:
        super().pass_on(data)
        self.full_now = True
        asyncio.get_running_loop().call_soon(self.empty)

    def empty(self) -> None:
        self.full_now = False

    def full(self) -> bool:
        return self.full_now

    async def drain(self) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("size", [700, 3000, 1 << 20])
async def test_a_compressed_body_for_a_client_that_was_full_for_a_moment(size: int) -> None:
    plain = random.Random(1).randbytes(1000) * 1000
    payload = gzip.compress(plain)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(payload))
        for at in range(0, len(payload), size):
            writer.write(payload[at : at + size])
            await asyncio.sleep(0.005)
        await until_closed(reader)

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits(silence=5))
        flow = Brief(1 << 30)
        await connection.read(flow, Inflater("gzip"))
        assert flow.body() == plain


DAMAGED_BODIES = {
    "short": gzip.compress(b"x" * 1000)[:-1],
    "no gzip": b"not gzip",
    "changed": gzip.compress(b"x" * 10)[:9] + b"\xff" * 30,
}


@pytest.mark.parametrize("payload", DAMAGED_BODIES.values(), ids=list(DAMAGED_BODIES))
async def test_a_damaged_compressed_body(payload: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(payload) + payload)
        await until_closed(reader)

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits(silence=5))
        with pytest.raises(Failure, match="compressed"):
            await connection.read(Gather(1 << 20), Inflater("gzip"))
        assert connection.phase is Phase.CLOSED


async def test_a_bomb_is_stopped_between_two_steps() -> None:
    """300 KB that unpack to 300 MB: the flow ends at its limit, having seen one step more at the most."""
    payload = gzip.compress(b" " * (300 << 20), 9)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(payload) + payload)
        await until_closed(reader)

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits(silence=5))
        flow = Gather(1 << 20)
        await connection.read(flow, Inflater("gzip"))
        assert flow.is_over and flow.progress <= (1 << 20) + 65_536


@pytest.mark.parametrize(
    ("tail", "phase"),
    [(b"0\r\n\r\n", Phase.IDLE), (events(b"x" * module.TAIL_SIZE) * 2, Phase.CLOSED), (b"zz\r\n", Phase.CLOSED)],
)
async def test_the_tail_of_a_body(tail: bytes, phase: Phase) -> None:
    """After the answer's last event the upstream may end its body; more than that closes the connection."""
    owner = Owner()
    go = asyncio.Event()

    class One(Gather):
        @property
        def is_over(self) -> bool:
            return True

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + events(b"data: [DONE]\n\n"))
        await go.wait()
        writer.write(tail)
        await until_closed(reader)

    async with open_connection(serve, owner) as connection:
        await connection.ask(HEAD, b"", Limits(silence=5))
        await connection.read(One(10))
        connection.leave(is_complete=True)
        assert connection.phase is Phase.TAIL
        go.set()
        await settle(lambda: connection.phase is not Phase.TAIL)
        assert connection.phase is phase and owner.idle == ([connection] if phase is Phase.IDLE else [])  # type: ignore[comparison-overlap]


async def test_a_tail_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAIL_SECONDS", 0.03)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK[:-1])
        await until_closed(reader)

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits())
        connection.leave(is_complete=True)
        assert connection.phase is Phase.TAIL
        await settle(lambda: connection.phase is not Phase.TAIL)
        assert connection.phase is Phase.CLOSED  # type: ignore[comparison-overlap]


async def test_leaving_an_unfinished_answer_closes_at_once() -> None:
    disconnect = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK[:-1])
        await until_closed(reader)
        disconnect.set()

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits())
        connection.leave(is_complete=False)
        assert connection.phase is Phase.CLOSED
        await asyncio.wait_for(disconnect.wait(), 10)


async def test_what_comes_before_anybody_reads_is_bounded() -> None:
    """The head has come, and the task that will read the body is busy."""
    block = b"x" * (1 << 16)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.transport.set_write_buffer_limits(high=1 << 16)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (200 * len(block)))
        for _ in range(200):
            writer.write(block)
            await writer.drain()
        await until_closed(reader)

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits())
        await asyncio.sleep(0.1)
        assert sum(map(len, connection._early)) <= 8 * READ_SIZE
        flow = Gather(1 << 30)
        await connection.read(flow)
        assert flow.body() == block * 200


async def test_a_spliced_chunk_stops_at_a_full_client() -> None:
    before, after = b'data: {"c":"', b'"}\n\n'
    pieces = [before + b"%05d" % n + after for n in range(300)]

    class SplicedFlow(Slow):
        def __init__(self) -> None:
            super().__init__()
            self.lane = Splice(before, after, (b"<", b">"))
            self.out: list[bytes] = []

        def pass_on(self, data: bytes) -> None:
            super().pass_on(data)
            self._full = False

        def splice(self) -> Splice:  # type: ignore[override]
            return self.lane

        def forward(self, data: bytes, now: float) -> None:
            assert not self._full
            self.out.append(data)
            self._full = True

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in pieces:
            writer.write(events(piece))
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write(b"0\r\n\r\n")
        await until_closed(reader)

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits(silence=5))
        flow = SplicedFlow()
        await connection.read(flow)
        assert flow.lane.count == len(flow.out) > 0
        assert flow.lane.count + len(flow.body()) // len(pieces[0]) == len(pieces)


@pytest.mark.parametrize("what", ["pass_on", "drain"])
async def test_what_a_flow_raises_reaches_the_task(what: str) -> None:
    class Broken(Slow):
        def pass_on(self, data: bytes) -> None:
            if what == "pass_on":
                raise ZeroDivisionError
            super().pass_on(data)

        async def drain(self) -> None:
            raise ZeroDivisionError

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK[:-2])
        await asyncio.sleep(0.02)
        writer.write(b"ok")
        await until_closed(reader)

    async with open_connection(serve) as connection:
        await connection.ask(HEAD, b"", Limits(silence=5))
        with pytest.raises(ZeroDivisionError):
            await connection.read(Broken())
        assert connection.phase is Phase.CLOSED


def test_the_reader_is_only_wrong_in_its_own_words() -> None:
    """No bytes of a response get into a message."""
    with pytest.raises(BadResponse) as excinfo:
        list(Inflater("gzip").pieces(b"secret"))
    assert "secret" not in str(excinfo.value)
