"""The ledger of one proxy, on or off, as the configuration says.

Knows: where the ledger is. Must not know: what is in it (bookkeeper.py), requests.
Invariants: nothing of the ledger is imported while it is off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2py.errors import ApiError
from a2py.proxy.log import Log, Record
from a2py.proxy.metrics import Metrics

if TYPE_CHECKING:
    from a2py.config import Settings
    from a2py.proxy.bookkeeper import Bookkeeper
    from a2py.proxy.budgets import Budgets


class Books:
    """`default_path`: of the ledger if the configuration names none, "" for no ledger then; `keeper`: writes the
    ledger, None while it is off; `budgets`: of keys, None until one is asked for."""

    def __init__(self, default_path: str, log: Log, metrics: Metrics) -> None:
        self._default_path = default_path
        self._log = log
        self._metrics = metrics
        self._settings: tuple[object, ...] = ("",)
        self.keeper: Bookkeeper | None = None
        self.budgets: Budgets | None = None

    def open(self, settings: Settings) -> Bookkeeper | None:
        """Begin as `settings` say: go on with the ledger, begin another one, or none. Return a ledger that must be
        closed. A file is made with its first row."""
        path = self._default_path if settings.ledger is True else settings.ledger or ""
        options = (path, settings.ledger_days, settings.ledger_mb) if path else ("",)
        if options == self._settings:
            return None
        former, self.keeper, self._settings = self.keeper, None, options
        self.close_budgets()
        if path:
            from a2py.proxy.bookkeeper import Bookkeeper, has_sqlite

            if has_sqlite():
                self.keeper = Bookkeeper(path, settings, self._log, self._metrics)
            else:
                self._log.warning("no ledger", reason="this Python has no sqlite3; `a2py: ledger: false` says so, too")
        return former

    @property
    def lost_rows(self) -> int:
        """How many answers have no row, because the file could not be written."""
        return self.keeper.writer.lost_rows if self.keeper is not None else 0

    def open_budgets(self) -> Budgets:
        """Return the budgets of keys. Raise `ApiError` without a ledger; keys with a budget are refused then before."""
        if self.budgets is None:
            from a2py.proxy.budgets import Budgets

            if self.keeper is None:
                raise ApiError("api", "No ledger is kept, so nobody knows what a budget has left", status=503)
            self.budgets = Budgets(self.keeper)
        return self.budgets

    def close_budgets(self) -> None:
        budgets, self.budgets = self.budgets, None
        if budgets is not None:
            budgets.close()

    def keep(self, record: Record) -> None:
        """Queue the row of an answer that has ended."""
        if self.keeper is not None:
            self.keeper.keep(record)
