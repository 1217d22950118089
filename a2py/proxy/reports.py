"""What the pages of the proxy show, of all workers whichever of them is asked.

A page asks every worker for its part (bus.py) and adds them up. A worker that does not answer in time is missing, and
the page says so.

Counters never go down, or Prometheus would take the difference for a new beginning. So whatever a page has shown of a
worker, all others keep. If the worker is missing, the page shows that; the worker that replaces it begins with it.

Knows: how the numbers of workers are added. Must not know: HTTP, the form of a page.
Invariants: a process that is alone asks nobody; a page waits at most GATHER_SECONDS for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from a2py.proxy.metrics import Export, Metrics
from a2py.proxy.services import Services

#: Seconds that the others have to answer.
GATHER_SECONDS = 1.0
#: Topics of the bus.
HEALTH, METRICS, EXPORTS, FLUSH = "health", "metrics", "metrics.shown", "ledger.flush"
#: Gauges that are not added up: the largest one counts.
_LARGEST = frozenset({"a2py_uptime_seconds"})


class Health(NamedTuple):
    """The health of all workers. `parts`: of each, as `measure_health` makes it; `missing`: workers without one."""

    parts: list[dict[str, Any]]
    missing: tuple[int, ...]

    def sum(self, name: str) -> int:
        return sum(part[name] for part in self.parts)

    @property
    def uptime(self) -> float:
        return float(max(part["uptime"] for part in self.parts))

    @property
    def running(self) -> dict[str, int]:
        """Deployment id → requests that run there."""
        total: dict[str, int] = {}
        for part in self.parts:
            for id, count in part["places"].items():
                total[id] = total.get(id, 0) + count
        return total

    @property
    def usage(self) -> dict[str, dict[str, int]]:
        """Deployment id → what counts towards its limits."""
        total: dict[str, dict[str, int]] = {}
        for part in self.parts:
            for id, use in part["used"].items():
                sums = total.setdefault(id, dict.fromkeys(use, 0))
                for name, value in use.items():
                    sums[name] += value
        return total

    def merge(self, name: str) -> list[dict[str, Any]]:
        """Return the cooldowns or the lessons of all workers. Those of several are one, the longest."""
        longest: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        for row in (row for part in self.parts for row in part[name]):
            key = tuple((field, repr(value)) for field, value in row.items() if field != "seconds_left")
            if key not in longest or longest[key]["seconds_left"] < row["seconds_left"]:
                longest[key] = row
        return list(longest.values())


def join(services: Services) -> None:
    """Answer the other workers, also for the pages that they show."""
    bus, metrics = services.bus, services.metrics

    async def flush(payload: bytes, worker: int) -> bytes:
        if services.books.keeper is not None:
            await asyncio.wrap_future(services.books.keeper.writer.flush())
        return b""

    def count(payload: bytes, worker: int) -> bytes | None:
        if metrics.inheritance is None or not metrics.inheritance.is_set():
            return None  # without them the counters would go down
        return orjson.dumps([metrics.export(), measure_gauges(services)])

    def begin() -> None:
        if metrics.inheritance is None:
            metrics.inheritance = asyncio.Event()
            services.running.run_in_background(_inherit(services, metrics.inheritance))

    bus.answer(HEALTH, lambda payload, worker: orjson.dumps(measure_health(services)))
    bus.answer(METRICS, count)
    bus.answer(EXPORTS, lambda payload, worker: orjson.dumps(metrics.peer_exports.get(worker, {})))
    bus.answer(FLUSH, flush)
    bus.subscribe(EXPORTS, lambda payload, worker: _keep_export(services, *orjson.loads(payload)))
    bus.on_peers.append(begin)


async def _inherit(services: Services, is_done: asyncio.Event) -> None:
    """Go on with the counters that pages have shown of the worker before this one."""
    try:
        answers = await services.bus.gather(EXPORTS, b"", GATHER_SECONDS)
        services.metrics.absorb(_largest(map(orjson.loads, answers.by_worker.values())))
    finally:
        is_done.set()


def _keep_export(services: Services, worker: int, export: Export) -> None:
    """Keep the counters of `worker` that a page has shown. Pages of two workers may arrive in another order."""
    exports = services.metrics.peer_exports
    if worker != services.bus.number:
        exports[worker] = _largest([exports.get(worker, {}), export])


def _largest(exports: Iterable[Export]) -> Export:
    """Return for each counter the largest of its values: some may be of an earlier page."""
    values: dict[str, dict[str, list[Any]]] = {}
    for export in exports:
        for name, every in export.items():
            series = values.setdefault(name, {})
            for labels, value in every:
                entry = series.setdefault(repr(labels), [labels, value])
                entry[1] = max(entry[1], value)
    return {name: list(series.values()) for name, series in values.items()}


def measure_health(services: Services) -> dict[str, Any]:
    """Return this worker's part of /health."""
    return {
        "uptime": services.running.uptime(),
        "running": len(services.running.exchanges),
        "waiting": services.router.line.waiting,
        "places": services.limits.running,
        "used": {id: use._asdict() for id, use in services.limits.usage().items()},
        "cooldowns": services.router.cooldowns.report(),
        "lessons": services.lessons.report(),
    }


async def gather_health(services: Services) -> Health:
    """Return the health of all workers."""
    if services.bus.count == 1:
        return Health([measure_health(services)], ())
    answers = await services.bus.gather(HEALTH, b"", GATHER_SECONDS)
    return Health([orjson.loads(part) for part in answers.by_worker.values()], answers.missing)


def measure_gauges(services: Services) -> dict[str, float]:
    """Return the numbers of this worker that are measured when somebody asks."""
    return {
        "a2py_running": len(services.running.exchanges),
        "a2py_waiting": services.router.line.waiting,
        "a2py_upstream_connections": services.upstream.connections,
        "a2py_upstream_idle": services.upstream.idle,
        "a2py_connections": services.connections.open if services.connections is not None else 0,
        "a2py_uptime_seconds": services.running.uptime(),
        "a2py_ledger_lost_total": services.books.lost_rows,
    }


async def gather_metrics(services: Services) -> str:
    """Return the page of the metrics of all workers."""
    bus, metrics = services.bus, services.metrics
    if bus.count == 1:
        return metrics.text({**measure_gauges(services), "a2py_workers": 1, "a2py_workers_missing": 0})
    await bus.meet(GATHER_SECONDS)
    if metrics.inheritance is not None:
        await metrics.inheritance.wait()
    answers = await bus.gather(METRICS, b"", GATHER_SECONDS)
    exports = {**metrics.peer_exports, bus.number: metrics.export()}
    gauges = measure_gauges(services)
    for worker, answer in answers.by_worker.items():
        if worker != bus.number:
            exports[worker], worker_gauges = orjson.loads(answer)
            for name, value in worker_gauges.items():
                gauges[name] = max(gauges[name], value) if name in _LARGEST else gauges[name] + value
    total = Metrics()
    for worker, export in sorted(exports.items()):
        total.absorb(export)
        _keep_export(services, worker, export)
        bus.publish(EXPORTS, orjson.dumps([worker, export]))
    missing = len({*answers.missing} - {bus.number})
    return total.text({**gauges, "a2py_workers": bus.count - missing, "a2py_workers_missing": missing})


async def flush_ledger(services: Services) -> tuple[int, ...]:
    """Let all other workers write what they have for the ledger. Return those that did not answer in time."""
    if services.bus.count == 1:
        return ()
    return (await services.bus.gather(FLUSH, b"", GATHER_SECONDS)).missing
