"""Cleaning of tool schemas for servers that take only part of JSON Schema.

Knows: the steps, each of which rewrites one schema node. Must not know: which server needs which (providers/).
Invariants: a schema that needs no change is passed on as the same object; the client's own object is never changed in
place; depth is bounded by DEPTH.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from a2py.messages.types import JSON
from a2py.wires.common.paths import map_list

#: Levels, and objects and lists, of a schema. A larger one is passed on as it is: it may be hostile. OpenAI takes 5,000
#: properties (2026-11).
DEPTH, NODES = 64, 20_000
#: How many `$ref`s of one schema are replaced. The next ones become plain objects.
REFS = 256
#: How many members these replacements may have together. A large definition that is referred to everywhere would fill
#: the memory.
MEMBERS = 100_000


def _drop(*names: str) -> Callable[[JSON], JSON]:
    """Return a step that deletes `names`."""

    def step(node: JSON) -> JSON:
        if any(name in node for name in names):
            return {key: value for key, value in node.items() if key not in names}
        return node

    return step


def _drop_formats(node: JSON) -> JSON:
    """Delete `format` unless it is `enum` or `date-time`."""
    if "format" in node and node["format"] not in ("enum", "date-time"):
        return {key: value for key, value in node.items() if key != "format"}
    return node


def _split_type_list(node: JSON) -> JSON:
    """Return {"type": ["string", "null"]} as {"type": "string", "nullable": true}, and {"type": ["string", "integer"]}
    as {"anyOf": [{"type": "string"}, {"type": "integer"}]}."""
    types = node.get("type")
    if not isinstance(types, list):
        return node
    others = {key: value for key, value in node.items() if key != "type"}
    non_null = [name for name in types if name != "null"]
    if len(non_null) == 1:
        return {**others, "type": non_null[0], **({"nullable": True} if len(non_null) < len(types) else {})}
    return {**others, "anyOf": [{"type": name} for name in types]}


def _const_to_enum(node: JSON) -> JSON:
    """Return {"const": 1} as {"enum": [1]}."""
    if "const" not in node:
        return node
    return {**{key: value for key, value in node.items() if key != "const"}, "enum": [node["const"]]}


def _fill_empty_object(node: JSON) -> JSON:
    """Give an object without properties one unused property, for servers that reject {"properties": {}}."""
    if node.get("type") == "object" and node.get("properties") == {}:
        return {**node, "properties": {"_": {"type": "string", "description": "Not used."}}}
    return node


def _keep_known_required(node: JSON) -> JSON:
    """Remove names from `required` that are not in `properties`: Gemini answers 400 `required[0]: property is not
    defined` (iBUHub/AIStudioToAPI issue 154, 2026-05). JSON Schema allows them."""
    required, properties = node.get("required"), node.get("properties")
    if not isinstance(required, list):
        return node
    names = properties if isinstance(properties, dict) else {}
    known_names = [name for name in required if isinstance(name, str) and name in names]
    if len(known_names) == len(required):
        return node
    others = {key: value for key, value in node.items() if key != "required"}
    return {**others, "required": known_names} if known_names else others


#: Word of Quirks.schema → function that rewrites one node. Children are rewritten before their parent.
SCHEMA_STEPS: dict[str, Callable[[JSON], JSON]] = {
    "drop_$schema": _drop("$schema", "$id", "$comment"),
    "drop_additional_properties": _drop(
        "additionalProperties", "unevaluatedProperties", "propertyNames", "patternProperties"
    ),
    "drop_formats": _drop_formats,
    "drop_defaults": _drop("default", "examples"),
    "drop_pattern": _drop("pattern"),
    "drop_exclusive_bounds": _drop("exclusiveMinimum", "exclusiveMaximum"),
    "any_of_from_type_list": _split_type_list,
    "const_to_enum": _const_to_enum,
    "known_required": _keep_known_required,
    "no_empty_object": _fill_empty_object,
}
#: Keys that hold schemas by name, one schema, or a list of schemas.
_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
Step = Callable[[JSON], JSON]


def _rewrite(node: Any, steps: list[Step], depth: int) -> Any:
    """Return `node` after all steps, the same object if they change nothing."""
    if not isinstance(node, dict) or depth > DEPTH:
        return node
    changes: JSON = {}
    for key in _MAPS:
        if isinstance(node.get(key), dict):
            table = _rewrite_table(node[key], steps, depth + 1)
            if table is not node[key]:
                changes[key] = table
    for key in _SINGLE:
        if isinstance(node.get(key), dict):
            one = _rewrite(node[key], steps, depth + 1)
            if one is not node[key]:
                changes[key] = one
    for key in _LISTS:
        if isinstance(node.get(key), list):
            many = map_list(node[key], lambda item: _rewrite(item, steps, depth + 1))
            if many is not node[key]:
                changes[key] = many
    if changes:
        node = {**node, **changes}
    for step in steps:
        node = step(node)
    return node


def _rewrite_table(table: JSON, steps: list[Step], depth: int) -> JSON:
    """Return a dict of schemas with each rewritten, the same dict if none changes."""
    new = {name: _rewrite(value, steps, depth) for name, value in table.items()}
    return new if any(new[name] is not table[name] for name in table) else table


class _References:
    """Replaces local `$ref`s by what they refer to. `refs`, `members`: how many more may be replaced, and how large
    they may be."""

    def __init__(self, root: JSON) -> None:
        self.root = root
        self.refs = REFS
        self.members = MEMBERS

    def inline(self, node: Any, outer: tuple[str, ...] = ()) -> Any:
        """Return `node` without references. `outer`: those that are being replaced around it. A cycle becomes a plain
        object."""
        if not isinstance(node, (dict, list)):
            return node
        if outer:
            self.members -= len(node)
        if isinstance(node, list):
            return [self.inline(item, outer) for item in node]
        ref = node.get("$ref")
        if not isinstance(ref, str) or not ref.startswith("#/"):
            return {
                key: self.inline(value, outer) for key, value in node.items() if key not in ("$defs", "definitions")
            }
        self.refs -= 1
        others = {key: value for key, value in node.items() if key != "$ref"}
        target = self.target(ref)
        if ref in outer or min(self.refs, self.members) < 0 or len(outer) > DEPTH or not isinstance(target, dict):
            return {"type": "object", **others}
        return {**self.inline(target, (*outer, ref)), **others}

    def target(self, ref: str) -> Any:
        """Return what `#/a/b` refers to; None if there is nothing."""
        target: Any = self.root
        for part in ref[2:].split("/"):
            target = target.get(part) if isinstance(target, dict) else None
        return target


def _exceeds(node: Any) -> bool:
    """Return whether `node` has more than DEPTH levels, or more than NODES objects and lists."""
    level, budget = [node], NODES
    for _ in range(DEPTH):
        level = [child for item in level for child in _values(item) if isinstance(child, (dict, list))]
        budget -= len(level)
        if not level or budget < 0:
            return budget < 0
    return True


def _values(item: Any) -> Any:
    return item.values() if isinstance(item, dict) else item


def clean_tool_schema(schema: JSON, steps: tuple[str, ...]) -> JSON:
    """Return a tool's `schema` as an object schema with properties, after `steps`; the same object if nothing
    changes."""
    if schema.get("type") != "object":
        others = {key: value for key, value in schema.items() if key != "type"}
        schema = {"type": "object", **others}
    if not isinstance(schema.get("properties"), dict):
        schema = {**schema, "properties": {}}
    return apply_steps(schema, steps)


def apply_steps(schema: JSON, steps: tuple[str, ...]) -> JSON:
    """Return any `schema` after `steps`; the same object if nothing changes."""
    if not steps or _exceeds(schema):
        return schema
    if "inline_refs" in steps:
        schema = _References(schema).inline(schema)
    functions = [SCHEMA_STEPS[step] for step in steps if step in SCHEMA_STEPS]
    rewritten: JSON = _rewrite(schema, functions, 0)
    return rewritten


def is_strict(schema: Any, depth: int = 0) -> bool:
    """Return whether OpenAI's strict mode takes `schema`: every object is closed, every property required."""
    if not isinstance(schema, dict):
        return True
    if depth > DEPTH or (not depth and _exceeds(schema)):
        return False
    if (schema.get("type") == "object" or "properties" in schema) and not _is_closed(schema):
        return False
    return all(is_strict(child, depth + 1) for child in _children(schema))


def _is_closed(schema: JSON) -> bool:
    """Return whether an object schema takes exactly its properties, all of them."""
    properties, required = schema.get("properties"), schema.get("required")
    names = set(properties) if isinstance(properties, dict) else set()
    required_names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    return schema.get("additionalProperties") is False and names == required_names


def _children(schema: JSON) -> Iterator[Any]:
    for key in _MAPS:
        if isinstance(schema.get(key), dict):
            yield from schema[key].values()
    for key in _SINGLE:
        if isinstance(schema.get(key), dict):
            yield schema[key]
    for key in _LISTS:
        if isinstance(schema.get(key), list):
            yield from schema[key]


def find_schema(body: JSON) -> JSON | None:
    """Return the schema of `output_config.format` or `output_format`; None if the request has none."""
    config = body.get("output_config")
    form: Any = (config or {}).get("format") or body.get("output_format")
    if isinstance(form, dict) and form.get("type") == "json_schema" and isinstance(form.get("schema"), dict):
        schema: JSON = form["schema"]
        return schema
    return None
