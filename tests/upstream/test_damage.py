"""A damaged response: data before the fault is passed on, even if it came in the same read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from a2py.http1 import request_head
from a2py.upstream import Failure, Gather
from a2py.upstream.connection import Connection, Phase
from a2py.upstream.watch import Limits

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Nobody:
    """An owner that keeps nothing."""

    def take_back(self, connection: Connection) -> None:
        connection.close()

    def remove(self, connection: Connection) -> None:
        pass


@pytest.fixture
async def server() -> AsyncIterator[tuple[list[bytes], int]]:
    """A server that answers with these pieces, each at a request of its own, and waits; its port."""
    pieces: list[bytes] = []
    disconnect = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(piece)
        await reader.read()
        writer.close()
        disconnect.set()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield pieces, listening.sockets[0].getsockname()[1]
    await asyncio.wait_for(disconnect.wait(), 10)
    listening.close()


async def open_connection(port: int) -> Connection:
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(lambda: Connection(loop, Nobody()), "127.0.0.1", port))[1]


REQUEST = request_head("GET", "/", "x", {}, None)


@pytest.mark.parametrize("cut", [0, len(HEAD)], ids=["with the head", "behind it"])
@pytest.mark.parametrize("fault", [b"zz\r\n", b"5\r\nhello!!", b"1;\0\r\n", b"0\r\n a\r\n\r\n"])
async def test_what_came_before_a_fault_is_passed_on(server: tuple[list[bytes], int], fault: bytes, cut: int) -> None:
    pieces, port = server
    data = HEAD + b"3\r\nabc\r\n" + fault
    pieces += filter(None, (data[:cut], data[cut:]))
    connection = await open_connection(port)
    await connection.ask(REQUEST, b"", Limits())
    flow = Gather(1000)
    reading = asyncio.ensure_future(connection.read(flow))
    await asyncio.sleep(0)
    if cut:
        assert connection._transport is not None
        connection._transport.write(REQUEST)
    with pytest.raises(Failure) as excinfo:
        await asyncio.wait_for(reading, 10)
    assert excinfo.value.cause.kind == "broken"
    assert flow.body() == (b"abchello" if b"hello" in fault else b"abc")
    assert connection.phase is Phase.CLOSED


async def test_an_answer_that_is_whole_for_its_reader_is_no_failure(server: tuple[list[bytes], int]) -> None:
    """A stream that has said its last word may be followed by bad framing."""
    pieces, port = server
    pieces.append(HEAD + b"4\r\nabcd\r\nzz\r\n")
    connection = await open_connection(port)
    await connection.ask(REQUEST, b"", Limits())
    flow = Gather(3)
    await asyncio.wait_for(connection.read(flow), 10)
    assert flow.is_over and flow.body() == b"abc"
