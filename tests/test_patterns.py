"""Patterns of names: what they match, and whether two have a name in common."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.patterns import matches, overlap


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("a", "a", True),
        ("a", "A", False),
        ("*", "", True),
        ("a*", "abc", True),
        ("a*c", "ac", True),
        ("ab*ba", "aba", False),
        ("*b*", "abc", True),
        ("*b*d*", "abcd", True),
        ("*d*b*", "abcd", False),
        ("x*", "abc", False),
        ("*x", "abc", False),
    ],
)
def test_patterns(pattern: str, text: str, is_match: bool) -> None:
    assert matches(pattern, text) is is_match


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_patterns_are_those_of_fnmatch_without_its_brackets(pattern: str, name: str) -> None:
    assert matches(pattern, name) is fnmatchcase(name, pattern)


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
    if all(matches(pattern, name) for pattern in (first, second)):
        assert overlap(first, second)


def test_long_patterns_take_no_time() -> None:
    assert overlap("*a" * 200, "*b" * 200) is False
