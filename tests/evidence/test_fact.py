"""Facts and their sources: what outweighs what."""

from __future__ import annotations

from itertools import combinations

import pytest

from a2py.evidence import fact
from a2py.evidence.fact import SOURCES, Fact, Facts
from a2py.quirks import Quirks


@pytest.mark.parametrize(("weak", "strong"), list(combinations(range(len(SOURCES)), 2)))
def test_a_stronger_source_wins_whatever_the_order(weak: int, strong: int) -> None:
    for order in ((weak, strong), (strong, weak)):
        facts: Facts = {}
        for at in order:
            fact.add(facts, {"images": at}, SOURCES[at], "r")
        assert facts["images"] == Fact(strong, SOURCES[strong], "r")


def test_the_later_fact_of_one_source_wins() -> None:
    facts: Facts = {}
    fact.add(facts, {"stop_limit": 1}, "host", "first")
    fact.add(facts, {"stop_limit": 2}, "host", "second", "2026-11-29")
    assert facts == {"stop_limit": Fact(2, "host", "second", "2026-11-29")}


def test_what_is_fixed_and_what_is_explained() -> None:
    facts: Facts = {}
    fact.add(facts, {"images": False, "tools": True}, "file", "f")
    fact.add(facts, {"stop_limit": 0, "min_tokens": 0}, "family", "docs")
    assert fact.find_fixed_quirks(facts) == {"images", "tools"}
    assert list(fact.find_differences(facts, Quirks())) == ["images", "stop_limit"], (
        "a fact that says what holds anyway needs no reason"
    )


def test_the_values_alone_and_as_json() -> None:
    facts: Facts = {}
    fact.add(facts, {"sampling": frozenset({"top_p", "temperature"}), "images": False}, "host", "docs")
    assert fact.values(facts) == {"sampling": frozenset({"temperature", "top_p"}), "images": False}
    assert {name: fact.plain(value) for name, value in fact.values(facts).items()} == {
        "sampling": ["temperature", "top_p"],
        "images": False,
    }
