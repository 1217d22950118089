"""The demo model's arguments: any schema gets a value of its type, and what the words hold is found in them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from a2py.demo import arguments


@pytest.mark.parametrize(
    "schema, value",
    [
        ({}, "hi 5"),
        (None, "hi 5"),
        ({"const": 3}, 3),
        ({"type": "null"}, None),
        ({"type": "boolean", "default": True}, True),
        ({"type": "number", "maximum": 2.5}, 2.5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "exclusiveMaximum": 5}, 4),
        ({"type": "number", "minimum": 7, "default": 9}, 7),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [5, 5]),
        ({"type": "array"}, ["hi 5"]),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 5),
        ({"allOf": [{"type": "object"}, {"properties": {"a": {"type": "integer"}}}]}, {"a": 5}),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}, 5),
        ({"$ref": "#/nowhere"}, "hi 5"),
        ({"$ref": "#"}, "hi 5"),
        ({"type": "string", "format": "uri"}, "hi 5"),
        ({"enum": [1, 2]}, 1),
        ({"items": {"type": "integer"}}, [5]),
    ],
)
def test_build(schema: Any, value: Any) -> None:
    assert arguments.build(schema, "hi 5") == value


def test_build_ends_for_a_schema_that_refers_to_itself() -> None:
    tree = {
        "type": "object",
        "properties": {"sub": {"$ref": "#"}, "subs": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["sub", "subs"],
    }
    tree["$defs"] = {"loop": {"$ref": "#/$defs/loop"}}
    assert json.dumps(arguments.build(tree, "x")).count("sub") > 4
    assert arguments.build({"$ref": "#/$defs/loop", "$defs": tree["$defs"]}, "x") == "x"


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("url", "see https://example.com/a?b=1.", "https://example.com/a?b=1"),
        ("file_path", "read ./src/a.py, 3.14 times", "./src/a.py"),
        ("path", "open `notes` now", "notes"),
        ("expression", "what is 3 * (4 + 1)?", "3 * (4 + 1)"),
        ("email", "write to a.b@c.de.", "a.b@c.de"),
        ("date", "on 2026-01-02 please", "2026-01-02"),
        ("location", "rain near bergen?", "bergen"),
        ("query", "Use the search tool to find otters", "find otters"),
        ("title", "call it 'Blue'", "Blue"),
        ("command", "Use the Bash tool to run: echo hi there", "echo hi there"),
        ("command", "Please run the command: ls -l", "ls -l"),
        ("content", "Write a file /tmp/y.txt with the content hello", "hello"),
        ("content", "create notes.md containing: two words.", "two words"),
        ("content", "Write 'a b' with the text hello", "a b"),
        ("colour", 'make it "red"', "red"),
        ("timezone", "x", "UTC"),
    ],
)
def test_fill(name: str, text: str, value: Any) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string", "default": "UTC"}}, "required": [name]}
    found = arguments.fill(schema, text)
    assert found.arguments == {name: value}
    assert found.missing == ([name] if value == "UTC" else [])


def test_values_are_used_in_their_order() -> None:
    schema = {
        "type": "object",
        "properties": {"old_string": {"type": "string"}, "new_string": {"type": "string"}},
        "required": ["old_string", "new_string"],
    }
    assert arguments.fill(schema, "replace 'a' by 'b'").arguments == {"old_string": "a", "new_string": "b"}
