"""A stream through the splice is the same stream, whatever comes between its chunks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from a2py.messages.splice import Splice
from tests.proxied import config, message, run_proxy
from tests.scripted import SSE, Peer, ScriptedServer, chunk, event, text


def frame(payload: bytes, size: str = "%x") -> bytes:
    return (size % len(payload)).encode() + b"\r\n" + payload + b"\r\n"


@pytest.fixture
def splices(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each call of `Splice.chunk`, whether it took the chunk."""
    calls: list[bool] = []
    real = Splice.chunk

    def spy(self: Splice, data: bytes) -> bytes | None:
        out = real(self, data)
        calls.append(out is not None)
        return out

    monkeypatch.setattr(Splice, "chunk", spy)
    return calls


WORDS = ["Hello", " ", 'w\u00f6rld "quoted"', "\n\t\\", "😀", "plain"] * 4
ODD: dict[str, list[bytes]] = {
    "nothing odd": [],
    "a comment": [frame(b": ping\n\n")],
    "an event in two chunks": [
        frame(event(chunk({"content": "halves"}))[:50]),
        frame(event(chunk({"content": "halves"}))[50:]),
    ],
    "an event in two reads": [
        frame(event(chunk({"content": "reads"})))[:70],
        frame(event(chunk({"content": "reads"})))[70:],
    ],
    "two chunks in a read": [frame(event(chunk({"content": "one"}))) + frame(event(chunk({"content": "two"})))],
    "upper case": [frame(event(chunk({"content": "upper"})), "%X")],
    "an extension": [frame(event(chunk({"content": "extended"})), "%x;a=b")],
    "LF alone": [frame(event(chunk({"content": "line feeds"}))).replace(b"\r\n", b"\n")],
    "reasoning": [frame(event(chunk({"reasoning_content": "hm"})))] * 4,
    "a call": [
        frame(
            event(
                chunk(
                    {
                        "tool_calls": [
                            {
                                "index": 0,
                                "id": "call_1",
                                "type": "function",
                                "function": {"name": "f", "arguments": "{}"},
                            }
                        ]
                    }
                )
            )
        )
    ],
}


@pytest.mark.parametrize("odd", ODD)
async def test_a_paced_stream_is_spliced(odd: str, splices: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets what the decoder alone would write, whatever is in the middle, and with the last chunk."""
    words = [frame(event(chunk({"content": word}))) for word in WORDS]
    pieces = [*words, *ODD[odd], *words, *map(frame, map(event, text()[1:])), b"0\r\n\r\n"]

    async def script(c: Peer) -> None:
        c.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in pieces:
            await c.drain()
            await asyncio.sleep(0.002)
            c.write(piece)

    def content(body: bytes) -> bytes:
        return body[body.index(b"event: content_block_start") :].replace(b'"a2py_', b'"')

    async with ScriptedServer(script) as upstream:
        async with run_proxy(config(upstream.base)) as one:
            spliced_body = (await one.ask(message())).body
            assert upstream.connections == 1
        assert sum(splices) > len(words) // 2
        monkeypatch.setattr(Splice, "chunk", lambda self, data: None)
        async with run_proxy(config(upstream.base)) as other:
            decoded_body = (await other.ask(message())).body
    assert content(spliced_body) == content(decoded_body)


async def test_usage_of_a_reply_without_one_counts_what_was_spliced() -> None:
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

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        usage = [data["usage"] for name, data in (await proxy.ask(message())).events if name == "message_delta"]
    assert [counts["output_tokens"] for counts in usage] == [sum(map(len, WORDS)) // 4 + 1]


async def test_an_exception_ends_this_answer_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Splice, data: bytes) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(Splice, "chunk", broken)

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        for n in range(20):
            await c.drain()
            await asyncio.sleep(0.001)
            c.events(chunk({"content": f"word {n}"}))
        c.end()

    async with ScriptedServer(script, script) as upstream:
        with pytest.raises(AssertionError, match="crash"):
            async with run_proxy(config(upstream.base)) as proxy:
                answer = await proxy.ask(message())
                assert answer.names[-1] == "error" and answer.names.count("error") == 1
                assert answer.events[-1][1]["error"]["type"] == "api_error"
