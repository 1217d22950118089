"""Callers: which names their lists have."""

from __future__ import annotations

import pytest

from a2py.budget import Budget
from a2py.caller import ANYBODY, MASTER, Caller


@pytest.mark.parametrize(
    ("models", "name", "is_listed"),
    [
        ((), "anything", True),
        (("a", "b"), "b", True),
        (("a",), "A", False),
        (("a",), "ab", False),
        (("claude-*",), "claude-opus-5[1m]", True),
        (("claude-*",), "my-claude-opus", False),
        (("*",), "", True),
        (("a*b*c",), "a-b-b-c", True),
        (("a*b*c",), "ac", False),
        (("ab*bc",), "abc", False),
        (("[ab]",), "a", False),
        (("gpt-?",), "gpt-5", False),
    ],
)
def test_a_list_has_names_and_patterns(models: tuple[str, ...], name: str, is_listed: bool) -> None:
    assert Caller("alice", models=models).lists(name) is is_listed


def test_only_what_is_counted_is_limited() -> None:
    assert not any(caller.is_limited for caller in (ANYBODY, MASTER, Caller("a", models=("m",), expires=1.0)))
    callers = (Caller(rpm=1), Caller(tpm=1), Caller(max_parallel=1), Caller(budget=Budget(1.0, "day")))
    assert all(caller.is_limited for caller in callers)


def test_a_key_expires_with_its_moment() -> None:
    caller = Caller(expires=5.0)
    assert [caller.is_expired(now) for now in (4.9, 5.0, 5.1)] == [False, True, True]
    assert not Caller().is_expired(5.0), "0 is never"
    assert Caller(expires=-1.0).is_expired(5.0), "a date before 1970"
