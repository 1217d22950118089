"""Sums over the ledger: by model, key, session, agent, deployment, day or hour; and the sum of one session.

Knows: the table `answers`. Must not know: who asks, how a sum is shown.
Invariants: reads only; a cost is None if the price of any tokens in the group is not known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    import sqlite3

    from a2py.caller import Caller

#: What rows can be grouped by → SQL. Days and hours are those of this machine's time zone.
GROUPS = {
    "model": "model",
    "key": "key",
    "session": "session",
    "agent": "agent",
    "day": "strftime('%Y-%m-%d', time, 'unixepoch', 'localtime')",
    "hour": "strftime('%Y-%m-%d %H:00', time, 'unixepoch', 'localtime')",
    "deployment": "deployment",
}
#: How many groups are returned at most, those with the most tokens.
MAX_GROUPS = 10_000
#: The columns of a group after its name, as `a2py usage --json` and `--csv` have them.
COLUMNS = (
    "requests",
    "errors",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost",
    "estimated",
)
_SUMS = """
    count(*),
    sum(error <> '' OR (status >= 400 AND status <> 499)),
    sum(input), sum(cache_read), sum(cache_write), sum(output),
    sum(cost),
    sum(estimated),
    sum(cost IS NULL AND input + cache_read + cache_write + output > 0)
"""
_AGO = re.compile(r"(\d{1,6}(?:\.\d+)?)\s*(m|h|d|w)")
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Group(NamedTuple):
    """`cost`: US dollars of the tokens whose price is known, None if there are none; `unpriced`: requests with tokens
    whose price is not known."""

    name: str
    requests: int
    errors: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    cost: float | None
    estimated: int
    unpriced: int

    def values(self, by: str) -> dict[str, Any]:
        """Return the group as `a2py usage --json` prints it. The cost is None if any of it is not known."""
        own = self._asdict()
        cost = None if self.unpriced or self.cost is None else round(self.cost, 10)
        return {by: self.name, **{name: own[name] for name in COLUMNS}, "cost": cost}

    def page_row(self, by: str) -> dict[str, Any]:
        """Return the group as GET /usage has it: `values`, and what is known of the cost."""
        return {**self.values(by), "known_cost": self.cost, "unpriced": self.unpriced}

    @classmethod
    def read(cls, by: str, row: dict[str, Any]) -> Group:
        """Return the group of a row that `page_row` made."""
        counts = {name: row[name] for name in COLUMNS}
        return cls(name=row[by], unpriced=row["unpriced"], **{**counts, "cost": row["known_cost"]})


def open_to_read(path: str) -> sqlite3.Connection:
    """Open the ledger at `path`. Raise sqlite3.Error if there is no file, or if it is no database."""
    import sqlite3  # here, so that the names above are there without it

    absolute = os.path.abspath(path).replace(os.sep, "/")
    absolute = absolute if absolute.startswith("/") else f"/{absolute}"  # C:/… (sqlite.org/uri.html, 2026-10)
    uri = f"file://{quote(absolute)}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=2.0)
    try:
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        connection.close()
        if not isinstance(error, sqlite3.OperationalError):
            raise
        # SQLite wants to make two files beside a ledger. In a folder where it can't, the ledger alone is all there is,
        # unless it has a log: of rows that are not in it yet.
        if os.path.exists(f"{path}-wal"):
            raise
        connection = sqlite3.connect(f"{uri}&immutable=1", uri=True)
    return connection


def sum_by(path: str, by: str, since: float = 0.0, session: str | None = None, key: str | None = None) -> list[Group]:
    """Return the groups of the ledger at `path`: days and hours in their order, others by tokens, the most first.

    `by`: a key of GROUPS; `since`: seconds since the epoch; `session`, `key`: only its rows. Without a file, or while
    one is being made, there are none. Raise sqlite3.Error, OSError."""
    import sqlite3

    if not os.path.exists(path):
        return []
    where, values = "time >= ?", list[Any]((since,))
    for column, value in (("session", session), ("key", key)):
        if value is not None:
            where += f" AND {column} = ?"
            values.append(value)
    order = "1 DESC" if by in ("day", "hour") else "sum(input + cache_read + cache_write + output) DESC, 2 DESC, 1"
    sql = f"SELECT {GROUPS[by]}, {_SUMS} FROM answers WHERE {where} GROUP BY 1 ORDER BY {order} LIMIT {MAX_GROUPS}"
    try:
        with closing(open_to_read(path)) as connection:
            groups = [Group._make(row) for row in connection.execute(sql, values)]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise
    return groups[::-1] if by in ("day", "hour") else groups


class SessionSum(NamedTuple):
    """`upstream`: the model that gave the latest answer; `prompt`: tokens of its prompt."""

    total: Group
    upstream: str
    prompt: int


def sum_session(path: str, session: str) -> SessionSum | None:
    """Return the sum of one session, None if the ledger has nothing of it. Raise sqlite3.Error."""
    groups = sum_by(path, "session", session=session)
    if not groups:
        return None
    latest = (
        "SELECT upstream, input + cache_read + cache_write FROM answers WHERE session = ? AND agent = ''"
        " AND output > 0 ORDER BY time DESC LIMIT 1"
    )
    with closing(open_to_read(path)) as connection:
        upstream, prompt = connection.execute(latest, (session,)).fetchone() or ("", 0)
    return SessionSum(groups[0], upstream, prompt)


def sum_spent(path: str, callers: Iterable[Caller], now: float) -> dict[str, float]:
    """Return what each key with a budget has spent in its period, by its name. Raise sqlite3.Error."""
    from a2py.ledger.spending import read_spending

    with closing(open_to_read(path)) as connection:
        return {
            caller.name: read_spending(connection, caller.name, caller.budget, now).spent
            for caller in callers
            if caller.budget is not None
        }


def parse_since(text: str, now: float) -> float:
    """Return a moment in seconds since the epoch. `text`: `30m`, `24h`, `7d`, `2w` before `now`, `today`, a date or a
    time in ISO 8601 (of this machine's time zone, unless it names one), or the seconds themselves, with a point if they
    are few. What is before the epoch is the epoch. Raise ValueError."""
    text = text.strip()
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return max(0.0, now - float(ago[1]) * _SECONDS[ago[2]])
    if text == "today":
        return datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    if re.fullmatch(r"\d{9,12}|\d{1,12}\.\d+", text):
        return float(text)
    try:
        return max(0.0, datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())
    except (ValueError, OverflowError, OSError):
        raise ValueError("write 30m, 24h, 7d, 2w, today, or a date like 2026-11-30") from None
