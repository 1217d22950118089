"""Load over time, against a real a2py process: many slow streams at once, and mixed traffic with clients that leave.

    .venv/bin/python -m bench.soak slow  --streams 1000 --seconds 60    # errors, memory per stream
    .venv/bin/python -m bench.soak mixed --seconds 900                  # errors, slopes of resident memory and objects
    .venv/bin/python -m bench.soak mixed --trim --wire native --seconds 300
    .venv/bin/python -m bench.soak reloads, restarts                    # see bench/staying.py

Must not know: a2py's inside; what it holds is read from /proc and /metrics, and its objects are counted by
bench/census.py.
Invariants: exit code 0 only if no answer was wrong, nothing is left open at the end, and (`mixed`) the highest resident
memory of the last third of the run is not above that of the time before by more than CEILING, and, from SLOPE_SECONDS
on, memory and objects have no slope.

The allocator keeps what a body of megabytes took, for a while: resident memory moves in steps of 20 MB, and the slope
says little in a quarter of an hour. With --trim the proxy runs under MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_
of 128 KB, which glibc then gives back at once: a slope that can be seen.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import linear_regression, mean, median
from typing import Any, NamedTuple

from bench import bodies
from bench.client import Connection, Mismatch, check, connect, put, request
from bench.procs import Process, allow_files, free_port
from bench.shapes import MODEL, Plan
from bench.systems import ROOT
from bench.traffic import HEADERS, KEY, KINDS, Traffic, Upstream

#: Growth of the highest resident memory that is flat still.
CEILING = 1.05
#: Slope of a run of at least SLOPE_SECONDS that is flat still: KB and tracked objects a minute, either way.
SLOPE, OBJECTS, SLOPE_SECONDS = 100.0, 100.0, 600
#: Part of a run that warms up: caches, pools and the allocator's arenas are filled once.
WARM = 0.25
#: Seconds in which everything must be closed after the last answer.
CLOSE_SECONDS = 8.0
#: Seconds after which idle upstream connections are gone too: 45 s, looked for every 45 s.
POOL = 100.0


@contextlib.contextmanager
def a2py(folder: Path, models: list[dict[str, Any]], *module: str, **more: str) -> Iterator[tuple[Process, int]]:
    """The proxy as a user starts it, and its port; `module`: that is run instead of a2py, and its arguments; `more`: of
    the environment."""
    config = {
        "model_list": models,
        "general_settings": {"master_key": KEY},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    port = free_port()
    environment = {
        name: value for name, value in os.environ.items() if not name.upper().endswith(("_API_KEY", "_PROXY"))
    }
    env = {**environment, "PYTHONPATH": str(ROOT), **more}
    command = [sys.executable, "-m", *(module or ("a2py",)), "--config", "config.yaml", "--port", str(port)]
    process = Process(command, env, folder, None)
    try:
        yield process, port
    finally:
        process.stop()


def make_model(name: str, base: str, wire: str = "chat", **params: Any) -> dict[str, Any]:
    """A model of the configuration whose upstream's model has the same name."""
    prefix, base = ("anthropic", base.removesuffix("/v1")) if wire == "native" else ("llamacpp", base)
    return {
        "model_name": name,
        "litellm_params": {"model": f"{prefix}/{name}", "api_base": base, "api_key": "sk-up", **params},
    }


async def up(process: Process, port: int) -> None:
    for _ in range(400):
        if not process.alive:
            break
        with contextlib.suppress(OSError):
            (await connect(port)).close()
            return
        await asyncio.sleep(0.05)
    raise SystemExit(f"a2py did not start: {process.tail()}")


