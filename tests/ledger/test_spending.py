"""Budgets in the ledger's file: what is reserved and spent, by several processes, over periods and crashes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.budget import Budget
from a2py.ledger import store as stores
from a2py.ledger.row import AnswerColumns, RequestColumns, Row, UsageColumns
from a2py.ledger.spending import LEASE_SECONDS, Hold, Spending, has_room, read_spending, renew, reserve, settle
from a2py.ledger.store import Store, Transaction

NOW = datetime(2026, 11, 30, 12, tzinfo=timezone.utc).timestamp()
DAY = Budget(1.0, "day")


def hold(id: str = "p-1", cost: float = 0.4, budget: Budget = DAY, key: str = "alice") -> Hold:
    return Hold(id, key, budget, cost)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    store = Store(str(tmp_path / "usage.db"))
    yield store.connect()
    store.close()


def list_reservations(connection: sqlite3.Connection) -> list[str]:
    return [id for (id,) in connection.execute("SELECT id FROM reserved ORDER BY id")]


def test_a_request_is_admitted_below_the_budget(connection: sqlite3.Connection) -> None:
    """Its own size does not count: a small budget never shuts out a first request."""
    assert reserve(connection, hold(cost=50.0), NOW) == Spending(0.0, 0.0)
    assert reserve(connection, hold("p-2"), NOW) == Spending(0.0, 50.0)
    assert list_reservations(connection) == ["p-1"], "the second one is not admitted"
    settle(connection, hold(cost=50.0), 0.25, NOW)
    assert reserve(connection, hold("p-3"), NOW) == Spending(0.25, 0.0)
    assert reserve(connection, hold("p-4"), NOW) == Spending(0.25, 0.4)
    assert reserve(connection, hold("p-5"), NOW) == Spending(0.25, 0.8)
    assert list_reservations(connection) == ["p-3", "p-4"]
    assert reserve(connection, hold("p-6", key="bob"), NOW) == Spending(0.0, 0.0)


def test_exactly_the_budget_is_spent() -> None:
    assert has_room(DAY, Spending(0.5, 0.4999)) and not has_room(DAY, Spending(0.5, 0.5))


def test_a_settlement_counts_once_whatever_was_reserved(connection: sqlite3.Connection) -> None:
    reserve(connection, hold(), NOW)
    settle(connection, hold(), 0.1, NOW)
    settle(connection, hold("unknown"), 0.2, NOW)
    assert read_spending(connection, "alice", DAY, NOW) == pytest.approx((0.3, 0.0))
    settle(connection, hold(), 0.0, NOW)
    assert list_reservations(connection) == []


@pytest.mark.parametrize("period", ["hour", "day", "week", "month"])
def test_a_new_period_begins_at_nothing(connection: sqlite3.Connection, period: str) -> None:
    budget = Budget(1.0, period)
    reserve(connection, hold(budget=budget), NOW)
    settle(connection, hold(budget=budget), 5.0, NOW)
    end = budget.find_end(NOW)
    assert reserve(connection, hold("p-2", budget=budget), end - 1).spent == 5.0
    assert reserve(connection, hold("p-3", budget=budget), end).spent == 0.0
    settle(connection, hold("p-3", budget=budget), 0.5, end)
    assert read_spending(connection, "alice", budget, end).spent == 0.5
    settle(connection, hold("p-4", budget=budget), 0.25, end - 1)  # another process' clock is late
    assert read_spending(connection, "alice", budget, end).spent == 0.75


def test_a_total_is_never_forgotten(connection: sqlite3.Connection) -> None:
    total = Budget(1.0, "total")
    reserve(connection, hold(budget=total), NOW)
    settle(connection, hold(budget=total), 2.0, NOW)
    assert reserve(connection, hold("p-2", budget=total), NOW + 1e9).spent == 2.0


def answer(time: float, cost: float | None, key: str = "alice") -> Row:
    return Row(
        time,
        RequestColumns(key, "", "", "m", ""),
        AnswerColumns("d", "u", "chat", 200, "", "", 1, ""),
        UsageColumns(1, 0, 0, 1, 0, 0, cost, 0.1, 0.2),
    )


def test_a_budget_begins_with_what_the_ledger_has(tmp_path: Path) -> None:
    """Who gets a budget in mid-month has spent something already."""
    store = Store(str(tmp_path / "usage.db"))
    yesterday = NOW - 86400
    store.insert([answer(NOW, 0.25), answer(NOW, None), answer(yesterday, 8.0), answer(NOW, 16.0, "bob")])
    connection = store.connect()
    assert read_spending(connection, "alice", DAY, NOW).spent == 0.25, "shown before the first request, too"
    assert read_spending(connection, "alice", DAY, NOW).spent == 0.25, "and nothing has begun by that"
    assert connection.execute("SELECT count(*) FROM spent").fetchone() == (0,)
    assert reserve(connection, hold(), NOW).spent == 0.25
    assert reserve(connection, hold("p-2", budget=Budget(9.0, "month")), NOW).spent == 8.25
    store.insert([answer(NOW, 32.0)])  # a row is no settlement
    assert reserve(connection, hold("p-3"), NOW).spent == 0.25
    store.close()


def test_what_a_killed_process_reserved_is_released(connection: sqlite3.Connection) -> None:
    reserve(connection, hold("dead-1", cost=9.0), NOW)
    reserve(connection, hold("live-1", cost=9.0, key="bob"), NOW)
    assert reserve(connection, hold("p-1"), NOW + LEASE_SECONDS) == Spending(0.0, 9.0)
    renew(connection, ["live-1"], NOW + LEASE_SECONDS - 1)
    later = NOW + LEASE_SECONDS + 1
    assert reserve(connection, hold("p-1"), later) == Spending(0.0, 0.0)
    assert read_spending(connection, "bob", DAY, later) == Spending(0.0, 9.0)
    renew(connection, [], later + 2 * LEASE_SECONDS)
    assert list_reservations(connection) == [], "those of keys that ask no more, too"


def test_a_settlement_after_the_lease_counts(connection: sqlite3.Connection) -> None:
    """A process that was stopped for a minute has spent what it has spent."""
    reserve(connection, hold(), NOW)
    renew(connection, [], NOW + LEASE_SECONDS + 1)
    settle(connection, hold(), 0.5, NOW + LEASE_SECONDS + 1)
    assert read_spending(connection, "alice", DAY, NOW + 60) == Spending(0.5, 0.0)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 400), st.integers(0, 400)), max_size=40))
def test_overspending_is_the_error_of_what_was_reserved(steps: list[tuple[bool, int, int]]) -> None:
    """At any order of beginnings and ends: spent < budget + the last reservation + what running requests cost more than
    they had reserved. (Costs in thousandths.)"""
    connection = sqlite3.connect(":memory:")
    for step in stores.MIGRATIONS:
        for statement in step:
            connection.execute(statement)
    running: list[Hold] = []
    spent, excess, largest = 0.0, 0.0, 0.0
    for number, (begins, estimate, actual) in enumerate(steps):
        if begins:
            one = hold(f"p-{number}", estimate / 1000)
            before = reserve(connection, one, NOW)
            assert before.spent == pytest.approx(spent) and before.reserved == pytest.approx(
                sum(h.cost for h in running)
            )
            if has_room(DAY, before):
                running.append(one)
                largest = max(largest, one.cost)
        elif running:
            one = running.pop(0)
            settle(connection, one, actual / 1000, NOW)
            spent += actual / 1000
            excess += max(0.0, actual / 1000 - one.cost)
    assert spent <= 1.0 + largest + excess + 1e-9
    connection.close()


def test_processes_at_the_same_time_admit_no_more_than_one_would(tmp_path: Path) -> None:
    """Eight connections reserve 0.1 of 1.0 as often as they can: ten are admitted, in whatever order."""
    path, admissions, lock = str(tmp_path / "usage.db"), list[str](), threading.Lock()
    Store(path).connect().close()

    def ask(process: int) -> None:
        store = Store(path)
        for number in range(20):
            one = hold(f"{process}-{number}", 0.1)
            connection = store.connect()
            with Transaction(connection):
                before = reserve(connection, one, NOW)
            if has_room(DAY, before):
                with lock:
                    admissions.append(one.id)
        store.close()

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(admissions) in (10, 11), "0.1 is not exact in binary"


def test_a_ledger_of_the_first_version_gets_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "usage.db")
    with monkeypatch.context() as patch:
        patch.setattr(stores, "MIGRATIONS", stores.MIGRATIONS[:1])
        old = Store(path)
        old.insert([answer(NOW, 0.25)])
        old.close()
    store = Store(path)
    assert reserve(store.connect(), hold(), NOW).spent == 0.25
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (1,)
