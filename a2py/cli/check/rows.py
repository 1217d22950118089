"""The probes of `a2py check`, one row each, for the page of a proxy that runs.

Knows: the probes, the words of their states. Must not know: HTTP, how a row is shown.
Invariants: each probe gives one row; a failure of the probes themselves is a row, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from a2py.cli.check.bench import SECONDS, Bench
from a2py.cli.check.finding import FAIL, FOUND, NO, OK, SKIPPED, Finding
from a2py.cli.check.probes import PROBES, probe
from a2py.deployment import Deployment
from a2py.upstream import Upstream

#: State of a finding → the word of a row.
RESULTS = {OK: "ok", FOUND: "ok", NO: "no", FAIL: "fail", SKIPPED: "skipped"}


async def probe_rows(deployment: Deployment, upstream: Upstream) -> AsyncIterator[dict[str, str]]:
    """Yield what each probe of `deployment` has found, as soon as it has."""
    rows: asyncio.Queue[dict[str, str] | None] = asyncio.Queue()

    def report(name: str, finding: Finding) -> None:
        rows.put_nowait(describe(name, finding))

    async def run() -> None:
        try:
            await probe(Bench(deployment, upstream, SECONDS), (), report)
        finally:
            rows.put_nowait(None)

    task = asyncio.get_running_loop().create_task(run())
    try:
        while (row := await rows.get()) is not None:
            yield row
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def describe(name: str, finding: Finding) -> dict[str, str]:
    """Return the row of a finding."""
    quirks = ", ".join(f"{quirk}: {value}" for quirk, value in finding.quirks.items())
    return {
        "probe": PROBES[name].title,
        "result": RESULTS[finding.state],
        "detail": finding.what,
        "advice": "; ".join(filter(None, (finding.advice, f"with these quirks: {quirks}" if quirks else ""))),
    }
