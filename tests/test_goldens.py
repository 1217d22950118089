"""Each heading of tests/goldens/*.md is one test. `make goldens` rewrites the checked blocks, for review with git diff."""

from __future__ import annotations

import pytest

from tests import golden


@pytest.mark.parametrize("case", golden.cases(), ids=lambda case: case.id)
def test_golden(case: golden.Case) -> None:
    golden.run(case)
