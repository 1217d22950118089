"""Changes to the text of a keys.yaml that leave everything else as it is: comments, order, fields of the user's own.

A YAML library that writes would lose the comments, so the text is changed at the places that the parser names. The
result is read again: if anything but the change differs (an anchor that two keys share, for example), the change is
refused.

Knows: YAML's block and flow style. Must not know: what a field means, files.
Invariants: what is returned parses to the old values with the change, and to nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

#: Field → its value as it is written in YAML.
Fields = Mapping[str, str]

HEAD = """\
# Keys of a2py's clients. `a2py keys` writes this file; comments and fields of your own stay.
# It holds digests, no keys. docs/keys.md says what each field means.
keys:
"""


class CannotEdit(Exception):
    """The text has a form in which the change can't be made."""


def quote(text: str) -> str:
    """Return `text` as a YAML scalar."""
    return json.dumps(text, ensure_ascii=False)


def add_key(text: str, name: str, fields: Fields) -> str:
    """Return `text` with one more key. Raise CannotEdit."""
    text = text.removeprefix("\ufeff")
    root = _compose(text)
    entry = {name: {field: _load(value) for field, value in fields.items()}}
    if root is None:
        out = f"{_end_line(text)}{HEAD}{_block(name, fields, 2, 4)}"
    else:
        out = _add_below(text, _child(root, "keys"), name, fields)

    def change(values: Any) -> Any:
        values = values or {}
        keys = values.get("keys")
        return {**values, "keys": {**(keys if isinstance(keys, dict) else {}), **entry}}

    return _verify(text, out, change)


def set_fields(text: str, name: str, fields: Fields) -> str:
    """Return `text` with other values for `fields` of the key `name`. Raise CannotEdit."""
    text = text.removeprefix("\ufeff")
    mapping = _child(_child(_compose(text), "keys"), name)
    if not isinstance(mapping, yaml.MappingNode) or not mapping.value:
        raise CannotEdit(f"`{name}` has no fields")
    out = text
    edits: list[tuple[int, int, str]] = []
    for field, value in fields.items():
        old = _find(mapping, field)
        if old is not None:
            edits.append((old.start_mark.index, old.end_mark.index, value))
        else:
            first = mapping.value[0][0].start_mark
            gap = ", " if mapping.flow_style else "\n" + " " * first.column
            edits.append((first.index, first.index, f"{field}: {value}{gap}"))
    for start, end, value in sorted(edits, reverse=True):
        out = out[:start] + value + out[end:]
    new = {field: _load(value) for field, value in fields.items()}

    def change(values: Any) -> Any:
        keys = values["keys"]
        return {**values, "keys": {**keys, name: {**keys[name], **new}}}

    return _verify(text, out, change)


def _compose(text: str) -> Any:
    """Return the root node, None for an empty text."""
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise CannotEdit(str(error)) from None


def _find(node: Any, key: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        for child, value in node.value:
            if isinstance(child, yaml.ScalarNode) and child.value == key:
                return value
    return None


def _child(node: Any, key: str) -> Any:
    child = _find(node, key)
    if child is None:
        raise CannotEdit(f"there is no `{key}` of its own")
    return child


def _add_below(text: str, keys: Any, name: str, fields: Fields) -> str:
    if isinstance(keys, yaml.MappingNode) and keys.flow_style:
        start = keys.start_mark.index + 1
        rest = ", " if keys.value else ""
        return f"{text[:start]}{name}: {_flow(fields)}{rest}{text[start:]}"
    if keys.tag == "tag:yaml.org,2002:null":  # `keys:` alone
        start, end = keys.start_mark.index, keys.end_mark.index
        return f"{text[:start]}\n{_block(name, fields, 2, 4)[:-1]}{text[end:]}"
    if not isinstance(keys, yaml.MappingNode):
        raise CannotEdit("`keys` is no mapping")
    column = keys.value[0][0].start_mark.column
    last = keys.value[-1][1]
    is_block = isinstance(last, yaml.MappingNode) and not last.flow_style
    inner = last.value[0][0].start_mark.column if is_block else column + 2
    end = _end_of(last)
    if end == 0 or text[end - 1] != "\n":
        end = text.find("\n", end) + 1 or len(text)
    return f"{_end_line(text[:end])}{_block(name, fields, column, inner)}{text[end:]}"


def _end_of(node: Any) -> int:
    """Return where the last value in `node` ends. The end of a block is where the next one begins, after comments."""
    while isinstance(node, (yaml.MappingNode, yaml.SequenceNode)) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    return int(node.end_mark.index)


def _end_line(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _block(name: str, fields: Fields, column: int, inner: int) -> str:
    lines = [f"{' ' * column}{name}:", *(f"{' ' * inner}{field}: {value}" for field, value in fields.items())]
    return "".join(f"{line}\n" for line in lines)


def _flow(fields: Fields) -> str:
    return "{" + ", ".join(f"{field}: {value}" for field, value in fields.items()) + "}"


def _verify(before: str, after: str, change: Callable[[Any], Any]) -> str:
    """Return `after` if it is what `change` makes of the values of `before`. Raise CannotEdit."""
    try:
        expected, values = change(_load(before)), _load(after)
    except (yaml.YAMLError, KeyError, TypeError, RecursionError) as error:
        raise CannotEdit(str(error)) from None
    if values != expected:
        raise CannotEdit("something else would change, too")
    return after


class _Texts(yaml.SafeLoader):
    """Reads every scalar as its text, as the configuration's own parser does with names."""


_Texts.yaml_implicit_resolvers = {}


def _load(text: str) -> Any:
    return yaml.load(text, Loader=_Texts)
