"""Add quirks to the configuration file, without changing its comments or its order.

Knows: YAML's block style, from the marks of PyYAML's composer. Must not know: probes.
Invariants: lines are only added, and only values of quirks are replaced. The result is parsed again; if it does not
contain exactly these quirks, nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

#: Deployment id → quirk → value.
QuirksById = Mapping[str, Mapping[str, Any]]


def snippet(by_id: QuirksById, indent: str = "") -> str:
    """Return the lines to add by hand."""
    lines = ["a2py:", "  quirks:"]
    for id, quirks in by_id.items():
        lines.append(f"    {json.dumps(id)}:")
        lines += [f"      {name}: {_value(value)}" for name, value in quirks.items()]
    return "\n".join(indent + line for line in lines)


def _value(value: Any) -> str:
    """Return a YAML scalar or flow list. JSON is YAML."""
    return json.dumps(sorted(value) if isinstance(value, (set, frozenset)) else value)


def edit(text: str, by_id: QuirksById) -> str | None:
    """Return `text` with the quirks under `a2py: quirks:`, None if that place can't be edited line by line."""
    for id, quirks in by_id.items():
        for name, value in quirks.items():
            new_text = _put(text, ("a2py", "quirks", id, name), value)
            if new_text is None:
                return None
            text = new_text
    return text if _has_quirks(text, by_id) else None


def _has_quirks(text: str, by_id: QuirksById) -> bool:
    try:
        tree = yaml.safe_load(text)
        table = tree["a2py"]["quirks"]
        return all(table[id][name] == value for id, quirks in by_id.items() for name, value in quirks.items())
    except (yaml.YAMLError, KeyError, TypeError):
        return False


def _put(text: str, path: tuple[str, ...], value: Any) -> str | None:
    """Return `text` with `value` at `path` in a tree of block mappings. Missing parts of the path are added."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    lines = _split_lines(text)
    if node is None:
        return "".join(lines + _lines(path, value, 0))
    for depth, name in enumerate(path):
        if not isinstance(node, yaml.MappingNode) or node.flow_style:
            return None
        entry = next(((key, child) for key, child in node.value if key.value == name), None)
        if entry is None:
            column = node.start_mark.column
            at = _end(node) if depth == 0 else node.start_mark.line
            return "".join(lines[:at] + _lines(path[depth:], value, column) + lines[at:])
        key, child = entry
        if depth == len(path) - 1:
            return _replace_scalar(text, child, value)
        if _empty(child):
            return _fill(text, key, child, _lines(path[depth + 1 :], value, key.start_mark.column + 2))
        node = child
    return None


def _replace_scalar(text: str, node: yaml.Node, value: Any) -> str | None:
    """Return `text` with `value` instead of the scalar `node`, None if that is no scalar of one line."""
    if not isinstance(node, yaml.ScalarNode) or node.start_mark.line != node.end_mark.line:
        return None
    return text[: node.start_mark.index] + _value(value) + text[node.end_mark.index :]


def _fill(text: str, key: yaml.Node, child: yaml.Node, inner: list[str]) -> str:
    """Return `text` with the lines `inner` below a key without a value (`a2py:`) or with an empty one (`a2py: {}`)."""
    is_written = child.end_mark.index > child.start_mark.index
    at = (child if is_written else key).end_mark.line + 1
    lines = _split_lines(text[: child.start_mark.index] + text[child.end_mark.index :])
    return "".join(lines[:at] + inner + lines[at:])


def _split_lines(text: str) -> list[str]:
    """Return the lines of `text`, each with its line break, which the last one may lack."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return lines


def _empty(node: yaml.Node) -> bool:
    if isinstance(node, yaml.ScalarNode):
        return node.tag == "tag:yaml.org,2002:null"
    return isinstance(node, yaml.MappingNode) and not node.value and bool(node.flow_style)


def _end(node: yaml.MappingNode) -> int:
    """Return the number of the line after the document's last entry."""
    return node.end_mark.line + (1 if node.end_mark.column else 0)


def _lines(path: tuple[str, ...], value: Any, column: int) -> list[str]:
    out = []
    for depth, name in enumerate(path):
        key = name if name.isidentifier() else json.dumps(name)
        last = f" {_value(value)}" if depth == len(path) - 1 else ""
        out.append(f"{' ' * (column + 2 * depth)}{key}:{last}\n")
    return out
