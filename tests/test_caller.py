"""Callers: which names their lists have."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.budget import Budget
from a2py.caller import ANYBODY, MASTER, Caller, overlap


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


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_patterns_are_those_of_fnmatch_without_its_brackets(pattern: str, name: str) -> None:
    assert Caller(models=(pattern,)).lists(name) is fnmatchcase(name, pattern)


def test_only_what_is_counted_is_limited() -> None:
    assert not any(caller.is_limited for caller in (ANYBODY, MASTER, Caller("a", models=("m",), expires=1.0)))
    callers = (Caller(rpm=1), Caller(tpm=1), Caller(max_parallel=1), Caller(budget=Budget(1.0, "day")))
    assert all(caller.is_limited for caller in callers)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("", "", True),
        ("", "*", True),
        ("", "a", False),
        ("a*", "*b", True),
        ("a*", "b*", False),
        ("a*", "a", True),
        ("a*b", "a", False),
        ("claude*", "claude-*", True),
        ("openrouter/*", "*/gpt", True),
        ("openrouter/*", "*x/gpt", True),
        ("openrouter/x", "*y/*", False),
        ("*a*b*", "*b*a*", True),
        ("x*a*y", "x*b*z", False),
        ("ab*", "a*c*", True),
    ],
)
def test_whether_two_patterns_have_a_name_in_common(first: str, second: str, expected: bool) -> None:
    assert overlap(first, second) is expected and overlap(second, first) is expected


@given(st.text("ab*", max_size=6), st.text("ab*", max_size=6), st.text("ab", max_size=6))
def test_patterns_of_one_name_have_a_name_in_common(first: str, second: str, name: str) -> None:
    if all(Caller(models=(pattern,)).lists(name) for pattern in (first, second)):
        assert overlap(first, second)


def test_long_patterns_take_no_time() -> None:
    assert overlap("*a" * 200, "*b" * 200) is False
