"""Differences of two bodies of one form: the native wire, and what passes."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.deployment import Deployment
from a2py.quirks import Quirks
from a2py.wires.changes import Change, Question, find_changes
from a2py.wires.changes.same import LIMIT

NATIVE = Deployment(
    "n",
    "i",
    "anthropic",
    "claude-x",
    "https://api.anthropic.com",
    wire="native",
    quirks=Quirks(native_drop=frozenset({"thinking.display", "container"}), max_tokens_limit=100),
    params={"temperature": 0.5},
    extra_body={"speed": "fast"},
    drop=frozenset({"top_k", "metadata.user_id"}),
)


def compare(client: Any, upstream: Any, *, is_passed: bool = False) -> dict[tuple[str, str], Change]:
    changes = find_changes(client, Question(NATIVE, upstream), is_passed=is_passed)
    return {(change.kind, change.path or change.to): change for change in changes}


def test_what_is_the_same_is_not_named() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    assert find_changes(body, Question(NATIVE, dict(body))) == []


@pytest.mark.parametrize(
    ("client", "upstream", "key", "words", "doc"),
    [
        ({"model": "a"}, {"model": "b"}, ("changed", "model"), "the deployment's model", "translation.md#a19"),
        (
            {"max_tokens": 9},
            {"max_tokens": 4},
            ("changed", "max_tokens"),
            "max_tokens_limit: 100",
            "translation.md#a12",
        ),
        ({}, {"temperature": 0.5}, ("added", "temperature"), "`temperature`", "configuration.md#all-settings"),
        ({}, {"speed": "fast"}, ("added", "speed"), "`extra_body`", "configuration.md#all-settings"),
        ({"top_k": 3}, {}, ("dropped", "top_k"), "additional_drop_params", "configuration.md#all-settings"),
        ({"container": "c"}, {}, ("dropped", "container"), "native_drop", "providers.md#every-quirk"),
        (
            {"thinking": {"type": "x", "display": "y"}},
            {"thinking": {"type": "x"}},
            ("dropped", "thinking.display"),
            "native_drop",
            "providers.md#every-quirk",
        ),
        (
            {"metadata": {"user_id": "u", "b": 1}},
            {"metadata": {"b": 1}},
            ("dropped", "metadata.user_id"),
            "additional_drop_params",
            "configuration.md#all-settings",
        ),
        (
            {"system": [{"cache_control": {"type": "e"}}]},
            {"system": [{"cache_control": {"type": "e", "ttl": "1h"}}]},
            ("added", "system[].cache_control.ttl"),
            "cache_control_ttl",
            "translation.md#a16",
        ),
        (
            {"messages": [{"content": [{"type": "thinking", "signature": "s"}]}]},
            {"messages": [{"content": [{"type": "thinking", "signature": ""}]}]},
            ("changed", "messages[].content[].signature"),
            "only to the model that wrote it",
            "translation.md#a14",
        ),
        ({"odd": 1}, {}, ("dropped", "odd"), "", "translation.md#c2"),
    ],
)
def test_reasons(client: Any, upstream: Any, key: tuple[str, str], words: str, doc: str) -> None:
    change = compare(client, upstream)[key]
    assert words in change.because and change.doc == doc


def test_what_happens_at_many_places_is_one_change() -> None:
    client = {"messages": [{"role": "user", "content": [{"type": "text", "mark": 1}]}] * 500}
    upstream = {"messages": [{"role": "user", "content": [{"type": "text"}]}] * 500}
    (change,) = compare(client, upstream).values()
    assert change.path == "messages[].content[].mark" and change.from_value == "1 (500 places)" and change.to == ""
    (change,) = compare(upstream, client).values()
    assert change.to == "messages[].content[].mark" and change.to_value == "1 (500 places)" and change.path == ""


def test_lists_of_other_lengths_are_counted() -> None:
    (change,) = compare({"messages": [{"a": 1}] * 3}, {"messages": [{"a": 1}]}).values()
    assert (change.from_value, change.to_value) == ("3 items", "1 item")


def test_few_changes_are_named_and_deep_ones_end() -> None:
    assert len(compare({f"f{n}": 1 for n in range(2 * LIMIT)}, {})) == LIMIT
    deep: Any = 1
    other: Any = 2
    for _ in range(200):
        deep, other = {"a": deep}, {"a": other}
    (change,) = compare(deep, other).values()
    assert change.kind == "changed" and change.path.count("a") == 24


def test_what_passes() -> None:
    changes = compare({"model": "gpt", "n": 1}, {"model": "m", "n": 1, "speed": "fast"}, is_passed=True)
    assert changes["changed", "model"].because == "the deployment's model"
    assert changes["added", "speed"].doc == "configuration.md#all-settings"
    assert compare({"a": 1}, {"a": 2}, is_passed=True)["changed", "a"].doc == "openai-clients.md"
