"""What one process has learned of a server, as bytes for another process of the same a2py (the workers of
`--num-workers`).

Knows: the form of the bytes. Must not know: sockets, processes, when a server is asked.
Invariants: `decode` takes any bytes without an exception, and returns only what `encode` makes: the parts of a message
come from a server, so each is checked again.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson

from a2py.evidence.server import (
    MAX_CONTEXT,
    MAX_ID,
    MAX_MODELS,
    PROGRAMS,
    VERSION_LENGTH,
    ListedModel,
    ServerWord,
)
from a2py.jsonsize import exceeds

#: Bytes of a message. 2,000 models with the longest names take 2.2 MB.
MAX_BYTES = 4 * 1024 * 1024
#: JSON values of a message: five for each model.
MAX_VALUES = 6 * MAX_MODELS
#: Characters of a base and of a reason.
MAX_BASE, MAX_REASON = 2048, 200
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\dZ)?")


class ServerReport(NamedTuple):
    """What a server said of itself. `base`: where it is asked; `date`: when that was learned (ISO, with or without the
    time)."""

    base: str
    word: ServerWord
    date: str


def encode(report: ServerReport) -> bytes:
    word = report.word
    return orjson.dumps(
        {
            "base": report.base,
            "date": report.date,
            "program": word.program,
            "version": word.version,
            "slots": word.slots,
            "reason": word.reason,
            "has_vision": word.has_vision,
            "models": [list(model) for model in word.models],
        }
    )


def decode(data: bytes) -> ServerReport | None:
    """Return what `encode` was given, None if `data` is nothing of its making."""
    if len(data) > MAX_BYTES or exceeds(data, MAX_VALUES):
        return None
    try:
        return _read_report(orjson.loads(data))
    except (ValueError, TypeError, KeyError):
        return None


def _read_report(message: Any) -> ServerReport:
    """Raise ValueError, TypeError or KeyError for a message that is not as `encode` makes it."""
    program = _text(message["program"], MAX_ID)
    row, is_relay = PROGRAMS[program] if program else ("", False)
    models = message["models"]
    if type(models) is not list or len(models) > MAX_MODELS:
        raise ValueError("models")
    word = ServerWord(
        program=program,
        row=row,
        is_relay=is_relay,
        version=_text(message["version"], VERSION_LENGTH),
        models=tuple(map(_read_model, models)),
        slots=_number(message["slots"]),
        reason=_text(message["reason"], MAX_REASON),
        has_vision=_yes_or_no(message["has_vision"]),
    )
    base, date = _text(message["base"], MAX_BASE), _text(message["date"], MAX_ID)
    if not base or not _DATE.fullmatch(date):
        raise ValueError("base or date")
    return ServerReport(base, word, date)


def _read_model(entry: Any) -> ListedModel:
    id, context, is_chat, is_loaded = entry
    if not id:
        raise ValueError("model")
    return ListedModel(_text(id, MAX_ID), _number(context), _yes_or_no(is_chat), _yes_or_no(is_loaded))


def _text(value: Any, limit: int) -> str:
    if type(value) is not str or len(value) > limit or not value.isprintable():
        raise ValueError("text")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_CONTEXT:
        raise ValueError("number")
    return value


def _yes_or_no(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("yes or no")
    return value
