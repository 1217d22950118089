"""What is left of a request once it was answered: nothing, also without the garbage collector, and nothing for a client
that takes nothing.

The collector runs seldom (`a2py.cli.eventloop.settle`), and does not know that one `bytes` has 64 MiB: whatever lies in
a reference cycle is held for thousands of requests."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from a2py.messages.types import Call
from a2py.proxy.attempt import Attempt
from a2py.proxy.exchange import Exchange
from a2py.proxy.timeouts import Timeouts
from a2py.upstream import Gather
from tests.proxied import config, message, run_proxy, settle
from tests.scripted import SSE, Peer, Script, ScriptedServer, answering, chunk, refusing


async def cut(c: Peer) -> None:
    """A framing that breaks in mid-body, streamed or not."""
    c.head(200, SSE if c.request.json.get("stream") else {"content-type": "application/json"})
    c.chunk(b'data: {"choices": [')
    await c.drain()
    c.reset()


async def cut_behind(c: Peer) -> None:
    """Cut once content was delivered."""
    c.head(200, SSE)
    c.events(chunk({"role": "assistant", "content": "Hel"}))
    await c.drain()
    c.reset()


async def close_early(c: Peer) -> None:
    c.close()


async def too_large(c: Peer) -> None:
    c.reply(b'{"x": "' + b"a" * 300_000 + b'"}')


async def silent(c: Peer) -> None:
    await c.wait_disconnect()


async def inside(c: Peer) -> None:
    """An error in a 200."""
    if c.request.json.get("stream"):
        c.head(200, SSE)
        c.events({"error": {"message": "no", "code": 500}})
        c.end()
    else:
        c.reply({"error": {"message": "no", "code": 500}})


SCRIPTS: list[Script] = [
    answering("Hi"),
    refusing(500),
    refusing(400),
    cut,
    cut_behind,
    close_early,
    too_large,
    silent,
    inside,
]


def alive() -> list[Any]:
    return [thing for thing in gc.get_objects() if isinstance(thing, (Exchange, Attempt, Call, Gather))]


@pytest.fixture
def leftovers() -> Iterator[Callable[[], list[str]]]:
    """What requests have left since, while nothing is collected."""
    gc.collect()
    gc.disable()
    before = alive()  # of other tests
    known_ids = {id(thing) for thing in before}
    yield lambda: [type(thing).__name__ for thing in alive() if id(thing) not in known_ids]
    gc.enable()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: getattr(script, "__qualname__", "").partition(".")[0])
async def test_nothing_waits_for_the_garbage_collector(
    script: Script, stream: bool, leftovers: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a2py.wires.common.intake.BODY_LIMIT", 100_000)
    async with (
        ScriptedServer(script) as up,
        run_proxy(config(up.base, stream_timeout=0.1, request_timeout=0.1), collect=False) as proxy,
    ):
        for _ in range(2):
            await proxy.ask(message(stream=stream))
        await settle(lambda: not proxy.busy)
        await asyncio.sleep(0)
        assert leftovers() == []


@pytest.mark.parametrize("stream", [True, False])
async def test_nothing_is_kept_of_a_client_that_left(stream: bool, leftovers: Callable[[], list[str]]) -> None:
    async with ScriptedServer(silent) as up, run_proxy(config(up.base), collect=False) as proxy:
        for _ in range(2):
            async with proxy.client() as client:
                client.ask("POST", "/v1/messages", message(stream=stream))
                await settle(lambda: proxy.services.running.exchanges and proxy.services.limits.running)
            await settle(lambda: not proxy.busy)
        await asyncio.sleep(0)
        assert leftovers() == []


# -- clients that take nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stream", "whole", "pipelined"])
async def test_a_client_that_takes_nothing_is_cut_off(kind: str) -> None:
    """Its answer would be held for as long as it likes."""
    piece = "x" * 100_000
    async with (
        ScriptedServer(answering(*[piece] * 200)) as up,
        run_proxy(config(up.base), timeouts=Timeouts(stall=0.2)) as proxy,
        proxy.client() as client,
    ):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        if kind == "pipelined":
            client.send(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40_000)
        else:
            client.ask("POST", "/v1/messages", message(stream=kind == "stream"))
        await settle(lambda: proxy.server._connections.connections)  # type: ignore[union-attr]
        await settle(lambda: not proxy.server._connections.connections)  # type: ignore[union-attr]


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_left_when_the_connection_closes_is_cut_off_too(stream: bool) -> None:
    """An answer that fits into the buffer: its handler has ended, `close` waits for the client."""
    async with (
        ScriptedServer(answering(*["x" * 100_000] * 200)) as up,
        run_proxy(config(up.base, buffer_kb=64_000), timeouts=Timeouts(stall=0.2)) as proxy,
        proxy.client() as client,
    ):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.ask("POST", "/v1/messages", message(stream=stream), (("connection", "close"),))
        await settle(lambda: proxy.lines and not proxy.busy)
        assert proxy.lines[-1]["status"] == 200
        await settle(lambda: not proxy.server._connections.connections)  # type: ignore[union-attr]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_takes_little_gets_everything(stream: bool) -> None:
    """Its pauses are a twentieth of what would be a stall, all of them together are more."""
    piece = "x" * 100_000
    async with (
        ScriptedServer(answering(*[piece] * 150)) as up,
        run_proxy(config(up.base), timeouts=Timeouts(stall=2.0)) as proxy,
        proxy.client() as client,
    ):
        transport = client.writer.transport
        client.ask("POST", "/v1/messages", message(stream=stream))

        async def sip() -> None:
            for _ in range(30):
                transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(0.1)
                transport.resume_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)

        sips = asyncio.ensure_future(sip())
        answer = await client.answer()
        sips.cancel()
    assert answer.whole and answer.body.count(b"x") >= 150 * len(piece)
