"""The verdict of the coverage map: which gaps fail, and that the list of known ones only shrinks."""

from __future__ import annotations

from tests.coverage_map import KNOWN_GAPS, core_modules, judge


def test_a_gap_fails_unless_it_is_known() -> None:
    found = {"a2py/a.py": "not reached: 5", "a2py/b.py": "not reached: 7"}
    assert judge(found, frozenset(["a2py/b.py"])) == (
        ["a2py/a.py: not reached: 5"],
        ["a2py/b.py: (known) not reached: 7"],
    )


def test_a_module_without_gaps_leaves_the_list() -> None:
    errors, known = judge({}, frozenset(["a2py/b.py"]))
    assert known == [] and "remove it from KNOWN_GAPS" in errors[0]


def test_known_gaps_are_modules_of_the_core() -> None:
    assert {module.as_posix() for module in core_modules()} >= KNOWN_GAPS
