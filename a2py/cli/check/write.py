"""Found quirks → into the configuration file, its comments and its order untouched.

Knows: YAML's block style, by the marks of PyYAML's own composer. Must not know: probes.
Invariants: only lines are added, or values of quirks replaced; what comes out is read again and must say just what was meant, else nothing
is written and the lines are shown instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

Found = Mapping[str, Mapping[str, Any]]  # deployment id → quirk → value


def snippet(found: Found, indent: str = "") -> str:
    """The lines to write by hand."""
    lines = ["a2py:", "  quirks:"]
    for id, quirks in found.items():
        lines.append(f"    {json.dumps(id)}:")
        lines += [f"      {name}: {_value(value)}" for name, value in quirks.items()]
    return "\n".join(indent + line for line in lines)


def _value(value: Any) -> str:
    """A YAML scalar or flow list; JSON is YAML."""
    return json.dumps(sorted(value) if isinstance(value, (set, frozenset)) else value)


def edited(text: str, found: Found) -> str | None:
    """`text` with the quirks under `a2py: quirks:`; None where that place is written in a way that can't be edited line by line."""
    for id, quirks in found.items():
        for name, value in quirks.items():
            changed = _put(text, ("a2py", "quirks", id, name), value)
            if changed is None:
                return None
            text = changed
    return text if _says(text, found) else None


def _says(text: str, found: Found) -> bool:
    try:
        tree = yaml.safe_load(text)
        written = tree["a2py"]["quirks"]
        return all(written[id][name] == value for id, quirks in found.items() for name, value in quirks.items())
    except (yaml.YAMLError, KeyError, TypeError):
        return False


def _put(text: str, path: tuple[str, ...], value: Any) -> str | None:
    """`text` with `value` at `path`, which may end anywhere in a tree of block mappings."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
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
            if not isinstance(child, yaml.ScalarNode) or child.start_mark.line != child.end_mark.line:
                return None
            return text[: child.start_mark.index] + _value(value) + text[child.end_mark.index :]
        if _empty(child):  # `a2py:` with nothing behind it, or `{}`
            at = child.end_mark.line + 1 if child.end_mark.index > child.start_mark.index else key.end_mark.line + 1
            inner = _lines(path[depth + 1 :], value, key.start_mark.column + 2)
            if child.end_mark.index > child.start_mark.index:
                text = text[: child.start_mark.index] + text[child.end_mark.index :]
                lines = text.splitlines(keepends=True)
            return "".join(lines[:at] + inner + lines[at:])
        node = child
    return None


def _empty(node: yaml.Node) -> bool:
    if isinstance(node, yaml.ScalarNode):
        return node.tag == "tag:yaml.org,2002:null"
    return isinstance(node, yaml.MappingNode) and not node.value and bool(node.flow_style)


def _end(node: yaml.MappingNode) -> int:
    """The line behind the document's last entry."""
    return node.end_mark.line + (1 if node.end_mark.column else 0)


def _lines(path: tuple[str, ...], value: Any, column: int) -> list[str]:
    out = []
    for depth, name in enumerate(path):
        shown = name if name.isidentifier() else json.dumps(name)
        last = f" {_value(value)}" if depth == len(path) - 1 else ""
        out.append(f"{' ' * (column + 2 * depth)}{shown}:{last}\n")
    return out
