"""How many seconds an upstream asks to wait.

Knows: `retry-after` (seconds or HTTP date), `retry-after-ms`, x-ratelimit-reset in its dialects, Gemini's RetryInfo,
"try again in 6s".
Must not know: any clock. A point in time is compared with the answer's own `date` header, and ignored without one.
Invariants: raises on nothing; an ambiguous value is None; at most LONGEST.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

from a2py.wires.refusal.body import ErrorBody

#: The longest wait that is passed on, in seconds (a day).
LONGEST = 86_400.0
_NUMBER = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*")
_SPAN = re.compile(
    r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|milliseconds?|s|sec(?:ond)?s?|m|min(?:ute)?s?|h|hours?|d|days?)(?![a-z])",
    re.IGNORECASE,
)
#: Unit → seconds. A unit is looked up by its first three letters, then by its first.
_UNITS = {"ms": 0.001, "mil": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SENTENCE = re.compile(
    r"(?:(?:try|retry)(?: \w+){0,3} (?:in|after|from)|retry[- ]?after[:=]?) (?:about "
    r"|~)?((?:\d[\d.]{0,12} ?(?:milliseconds?|ms|seconds?|sec|minutes?|min|hours?|days?|[smhd]) ?){1,4})",
    re.IGNORECASE,
)


def _moment(text: str) -> float | None:
    """Return an HTTP date as seconds since the epoch. Such a date is always in GMT."""
    try:
        return parsedate_to_datetime(text).replace(tzinfo=timezone.utc).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _number(text: str) -> float | None:
    match = _NUMBER.fullmatch(text)
    return float(match[1]) if match else None


def parse_span(text: str) -> float | None:
    """Parse a length of time in seconds: `7m12.5s` → 432.5, `350ms` → 0.35, `20 seconds` → 20."""
    parts = _SPAN.findall(text)
    if not parts:
        return None
    return sum(float(amount) * (_UNITS.get(unit.lower()[:3]) or _UNITS[unit.lower()[0]]) for amount, unit in parts)


def _date(headers: Mapping[str, str]) -> float | None:
    return _moment(headers.get("date", ""))


def _since(when: float, headers: Mapping[str, str]) -> float | None:
    now = _date(headers)
    return None if now is None else when - now


def _retry_after(headers: Mapping[str, str]) -> float | None:
    millis = _number(headers.get("retry-after-ms", ""))
    if millis is not None:
        return millis / 1000
    value = headers.get("retry-after", "")
    seconds = _number(value)
    if seconds is not None:
        return seconds
    when = _moment(value)
    return parse_span(value) if when is None else _since(when, headers)


def _reset(value: str, headers: Mapping[str, str]) -> float | None:
    """Parse a reset time.

    A plain number is, by its size, seconds (Together), or seconds or milliseconds since the epoch (OpenRouter)."""
    number = _number(value)
    if number is None:
        return parse_span(value)
    if number <= LONGEST:
        return number
    if 1e9 <= number < 1e11:
        return _since(number, headers)
    if 1e12 <= number < 1e14:
        return _since(number / 1000, headers)
    return None


def _resets(headers: Mapping[str, str]) -> float | None:
    """Return the longest of the resets whose limit is used up (OpenAI, Groq).

    Example: `x-ratelimit-remaining-tokens: 0` and `x-ratelimit-reset-tokens: 6s` → 6. Without the first the second
    means nothing."""
    waits = []
    for name, value in headers.items():
        resource = name.removeprefix("x-ratelimit-remaining-")
        if resource != name and _number(value) == 0:
            waits.append(_reset(headers.get(f"x-ratelimit-reset-{resource}", ""), headers))
    return max((wait for wait in waits if wait is not None), default=None)


def seconds(headers: Mapping[str, str], body: ErrorBody) -> float | None:
    """Return the wait from the first source that has one: headers (lower-case names), then the body.

    None if none has."""
    sentence = _SENTENCE.search(body.line)
    for wait in (
        _retry_after(headers),
        _reset(headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset") or "", headers),
        _resets(headers),
        parse_span(body.delay),
        _reset(body.reset, headers),
        parse_span(sentence[1]) if sentence else None,
    ):
        if wait is not None:
            return min(max(wait, 0.0), LONGEST)
    return None