async def get(port: int, path: str) -> bytes:
    connection = await connect(port)
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    reply = await connection.ask(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n{head}\r\n".encode())
    connection.close()
    return reply.raw.partition(b"\r\n\r\n")[2]


class Usage(NamedTuple):
    """What the proxy holds. `rss`: bytes; `files`: open descriptors; `running`, `connections`: as /metrics tells."""

    rss: int
    files: int
    running: int
    connections: int


async def measure_usage(process: Process, port: int) -> Usage:
    text = (await get(port, "/metrics")).decode()
    counts = {
        name: int(float(value))
        for name, value in re.findall(r"^(a2py_running|a2py_connections) (\S+)$", text, re.MULTILINE)
    }
    files = len(os.listdir(f"/proc/{process.pid}/fd"))
    return Usage(process.rss(), files, counts["a2py_running"], counts["a2py_connections"] - 1)


# -- many slow streams -------------------------------------------------------------------------------------------------


async def slow(folder: Path, streams: int, seconds: int) -> dict[str, Any]:
    """`streams` at once, an event a second each, every byte checked."""
    upstream_port = free_port()
    upstream = Process(
        [sys.executable, "-m", "bench.upstream", "--port", str(upstream_port)],
        {**os.environ, "PYTHONPATH": str(ROOT)},
        folder,
        None,
    )
    plan = Plan(chunks=seconds, gap=1.0, streams=streams)
    errors: list[str] = []
    try:
        with a2py(folder, [make_model(MODEL, f"http://127.0.0.1:{upstream_port}/v1")]) as (process, port):
            await up(upstream, upstream_port)
            await up(process, port)
            body = request(port, "/v1/messages", bodies.encode("anthropic", bodies.small(True)), HEADERS)

            async def one(connection: Connection, plan: Plan, limit: float) -> None:
                try:
                    check("anthropic", plan, await asyncio.wait_for(connection.ask(body), limit))
                except (Mismatch, asyncio.TimeoutError) as error:
                    errors.append(str(error) or "no whole answer in time")

            async def wave(plan: Plan, count: int) -> None:
                connections = [await connect(port) for _ in range(count)]
                await asyncio.gather(
                    *(one(connection, plan, plan.chunks * plan.gap + 30) for connection in connections)
                )
                for connection in connections:
                    connection.close()

            quick = Plan(chunks=5, gap=0.05, streams=50)
            await put(upstream_port, "/_plan", quick.encode())
            await wave(quick, 50)  # warm: code, pools
            await asyncio.sleep(1)
            before, cpu, began = await measure_usage(process, port), process.cpu(), time.monotonic()
            await put(upstream_port, "/_plan", plan.encode())
            running = asyncio.ensure_future(wave(plan, streams))
            samples = []
            while not running.done():
                await asyncio.sleep(2)
                samples.append(await measure_usage(process, port))
            await running
            took = time.monotonic() - began
            peak = max(samples, key=lambda sample: sample.running)
            most = max(sample.rss for sample in samples)
            cpu = process.cpu() - cpu
            await asyncio.sleep(POOL)
            after = await measure_usage(process, port)
    finally:
        upstream.stop()
    return {
        "streams": streams,
        "running_at_the_peak": peak.running,
        "errors": len(errors),
        "first_error": errors[:1],
        "events": streams * seconds,
        "seconds": round(took, 1),
        "rss_before_mb": round(before.rss / 2**20, 1),
        "rss_most_mb": round(most / 2**20, 1),
        "kb_per_stream": round((most - before.rss) / streams / 1024, 1),
        "rss_after_mb": round(after.rss / 2**20, 1),
        "cpu_seconds": round(cpu, 1),
        "cpu_us_per_event": round(cpu / (streams * seconds) * 1e6),
        "left": after._replace(rss=0)._asdict(),
        "good": not errors and peak.running == streams and not after.running and after.files <= before.files,
    }


# -- mixed traffic -----------------------------------------------------------------------------------------------------

#: Environment of a proxy whose freed memory is given back at once.
TRIM = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


def slope(samples: list[tuple[float, float]]) -> dict[str, float]:
    """Slopes a minute of (minute, value): least squares with its standard error, and the median of all pairs of
    minutes' medians, which no single step moves."""
    line = linear_regression(*zip(*samples, strict=True))
    middle = mean(at for at, _ in samples)
    off = sum((value - line.intercept - line.slope * at) ** 2 for at, value in samples)
    spread = sum((at - middle) ** 2 for at, _ in samples)
    minutes: dict[int, list[float]] = {}
    for at, value in samples:
        minutes.setdefault(int(at), []).append(value)
    medians = [(at, median(values)) for at, values in minutes.items()]
    pairs = [(b - a) / (y - x) for n, (x, a) in enumerate(medians) for y, b in medians[n + 1 :]]
    return {
        "least_squares": round(line.slope, 1),
        "standard_error": round((off / max(1, len(samples) - 2) / spread) ** 0.5, 1),
        "of_minutes": round(median(pairs), 1) if pairs else 0.0,
    }


def lines(path: Path) -> list[str]:
    """The whole lines of a file that another process appends to."""
    return path.read_text().splitlines() if path.exists() and path.read_bytes().endswith(b"\n") else []


async def census(process: Process, path: Path, number: signal.Signals = signal.SIGUSR1) -> dict[str, Any]:
    """What bench/census.py tells now."""
    before = len(lines(path))
    os.kill(process.pid, number)
    for _ in range(500):
        await asyncio.sleep(0.02)
        if len(rows := lines(path)) > before:
            counts: dict[str, Any] = json.loads(rows[-1])
            return counts
    raise SystemExit(f"no census: {process.tail()}")


async def run_mixed_load(
    folder: Path, seconds: float, clients: int, seed: int, wire: str, trim: bool
) -> dict[str, Any]:
    upstream = Upstream(wire)
    base = f"http://127.0.0.1:{await upstream.start()}/v1"
    models = [make_model(kind, base, wire, **({"max_retries": 2} if kind == "flaky" else {})) for kind in KINDS]
    census_file = folder / "census"
    with a2py(folder, models, "bench.census", str(census_file), **(TRIM if trim else {})) as (process, port):
        await up(process, port)
        load = Traffic(port, seed)
        load.until = time.monotonic() + seconds
        before, began, cpu = await measure_usage(process, port), time.monotonic(), process.cpu()
        running = asyncio.gather(*(load.client() for _ in range(clients)))
        samples: list[tuple[float, Usage, dict[str, Any]]] = []
        while not running.done():
            await asyncio.sleep(min(5.0, seconds / 40))
            counts = await census(process, census_file)
            samples.append(((time.monotonic() - began) / 60, await measure_usage(process, port), counts))
            if len(samples) % 24 == 0:
                at, now, _ = samples[-1]
                answers = sum(load.outcomes.values())
                print(
                    f"{at:5.1f} min  {now.rss / 2**20:6.1f} MB  {counts['objects']} objects  {counts['collected']} "
                    f"collected  {now.files} files"
                    f"  {answers} done, {len(load.errors)} wrong",
                    flush=True,
                )
        await running
        cpu = process.cpu() - cpu
        end = time.monotonic() + CLOSE_SECONDS
        after = await measure_usage(process, port)
        while (after.running or after.connections) and time.monotonic() < end:
            await asyncio.sleep(0.5)
            after = await measure_usage(process, port)
        last = await census(process, census_file, signal.SIGUSR2)
        crashes = process.log.read_bytes().count(b" crash ") + process.log.read_bytes().count(b"Traceback")
    warm = samples[-1][0] * WARM
    memory = slope([(at, now.rss / 1024) for at, now, _ in samples if at >= warm])
    objects = slope([(at, counts["objects"]) for at, _, counts in samples if at >= warm])
    rss = [now.rss for _, now, _ in samples]
    late = max(rss[len(rss) * 2 // 3 :]) / max(rss[: len(rss) * 2 // 3])
    requests = sum(load.outcomes.values()) + len(load.errors)
    flat = seconds < SLOPE_SECONDS or (abs(memory["of_minutes"]) <= SLOPE and abs(objects["of_minutes"]) <= OBJECTS)
    return {
        "wire": wire,
        "trim": trim,
        "minutes": round(seconds / 60, 1),
        "clients": clients,
        "seed": seed,
        "requests": requests,
        "outcomes": dict(sorted(load.outcomes.items())),
        "left_by_clients": sum(count for name, count in load.outcomes.items() if name.startswith("left")),
        "wrong": len(load.errors),
        "first_wrong": load.errors[:5],
        "crashes": crashes,
        "rss_before_mb": round(before.rss / 2**20, 1),
        "rss_after_warm_up_mb": round(next(now.rss for at, now, _ in samples if at >= warm) / 2**20, 1),
        "rss_most_mb": round(max(rss) / 2**20, 1),
        "rss_end_mb": round(after.rss / 2**20, 1),
        "highest_of_last_third_to_before": round(late, 3),
        "kb_per_minute": memory,
        "objects_per_minute": objects,
        "objects": [
            min(counts["objects"] for _, _, counts in samples),
            max(counts["objects"] for _, _, counts in samples),
            last["objects"],
        ],
        "collections": last["collections"],
        "collected_per_request": round(last["collected"] / requests, 2),
        "pause_us_per_request": round(last["pause_ms"] * 1000 / requests, 1),
        "longest_pause_ms": last["longest_ms"],
        "found_at_the_end": last["found"],
        "found_types": last["types"],
        "found_frames": last["frames"],
        "cpu_seconds": round(cpu, 1),
        "cpu_us_per_request": round(cpu / requests * 1e6),
        "left": after._replace(rss=0)._asdict(),
        "upstream": {"asked": upstream.requests, "left": upstream.disconnects, "open": upstream.open},
        "good": not load.errors
        and not crashes
        and not after.running
        and not after.connections
        and late <= CEILING
        and flat,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("slow", "mixed", "reloads", "restarts"))
    parser.add_argument(
        "--seconds", type=int, default=0, help="60 for slow, 900 for mixed and reloads, 3600 for restarts"
    )
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wire", choices=("chat", "native"), default="chat")
    parser.add_argument("--trim", action="store_true", help="freed memory is given back at once: a finer slope")
    args = parser.parse_args()
    allow_files()
    with tempfile.TemporaryDirectory(prefix="a2py-soak-") as temporary:
        folder = Path(temporary)
        if args.what == "slow":
            result = asyncio.run(slow(folder, args.streams, args.seconds or 60))
        elif args.what in ("reloads", "restarts"):
            from bench.staying import RUNS

            run, seconds = RUNS[args.what]
            result = asyncio.run(run(folder, args.seconds or seconds, args.clients, args.seed))
        else:
            result = asyncio.run(
                run_mixed_load(folder, args.seconds or 900, args.clients, args.seed, args.wire, args.trim)
            )
    print(json.dumps(result, indent=1))
    return 0 if result["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
