"""The proof of the ledger: it has what the upstream counted, to the token, for each key and session, over all wires and
OpenAI's paths, with retries, fallbacks, refusals, cuts, clients that leave, searches, and workers that are killed.

What may be missing: requests that ran when their worker was killed, and those that ended in its last second."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from a2py.ledger.query import sum_by
from tests import books, process, scripted
from tests.books import Case, Clients, Tokens, Upstream, make_cases
from tests.process import children
from tests.scripted import ScriptedServer

pytestmark = [pytest.mark.integration, pytest.mark.skipif(sys.platform == "win32", reason="workers need Unix")]
SECRETS = {f"team-{n}": f"sk-team-{n}" for n in range(3)}
#: One of them has a budget, which it can't spend.
BUDGET_KEY = "team-0"
#: Seconds of a worker's life that a kill may lose.
LOST_SECONDS = 1.0


class Books(NamedTuple):
    """`rows`: of the ledger, by the number of their case; `spent`: by the key with a budget; `kills`: when workers were
    killed; `exposure`: numbers of cases that a kill may have met, whenever they ended; empty: their times tell."""

    cases: list[Case]
    rows: dict[int, dict[str, Any]]
    path: Path
    kills: list[float]
    spent: float
    exposure: range = range(0)

    def may_be_lost(self, case: Case) -> bool:
        if self.exposure:
            return case.number in self.exposure
        late = 10.0 if case.is_lost else 1.0  # this process may be late to note the end
        return any(-LOST_SECONDS < case.end - kill < late for kill in self.kills)


def model(name: str, base: str, wire: str) -> dict[str, Any]:
    """An entry of model_list on one wire, with its price."""
    input, output, read, write = books.PRICES[name]
    infos: dict[str, dict[str, Any]] = {
        "chat": {"mode": "chat"},
        "responses": {"mode": "responses"},
        "native": {"supported_endpoints": ["/v1/messages"]},
        "vectors": {"mode": "embedding"},
    }
    root = base.removesuffix("/v1")
    entry = process.deployment(name, root if wire == "native" else base, f"up-{name}", "openai", **infos[wire])
    entry["litellm_params"] |= {
        "input_cost_per_token": input,
        "output_cost_per_token": output,
        "cache_read_input_token_cost": read,
        "cache_creation_input_token_cost": write,
    }
    return entry


async def keep_books(folder: Path, count: int, kills: int, exposure: range = range(0)) -> Books:
    """Ask `count` cases of two workers, of which `kills` are killed on the way. `exposure`: cases that run by
    themselves: those before them are written when they begin, and those after them begin when they have ended."""
    cases, path = make_cases(count, SECRETS), folder / "usage.db"
    keys = {name: {"sha256": hashlib.sha256(key.encode()).hexdigest()} for name, key in SECRETS.items()}
    keys[BUDGET_KEY]["budget"] = "1000000"
    (folder / "keys.yaml").write_text(json.dumps({"keys": keys}))
    (folder / "keys.yaml").chmod(0o600)
    kill_times: list[float] = []
    async with ScriptedServer(Upstream(cases)) as upstream:
        models = [model(name, upstream.base, name) for name in books.PRICES]
        engine = {"search_provider": "searxng", "api_base": upstream.base.removesuffix("/v1")}
        with process.running(
            folder,
            models,
            flags=["--num-workers", "2"],
            a2py={"ledger": str(path), "search": "engine"},
            search_tools=[{"search_tool_name": "engine", "litellm_params": engine}],
            router_settings={
                "num_retries": 1,
                "disable_cooldowns": True,
                "fallbacks": [{name: [other]} for name, other in books.FALLBACKS.items()],
            },
        ) as proxy:
            workers = children(proxy.pid)
            assert len(workers) == 2

            def kill(number: int) -> None:
                if number and number % (count // (kills + 1)) == 0 and len(kill_times) < kills:
                    os.kill(children(proxy.pid)[len(kill_times) % 2], signal.SIGKILL)
                    kill_times.append(time.time())

            clients = Clients(int(proxy.base.rpartition(":")[2]), SECRETS)
            await clients.ask_all(cases[: exposure.start], kill)
            await wait_for_rows(path, sum(case.kind != "count" for case in cases[: exposure.start]))
            await clients.ask_all(cases[exposure.start : exposure.stop], kill)
            await clients.ask_all(cases[exposure.stop :], kill)
        rows: dict[int, dict[str, Any]] = {}
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row
            for row in connection.execute("SELECT * FROM answers"):
                number = int(row["agent"][1:])
                assert number not in rows, "an answer has one row"
                rows[number] = dict(row)
            spent = connection.execute("SELECT total(cost) FROM spent WHERE key = ?", (BUDGET_KEY,)).fetchone()[0]
    return Books(cases, rows, path, kill_times, spent, exposure)


async def wait_for_rows(path: Path, rows: int) -> None:
    """Wait until the ledger has so many rows."""
    deadline = time.monotonic() + 120
    while sum(group.requests for group in sum_by(str(path), "key")) < rows:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def check_spent(books: Books) -> None:
    """A budget counts what the rows of its key cost. Each is written for itself, so that a killed worker may have lost
    the one and not the other."""
    own = [case for case in books.cases if case.key == BUDGET_KEY]
    rows = [books.rows[case.number] for case in own if case.number in books.rows]
    cost = sum(row["cost"] or 0.0 for row in rows)
    near = [case for case in own if books.may_be_lost(case) or any(abs(case.end - kill) < 10 for kill in books.kills)]
    either = sum(max(case.cost, 0.05) for case in near)
    assert cost > 0 and cost - either - 1e-6 <= books.spent <= cost + either + 1e-6


def check(books: Books) -> Counter[str]:
    """Compare each row with its case, and the sums by key and session with the cases'. Return how many cases there were
    of each sort."""
    sorts: Counter[str] = Counter()
    sums: dict[tuple[str, str], Tokens] = {}
    for case in books.cases:
        row = books.rows.get(case.number)
        if case.kind == "count":
            assert row is None, "who counts tokens gets no answer of a model"
            sorts["no answer"] += 1
            continue
        if row is None:
            assert books.may_be_lost(case), case
            sorts["lost with a worker"] += 1
            continue
        counts = Tokens(row["input"], row["cache_read"], row["cache_write"], row["output"], row["thinking"])
        for name in (("key", case.key), ("session", case.session)):
            sums[name] = sums.get(name, Tokens()) + counts
        assert (row["key"], row["session"], row["model"]) == (case.key, case.session, case.model), case
        if not case.is_lost:
            assert row["status"] == case.status, (case, row)
            assert bool(row["error"]) is case.fails, (case, row)
        if case.has_unknown_usage or case.is_lost:
            sorts["estimated"] += 1
            assert row["estimated"] or case.is_lost, (case, row)
            usage = case.total
            assert all(have >= least for have, least in zip(counts, usage, strict=True)) or case.is_lost, (case, row)
        else:
            sorts["to the token"] += 1
            assert counts == case.total, (case, row)
            assert row["estimated"] == case.has_no_end, (case, row)
            assert (row["cost"] or 0.0) == pytest.approx(case.cost), (case, row)
    for by in ("key", "session"):
        for group in sum_by(str(books.path), by):
            total = (group.input_tokens, group.cache_read_tokens, group.cache_write_tokens, group.output_tokens)
            assert total == sums[by, group.name][:4], (by, group)
    return sorts


async def test_some_hundred_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one worker killed, which may lose what ended in its last second. No second is measured: what ended before is
    awaited in the file, and what began after the kill must be there."""
    monkeypatch.setattr(scripted, "LIMIT", 120.0)
    books = await keep_books(tmp_path, 300, kills=1, exposure=range(100, 200))
    sorts = check(books)
    check_spent(books)
    assert sorts["to the token"] > 150 and sorts["estimated"] > 20 and len(books.kills) == 1


@pytest.mark.real
async def test_ten_thousand_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With eight workers killed. It needs no program, but minutes."""
    monkeypatch.setattr(scripted, "LIMIT", 120.0)
    start = time.monotonic()
    books = await keep_books(tmp_path, 10_000, kills=8)
    sorts = check(books)
    check_spent(books)
    tokens = sum(
        sum(row[name] for name in ("input", "cache_read", "cache_write", "output")) for row in books.rows.values()
    )
    print(f"\n{dict(sorts)}, {len(books.kills)} workers killed, {tokens:,} tokens, {time.monotonic() - start:.0f} s")
    assert sorts["to the token"] > 6000 and sorts["lost with a worker"] < 8 * 200 and len(books.kills) == 8
