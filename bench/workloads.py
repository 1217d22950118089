"""The workloads: the requests that each system gets, and the measurements while it answers.

Knows: plans, requests, the client, the CPU of the system under test. Must not know: which system it is, how results are
shown.
Invariants: a workload returns plain numbers (`Result`); a reply that is wrong in one byte counts as an error, with the
first reason kept; what the proxy did for warm-up or for checking is never part of a measured span.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import NamedTuple

from bench import bodies
from bench.client import Connection, Mismatch, Reply, check, check_unary, connect, put, request
from bench.procs import Process
from bench.shapes import Plan
from bench.systems import System, headers

#: Percentiles of the delays that are kept for the plots.
QUANTILES = tuple(n / 100 for n in (*range(1, 100), 99.5, 99.9))
Result = dict[str, float]


class Scale(NamedTuple):
    """How long each workload runs. RESULTS.md shows `FULL`."""

    paced_chunks: int = 200
    paced_streams: int = 50
    seconds: float = 2.0  # of flood, short requests, unary ones
    flood_streams: int = 16
    flood_chunks: int = 500
    burst: int = 64  # pieces in a write of the burst
    short_connections: int = 64
    asks: int = 40  # requests of W4, per body
    slow_streams: int = 1000
    slow_chunks: int = 8
    limit: float = 60.0  # seconds after which a workload is aborted


FULL = Scale()
QUICK = Scale(paced_chunks=50, seconds=0.5, asks=10, slow_streams=100, slow_chunks=3)


class Target:
    """One running system. `process` is None if there is none (direct)."""

    def __init__(self, system: System, port: int, upstream: int, process: Process | None, scale: Scale) -> None:
        self.system = system
        self.port = port
        self.upstream = upstream
        self.process = process
        self.scale = scale
        self.errors: list[str] = []
        self.requests = 0
        self.quantiles: list[float] = []

    def cpu(self) -> float:
        return self.process.cpu() if self.process is not None else 0.0

    def request(self, body: dict[str, object]) -> bytes:
        system = self.system
        return request(self.port, system.path, bodies.encode(system.wire, body), headers(system))

    async def plan(self, plan: Plan) -> None:
        await put(self.upstream, "/_plan", plan.encode())

    async def connections(self, count: int) -> list[Connection]:
        connections: list[Connection] = []
        while len(connections) < count:
            connections += await asyncio.gather(
                *(connect(self.port) for _ in range(min(100, count - len(connections))))
            )
        return connections

    async def ask(self, connection: Connection, wire_request: bytes) -> Reply | None:
        """Return one reply; None, and record an error, if it broke."""
        self.requests += 1
        try:
            return await connection.ask(wire_request)
        except Mismatch as error:
            self.errors.append(str(error))
            return None

    def delays(self, plan: Plan, replies: list[Reply | None]) -> list[float]:
        """Return the milliseconds from the upstream's write to the client's read, of every piece of every correct
        reply."""
        out: list[float] = []
        for reply in replies:
            if reply is None:
                continue
            try:
                out += [(piece.arrival - piece.stamp) / 1e6 for piece in check(self.system.wire, plan, reply)]
            except Mismatch as error:
                self.errors.append(str(error))
        return sorted(out)


def quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


async def _at_once(
    target: Target, plan: Plan, body: dict[str, object], streams: int
) -> tuple[list[Reply | None], float, float]:
    """Run `streams` replies side by side, each on its own connection. Return (replies, seconds, CPU seconds)."""
    await target.plan(plan)
    connections = await target.connections(streams)
    payload = target.request(body)
    cpu, began = target.cpu(), time.monotonic()
    replies = await asyncio.gather(*(target.ask(connection, payload) for connection in connections))
    took, cpu_seconds = time.monotonic() - began, target.cpu() - cpu
    for connection in connections:
        connection.close()
    return list(replies), took, cpu_seconds


def _pace(streams: int) -> Callable[[Target], Awaitable[Result]]:
    async def run(target: Target) -> Result:
        """W1: pieces 20 ms apart; the delay of each, and the CPU."""
        count = streams or target.scale.paced_streams
        plan = Plan("text", target.scale.paced_chunks, 0.02, 1, count)
        replies, _, cpu_seconds = await _at_once(target, plan, bodies.small(True), count)
        delays = target.delays(plan, replies)
        if not delays:
            return {}
        target.quantiles = [quantile(delays, share) for share in QUANTILES]
        return {
            "p50_ms": quantile(delays, 0.5),
            "p99_ms": quantile(delays, 0.99),
            "cpu_us": cpu_seconds * 1e6 / len(delays),
        }

    return run


def _flood(kind: str, burst: bool = False) -> Callable[[Target], Awaitable[Result]]:
    async def run(target: Target) -> Result:
        """W2, W7, W8: as fast as it goes; repeated, so that the CPU clock has enough to count."""
        scale = target.scale
        plan = Plan(kind, scale.flood_chunks, batch=scale.burst if burst else 1, streams=scale.flood_streams)
        await _at_once(
            target, plan._replace(chunks=scale.flood_chunks // 5), bodies.small(True, kind), scale.flood_streams
        )
        chunks, took, cpu_seconds = 0, 0.0, 0.0
        stop = time.monotonic() + scale.seconds
        while not chunks or time.monotonic() < stop:
            replies, seconds, cpu = await _at_once(target, plan, bodies.small(True, kind), scale.flood_streams)
            chunks += scale.flood_streams * scale.flood_chunks
            took += seconds
            cpu_seconds += cpu
            if not target.delays(plan, replies):
                return {}
        return {"chunks_per_s": chunks / took, "cpu_us": cpu_seconds * 1e6 / chunks}

    return run


async def _loop(
    target: Target, payload: bytes, connections: list[Connection], check: Callable[[Reply], object]
) -> Result:
    """Send requests on each connection until the time of the scale is over. The replies are checked afterwards."""
    replies: list[tuple[Reply, int]] = []

    async def one(connection: Connection, stop: float) -> None:
        while time.monotonic() < stop:
            reply = await target.ask(connection, payload)
            if reply is None:
                return
            replies.append((reply, time.monotonic_ns() - reply.send_time))

    await asyncio.gather(*(one(connection, 0.2 + time.monotonic()) for connection in connections))
    replies.clear()
    cpu, began = target.cpu(), time.monotonic()
    await asyncio.gather(*(one(connection, began + target.scale.seconds) for connection in connections))
    took, cpu_seconds = time.monotonic() - began, target.cpu() - cpu
    for reply, _ in replies:
        try:
            check(reply)
        except Mismatch as error:
            target.errors.append(str(error))
    for connection in connections:
        connection.close()
    if not replies:
        return {}
    times = sorted(ns / 1e6 for _, ns in replies)
    return {
        "per_s": len(replies) / took,
        "cpu_us": cpu_seconds * 1e6 / len(replies),
        "p50_ms": quantile(times, 0.5),
        "p99_ms": quantile(times, 0.99),
    }


async def short(target: Target) -> Result:
    """W3: 64 connections, replies of 5 pieces."""
    plan = Plan("text", 5)
    await target.plan(plan)
    connections = await target.connections(target.scale.short_connections)
    return await _loop(
        target, target.request(bodies.small(True)), connections, lambda reply: target.delays(plan, [reply])
    )


async def unary(target: Target) -> Result:
    """W6: replies that are not streamed, 20 KB, 8 connections."""
    plan = Plan("text")
    await target.plan(plan)
    connections = await target.connections(8)
    return await _loop(
        target,
        target.request(bodies.small(False)),
        connections,
        lambda reply: check_unary(target.system.wire, plan, reply),
    )


async def first_token(target: Target) -> Result:
    """W4: one connection, a short request and one of 100 KB, in turn: time to the first piece, CPU."""
    plan = Plan("text", 5)
    await target.plan(plan)
    (connection,) = await target.connections(1)
    asks = {"small": target.request(bodies.small(True)), "large": target.request(bodies.large())}
    firsts: dict[str, list[float]] = {name: [] for name in asks}
    cpu_seconds = dict.fromkeys(asks, 0.0)
    for n in range(target.scale.asks + 2):
        for name, payload in asks.items():
            cpu = target.cpu()
            reply = await target.ask(connection, payload)
            spent = target.cpu() - cpu
            if reply is None:
                return {}
            try:
                pieces = check(target.system.wire, plan, reply)
            except Mismatch as error:
                target.errors.append(str(error))
                continue
            if n >= 2:
                cpu_seconds[name] += spent
                firsts[name].append((pieces[0].arrival - reply.send_time) / 1e6)
            await asyncio.sleep(0.002)
    connection.close()
    if not firsts["small"] or not firsts["large"]:
        return {}
    out: Result = {}
    for name, times in firsts.items():
        out[f"{name}_ms"] = median(times)
        out[f"{name}_cpu_us"] = cpu_seconds[name] * 1e6 / len(times)
    out["extra_cpu_us"] = out["large_cpu_us"] - out["small_cpu_us"]
    return out


async def slow(target: Target) -> Result:
    """W5: 1,000 streams, a piece a second: memory per stream at its highest, errors."""
    scale = target.scale
    plan = Plan("text", scale.slow_chunks, 1.0, 1, scale.slow_streams)
    await target.plan(plan)
    before = target.process.rss() if target.process is not None else 0
    connections = await target.connections(scale.slow_streams)
    payload = target.request(bodies.small(True))
    top = before
    tasks = [asyncio.ensure_future(target.ask(connection, payload)) for connection in connections]
    waiting = asyncio.gather(*tasks)
    stop = time.monotonic() + scale.limit
    while not waiting.done() and time.monotonic() < stop:
        await asyncio.wait([waiting], timeout=0.5)
        if target.process is not None:
            top = max(top, target.process.rss())
    for task in tasks:
        if not task.done():
            task.cancel()
            target.errors.append("not answered in time")
    replies = [task.result() for task in tasks if task.done() and not task.cancelled()]
    await asyncio.gather(waiting, return_exceptions=True)
    errors = len(target.errors)
    target.delays(plan, [reply for reply in replies if isinstance(reply, Reply)])
    for connection in connections:
        connection.close()
    failures = max(len(target.errors), errors)
    return {"kib": (top - before) / 1024 / scale.slow_streams, "lost": float(failures)}


class Workload(NamedTuple):
    """One workload. `alone`: it runs in processes of its own."""

    name: str
    title: str
    run: Callable[[Target], Awaitable[Result]]
    alone: bool = False


WORKLOADS: tuple[Workload, ...] = (
    Workload("w5", "W5 slow: 1,000 streams, a piece a second", slow, alone=True),
    Workload("w1_1", "W1 paced, 1 stream: 200 pieces, 20 ms apart", _pace(1)),
    Workload("w1_50", "W1 paced, 50 streams", _pace(0)),
    Workload("w2", "W2 flood: 16 streams of 500 pieces, no pause", _flood("text")),
    Workload("w2_burst", "W2 flood, 64 pieces in a write", _flood("text", burst=True)),
    Workload("w3", "W3 short: 64 connections, replies of 5 pieces", short),
    Workload("w4", "W4 first token: one connection, small and 100 KB requests", first_token),
    Workload("w6", "W6 unary: replies of 20 KB", unary),
    Workload("w7", "W7 flood of tool arguments", _flood("args")),
    Workload("w8", "W8 flood of reasoning", _flood("reasoning")),
)
