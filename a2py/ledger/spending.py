"""What keys have spent, and what their running requests have reserved: transactions for budgets.

Each function gets a connection and runs in a transaction of its own, on the thread of the ledger's writer. Several
processes may share the file. An admission looks at everything that any of them has spent or reserved.

Knows: the tables `spent` and `reserved`. Must not know: threads, prices, what is said to a client.
Invariants: a reservation is admitted only if what is spent and reserved before it is below the budget; what a process
reserved counts only as long as the process renews it, so that one that is killed holds nothing for ever.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from a2py.budget import Budget

if TYPE_CHECKING:
    import sqlite3

#: Seconds for which a reservation counts unless its process renews it.
LEASE_SECONDS = 30.0


class Hold(NamedTuple):
    """What a running request has reserved. `id`: of the reservation, unique among processes; `cost`: US dollars."""

    id: str
    key: str
    budget: Budget
    cost: float


class Spending(NamedTuple):
    """US dollars of one key in the running period: `spent` by answers that have ended, `reserved` by running ones."""

    spent: float
    reserved: float


def identify(connection: sqlite3.Connection) -> str:
    """Return the name of this ledger, unlike any other's. It is kept as the beginning of a period of no key."""
    values = ("", "ledger", float(secrets.randbits(52)))
    connection.execute("INSERT OR IGNORE INTO spent (key, period, start, cost) VALUES (?, ?, ?, 0)", values)
    row = connection.execute("SELECT start FROM spent WHERE key = ? AND period = ?", values[:2]).fetchone()
    return f"{int(row[0]):013x}"


def reserve(connection: sqlite3.Connection, hold: Hold, now: float) -> Spending:
    """Reserve `hold` if its key has something left. Return what was spent and reserved before; see `has_room`."""
    connection.execute("DELETE FROM reserved WHERE key = ? AND until < ?", (hold.key, now))
    before = Spending(_read_spent(connection, hold, now), _read_reserved(connection, hold.key))
    if has_room(hold.budget, before):
        values = (hold.id, hold.key, hold.cost, now + LEASE_SECONDS)
        connection.execute("INSERT INTO reserved (id, key, cost, until) VALUES (?, ?, ?, ?)", values)
    return before


def has_room(budget: Budget, before: Spending) -> bool:
    """Return whether one more request is admitted. Its own size does not count, so that a small budget never shuts out
    the first request."""
    return before.spent + before.reserved < budget.amount


def settle(connection: sqlite3.Connection, hold: Hold, cost: float, now: float) -> None:
    """Replace what `hold` has reserved by what its request has cost. It counts in the period in which it ends."""
    connection.execute("DELETE FROM reserved WHERE id = ?", (hold.id,))
    if cost:
        # A period that begins is known to this process first, or to another one: the later one counts.
        connection.execute(
            "INSERT INTO spent (key, period, start, cost) VALUES (?, ?, ?, ?) ON CONFLICT (key, period) DO UPDATE SET"
            " cost = excluded.cost + CASE WHEN excluded.start > start THEN 0 ELSE cost END,"
            " start = max(start, excluded.start)",
            (hold.key, hold.budget.period, hold.budget.find_start(now), cost),
        )


def renew(connection: sqlite3.Connection, ids: list[str], now: float) -> None:
    """Let the reservations `ids` count for another LEASE_SECONDS, and forget those that nobody has renewed."""
    connection.executemany("UPDATE reserved SET until = ? WHERE id = ?", [(now + LEASE_SECONDS, id) for id in ids])
    connection.execute("DELETE FROM reserved WHERE until < ?", (now,))


def read_spending(connection: sqlite3.Connection, key: str, budget: Budget, now: float) -> Spending:
    """Return what a key has spent and reserved, without changing anything."""
    reserved = connection.execute("SELECT total(cost) FROM reserved WHERE key = ? AND until >= ?", (key, now))
    return Spending(_find_spent(connection, key, budget, now)[0], reserved.fetchone()[0])


def _read_spent(connection: sqlite3.Connection, hold: Hold, now: float) -> float:
    """Return what the key has spent in this period. If there was no budget yet, it begins here."""
    cost, has_begun = _find_spent(connection, hold.key, hold.budget, now)
    if not has_begun:
        values = (hold.key, hold.budget.period, hold.budget.find_start(now), cost)
        connection.execute("INSERT INTO spent (key, period, start, cost) VALUES (?, ?, ?, ?)", values)
    return cost


def _find_spent(connection: sqlite3.Connection, key: str, budget: Budget, now: float) -> tuple[float, bool]:
    """Return what a key has spent in this period, and whether its budget has begun. It begins with the answers of the
    ledger."""
    start = budget.find_start(now)
    values = (key, budget.period)
    row = connection.execute("SELECT start, cost FROM spent WHERE key = ? AND period = ?", values).fetchone()
    if row is not None:
        return (float(row[1]) if row[0] >= start else 0.0), True
    answers = connection.execute("SELECT total(cost) FROM answers WHERE key = ? AND time >= ?", (key, start))
    return float(answers.fetchone()[0]), False


def _read_reserved(connection: sqlite3.Connection, key: str) -> float:
    return float(connection.execute("SELECT total(cost) FROM reserved WHERE key = ?", (key,)).fetchone()[0])
