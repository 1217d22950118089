"""The direct way of a chunk: what it takes, what it leaves alone, and that a stream through it is the same stream."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from a2py.messages.lane import Lane
from a2py.proxy import direct as direct_module
from a2py.proxy.client import EventStream
from a2py.proxy.direct import LONGEST, Direct
from tests.proxied import config, message, proxied
from tests.scripted import SSE, Peer, Scripted, chunk, event, text

BEFORE, AFTER = b'data: {"c":"', b'"}\n\n'


def lane() -> Lane:
    return Lane(BEFORE, AFTER, (b'{"t":"', b'"}\n\n'))


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


def framed(payload: bytes, size: str = "%x") -> bytes:
    return (size % len(payload)).encode() + b"\r\n" + payload + b"\r\n"


async def passed(data: bytes) -> list[bytes]:
    transport = Transport()
    request: Any = SimpleNamespace(transport=transport, version=(1, 1), keep_alive=True, protocol=None)
    stream = EventStream(request, "req_1", 1000)
    stream.last = 0.0
    road = lane()
    taken = Direct(road, stream)(data, 5.0)
    assert taken == bool(transport.written) == (road.count == 1) == (stream.last == 5.0)
    return transport.written


@pytest.mark.parametrize("size", [1, 2, 13, 14, 15, 16, 200, 225, 226, 227, 228, 229, 3000, LONGEST - len(BEFORE + AFTER) - 7])
async def test_one_chunk_with_one_event(size: int) -> None:
    string = b"x" * size
    assert await passed(framed(BEFORE + string + AFTER)) == [framed(b'{"t":"' + string + b'"}\n\n')]


@pytest.mark.parametrize(
    "data",
    [
        framed(BEFORE + AFTER),
        framed(BEFORE[:-1] + AFTER),  # head and tail share their quote
        framed(BEFORE + b"a" + AFTER + BEFORE + b"b" + AFTER),
        framed(BEFORE + b"a" + AFTER) + framed(BEFORE + b"b" + AFTER),
        framed(BEFORE + b"x" * 30 + AFTER, "%X"),
        framed(BEFORE + b"x" * 30 + AFTER, "0%x"),
        framed(BEFORE + b"x" * 30 + AFTER, "%x;ext=1"),
        framed(BEFORE + b"x" * 30 + AFTER).replace(b"\r\n", b"\n", 1),
        framed(BEFORE + b"x" * 30 + AFTER)[:-1],
        framed(BEFORE + b"x" * 30 + AFTER)[1:],
        framed(BEFORE + b"x" * LONGEST + AFTER),
        framed(BEFORE + b'a"b' + AFTER),
        framed(BEFORE + b"\xff" + AFTER),
        framed(b"data: [DONE]\n\n"),
        framed(b": comment\n\n"),
        b"0\r\n\r\n",
        b"\r\n",
        b"x",
    ],
)
async def test_anything_else_is_left_alone(data: bytes) -> None:
    assert await passed(data) == []


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What each call of `Direct` said."""
    said: list[bool] = []
    real = Direct.__call__

    def call(self: Direct, data: bytes, now: float) -> bool:
        said.append(real(self, data, now))
        return said[-1]

    monkeypatch.setattr(Direct, "__call__", call)
    return said


WORDS = ["Hello", " ", 'w\u00f6rld "quoted"', "\n\t\\", "😀", "plain"] * 4
ODD: dict[str, list[bytes]] = {
    "nothing odd": [],
    "a comment": [framed(b": ping\n\n")],
    "an event in two chunks": [framed(event(chunk({"content": "halves"}))[:50]), framed(event(chunk({"content": "halves"}))[50:])],
    "an event in two reads": [framed(event(chunk({"content": "reads"})))[:70], framed(event(chunk({"content": "reads"})))[70:]],
    "two chunks in a read": [framed(event(chunk({"content": "one"}))) + framed(event(chunk({"content": "two"})))],
    "upper case": [framed(event(chunk({"content": "upper"})), "%X")],
    "an extension": [framed(event(chunk({"content": "extended"})), "%x;a=b")],
    "reasoning": [framed(event(chunk({"reasoning_content": "hm"})))] * 4,
    "a call": [
        framed(
            event(chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}))
        )
    ],
}


@pytest.mark.parametrize("odd", ODD)
async def test_a_paced_stream_takes_it(odd: str, taken: list[bool]) -> None:
    """As `pull` gives it, whatever stands in the middle, and the last of its chunks too."""
    words = [framed(event(chunk({"content": word}))) for word in WORDS]
    pieces = [*words, *ODD[odd], *words, *map(framed, map(event, text()[1:])), b"0\r\n\r\n"]

    async def script(c: Peer) -> None:
        c.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in pieces:
            await c.drain()
            await asyncio.sleep(0.002)
            c.write(piece)

    def content(body: bytes) -> bytes:
        return body[body.index(b"event: content_block_start") :].replace(b'"a2py_', b'"')

    async with Scripted(script) as upstream:
        async with proxied(config(upstream.base), push=True) as one:
            pushed = (await one.ask(message())).body
            assert upstream.connections == 1
        assert sum(taken) > len(words) // 2
        async with proxied(config(upstream.base), push=False) as other:
            pulled = (await other.ask(message())).body
    assert content(pushed) == content(pulled)


async def test_usage_of_a_reply_that_tells_none_counts_what_passed() -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        for word in WORDS:
            await c.drain()
            await asyncio.sleep(0.001)
            c.events(chunk({"content": word}))
        await c.drain()
        await asyncio.sleep(0.001)
        c.events(chunk({}, "stop"), "data: [DONE]\n\n")
        c.end()

    async with Scripted(script) as upstream, proxied(config(upstream.base)) as proxy:
        usage = [data["usage"] for name, data in (await proxy.ask(message())).events if name == "message_delta"]
    assert [told["output_tokens"] for told in usage] == [sum(map(len, WORDS)) // 4 + 1]


async def test_what_raises_ends_the_answer_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_module.Direct, "__call__", lambda self, data, now: 1 / 0)

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        for n in range(20):
            await c.drain()
            await asyncio.sleep(0.001)
            c.events(chunk({"content": f"word {n}"}))
        c.end()

    async with Scripted(script, script) as upstream:
        with pytest.raises(AssertionError, match="crash"):
            async with proxied(config(upstream.base)) as proxy:
                answer = await proxy.ask(message())
                assert answer.names[-1] == "error" and answer.names.count("error") == 1
                assert json.loads(json.dumps(answer.events[-1][1]))["error"]["type"] == "api_error"
