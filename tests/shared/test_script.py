"""What the scripts are given, and how their replies are read. What Redis makes of them: test_store.py."""

from __future__ import annotations

import math

import pytest

from a2py.shared import script
from a2py.shared.subject import Ask, Refusal, Subject

A, B = Subject("a", rpm=3), Subject("b", tpm=100, parallel=2)


def test_each_key_is_named_once_and_all_have_one_hash_tag() -> None:
    candidates = [(Ask(A), Ask(B, 1, 2)), (Ask(A),)]
    digest, count, *rest = script.take_arguments("p", 9, candidates)
    keys, values = rest[:count], rest[count:]
    assert digest == script.TAKE.digest and keys == [script.PROCESSES, script.SUBJECT + "a", script.SUBJECT + "b"]
    assert values == ["p", "9 2 2 2 3 0 0 0 0 3 0 100 2 1 2 1 2 3 0 0 0 0"]
    assert all(key.startswith("{a2py:1}:") for key in (*keys, script.BIRTH, script.NEWS))


def test_a_reply_names_the_candidate_or_why_none_has_room() -> None:
    candidates = [(Ask(A),), (Ask(A), Ask(B, 1, 2))]
    assert script.read_take([50, 2, 1, 0, 4, 8], candidates) == script.Take(50, 2, 1, ((1, 0), (4, 8)))
    verdict = script.read_take([50, 0, 1, 0, 2500, 2, 1, 9 * 10**15], candidates)
    assert verdict.refusals == (Refusal(Ask(A), "rpm", 2.5), Refusal(Ask(B, 1, 2), "tpm", math.inf))
    assert script.read_take([50, -1], candidates).code == script.NO_LEASE


def test_a_beat_without_a_lease_says_nothing_else() -> None:
    assert script.read_beat([7, -1]) == script.Beat(7, has_lease=False)
    beat = script.read_beat([7, 3, 1, b"w", [b"1-0", b"x", b"1-1", b""], [[1, 20, 5, 2, 30, 6, 1, 10]]])
    assert (beat.processes, beat.rank, beat.words) == (3, 1, (("1-0", b"x"), ("1-1", b"")))
    assert beat.counts == (script.Counts(1, 20, ((5, 2, 30), (6, 1, 10))),)


@pytest.mark.parametrize(
    "reply", [[], [1], ["x", 2, 3, b"", [], []], [7, 3, 1, b"w", None, []], [7, 3, 1, b"w", [1, 2], []]]
)
def test_what_no_script_of_ours_gives_raises_what_the_store_expects(reply: list[object]) -> None:
    from a2py.shared.store import MALFORMED

    with pytest.raises(MALFORMED):
        beat = script.read_beat(reply)
        [int(id) for id, _ in beat.words] and beat.now + 1
