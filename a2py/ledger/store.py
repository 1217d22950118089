"""The ledger's file: its tables, its versions, its size.

Several processes may have it open. Each writes whole batches in one transaction.

Knows: SQLite. Must not know: threads, when rows are written (writer.py).
Invariants: the file has mode 0600 from its first byte; a file of another program, or of a newer a2py, is not changed; a
broken file is moved aside and kept.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence

from a2py.ledger.row import COLUMNS, Row, flatten

#: `PRAGMA application_id`: "a2py".
APPLICATION = 0x61327079
#: How SQLite's files begin.
MAGIC = b"SQLite format 3\0"
#: Seconds to wait for another process that writes.
BUSY_SECONDS = 2.0
#: Seconds between two tries to switch a file to its write-ahead log.
SWITCH_PAUSE = 0.01
#: Rows that are deleted in one transaction, so that others can write in between.
DELETION_ROWS = 5000
#: Bytes of the write-ahead log that stay on the disk once it was emptied.
JOURNAL_BYTES = 4 * 1024 * 1024

#: Statements that make version n + 1 of version n. A new version is a new line; older lines never change.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE answers (
            id INTEGER PRIMARY KEY, time REAL NOT NULL, key TEXT NOT NULL, session TEXT NOT NULL, agent TEXT NOT NULL,
            model TEXT NOT NULL, deployment TEXT NOT NULL, upstream TEXT NOT NULL, wire TEXT NOT NULL,
            route TEXT NOT NULL, status INTEGER NOT NULL, stop TEXT NOT NULL, error TEXT NOT NULL,
            attempts INTEGER NOT NULL, input INTEGER NOT NULL, cache_read INTEGER NOT NULL,
            cache_write INTEGER NOT NULL, output INTEGER NOT NULL, thinking INTEGER NOT NULL,
            estimated INTEGER NOT NULL, cost REAL, first REAL NOT NULL, seconds REAL NOT NULL, degraded TEXT NOT NULL
        )
        """,
        "CREATE INDEX answers_by_time ON answers (time)",
        "CREATE INDEX answers_by_session ON answers (session, time)",
    ),
    (
        # What keys with a budget have spent in the running period, and what their running requests have reserved
        # (spending.py).
        "CREATE TABLE spent (key TEXT NOT NULL, period TEXT NOT NULL, start REAL NOT NULL, cost REAL NOT NULL,"
        " PRIMARY KEY (key, period)) WITHOUT ROWID",
        "CREATE TABLE reserved (id TEXT PRIMARY KEY, key TEXT NOT NULL, cost REAL NOT NULL, until REAL NOT NULL)"
        " WITHOUT ROWID",
        "CREATE INDEX reserved_by_key ON reserved (key)",
    ),
)
_INSERT = f"INSERT INTO answers ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"


class Unusable(Exception):
    """The file belongs to somebody else: another program, or a newer a2py."""


