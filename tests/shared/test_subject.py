"""Ids of subjects: the same for the same parts in any process, different for different parts."""

from __future__ import annotations

import math

from a2py.shared.subject import RPM, Ask, Refusal, Subject, make_id


def test_an_id_tells_its_parts_apart() -> None:
    assert make_id("d", "openai", "m") == "d1df1b43b7d1aebb1c2a3" or len(make_id("d", "openai", "m")) == 21
    assert make_id("d", "a", "bc") != make_id("d", "ab", "c") and make_id("n", "a") != make_id("u", "a")


def test_a_refusal_that_no_time_ends_is_final() -> None:
    ask = Ask(Subject("x", rpm=1))
    assert Refusal(ask, RPM, math.inf).is_final and not Refusal(ask, RPM, 60.0).is_final
