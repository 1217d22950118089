"""The strata of the house: a file imports only from lower strata or its own package, the core nothing impure. Within wires,
cli and proxy the packages or files have strata of their own. No files import each other in a circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import a2py

ROOT = Path(a2py.__file__).parent
#: Part of the tree → stratum, as docs/design.md draws them. A file of the root that is not named, and http1/, is L0.
STRATA = {
    "messages": 1,
    "providers": 1,
    "evidence": 1.5,
    "wires": 2,
    "search": 2.2,
    "upstream": 2.5,
    "config": 3,
    "ledger": 3.2,
    "shared": 3.3,
    "proxy": 3.5,
    "demo": 3.6,
    "cli": 4,
    "__main__": 5,
}
IMPURE = {
    "asyncio",
    "aiohttp",
    "socket",
    "ssl",
    "os",
    "time",
    "random",
    "uuid",
    "logging",
    "pathlib",
    "subprocess",
    "threading",
    "signal",
}
#: Part of wires → stratum within it. Two parts of one stratum do not import each other.
WIRES = {
    "refusal": 0,
    "failure": 1,
    "lessons": 2,
    "types": 1,
    "common": 2,
    "openai": 3,
    "chat": 4,
    "responses": 4,
    "native": 4,
    "passthrough": 4,
    "changes": 4,
    "__init__": 5,
}
#: The only parts that may import asyncio and aiohttp. cli/ may start what they run.
SHELL = ("upstream", "shared", "proxy", "demo", "cli")
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
            base = (
                ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
                if node.level
                else node.module or ""
            )
            yield from (f"{base}.{alias.name}" if base == "a2py" else base for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_keeps_to_its_stratum(path: Path) -> None:
    own = path.parts[0].removesuffix(".py")
    level = STRATA.get(own, 0)
    for name in imports(path):
        top = name.split(".")[0]
        if top == "a2py" and part(name) != own:
            assert STRATA.get(part(name), 0) < level or level == 0 == STRATA.get(part(name), 0), (
                f"{path} must not import {name}"
            )
        if level < 2.5:
            assert top not in IMPURE, f"{path} must not import {name}: the core is a function of its input"
        if top in ("asyncio", "aiohttp"):
            assert own in SHELL, f"{path} must not import {name}: only {SHELL} talk to sockets"


def within(name: str) -> str:
    """`a2py.wires.chat.stream` → `chat`; `a2py.wires` itself → `__init__`; "" outside of wires."""
    parts = name.split(".")
    return "" if parts[:2] != ["a2py", "wires"] else parts[2] if len(parts) > 2 else "__init__"


def module(path: Path) -> str:
    return ".".join(["a2py", *path.with_suffix("").parts]).removesuffix(".__init__")


def modules(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports: `from a2py.wires import failure` means `a2py.wires.failure`."""
    own_modules = {module(file) for file in FILES}
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in own_modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in own_modules or node.module in own_modules:
                    yield full if full in own_modules else node.module


