"""What the coverage map takes for a gap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import coverage_map

MODULE = """
def grade(number):
    if number > 9:
        return "high"
    for digit in str(number):
        if digit == "7":
            return "seven"
    return "low"
"""
#: Arguments: the data file, the module, the context, numbers.
PROGRAM = """
import sys, coverage
file, module, context, *numbers = sys.argv[1:]
measured = coverage.Coverage(data_file=file, config_file=False, branch=True, include=[module], context=context)
measured.start()
names = {}
exec(compile(open(module).read(), module, "exec"), names)
for number in numbers:
    names["grade"](int(number))
measured.stop()
measured.save()
"""


@pytest.mark.parametrize(
    ("test_file", "numbers", "lines"),
    [
        ("tests/wires/common/test_names.py", ["10", "7", "1"], ""),
        ("tests/wires/common/test_names_called.py", ["10", "7", "1"], ""),
        ("tests/goldens/test_goldens.py", ["10", "7", "1"], ""),
        ("tests/wires/common/test_names.py", ["10", "7"], "8, 6->5"),
        ("tests/wires/common/test_names.py", ["10", "1"], "7"),
        ("tests/wires/common/test_text.py", ["10", "7", "1"], "3, 4, 5, 6, 7, 8"),
    ],
)
def test_a_gap_is_what_the_modules_own_tests_do_not_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test_file: str, numbers: list[str], lines: str
) -> None:
    name = "a2py/wires/common/names.py"
    monkeypatch.setattr(coverage_map, "ROOT", tmp_path)
    module, data = Path(tmp_path, name), str(tmp_path / ".coverage")
    module.parent.mkdir(parents=True)
    module.write_text(MODULE)
    assert coverage_map.is_measured(test_file)
    subprocess.run([sys.executable, "-c", PROGRAM, data, str(module), test_file, *numbers], check=True, timeout=60)
    gaps = dict(coverage_map.gaps(data))
    expected = {name: f"not reached by tests/wires/common/test_names.py or the goldens: {lines}"} if lines else {}
    assert gaps == expected


def test_tests_of_the_shell_do_not_count() -> None:
    assert not coverage_map.is_measured("tests/proxy/test_http.py")
    assert not coverage_map.is_measured("tests/whole/test_relay.py")


def test_the_core_is_what_imports_nothing_impure() -> None:
    modules = {module.as_posix() for module in coverage_map.core_modules()}
    assert {"a2py/sse.py", "a2py/http1/response.py", "a2py/wires/chat/stream.py", "a2py/evidence/fact.py"} <= modules
    assert not [module for module in modules if module.startswith(("a2py/proxy/", "a2py/upstream/", "a2py/cli/"))]
