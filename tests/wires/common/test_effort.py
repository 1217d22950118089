"""How much reasoning a client wants, and the nearest word that an upstream knows."""

from __future__ import annotations

import pytest

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Request
from a2py.wires.common.effort import Want, nearest_effort, read_want


@pytest.mark.parametrize(
    ("body", "params", "want"),
    [
        ({"thinking": {"type": "enabled"}}, {}, Want("on")),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, {}, Want("on")),
        ({"output_config": {"effort": "odd"}}, {}, Want("absent")),
        ({}, {"reasoning_effort": 7, "thinking": "x"}, Want("absent")),
        ({"thinking": {"type": "between_tools"}, "output_config": {"effort": "low"}}, {}, Want("on", "low")),
    ],
)
def test_wanted(body: JSON, params: JSON, want: Want) -> None:
    assert read_want(Request(body, "m", []), Deployment("n", "i", "c", "m", "b", params=params)) == want


def test_nearest_without_words_or_with_foreign_ones() -> None:
    assert nearest_effort("high", ()) == ""
    assert nearest_effort("high", ("on", "medium")) == "medium"
