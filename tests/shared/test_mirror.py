"""How processes divide a limit while Redis does not answer: together they never use more than it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from a2py.shared.mirror import MAX_SUBJECTS, OTHERS_MS, Mirror
from a2py.shared.script import SLICE_MS, SLICES, Change, Counts, slice_of
from a2py.shared.subject import Ask, Asks, Subject

NOW = 1_800_000_000_000
MINUTE = SLICE_MS * SLICES


def alone(count: int = 1, rank: int = 0) -> Mirror:
    mirror = Mirror()
    mirror.note_beat(NOW, count, rank, {})
    mirror.begin_alone(NOW)
    return mirror


def one(subject: Subject, input: int = 0, output: int = 0) -> Asks:
    return (Ask(subject, input, output),)


def fill(mirror: Mirror, asks: Asks, now: int = NOW) -> int:
    """Return how often `asks` is granted."""
    count = 0
    while mirror.take([asks], now)[0] == 0:
        count += 1
    return count


@given(st.integers(0, 40), st.integers(1, 7))
def test_the_parts_of_a_limit_are_the_limit(limit: int, count: int) -> None:
    asks = one(Subject("x", rpm=limit or 1))
    parts = [fill(alone(count, rank), asks) for rank in range(count)]
    assert sum(parts) == (limit or 1)
    places = one(Subject("x", parallel=limit or 1))
    assert sum(fill(alone(count, rank), places) for rank in range(count)) == (limit or 1)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 90_000)), max_size=60),
    st.integers(1, 20),
    st.lists(st.integers(0, 2), max_size=20),
)
def test_with_what_was_counted_before_no_minute_has_more(
    requests: list[tuple[int, int]], rpm: int, before: list[int]
) -> None:
    """Three processes know what each has used before; then each decides alone for up to 90 s."""
    subject = Subject("x", rpm=rpm)
    asks = one(subject)
    mirrors = [Mirror() for _ in range(3)]
    starts = []
    for mirror in mirrors:
        mirror.watch(["x"])
    for count, process in enumerate(before[:rpm]):
        mirrors[process].note_take(asks, NOW, [(count, 0)])
        starts.append(NOW)
    total = len(before[:rpm])
    for rank, mirror in enumerate(mirrors):
        mirror.note_beat(NOW, 3, rank, {"x": Counts(0, 0, ((slice_of(NOW), total, 0),))})
        mirror.begin_alone(NOW + 1)
    for process, after in sorted(requests, key=lambda pair: pair[1]):
        if mirrors[process].take([asks], NOW + 1 + after)[0] == 0:
            starts.append(NOW + 1 + after)
    assert all(sum(0 <= start - begin < 60_000 for start in starts) <= rpm for begin in starts)


def test_a_request_leaves_the_minute_after_60_to_65_seconds() -> None:
    mirror, asks = alone(), one(Subject("x", rpm=1))
    assert fill(mirror, asks) == 1
    choice, refusals = mirror.take([asks], NOW + 100)
    assert choice == -1 and refusals[0].limit == "rpm" and 60 <= refusals[0].seconds + 0.1 <= 65
    assert fill(mirror, asks, NOW + 59_999) == 0 and fill(mirror, asks, NOW + 65_000) == 1


def test_tokens_of_running_requests_count_until_they_end() -> None:
    subject = Subject("x", tpm=1000)
    mirror = alone()
    assert fill(mirror, one(subject, 300, 200)) == 2
    assert mirror.take([one(subject, 300, 200)], NOW)[1][0].seconds > 0
    mirror.change("x", Change(0, -200, slice_of(NOW), 0, -300, 0, 10), NOW, is_sent=False)
    assert fill(mirror, one(subject, 300, 190)) == 1
    assert math.isinf(mirror.take([one(subject, 1001)], NOW)[1][0].seconds)
    assert mirror.take([one(subject, 900, 90)], NOW)[1][0].seconds == 60.0, "what others hold ends some time"


def test_places_that_others_had_count_for_as_long_as_a_lease() -> None:
    subject = Subject("x", parallel=4)
    mirror = Mirror()
    mirror.share("x", NOW)
    mirror.note_beat(NOW, 2, 0, {"x": Counts(3, 0, ())})
    mirror.begin_alone(NOW)
    assert fill(mirror, one(subject)) == 1 and fill(mirror, one(subject), NOW + OTHERS_MS) == 1
    mirror.change("x", Change(running=-1), NOW, is_sent=False)
    assert mirror.shares["x"].running == 1


def test_the_first_candidate_with_room_is_taken() -> None:
    mirror = alone()
    full, other = one(Subject("full", rpm=1)), one(Subject("other", rpm=1))
    assert [mirror.take([full, other], NOW)[0] for _ in range(3)] == [0, 1, -1]
    assert mirror.take([full, ()], NOW) == (1, []), "a deployment without limits"


def test_what_was_counted_alone_is_owed_until_redis_was_told() -> None:
    mirror = alone()
    assert fill(mirror, one(Subject("x", rpm=2, parallel=9))) == 2
    standings = mirror.standings(NOW)
    assert standings["x"].running == 2 and standings["x"].slices == ((slice_of(NOW), 2, 0),)
    mirror.forget_debt()
    assert mirror.standings(NOW)["x"].slices == ()
    assert mirror.standings(NOW, is_all=True)["x"].slices == ((slice_of(NOW), 2, 0),), "Redis was emptied"
    mirror.owe(standings)
    assert mirror.standings(NOW)["x"].slices == ((slice_of(NOW), 2, 0),)


def test_what_others_use_is_known_from_each_answer() -> None:
    """Nine of ten requests were counted before ours: the other processes' are nine."""
    mirror, asks = Mirror(), one(Subject("x", rpm=12))
    mirror.note_take(asks, NOW, [(9, 0)])
    mirror.begin_alone(NOW)
    assert fill(mirror, asks) == 2
    mirror.end_alone()
    assert mirror.alone_since == 0


def test_until_redis_has_answered_the_workers_of_a_machine_divide_the_limit() -> None:
    """Each of four that started while Redis was away let ten of `rpm: 10` through."""
    every = [Mirror() for _ in range(4)]
    for rank, mirror in enumerate(every):
        mirror.assume(4, rank)
        mirror.begin_alone(NOW)
    assert [fill(mirror, one(Subject("x", rpm=10))) for mirror in every] == [3, 3, 2, 2]
    every[0].note_beat(NOW, 8, 1, {})
    every[0].assume(4, 0)
    assert (every[0].count, every[0].rank) == (8, 1)


def test_a_second_outage_divides_anew() -> None:
    mirror, asks = alone(2), one(Subject("x", rpm=10))
    assert fill(mirror, asks) == 5
    mirror.end_alone()
    mirror.begin_alone(NOW)
    assert fill(mirror, asks) == 3, "five of ten are left, and this process is the first of two"


def test_subjects_that_are_not_used_are_forgotten() -> None:
    mirror = alone()
    asks = one(Subject("running", parallel=1))
    assert fill(mirror, asks) == 1
    for number in range(MAX_SUBJECTS + 10):
        mirror.take([one(Subject(f"s{number}", rpm=1))], NOW)
    assert len(mirror.shares) == MAX_SUBJECTS + 1, "something runs at one of them"
    assert "running" in mirror.shares and "s0" not in mirror.shares
    mirror.forget_debt()
    mirror.note_beat(NOW + 2 * MINUTE, 1, 0, {"unknown": Counts(0, 0, ())})
    assert list(mirror.shares) == ["running"]
