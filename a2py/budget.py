"""What a key may spend: an amount of US dollars in a period, and when a period begins and ends.

Periods are those of UTC, so that all machines of a team agree: an hour, a day, a week from Monday, a month. `total`
never ends.

Knows: how a budget is written. Must not know: keys, what was spent.
Invariants: `find_start(now) <= now < find_end(now)`.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

PERIODS = ("hour", "day", "week", "month", "total")
#: Largest amount in a budget.
MOST = 1e9
_TEXT = re.compile(r"\$?(\d{1,10}(?:\.\d{1,9})?)(?:/([a-z]+))?")


class Budget(NamedTuple):
    """`amount`: US dollars in each period."""

    amount: float
    period: str

    def find_start(self, now: float) -> float:
        """Return when the period of `now` began, in seconds since the epoch; 0 for `total`."""
        if self.period == "total":
            return 0.0
        return _begin(self.period, now).timestamp()

    def find_end(self, now: float) -> float:
        """Return when the period of `now` ends and the budget renews; infinite for `total`."""
        if self.period == "total":
            return math.inf
        begin = _begin(self.period, now)
        if self.period == "month":
            return (begin + timedelta(days=32)).replace(day=1).timestamp()
        return (begin + timedelta(**{f"{self.period}s": 1})).timestamp()

    def __str__(self) -> str:
        return f"{self.amount:.9f}".rstrip("0").rstrip(".") + f"/{self.period}"


def _begin(period: str, now: float) -> datetime:
    time = datetime.fromtimestamp(now, timezone.utc).replace(minute=0, second=0, microsecond=0)
    if period == "hour":
        return time
    day = time.replace(hour=0)
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day


def parse_budget(text: str) -> Budget:
    """Return the budget in `text`: `20/day`, `$0.50/hour`, or `100` for a total. Raise ValueError."""
    match = _TEXT.fullmatch(text.strip().lower())
    period = (match[2] or "total") if match is not None else ""
    if match is None or period not in PERIODS or not 0 < float(match[1]) <= MOST:
        raise ValueError(f"write US dollars and a period ({', '.join(PERIODS)}), for example 20/day")
    return Budget(float(match[1]), period)
