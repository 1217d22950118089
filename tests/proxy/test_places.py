"""The places of running requests, and the limits that they count towards."""

from __future__ import annotations

from typing import Any

from a2py.deployment import Deployment
from a2py.proxy.places import MAX_HOLDS, Places
from tests.clock import Clock


def dep(id: str = "d", name: str = "m", **more: Any) -> Deployment:
    return Deployment(name=name, id=id, provider="p", model="u", base=more.pop("base", "http://x:1/v1"), **more)


def limit(places: Places, one: Deployment, **more: Any) -> str:
    bound = places.find_limit(one, **more)
    return "" if bound is None else f"{bound.label} of {bound.subject or one.id}"


def test_a_place_counts_towards_each_limit() -> None:
    places = Places(Clock())
    places.total_limit = 4
    own, slots = dep("a", max_parallel=1), dep("b", base="http://y:1/v1", slots=1)
    assert not limit(places, own) and not limit(places, slots)
    in_use = [places.take(own), places.take(slots)]
    assert limit(places, own) == "max_parallel_requests 1 of a"
    assert limit(places, slots) == limit(places, dep("c", "other", base="http://y:1/v1", slots=1)) == "slots 1 of y:1"
    by_name = dep("e", "big", name_parallel=1)
    in_use.append(places.take(by_name))
    assert limit(places, dep("f", "big", name_parallel=1)) == "a2py: max_parallel_requests 1 of big"
    assert limit(places, dep("g", "gpt", group="big", name_parallel=1)) == "a2py: max_parallel_requests 1 of big"
    assert not places.is_total_reached
    in_use.append(places.take(dep("h")))
    assert limit(places, dep("i")) == "global_max_parallel_requests 4 of the proxy" and places.is_total_reached
    for place in in_use * 2:
        place.release()
    assert not places.running() and not places._total


def test_a_limit_of_the_configuration_replaces_the_slots() -> None:
    places = Places(Clock())
    one = dep(slots=1, max_parallel=2)
    places.take(one)
    assert not limit(places, one)
    places.take(one)
    assert limit(places, one) == "max_parallel_requests 2 of d"


def test_the_place_that_is_held_already_does_not_count() -> None:
    places = Places(Clock())
    places.total_limit = 1
    one, other = dep("a", max_parallel=1), dep("b", max_parallel=1)
    place = places.take(one)
    assert not limit(places, one, own_place=place) and not limit(places, other, own_place=place)
    assert limit(places, other)


def test_how_long_a_wait_may_last() -> None:
    """By the mean time for which places are held, or by that of the running ones if it is longer."""
    clock = Clock()
    places = Places(clock)
    one = dep(max_parallel=2)
    assert places.estimate_wait([one], 1) == 0.0, "nobody runs"
    first, second = places.take(one), places.take(one)
    clock.now += 10
    assert places.estimate_wait([one], 1) == 5.0 and places.estimate_wait([one], 4) == 20.0
    first.release()
    second.release()
    places.take(one)
    places.take(one)
    assert places.estimate_wait([one, one], 1) == 5.0
    clock.now += 30
    assert places.estimate_wait([one], 1) == 15.0
    other = dep("other", max_parallel=2)
    places.take(other)
    clock.now += 10
    assert round(places.estimate_wait([one, other], 1), 3) == round(1 / (2 / 40 + 1 / 10), 3)


def test_the_wait_for_a_limit_that_others_have_reached() -> None:
    """Whoever ends first of all that count towards the limit makes room, whatever its deployment."""
    for total, first, second in (
        (1, dep("a"), dep("b", "other")),
        (0, dep("a", name_parallel=1), dep("b", name_parallel=1)),
        (0, dep("a", slots=1), dep("b", "other", slots=1)),
    ):
        clock = Clock()
        places = Places(clock)
        places.total_limit = total
        places.take(first)
        places.take(dep("elsewhere", "elsewhere", base="http://y:1/v1"))
        clock.now += 10
        assert limit(places, second)
        assert places.estimate_wait([second], 3) == (15.0 if total else 30.0)


def test_means_are_bounded() -> None:
    places = Places(Clock())
    for n in range(MAX_HOLDS + 10):
        places.take(dep(f"d{n}")).release()
    assert len(places._holds) == MAX_HOLDS and f"d{MAX_HOLDS + 9}" in places._holds


def test_the_narrowest_limit() -> None:
    """Which a message names, if others wait in front."""
    places = Places(lambda: 0.0)
    assert places.find_narrowest(dep("a")) is None
    places.total_limit = 9
    names = [
        (dep("a"), "global_max_parallel_requests 9"),
        (dep("a", name_parallel=3), "a2py: max_parallel_requests 3"),
        (dep("a", name_parallel=3, slots=2), "slots 2"),
        (dep("a", name_parallel=3, slots=2, max_parallel=1), "max_parallel_requests 1"),
    ]
    for one, label in names:
        bound = places.find_narrowest(one)
        assert bound is not None and bound.label == label
