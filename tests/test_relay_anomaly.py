"""The anomaly loop over the whole relay: at every point of every exchange exactly one terminal answer, the upstream closed, nothing left.

A2PY_ANOMALY_PIECE=1 cuts at every byte (minutes); the default cuts at every PIECE bytes (seconds)."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any

import pytest

from a2py.config import Config
from a2py.errors import ApiError
from a2py.proxy import router
from tests import proxied as proxied_module
from tests.anomaly import FAULTS, Gate, judge
from tests.proxied import Running, config, deployment, message, proxied, settle
from tests.scripted import DONE, SSE, Answer, Peer, Raw, Script, Scripted, answering, chunk, refusing

PIECE = int(os.environ.get("A2PY_ANOMALY_PIECE", "250"))


async def talk(c: Peer) -> None:
    """Reasoning, text and a tool call, one write each."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    c.head(200, SSE)
    for piece in (
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "Hm. "}),
        chunk({"content": "Hello"}),
        chunk({"tool_calls": [call]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"b"}'}}]}),
        chunk({}, "tool_calls"),
        DONE,
    ):
        c.events(piece)
        await c.drain()
        await asyncio.sleep(0)
    c.end()


async def slow_start(c: Peer) -> None:
    """Long enough for the commit and a ping."""
    await asyncio.sleep(0.05)
    await talk(c)


#: Name → scripts of the upstream, settings, streamed.
SCENARIOS: dict[str, tuple[tuple[Script, ...], dict[str, Any], bool]] = {
    "stream": ((talk,), {}, True),
    "stream, asked again": ((talk,), {"num_retries": 1}, True),
    "whole": ((answering("Hello there, this is a whole answer"),), {}, False),
    "refused, then right": ((refusing(500), talk), {"num_retries": 1}, True),
    "refused": ((refusing(400, "no such thing"),), {}, True),
    "committed": ((slow_start,), {"commit_seconds": 0.01, "keepalive_seconds": 0.01, "delta_keepalive_seconds": 0.01}, True),
    "whole, asked again": ((answering("Hello there"),), {"num_retries": 2}, False),
}
TOOLS = [{"name": "f", "description": "does it", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}]


def settings_for(base: str, more: dict[str, Any]) -> Config:
    return config(deployments=(deployment(base),), **{"stream_timeout": 60, "request_timeout": 60, **more})


async def idle(proxy: Running, upstream: Scripted) -> None:
    """Nothing runs, and no upstream connection is in use (kept ones are idle)."""
    await settle(lambda: not proxy.proxy.running and not proxy.proxy.busy)
    for connection in proxy.server._border.connections:  # type: ignore[union-attr]
        connection.force_close()


async def read(client: Raw) -> Answer | None:
    """The answer; None where the connection ended before its head was whole."""
    try:
        return await client.answer()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def run(name: str, at: int, fault: str, side: str) -> tuple[bool, str]:
    """One run; whether the fault was met, and what came of it."""
    scripts, more, stream = SCENARIOS[name]
    if fault == "timeout":
        more = {**more, "stream_timeout": 0.1, "request_timeout": 0.1}
    body = message(stream=stream, tools=TOOLS)
    async with Scripted(*scripts) as upstream:
        gate = Gate(upstream.port, PIECE, at if side == "upstream" else 0, "hang" if fault in ("timeout", "leave", "drain") else fault)
        async with gate, proxied(settings_for(f"http://127.0.0.1:{gate.port}/v1", more), collect=False) as proxy:
            front = Gate(proxy.port, PIECE, at if side == "client" else 0, fault)
            async with front, Raw(front.port) as client:
                client.ask("POST", "/v1/messages", body)
                reading = asyncio.ensure_future(read(client))
                result = await finish(proxy, gate, front, client, reading, fault, side)
                await idle(proxy, upstream)
            met = gate.met.is_set() or front.met.is_set()
        return met, result


async def finish(
    proxy: Running, gate: Gate, front: Gate, client: Raw, reading: asyncio.Future[Answer | None], fault: str, side: str
) -> str:
    """What the client got: `ok`, `error`, or `gone` where its own connection was the one that failed."""
    waits = {reading, asyncio.ensure_future(gate.met.wait()), asyncio.ensure_future(front.met.wait())}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        if not reading.done() and fault in ("leave", "hang") and (gate.met.is_set() or front.met.is_set()):
            reading.cancel()
            client.reset()
            front._free.set()
            return "gone"
        if not reading.done() and fault == "drain":
            for exchange in list(proxy.proxy.running):
                exchange.interrupt(ApiError("overloaded", "shutting down"))
        answer = await asyncio.wait_for(asyncio.shield(reading), 20)
    finally:
        for wait in waits - {reading}:
            wait.cancel()
        if reading.cancelled() or not reading.done():
            reading.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    if side == "client" and front.met.is_set():
        return "gone"
    assert answer is not None, "the proxy closed the connection without an answer"
    return judge(answer)


async def loop(name: str, fault: str, side: str) -> dict[str, int]:
    """k = 1, 2, … until a run passes without meeting its fault; how often each result came."""
    seen: dict[str, int] = {}
    for at in range(1, 100_000):
        try:
            met, result = await run(name, at, fault, side)
        except AssertionError as error:
            raise AssertionError(f"{name}: {fault} at operation {at} of the {side}'s connection: {error}") from error
        seen[result] = seen.get(result, 0) + 1
        if not met:
            assert result == ("error" if name == "refused" else "ok"), f"without a fault: {result}"
            break
    gc.collect()
    if "A2PY_ANOMALY_PIECE" in os.environ:
        print(f"{side}, {name}, {fault}: {seen}")
    return seen


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not wait."""
    monkeypatch.setattr(router, "FIRST_WAIT", 0.0)


#: Push mode is the rule; what only streams differ in is run in pull mode too.
MODES = [
    (name, push) for name, (_, _, stream) in SCENARIOS.items() for push in ((True, False) if stream and "refused" not in name else (True,))
]


@pytest.mark.parametrize("fault", [*FAULTS, "timeout", "leave", "drain"])
@pytest.mark.parametrize(("name", "push"), MODES)
async def test_every_operation_of_the_upstream(name: str, push: bool, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxied_module, "PUSH", push)
    seen = await loop(name, fault, "upstream")
    assert sum(seen.values()) > 3
    if fault in ("error", "close", "short", "timeout", "drain"):
        assert "gone" not in seen
    if fault in ("error", "close", "short") and "again" in name:
        assert seen["ok"] > 1, "what failed before delivery was asked again"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_every_operation_of_the_client(name: str, fault: str) -> None:
    seen = await loop(name, fault, "client")
    assert seen["gone"] > 1
