"""Fields by their path: LiteLLM's notation, copy on write."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from a2py.slices import at_once
from a2py.wires.common.paths import change_at, delete_at, delete_field, map_content, parse_path, set_ttl

BODY: dict[str, Any] = {"a": 1, "b": [{"c": 1, "d": {"e": 2}}, {"c": 3}, "text"], "f": {"g": 4}}


def test_steps() -> None:
    assert parse_path("tools[*].function.strict") == ["tools", "function", "strict"]
    assert parse_path("messages[0].name") == ["messages", 0, "name"]
    assert parse_path("") == []


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("a", {"b": BODY["b"], "f": BODY["f"]}),
        ("b[*].c", {**BODY, "b": [{"d": {"e": 2}}, {}, "text"]}),
        ("b.c", {**BODY, "b": [{"d": {"e": 2}}, {}, "text"]}),
        ("b[0].d.e", {**BODY, "b": [{"c": 1, "d": {}}, {"c": 3}, "text"]}),
        ("b[1]", {**BODY, "b": [{"c": 1, "d": {"e": 2}}, "text"]}),
        ("f.g", {**BODY, "f": {}}),
        ("b[7].c", BODY),
        ("b[2].c", BODY),
        ("f[0]", BODY),
        ("nothing.there", BODY),
        ("nothing", BODY),
        ("f.g.h", BODY),
        ("[0].a", BODY),
        ("", BODY),
    ],
)
def test_drop(path: str, rest: dict[str, Any]) -> None:
    before, body = copy.deepcopy(BODY), dict(BODY)
    at_once(delete_field(body, path))
    assert body == rest and before == BODY


def test_what_is_not_changed_is_the_same_object() -> None:
    assert at_once(delete_at(BODY, ["b", "z"])) is BODY
    assert at_once(delete_at(BODY, ["b", "c"]))["f"] is BODY["f"]
    assert at_once(change_at(BODY, ["b", 0, "c"], lambda value: value)) is BODY


def test_changed() -> None:
    assert at_once(change_at(BODY, ["b", "c"], lambda value: value + 1))["b"] == [
        {"c": 2, "d": {"e": 2}},
        {"c": 4},
        "text",
    ]
    assert at_once(change_at(BODY, ["nothing"], lambda value: 1)) is BODY


def test_lists_are_changed_in_slices() -> None:
    body = {"a": [{"b": [{"c": 1, "d": 1}] * 1500}] * 2}
    assert len(list(delete_field(body, "a.b.c"))) == 2 * 3
    assert body == {"a": [{"b": [{"d": 1}] * 1500}] * 2}
    assert len(list(change_at(body, ["a", "b", "d"], lambda value: value + 1))) == 2 * 3


@pytest.mark.parametrize(
    ("mark", "ttl", "expected"),
    [
        ({"type": "ephemeral", "ttl": "1h"}, "", {"type": "ephemeral", "ttl": "1h"}),
        ({"type": "ephemeral", "ttl": "1h"}, "none", {"type": "ephemeral"}),
        ({"type": "ephemeral", "ttl": "1h"}, "5m", {"type": "ephemeral", "ttl": "5m"}),
        ({"type": "ephemeral"}, "1h", {"type": "ephemeral", "ttl": "1h"}),
        (None, "1h", None),
    ],
)
def test_lasting(mark: Any, ttl: str, expected: Any) -> None:
    assert set_ttl(mark, ttl) == expected


def test_content_is_copied_only_if_a_block_changes() -> None:
    inner = {"type": "text", "text": "a"}
    for holder in ({"content": "a"}, {}, {"content": [inner]}):
        assert map_content(holder, lambda block: block) is holder
    message = {"role": "user", "content": [inner, 1]}
    assert map_content(message, lambda block: {} if block is inner else block) == {"role": "user", "content": [{}, 1]}
    assert message["content"] == [inner, 1]
