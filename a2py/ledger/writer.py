"""The one thread of a process that writes the ledger.

`add` appends to a queue, and a request pays for nothing else. Twice a second the thread writes what has come, in one
transaction: so a process that is killed loses the rows of its last second at most.

Knows: threads, what a file that can't be written means. Must not know: SQL, asyncio.
Invariants: nothing here raises into a request or waits in it; rows that can't be written stay in the queue, of which
MAX_ROWS is the end, and are written as soon as they can be; of a trouble there is one line when it begins and one when
it is over.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from a2py.ledger.row import Row

if TYPE_CHECKING:
    import sqlite3

    from a2py.ledger.store import Store

T = TypeVar("T")
#: Seconds for which rows are collected. Seconds between two tries to write while there is trouble. Seconds between two
#: deletions of old rows.
BATCH_SECONDS, RETRY_SECONDS, PRUNE_SECONDS = 0.5, 5.0, 3600.0
#: Rows that wait for a file that can't be written. More are lost, and counted. Some 8 MB.
MAX_ROWS = 10_000
#: Jobs that wait.
MAX_JOBS = 10_000


class Writer:
    """`make_store`: called in the thread, because importing SQLite takes 10 ms; `say`: gets (event, values) for the
    log, in the thread; `lost_rows`: rows that were never written; `trouble`: why rows wait, "" if they don't."""

    def __init__(
        self,
        make_store: Callable[[], Store],
        say: Callable[[str, dict[str, object]], None],
        *,
        batch_seconds: float = BATCH_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._make_store = make_store
        self._say = say
        self._batch_seconds = batch_seconds
        self._retry_seconds = retry_seconds
        self.lost_rows = 0
        self.trouble = ""
        self._rows: deque[Row] = deque()
        self._jobs: deque[tuple[Callable[[sqlite3.Connection], Any] | None, Future[Any]]] = deque()  # None: only wait
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._is_awake = False
        self._is_closing = False
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._completion: Future[None] = Future()
        self._prune_time = 0.0

    # -- called by anybody ---------------------------------------------------------------------------------------------

    def add(self, row: Row) -> None:
        """Queue `row`. Takes a microsecond."""
        if len(self._rows) >= MAX_ROWS or self._is_closing:
            self.lost_rows += 1
            return
        self._rows.append(row)
        if not self._is_awake:
            self._is_awake = True
            self._start()
            self._wake.set()

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Run `job(connection)` in the thread at once, in a transaction of its own, after every row that was added
        before. The future gets what it returns or raises, also if the file can't be written."""
        return self._submit(job)

    def flush(self) -> Future[None]:
        """Return a future that ends once every row that was added before is written. Without rows no file is made."""
        return self._submit(None)

    def _submit(self, job: Callable[[sqlite3.Connection], T] | None) -> Future[T]:
        future: Future[T] = Future()
        if self._is_closing or len(self._jobs) >= MAX_JOBS:
            future.set_exception(RuntimeError("the ledger is closed, or has too much to do"))
            return future
        self._jobs.append((job, future))
        self._start()
        self._hurry.set()
        self._wake.set()
        return future

    def close(self) -> Future[None]:
        """Write what is left, and end the thread. The future ends with it."""
        self._is_closing = True
        if self._thread is None:
            if not self._completion.done():
                self._completion.set_result(None)
        else:
            self._hurry.set()
            self._wake.set()
        return self._completion

    @property
    def waiting(self) -> int:
        """How many rows are not written yet."""
        return len(self._rows)

    def _start(self) -> None:
        if self._thread is None:
            with self._start_lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="a2py-ledger", daemon=True)
                    self._thread.start()

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        store: Store | None = None
        try:
            store = self._make_store()
            while not self._is_closing:
                if self.trouble:  # whatever comes: a file that can't be written is not tried for each row
                    self._hurry.wait(self._retry_seconds)
                else:
                    self._wake.wait()
                    self._hurry.wait(self._batch_seconds)
                self._wake.clear()
                self._hurry.clear()
                self._is_awake = False
                self._work(store)
            self._work(store)  # what came while it was being closed
        except BaseException as error:  # a bug: answers go on without a ledger
            self._say("ledger stopped", {"error": f"{type(error).__name__}: {error}"})
        finally:
            self._end(store)

    def _work(self, store: Store) -> None:
        """Write all rows, then run all jobs."""
        count = len(self._rows)
        if count:
            self._try(store, lambda: self._write(store, count))
        elif self.trouble or any(job is not None for job, _ in self._jobs):
            self._try(store, store.connect)
        for _ in range(len(self._jobs)):
            job, future = self._jobs.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            if self.trouble:
                future.set_exception(OSError(self.trouble))
                continue
            try:
                future.set_result(_transact(store, job) if job is not None else None)
            except BaseException as error:
                future.set_exception(error)
        if not self.trouble and store.is_open and time.monotonic() >= self._prune_time:
            self._prune_time = time.monotonic() + PRUNE_SECONDS
            self._try(store, store.prune)

    def _write(self, store: Store, count: int) -> None:
        """Write the `count` oldest rows, and take them out of the queue."""
        import sqlite3

        rows = self._rows
        # Of a value that no file can hold, for example NaN where no NULL may be. That is a bug: `flatten` has a gap.
        unfit: tuple[type[Exception], ...] = (TypeError, ValueError, OverflowError)
        unfit += (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
        try:
            store.insert([rows[i] for i in range(count)])
        except unfit as error:
            self._write_singly(store, count, unfit, str(error))
            return
        for _ in range(count):
            rows.popleft()

    def _write_singly(self, store: Store, count: int, unfit: tuple[type[Exception], ...], reason: str) -> None:
        """Write the `count` oldest rows but those that no file can hold."""
        losses = 0
        try:
            for _ in range(count):
                try:
                    store.insert([self._rows[0]])
                except unfit:
                    losses += 1
                self._rows.popleft()
        finally:
            self.lost_rows += losses
            self._say("ledger rows lost", {"rows": losses, "error": reason})

    def _try(self, store: Store, work: Callable[[], object]) -> None:
        """Do `work`, once more after a broken file was moved aside. Note trouble, and its end."""
        import sqlite3

        from a2py.ledger.store import Unusable

        try:
            try:
                work()
            except sqlite3.OperationalError:  # locked, no room, can't be opened: it may pass
                raise
            except sqlite3.DatabaseError as error:
                broken = store.mend()
                if broken:
                    self._say("ledger was broken", {"path": store.path, "kept": broken, "error": str(error)})
                work()
        except (sqlite3.Error, OSError, Unusable) as error:
            store.close()
            if not self.trouble:
                self.trouble = describe(error)
                self._say("ledger can't be written", {"path": store.path, "error": self.trouble})
            return
        if self.trouble:
            self.trouble = ""
            self._say("ledger is written again", {"path": store.path, "lost": self.lost_rows})

    def _end(self, store: Store | None) -> None:
        self._is_closing = True
        self.lost_rows += len(self._rows)
        if self._rows:
            self._say("ledger rows lost", {"rows": len(self._rows), "error": self.trouble})
        self._rows.clear()
        while self._jobs:
            _, future = self._jobs.popleft()
            if future.set_running_or_notify_cancel():
                future.set_exception(RuntimeError("the ledger is closed"))
        if store is not None:
            store.close()
        if not self._completion.done():
            self._completion.set_result(None)


def _transact(store: Store, job: Callable[[sqlite3.Connection], T]) -> T:
    from a2py.ledger.store import Transaction

    connection = store.connect()
    with Transaction(connection):
        return job(connection)


def describe(error: BaseException) -> str:
    """Return why the file can't be used. An OSError's path is left out."""
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
