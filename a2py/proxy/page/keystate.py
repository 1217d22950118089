"""The keys of clients as the page shows them: what each may do, and what it has spent.

Knows: keys, the ledger's sums of budgets. Must not know: HTTP, digests of keys.
Invariants: nothing of a key itself is shown; the ledger is read in a thread, once in READ_SECONDS.
"""

from __future__ import annotations

import math
import time
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
        has_budgets = any(caller.budget is not None for caller in keys)
        if keeper is not None and has_budgets and services.clock() - self._read_time >= READ_SECONDS:
            self._read_time = services.clock()
            from a2py.ledger.query import sum_spent

            try:
                self._spent = await keeper.read(partial(sum_spent, keeper.path, keys, now))
            except ApiError:  # no answer was written yet, or the file can't be read now
                self._spent = {}
        return [self._describe(caller, now) for caller in keys]

    def _describe(self, caller: Caller, now: float) -> JSON:
        budget = caller.budget
        end = budget.find_end(now) if budget is not None else math.inf
        spent = self._spent.get(caller.name) if budget is not None else None
        return {
            "name": caller.name,
            "is_admin": caller.is_admin,
            "models": list(caller.models),
            "spent": round(spent, 6) if spent is not None else None,
            "budget": budget.amount if budget is not None else None,
            "period": budget.period if budget is not None else None,
            "renews": end if math.isfinite(end) else None,
            "rpm": caller.rpm,
            "tpm": caller.tpm,
            "max_parallel": caller.max_parallel,
            "expires": caller.expires or None,
        }
