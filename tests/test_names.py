"""A binding is named by a noun: a bare participle (`found`, `told`) does not say of what.

Terms of the field, of a vendor or of a file that is read by others may stay; they are listed here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Irregular participles. Others end in -ed. `left` (the side) and `thought` are nouns, too.
IRREGULAR = frozenset(
    [
        "begun",
        "bought",
        "brought",
        "built",
        "caught",
        "chosen",
        "done",
        "drawn",
        "found",
        "given",
        "gone",
        "got",
        "heard",
        "held",
        "hidden",
        "kept",
        "known",
        "lost",
        "made",
        "met",
        "paid",
        "said",
        "seen",
        "sent",
        "shown",
        "spoken",
        "taken",
        "thrown",
        "told",
        "won",
        "written",
    ]
)
#: Words that end so and are none.
NOT_PARTICIPLES = frozenset({"bed", "embed", "feed", "hundred", "need", "red", "seed", "shed", "speed"})
#: What may stay: terms, fields of JSON that others read, words of an interface that is not ours (`done` of
#: asyncio.wait).
TERMS = frozenset(
    [
        "cached",
        "captured",
        "chunked",
        "created",
        "degraded",
        "done",
        "elapsed",
        "encoded",
        "estimated",
        "expected",
        "malformed",
        "parsed",
        "prepared",
        "required",
        "reserved",
        "shared",
        "started",
        "structured",
        "unpriced",
        "unsupported",
        "upgraded",
    ]
)
#: Names of fields that are in JSON, too.
FIELDS = {("a2py/proxy/limits.py", "held"), ("bench/core_request.py", "sent")}


def list_bindings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each variable, parameter, attribute, function and class."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def is_participle(name: str) -> bool:
    word = name.strip("_").lower()
    return word not in NOT_PARTICIPLES and (word in IRREGULAR or (word.endswith("ed") and "_" not in word))


def test_it_knows_them() -> None:
    assert is_participle("found") and is_participle("_Learned") and is_participle("ended")
    assert not is_participle("seed") and not is_participle("is_found") and not is_participle("match")


@pytest.mark.parametrize("folder", ["a2py", "bench", "tools", "tests"])
def test_bindings_have_nouns(folder: str) -> None:
    bare = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        for line, name in list_bindings(path):
            is_word = name.isupper()  # a constant that is this word: DONE = b"[DONE]", FAILED
            if is_participle(name) and not (is_word or name.strip("_").lower() in TERMS or (place, name) in FIELDS):
                bare.append(f"{place}:{line}: {name}")
    assert not bare, "\n".join(bare)
