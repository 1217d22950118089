"""Budgets in one process: what a request reserves, a ledger that can't be written, a client that leaves."""

from __future__ import annotations

import asyncio
import io
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2py.budget import Budget
from a2py.caller import Caller
from a2py.config import Settings
from a2py.errors import ApiError
from a2py.ledger import spending as spending_jobs
from a2py.ledger.spending import LEASE_SECONDS, Spending, read_spending
from a2py.messages.types import Usage
from a2py.prices import Price, Rates
from a2py.proxy import budgets as module
from a2py.proxy.bookkeeper import Bookkeeper
from a2py.proxy.budgets import Budgets
from a2py.proxy.log import Log
from a2py.proxy.metrics import Metrics
from tests.proxied import deployment, settle

DAY = Budget(1.0, "day")
ALICE = Caller("alice", budget=DAY)
CHEAP = deployment("http://x", id="cheap", price=Price(Rates(1e-6, 2e-6)))
DEAR = deployment("http://x", id="dear", price=Price(Rates(1e-5, 2e-5)))
FREE = deployment("http://x", id="free", price=Price(Rates(0.0, 0.0)))
HALF = deployment("http://x", id="half", price=Price(Rates(1e-6)))
UNKNOWN = deployment("http://x", id="unknown")


class Now:
    """2027-01-15 08:00 UTC, as long as nobody moves it."""

    seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@asynccontextmanager
async def open_budgets(path: Path, now: Now | None = None) -> AsyncIterator[Budgets]:
    keeper = Bookkeeper(str(path), Settings(), Log(io.StringIO()), Metrics())
    budgets = Budgets(keeper, now or Now())
    try:
        yield budgets
    finally:
        budgets.close()
        await keeper.close()


async def spending(budgets: Budgets) -> Spending:
    now = budgets._now()
    job: Callable[[sqlite3.Connection], Spending] = lambda connection: read_spending(connection, "alice", DAY, now)  # noqa: E731
    return await asyncio.wrap_future(budgets.keeper.writer.submit(job))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "usage.db"


async def test_the_dearest_deployment_with_a_price_is_reserved(path: Path) -> None:
    async with open_budgets(path) as budgets:
        usage = Usage(input=1000, output=100)
        assert budgets.estimate(ALICE, [CHEAP, DEAR, UNKNOWN], usage) == pytest.approx(0.012)
        assert budgets.estimate(ALICE, [FREE], usage) == 0
        every = (CHEAP, FREE, HALF, UNKNOWN)
        prices = budgets.keeper.prices
        assert [prices.is_complete(one) for one in every] == [True, True, False, False]
        assert [prices.is_free(one) for one in every] == [False, True, False, False]
        assert [prices.is_complete(one, has_output=False) for one in every] == [True, True, True, False]
        vectors = replace(HALF, mode="embedding")
        assert prices.is_complete(vectors) and not prices.is_free(vectors)
        assert prices.is_free(replace(vectors, price=Price(Rates(input=0.0))))
        assert not prices.is_complete(replace(HALF, mode="image_generation")), "gpt-image-1 reports output tokens"
    assert os.listdir(path.parent) == [], "prices need no file"


@pytest.mark.parametrize("one", [UNKNOWN, HALF])
async def test_a_model_without_a_price_is_refused(path: Path, one: Any) -> None:
    async with open_budgets(path) as budgets:
        with pytest.raises(ApiError) as excinfo:
            budgets.estimate(ALICE, [one], Usage(input=1))
    assert excinfo.value.status == 403 and excinfo.value.should_retry is False
    assert "alice has a budget, and the price of 'test-model' is not known" in excinfo.value.message
    assert "`a2py: prices:`" in excinfo.value.message


async def test_reserve_and_settle(path: Path) -> None:
    async with open_budgets(path) as budgets:
        hold = await budgets.reserve(ALICE, 0.75)
        assert await spending(budgets) == Spending(0.0, 0.75) and budgets.open_count == 1
        budgets.settle(hold, 0.5)
        budgets.settle(hold, 0.5)
        assert await spending(budgets) == Spending(0.5, 0.0)
        await settle(lambda: not budgets.open_count)


