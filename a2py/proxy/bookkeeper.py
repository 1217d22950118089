"""Hand each answer to the ledger: its row, and its cost for the metrics.

Knows: what of a record is kept. Must not know: SQLite, requests, what a record's values mean upstream.
Invariants: nothing here waits or raises; without a ledger this module is not imported.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.ledger.prices import PriceList
from a2py.ledger.row import LENGTH, AnswerColumns, RequestColumns, Row, UsageColumns
from a2py.ledger.writer import Writer, describe
from a2py.messages.types import Usage
from a2py.proxy.log import Log, Record
from a2py.proxy.metrics import Metrics

if TYPE_CHECKING:
    from a2py.config import Settings
    from a2py.ledger.store import Store

T = TypeVar("T")
#: Seconds that the end of the server waits for the last rows.
CLOSE_SECONDS = 5.0
#: Threads that read the file at a time. Seconds to wait for the rows that are queued, for one of these threads, and for
#: the file: three times this is less than `a2py usage` waits.
MAX_READERS, READ_SECONDS = 4, 8.0


class Bookkeeper:
    """`path`: of the ledger, absolute; `writer`: its thread, which also runs transactions for others
    (`Writer.submit`)."""

    def __init__(self, path: str, settings: Settings, log: Log, metrics: Metrics) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self.prices = PriceList()
        self._log = log
        self._metrics = metrics
        self._readers = asyncio.Semaphore(MAX_READERS)
        self.writer = Writer(
            partial(_make_store, self.path, settings), lambda event, values: log.warning(event, **values)
        )

    def keep(self, record: Record) -> None:
        """Queue the row of an answer that has ended."""
        account = record.account
        choice = account.choice
        total, cost = self.sum_up(account.usages)
        if cost:
            self._metrics.add("a2py_cost_dollars_total", cost, deployment=record.deployment, key=account.key)
        self.writer.add(
            Row(
                time.time() - record.duration,
                RequestColumns(
                    account.key,
                    account.session,
                    account.agent,
                    record.model,
                    choice.rule if choice is not None else "",
                ),
                AnswerColumns(
                    record.deployment,
                    record.upstream,
                    record.wire,
                    record.status,
                    record.reason[:LENGTH],  # an upstream may say anything, and many rows may wait
                    record.error.partition(":")[0],
                    record.attempts,
                    ",".join(record.degraded)[:LENGTH],
                ),
                UsageColumns(
                    total.input,
                    total.cache_read,
                    total.cache_creation,
                    total.output,
                    total.thinking,
                    int(account.is_estimated),
                    cost,
                    record.first_content,
                    record.duration,
                ),
            )
        )

    def sum_up(self, usages: list[tuple[Deployment, Usage]]) -> tuple[Usage, float | None]:
        """Return the tokens of all attempts of one answer, and their cost; None if it is not known."""
        if len(usages) == 1:
            return usages[0][1], self.cost(*usages[0])
        if not usages:
            return Usage(), None
        took = [pair for pair in usages if not pair[1].is_empty] or usages[-1:]
        total, costs = took[0][1], [self.cost(*pair) for pair in took]
        for _, usage in took[1:]:
            total = total + usage
        return total, None if None in costs else sum(filter(None, costs))

    def cost(self, deployment: Deployment, usage: Usage) -> float | None:
        """Return the cost of `usage` at `deployment` in US dollars; None if it is not known."""
        price = self.prices.find(deployment)
        return None if price is None else price.cost(usage)

    def explain(self, error: BaseException) -> str:
        """Return what is wrong with the file, for clients: without its path, which the log has."""
        return describe(error).replace(self.path, "its file")

    async def read(self, work: Callable[[], T]) -> T:
        """Return what `work` reads from the file, in which every row of this process is by then. Raise `ApiError`.

        It runs in a thread of its own: in one of the event loop's, a file system that hangs would hold up the look-up
        of names, and the end of the process."""
        try:
            await asyncio.wait_for(asyncio.wrap_future(self.writer.flush()), READ_SECONDS)
            await asyncio.wait_for(self._readers.acquire(), READ_SECONDS)
            future = _start(work, partial(_call_in, asyncio.get_running_loop(), self._readers.release))
            return await asyncio.wait_for(asyncio.wrap_future(future), READ_SECONDS)
        except Exception as error:  # sqlite3.Error, which is not imported here
            is_late = isinstance(error, asyncio.TimeoutError)
            reason = "its file system does not answer" if is_late else self.explain(error)
            raise ApiError("api", f"The ledger can't be read: {reason}") from None

    async def close(self) -> None:
        """Write the last rows. A file that can't be written is not waited for longer than CLOSE_SECONDS."""
        _, pending = await asyncio.wait([asyncio.wrap_future(self.writer.close())], timeout=CLOSE_SECONDS)
        if pending and self.writer.waiting:
            self._log.warning("ledger rows lost", rows=self.writer.waiting, error="its file system does not answer")


def _start(work: Callable[[], T], on_end: Callable[[], None]) -> Future[T]:
    """Run `work` in a thread for which the end of the process does not wait. `on_end`: called in it."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
        finally:
            on_end()

    try:
        threading.Thread(target=run, name="a2py-ledger-reader", daemon=True).start()
    except RuntimeError as error:  # no thread can be started
        on_end()
        raise OSError(str(error)) from None
    return future


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:  # it is closed
        pass


def _make_store(path: str, settings: Settings) -> Store:
    from a2py.ledger.store import Store  # imports SQLite

    return Store(path, settings.ledger_days, settings.ledger_mb * 1024 * 1024)


def has_sqlite() -> bool:
    """Return whether this Python has SQLite. It is an option of its build."""
    return find_spec("_sqlite3") is not None
