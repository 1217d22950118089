"""The ledger's file and its thread: versions, sizes, damage, floods; sums and prices."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from a2py.deployment import Deployment
from a2py.ledger import store as stores
from a2py.ledger import writer as writers
from a2py.ledger.prices import MAX_PRICES, PriceList, read_table
from a2py.ledger.query import parse_since, sum_by, sum_session
from a2py.ledger.row import COLUMNS, MOST, AnswerColumns, RequestColumns, Row, UsageColumns, flatten
from a2py.ledger.store import Store, Unusable
from a2py.ledger.writer import Writer
from a2py.messages.types import Usage
from a2py.prices import Price, Rates
from a2py.providers import PROVIDERS

NOW = 1_800_000_000.0


def row(
    at: float = NOW,
    *,
    session: str = "s",
    model: str = "m",
    cost: float | None = 0.5,
    status: int = 200,
    error: str = "",
    tokens: int = 10,
    agent: str = "",
    estimated: int = 0,
) -> Row:
    took = UsageColumns(tokens, 2 * tokens, 3 * tokens, 4 * tokens, 0, estimated, cost, 0.1, 0.2)
    return Row(
        at,
        RequestColumns("", session, agent, model, ""),
        AnswerColumns("d", "up", "chat", status, "", error, 1, ""),
        took,
    )


def count(path: Path | str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])


def has_rows(path: Path) -> int:
    """Count rows, 0 as long as the file is being made."""
    try:
        return count(path) if path.exists() else 0
    except sqlite3.OperationalError:
        return 0


class Diary:
    """What a writer says."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __call__(self, event: str, values: dict[str, object]) -> None:
        self.events.append(event)


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def start(tmp_path: Path, diary: Diary) -> Iterator[Callable[..., Writer]]:
    """Writers that are closed in the end."""
    writers: list[Writer] = []

    def make(path: Path | None = None, **more: Any) -> Writer:
        store = partial(Store, str(path or tmp_path / "usage.db"))
        writers.append(Writer(store, diary, **{"batch_seconds": 60.0, "retry_seconds": 0.01, **more}))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close().result(30)


# -- the file ----------------------------------------------------------------------------------------------------------


def test_rows_come_back_and_odd_values_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a" / "usage.db"
    store = Store(str(path))
    hostile = "a\0b\udcff\n'; DROP TABLE answers; --" + "x" * 500
    store.insert([row(session=hostile, tokens=1 << 80)])
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        (values,) = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM answers").fetchall()
    values_by_name = dict(zip(COLUMNS, values, strict=True))
    assert values_by_name["session"].startswith("a?b?\n'; DROP") and len(values_by_name["session"]) == 256
    assert values_by_name["input"] == MOST and values == flatten(row(session=hostile, tokens=1 << 80))


