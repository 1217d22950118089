"""The parts of a limit, and the limits of several processes together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from a2py.proxy.limits import WINDOW, Limits, Tokens
from a2py.proxy.places import Places
from a2py.proxy.share import WHOLE, Share
from tests.clock import Clock
from tests.proxy.test_limits import dep
from tests.proxy.test_places import dep as dep_at


@given(st.integers(0, 10**9), st.integers(1, 64))
def test_the_parts_add_up_to_the_limit(limit: int, count: int) -> None:
    parts = [Share(number, count).part(limit) for number in range(count)]
    assert sum(parts) == (limit if limit >= count else count if limit else 0)
    assert max(parts) - min(parts) <= 1 and WHOLE.part(limit) == limit


def test_how_a_limit_is_named() -> None:
    assert WHOLE.describe("rpm", 10) == "rpm 10"
    assert Share(3, 4).describe("rpm", 10) == "rpm 10 [2 in this worker]"


def test_four_processes_start_no_more_than_rpm() -> None:
    """Whatever way the requests are spread: here each asks each process until it refuses."""
    clock = Clock()
    all_of_them = [Limits(clock) for _ in range(4)]
    for number, limits in enumerate(all_of_them):
        limits.divide(Share(number, 4))
    one = dep(rpm=10)
    starts = [sum(limits.reserve(one, Tokens()) is not None for _ in range(20)) for limits in all_of_them]
    assert starts == [3, 3, 2, 2]
    shortage = all_of_them[3].find_shortage(one, Tokens())
    assert shortage is not None and shortage.limit == "rpm 10 [2 in this worker]" and shortage.seconds == WINDOW


def test_a_request_larger_than_a_part_of_tpm_starts_alone() -> None:
    """Otherwise four workers with `tpm: 100000` would never answer a prompt of 30,000 tokens."""
    clock = Clock()
    limits = Limits(clock)
    limits.divide(Share(0, 4))
    one = dep(tpm=100_000)
    assert limits.reservation_size(one, Tokens(30_000, 500)) == (30_000, 0)
    first = limits.reserve(one, Tokens(30_000, 500))
    assert first is not None
    first.settle(30_000, 100)
    shortage = limits.find_shortage(one, Tokens(30_000, 500))
    assert shortage is not None and shortage.seconds == WINDOW
    clock.now += WINDOW
    small = limits.reserve(one, Tokens(1_000, 500))
    assert small is not None
    clock.now += WINDOW
    shortage = limits.find_shortage(one, Tokens(30_000, 500))
    assert shortage is not None and shortage.seconds == WINDOW, "the small one still holds its output"
    small.settle(1_000, 0)
    assert limits.find_shortage(one, Tokens(30_000, 500)) is None
    never = limits.find_shortage(one, Tokens(100_001, 500))
    assert never is not None and never.seconds == float("inf") and never.limit == "tpm 100000 [25000 in this worker]"


def test_places_are_divided_too() -> None:
    places = Places(Clock())
    places.share = Share(1, 2)
    places.total_limit = 7
    one, other = dep("a", max_parallel=3), dep_at("b", slots=1)
    in_use = [places.take(one)]
    bound = places.find_limit(one)
    assert bound is not None and (bound.limit, bound.label) == (1, "max_parallel_requests 3 [1 in this worker]")
    assert places.find_limit(other) is None
    in_use.append(places.take(other))
    bound = places.find_limit(other)
    assert bound is not None and bound.is_of_server and bound.label == "slots 1 [1 in this worker]"
    in_use.append(places.take(dep("c")))
    assert places.is_total_reached
    bound = places.find_limit(dep("d"))
    assert bound is not None and bound.label == "global_max_parallel_requests 7 [3 in this worker]"
