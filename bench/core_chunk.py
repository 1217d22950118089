"""What one paced chunk costs between the two sockets: a read that holds one HTTP chunk with one event → one write; CPU
µs, warm.

Knows: a connection to an upstream, with memory on both sides in the place of transports. Must not know: how it passes a
chunk on. Use: `python -m bench.core_chunk [--repeat 9]`. For each kind of chunk as it is, and without the splice
(`messages/splice.py`); the least of the repeats. A paced chunk in a real proxy finds cold caches: some three to four
times as much, which `w1_50` of the suite shows.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from types import SimpleNamespace
from typing import Any, NamedTuple

from a2py.messages.types import Prepared, Usage
from a2py.messages.writer import Writer
from a2py.proxy.client import EventStream
from a2py.proxy.flow import ToClient
from a2py.upstream.connection import Connection
from a2py.upstream.watch import Limits
from a2py.wires import wire
from bench.shapes import KINDS, Plan, openai, render

CHUNKS = 2000


class Row(NamedTuple):
    """One kind of chunk. `size`: bytes that the client got for all chunks. It is the same with and without the
    splice."""

    kind: str
    us: float
    without_us: float
    size: int


class Transport(asyncio.Transport):
    """A transport that accepts everything and sends nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def write(self, data: Any) -> None:
        self.size += len(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def abort(self) -> None:
        pass


class _WithoutSplice(ToClient):
    """The decoder without its splice, so that each chunk is decoded."""

    __slots__ = ()

    def splice(self) -> None:
        return None


def chunks(kind: str) -> list[bytes]:
    """Return the chunks of a stream up to the last one with content."""
    body = render(openai(Plan(kind, CHUNKS)), [b"%017d" % n for n in range(CHUNKS)])
    events = [event + b"\n\n" for event in body.split(b"\n\n") if b'"finish_reason":null' in event]
    return [b"%x\r\n%b\r\n" % (len(event), event) for event in events]


class _Owner:
    def take_back(self, connection: Connection) -> None:
        pass

    def remove(self, connection: Connection) -> None:
        pass


async def reading(flow_type: type[ToClient]) -> tuple[Connection, Transport, asyncio.Task[None]]:
    """Yield a connection in the middle of a chunked body, and the task that reads it."""
    transport = Transport()
    writer = Writer("msg_1", "m", Usage(input=1))
    decoder = wire("chat").decoder(Prepared("http://127.0.0.1", {}, b"", True), writer)
    request: Any = SimpleNamespace(transport=transport, protocol=None, version=(1, 1), keep_alive=True)
    client = EventStream(request, "req_1", 1 << 18)
    flow = flow_type(decoder, writer, client, client.commit)
    connection = Connection(asyncio.get_running_loop(), _Owner())
    connection.connection_made(Transport())
    asking = asyncio.create_task(connection.ask(b"", b"", Limits()))
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    await asking
    task = asyncio.create_task(connection.read(flow))
    await asyncio.sleep(0)
    return connection, transport, task


async def measure(kind: str, repeat: int) -> Row:
    pieces = chunks(kind)
    best, sizes = [], []
    for flow_type in (ToClient, _WithoutSplice):
        times = []
        for _ in range(repeat):
            connection, transport, task = await reading(flow_type)
            began = time.process_time()
            for piece in pieces:
                connection.data_received(piece)
            times.append((time.process_time() - began) / len(pieces) * 1e6)
            task.cancel()
            await asyncio.wait([task])
        best.append(min(times))
        sizes.append(transport.size)
    if sizes[0] != sizes[1]:
        raise SystemExit(f"{kind}: {sizes[0]} bytes were written, {sizes[1]} without the splice")
    return Row(kind, best[0], best[1], sizes[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=9)
    args = parser.parse_args()
    for kind in KINDS:
        row = asyncio.run(measure(kind, args.repeat))
        print(f"{kind:10} {row.us:5.2f} µs a chunk, {row.without_us:5.2f} without the splice")


if __name__ == "__main__":
    main()