class Store:
    """`days`: for which rows are kept, 0: for ever; `limit`: bytes of the file; `clock`: seconds since the epoch."""

    def __init__(
        self, path: str, days: float = 90.0, limit: int = 200 * 1024 * 1024, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self._days = days
        self._limit = limit
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def connect(self) -> sqlite3.Connection:
        """Return the connection to the file, which is made if it is missing. Raise sqlite3.Error, OSError, Unusable."""
        if self._connection is not None:
            if _inode(self.path) == self._inode:
                return self._connection
            self.close()  # somebody has deleted or replaced the file
        _create(self.path)
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            _prepare(connection, self.path)
        except BaseException:
            connection.close()
            raise
        self._connection, self._inode = connection, _inode(self.path)
        return connection

    def insert(self, rows: Sequence[Row]) -> None:
        """Write `rows` in one transaction. Raise sqlite3.Error, OSError, Unusable; nothing is written then."""
        connection = self.connect()
        with Transaction(connection):
            connection.executemany(_INSERT, map(flatten, rows))

    def prune(self) -> None:
        """Delete the rows that are too old, and the oldest ones of a file that is too large."""
        connection = self.connect()
        if self._days:
            while _delete(connection, "WHERE time < ?", (self._clock() - self._days * 86400,)) == DELETION_ROWS:
                pass
        if _size(connection) > self._limit:
            while _size(connection) > self._limit * 0.9 and _delete(connection, "", ()):
                pass
        connection.executescript("PRAGMA incremental_vacuum")  # `execute` would stop after one page

    def mend(self) -> str:
        """Move a broken file aside, so that the next `connect` makes a new one. Return its new path; "" if it is not
        broken, for example because another process has replaced it already."""
        self.close()
        inode = _inode(self.path)
        try:
            self.connect().execute("PRAGMA quick_check(1)").fetchall()
            return ""
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            pass
        self.close()
        if _inode(self.path) != inode:
            return ""
        if not _may_be_ledger(self.path):
            raise Unusable(f"{self.path} is no ledger: name another file in `a2py: ledger`")
        target = f"{self.path}.broken"
        if os.path.exists(target):
            target = f"{target}-{int(self._clock())}"
        os.replace(self.path, target)
        for suffix in ("-wal", "-shm"):
            try:
                os.replace(self.path + suffix, target + suffix)
            except FileNotFoundError:
                pass
        return target

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                pass


class Transaction:
    """`with Transaction(connection):` takes the file's write lock at once, and commits or rolls back at the end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        connection = self._connection
        try:
            if kind is None:
                connection.execute("COMMIT")
        finally:
            if connection.in_transaction:  # after an error, also of COMMIT itself
                connection.execute("ROLLBACK")


def _create(path: str) -> None:
    """Make an empty file with mode 0600 and its folder, unless they exist.

    SQLite gives its log files the mode of this one. An existing file is not opened here: closing it would drop the
    locks that this process has on it (fcntl(2))."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass


def _may_be_ledger(path: str) -> bool:
    """Return whether a broken file was a ledger: by its header, or by its name if it has none of SQLite's.

    A configuration may name any file by mistake, and one in a stranger's folder on purpose. What is something else
    must stay where it is."""
    with open(path, "rb") as file:
        header = file.read(72)
    if header.startswith(MAGIC):
        return header[68:72] == APPLICATION.to_bytes(4, "big")  # sqlite.org/fileformat2.html, 1.3 (2026-10)
    return path.endswith((".db", ".sqlite", ".sqlite3"))


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return -1


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """Make the tables, or bring those of an older a2py to this version."""
    execute = connection.execute
    application, version, schema = _identify(connection)
    if application != APPLICATION and (version or schema):
        raise Unusable(f"{path} is the database of another program: name another file in `a2py: ledger`")
    if os.name == "posix" and os.stat(path).st_mode & 0o077:
        os.chmod(path, 0o600)
    if version > len(MIGRATIONS):
        raise Unusable(f"{path} was written by a newer a2py: update this one, or name another file in `a2py: ledger`")
    if not version:
        execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table
    _switch_to_wal(connection)
    execute("PRAGMA synchronous = NORMAL")
    execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}").fetchall()
    if version == len(MIGRATIONS):
        return
    with Transaction(connection):
        version = _number(connection, "user_version")  # another process may have been faster
        for step in MIGRATIONS[version:]:
            for statement in step:
                execute(statement)
        execute(f"PRAGMA application_id = {APPLICATION}")
        execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _identify(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Return the application, the version and SQLite's schema version of one moment: another process may be making the
    file, and half of it would look like somebody else's."""
    connection.execute("BEGIN")
    try:
        return (
            _number(connection, "application_id"),
            _number(connection, "user_version"),
            _number(connection, "schema_version"),
        )
    finally:
        connection.execute("COMMIT")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Write ahead from now on. On a network file system the file stays as it is, which works, too.

    SQLite does not wait here for another process that reads or switches, too, because both could wait for each other.
    So this waits."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= end:
                raise
        time.sleep(SWITCH_PAUSE)


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _size(connection: sqlite3.Connection) -> int:
    """Return the bytes of the pages that hold something."""
    pages = _number(connection, "page_count") - _number(connection, "freelist_count")
    return pages * _number(connection, "page_size")


def _delete(connection: sqlite3.Connection, where: str, values: tuple[float, ...]) -> int:
    """Delete the oldest rows of `where`, at most DELETION_ROWS. Return how many there were."""
    oldest = f"SELECT id FROM answers {where} ORDER BY time LIMIT {DELETION_ROWS}"
    with Transaction(connection):
        return connection.execute(f"DELETE FROM answers WHERE id IN ({oldest})", values).rowcount
