"""Push mode over bodies that no server of ours would send, in any pieces: what comes out is what h11 reads, or an error where h11 has one.

Knows: HTTP/1.1 framing, how to break it. Must not know: how push mode tells chunks apart (it is asked only through `push` and `pull`).
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiohttp
import h11
import pytest

from a2py.proxy import pump
from a2py.proxy.pump import Gather, pull
from a2py.proxy.push import push

EXAMPLES = int(os.environ.get("A2PY_FUZZ", "60"))
SECONDS = 10.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
#: Payloads that look like framing, too.
WORDS = (b"data: {}\n\n", b"\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"x", b"\n", b"a" * 40, b"\r", b"f" * 300, b"1;x=y\r\n")

Way = Callable[[aiohttp.ClientResponse, Gather], Coroutine[Any, Any, None]]
WAYS: dict[str, Way] = {"push": lambda response, flow: push(response, flow, None, None), "pull": pull}


def chunk(payload: bytes, dice: random.Random) -> bytes:
    size = b"%x" % len(payload)
    roll = dice.random()
    if roll < 0.1:
        size = size.upper().rjust(dice.randrange(1, 9), b"0")
    elif roll < 0.15:
        size += dice.choice((b";a=b", b';name="q"', b";x"))
    return size + b"\r\n" + payload + b"\r\n"


def body(dice: random.Random) -> tuple[bytes, bool]:
    """A chunked body: well-made (then True), or with a byte changed, lost, doubled or put in."""
    out = b""
    for _ in range(dice.randrange(8)):
        out += chunk(b"".join(dice.choices(WORDS, k=dice.randrange(1, 5))), dice)
    end = b"0\r\n\r\n" if dice.random() < 0.9 else dice.choice((b"0\r\nx-trailer: 1\r\n\r\n", b"00\r\n\r\n", b""))
    out += end
    if dice.random() < 0.6 or not out:
        return out, bool(end)
    at = dice.randrange(len(out))
    out = out[:at] + dice.choice((b"", b"\n", b"\r\n", b"g", b"0", out[at : at + 9] * 2)) + out[at + dice.randrange(2) :]
    return out, False


def expected(data: bytes) -> tuple[bytes, bool, int]:
    """What h11 makes of the response: its body, whether it came to its end, and the bytes that stand behind that."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data)
    reader.receive_data(b"")
    out = b""
    try:
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Data):
                out += event.data
            elif isinstance(event, h11.EndOfMessage):
                return out, True, len(reader.trailing_data[0])
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return out, False, 0
    except h11.RemoteProtocolError:
        return out, False, 0


class Server:
    """Answers each connection with `pieces`, each in a write of its own, and closes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for n, piece in enumerate(self.pieces):
            writer.write(piece)
            for _ in range(1 + n % 3):
                await asyncio.sleep(0)
        writer.close()

    async def read(self, session: aiohttp.ClientSession, port: int, way: Way) -> tuple[bytes, bool]:
        flow = Gather(1 << 20)
        try:
            async with session.get(f"http://127.0.0.1:{port}/") as response:
                await asyncio.wait_for(way(response, flow), SECONDS)
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, ConnectionError):
            return flow.body(), False
        return flow.body(), True


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, aiohttp.ClientSession, int]]:
    ours = Server()
    listening = await asyncio.start_server(ours.answer, "127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        yield ours, session, listening.sockets[0].getsockname()[1]
    listening.close()


async def test_what_comes_out_is_what_h11_reads(server: tuple[Server, aiohttp.ClientSession, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp takes more than h11 does; push mode must then say what `pull` says."""
    monkeypatch.setattr(pump, "LOOK_SECONDS", 0.02)
    ours, session, port = server
    for seed in range(EXAMPLES):
        dice = random.Random(seed)
        data, sound = body(dice)
        wanted, whole, behind = expected(CHUNKED + data)
        data = data[: len(data) - behind]
        places = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice((0, 1, 4, 30))))
        ours.pieces = [CHUNKED, *(data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True))]
        if dice.random() < 0.3:
            ours.pieces[:2] = [b"".join(ours.pieces[:2])]
        pushed, pulled = [await ours.read(session, port, way) for way in (WAYS["push"], WAYS["pull"])]
        said = f"seed {seed}: {data!r} in {[len(piece) for piece in ours.pieces]}"
        assert pushed[1] == pulled[1], f"{said}: {pushed} {pulled}"
        if pushed[1]:
            assert pushed == pulled, said
        else:
            assert pushed[0].startswith(pulled[0]) or pulled[0].startswith(pushed[0]), f"{said}: {pushed} {pulled}"
        assert not sound or pushed == (wanted, True), said
        assert not (whole and pushed[1]) or pushed[0] == wanted, said
