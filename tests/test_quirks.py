"""Quirks are data: documented, frozen, and overridden only by values of their own type and words."""

from __future__ import annotations

import ast
import re
from dataclasses import FrozenInstanceError, fields
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from a2py import quirks
from a2py.quirks import EFFORTS, Quirks, override, words
from a2py.wires.chat.reasoning import DIALECTS, HISTORY
from a2py.wires.common.schema import SCHEMA_STEPS

ROOT = Path(quirks.__file__).parent
SOURCE = Path(quirks.__file__).read_text("utf-8")
DOCS = (Path(__file__).parents[1] / "docs" / "providers.md").read_text("utf-8")


def test_frozen_and_hashable() -> None:
    with pytest.raises(FrozenInstanceError):
        Quirks().images = False  # type: ignore[misc]
    assert len({Quirks(), Quirks(), Quirks(images=False)}) == 2


@cache
def comments() -> dict[str, str]:
    """Field → the comment above it, in one line."""
    lines = SOURCE.split("\n")
    [cls] = [node for node in ast.parse(SOURCE).body if isinstance(node, ast.ClassDef)]
    out = {}
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above = list(takewhile(lambda line: line.strip().startswith("#: "), reversed(lines[: node.lineno - 1])))
            out[node.target.id] = " ".join(line.strip()[3:] for line in reversed(above))
    return out


#: At the end of a comment: the files that read the field.
READERS = re.compile(r" ((?:(?:wires|proxy)/[\w/]+\.py(?:, |$))+)$")
#: Read fields to say how a lesson changes them, or why a request is not the client's; no request or reply depends on it.
EXPLAIN = ("wires/lessons.py", "wires/changes/")


@cache
def readers() -> dict[str, set[str]]:
    """Field → the files of wires/ and proxy/ that read it: `q.field`, `quirks.field` or `….quirks.field`."""
    names = {field.name for field in fields(Quirks)}
    out: dict[str, set[str]] = {name: set() for name in names}
    for path in [*ROOT.glob("wires/**/*.py"), *ROOT.glob("proxy/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in names:
                holder = node.value
                name = (
                    holder.id
                    if isinstance(holder, ast.Name)
                    else holder.attr
                    if isinstance(holder, ast.Attribute)
                    else ""
                )
                if name in ("q", "quirks"):
                    out[node.attr].add(path.relative_to(ROOT).as_posix())
    return {name: {file for file in files if not file.startswith(EXPLAIN)} for name, files in out.items()}


def test_each_field_says_what_it_changes() -> None:
    by_field = comments()
    assert list(by_field) == [field.name for field in fields(Quirks)]
    assert all(READERS.sub("", comment).endswith((".", ")")) for comment in by_field.values())


@pytest.mark.parametrize("name", [field.name for field in fields(Quirks)])
def test_each_field_names_the_files_that_read_it(name: str) -> None:
    match = READERS.search(comments()[name])
    assert match, f"{name}: its comment names no reader"
    files = match[1].split(", ")
    assert files == sorted(readers()[name])


def test_the_docs_say_what_the_comments_say() -> None:
    """docs/providers.md has a row for each field, in the same order."""
    rows = [
        line.strip("| ").split(" | ", 2)
        for line in DOCS.partition("## Every quirk")[2].splitlines()
        if line.startswith("| `")
    ]
    assert {name.strip("`"): meaning for name, _, meaning in rows} == {
        name: READERS.sub("", text) for name, text in comments().items()
    }


# -- words -------------------------------------------------------------------------------------------------------------


def test_a_field_of_words_has_its_words_and_a_field_of_free_text_has_none() -> None:
    words.cache_clear()  # it was filled while pytest collected the tests
    assert words()["tokenizer"] == ("none", "vllm", "llamacpp")
    assert {"strict", "inline_refs"} & set(words()["schema"]), "a list of words"
    assert words().keys().isdisjoint({"native_thinking", "native_drop", "native_count"})


def test_the_words_are_the_keys_of_the_tables_that_read_them() -> None:
    assert set(words()["reasoning"]) == set(DIALECTS)
    assert set(words()["reasoning_history"]) == {*HISTORY, "none", "reply", "thought_signature"}
    assert set(words()["schema"]) == {*SCHEMA_STEPS, "inline_refs"}


def test_each_default_is_one_of_its_words() -> None:
    for name, choices in words().items():
        value = getattr(Quirks(), name)
        assert {value} <= set(choices) if isinstance(value, str) else set(value) <= set(choices), name


def test_each_word_is_named_in_the_comment() -> None:
    """`""` and `none` aside, which some comments put in words, and the tables that are named instead."""
    for name, choices in words().items():
        text = comments()[name]
        missing = {word for word in choices if word not in ("", "none") and f"`{word}`" not in text}
        assert not missing or "DIALECTS" in text or "SCHEMA_STEPS" in text or name == "context_probe", (name, missing)


@pytest.mark.parametrize("name", words())
def test_an_unknown_word_is_refused(name: str) -> None:
    choices = words()[name]
    right = next(word for word in choices if word)
    wrong = right + "x"
    value = wrong if isinstance(getattr(Quirks(), name), str) else [right, wrong]
    with pytest.raises(
        ValueError, match=f"{name} must be one of .*, got '{re.escape(wrong)}'. Did you mean {re.escape(right)}"
    ):
        override(Quirks(), {name: value})
    for word in choices:
        assert override(Quirks(), {name: word if isinstance(getattr(Quirks(), name), str) else [word]})


# -- override ----------------------------------------------------------------------------------------------------------


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
        ({"schema": ("drop_pattern",)}, "schema", ("drop_pattern",)),
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
    assert (
        EFFORTS.index("none")
        < EFFORTS.index("low")
        < EFFORTS.index("medium")
        < EFFORTS.index("high")
        < EFFORTS.index("max")
    )