async def test_a_spent_budget_says_when_it_renews(path: Path) -> None:
    async with open_budgets(path) as budgets:
        budgets.settle(await budgets.reserve(ALICE, 0.1), 1.25)
        with pytest.raises(ApiError) as excinfo:
            await budgets.reserve(ALICE, 0.1)
        error = excinfo.value
        assert error.message == (
            "The key alice has spent its budget of 1/day (US dollars): 1.2500. It renews at 2027-01-16 00:00 UTC."
            " Ask the owner of this proxy for a larger one (`budget` in keys.yaml)."
        )
        assert (error.status, error.type, error.should_retry) == (402, "billing_error", False)
        assert await spending(budgets) == Spending(1.25, 0.0)
        total = Caller("alice", budget=Budget(1.0, "total"))
        budgets.settle(await budgets.reserve(total, 0.1), 1.0)
        with pytest.raises(ApiError, match="It does not renew"):
            await budgets.reserve(total, 0.1)


async def test_what_running_requests_hold_may_come_back(path: Path) -> None:
    """A client shall try again: the budget is not spent."""
    async with open_budgets(path) as budgets:
        hold = await budgets.reserve(ALICE, 2.0)
        with pytest.raises(ApiError, match="its running requests have reserved the rest") as excinfo:
            await budgets.reserve(ALICE, 0.1)
        assert excinfo.value.status == 429 and excinfo.value.headers()["retry-after"] == "5"
        budgets.settle(hold, 0.5)
        budgets.settle(await budgets.reserve(ALICE, 0.1), 0.0)


async def test_a_ledger_that_can_t_be_written_refuses_and_leaves_nothing(path: Path) -> None:
    os.mkdir(path)
    async with open_budgets(path) as budgets:
        for _ in range(3):
            with pytest.raises(ApiError) as excinfo:
                await budgets.reserve(ALICE, 0.1)
            assert excinfo.value.status == 503 and "the ledger can't be written" in excinfo.value.message
        assert not budgets.open_count
        os.rmdir(path)
        budgets.settle(await budgets.reserve(ALICE, 0.1), 0.2)
        assert await spending(budgets) == Spending(0.2, 0.0)


async def test_a_settlement_that_can_t_be_written_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_budgets(path) as budgets:
        hold = await budgets.reserve(ALICE, 0.1)
        real, calls = spending_jobs.settle, list[str]()

        def fail(connection: sqlite3.Connection, **values: Any) -> None:
            calls.append("failed")
            raise sqlite3.OperationalError("disk full")

        monkeypatch.setattr(spending_jobs, "settle", fail)
        budgets.settle(hold, 0.25)
        await settle(lambda: calls)
        await spending(budgets)
        assert budgets.open_count == 1
        monkeypatch.setattr(spending_jobs, "settle", real)
        budgets._renew()
        budgets._renew()  # it is on its way: it is not sent twice
        await spending(budgets)
        assert not budgets.open_count and await spending(budgets) == Spending(0.25, 0.0)


async def test_running_requests_are_renewed(path: Path) -> None:
    now = Now()
    async with open_budgets(path, now) as budgets:
        hold = await budgets.reserve(ALICE, 0.75)
        for _ in range(4):
            now.seconds += LEASE_SECONDS * 0.9
            budgets._renew()
        assert await spending(budgets) == Spending(0.0, 0.75)
        budgets.settle(hold, 0.0)
        await settle(lambda: not budgets.open_count)
        budgets._renew()
        assert budgets._timer is None, "nothing runs, so nothing is renewed"


class Stuck:
    """The writer's thread is busy until `release`."""

    def __init__(self, budgets: Budgets) -> None:
        self._event = threading.Event()
        self.start = threading.Event()
        self.future = budgets.keeper.writer.submit(self._wait)

    def _wait(self, connection: sqlite3.Connection) -> None:
        self.start.set()
        self._event.wait(60)

    def release(self) -> None:
        self._event.set()


