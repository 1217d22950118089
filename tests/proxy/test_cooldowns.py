"""What other processes are told of cooldowns, and what they tell. The rules of cooldowns are tested in test_router.py."""

from __future__ import annotations

import pytest

from a2py.config import Settings
from a2py.errors import ApiError
from a2py.proxy.cooldowns import Cooldowns
from tests.clock import Clock
from tests.proxy.test_limits import dep


class Reporter:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def report_cooldown(self, id: str, model: str, kind: str, seconds: float) -> None:
        self.calls.append(("cooldown", id, model, kind, seconds))

    def report_recovery(self, id: str, model: str) -> None:
        self.calls.append(("recovery", id, model))

    def report_failure(self, id: str) -> None:
        self.calls.append(("failure", id))


def test_what_happens_to_a_deployment_is_reported() -> None:
    cooldowns, reporter = Cooldowns(Clock()), Reporter()
    cooldowns.reporter = reporter
    one, settings = dep(), Settings(cooldown_time=5)
    cooldowns.record_failure(one, ApiError("api", "x"), settings)
    cooldowns.record_failure(one, ApiError("rate_limit", "x", retry_after=7), settings)
    cooldowns.record_failure(one, ApiError("not_found", "x"), settings)
    cooldowns.record_failure(one, ApiError("invalid_request", "x"), settings)
    cooldowns.record_success(one)
    cooldowns.record_success(one)
    assert reporter.calls == [
        ("failure", "d"),
        ("failure", "d"),
        ("cooldown", "d", "", "rate_limit", 7),
        ("cooldown", "d", "u", "not_found", 5),
        ("recovery", "d", "u"),
    ]


@pytest.mark.parametrize(("age", "is_cooling"), [(0.0, True), (59.0, True), (60.0, False)])
def test_failures_elsewhere_count_like_own_ones(age: float, is_cooling: bool) -> None:
    """And are not reported again."""
    cooldowns, reporter = Cooldowns(Clock()), Reporter()
    cooldowns.reporter = reporter
    for _ in range(3):
        cooldowns.count_failure("d", age=age)
    assert reporter.calls == []
    cooldowns.record_failure(dep(), ApiError("api", "x"), Settings(allowed_fails=3))
    assert cooldowns.is_cooling(dep()) is is_cooling


def test_a_cooldown_elsewhere_is_not_reported_again() -> None:
    cooldowns, reporter = Cooldowns(Clock()), Reporter()
    cooldowns.reporter = reporter
    cooldowns.begin("d", "", "api", 5.0)
    assert cooldowns.is_cooling(dep()) and cooldowns.report() == [
        {"deployment": "d", "why": "api", "seconds_left": 5.0}
    ]
    cooldowns.end("d", "")
    assert not cooldowns.is_cooling(dep()) and reporter.calls == []
