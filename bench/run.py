"""Run the suite: rounds in which every system runs every workload, one after the other, on one machine.

Knows: processes, cores, rounds. Must not know: what a workload measures, how results look.
Invariants: in a round all systems run side by side and workloads take turns over them, so that a slow minute of the
machine hits all alike; the system under test is alone on its core, upstream and client share the other; a thousand slow
streams have processes of their own, whose kept connections end while nothing is measured; whatever was started is
stopped, also after an error.

    python -m bench.run                       # all that is installed, 3 rounds
    python -m bench.run --quick --systems a2py,nginx --workloads w1_50,w2 --rounds 1 --tree
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import gc
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import bodies, client, systems, workloads
from bench.procs import Process, allow_files, free_port
from bench.shapes import Plan
from bench.systems import BY_NAME, ROOT, Start, System
from bench.workloads import FULL, QUICK, WORKLOADS, Scale, Target

#: Seconds within which a system must give its first answer.
START_LIMIT = 90.0
RESULTS = Path(__file__).resolve().parent / "results.json"


def cores() -> tuple[int, int]:
    """Return the cores of upstream and client, and those of the system under test."""
    numbers = sorted(os.sched_getaffinity(0))
    return numbers[0], numbers[-1]


class Bench:
    def __init__(self, names: list[str], workload_names: list[str], scale: Scale, trees: dict[str, Path]) -> None:
        self.names = names
        self.workloads = workload_names
        self.scale = scale
        self.trees = trees  # system → the checkout that it runs instead of the installed version
        self.here, self.there = cores()
        self.running: list[Process] = []
        self.rounds: list[dict[str, dict[str, Any]]] = []
        self.directory = Path(tempfile.mkdtemp(prefix="a2py-bench-"))

    def start(self, argv: list[str], env: dict[str, str], name: str, core: int) -> Process:
        directory = self.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        process = Process(argv, env, directory, core)
        self.running.append(process)
        return process

    def stop(self) -> None:
        while self.running:
            self.running.pop().stop()

    async def upstream(self) -> int:
        port = free_port()
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = self.start([sys.executable, "-m", "bench.upstream", "--port", str(port)], env, "upstream", self.here)
        for _ in range(500):
            try:
                await client.put(port, "/_stats", b"")
                return port
            except OSError:
                await asyncio.sleep(0.02)
        raise SystemExit(f"the mock upstream did not start: {process.tail()}")

    async def begin(self, system: System, upstream: int, label: str) -> tuple[Target, dict[str, float]] | str:
        """Start a system and get its first answer. Return the target and its cold start, or why it did not start."""
        if system.kind == "direct":
            return Target(system, upstream, upstream, None, self.scale), {}
        port = free_port()
        directory = self.directory / f"{system.name}-{label}"
        directory.mkdir()
        argv, env = systems.prepare(system, Start(directory, port, upstream))
        if system.name in self.trees:
            env["PYTHONPATH"] = str(self.trees[system.name])
        await client.put(upstream, "/_plan", Plan("text", 5).encode())
        began = time.monotonic()
        process = self.start(argv, env, f"{system.name}-{label}", self.there)
        target = Target(system, port, upstream, process, self.scale)
        request = target.request(bodies.small(True))
        reason = "no answer"
        while time.monotonic() - began < START_LIMIT:
            if not process.alive:
                return f"it ended: {process.tail()}"
            try:
                connection = await client.connect(port)
            except OSError:
                await asyncio.sleep(0.002)
                continue
            try:
                reply = await asyncio.wait_for(connection.ask(request), 20)
                client.check(system.wire, Plan("text", 5), reply)
            except (client.Mismatch, asyncio.TimeoutError) as error:
                reason = str(error)
                await asyncio.sleep(0.05)
                continue
            finally:
                connection.close()
            took = time.monotonic() - began
            await asyncio.sleep(1.0)
            return target, {"seconds": took, "rss_mib": process.rss() / 2**20}
        return f"{reason}; {process.tail()}"

    async def round(self, number: int) -> None:
        results: dict[str, dict[str, Any]] = {name: {} for name in self.names}
        self.rounds.append(results)
        for alone in (True, False):
            part = [workload for workload in WORKLOADS if workload.name in self.workloads and workload.alone is alone]
            if part:
                await self._side_by_side(part, number, results)

    async def _side_by_side(
        self, part: list[workloads.Workload], number: int, results: dict[str, dict[str, Any]]
    ) -> None:
        upstream = await self.upstream()
        targets: dict[str, Target] = {}
        for name in self.names:
            if "failed" in results[name]:
                continue
            start = await self.begin(BY_NAME[name], upstream, f"{number}-{part[0].name}")
            if isinstance(start, str):
                results[name]["failed"] = start
                print(f"  {name}: does not start: {start[-300:]}", flush=True)
                continue
            targets[name] = start[0]
            if start[1]:
                results[name]["start"] = start[1]
        order = list(targets)
        turn = number % len(order) if order else 0
        for workload in part:
            for name in order[turn:] + order[:turn]:
                await self._measure(workload, targets[name], results[name])
        self.stop()

    async def _measure(self, workload: workloads.Workload, target: Target, results: dict[str, Any]) -> None:
        target.errors, target.requests, target.quantiles = [], 0, []
        gc.collect()
        gc.disable()
        began = time.monotonic()
        try:
            result = await asyncio.wait_for(workload.run(target), self.scale.limit * 2)
        except (asyncio.TimeoutError, OSError, client.Mismatch) as error:
            target.errors.append(f"broken off: {error or type(error).__name__}")
            result = {}
        finally:
            gc.enable()
        entry: dict[str, Any] = {
            "values": result,
            "asked": target.requests,
            "errors": len(target.errors),
            "reason": (target.errors or [""])[0][:300],
        }
        if target.quantiles:
            entry["quantiles"] = [round(value, 4) for value in target.quantiles]
        results[workload.name] = entry
        summary = "  ".join(f"{name} {value:.4g}" for name, value in result.items())
        wrong = f"  ERRORS {len(target.errors)}: {target.errors[0][:150]}" if target.errors else ""
        print(
            f"  {workload.name:6} {target.system.name:12} {summary}{wrong}   ({time.monotonic() - began:.1f} s)",
            flush=True,
        )


def machine() -> dict[str, str]:
    cpus, memory = Path("/proc/cpuinfo").read_text(), Path("/proc/meminfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpus)
    total = re.search(r"MemTotal:\s*(\d+)", memory)
    virtual = ", virtual" if re.search(r"flags\s*:.*\bhypervisor\b", cpus) else ""
    return {
        "cpu": f"{model[1] if model else '?'}, {os.cpu_count()} cores{virtual}",
        "memory": f"{int(total[1]) / 2**20:.0f} GiB" if total else "?",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def commit() -> str:
    process = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return process.stdout.strip() or "unknown"


async def _run(bench: Bench, rounds: int) -> None:
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        await bench.round(number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", default="", help="names, comma separated (default: all that is installed)")
    parser.add_argument("--workloads", default="", help="names, comma separated (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    parser.add_argument(
        "--nice", type=int, default=0, help="priority of everything that is measured (-20: ahead of other work; root)"
    )
    parser.add_argument("--tree", action="store_true", help="run a2py from this checkout, not as it was installed")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="also run a2py from another checkout, in turn with the others, as a2py-before",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="JSON file of all values (default: bench/results.json; of a part or --quick: in the directory for "
        "temporary files)",
    )
    args = parser.parse_args()
    part = bool(args.quick or args.systems or args.workloads)
    if not sys.platform.startswith("linux"):
        raise SystemExit("the suite reads /proc and pins processes to cores: Linux only")
    allow_files()
    versions, missing = systems.there(args.systems.split(",") if args.systems else None)
    print("\n".join(missing))
    names = args.workloads.split(",") if args.workloads else [workload.name for workload in WORKLOADS]
    trees = {name: ROOT for name in versions if args.tree and name.startswith("a2py")}
    if args.against:
        BY_NAME["a2py-before"] = BY_NAME["a2py"]._replace(name="a2py-before", label="a2py before")
        versions["a2py-before"] = versions.get("a2py", "")
        trees["a2py-before"] = args.against.resolve()
    bench = Bench(list(versions), names, QUICK if args.quick else FULL, trees)
    os.sched_setaffinity(0, {bench.here})
    os.nice(args.nice)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    began, before = time.monotonic(), os.getloadavg()[0]
    try:
        asyncio.run(_run(bench, args.rounds))
    finally:
        bench.stop()
        if not any("failed" in result for round_ in bench.rounds for result in round_.values()):
            shutil.rmtree(bench.directory, ignore_errors=True)
        else:
            print(f"the systems' output: {bench.directory}")
    out = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "took_s": round(time.monotonic() - began),
        "machine": machine(),
        "commit": commit(),
        "quick": args.quick,
        "nice": args.nice,
        "load": [f"{before:.1f}", f"{os.getloadavg()[0]:.1f}"],
        "scale": bench.scale._asdict(),
        "versions": versions,
        "installed": {name: size for name in versions if (size := systems.measure_size(BY_NAME[name])) is not None},
        "quantiles": workloads.QUANTILES,
        "rounds": bench.rounds,
    }
    target = args.out or (Path(tempfile.gettempdir()) / "a2py-bench.json" if part else RESULTS)
    target.write_text(json.dumps(out, separators=(",", ":")) + "\n")
    print(f"{target}: {out['took_s']} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
