"""Ids of subjects: the same for the same parts in any process, different for different parts."""

from __future__ import annotations

from a2py.shared.subject import make_id


def test_an_id_tells_its_parts_apart() -> None:
    assert make_id("d", "openai", "m") == "ddfce7efea4c84e2dfd49", "another version shares with this one"
    assert make_id("d", "a", "bc") != make_id("d", "ab", "c") and make_id("n", "a") != make_id("u", "a")