@pytest.mark.parametrize("is_written", [True, False])
async def test_a_client_that_leaves_while_it_waits_leaves_nothing(
    path: Path, is_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_budgets(path) as budgets:
        start, go, real = threading.Event(), threading.Event(), spending_jobs.reserve

        def slow(connection: sqlite3.Connection, **values: Any) -> Spending:
            start.set()
            go.wait(60)
            before: Spending = real(connection, **values)
            return before

        stuck = None
        if is_written:
            monkeypatch.setattr(spending_jobs, "reserve", slow)
        else:
            stuck = Stuck(budgets)
            await settle(stuck.start.is_set)
        task = asyncio.ensure_future(budgets.reserve(ALICE, 0.5))
        if is_written:
            await settle(start.is_set)
        else:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
        if stuck is not None:
            stuck.release()
        assert await spending(budgets) == Spending(0.0, 0.0)
        await settle(lambda: not budgets.open_count)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM reserved").fetchone() == (0,)


async def test_a_client_that_leaves_as_the_answer_comes_has_left(path: Path) -> None:
    """Python 3.10 and 3.11 forget a cancellation in `wait_for`, if the result is there at that moment."""
    async with open_budgets(path) as budgets:
        task = asyncio.ensure_future(budgets.reserve(ALICE, 0.5))
        await asyncio.sleep(0)
        future = budgets.keeper.writer.flush()  # jobs run in their order
        future.result(60)  # this thread, so that the loop has not seen the answer yet
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await spending(budgets) == Spending(0.0, 0.0)


async def test_nobody_waits_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    async with open_budgets(path) as budgets:
        stuck = Stuck(budgets)
        with pytest.raises(ApiError, match="can't be written \\(TimeoutError\\)") as excinfo:
            await budgets.reserve(ALICE, 0.5)
        assert excinfo.value.status == 503 and not budgets.open_count
        stuck.release()
        assert await spending(budgets) == Spending(0.0, 0.0)


async def test_after_the_end_nothing_is_renewed(path: Path) -> None:
    async with open_budgets(path) as budgets:
        hold = await budgets.reserve(ALICE, 0.5)
        budgets.close()
        budgets.settle(hold, 0.5)
        assert budgets._timer is None
        assert await spending(budgets) == Spending(0.5, 0.0)


async def test_what_all_machines_have_spent_decides_if_they_share(path: Path, tmp_path: Path) -> None:
    questions: list[tuple[str, Spending, str, float]] = []
    charges: list[tuple[float, float]] = []

    class Charge:
        def settle(self, cost: float, start: float) -> None:
            charges.append((cost, start))

    async def share(hold: spending_jobs.Hold, before: Spending, ledger: str, now: float) -> Charge | None:
        questions.append((hold.key, before, ledger, now))
        if len(questions) == 3:
            raise ApiError("billing", "all of it is spent")
        return Charge() if len(questions) == 1 else None

    async with open_budgets(path) as budgets, open_budgets(tmp_path / "other.db") as other:
        budgets.share = other.share = share
        budgets.settle(await budgets.reserve(ALICE, 0.5), 0.25)
        assert charges == [(0.25, DAY.find_start(Now.seconds))]
        budgets.settle(await budgets.reserve(ALICE, 0.5), 0.25)
        assert len(charges) == 1, "without Redis only the ledger knows"
        with pytest.raises(ApiError, match="all of it is spent"):
            await other.reserve(ALICE, 0.5)
        assert await spending(other) == Spending(0.0, 0.0) and await spending(budgets) == Spending(0.5, 0.0)
        assert [(key, before) for key, before, _, _ in questions[:2]] == [
            ("alice", Spending(0.0, 0.0)),
            ("alice", Spending(0.25, 0.0)),
        ]
        assert questions[0][2] == questions[1][2] != questions[2][2], "each ledger has a name of its own"
    async with open_budgets(path) as again:
        again.share = share
        await again.reserve(ALICE, 0.5)
        assert questions[3][2] == questions[0][2], "and keeps it"


async def test_a_ledger_that_can_t_be_named_is_no_bug(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all machines count, its name is asked for after the reservation. What was reserved is released."""

    def fail(connection: sqlite3.Connection) -> str:
        raise OSError("disk I/O error")

    async def share(*values: Any) -> None:
        raise AssertionError("there is no name to share")

    monkeypatch.setattr(spending_jobs, "identify", fail)
    async with open_budgets(path) as budgets:
        budgets.share = share
        with pytest.raises(ApiError, match="can't be written \\(disk I/O error\\)") as excinfo:
            await budgets.reserve(ALICE, 0.5)
        assert excinfo.value.status == 503
        await settle(lambda: not budgets.open_count)
        assert await spending(budgets) == Spending(0.0, 0.0)
