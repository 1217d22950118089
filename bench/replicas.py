"""Several a2py processes that share their limits over a real Redis, and what happens to the limits when parts die.

    python -m bench.replicas forty       rpm 10, three replicas, 40 requests at once: how many get through
    python -m bench.replicas frozen      Redis is stopped (SIGSTOP) for 8 s under load: how many requests fail
    python -m bench.replicas outage      Redis is away for 20 s, clients ask for twice the limit: how far above rpm
    python -m bench.replicas killed      a replica is killed (SIGKILL) every 6 s for 75 s: rpm, max_parallel, slots
    python -m bench.replicas cost        CPU of a replica for a request, without and with shared limits, in turns

`--seconds N` bounds each. All of it listens on loopback. The upstream is in this process, so that it sees when each
request comes and how many run at a time.

Knows: redis-server, the command line of a2py. Must not know: how limits are shared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from bench.procs import free_port

REPLY = {
    "id": "c",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
}
ASK = {"model": "m", "max_tokens": 16, "messages": [{"role": "user", "content": "Hello"}]}


class Upstream:
    """`starts`: when requests came; `peak`: the most at a time; `hold`: seconds for one answer."""

    def __init__(self, hold: float) -> None:
        self.hold = hold
        self.starts: list[float] = []
        self.running = self.peak = 0
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Upstream:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.starts.append(time.monotonic())
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await request.read()
            if self.hold:
                await asyncio.sleep(self.hold)
        finally:
            self.running -= 1
        return web.json_response(REPLY)

    def most_in(self, seconds: float) -> int:
        """Return the most requests that came within `seconds`."""
        window: deque[float] = deque()
        most = 0
        for start in self.starts:
            window.append(start)
            while start - window[0] >= seconds:
                window.popleft()
            most = max(most, len(window))
        return most


class Redis:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
        )

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Replica:
    def __init__(self, folder: Path, number: int, config: dict[str, Any]) -> None:
        self.port = free_port()
        self.file = folder / f"replica{number}.yaml"
        self.file.write_text(json.dumps(config))
        self.file.chmod(0o600)
        self.log = folder / f"replica{number}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        env = {**os.environ, "A2PY_LEDGER": "false"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "a2py", "serve", "--config", str(self.file), "--port", str(self.port)],
                stdout=log,
                stderr=log,
                env=env,
            )

    async def wait_until_ready(self, session: ClientSession) -> None:
        for _ in range(600):
            try:
                async with session.get(self.url + "/health/readiness") as answer:
                    if answer.status == 200:
                        return
            except ClientError:
                pass
            await asyncio.sleep(0.1)
        raise TimeoutError(self.log.read_text())

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)

    def cpu(self) -> float:
        """Return the seconds of CPU that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Stage:
    """A Redis, an upstream and replicas. `limits`: of the deployment; `settings`: below `a2py:`."""

    def __init__(self, folder: Path, upstream: Upstream, **limits: Any) -> None:
        self.folder = folder
        self.redis = Redis(folder)
        self.limits = limits
        self.upstream = upstream
        self.replicas: list[Replica] = []

    def config(self, *, is_shared: bool = True, **settings: Any) -> dict[str, Any]:
        params = {"model": "openai/m", "api_base": f"http://127.0.0.1:{self.upstream.port}/v1", "api_key": "k"}
        redis = {"redis_host": "127.0.0.1", "redis_port": self.redis.port} if is_shared else {}
        return {
            "model_list": [{"model_name": "m", "litellm_params": {**params, **self.limits}}],
            "router_settings": {"num_retries": 0, "optional_pre_call_checks": ["enforce_model_rate_limits"], **redis},
            "a2py": {"discover": False, "ledger": False, **settings},
        }

    def add(self, config: dict[str, Any]) -> Replica:
        replica = Replica(self.folder, len(self.replicas), config)
        self.replicas.append(replica)
        return replica

    def logs(self) -> list[str]:
        return [line for one in self.replicas for line in one.log.read_text().splitlines() if "redis" in line]

    def close(self) -> None:
        for replica in self.replicas:
            replica.stop(signal.SIGKILL)
        self.redis.stop()


