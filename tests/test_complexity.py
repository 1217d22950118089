"""Limits on the size of functions and classes: branches, parameters, attributes. Larger ones are hard to read and to
test.

The tables list what is above a limit at present, and how far. An entry may only get smaller: one that grows, or that is
no longer above the limit, fails. Do not add entries."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Union

import pytest

import a2py

ROOT = Path(a2py.__file__).parent
#: Paths through a function, as ruff's C901 counts them, and one more for each `and`, `or`, conditional expression and
#: comprehension: these have to be tested, too.
COMPLEXITY = 15
#: Parameters of a function, without `self`.
PARAMETERS = 7
#: Attributes of an object: those that its class and all its base classes assign to `self` or declare.
ATTRIBUTES = 20
#: Classes that are nothing but a list of documented fields, set once.
RECORDS = {"config/settings.py Entry", "config/settings.py Settings", "deployment.py Deployment", "quirks.py Quirks"}

TOO_COMPLEX: dict[str, int] = {}
TOO_MANY_PARAMETERS: dict[str, int] = {}
TOO_MANY_ATTRIBUTES: dict[str, int] = {}

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)


def complexity(function: Function) -> int:
    """Return the number of paths through a function. Functions within it are counted alone."""
    paths = 1
    nodes = list(ast.iter_child_nodes(function))
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(node, _BRANCHES):
            paths += 1
        elif isinstance(node, ast.BoolOp):
            paths += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            paths += 1 + len(node.ifs)
        nodes += ast.iter_child_nodes(node)
    return paths


def parameters(function: Function) -> int:
    """Return the number of parameters, without `self` and `cls`."""
    arguments = function.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def own_attributes(node: ast.ClassDef) -> set[str]:
    """Return the attributes that a class assigns to `self` or declares in its body."""
    names: set[str] = set()
    for statement in node.body:
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [statement.target]
            if isinstance(statement, ast.AnnAssign)
            else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)} - {"__slots__"}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and isinstance(inner.value, ast.Name):
            names |= {inner.attr} if inner.value.id == "self" else set()
    return names


parse = cache(ast.parse)


def classes(sources: Mapping[str, str]) -> dict[str, ast.ClassDef]:
    """Return all classes by file and name."""
    return {
        f"{path} {node.name}": node
        for path, source in sources.items()
        for node in ast.walk(parse(source))
        if isinstance(node, ast.ClassDef)
    }


def import_map(sources: Mapping[str, str]) -> dict[str, str]:
    """Return, for each name that a file imports from a2py, the key that `classes` has for it: file and name → file and
    name."""
    out: dict[str, str] = {}
    for path, source in sources.items():
        for node in ast.walk(parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("a2py."):
                module = (node.module or "").removeprefix("a2py.").replace(".", "/")
                target = f"{module}.py" if f"{module}.py" in sources else f"{module}/__init__.py"
                out.update({f"{path} {alias.asname or alias.name}": f"{target} {alias.name}" for alias in node.names})
    return out


def attributes(key: str, nodes: Mapping[str, ast.ClassDef], imports: Mapping[str, str]) -> set[str]:
    """Return the attributes of a class and of its base classes in a2py."""
    node = nodes[key]
    path = key.partition(" ")[0]
    names = own_attributes(node)
    for base in node.bases:
        inner = base.value if isinstance(base, ast.Subscript) else base
        local = f"{path} {inner.id}" if isinstance(inner, ast.Name) else ""
        base_key = imports.get(local, local)
        if base_key in nodes:
            names |= attributes(base_key, nodes, imports)
    return names


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield each function below `node` with its qualified name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if not isinstance(child, ast.ClassDef):
                yield prefix + child.name, child
            yield from functions(child, f"{prefix}{child.name}.")
        else:
            yield from functions(child, prefix)


def files() -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted(ROOT.rglob("*.py"))}


@cache
def all_functions() -> dict[str, Function]:
    """Return the functions of a2py by file and name. Only a test may call this: each process imports this file."""
    return {
        f"{path} {name}": function for path, source in files().items() for name, function in functions(parse(source))
    }


@cache
def all_classes() -> dict[str, ast.ClassDef]:
    return classes(files())


def check(sizes: Mapping[str, int], limit: int, table: Mapping[str, int]) -> None:
    above = {name: size for name, size in sizes.items() if size > limit}
    new = {name: size for name, size in above.items() if size > table.get(name, limit)}
    assert not new, f"more than {limit}, or more than before: {new}"
    stale = {name for name in table if name not in above}
    assert not stale, f"no longer above {limit}, delete the entries: {stale}"


def test_no_function_is_too_complex() -> None:
    check({name: complexity(function) for name, function in all_functions().items()}, COMPLEXITY, TOO_COMPLEX)


def test_no_function_has_too_many_parameters() -> None:
    check({name: parameters(function) for name, function in all_functions().items()}, PARAMETERS, TOO_MANY_PARAMETERS)


def test_no_class_has_too_many_attributes() -> None:
    imports = import_map(files())
    sizes = {key: len(attributes(key, all_classes(), imports)) for key in all_classes() if key not in RECORDS}
    check(sizes, ATTRIBUTES, TOO_MANY_ATTRIBUTES)


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_a_record_has_no_code_that_changes_it(name: str) -> None:
    node = all_classes()[name]
    assert not any(isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) for inner in ast.walk(node))


SAMPLE = """
class A:
    x: int = 1
    __slots__ = ("a",)
    def f(self, a, b=1, *, c=2):
        self.a = self.b = [n for n in a if n and b]
        def inner():
            if a: pass
        return 1 if a or b else inner
class B(A):
    def g(self):
        self.b = self.d = 1
"""
OTHER = """
from a2py.sample import B as Base
class A(Base):
    e: int
"""


def test_the_counts() -> None:
    """Each of them sees what it counts, or the tests above could not fail."""
    sources = {"sample.py": SAMPLE, "other.py": OTHER}
    nodes, imports = classes(sources), import_map(sources)
    by_name = dict(functions(ast.parse(SAMPLE)))
    assert list(by_name) == ["A.f", "A.f.inner", "B.g"]
    assert {name: complexity(function) for name, function in by_name.items()} == {"A.f": 6, "A.f.inner": 2, "B.g": 1}
    assert parameters(by_name["A.f"]) == 3 and parameters(by_name["A.f.inner"]) == 0
    assert attributes("sample.py A", nodes, imports) == {"x", "a", "b"}
    assert attributes("sample.py B", nodes, imports) == {"x", "a", "b", "d"}
    assert attributes("other.py A", nodes, imports) == {"x", "a", "b", "d", "e"}
    for table in ({"f": 3}, {"f": 6, "gone": 6}):
        with pytest.raises(AssertionError):
            check({"f": 4}, 2, table)
    check({"f": 4, "g": 2}, 2, {"f": 4})
