"""Why an upstream's cache lost a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.evidence.cache import Turn, list_losses

BEFORE = Turn(number=11, deployment="a", end=100.0, system=1, tools=2, first=3, messages=21, history=4, cached=1000)
NOW = BEFORE._replace(number=12, messages=23, history=5, cached=0)


@pytest.mark.parametrize(
    ("now", "prefix", "age", "reasons"),
    [
        ({}, 4, 1, ("the upstream dropped it",)),
        ({"deployment": "b"}, 4, 1, ("another deployment",)),
        ({"system": 9}, 4, 1, ("the system prompt changed",)),
        ({"tools": 9}, 4, 1, ("the tool list changed",)),
        ({}, 9, 1, ("the history changed",)),
        ({"messages": 3}, 4, 1, ("the history changed",)),
        ({}, 4, 300, ("older than 5 minutes",)),
        ({}, 4, 3600, ("older than an hour",)),
        (
            {"deployment": "b", "tools": 9},
            4,
            301,
            ("another deployment", "the tool list changed", "older than 5 minutes"),
        ),
    ],
)
def test_reasons(now: dict[str, Any], prefix: int, age: float, reasons: tuple[str, ...]) -> None:
    assert list_losses(BEFORE, NOW._replace(**now), prefix, 0, age) == reasons
    assert list_losses(BEFORE, NOW._replace(**now), prefix, 899, age) == reasons
    assert list_losses(BEFORE, NOW._replace(**now), prefix, 900, age) == (), "the cache still held it"


def test_what_was_never_cached_is_not_lost() -> None:
    assert list_losses(BEFORE._replace(cached=0), NOW._replace(tools=9), 9, 0, 999) == ()
