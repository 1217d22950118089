"""Schemas that no validator accepts become valid ones; valid ones stay as they are."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.messages import schema
from a2py.messages.types import JSON
from tests import recordings

TEXT: JSON = {"type": "string"}
NUMBER: JSON = {"type": "number"}


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        # required
        ({"required": None}, {}),
        ({"required": {}}, {}),
        ({"required": {"0": "a", "2": "b"}}, {"required": ["a", "b"]}),
        ({"required": {"a": True, "b": False}}, {"required": ["a"]}),
        ({"required": "a"}, {"required": ["a"]}),
        ({"required": ["a", "b", "a"]}, {"required": ["a", "b"]}),
        ({"required": ["a", None, 1]}, {"required": ["a"]}),
        ({"required": [None]}, {}),
        ({"required": 1}, {}),
        (
            {"properties": {"a": {"required": True}, "b": {"required": False}}},
            {"properties": {"a": {}, "b": {}}, "required": ["a"]},
        ),
        (
            {"required": ["b"], "properties": {"a": {"required": True}}},
            {"required": ["b", "a"], "properties": {"a": {}}},
        ),
        ({"required": ["a"], "properties": {"a": {"required": True}}}, {"required": ["a"], "properties": {"a": {}}}),
        # properties, and what is in them
        ({"properties": None}, {"properties": {}}),
        ({"properties": []}, {"properties": {}}),
        ({"$defs": []}, {"$defs": {}}),
        ({"properties": {"a": None, "b": [], "c": 1}}, {"properties": {"a": {}, "b": {}, "c": {}}}),
        ({"properties": {"a": "string", "b": "what"}}, {"properties": {"a": TEXT, "b": {}}}),
        (
            {"properties": {"a": {"properties": {"b": {"properties": []}}}}},
            {"properties": {"a": {"properties": {"b": {"properties": {}}}}}},
        ),
        # items
        ({"items": None}, {"items": {}}),
        ({"items": []}, {"items": {}}),
        ({"items": "string"}, {"items": TEXT}),
        ({"items": [TEXT]}, {"items": TEXT}),
        ({"items": [TEXT, NUMBER]}, {"items": {"anyOf": [TEXT, NUMBER]}}),
        ({"items": {"required": None}}, {"items": {}}),
        # enum
        ({"enum": None}, {}),
        ({"enum": []}, {}),
        ({"enum": {}}, {}),
        ({"enum": "a"}, {"enum": ["a"]}),
        ({"enum": {"0": "a", "1": "b"}}, {"enum": ["a", "b"]}),
        ({"enum": ["a", "b", "a"]}, {"enum": ["a", "b"]}),
        ({"enum": [1, True, 1]}, {"enum": [1, True]}),
        # type
        ({"type": None}, {}),
        ({"type": "any"}, {}),
        ({"type": "STRING"}, TEXT),
        ({"type": "int"}, {"type": "integer"}),
        ({"type": ["string", None, "string"]}, {"type": ["string", "null"]}),
        ({"type": ["what", []]}, {}),
        ({"type": []}, {}),
        # schemas in other keywords
        ({"anyOf": None}, {}),
        ({"anyOf": []}, {}),
        ({"anyOf": [None, TEXT]}, {"anyOf": [TEXT]}),
        ({"anyOf": [None]}, {}),
        ({"anyOf": TEXT}, {"anyOf": [TEXT]}),
        ({"oneOf": {"0": TEXT, "1": NUMBER}}, {"oneOf": [TEXT, NUMBER]}),
        ({"allOf": [{"required": None}]}, {"allOf": [{}]}),
        ({"additionalProperties": None}, {}),
        ({"additionalProperties": []}, {"additionalProperties": {}}),
        # plain values
        ({"description": None, "title": 1, "format": []}, {}),
        ({"minimum": "5", "maximum": "x", "multipleOf": 0}, {"minimum": 5}),
        ({"minimum": "1.5", "maximum": "inf"}, {"minimum": 1.5}),
        ({"minLength": "2", "maxLength": -1, "minItems": 1.5, "maxItems": None}, {"minLength": 2}),
        ({"uniqueItems": "yes", "deprecated": None}, {}),
        ({"examples": "a"}, {"examples": ["a"]}),
        ({"examples": None}, {}),
        ({"minimum": 3, "exclusiveMinimum": True}, {"exclusiveMinimum": 3}),
        ({"maximum": 3, "exclusiveMaximum": False}, {"maximum": 3}),
        ({"exclusiveMaximum": True}, {}),
    ],
)
def test_an_invalid_schema_becomes_valid(wrong: JSON, right: JSON) -> None:
    before = orjson.dumps(wrong)
    valid = schema.make_valid(wrong)
    assert valid == right and schema.make_valid(valid) is valid
    assert [key for key in valid if key in wrong] == [key for key in wrong if key in valid]
    assert orjson.dumps(wrong) == before


@pytest.mark.parametrize(
    "valid",
    [
        {},
        {"type": ["string", "null"], "default": None, "const": None, "enum": [None, "a", {"b": 1}, {"b": 1}]},
        {"type": "object", "properties": {"required": {"type": "array"}, "enum": TEXT}, "required": []},
        {"items": True, "additionalProperties": False, "not": {}, "x-own": None, "nullable": None},
        {"anyOf": [TEXT, True], "multipleOf": 0.5, "minItems": 2.0, "uniqueItems": True, "examples": [1]},
        {"exclusiveMinimum": 1, "$ref": "#/$defs/a", "$defs": {"a": TEXT}, "prefixItems": [TEXT], "items": False},
        {"default": {"required": None, "properties": []}},
    ],
)
def test_a_valid_schema_is_the_same_object(valid: JSON) -> None:
    assert schema.make_valid(valid) is valid


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, {}),
        ([], {}),
        ("object", {}),
        ({"type": "string"}, {"type": "object"}),
        ({"required": None}, {}),
        ({"type": "object"}, {"type": "object"}),
    ],
)
def test_the_schema_of_a_tool_is_an_object_schema(source: Any, expected: JSON) -> None:
    tool = {"name": "f", "input_schema": source}
    schema.Mender().mend_tool(tool)
    assert tool == {"name": "f", "input_schema": expected}


@pytest.mark.parametrize("capture", recordings.captures())
def test_schemas_of_claude_code_are_valid(capture: recordings.Capture) -> None:
    for tool in capture.body.get("tools") or []:
        if "input_schema" in tool:
            assert schema.make_valid(tool["input_schema"]) is tool["input_schema"]


def test_too_large_schemas_are_passed_on() -> None:
    deep: JSON = {"required": None}
    for _ in range(schema.DEPTH + 1):
        deep = {"properties": {"a": deep}}
    wide: JSON = {"required": None, "properties": {str(n): {} for n in range(schema.NODES)}}
    assert schema.make_valid(deep) is deep and schema.make_valid(wide) is wide


KEYWORDS = st.sampled_from(
    ["type", "required", "properties", "items", "enum", "anyOf", "minimum", "exclusiveMinimum", "not", "a", "0"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, 0, 1.5, "a", "string", "object", [], {}, "5"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(KEYWORDS, VALUES, max_size=5))
@settings(max_examples=300, deadline=None)
def test_what_was_made_is_valid_and_always_the_same(wrong: JSON) -> None:
    before = orjson.dumps(wrong)
    valid = schema.make_valid(wrong)
    assert schema.make_valid(valid) is valid
    assert orjson.dumps(schema.make_valid(orjson.loads(before))) == orjson.dumps(valid)
    assert orjson.dumps(wrong) == before
