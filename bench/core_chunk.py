"""What one paced chunk costs between the two sockets: a read that holds one HTTP chunk with one event → one write; CPU µs, warm.

Knows: the tap of push mode, with memory on both sides in the place of transports and of aiohttp. Must not know: how it passes a chunk on.
Use: `python -m bench.core_chunk [--repeat 9]`. For each kind of chunk the way as it is, and without the direct one (`proxy/direct.py`); the least of
the repeats. A paced chunk in a real proxy finds cold caches: some three to four times as much, which `w1_50` of the suite shows.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import aiohttp

from a2py.messages.types import Prepared, Usage
from a2py.messages.writer import Writer
from a2py.proxy.client import EventStream
from a2py.proxy.pump import ToClient
from a2py.proxy.push import Tap
from a2py.wires import wire
from bench.shapes import KINDS, Plan, openai, render

CHUNKS = 2000


class Row(NamedTuple):
    """`written`: bytes that the client got for all chunks, the same both ways."""

    kind: str
    us: float
    without_us: float
    written: int


class Transport(asyncio.Transport):
    """Takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def write(self, data: Any) -> None:
        self.size += len(data)

    def get_write_buffer_size(self) -> int:
        return 0


class Body:
    """aiohttp's parser and reader, for whole chunks."""

    def __init__(self) -> None:
        self.total_bytes = 0
        self._pieces: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            line = data.index(b"\r\n", at) + 2
            end = line + int(data[at : line - 2], 16)
            self._pieces.append(data[line:end])
            self.total_bytes += end - line
            at = end + 2

    def read_nowait(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

    def is_eof(self) -> bool:
        return False

    at_eof = is_eof


class _Roundabout(ToClient):
    __slots__ = ()

    def direct(self) -> None:
        return None


def chunks(kind: str) -> list[bytes]:
    """A stream's chunks up to the last of its content."""
    body = render(openai(Plan(kind, CHUNKS)), [b"%017d" % n for n in range(CHUNKS)])
    events = [event + b"\n\n" for event in body.split(b"\n\n") if b'"finish_reason":null' in event]
    return [b"%x\r\n%b\r\n" % (len(event), event) for event in events]


def tapped(flow_type: type[ToClient]) -> tuple[Tap, Transport]:
    transport, body = Transport(), Body()
    writer = Writer("msg_1", "m", Usage(input=1))
    decoder = wire("chat").decoder(Prepared("http://127.0.0.1", {}, b"", True), writer)
    request: Any = SimpleNamespace(transport=transport, protocol=None, version=(1, 1), keep_alive=True)
    client = EventStream(request, "req_1", 1 << 18)
    response: Any = SimpleNamespace(content=body, headers={"transfer-encoding": "chunked"})
    flow = flow_type(decoder, writer, client, client.commit)
    tap = Tap(cast(asyncio.Protocol, body), transport, cast(aiohttp.ClientResponse, response), flow, None, None)
    return tap, transport


async def measure(kind: str, repeat: int) -> Row:
    pieces = chunks(kind)
    best, sizes = [], []
    for flow_type in (ToClient, _Roundabout):
        times = []
        for _ in range(repeat):
            tap, transport = tapped(flow_type)
            begun = time.perf_counter()
            for piece in pieces:
                tap.data_received(piece)
            times.append((time.perf_counter() - begun) / len(pieces) * 1e6)
        best.append(min(times))
        sizes.append(transport.size)
    if sizes[0] != sizes[1]:
        raise SystemExit(f"{kind}: {sizes[0]} bytes were written, {sizes[1]} without the direct way")
    return Row(kind, *best, sizes[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=9)
    args = parser.parse_args()
    for kind in KINDS:
        row = asyncio.run(measure(kind, args.repeat))
        print(f"{kind:10} {row.us:5.2f} µs a chunk, {row.without_us:5.2f} without the direct way")


if __name__ == "__main__":
    main()
