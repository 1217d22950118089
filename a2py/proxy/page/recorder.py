"""Keep requests while somebody looks at them: their rows, their recordings, and the sums of the last minute.

Knows: what of a record the page shows, the bounds. Must not know: HTTP, who looks, what a recording holds.
Invariants: recordings take at most ROOM bytes, and there are at most RECORDINGS of requests that have ended; the oldest
go first. There are at most ROWS rows. All of it is gone with the recorder.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from typing import Any

import orjson

from a2py.proxy.capture import MIN_CREDENTIAL, credentials_in
from a2py.proxy.log import Record
from a2py.proxy.recording import Recording, Room
from a2py.proxy.redact import Redactor

#: Bytes of all recordings of one process; recordings, and rows, of requests that have ended.
ROOM, RECORDINGS, ROWS = 64 * 1024 * 1024, 500, 2000
#: Seconds that `Recorder.minute` sums up.
MINUTE = 60
#: Columns of a row with text of the client's or the upstream's.
_TEXTS = ("model", "session", "agent", "error")

Row = dict[str, Any]


def to_json(value: Any) -> bytes:
    """Return `value` as JSON, whatever its texts hold: a header may have bytes that are no UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(_clean(value))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(name): _clean(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(inner) for inner in value]
    return value if isinstance(value, (int, float)) or value is None else _clean(str(value))


class Minute:
    """Sums over the last minute, second by second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: deque[tuple[int, list[float]]] = deque(maxlen=MINUTE + 1)

    def add(self, values: list[float]) -> None:
        now = int(self._clock())
        if self._seconds and self._seconds[-1][0] == now:
            sums = self._seconds[-1][1]
            sums[:] = [one + other for one, other in zip(sums, values, strict=True)]
        else:
            self._seconds.append((now, list(values)))

    def sum(self, count: int) -> list[float]:
        """Return the sums of `count` values."""
        oldest = self._clock() - MINUTE
        recent = [values for second, values in self._seconds if second >= oldest]
        return [sum(values[n] for values in recent) for n in range(count)]


#: What `Minute` sums up of a request, and the number of requests whose cost is not known.
SUMS = ("requests", "errors", "input_tokens", "output_tokens", "cost", "unpriced")


class Recorder:
    """`worker`: returns the number of this worker; `on_end`: called with the row of each request that has ended;
    `price`: returns the cost of a record in US dollars, None if it is not known; `secrets`: returns those of the
    configuration; `crash`: gets an error that nobody expects, and the request's id."""

    def __init__(
        self,
        worker: Callable[[], int],
        on_end: Callable[[Row], None],
        price: Callable[[Record], float | None],
        secrets: Callable[[], Collection[str]],
        crash: Callable[[BaseException, str], object],
    ) -> None:
        self._crash = crash
        self.room = Room(ROOM, self._drop_oldest)
        self.began = time.time()
        self.horizon = self.began  # rows of requests that ended after it are complete here
        self.minute = Minute()
        self.rows: OrderedDict[str, Row] = OrderedDict()
        self._worker = worker
        self._on_end = on_end
        self._price = price
        self._secrets = secrets
        self._running: dict[str, Recording] = {}
        self._past: OrderedDict[str, Recording] = OrderedDict()

    # -- what the proxy tells (services.Watcher) -----------------------------------------------------------------------

    def begin(self, id: str, recording: Recording) -> None:
        self._running[id] = recording

    def add_refusal(self, id: str, body: bytes) -> None:
        recording = self._running.get(id)
        if recording is not None and not recording.has_answer:
            recording.add_answer(body)

    def end(self, record: Record) -> None:
        try:
            self._end(record)
        except Exception as error:  # the client must get its answer
            self._crash(error, record.id)

    def _end(self, record: Record) -> None:
        recording = self._running.pop(record.id, None)
        if recording is None and (not record.model or record.account.is_count):
            return
        is_kept = recording is not None and self._keep(record.id, recording)
        secrets = {*self._secrets(), *(credentials_in(recording.headers) if recording is not None else ())}
        row = describe(record, self._worker(), self._price(record), is_recorded=is_kept)
        row = without_secrets(row, secrets)
        self.rows[record.id] = row
        if len(self.rows) > ROWS:
            _, oldest = self.rows.popitem(last=False)
            self.horizon = max(self.horizon, oldest["time"] + oldest["seconds"])
        cost = row["cost"]
        tokens = row["input_tokens"] + row["cache_read_tokens"] + row["cache_write_tokens"]
        is_error = bool(row["error"]) and record.status != 499
        is_unpriced = cost is None and bool(tokens or row["output_tokens"])
        self.minute.add([1, is_error, tokens, row["output_tokens"], cost or 0.0, is_unpriced])
        self._on_end(row)

    # -- what the page reads -------------------------------------------------------------------------------------------

    def find(self, id: str) -> Recording | None:
        """Return the recording of a request, None if it is not there."""
        return self._past.get(id) or self._running.get(id)

    def has_ended(self, id: str) -> bool:
        return id in self.rows

    def list_rows(self, limit: int, before: tuple[float, str] | None) -> list[Row]:
        """Return at most `limit` rows, the latest first. `before`: end and id of the request before which they
        ended."""
        rows = sorted(self.rows.values(), key=order, reverse=True)
        return [row for row in rows if before is None or order(row) < before][:limit]

    def close(self) -> None:
        """Forget everything."""
        for recording in (*self._running.values(), *self._past.values()):
            recording.release()
        self._running.clear()
        self._past.clear()
        self.rows.clear()

    def _keep(self, id: str, recording: Recording) -> bool:
        """Keep the recording of a request that has ended. Return False if there is no room for it."""
        recording.end()
        if not recording.move_into(self.room):
            recording.release()
            return False
        self._past[id] = recording
        if len(self._past) > RECORDINGS:
            self._drop_oldest()
        return True

    def _drop_oldest(self) -> bool:
        """Forget the recording of the request that ended first. Return False if there is none."""
        if not self._past:
            return False
        id, recording = self._past.popitem(last=False)
        recording.release()
        if id in self.rows:
            self.rows[id]["recorded"] = False
        return True


