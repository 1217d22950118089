"""Requests that have ended: of all workers' memory, and before that of the ledger.

Knows: ids, the order of rows, what of the ledger's columns the page shows. Must not know: HTTP.
Invariants: no request is listed twice, none is left out between memory and ledger; reads only.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

from a2py.errors import ApiError
from a2py.proxy.page.desk import Desk
from a2py.proxy.page.recorder import order, without_secrets

if TYPE_CHECKING:
    from a2py.proxy.bookkeeper import Bookkeeper

#: Rows of one answer, if the page does not say how many, and at most.
USUAL_LIMIT, MAX_LIMIT = 200, 1000
#: An id of a request, and of a row of the ledger, which has none.
_ID = re.compile(r"req_[A-Za-z0-9_-]{24}")
_ROW = re.compile(r"row_([0-9]{1,18})")
#: Columns of the ledger → what the page calls them.
_COLUMNS = {
    "id": "id",
    "time": "time",
    "model": "model",
    "deployment": "deployment",
    "upstream": "upstream",
    "wire": "wire",
    "route": "route",
    "status": "status",
    "stop": "stop_reason",
    "error": "error",
    "attempts": "attempts",
    "key": "key",
    "session": "session",
    "agent": "agent",
    "input": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "output": "output_tokens",
    "thinking": "thinking_tokens",
    "estimated": "estimated",
    "cost": "cost",
    "first": "first_token",
    "seconds": "seconds",
    "degraded": "degraded",
}

JSON = dict[str, Any]


def is_id(text: str) -> bool:
    """Return whether `text` is the id of a request that is, or was, in memory."""
    return _ID.fullmatch(text) is not None


class History:
    """The requests of all workers."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        desk.operations |= {"rows": self._answer_rows, "row": self._answer_row}

    def _answer_rows(self, arguments: JSON) -> JSON | None:
        recorder = self.desk.recorder
        if recorder is None:
            return None
        before = arguments["before"]
        rows = recorder.list_rows(arguments["limit"], tuple(before) if before is not None else None)
        return {"rows": rows, "horizon": recorder.horizon}

    def _answer_row(self, arguments: JSON) -> JSON | None:
        recorder = self.desk.recorder
        return recorder.rows.get(arguments["id"]) if recorder is not None else None

    def _without_secrets(self, rows: list[JSON]) -> list[JSON]:
        secrets = self.desk.secrets()
        return [without_secrets(row, secrets) for row in rows]

    async def list_rows(self, limit: int, before: str) -> JSON:
        """Return at most `limit` rows, the latest first, that ended before the request `before` ("": all)."""
        mark: tuple[float, str] | None = None
        row = _ROW.fullmatch(before)
        rows: list[JSON] = []
        horizon = float("inf")
        if is_id(before):
            match = await self.desk.ask_any("row", id=before)
            if match is None:
                raise ApiError("not_found", f"before: there is no request {before} any more", should_retry=False)
            mark = order(match[1])
        elif before and row is None:
            raise ApiError("invalid_request", "before: write the id of a request")
        answers = await self.desk.ask_all("rows", limit=limit + 1, before=mark)
        if answers:
            horizon = max(answer["horizon"] for answer in answers.values())
        if row is None:
            every = (one for answer in answers.values() for one in answer["rows"])
            rows = sorted((one for one in every if sum_end(one) >= horizon), key=order, reverse=True)
        keeper = self.desk.services.books.keeper
        if keeper is not None and len(rows) <= limit:
            older = await read_ledger(keeper, horizon, limit + 1 - len(rows), int(row[1]) if row else None)
            rows += self._without_secrets(older)
        return {"requests": rows[:limit], "more": len(rows) > limit}

    async def find_row(self, id: str) -> tuple[int, JSON] | None:
        """Return the worker that has a request, and its row; None if there is none. A row of the ledger has worker
        -1."""
        row = _ROW.fullmatch(id)
        if row is None:
            return await self.desk.ask_any("row", id=id) if is_id(id) else None
        keeper = self.desk.services.books.keeper
        rows = await read_ledger(keeper, float("inf"), 1, int(row[1]) + 1) if keeper is not None else []
        return (-1, self._without_secrets(rows)[0]) if rows and rows[0]["id"] == id else None

    async def list_session(self, session: str) -> JSON:
        """Return the latest turns of a session, the first one first, with what they cost."""
        keeper = self.desk.services.books.keeper
        if keeper is None:
            raise ApiError("not_found", "This proxy keeps no ledger (`a2py: ledger: false`)", should_retry=False)
        turns = self._without_secrets(await read_ledger(keeper, float("inf"), MAX_LIMIT, None, session))[::-1]
        total = await _sum_session(keeper, session) if turns else {}
        read = total.get("cache_read_tokens", 0)
        prompt = read + total.get("input_tokens", 0) + total.get("cache_write_tokens", 0)
        return {
            "turns": turns,
            "cost": total.get("cost"),
            "cache_share": round(read / prompt, 4) if prompt else None,
        }


def sum_end(row: JSON) -> float:
    """Return when a request ended."""
    return order(row)[0]


async def _sum_session(keeper: Bookkeeper, session: str) -> JSON:
    """Return the sums of all turns of a session, by the rules of `a2py usage`. Raise `ApiError`."""
    from a2py.ledger.query import sum_by

    groups = await keeper.read(lambda: sum_by(keeper.path, "session", session=session))
    return groups[0].values("session") if groups else {}


async def read_ledger(
    keeper: Bookkeeper, horizon: float, limit: int, before: int | None, session: str | None = None
) -> list[JSON]:
    """Return rows of the ledger, the latest first, of requests that ended before `horizon`. `before`: id of a row.
    Raise `ApiError`."""
    return await keeper.read(lambda: _read(keeper.path, horizon, limit, before, session))


def _read(path: str, horizon: float, limit: int, before: int | None, session: str | None) -> list[JSON]:
    import sqlite3

    from a2py.ledger.query import open_to_read

    where, values = ["time + seconds < ?"], list[Any]((min(horizon, 1e12),))
    if before is not None:
        where.append("id < ?")
        values.append(before)
    if session is not None:
        where.append("session = ?")
        values.append(session)
    columns = ", ".join(_COLUMNS)
    sql = f"SELECT {columns} FROM answers WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT {limit}"
    try:
        with closing(open_to_read(path)) as connection:
            return [_show(row) for row in connection.execute(sql, values)]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error) or "unable to open" in str(error):  # no answer was written yet
            return []
        raise


def _show(row: tuple[Any, ...]) -> JSON:
    out: JSON = dict(zip(_COLUMNS.values(), row, strict=True))
    return {
        **out,
        "id": f"row_{out['id']}",
        "worker": None,
        "estimated": bool(out["estimated"]),
        "first_token": out["first_token"] or None,
        "degraded": out["degraded"].split(",") if out["degraded"] else [],
        "notes": [],
        "recorded": False,
    }
