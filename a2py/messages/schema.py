"""Make an invalid JSON schema of the client valid.

Tool schemas come from MCP servers in every language. Some hold what no validator accepts: `"required": null`, PHP's
`"properties": []`, a name twice in `required`. OpenAI and Anthropic check each schema against draft 2020-12 and refuse
the whole request, so one bad tool makes the client useless. Example:

    {"type": "object", "properties": {"a": {"type": "object", "properties": []}}, "required": {}}

becomes

    {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}}

Knows: the keywords of draft 2020-12, and what older drafts and other languages write in their place.
Must not know: what one vendor takes beyond the draft (wires/common/schema.py).
Invariants: a valid schema comes back as the same object; the same schema always gives the same result, with the keys in
their order; no given schema is changed; a schema with more than DEPTH levels or NODES nodes comes back as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from a2py.messages.types import JSON

#: Levels and nodes of a schema. A larger one may be hostile, and would hold the event loop: 4,000 nodes take some 8 ms.
DEPTH, NODES = 64, 4_000
TYPES = frozenset({"null", "boolean", "object", "array", "number", "string", "integer"})
#: Names of types in other languages → the type. They are compared in lower case, because Gemini writes `STRING`.
_ALIASES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "double": "number",
    "bool": "boolean",
    "dict": "object",
    "list": "array",
    "none": "null",
}
#: The value of a keyword that is left out, because nothing sensible can be made of it.
_ABSENT: Any = object()


class _TooLarge(Exception):
    """The schema has too many levels or nodes."""


def make_valid(schema: JSON) -> JSON:
    """Return `schema` as a valid JSON schema, the same object if it is one."""
    return Mender().valid(schema)


class Mender:
    """Makes schemas valid. `node_count`: nodes so far, so that the caller can pause."""

    __slots__ = ("_limit", "node_count")

    def __init__(self) -> None:
        self.node_count = self._limit = 0

    def valid(self, schema: JSON) -> JSON:
        """Return `schema` as a valid one, the same object if it is one."""
        self._limit = self.node_count + NODES
        try:
            valid: JSON = self.schema(schema, 0)
        except _TooLarge:
            return schema
        return valid

    def mend_tool(self, tool: JSON) -> None:
        """Make the `input_schema` of a tool valid, in place. Its type can only be `object`."""
        schema = tool["input_schema"]
        if not isinstance(schema, dict):
            schema = {}
        if "type" in schema and schema["type"] != "object":
            schema = {**schema, "type": "object"}
        tool["input_schema"] = self.valid(schema)

    def schema(self, node: Any, depth: int) -> Any:
        """Return `node` as a schema. What cannot be read as one becomes `{}`, which allows everything."""
        if not isinstance(node, dict):
            if node.__class__ is bool:
                return node
            kind = _type(node) if isinstance(node, str) else _ABSENT  # "a": "string"
            return {} if kind is _ABSENT else {"type": kind}
        self.node_count += 1
        if depth > DEPTH or self.node_count > self._limit:
            raise _TooLarge
        changes: JSON = {}
        for key, value in node.items():
            check = _PLAIN.get(key)
            if check is not None:
                new = check(value)
            elif key in _SUBSCHEMAS:
                new = _SUBSCHEMAS[key](self, value, depth + 1)
            else:
                continue
            if new is not value:
                changes[key] = new
        if not changes:
            return node
        _read_draft_3(node, changes)
        _read_draft_4(node, changes)
        result = {**node, **changes}
        return {key: value for key, value in result.items() if value is not _ABSENT}

    def table(self, value: Any, depth: int) -> Any:
        """Return the schemas of a keyword like `properties`, by name."""
        if not isinstance(value, dict):
            return {}
        new = {name: self.schema(child, depth) for name, child in value.items()}
        return new if any(new[name] is not value[name] for name in value) else value

    def single(self, value: Any, depth: int) -> Any:
        """Return the schema of a keyword like `additionalProperties`."""
        return _ABSENT if value is None else self.schema(value, depth)

    def items(self, value: Any, depth: int) -> Any:
        """Return the schema of `items`. A list has one for each place (draft 7): every item may match any of them."""
        if not isinstance(value, list):
            return self.schema(value, depth)
        choices = self.choices(value, depth)
        if choices is _ABSENT:
            return {}
        return choices[0] if len(choices) == 1 else {"anyOf": choices}

    def choices(self, value: Any, depth: int) -> Any:
        """Return the schemas of a keyword like `anyOf`, at least one."""
        if isinstance(value, dict):
            value = _php_list(value) or [value]
        if not isinstance(value, list):
            return _ABSENT
        new = [self.schema(child, depth) for child in value if isinstance(child, (dict, bool, str))]
        if len(new) == len(value) and all(a is b for a, b in zip(new, value, strict=True)):
            return value or _ABSENT
        return new or _ABSENT


def _read_draft_3(node: JSON, changes: JSON) -> None:
    """Add the properties that say `"required": true` themselves to the list of their object."""
    properties = node.get("properties")
    if "properties" not in changes or not isinstance(properties, dict):
        return
    names = [name for name, child in properties.items() if isinstance(child, dict) and child.get("required") is True]
    required = changes.get("required", node.get("required"))
    required_names = required if isinstance(required, list) else []
    if not set(names) <= set(required_names):
        changes["required"] = list(dict.fromkeys([*required_names, *names]))


def _read_draft_4(node: JSON, changes: JSON) -> None:
    """Write a boundary that a boolean excludes as the number that is excluded."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        limit = changes.get(bound, node.get(bound))
        if node.get(exclusive) is True and isinstance(limit, (int, float)):
            changes[exclusive], changes[bound] = limit, _ABSENT


