"""The keys of clients as the page shows them: what each may do, and what it has spent.

Knows: keys, the ledger's sums of budgets. Must not know: HTTP, digests of keys.
Invariants: nothing of a key itself is shown; the ledger is read in a thread, once in READ_SECONDS.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from functools import partial
from typing import Any

from a2py.caller import Caller
from a2py.errors import ApiError
from a2py.proxy.services import Services

#: Seconds for which what was spent is not read again.
READ_SECONDS = 5.0

JSON = dict[str, Any]


class KeyState:
    """The keys of one proxy."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._spent: dict[str, float] = {}
        self._read_time = -math.inf

    async def list_keys(self) -> list[JSON]:
        """Return the keys that are valid, the master key not among them."""
        services, now = self._services, time.time()
        keys = [key.caller for key in services.keys.rows if not key.is_revoked]
        keeper = services.books.keeper
        budgets = [caller for caller in keys if caller.budget is not None]
        if keeper is not None and budgets and services.clock() - self._read_time >= READ_SECONDS:
            self._read_time = services.clock()
            try:
                self._spent = await keeper.read(partial(_read_spent, keeper.path, budgets, now))
            except ApiError:  # no answer was written yet, or the file can't be read now
                self._spent = {}
        return [self._describe(caller, now) for caller in keys]

    def _describe(self, caller: Caller, now: float) -> JSON:
        budget = caller.budget
        end = budget.find_end(now) if budget is not None else math.inf
        return {
            "name": caller.name,
            "is_admin": caller.is_admin,
            "models": list(caller.models),
            "spent": self._spent.get(caller.name) if budget is not None else None,
            "budget": budget.amount if budget is not None else None,
            "period": budget.period if budget is not None else None,
            "renews": end if math.isfinite(end) else None,
            "rpm": caller.rpm,
            "tpm": caller.tpm,
            "max_parallel": caller.max_parallel,
            "expires": caller.expires or None,
        }


def _read_spent(path: str, callers: list[Caller], now: float) -> dict[str, float]:
    """Return what each key with a budget has spent in its period. Raise sqlite3.Error."""
    from a2py.ledger.query import open_to_read
    from a2py.ledger.spending import read_spending

    with closing(open_to_read(path)) as connection:
        return {
            caller.name: round(read_spending(connection, caller.name, caller.budget, now).spent, 6)
            for caller in callers
            if caller.budget is not None
        }