def order(row: Row) -> tuple[float, str]:
    """Return what rows are ordered by: when the request ended."""
    return (row["time"] + row["seconds"], row["id"])


def without_secrets(row: Row, secrets: Collection[str]) -> Row:
    """Return `row` without `secrets`: a client may send one where the name of a model or of a session belongs. Short
    ones are left, because they may be a part of any name (`api_key: ollama`)."""
    text = "\n".join(str(row[name]) for name in _TEXTS if name in row)
    matches = [secret for secret in secrets if len(secret) >= MIN_CREDENTIAL and secret in text]
    if not matches:
        return row
    redactor = Redactor(matches)
    return {**row, **{name: redactor.text(str(row[name])) for name in _TEXTS if name in row}}


def describe(record: Record, worker: int, cost: float | None, *, is_recorded: bool) -> Row:
    """Return the row of a request that has ended, as the page shows it. It has no content."""
    account, spent = record.account, record.spent
    usage = [usage for _, usage in account.usages]
    total = sum(usage[1:], usage[0]) if usage else None
    return {
        "id": record.id,
        "worker": worker,
        "time": round(time.time() - record.duration, 6),
        "model": record.model,
        "deployment": record.deployment,
        "upstream": record.upstream,
        "wire": record.wire,
        "route": account.choice.rule if account.choice is not None else "",
        "status": record.status,
        "stop_reason": record.reason,
        "error": record.error,
        "attempts": record.attempts,
        "key": account.key,
        "session": account.session,
        "agent": account.agent,
        "input_tokens": total.input if total else spent.input,
        "cache_read_tokens": total.cache_read if total else spent.cached,
        "cache_write_tokens": total.cache_creation if total else 0,
        "output_tokens": total.output if total else spent.output,
        "thinking_tokens": total.thinking if total else 0,
        "estimated": account.is_estimated or spent.is_estimated,
        "cost": cost,
        "first_token": round(record.first_content, 3) or None,
        "seconds": round(record.duration, 6),
        "degraded": list(record.degraded),
        "notes": record.notes[:20],
        "recorded": is_recorded,
    }