@pytest.mark.skipif(os.name != "posix", reason="modes are Unix'")
def test_the_file_is_private_from_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    path.touch(0o644)
    path.chmod(0o644)
    store = Store(str(path))
    store.insert([row()])
    assert {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == dict.fromkeys(
        ("usage.db", "usage.db-wal", "usage.db-shm"), 384
    )
    store.close()


def test_an_older_version_is_brought_up_and_a_newer_one_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "usage.db"
    first = Store(str(path))
    first.insert([row()])
    first.close()
    more = ("ALTER TABLE answers ADD COLUMN region TEXT NOT NULL DEFAULT ''", "CREATE TABLE extra (id INTEGER)")
    with monkeypatch.context() as patch:
        patch.setattr(stores, "MIGRATIONS", (*stores.MIGRATIONS, more))
        others = [Store(str(path)) for _ in range(4)]
        errors: list[Exception] = []

        def open_one(store: Store) -> None:
            try:
                store.insert([row()])
            except Exception as error:
                errors.append(error)
            finally:
                store.close()

        threads = [threading.Thread(target=open_one, args=(store,)) for store in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not errors and count(path) == 5
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (len(stores.MIGRATIONS),)
            assert connection.execute("SELECT region FROM answers").fetchall() == [("",)] * 5
    before = path.read_bytes()
    with pytest.raises(Unusable, match="newer a2py"):
        Store(str(path)).insert([row()])
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", range(1, len(stores.MIGRATIONS)))
def test_each_earlier_version_is_brought_up(tmp_path: Path, version: int) -> None:
    """With the statements that made it. A2py of that version made no other."""
    path, old, new = tmp_path / "usage.db", tmp_path / "old.db", tmp_path / "new.db"
    with closing(sqlite3.connect(path)) as connection:
        for statement in (one for step in stores.MIGRATIONS[:version] for one in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {stores.APPLICATION}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(
            f"INSERT INTO answers ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})", flatten(row())
        )
        connection.commit()
    shutil.copy(path, old)
    assert sum_by(str(old), "model")[0].requests == 1, "it is read as it is"
    for one in (path, new):
        store = Store(str(one))
        store.insert([row()])
        store.close()
    with closing(sqlite3.connect(path)) as connection, closing(sqlite3.connect(new)) as fresh:
        schema = "SELECT type, name, tbl_name FROM sqlite_schema ORDER BY 1, 2"
        assert connection.execute(schema).fetchall() == fresh.execute(schema).fetchall()
        assert connection.execute("PRAGMA user_version").fetchone() == (len(stores.MIGRATIONS),)
    assert count(path) == 2 and sum_by(str(path), "model")[0].input_tokens == 20


def test_a_file_that_another_process_makes_meanwhile_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what it is, all is read at one moment: half of a new ledger looked like somebody else's database."""
    path, number, others = str(tmp_path / "usage.db"), stores._number, list[threading.Thread]()

    def slow(connection: sqlite3.Connection, pragma: str) -> int:
        value = number(connection, pragma)
        if not others:
            others.append(threading.Thread(target=lambda: Store(path).connect().close()))
            others[0].start()
            others[0].join(0.5)  # as long as it may take, or for as long as it has to wait for us
        return value

    monkeypatch.setattr(stores, "_number", slow)
    store = Store(path)
    connection = store.connect()
    assert (number(connection, "application_id"), number(connection, "user_version")) == (
        stores.APPLICATION,
        len(stores.MIGRATIONS),
    )
    store.close()
    others[0].join()


def test_the_switch_to_a_log_waits_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite does not: of several processes that made the file at once, one was told that it is locked."""
    path, pauses = tmp_path / "usage.db", list[float]()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                other.execute("ROLLBACK")

        monkeypatch.setattr(time, "sleep", pause)
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            stores._switch_to_wal(connection)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert pauses == [stores.SWITCH_PAUSE] * 3
        monkeypatch.setattr(stores, "BUSY_SECONDS", 0.0)
        path = tmp_path / "another.db"
        with (
            closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection,
            closing(sqlite3.connect(path, isolation_level=None)) as writing,
        ):
            writing.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                stores._switch_to_wal(connection)
        assert len(pauses) == 3, "not for ever"


def test_what_is_no_database_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, connections, connect = tmp_path / "usage.db", list[sqlite3.Connection](), sqlite3.connect
    path.write_bytes(b"no database" * 1000)

    def note(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connections.append(connect(*arguments, **options))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", note)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        sum_by(str(path), "model")
    (connection,) = connections
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(Unusable, match="another program"):
        Store(str(path)).insert([row()])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "data"),
    [(".bashrc", b"alias ll='ls -l'\n" * 1000), ("places.db", b"SQLite format 3\0" + b"\xff" * 5000)],
)
def test_what_is_no_ledger_is_not_moved(
    tmp_path: Path, start: Callable[..., Writer], diary: Diary, name: str, data: bytes
) -> None:
    """A configuration in a stranger's folder may name any file."""
    path = tmp_path / name
    path.write_bytes(data)
    path.chmod(0o644)
    writer = start(path)
    writer.add(row())
    assert isinstance(writer.flush().exception(30), OSError)
    assert path.read_bytes() == data and os.listdir(tmp_path) == [name] and path.stat().st_mode & 0o777 == 0o644
    assert diary.events == ["ledger can't be written"] and "is no ledger" in writer.trouble


def test_old_rows_go_and_so_do_the_oldest_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, day = str(tmp_path / "usage.db"), 86400.0
    monkeypatch.setattr(stores, "DELETION_ROWS", 50)
    store = Store(path, days=90, clock=lambda: NOW)
    store.insert([row(NOW - n * day, session=str(n)) for n in range(300)])
    store.prune()
    assert count(path) == 91
    store.close()
    forever = Store(path, days=0, limit=100_000, clock=lambda: NOW + 1000 * day)
    forever.prune()
    assert count(path) == 91
    forever.insert([row(NOW + n, session="x" * 200) for n in range(2000)])
    forever.prune()
    forever.close()
    assert 50 < count(path) < 600 and os.path.getsize(path) <= 100_000
    assert sum_by(path, "session")[0].name == "x" * 200, "the newest are there"


# -- the thread --------------------------------------------------------------------------------------------------------


def test_no_file_and_no_thread_before_the_first_row(tmp_path: Path, start: Callable[..., Writer]) -> None:
    writer = start()
    assert writer.close().done() and not list(tmp_path.iterdir())
    writer.add(row())
    assert writer.lost_rows == 1 and isinstance(writer.flush().exception(), RuntimeError)


def test_waiting_for_rows_makes_no_file(tmp_path: Path, start: Callable[..., Writer]) -> None:
    """Who reads the ledger waits for what was added before. Where nothing was, there is nothing to make."""
    writer = start()
    for _ in range(2):
        writer.flush().result(30)
        assert not list(tmp_path.iterdir())
    writer.submit(lambda connection: None).result(30)
    assert count(tmp_path / "usage.db") == 0


def test_sums_of_no_file_and_of_one_that_is_being_made(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    assert sum_by(str(path), "model") == [] and sum_session(str(path), "s") is None
    path.touch()
    assert sum_by(str(path), "model") == []
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # the file has a page, and no table yet
    assert path.stat().st_size and sum_by(str(path), "model") == []
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError):
        sum_by(str(path), "model")


def test_jobs_see_the_rows_before_them_and_are_transactions(tmp_path: Path, start: Callable[..., Writer]) -> None:
    writer = start()

    def add_up(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM answers")
        raise ValueError("no")

    writer.add(row())
    assert writer.submit(add_up).result(30) == 1
    assert isinstance(writer.submit(fail).exception(30), ValueError)
    writer.add(row())
    assert writer.submit(add_up).result(30) == 2, "what failed was taken back"


def test_rows_are_written_without_anybody_asking(tmp_path: Path, start: Callable[..., Writer]) -> None:
    writer, path = start(batch_seconds=0.01), tmp_path / "usage.db"
    for n in range(3):
        writer.add(row())
        deadline = time.monotonic() + 30
        while has_rows(path) < n + 1:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_a_broken_file_is_kept_aside(tmp_path: Path, start: Callable[..., Writer], diary: Diary) -> None:
    path = tmp_path / "usage.db"
    path.write_bytes(b"this is no database" * 1000)
    writer = start()
    writer.add(row())
    writer.flush().result(30)
    assert count(path) == 1 and diary.events == ["ledger was broken"]
    assert (tmp_path / "usage.db.broken").read_bytes().startswith(b"this is no database")


def test_a_ledger_with_damaged_pages(tmp_path: Path, start: Callable[..., Writer], diary: Diary) -> None:
    path = tmp_path / "usage.ledger"
    store = Store(str(path))
    store.insert([row(session="x" * 200) for _ in range(100)])
    store.close()
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 20_000)
    (tmp_path / "usage.ledger.broken").touch()
    writer = start(path)
    writer.add(row())
    writer.flush().result(30)
    assert count(path) == 1 and diary.events == ["ledger was broken"] and writer.lost_rows == 0
    assert len(list(tmp_path.glob("usage.ledger.broken*"))) >= 2, "an older one is not replaced"


def test_two_processes_do_not_move_each_others_new_file(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    path.write_bytes(b"this is no database" * 1000)
    first, second = Store(str(path)), Store(str(path))
    assert first.mend()
    first.insert([row()])
    assert second.mend() == "", "it is whole again"
    second.insert([row()])
    first.close()
    second.close()
    assert count(path) == 2


def test_a_place_that_cannot_be_written_is_tried_again(
    tmp_path: Path, start: Callable[..., Writer], diary: Diary
) -> None:
    folder = tmp_path / "file"
    folder.touch()
    writer = start(folder / "usage.db")
    writer.add(row())
    for _ in range(3):
        assert isinstance(writer.flush().exception(30), OSError)
    assert diary.events == ["ledger can't be written"] and writer.trouble
    folder.unlink()
    deadline = time.monotonic() + 30
    while writer.trouble:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert diary.events == ["ledger can't be written", "ledger is written again"]
    assert count(folder / "usage.db") == 1 and writer.lost_rows == 0


def test_a_full_disk(tmp_path: Path, start: Callable[..., Writer], diary: Diary) -> None:
    """SQLite's own limit of pages says `database or disk is full`, as a full disk does."""
    writer, path = start(), tmp_path / "usage.db"
    writer.add(row())
    writer.flush().result(30)

    def limit(pages: int, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    writer.submit(partial(limit, 1)).result(30)
    for _ in range(400):
        writer.add(row(session="x" * 200))
    assert "full" in str(writer.flush().exception(30))
    assert diary.events == ["ledger can't be written"]
    writer.flush().result(30)  # the connection was opened anew, without the limit
    assert count(path) == 401 and writer.lost_rows == 0


@pytest.mark.parametrize("odd", [float("nan"), object(), b"\xff", None])
def test_a_value_that_no_file_can_hold_costs_its_own_row(
    tmp_path: Path, start: Callable[..., Writer], diary: Diary, odd: Any
) -> None:
    """A bug may make one. The rows around it are kept, and those after it."""
    writer = start()
    for seconds in (NOW, odd, NOW):
        writer.add(row()._replace(time=seconds))
    writer.flush().result(30)
    rows = 2 + isinstance(odd, bytes)  # which any column of SQLite can hold
    assert count(tmp_path / "usage.db") == rows and writer.lost_rows == 3 - rows and not writer.trouble
    assert diary.events == ["ledger rows lost"] * (3 - rows)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size")
def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """By a limit of the process, as by a quota: the rows wait, and are written once there is room."""
    script = """
import resource, sys, time
from tests.ledger.test_ledger import *
writer = Writer(partial(Store, sys.argv[1]), diary := Diary(), batch_seconds=0.01, retry_seconds=0.01)
writer.add(row())
writer.flush().result(60)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
for n in range(2000): writer.add(row(session=f"{n} " + "x" * 200))
assert isinstance(writer.flush().exception(60), OSError), "it is full"
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
writer.close().result(60)
assert not writer.lost_rows and diary.events[0] == "ledger can't be written"
"""
    result = subprocess.run([sys.executable, "-c", script, str(tmp_path / "usage.db")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert count(tmp_path / "usage.db") == 2001


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, if this is root, for whom no folder is read-only."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_ledger_in_a_read_only_folder_is_read() -> None:
    """A copy on a read-only disk, say. SQLite wants to make files beside it."""
    folder = Path(tempfile.mkdtemp())  # tmp_path is root's alone
    try:
        path = folder / "usage.db"
        store = Store(str(path))
        store.insert([row()])
        store.close()
        path.chmod(0o444)
        folder.chmod(0o555)
        with as_nobody():
            assert sum_by(str(path), "model")[0].requests == 1
            total = sum_session(str(path), "s")
            assert total is not None and total.upstream == "up"
        assert os.listdir(folder) == ["usage.db"]
        folder.chmod(0o755)
        (folder / "usage.db-wal").write_bytes(b"x")  # rows that only its own reader can tell
        folder.chmod(0o555)
        with as_nobody(), pytest.raises(sqlite3.OperationalError):
            sum_by(str(path), "model")
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_flood_stays_within_the_bound(
    tmp_path: Path, start: Callable[..., Writer], diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MAX_ROWS", 100)
    monkeypatch.setattr(writers, "MAX_JOBS", 2)
    (tmp_path / "file").touch()
    writer = start(tmp_path / "file" / "usage.db", retry_seconds=60.0)
    for _ in range(1000):
        writer.add(row())
    assert writer.lost_rows == 900 and len(writer._rows) == 100
    futures = [writer.submit(lambda connection: None) for _ in range(5000)]
    assert all(future.exception(30) is not None for future in futures)
    writer.close().result(30)
    assert writer.lost_rows == 1000 and diary.events[-1] == "ledger rows lost"


def test_a_bug_in_the_thread_ends_the_ledger_alone(diary: Diary) -> None:
    def broken() -> Store:
        raise ZeroDivisionError("a bug")

    writer = Writer(broken, diary, batch_seconds=0.01)
    writer.add(row())
    assert writer._completion.exception(30) is None
    assert diary.events[0] == "ledger stopped"
    writer.add(row())
    assert writer.lost_rows == 2


@pytest.mark.integration
def test_several_processes_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    script = (
        "import sys; from tests.ledger.test_ledger import *\n"
        "writer = Writer(partial(Store, sys.argv[1]), Diary(), batch_seconds=0.001)\n"
        "for n in range(500): writer.add(row()); n % 50 or time.sleep(0.002)\n"
        "writer.close().result(60); assert not writer.lost_rows"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(3)]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    assert count(path) == 1500


# -- sums --------------------------------------------------------------------------------------------------------------


def test_sums_by_everything(tmp_path: Path) -> None:
    path, store = str(tmp_path / "usage.db"), Store(str(tmp_path / "usage.db"))
    noon = datetime(2026, 11, 30, 12, 30).timestamp()
    store.insert(
        [
            row(noon, session="a", model="big", cost=1.0),
            row(noon + 3600, session="a", model="big", cost=None, tokens=0, status=503, error="overloaded"),
            row(noon + 86400, session="b", model="small", cost=None, agent="x", estimated=1),
            row(noon + 86400, session="b", model="small", cost=0.25, status=499),
            row(noon + 86400, session="b", model="gone", cost=None, tokens=0, status=404, error="not_found"),
        ]
    )
    store.close()
    big, missing, small = sorted(sum_by(path, "model"), key=lambda group: group.name)
    assert big.values("model") == {
        "model": "big",
        "requests": 2,
        "errors": 1,
        "input_tokens": 10,
        "cache_read_tokens": 20,
        "cache_write_tokens": 30,
        "output_tokens": 40,
        "cost": 1.0,
        "estimated": 0,
    }
    assert small.values("model")["cost"] is None and small.cost == 0.25 and small.unpriced == 1 and small.errors == 0
    assert missing.values("model")["cost"] is None
    assert [group.name for group in sum_by(path, "day")] == ["2026-11-30", "2026-12-01"]
    assert [group.name for group in sum_by(path, "hour")] == [
        "2026-11-30 12:00",
        "2026-11-30 13:00",
        "2026-12-01 12:00",
    ]
    assert [group.name for group in sum_by(path, "agent")] == ["", "x"]
    assert [group.requests for group in sum_by(path, "session", since=noon + 60)] == [3, 1]
    assert [(group.name, group.requests) for group in sum_by(path, "key")] == [("", 5)]
    assert sum_by(path, "deployment", session="nobody") == []
    total = sum_session(path, "a")
    assert total is not None and (total.upstream, total.prompt, total.total.requests) == ("up", 60, 2)
    assert sum_session(path, "nobody") is None


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone can't be changed")
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"])
@pytest.mark.parametrize("date", ["2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-12-31"])
def test_days_and_hours_are_those_of_the_clock_on_the_wall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str, date: str
) -> None:
    """Where clocks change, a day has 23 hours, or 25, or half an hour more."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        store, first = Store(str(tmp_path / "usage.db"), days=0), datetime.fromisoformat(date).timestamp()
        times = [first + 1800 * n for n in range(-4, 100)]
        store.insert([row(at) for at in times])
        store.close()
        for by, form in (("day", "%Y-%m-%d"), ("hour", "%Y-%m-%d %H:00")):
            expected = Counter(datetime.fromtimestamp(at, ZoneInfo(zone)).strftime(form) for at in times)
            groups = {group.name: group.requests for group in sum_by(store.path, by)}
            assert groups == expected and list(groups) == sorted(groups)
        assert parse_since("today", first + 80_000) == first
    finally:
        monkeypatch.undo()
        time.tzset()


def test_no_upstream_can_make_a_sum_overflow(tmp_path: Path) -> None:
    """SQLite refuses a sum of more than 63 bits, and with it every table."""
    store = Store(str(tmp_path / "usage.db"))
    store.insert([row(tokens=1 << 60) for _ in range(3000)])
    store.close()
    assert sum_by(store.path, "model")[0].output_tokens == 3000 * MOST
    assert MOST * 4 * 1_000_000 < 1 << 63, "as many rows as the file holds"


def test_sums_add_up_exactly_to_the_cent(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "usage.db"))
    store.insert([row(cost=0.1) for _ in range(1000)])
    store.close()
    assert sum_by(store.path, "model")[0].values("model")["cost"] == 100


def test_very_many_groups_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from a2py.ledger import query

    monkeypatch.setattr(query, "MAX_GROUPS", 3)
    store = Store(str(tmp_path / "usage.db"))
    store.insert([row(session=f"s{n}", tokens=n) for n in range(10)])
    store.close()
    assert [group.name for group in sum_by(store.path, "session")] == ["s9", "s8", "s7"]


def test_since_when() -> None:
    assert [parse_since(text, NOW) for text in ("30m", "24h", "7d", "2w", " 1.5h ", "1700000000")] == [
        NOW - 1800,
        NOW - 86400,
        NOW - 7 * 86400,
        NOW - 14 * 86400,
        NOW - 5400,
        1_700_000_000,
    ]
    assert parse_since("86400.0", NOW) == 86400.0, "as `a2py usage` asks a proxy"
    assert parse_since("1972-01-02T00:00:00Z", NOW) == parse_since("63158400.0", NOW) == 63158400.0
    assert parse_since("1960-01-01", NOW) == parse_since("999999w", NOW) == 0.0
    assert parse_since(str(parse_since("9999-12-30", NOW)), NOW) == datetime(9999, 12, 30).timestamp()
    assert parse_since("2026-11-30", NOW) == datetime(2026, 11, 30).timestamp()
    assert parse_since("2026-11-30T10:00:00Z", NOW) == 1796032800
    assert 0 <= NOW - parse_since("today", NOW) < 90_000
    for text in ("", "yesterday", "7", "-1d", "2026-13-01", "1e9d"):
        with pytest.raises(ValueError, match="write 30m"):
            parse_since(text, NOW)


# -- prices ------------------------------------------------------------------------------------------------------------


def at(base: str, provider: str, model: str, **more: Any) -> Deployment:
    return Deployment(name="m", id="m", provider=provider, model=model, base=base, **more)


def test_list_prices_are_for_the_providers_own_host() -> None:
    prices = PriceList()
    openai = at("https://api.openai.com/v1", "openai", "gpt-5.4")
    price = prices.find(openai)
    assert price is not None and price.tiers and price.cost(Usage(input=1_000_000)) == pytest.approx(5.0)
    assert prices.find(openai) is price
    assert prices.find(at("https://api.openai.com/v1", "openai", "gpt-5.4-2026-03-05")) == price
    assert prices.find(at("http://127.0.0.1:8000/v1", "openai", "gpt-5.4")) is None
    assert prices.find(at("https://api.openai.com/v1", "openai", "no-such-model")) is None
    native = prices.find(at("https://api.deepseek.com/anthropic", "deepseek", "deepseek-chat"))
    assert native is not None
    azure = at("https://x.openai.azure.com/openai/v1", "azure", "mine", base_model="azure/gpt-4.1")
    assert prices.find(azure) is not None
    own = Price(Rates(1.0, 2.0))
    assert prices.find(at("https://api.openai.com/v1", "openai", "gpt-5.4", price=own)) is own


def test_look_ups_are_bounded() -> None:
    prices = PriceList()
    for n in range(MAX_PRICES * 2 + 10):
        prices.find(at("https://api.openai.com/v1", "openai", f"model-{n}"))
    assert len(prices._prices) <= MAX_PRICES


def test_the_table_is_of_our_providers_and_has_its_date() -> None:
    table = read_table()
    assert datetime.fromisoformat(table.date) and table.source.startswith("LiteLLM ")
    assert {name.partition("/")[0] for name in table.models} <= set(PROVIDERS)
    for name, values in table.models.items():
        assert name == name.lower() and all(rate is None or 0 <= rate < 0.01 for rate in values[0]), name
    defaults = [
        f"{row.name}/{row.default_model}".lower()
        for row in PROVIDERS.values()
        if row.default_model and any(key.startswith(f"{row.name}/") for key in table.models)
    ]
    assert len(set(defaults) & set(table.models)) >= len(defaults) // 2, set(defaults) - set(table.models)


def test_the_tool_makes_the_table(tmp_path: Path) -> None:
    from tools.prices import collect_prices

    models: dict[str, Any] = {
        "anthropic/claude-x": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 1e-6},
        "claude-x": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 5e-6},
        "gpt-x": {
            "litellm_provider": "openai",
            "mode": "chat",
            "input_cost_per_token": 1e-6,
            "output_cost_per_token": 2e-6,
            "output_cost_per_token_above_200k_tokens": 4e-6,
        },
        "free": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 0},
        "picture": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_token": 1},
        "bedrock/x": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 1},
        "sample_spec": {},
    }
    assert json.loads(json.dumps(collect_prices(models))) == {
        "anthropic/claude-x": [[1e-6]],
        "openai/gpt-x": [[1e-6, 2e-6], [200000, [1e-6, 4e-6]]],
    }
