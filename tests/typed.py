"""A strict check of plain JSON against the request types of an SDK (TypedDicts): unknown keys are errors, at every
depth.

Knows: the typing constructs that the `openai` SDK's types use. Must not know: any protocol.
"""

from __future__ import annotations

import collections.abc
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from typing_extensions import NotRequired, ReadOnly, Required
from typing_extensions import is_typeddict as is_extended

_WRAPPERS = (Required, NotRequired, ReadOnly)
_LISTS = (list, tuple, collections.abc.Iterable, collections.abc.Sequence)
_MAPPINGS = (dict, collections.abc.Mapping)


def problems(value: Any, type_: Any, path: str = "") -> list[str]:
    """What is wrong with `value` as a `type_`; [] if nothing is. Of a union's members the one speaks that goes
    deepest."""
    origin = get_origin(type_)
    if origin in _WRAPPERS:
        return problems(value, get_args(type_)[0], path)
    if origin is types.UnionType or origin is Union:
        members = get_args(type_)
        return min(
            (problems(value, member, path) for member in [m for m in members if _meant(value, m)] or members),
            key=_depth,
        )
    if origin is Literal:
        return [] if value in get_args(type_) else [f"{path}: {value!r} is none of {get_args(type_)}"]
    if is_typeddict(type_) or is_extended(type_):
        return _dictionary(value, type_, path)
    if origin in _LISTS:
        if not isinstance(value, list):
            return [f"{path}: {_kind(value)} instead of a list"]
        return [p for n, item in enumerate(value) for p in problems(item, get_args(type_)[0], f"{path}[{n}]")]
    if origin in _MAPPINGS:
        if not isinstance(value, dict):
            return [f"{path}: {_kind(value)} instead of an object"]
        return [p for key, item in value.items() for p in problems(item, get_args(type_)[1], f"{path}.{key}")]
    return _plain(value, type_, path)


def _plain(value: Any, type_: Any, path: str) -> list[str]:
    if type_ is Any or type_ is object:
        return []
    if type_ is None or type_ is type(None):
        return [] if value is None else [f"{path}: {_kind(value)} instead of null"]
    assert isinstance(type_, type), f"{path}: a type that this check does not know: {type_}"
    types = (int, float) if type_ is float else (type_,)
    good = isinstance(value, types) and (type_ is bool or not isinstance(value, bool))
    return [] if good else [f"{path}: {_kind(value)} instead of {type_.__name__}"]


def _dictionary(value: Any, type_: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: {_kind(value)} instead of {type_.__name__}"]
    hints = get_type_hints(type_, include_extras=True)
    faults = [f"{path}.{key}: unknown in {type_.__name__}" for key in value if key not in hints]
    faults += [f"{path}.{key}: missing in {type_.__name__}" for key in _required_keys(type_) if key not in value]
    for key, item in value.items():
        if key in hints:
            faults += problems(item, hints[key], f"{path}.{key}")
    return faults


def _required_keys(type_: Any) -> set[str]:
    """`__required_keys__` is wrong where annotations are strings, as the SDK's are."""
    base_keys: dict[str, bool] = {}
    for base in getattr(type_, "__orig_bases__", ()):
        if is_typeddict(base) or is_extended(base):
            base_required = _required_keys(base)
            base_keys.update({key: key in base_required for key in get_type_hints(base)})
    out = set()
    for key, hint in get_type_hints(type_, include_extras=True).items():
        wrapper = get_origin(hint)
        if wrapper is Required or (wrapper is not NotRequired and base_keys.get(key, type_.__total__)):
            out.add(key)
    return out


def _depth(faults: list[str]) -> float:
    """Smaller is better: no problem at all, else the deepest one."""
    return -max(
        (path.partition(":")[0].count(".") + path.partition(":")[0].count("[") for path in faults), default=float("inf")
    )


def _meant(value: Any, member: Any) -> bool:
    """Whether the `type` or `role` of `value` says that it is this member of a union."""
    if not isinstance(value, dict) or not (is_typeddict(member) or is_extended(member)):
        return False
    hints = get_type_hints(member, include_extras=True)
    return any(key in value and key in hints and not problems(value[key], hints[key]) for key in ("type", "role"))


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