def upward(importer: str, target: str) -> bool:
    """Whether an import within wires goes up, or sideways."""
    own, other = within(importer), within(target)
    return own != other and WIRES[other] >= WIRES[own]


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "wires"], ids=str)
def test_a_wire_imports_no_sibling(path: Path) -> None:
    name = module(path)
    assert within(name) in WIRES, f"{path}: WIRES does not say on which stratum it is"
    bad = [other for other in modules(path) if within(other) and upward(name, other)]
    assert not bad, f"{path} must not import {bad}"


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The sets of modules that import each other, directly or not."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        reachable: set[str] = set()
        waiting = [start]
        while waiting:
            imports = graph[waiting.pop()] - reachable
            reachable |= imports
            waiting += imports
        reach[start] = reachable
    groups = {
        frozenset(other for other in reach[name] if name in reach[other]) for name in graph if name in reach[name]
    }
    return [set(group) for group in groups]


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports under TYPE_CHECKING and inside functions count: the ideas go round all the same."""
    assert not circles({module(path): set(modules(path)) for path in FILES})


def test_docs_design_draws_these_strata() -> None:
    """The packages of the picture, from top to bottom, are those of STRATA from the highest to the lowest."""
    picture = (ROOT.parent / "docs" / "design.md").read_text("utf-8").partition("## Strata")[2].partition("## ")[0]
    names = re.findall(r"^    a2py/(\w+)/", picture, re.MULTILINE)
    assert sorted(names) == sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file())
    levels = [STRATA.get(name, 0) for name in names]
    assert levels == sorted(levels, reverse=True)
    above = picture.partition("above: asyncio")[0]
    assert {name for name in names if f"a2py/{name}/" in above} == {
        name for name in names if STRATA.get(name, 0) >= 2.5
    }


def test_the_rules_catch_what_they_forbid() -> None:
    """The helpers see imports of every form, or the tests above could not fail."""
    assert upward("a2py.wires.responses.reasoning", "a2py.wires.chat.reasoning") and upward(
        "a2py.wires.failure", "a2py.wires.common.text"
    )
    assert upward("a2py.wires.common.intake", "a2py.wires") and upward("a2py.wires.types", "a2py.wires.failure")
    assert not upward("a2py.wires.chat.stream", "a2py.wires.failure") and not upward(
        "a2py.wires.chat.stream", "a2py.wires.chat.calls"
    )
    assert "a2py.wires.failure" in set(modules(Path("wires/common/intake.py")))
    assert "a2py.messages.splice" in set(modules(Path("messages/types.py"))), "an import under TYPE_CHECKING"
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}] and circles({"a": {"a"}}) == [
        {"a"}
    ]
    names = {name for path in FILES for name in imports(path)}
    assert {"a2py.errors", "a2py.messages.types", "orjson"} <= names
    assert part("a2py.wires.chat.stream") == "wires"
    assert part("a2py.errors") == "errors"


def test_importing_a2py_imports_nothing() -> None:
    assert list(imports(Path("__init__.py"))) in ([], ["__future__"])


# -- within cli/ -------------------------------------------------------------------------------------------------------

#: Modules of cli/, the lowest first. A module imports only from the lines above its own, also under TYPE_CHECKING. Two
#: modules of one line do not import each other, so there can be no circle.
CLI = (
    (
        "clientenv",
        "control",
        "division",
        "eventloop",
        "exits",
        "facts",
        "handover",
        "http",
        "keycheck",
        "listen",
        "litellmflags",
        "terminal",
        "topview",
    ),
    ("main", "ollama", "options", "orders", "sharing", "state", "check.bench", "check.write"),
    ("__init__", "completion", "consent", "demo", "lastflags", "record", "rotate", "check.finding"),
    ("notify", "relay", "source", "statusline", "check.choices"),
    ("check.probes",),
    ("check.rows", "configimport", "configinit", "embedded", "keys", "summary", "trust", "workers"),
    ("reload", "running", "service"),
    ("pagelink", "usage", "config", "env", "explain", "serving", "setup", "check.command"),
    ("launch", "models", "top", "ui", "check.__init__"),
    ("health",),
    ("serve",),
    ("daemon",),
)
CLI_FILES = [path for path in FILES if path.parts[0] == "cli"]


def place(name: str) -> str:
    """`a2py.cli.check.bench` → `check.bench`, `a2py.cli.check` → `check.__init__`."""
    inner = name.removeprefix("a2py.cli").removeprefix(".")
    return {"": "__init__", "check": "check.__init__"}.get(inner, inner)


@pytest.mark.parametrize("path", CLI_FILES, ids=str)
def test_a_module_of_the_command_line_imports_only_lower_ones(path: Path) -> None:
    strata = {name: number for number, names in enumerate(CLI) for name in names}
    own = place(module(path))
    assert own in strata, f"{path}: CLI does not say on which stratum it is"
    targets = {place(name) for name in modules(path) if name.startswith("a2py.cli")} - {own}
    assert not [name for name in targets if strata[name] >= strata[own]], f"{path} must import only from lower strata"


def test_the_strata_of_the_command_line_are_those_of_its_files() -> None:
    assert sorted(name for names in CLI for name in names) == sorted(place(module(path)) for path in CLI_FILES)
    assert "a2py.cli.check" in set(modules(Path("cli/health.py"))), "an import inside a function"
    assert "a2py.cli.listen" in set(modules(Path("cli/sharing.py"))), "`from a2py.cli import listen`"


# -- within proxy/ -----------------------------------------------------------------------------------------------------

#: Modules of proxy/, the lowest first. A module imports only from the lines below its own, also under TYPE_CHECKING.
#: Two modules of one line do not import each other, so there can be no circle.
PROXY = (
    ("share",),
    ("accounts", "aiohttp_server", "bus", "cachehealth", "context", "cors", "fallbacks", "files", "keys", "lessons"),
    ("access", "log", "places"),
    ("asker",),
    ("limits", "line", "metrics", "models", "pace", "redact", "stall", "timeouts"),
    ("admission", "bookkeeper", "cooldowns", "keylimits", "shared_line", "waiting"),
    ("budgets",),
    ("books",),
    ("__init__", "discovery", "refusals", "responses", "router", "sizes", "tokenizers"),
    ("news",),
    ("connection", "shared_news", "shared_plan", "worker_news"),
    ("sharing",),
    ("body", "client", "connections", "rules"),
    ("recording",),
    ("capture", "flow", "keepalive", "services"),
    ("inbound", "reports"),
    ("answer", "passed_answer"),
    ("searching", "unsearched"),
    ("attempt",),
    ("exchange", "passed_attempt"),
    ("allowance", "passage"),
    ("messages_api", "usage_page"),
    ("openai_api",),
    ("page.__init__", "page.access", "page.details", "page.keystate", "page.recorder"),
    ("page.desk", "page.exports", "page.snapshot"),
    ("page.history", "page.live"),
    ("page.reader",),
    ("page.runs",),
    ("page.site",),
    ("routes",),
    ("app",),
    ("embed", "server"),
)


def proxy_place(name: str) -> str:
    """`a2py.proxy.page.desk` → `page.desk`, `a2py.proxy.page` → `page.__init__`."""
    inner = name.removeprefix("a2py.proxy").removeprefix(".")
    return {"": "__init__", "page": "page.__init__"}.get(inner, inner)


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "proxy"], ids=str)
def test_a_module_of_the_proxy_imports_only_lower_ones(path: Path) -> None:
    strata = {name: number for number, names in enumerate(PROXY) for name in names}
    own = proxy_place(module(path))
    assert own in strata, f"{path}: PROXY does not say on which stratum it is"
    targets = {proxy_place(name) for name in modules(path) if name.startswith("a2py.proxy")} - {own}
    bad = [name for name in targets if strata[name] >= strata[own]]
    assert not bad, f"{path} must not import {bad}"


def test_the_strata_of_the_proxy_are_those_of_its_files() -> None:
    places = [name for names in PROXY for name in names]
    assert sorted(places) == sorted(proxy_place(module(path)) for path in FILES if path.parts[0] == "proxy")
    assert "a2py.proxy.aiohttp_server" in set(modules(Path("proxy/responses.py"))), "the rule above sees imports"
