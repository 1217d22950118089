"""Cleaning of tool schemas for servers that take only part of JSON Schema.

Knows: the steps, each a rewriting of one schema node. Must not know: which server needs which (a2py/providers/).
Invariants: a schema that needs no change is passed on as the same object; the client's own object is never changed in place;
depth is bounded by DEPTH.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2py.messages.types import JSON

#: Nesting, and objects and lists, beyond which a schema is passed on as it is (hostile input). OpenAI takes 5,000 properties (2026-11).
DEPTH, NODES = 64, 20_000
#: `$ref` expansions of one schema; past it the node becomes a plain object.
REFS = 256
#: Members of what they brought in, likewise: a large definition that is named everywhere would fill the memory.
MEMBERS = 100_000


def _drop(*names: str) -> Callable[[JSON], JSON]:
    def step(node: JSON) -> JSON:
        if any(name in node for name in names):
            return {key: value for key, value in node.items() if key not in names}
        return node

    return step


def _formats(node: JSON) -> JSON:
    if "format" in node and node["format"] not in ("enum", "date-time"):
        return {key: value for key, value in node.items() if key != "format"}
    return node


def _type_list(node: JSON) -> JSON:
    types = node.get("type")
    if not isinstance(types, list):
        return node
    rest = {key: value for key, value in node.items() if key != "type"}
    real = [t for t in types if t != "null"]
    if len(real) == 1:
        return {**rest, "type": real[0], **({"nullable": True} if len(real) < len(types) else {})}
    return {**rest, "anyOf": [{"type": t} for t in types]}


def _const(node: JSON) -> JSON:
    if "const" not in node:
        return node
    return {**{key: value for key, value in node.items() if key != "const"}, "enum": [node["const"]]}


def _no_empty(node: JSON) -> JSON:
    if node.get("type") == "object" and node.get("properties") == {}:
        return {**node, "properties": {"_": {"type": "string", "description": "Not used."}}}
    return node


#: Quirks.schema: name → rewriting of one node, children first.
SCHEMA_STEPS: dict[str, Callable[[JSON], JSON]] = {
    "drop_$schema": _drop("$schema", "$id", "$comment"),
    "drop_additional_properties": _drop("additionalProperties", "unevaluatedProperties", "propertyNames", "patternProperties"),
    "drop_formats": _formats,
    "drop_defaults": _drop("default", "examples"),
    "drop_pattern": _drop("pattern"),
    "drop_exclusive_bounds": _drop("exclusiveMinimum", "exclusiveMaximum"),
    "any_of_from_type_list": _type_list,
    "const_to_enum": _const,
    "no_empty_object": _no_empty,
}
#: Keys that hold schemas by name, one schema, or a list of schemas.
_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")


def _walk(node: Any, steps: list[Callable[[JSON], JSON]], depth: int) -> Any:
    if not isinstance(node, dict) or depth > DEPTH:
        return node
    changes: JSON = {}
    for key in _MAPS:
        table = node.get(key)
        if isinstance(table, dict):
            new = {name: _walk(value, steps, depth + 1) for name, value in table.items()}
            if any(new[name] is not table[name] for name in table):
                changes[key] = new
    for key in _ONE:
        if isinstance(node.get(key), dict):
            one = _walk(node[key], steps, depth + 1)
            if one is not node[key]:
                changes[key] = one
    for key in _LISTS:
        items = node.get(key)
        if isinstance(items, list):
            many = [_walk(item, steps, depth + 1) for item in items]
            if any(a is not b for a, b in zip(many, items, strict=True)):
                changes[key] = many
    if changes:
        node = {**node, **changes}
    for step in steps:
        node = step(node)
    return node


def _inline(node: Any, root: JSON, seen: tuple[str, ...], left: list[int]) -> Any:
    """`node` with local `$ref`s replaced by what they name; a cycle becomes a plain object."""
    if not isinstance(node, (dict, list)):
        return node
    if seen:
        left[1] -= len(node)
    if isinstance(node, list):
        return [_inline(item, root, seen, left) for item in node]
    ref = node.get("$ref")
    if isinstance(ref, str) and ref.startswith("#/"):
        left[0] -= 1
        target: Any = root
        for part in ref[2:].split("/"):
            target = target.get(part) if isinstance(target, dict) else None
        rest = {key: value for key, value in node.items() if key != "$ref"}
        if ref in seen or min(left) < 0 or len(seen) > DEPTH or not isinstance(target, dict):
            return {"type": "object", **rest}
        found: JSON = _inline(target, root, (*seen, ref), left)
        return {**found, **rest}
    return {key: _inline(value, root, seen, left) for key, value in node.items() if key not in ("$defs", "definitions")}


def _exceeds(node: Any) -> bool:
    """Whether `node` nests deeper than DEPTH or holds more than NODES objects and lists."""
    level, left = [node], NODES
    for _ in range(DEPTH):
        level = [
            child for item in level for child in (item.values() if isinstance(item, dict) else item) if isinstance(child, (dict, list))
        ]
        left -= len(level)
        if not level or left < 0:
            return left < 0
    return True


def clean(schema: JSON, steps: tuple[str, ...]) -> JSON:
    """`schema` as an object schema with properties, after `steps`; the same object where nothing had to change."""
    if schema.get("type") != "object":
        rest = {key: value for key, value in schema.items() if key != "type"}
        schema = {"type": "object", **rest}
    if not isinstance(schema.get("properties"), dict):
        schema = {**schema, "properties": {}}
    return stepped(schema, steps)


def stepped(schema: JSON, steps: tuple[str, ...]) -> JSON:
    """Any `schema` after `steps`; the same object where nothing had to change."""
    if not steps or _exceeds(schema):
        return schema
    if "inline_refs" in steps:
        schema = _inline(schema, schema, (), [REFS, MEMBERS])
    chosen = [SCHEMA_STEPS[step] for step in steps if step in SCHEMA_STEPS]
    cleaned: JSON = _walk(schema, chosen, 0)
    return cleaned


def strict(schema: Any, depth: int = 0) -> bool:
    """Whether OpenAI's strict mode takes `schema`: every object closed, every property required."""
    if not isinstance(schema, dict):
        return True
    if depth > DEPTH or (not depth and _exceeds(schema)):
        return False
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        if schema.get("additionalProperties") is not False or set(properties) != {r for r in required if isinstance(r, str)}:
            return False
    children = [child for key in _MAPS if isinstance(schema.get(key), dict) for child in schema[key].values()]
    children += [schema[key] for key in _ONE if isinstance(schema.get(key), dict)]
    children += [child for key in _LISTS if isinstance(schema.get(key), list) for child in schema[key]]
    return all(strict(child, depth + 1) for child in children)


def schema_of(body: JSON) -> JSON | None:
    """The schema of `output_config.format` or `output_format`."""
    config = body.get("output_config")
    form: Any = (config or {}).get("format") or body.get("output_format")
    if isinstance(form, dict) and form.get("type") == "json_schema" and isinstance(form.get("schema"), dict):
        schema: JSON = form["schema"]
        return schema
    return None
