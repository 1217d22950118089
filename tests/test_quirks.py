"""Quirks are data: documented, frozen, and overridden only by values of their own type."""

from __future__ import annotations

import ast
import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from a2py import quirks
from a2py.quirks import EFFORTS, Quirks, override

SOURCE = Path(quirks.__file__).read_text("utf-8")


def test_frozen_and_hashable() -> None:
    with pytest.raises(FrozenInstanceError):
        Quirks().images = False  # type: ignore[misc]
    assert len({Quirks(), Quirks(), Quirks(images=False)}) == 2


def test_each_field_says_what_it_changes_and_who_reads_it() -> None:
    """The docstring of a field ends with the file that reads it, and only that field's own comment stands above it."""
    lines = SOURCE.split("\n")
    tree = ast.parse(SOURCE)
    [cls] = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    found = set()
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            comment = lines[node.lineno - 2].strip()
            assert comment.startswith("#: "), f"{node.target.id} has no docstring"
            assert re.search(r"\b(wires|proxy|messages|cli|config)/[\w/]+\.py", comment), f"{node.target.id} does not name its reader"
            found.add(node.target.id)
    assert found == {f.name for f in fields(Quirks)}


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({}, "images", True),
        ({"images": False}, "images", False),
        ({"stop_limit": 0}, "stop_limit", 0),
        ({"temperature_max": 1}, "temperature_max", 1.0),
        ({"temperature_max": 1.5}, "temperature_max", 1.5),
        ({"sampling": ["top_k", "top_p"]}, "sampling", frozenset({"top_k", "top_p"})),
        ({"sampling": []}, "sampling", frozenset()),
        ({"native_drop": {"thinking.display"}}, "native_drop", frozenset({"thinking.display"})),
        ({"efforts": ["low", "high"]}, "efforts", ("low", "high")),
        ({"schema": ("a",)}, "schema", ("a",)),
        ({"reasoning": "effort"}, "reasoning", "effort"),
    ],
)
def test_override(changes: dict[str, Any], field: str, value: Any) -> None:
    before = Quirks()
    after = override(before, changes)
    assert getattr(after, field) == value
    assert type(getattr(after, field)) is type(getattr(before, field))
    assert before == Quirks()


@pytest.mark.parametrize(
    "changes",
    [
        {"images": 0},
        {"images": "false"},
        {"stop_limit": True},
        {"stop_limit": "4"},
        {"stop_limit": 1.0},
        {"temperature_max": True},
        {"temperature_max": "1"},
        {"sampling": "top_p"},
        {"efforts": "low"},
        {"efforts": None},
        {"reasoning": None},
        {"reasoning": ["effort"]},
    ],
)
def test_a_wrong_type_is_named(changes: dict[str, Any]) -> None:
    [name] = changes
    with pytest.raises(TypeError, match=name):
        override(Quirks(), changes)


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(KeyError, match="imagez"):
        override(Quirks(), {"imagez": True})


def test_effort_words_go_from_weak_to_strong() -> None:
    assert EFFORTS.index("none") < EFFORTS.index("low") < EFFORTS.index("medium") < EFFORTS.index("high") < EFFORTS.index("max")
