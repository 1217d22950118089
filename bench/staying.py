"""Reloads, killed workers and restarts under load: what is lost.

    .venv/bin/python -m bench.soak reloads  --seconds 900     # 300 SIGHUPs and 60 SIGKILLs of workers, three workers
    .venv/bin/python -m bench.soak restarts --seconds 3600    # 100 restarts from 3 workers to 2, 100 from 1 to 1

Knows: the commands and signals of a2py, which client connection is whose (/proc/net/tcp). Must not know: a2py's inside.
Invariants: every answer is compared with what it must be; one that is not whole is lost, unless its connection was that
of a worker at the moment at which it was killed; a request that was sent on a kept connection and got no byte is
counted, too; `--seconds` ends every run.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench import bodies
from bench.client import Connection, Mismatch, body_of, connect, request
from bench.procs import free_port
from bench.soak import make_model
from bench.systems import ROOT
from bench.traffic import HEADERS, KEY, LIMIT, Upstream, verify

#: How often each is done, unless `--seconds` is over first.
RELOADS, KILLS, RESTARTS = 300, 60, 100
#: Seconds after which an answer is taken for hung.
SLOW = 5.0
#: Words of an answer beyond the first five, of 60: a process that is replaced ends after its longest answer.
SHORT = 12
HELLO = b"GET /health/liveliness HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Load:
    """Clients that stream, and clients that only ask for the health page, on new and on kept connections. `losses`:
    what went wrong, with the client's port. `victim_ports`: ports of connections that a killed worker had.
    `longest`: the longest time in seconds until the first byte of a health page."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.dice = random.Random(seed)
        self.seeds = (n for n in range(seed * 10_000_000, 1 << 60) if n % 60 < SHORT)
        self.outcomes: Counter[str] = Counter()
        self.losses: list[tuple[int, str]] = []
        self.victim_ports: set[int] = set()
        self.longest = 0.0
        self.stop = False

    @property
    def own_losses(self) -> list[str]:
        """The losses that no killed worker explains."""
        return [what for port, what in self.losses if port not in self.victim_ports]

    async def client(self, streams: bool) -> None:
        idle: Connection | None = None
        while not self.stop:
            if idle is not None and (idle.is_lost or self.dice.random() < 0.3):
                idle.close()
                idle = None
            is_kept = idle is not None
            try:
                connection = idle if idle is not None else await asyncio.wait_for(connect(self.port), LIMIT)
            except (OSError, asyncio.TimeoutError) as error:
                self.losses.append((0, f"connect: {error!r}"))
                await asyncio.sleep(0.05)
                continue
            idle = connection if await self.one(connection, streams, "kept" if is_kept else "new") else None
            await asyncio.sleep(self.dice.random() * 0.03)
        if idle is not None:
            idle.close()

    async def one(self, connection: Connection, streams: bool, which: str) -> bool:
        """Send one request. Return False if the connection is closed."""
        seed, transport = next(self.seeds), connection.transport
        assert transport is not None
        if connection.is_lost:
            return False  # closed before the request was sent
        port = transport.get_extra_info("sockname")[1]
        began = time.monotonic()
        try:
            if streams:
                body = bodies.small(True)
                body["messages"].append({"role": "user", "content": f"seed:{seed}:"})
                body |= {"model": "text", "stream": True}
                reply = await asyncio.wait_for(
                    connection.ask(request(self.port, "/v1/messages", json.dumps(body).encode(), HEADERS)), LIMIT
                )
                verify("text", seed, True, reply)
            else:
                reply = await asyncio.wait_for(connection.ask(HELLO), LIMIT)
                if reply.status != 200 or b'"a2py"' not in body_of(reply)[0]:
                    raise Mismatch(f"{reply.status} {reply.raw[-200:]!r}")
                self.longest = max(self.longest, time.monotonic() - began)
                self.outcomes["slow sign of life"] += time.monotonic() - began > SLOW
        except (Mismatch, asyncio.TimeoutError, ValueError, KeyError, OSError) as error:
            what = "stream" if streams else "sign of life"
            self.losses.append(
                (port, f"{what}, {which} connection, after {time.monotonic() - began:.2f} s: {error!r}"[:300])
            )
            connection.close()
            return False
        self.outcomes[f"{'stream' if streams else 'sign of life'}, {which} connection"] += 1
        return not connection.is_lost


@asynccontextmanager
async def run_load(port: int, clients: int, seed: int) -> AsyncIterator[Load]:
    load = Load(port, seed)
    running = [asyncio.ensure_future(load.client(n % 3 != 0)) for n in range(clients)]
    try:
        yield load
    finally:
        load.stop = True
        await asyncio.gather(*running)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def clients_of(pid: int, port: int) -> set[int]:
    """Return the ports of the clients that are connected to `port` in the process `pid`."""
    sockets = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            sockets.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue
    clients = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if f"socket:[{words[9]}]" in sockets and int(words[1].partition(":")[2], 16) == port:
            clients.add(int(words[2].partition(":")[2], 16))
    return clients


