"""The strata of the house: a file imports only from lower strata or its own package, and the core nothing impure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import a2py

ROOT = Path(a2py.__file__).parent
#: Part of the tree → stratum. What is not named stands in the root and is L0.
STRATA = {
    "messages": 1,
    "providers": 1,
    "deployment": 1,
    "wires": 2,
    "upstream": 2.5,
    "config": 3,
    "proxy": 3.5,
    "demo": 3.6,
    "cli": 4,
    "__main__": 5,
}
IMPURE = {"asyncio", "aiohttp", "socket", "ssl", "os", "time", "random", "uuid", "logging", "pathlib", "subprocess", "threading", "signal"}
#: asyncio and aiohttp stand nowhere else; cli/ may start what they run.
SHELL = ("upstream", "proxy", "demo", "cli")
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def part(name: str) -> str:
    """`a2py.wires.chat.stream` → `wires`; the root's own files → themselves."""
    return name.split(".")[1] if "." in name else ""


def imports(path: Path) -> Iterator[str]:
    """Full names of what a file imports, also inside functions and TYPE_CHECKING."""
    package = ["a2py", *path.parts[:-1]]
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])]) if node.level else node.module or ""
            yield from (f"{base}.{alias.name}" if base == "a2py" else base for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_keeps_to_its_stratum(path: Path) -> None:
    own = path.parts[0].removesuffix(".py")
    level = STRATA.get(own, 0)
    for name in imports(path):
        top = name.split(".")[0]
        if top == "a2py" and part(name) != own:
            assert STRATA.get(part(name), 0) < level or level == 0 == STRATA.get(part(name), 0), f"{path} must not import {name}"
        if level <= 2:
            assert top not in IMPURE, f"{path} must not import {name}: the core is a function of its input"
        if top in ("asyncio", "aiohttp"):
            assert own in SHELL, f"{path} must not import {name}: only {SHELL} talk to sockets"


def test_the_rules_catch_what_they_forbid() -> None:
    """The helper sees imports of every form, or the test above could not fail."""
    seen = {name for path in FILES for name in imports(path)}
    assert {"a2py.errors", "a2py.messages.types", "orjson"} <= seen
    assert part("a2py.wires.chat.stream") == "wires"
    assert part("a2py.errors") == "errors"


def test_importing_a2py_imports_nothing() -> None:
    assert list(imports(Path("__init__.py"))) in ([], ["__future__"])
