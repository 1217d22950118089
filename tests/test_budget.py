"""Budgets: how one is written, and when its period begins and ends."""

from __future__ import annotations

import math
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.budget import PERIODS, Budget, parse_budget


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("text", "budget", "canonical"),
    [
        ("20/day", Budget(20.0, "day"), "20/day"),
        (" $0.50/Hour ", Budget(0.5, "hour"), "0.5/hour"),
        ("100", Budget(100.0, "total"), "100/total"),
        ("0.000001/month", Budget(0.000001, "month"), "0.000001/month"),
    ],
)
def test_a_budget_is_an_amount_and_a_period(text: str, budget: Budget, canonical: str) -> None:
    assert parse_budget(text) == budget and str(budget) == canonical and parse_budget(canonical) == budget


@pytest.mark.parametrize(
    "text", ["", "day", "20/", "20/year", "-1/day", "0/day", "0", "nan/day", "inf", "1e3/day", "20 / day", "2000000000"]
)
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="for example 20/day"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("period", "now", "start", "end"),
    [
        ("hour", "2026-11-30 09:59:59", "2026-11-30 09:00", "2026-11-30 10:00"),
        ("day", "2026-02-28 23:00", "2026-02-28", "2026-03-01"),
        ("week", "2026-11-29 23:59", "2026-11-23", "2026-11-30"),
        ("week", "2026-11-30 00:00", "2026-11-30", "2026-12-07"),
        ("month", "2026-12-31 23:59", "2026-12-01", "2027-01-01"),
        ("month", "2028-02-29", "2028-02-01", "2028-03-01"),
    ],
)
def test_periods_are_those_of_utc(period: str, now: str, start: str, end: str) -> None:
    budget = Budget(1.0, period)
    assert budget.find_start(at(now)) == at(start)
    assert budget.find_end(at(now)) == at(end)


def test_a_total_never_renews() -> None:
    assert Budget(1.0, "total").find_start(at("2026-11-30")) == 0.0
    assert Budget(1.0, "total").find_end(at("2026-11-30")) == math.inf


@given(st.floats(0, 4e9), st.sampled_from(PERIODS))
def test_each_moment_is_in_its_period(now: float, period: str) -> None:
    budget = Budget(1.0, period)
    start, end = budget.find_start(now), budget.find_end(now)
    assert start <= now < end
    assert budget.find_start(start) == start
    assert end == math.inf or budget.find_start(end) == end
