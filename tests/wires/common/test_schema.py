"""Schemas rewritten for servers: depth, references, and what strict mode accepts."""

from __future__ import annotations

import pytest

from a2py.messages.types import JSON
from a2py.wires.common import schema


def nest(depth: int) -> JSON:
    node: JSON = {"type": "object", "properties": {}, "additionalProperties": False, "$schema": "x"}
    for _ in range(depth):
        node = {"type": "object", "properties": {"a": node}, "required": ["a"], "additionalProperties": False}
    return node


def test_hostile_depth_passes_unchanged() -> None:
    deep = nest(schema.DEPTH)
    assert schema.clean_tool_schema(deep, ("drop_$schema",)) is deep
    assert not schema.is_strict(nest(schema.DEPTH + 1))
    assert schema._rewrite({"$schema": 1}, [schema.SCHEMA_STEPS["drop_$schema"]], schema.DEPTH + 1) == {"$schema": 1}


def test_a_clean_schema_is_the_same_object() -> None:
    plain: JSON = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "allOf": [{"type": "object"}],
        "items": {"type": "object"},
    }
    assert schema.clean_tool_schema(plain, tuple(schema.SCHEMA_STEPS)) is plain


def test_refs_are_bounded_and_cycles_end() -> None:
    tree: JSON = {
        "$defs": {
            "n": {"properties": {"l": {"$ref": "#/$defs/m"}, "r": {"$ref": "#/$defs/m"}}},
            "m": {"$ref": "#/$defs/n"},
        }
    }
    tree["properties"] = {
        "root": {"$ref": "#/$defs/n"},
        "gone": {"$ref": "#/nowhere/x", "description": "d"},
        "list": {"anyOf": [{"$ref": "http://x"}]},
    }
    out = schema.clean_tool_schema(tree, ("inline_refs",))
    assert "$defs" not in out and out["properties"]["gone"] == {"type": "object", "description": "d"}
    assert out["properties"]["list"] == {"anyOf": [{"$ref": "http://x"}]}


@pytest.mark.parametrize(
    ("node", "ok"),
    [
        ({"type": "object", "properties": 5, "additionalProperties": False}, True),
        ({"type": "object", "additionalProperties": False, "required": 7, "properties": {"a": {}}}, False),
        ({"anyOf": [{"type": "object"}]}, False),
        ({"type": "object", "additionalProperties": False, "required": [[]]}, True),
        ({"items": {"properties": {}}}, False),
        (True, True),
    ],
)
def test_strict(node: object, ok: bool) -> None:
    assert schema.is_strict(node) is ok