# -- keywords without schemas in them: functions that return the same object, a better one, or _ABSENT


def _php_list(value: JSON) -> list[Any]:
    """Return the values of `{"0": a, "2": b}`, which is how PHP writes a list with holes; [] for another object."""
    return list(value.values()) if all(key.isdigit() for key in value) else []


def _type(value: Any) -> Any:
    if isinstance(value, str):
        name = value.strip().lower()
        name = _ALIASES.get(name, name)
        return value if value in TYPES else name if name in TYPES else _ABSENT
    if not isinstance(value, list):
        return _ABSENT
    names = dict.fromkeys(_type("null" if name is None else name) for name in value if not isinstance(name, list))
    names.pop(_ABSENT, None)
    return value if value and list(names) == value else list(names) or _ABSENT


def _required(value: Any) -> Any:
    if isinstance(value, dict):
        names = _php_list(value) or [name for name, is_required in value.items() if is_required is True]
    else:
        names = value if isinstance(value, list) else [value]
    distinct = list(dict.fromkeys(name for name in names if isinstance(name, str)))
    return value if distinct == value else distinct or _ABSENT


def _enum(value: Any) -> Any:
    if isinstance(value, dict):
        value = _php_list(value)
    elif value is not None and not isinstance(value, list):
        value = [value]
    if not value:
        return _ABSENT  # an empty list would allow nothing
    distinct: dict[Any, Any] = {}
    for n, item in enumerate(value):
        # true equals 1 in Python, but not in JSON
        distinct.setdefault(n if isinstance(item, (dict, list)) else (item.__class__, item), item)
    return value if len(distinct) == len(value) else list(distinct.values())


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else _ABSENT


def _flag(value: Any) -> Any:
    return value if isinstance(value, bool) else _ABSENT


def _list(value: Any) -> Any:
    return value if isinstance(value, list) else _ABSENT if value is None else [value]


def _number(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return _ABSENT
        if not math.isfinite(value):
            return _ABSENT
        return int(value) if value.is_integer() else value
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else _ABSENT


def _step(value: Any) -> Any:
    number = _number(value)
    return number if number is not _ABSENT and number > 0 else _ABSENT


def _size(value: Any) -> Any:
    number = _number(value)
    return number if number is not _ABSENT and number >= 0 and number == number // 1 else _ABSENT


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "type": _type,
    "required": _required,
    "enum": _enum,
    "examples": _list,
    "multipleOf": _step,
    **dict.fromkeys(("title", "description", "format", "pattern", "contentEncoding", "contentMediaType"), _text),
    **dict.fromkeys(("$schema", "$id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$comment"), _text),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"), _size),
    **dict.fromkeys(("minProperties", "maxProperties"), _size),
    **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), _flag),
}
_TABLES = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_SINGLE = (
    *("additionalProperties", "unevaluatedProperties", "unevaluatedItems", "propertyNames", "contains"),
    *("not", "if", "then", "else"),
)
_SUBSCHEMAS: dict[str, Callable[[Mender, Any, int], Any]] = {
    "items": Mender.items,
    **dict.fromkeys(_TABLES, Mender.table),
    **dict.fromkeys(_SINGLE, Mender.single),
    **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), Mender.choices),
}
