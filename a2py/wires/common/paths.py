"""Delete and change the fields of a request body by their path.

Knows: dotted names, LiteLLM's `tools[*].function.strict` and `messages[0].name` (its page on dropped parameters, read
2026-11).
Must not know: any field.
Invariants: the client's own objects are never changed: a change copies the dicts and lists above it, and shares the
rest. A path through a list applies to each of its items.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Union

from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices

Path = list[Union[str, int]]
_STEP = re.compile(r"\[(\*|\d+)\]|[^.\[\]]+")


def parse_path(path: str) -> Path:
    """Return a path as steps: `a[*].b[0]` → `["a", "b", 0]`. A `[*]` is left out, because every list is gone through
    anyway."""
    return [int(step[1]) if step[1] else step[0] for step in _STEP.finditer(path) if step[1] != "*"]


def delete_at(value: Any, path: Path) -> Slices[Any]:
    """Return `value` without the field (or item) at `path`."""
    first, *rest = path
    if isinstance(value, list) and isinstance(first, str):
        return (yield from map_list_in_slices(value, lambda inner: delete_at(inner, path)))
    if not _holds(value, first):
        return value
    if not rest and isinstance(value, list):
        return [inner for n, inner in enumerate(value) if n != first]
    if not rest:
        return {name: inner for name, inner in value.items() if name != first}
    return _with(value, first, (yield from delete_at(value[first], rest)))


def change_at(value: Any, path: Path, change: Callable[[Any], Any]) -> Slices[Any]:
    """Return `value` with `change` applied to what is at `path`, if there is something."""
    first, *rest = path
    if isinstance(value, list) and isinstance(first, str):
        return (yield from map_list_in_slices(value, lambda inner: change_at(inner, path, change)))
    if not _holds(value, first):
        return value
    return _with(value, first, (yield from change_at(value[first], rest, change)) if rest else change(value[first]))


def _holds(value: Any, step: str | int) -> bool:
    if isinstance(value, list) and isinstance(step, int):
        return 0 <= step < len(value)
    return isinstance(value, dict) and step in value


def _with(value: Any, step: Any, inner: Any) -> Any:
    if inner is value[step]:
        return value
    new = value.copy()
    new[step] = inner
    return new


def map_list(values: list[Any], change: Callable[[Any], Any]) -> list[Any]:
    """Return a list of `change(value)` for each value; the same list if no value changes."""
    new = [change(value) for value in values]
    return new if any(a is not b for a, b in zip(values, new, strict=True)) else values


def map_content(holder: JSON, change: Callable[[Any], Any]) -> JSON:
    """Return `holder` (a message, a tool's result, a document's source) with `change` applied to each block of its
    content; the same object if no block changes, or if its content is not a list."""
    content = holder.get("content")
    if not isinstance(content, list):
        return holder
    new = map_list(content, change)
    return holder if new is content else {**holder, "content": new}


def map_list_in_slices(values: list[Any], change: Callable[[Any], Slices[Any]]) -> Slices[list[Any]]:
    """Do the same as `map_list`, with a change that is itself done in slices."""
    new = []
    for n, value in enumerate(values, 1):
        new.append((yield from change(value)))
        if not n % ITEMS:
            yield
    return new if any(a is not b for a, b in zip(values, new, strict=True)) else values


def delete_field(body: JSON, name: str) -> Slices[None]:
    """Delete the field at `name` from `body`. The dict itself is changed, what it holds is not."""
    path = parse_path(name)
    first = path[0] if path else ""
    if len(path) > 1 and isinstance(first, str) and first in body:
        body[first] = yield from delete_at(body[first], path[1:])
    else:
        body.pop(name, None)


def set_ttl(mark: Any, ttl: str) -> Any:
    """Return a cache_control with the configuration's `ttl`. `none` deletes the client's, "" keeps it."""
    if not ttl or not isinstance(mark, dict):
        return mark
    others = {name: value for name, value in mark.items() if name != "ttl"}
    return others if ttl == "none" else {**others, "ttl": ttl}
