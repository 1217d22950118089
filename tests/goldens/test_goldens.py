"""Each heading of tests/goldens/*.md is one test. `make goldens` rewrites the checked blocks, for review with git
diff."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import golden

DOCS = Path(__file__).parents[2] / "docs" / "translation.md"
#: The rules of docs/translation.md, by their anchors.
RULES = [name.upper() for name in re.findall(r'<a id="([abc]\d+)">', DOCS.read_text("utf-8"))]
#: Rules that no golden can show: what tests them instead.
ELSEWHERE = {
    "A19": "model names: tests/config/test_names.py, tests/proxy/test_router.py",
    "B7": "the two pivots: tests/whole/test_relay_pivots.py",
    "B8": "keep-alive: tests/whole/test_relay*.py",
    "B9": "errors as HTTP: tests/proxy/test_http.py",
    "B11": "count_tokens: tests/messages/test_count.py, tests/whole/test_llamacpp.py",
    "B12": "models: tests/proxy/test_models.py",
    "B13": "small endpoints: tests/proxy/test_http.py",
}


@pytest.mark.parametrize("case", golden.cases(), ids=lambda case: case.id)
def test_golden(case: golden.Case) -> None:
    golden.run(case)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_its_golden(rule: str) -> None:
    assert any(golden.find_cases(rf"\b{rule}\b")) or rule in ELSEWHERE


def test_titles_are_unique() -> None:
    titles = [case.id for case in golden.cases()]
    assert len(titles) == len(set(titles))
