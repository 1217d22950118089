"""One row of the ledger: what is kept of one answer.

Knows: the columns. Must not know: SQLite, where the values come from.
Invariants: no content, no key and no address is in a row.
"""

from __future__ import annotations

from typing import NamedTuple

#: Largest number in a column. An upstream may report any, and the sum over a million rows must stay below 2^63.
MOST = 1 << 40
#: Characters of a text in a column.
LENGTH = 256


class RequestColumns(NamedTuple):
    """`key`: the key's name; `model`: the name asked; `route`: the rule of `a2py: routes` that decided."""

    key: str
    session: str
    agent: str
    model: str
    route: str


class AnswerColumns(NamedTuple):
    """`upstream`: the upstream's model; `status` 499: the client left; `stop`: why the model stopped; `error`: kind of
    the error; `degraded`: what could not be carried upstream."""

    deployment: str
    upstream: str
    wire: str
    status: int
    stop: str
    error: str
    attempts: int
    degraded: str


class UsageColumns(NamedTuple):
    """`input`: tokens without the cached ones; `thinking`: of the `output`; `estimated`: 1 if the upstream did not
    count all tokens itself; `cost`: US dollars, None if not known; `first`, `seconds`: until the first content and the
    end."""

    input: int
    cache_read: int
    cache_write: int
    output: int
    thinking: int
    estimated: int
    cost: float | None
    first: float
    seconds: float


class Row(NamedTuple):
    """`time`: of the request, seconds since the epoch."""

    time: float
    request: RequestColumns
    answer: AnswerColumns
    usage: UsageColumns


#: The columns of `flatten`.
COLUMNS = ("time", *RequestColumns._fields, *AnswerColumns._fields, *UsageColumns._fields)


def flatten(row: Row) -> tuple[float | str | None, ...]:
    """Return the values of `row` as any SQLite file can hold them: texts of a bounded length that are valid UTF-8
    without NUL, and numbers of 64 bits."""
    return tuple(_clean(value) for value in (row.time, *row.request, *row.answer, *row.usage))


def _clean(value: float | str | None) -> float | str | None:
    if isinstance(value, str):
        text = value[:LENGTH]
        return text if text.isprintable() else text.encode("utf-8", "replace").decode().replace("\0", "?")
    if isinstance(value, int):
        return min(max(value, 0), MOST)
    return value
