"""What the decoder of a response keeps is bounded: too long a text is forgotten, and too many records end the reply."""

from __future__ import annotations

import pytest

from a2py.wires.responses import budget as budgets
from a2py.wires.responses.budget import PIECE_COST, Budget
from a2py.wires.responses.item import TEXT, Part


def test_a_text_over_the_limit_is_forgotten_and_others_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "KEPT_LIMIT", 3 * (PIECE_COST + 1))
    budget, long, short = Budget(), Part(TEXT, "1"), Part(TEXT, "2")
    budget.keep(short, "a")
    budget.keep(long, "b")
    budget.keep(long, "c")
    assert (short.pieces, long.pieces) == (["a"], ["b", "c"])
    budget.keep(long, "d")
    assert (short.pieces, long.pieces) == (["a"], None)
    assert budget.text == PIECE_COST + 1, "its characters are given back"
    budget.keep(long, "e")
    assert long.pieces is None and budget.text == PIECE_COST + 1
    budget.keep(short, "f")
    assert short.pieces == ["a", "f"]


def test_records_fill_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "ITEMS_LIMIT", 10)
    budget = Budget()
    budget.records = 10
    assert not budget.is_full
    budget.records += 1
    assert budget.is_full