def write(folder: Path, base: str, mark: int) -> None:
    """Write the configuration. `mark`: a text that makes it differ from the one before."""
    config = {
        "model_list": [make_model("text", base)],
        "general_settings": {"master_key": KEY},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "a2py": {"keepalive_seconds": 20 + mark},
    }
    (folder / "new.yaml").write_text(json.dumps(config))
    os.replace(folder / "new.yaml", folder / "a2py.yaml")


def environment(folder: Path) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if not name.upper().endswith(("_API_KEY", "_PROXY"))}
    return {**variables, "PYTHONPATH": str(ROOT), "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")}


async def a2py(folder: Path, *args: str) -> str:
    """Run one command, and return its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "a2py", *args),
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    if process.returncode:
        raise SystemExit(f"a2py {' '.join(args)}: {out.decode()}")
    return out.decode()


async def until(what: Callable[[], bool], seconds: float = LIMIT) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def log_of(folder: Path) -> str:
    return "".join(path.read_text() for path in (folder / "state/a2py").glob("a2py.log*"))


@asynccontextmanager
async def running(folder: Path, workers: int) -> AsyncIterator[tuple[int, str]]:
    """Run `a2py start` with an upstream. Yield its port and the upstream's base, and stop everything at the end."""
    upstream = Upstream("chat")
    base = f"http://127.0.0.1:{await upstream.start()}/v1"
    write(folder, base, 0)
    port = free_port()
    await a2py(folder, "start", "--port", str(port), "--num-workers", str(workers))
    try:
        yield port, base
    finally:
        await a2py(folder, "stop")


async def status(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(await a2py(folder, "status", "--json"))
    return state


async def reloads(folder: Path, seconds: float, clients: int, seed: int) -> dict[str, Any]:
    """Send SIGHUP again and again, each time with another configuration, and kill a worker after every fifth."""
    until_when = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    async with running(folder, 3) as (port, base):
        pid = int((await status(folder))["pid"])
        dice = random.Random(seed)
        async with run_load(port, clients, seed) as load:
            while time.monotonic() < until_when and counts["reloads"] < RELOADS:
                write(folder, base, counts["reloads"] % 2)
                os.kill(pid, signal.SIGHUP)
                counts["reloads"] += 1
                await asyncio.sleep(0.1 + dice.random() * 0.4)
                if counts["reloads"] % (RELOADS // KILLS) == 0:
                    await until(lambda: len(children(pid)) == 3)
                    victim = dice.choice(children(pid))
                    os.kill(
                        victim, signal.SIGSTOP
                    )  # it accepts nothing from here on, so only its present connections can be lost
                    load.victim_ports |= clients_of(victim, port)
                    os.kill(victim, signal.SIGKILL)
                    counts["kills"] += 1
                    await asyncio.sleep(dice.random())
            await until(lambda: len(children(pid)) == 3)
    log = log_of(folder)
    return result(load, counts, log, "reload refused")


async def restarts(folder: Path, seconds: float, clients: int, seed: int) -> dict[str, Any]:
    """Restart from 3 workers to 2 and back, and from 1 to 1. Each restart begins when the process before has ended."""
    half = seconds / 2
    counts: Counter[str] = Counter()
    every: list[Load] = []
    log = ""
    for workers in ((3, 2), (1, 1)):
        until_when = time.monotonic() + half
        direction = f"{workers[0]} to {workers[1]}"
        async with running(folder, workers[0]) as (port, _), run_load(port, clients, seed) as load:
            every.append(load)
            now = workers[0]
            while time.monotonic() < until_when and counts[direction] < RESTARTS:
                old = int((await status(folder))["pid"])
                new = workers[1] if now == workers[0] else workers[0]
                await a2py(folder, "restart", "--port", str(port), "--num-workers", str(new))
                if not await until(partial(has_ended, old)):
                    load.losses.append((0, f"pid {old} does not end"))
                counts[f"{now} to {new}"] += 1
                now = new
                if sum(counts.values()) % 20 == 0:
                    print(dict(counts), sum(len(one.own_losses) for one in every), "lost", flush=True)
        log += log_of(folder)
    whole = Load(0, 0)
    for load in every:
        whole.outcomes += load.outcomes
        whole.losses += load.losses
        whole.longest = max(whole.longest, load.longest)
    return result(whole, counts, log)


def result(load: Load, counts: Counter[str], log: str, *faults: str) -> dict[str, Any]:
    wrong = {word: log.count(word) for word in (" crash ", "Traceback", *faults)}
    return {
        "done": dict(counts),
        "outcomes": dict(sorted(load.outcomes.items())),
        "lost_with_a_killed_worker": len(load.losses) - len(load.own_losses),
        "lost": len(load.own_losses),
        "first_lost": load.own_losses[:10],
        "longest_sign_of_life": round(load.longest, 2),
        "in_the_log": wrong,
        "good": not load.own_losses and not any(wrong.values()) and not load.outcomes["slow sign of life"],
    }


RUNS: dict[str, tuple[Callable[[Path, float, int, int], Coroutine[Any, Any, dict[str, Any]]], int]] = {
    "reloads": (reloads, 900),
    "restarts": (restarts, 3600),
}
