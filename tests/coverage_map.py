"""Check that each core module is covered by its own tests and the goldens: `make test ARGS=--coverage-map`.

The core is L0 to L2: the files in the root of a2py, http1, messages, providers, wires, evidence and search. The own tests of
a2py/wires/native/strip.py are tests/wires/native/test_strip.py and tests/wires/native/test_strip_*.py. Together with
the golden cases, and the floods and slices of SHARED, they must reach every line and every branch of every function.
A gap fails the run.

How: a pytest plugin measures branch coverage, but only during the files of tests/ that count. Each of these files is a
context of coverage, so that the report can ask what one module's own tests reach. A context for each test would write
some 30 million arcs; a context for each file writes 300,000. What runs while the core is imported does not depend on a
test: it is measured in a process of its own, and counts for every module.

Knows: which test files belong to which module. Must not know: what the tests do.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import coverage
import orjson
import pytest

ROOT = Path(__file__).resolve().parents[1]
#: The parts of a2py that this page is about: see STRATA in test_layers.py.
CORE = ("http1", "messages", "providers", "wires", "evidence", "search")
#: Test files that check one property of all modules together: what each golden says, that each limit holds, that long
#: work is done in slices.
SHARED = ("tests/goldens/test_goldens.py", "tests/whole/test_limits.py", "tests/whole/test_large_requests.py")


#: Module → the module whose tests are its own, too: the decoder hands each event on to the output, the verbs of blocks
#: hand each piece on to the sequence, and the tests check both at once.
TOGETHER = {
    "a2py/wires/responses/output.py": "a2py/wires/responses/stream.py",
    "a2py/wires/chat/output.py": "a2py/wires/chat/stream.py",
    "a2py/messages/sequence.py": "a2py/messages/blocks.py",
}
#: The context of what runs at import.
IMPORT = "import"
#: A program that imports the core under coverage. Arguments: the data file, the context, the modules.
IMPORTER = """
import sys, importlib, coverage
from pathlib import Path
file, context, *paths = sys.argv[1:]
cov = coverage.Coverage(data_file=file, data_suffix=True, config_file=False, branch=True, include=paths, context=context)
cov.start()
for path in paths:
    importlib.import_module(".".join(Path(path).relative_to(Path.cwd()).with_suffix("").parts).removesuffix(".__init__"))
cov.stop()
cov.save()
"""


def core_modules() -> list[Path]:
    """Return the core's files that hold functions, relative to the repository."""
    files = [*(ROOT / "a2py").glob("*.py"), *(file for name in CORE for file in (ROOT / "a2py" / name).rglob("*.py"))]
    return sorted(file.relative_to(ROOT) for file in files if file.name != "__main__.py" and function_lines(file))


def function_lines(file: Path) -> set[int]:
    """Return the lines that run when a function is called, not when the module is imported."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines.update(range(node.body[0].lineno, (node.end_lineno or 0) + 1))
    return lines


def own_tests(module: Path) -> str:
    """Return a pattern for the test files of a module, relative to the repository."""
    folder = Path("tests", *module.parts[1:-1]).as_posix()
    if module.name == "__init__.py":
        return re.escape(folder) + r"/test_\w+\.py"
    return re.escape(f"{folder}/test_{module.stem}") + r"(_\w+)?\.py"


def is_measured(test_file: str) -> bool:
    """Return whether a test file can belong to a core module."""
    parts = Path(test_file).parts
    return test_file in SHARED or (parts[0] == "tests" and (len(parts) == 2 or parts[1] in CORE))


def gaps(data_file: str) -> Iterator[tuple[str, str]]:
    """Yield each core module that its own tests and the goldens do not cover, and what they do not reach."""
    for module in core_modules():
        with TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            cov = coverage.Coverage(data_file=data_file, config_file=False, branch=True)
            cov.load()
            together = Path(TOGETHER.get(module.as_posix(), module))
            contexts = [
                f"^{own_tests(module)}$",
                f"^{own_tests(together)}$",
                *(f"^{re.escape(name)}$" for name in (*SHARED, IMPORT)),
            ]
            cov.json_report(morfs=[str(ROOT / module)], contexts=contexts, outfile=str(report), ignore_errors=True)
            measures: dict[str, Any] = next(iter(orjson.loads(report.read_bytes())["files"].values()))
        inside = function_lines(ROOT / module)
        lines = [str(line) for line in measures["missing_lines"] if line in inside]
        missing = set(measures["missing_lines"])
        branches = [
            f"{start}->{'exit' if end < 0 else end}"
            for start, end in measures.get("missing_branches", [])
            if start in inside and start not in missing and end not in missing
        ]
        if lines or branches:
            tests = f"tests/{module.relative_to('a2py').with_name('test_' + module.name).as_posix()}"
            yield module.as_posix(), f"not reached by {tests} or the goldens: {', '.join(lines + branches)}"


class Plugin:
    """Measures while the tests run, one data file for each process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cov: coverage.Coverage | None = None
        self.file = ""

    def _switch(self, test_file: str) -> None:
        if test_file == self.file:
            return
        self.file = test_file
        if self.cov is not None:
            self.cov.stop()
        if not is_measured(test_file):
            return
        if self.cov is None:
            self.cov = coverage.Coverage(
                data_file=str(self.folder / ".coverage"),
                data_suffix=True,
                config_file=False,
                branch=True,
                include=[str(ROOT / file) for file in core_modules()],
            )
        self.cov.start()
        self.cov.switch_context(test_file)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._switch(item.path.relative_to(ROOT).as_posix())
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        if self.cov is not None:
            self.cov.stop()
            self.cov.save()


class Report:
    """Reads what all processes have measured. Part of the process that prints the summary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.errors: list[str] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["coverage_map"] = str(self.folder)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        data = str(self.folder / ".coverage")
        paths = [str(ROOT / file) for file in core_modules()]
        subprocess.run([sys.executable, "-c", IMPORTER, data, IMPORT, *paths], cwd=ROOT, check=True)
        cov = coverage.Coverage(data_file=data, config_file=False, branch=True)
        cov.combine([str(self.folder)], keep=True)
        cov.save()
        self.errors = [f"{module}: {lines}" for module, lines in gaps(data)]
        if (keep := os.environ.get("A2PY_COVERAGE_DATA")) is not None:
            shutil.copy(data, keep)
        shutil.rmtree(self.folder)
        if self.errors and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_sep("-", f"coverage map: {len(self.errors)} core modules have gaps")
        for line in self.errors:
            terminalreporter.write_line(line)


def register(config: pytest.Config) -> None:
    """Register the plugins that `--coverage-map` asks for. Worker processes of pytest-xdist get the folder with the
    options."""
    if not config.option.coverage_map:
        return
    path = getattr(config, "workerinput", {}).get("coverage_map")
    folder = Path(path or mkdtemp(prefix="a2py-coverage-"))
    if not path:
        config.pluginmanager.register(Report(folder))
    config.pluginmanager.register(Plugin(folder))
