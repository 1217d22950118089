"""What the end of an attempt changes in the shared counts."""

from __future__ import annotations

from collections.abc import Mapping

from a2py.shared.grant import Grant
from a2py.shared.script import Change
from a2py.shared.subject import Ask, Subject


class Notes:
    def __init__(self) -> None:
        self.changes: list[dict[str, Change]] = []

    def change(self, changes: Mapping[str, Change], since: int) -> None:
        assert since == 7
        self.changes.append(dict(changes))


ALL = Ask(Subject("all", rpm=5, tpm=1000, parallel=2), 100, 200)
RATE = Ask(Subject("rate", rpm=5))


def grant(*asks: Ask) -> tuple[Grant, Notes]:
    notes = Notes()
    return Grant(notes, asks, 40, 7), notes


def test_settling_replaces_the_reserved_tokens_and_frees_the_place_once() -> None:
    one, notes = grant(ALL, RATE)
    one.settle(120, 30)
    one.settle(1, 1)
    one.cancel()
    assert notes.changes == [{"all": Change(-1, -200, 40, 0, 20, 0, 30)}]


def test_cancelling_takes_the_request_back() -> None:
    one, notes = grant(ALL, RATE)
    one.cancel()
    assert notes.changes == [{"all": Change(-1, -200, 40, -1, -100, 0, 0), "rate": Change(0, 0, 40, -1, 0, 0, 0)}]


def test_where_nothing_changes_nothing_is_sent() -> None:
    one, notes = grant(RATE)
    one.settle(120, 30)
    assert notes.changes == []


def test_a_further_hop_is_a_request() -> None:
    one, notes = grant(ALL, Ask(Subject("places", parallel=1)))
    one.count_hop()
    other, nothing = grant(Ask(Subject("places", parallel=1)))
    other.count_hop()
    assert notes.changes == [{"all": Change(new_requests=1)}] and nothing.changes == []