async def ask(session: ClientSession, replica: Replica) -> int:
    """Send one request. Return its status, 0 if the connection broke."""
    try:
        async with session.post(replica.url + "/v1/messages", json=ASK) as answer:
            await answer.read()
            return answer.status
    except (ClientError, asyncio.TimeoutError, OSError):
        return 0


async def begin(stage: Stage, count: int, session: ClientSession, **settings: Any) -> None:
    stage.redis.start()
    for _ in range(count):
        stage.add(stage.config(**settings)).start()
    for replica in stage.replicas:
        await replica.wait_until_ready(session)
    await asyncio.sleep(1.5)  # all have joined, and know how many they are


def count_statuses(statuses: list[int]) -> dict[int, int]:
    return {status: statuses.count(status) for status in sorted(set(statuses))}


# -- the experiments ---------------------------------------------------------------------------------------------------


async def forty(stage: Stage, session: ClientSession, seconds: float) -> dict[str, Any]:
    stage.limits = {"rpm": 10}
    await begin(stage, 3, session)
    statuses = await asyncio.gather(*(ask(session, stage.replicas[n % 3]) for n in range(40)))
    return {"through": statuses.count(200), "statuses": count_statuses(list(statuses))}


async def load(
    stage: Stage, session: ClientSession, rate: float, end: float, statuses: list[tuple[float, int, float]]
) -> None:
    """Ask `rate` times a second, the replicas in turns, until `end`."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(replica: Replica) -> None:
        start = time.monotonic()
        status = await ask(session, replica)
        statuses.append((start, status, time.monotonic() - start))

    number, next_time = 0, time.monotonic()
    while next_time < end:
        await asyncio.sleep(max(0.0, next_time - time.monotonic()))
        task = asyncio.ensure_future(one(stage.replicas[number % len(stage.replicas)]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
        next_time += 1 / rate
    await asyncio.gather(*tasks)


async def frozen(stage: Stage, session: ClientSession, seconds: float) -> dict[str, Any]:
    stage.limits = {"rpm": 100_000, "tpm": 100_000_000, "max_parallel_requests": 1000}
    stage.upstream.hold = 0.02
    await begin(stage, 3, session)
    statuses: list[tuple[float, int, float]] = []
    begin_time = time.monotonic()
    running = asyncio.ensure_future(load(stage, session, 60, begin_time + 16, statuses))
    await asyncio.sleep(4)
    stage.redis.signal(signal.SIGSTOP)
    await asyncio.sleep(8)
    stage.redis.signal(signal.SIGCONT)
    await running
    waits = sorted(wait for start, _, wait in statuses if 4 <= start - begin_time < 12)
    return {
        "requests": len(statuses),
        "failures": sum(status != 200 for _, status, _ in statuses),
        "slowest while frozen, ms": round(waits[-1] * 1000),
        "median while frozen, ms": round(statistics.median(waits) * 1000, 1),
        "log": stage.logs(),
    }


async def outage(stage: Stage, session: ClientSession, seconds: float) -> dict[str, Any]:
    rpm = 300
    stage.limits = {"rpm": rpm}
    stage.upstream.hold = 0.02
    await begin(stage, 3, session)
    statuses: list[tuple[float, int, float]] = []
    length = min(150.0, seconds - 20)
    running = asyncio.ensure_future(load(stage, session, 2 * rpm / 60, time.monotonic() + length, statuses))
    await asyncio.sleep(20)  # in the middle of the first minute, when there is room
    stage.redis.signal(signal.SIGSTOP)
    await asyncio.sleep(20)
    stage.redis.signal(signal.SIGCONT)
    await running
    most = stage.upstream.most_in(60)
    return {
        "rpm": rpm,
        "most in 60 s": most,
        "overshoot, %": round(100 * max(0, most - rpm) / rpm, 1),
        "statuses": count_statuses([status for _, status, _ in statuses]),
        "log": stage.logs(),
    }


async def kill_replicas(stage: Stage, session: ClientSession, seconds: float) -> dict[str, Any]:
    rpm, places = 240, 12
    stage.limits = {"rpm": rpm, "max_parallel_requests": places}
    stage.upstream.hold = 1.5
    await begin(stage, 3, session, queue={"length": 0})
    statuses: list[tuple[float, int, float]] = []
    begin_time = time.monotonic()
    running = asyncio.ensure_future(load(stage, session, 12, begin_time + 75, statuses))
    victim, deaths = 0, 0
    while time.monotonic() - begin_time < 70:
        await asyncio.sleep(6)
        replica = stage.replicas[victim % 3]
        replica.stop(signal.SIGKILL)
        deaths += 1
        replica.start()
        victim += 1
    await running
    # Slots: a replica that holds all of them dies. How long until another one gets one?
    await asyncio.sleep(max(2.0, 62 - (time.monotonic() - begin_time - 75)))
    stage.upstream.hold = 60
    first, second = stage.replicas[0], stage.replicas[1]
    await first.wait_until_ready(session)
    await second.wait_until_ready(session)
    holders = [asyncio.ensure_future(ask(session, first)) for _ in range(places)]
    await asyncio.sleep(2)
    refusal = await ask(session, second)
    stage.upstream.hold = 0
    first.stop(signal.SIGKILL)
    death = time.monotonic()
    for _ in range(120):
        status = await ask(session, second)
        if status == 200:
            break
        await asyncio.sleep(0.25)
    back = time.monotonic() - death
    await asyncio.gather(*holders)
    return {
        "rpm": rpm,
        "most in 60 s": stage.upstream.most_in(60),
        "max_parallel": places,
        "most at a time": stage.upstream.peak,
        "killed": deaths,
        "statuses": count_statuses([status for _, status, _ in statuses]),
        "all slots held by one: another gets": refusal,
        "slots back after its death, s": round(back, 1) if status == 200 else None,
    }


async def cost(stage: Stage, session: ClientSession, seconds: float) -> dict[str, Any]:
    stage.limits = {"rpm": 1_000_000, "tpm": 1_000_000_000, "max_parallel_requests": 1000}
    stage.redis.start()
    replicas = {"local": stage.add(stage.config(is_shared=False)), "shared": stage.add(stage.config())}
    for replica in replicas.values():
        replica.start()
        await replica.wait_until_ready(session)
    figures: dict[str, list[float]] = {name: [] for name in replicas}
    count = 400
    for turn in range(int(max(3, min(12, seconds / 12)))):
        for name in replicas if turn % 2 else reversed(replicas):
            replica = replicas[name]
            before = replica.cpu()
            for _ in range(count // 4):
                await asyncio.gather(*(ask(session, replica) for _ in range(4)))
            if turn:
                figures[name].append((replica.cpu() - before) / count * 1e6)
    medians = {name: round(statistics.median(values)) for name, values in figures.items()}
    return {"CPU of a request, µs": medians, "more, µs": medians["shared"] - medians["local"]}


EXPERIMENTS: dict[str, Callable[..., Any]] = {
    "forty": forty,
    "frozen": frozen,
    "outage": outage,
    "killed": kill_replicas,
    "cost": cost,
}


async def run(name: str, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Upstream(0.0) as upstream,
            ClientSession(timeout=ClientTimeout(total=90), connector=TCPConnector(limit=0)) as session,
        ):
            stage = Stage(Path(folder), upstream)
            try:
                return dict(await asyncio.wait_for(EXPERIMENTS[name](stage, session, seconds), seconds))
            finally:
                stage.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.replicas", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("experiment", nargs="*", default=list(EXPERIMENTS), help=f"{', '.join(EXPERIMENTS)}")
    parser.add_argument("--seconds", type=float, default=240, help="bound for each")
    args = parser.parse_args()
    if not shutil.which("redis-server"):
        print("redis-server is not installed: apt-get install redis-server")
        return 1
    for name in args.experiment:
        print(name, json.dumps(asyncio.run(run(name, args.seconds)), indent=1), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
