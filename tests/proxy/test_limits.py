"""Limits of deployments: the window, the reservations and the usual output, on a clock of the test's own, against a
naive reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.deployment import Deployment
from a2py.proxy.limits import (
    EXACT,
    FIRST_OUTPUT,
    USUAL_MODELS,
    WINDOW,
    Limits,
    RateWindow,
    Reservation,
    Shortage,
    Tokens,
)
from tests.clock import Clock


def dep(id: str = "d", model: str = "u", **more: Any) -> Deployment:
    return Deployment(name="m", id=id, provider="p", model=model, base="http://x", **more)


#: Quarters of a second: sums and differences of these have no rounding error, so that "exactly 60 s" is what it says.
PAUSES = st.one_of(
    st.sampled_from([0.0, 0.25, 59.75, 60.0, 60.25]), st.integers(0, 280).map(lambda quarters: quarters / 4)
)


# -- the window --------------------------------------------------------------------------------------------------------


def test_an_amount_counts_for_exactly_a_minute() -> None:
    """It used to be forgotten after 55 to 60 seconds."""
    for start in (0.0, 1.0, 4.75, 1003.25):
        window = RateWindow()
        window.add(start, 3)
        window.add(start + 30, 4)
        assert window.total(start + 59.75) == 7
        assert window.total(start + 60) == 4
        assert window.total(start + 89.75) == 4
        assert window.total(start + 90) == 0 and window.entries == 0


@given(st.lists(st.tuples(PAUSES, st.integers(0, 50)), max_size=60))
def test_the_sum_is_exact(amounts: list[tuple[float, int]]) -> None:
    window, now = RateWindow(), 0.0
    steps: list[Any] = []
    for pause, amount in amounts:
        now += pause
        assert window.total(now) == sum(one for at, one in steps if at > now - WINDOW)
        window.add(now, amount)
        steps.append((now, amount))
    assert window.total(now) == sum(one for at, one in steps if at > now - WINDOW)


@given(
    st.lists(
        st.tuples(st.one_of(st.floats(0, 2, allow_nan=False), st.floats(0, 90, allow_nan=False)), st.integers(0, 50)),
        max_size=120,
    )
)
def test_a_coarse_sum_is_never_too_low(amounts: list[tuple[float, int]]) -> None:
    """With more amounts than exact entries: at least the true sum, at most that of a grain more, in bounded memory."""
    exact = 5
    grain = WINDOW / exact
    window, now = RateWindow(exact), 0.0
    steps: list[Any] = []
    for pause, amount in amounts:
        now += pause
        least = sum(one for at, one in steps if now - at < WINDOW)
        most = sum(one for at, one in steps if now - at < WINDOW + grain + 1e-6)
        assert least <= window.total(now) <= most
        window.add(now, amount)
        steps.append((now, amount))
        assert window.entries <= 2 * exact + 1


def test_memory_is_bounded() -> None:
    window = RateWindow()
    for n in range(100_000):
        window.add(n / 1000, 1)
    assert window.entries <= 2 * EXACT + 1
    assert 60_000 <= window.total(100.0) <= 60_000 + 2 * 1000 * WINDOW / EXACT


@given(st.lists(st.tuples(PAUSES, st.integers(1, 50)), min_size=1, max_size=40), st.integers(-1, 400))
def test_the_wait_is_the_first_moment_with_room(amounts: list[tuple[float, int]], most: int) -> None:
    window, now = RateWindow(), 0.0
    for pause, amount in amounts:
        now += pause
        window.add(now, amount)
    wait = window.seconds_until(now, most)
    if most < 0:
        assert wait == math.inf
        return
    if wait:
        assert window.total(now + wait - 0.25) > most
    assert window.total(now + wait) <= most


def test_a_correction_counts_where_the_amount_was_added() -> None:
    window = RateWindow()
    early = window.add(0, 100)
    late = window.add(50, 10)
    window.correct(50, early, -40)
    assert window.total(50) == 70
    assert window.total(60) == 10
    window.correct(61, early, 1000)
    assert window.total(61) == 10, "what has left the window stays out"
    window.correct(61, late, 5)
    assert window.total(61) == 15 and window.total(110) == 0


# -- against a naive reference -----------------------------------------------------------------------------------------


@dataclass
class Attempt:
    """As the reference keeps it: every attempt for ever. `end` infinite: it runs."""

    start: float
    input: int
    output: int
    reservation: Reservation
    end: float = math.inf

    def counts(self, now: float) -> int:
        """Input from the start, output until the end, each for a minute from then."""
        return self.input * (self.start > now - WINDOW) + self.output * (self.end > now - WINDOW)


Step = tuple[float, str, int, int]
STEPS = st.lists(
    st.tuples(
        PAUSES, st.sampled_from(["start", "start", "end", "refused", "broken"]), st.integers(0, 60), st.integers(1, 60)
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(STEPS, st.integers(0, 5), st.integers(0, 150), st.integers(0, 3))
def test_limits_hold_in_every_window(steps: list[Step], rpm: int, tpm: int, parallel: int) -> None:
    """Replies never use more than they reserved here: then no limit is ever exceeded, in no window of a minute, and
    nothing is refused that fits."""
    clock = Clock()
    limits = Limits(clock)
    one = dep(rpm=rpm, tpm=tpm, max_parallel=parallel)
    attempts: list[Attempt] = []
    moments = []
    for pause, what, first, second in steps:
        clock.now += pause
        now = clock.now
        running = [attempt for attempt in attempts if attempt.end == math.inf]
        if what == "start":
            input, output = limits.reservation_size(one, Tokens(first, second))
            fits = not parallel or len(running) < parallel
            fits &= not rpm or sum(attempt.start > now - WINDOW for attempt in attempts) < rpm
            fits &= not tpm or sum(attempt.counts(now) for attempt in attempts) + input + output <= tpm
            shortage = limits.find_shortage(one, Tokens(first, second))
            reservation = limits.reserve(one, Tokens(first, second))
            assert (reservation is not None) == (shortage is None) == fits
            if reservation is not None:
                attempts.append(Attempt(now, input, output, reservation))
        elif running:
            attempt = running[first % len(running)]
            attempt.end = now
            if what == "refused":
                attempt.input = attempt.output = 0
            elif what == "end":
                attempt.input, attempt.output = attempt.input * second // 60, attempt.output * first // 60
            attempt.reservation.settle(attempt.input, attempt.output, complete=what == "end")
            attempt.reservation.settle(10**9, 10**9)  # only the first call counts
        moments.append(clock.now)
        if tpm:
            assert sum(limits.usage()[id].tokens for id in limits.usage()) == sum(
                attempt.counts(now) for attempt in attempts
            )
        assert limits.running.get("d", 0) == sum(attempt.end == math.inf for attempt in attempts)
    for now in moments:
        starts = [attempt for attempt in attempts if attempt.start <= now]
        if rpm:
            assert sum(attempt.start > now - WINDOW for attempt in starts) <= rpm
        if tpm:
            assert sum(attempt.counts(now) for attempt in starts) <= tpm
    for attempt in attempts:
        attempt.reservation.settle(0, 0)
    clock.now += WINDOW
    assert not limits.running and not any(map(any, limits.usage().values())), "nothing leaks"


@given(st.lists(st.floats(0, 3, allow_nan=False), max_size=200))
def test_a_large_rpm_errs_on_the_safe_side(pauses: list[float]) -> None:
    """With fewer exact entries than requests."""
    window, starts, now, rpm = RateWindow(3), [], 0.0, 8
    for pause in pauses:
        now += pause
        if window.total(now) < rpm:
            window.add(now, 1)
            starts.append(now)
            assert sum(now - at < WINDOW for at in starts) <= rpm


@given(STEPS, st.integers(1, 5), st.integers(1, 150))
def test_the_shortage_ends_when_it_says(steps: list[Step], rpm: int, tpm: int) -> None:
    clock = Clock()
    limits = Limits(clock)
    one = dep(rpm=rpm, tpm=tpm)
    for pause, _, first, second in steps:
        clock.now += pause
        demand = Tokens(first, second)
        shortage = limits.find_shortage(one, demand)
        if shortage is None:
            reservation = limits.reserve(one, demand)
            assert reservation is not None
            reservation.settle(reservation.input, reservation.output)
            continue
        if shortage.seconds == math.inf:
            assert first > tpm
            continue
        assert 0 < shortage.seconds <= WINDOW
        clock.now += shortage.seconds - 0.25
        assert limits.find_shortage(one, demand) is not None
        clock.now += 0.25
        assert limits.find_shortage(one, demand) is None


# -- single cases ------------------------------------------------------------------------------------------------------


def start(limits: Limits, deployment: Deployment, input: int = 0, max_tokens: int = 0) -> Reservation:
    reservation = limits.reserve(deployment, Tokens(input, max_tokens))
    assert reservation is not None
    return reservation


def test_the_example_of_the_module() -> None:
    clock = Clock()
    limits, one = Limits(clock), dep(tpm=10_000)
    reservation = start(limits, one, 2000, 32_000)
    assert limits.usage()["d"] == (0, 6096, 4096)
    assert limits.find_shortage(one, Tokens(2000, 32_000)) == Shortage("tpm 10000", 60.0, 6096)
    clock.now += 20
    reservation.settle(2100, 500, complete=True)
    assert limits.usage()["d"] == (0, 2600, 0)
    clock.now += 40
    assert limits.usage()["d"] == (0, 500, 0)
    clock.now += 20
    assert limits.usage()["d"] == (0, 0, 0)


def test_forty_requests_at_once() -> None:
    """Each of 1,000 tokens: all of them passed `tpm: 10000`."""
    limits, one = Limits(Clock()), dep(tpm=10_000)
    reservations = [limits.reserve(one, Tokens(900, 100)) for _ in range(40)]
    assert sum(reservation is not None for reservation in reservations) == 10


def test_a_long_stream_holds_its_output_until_it_ends() -> None:
    clock = Clock()
    limits, one = Limits(clock), dep(tpm=1000)
    long = start(limits, one, 100, 700)
    clock.now += 300
    assert limits.usage()["d"] == (0, 700, 700), "its input has left the window"
    assert limits.find_shortage(one, Tokens(100, 300)) == Shortage("tpm 1000", 60.0, 400)
    assert limits.find_shortage(one, Tokens(100, 200)) is None
    long.settle(100, 5000, complete=True)
    assert limits.usage()["d"].tokens == 5000, "more than was reserved counts too"
    clock.now += 59.75
    assert limits.find_shortage(one, Tokens(1, 1)) == Shortage("tpm 1000", 0.25, 2)
    clock.now += 0.25
    assert limits.find_shortage(one, Tokens(1, 1)) is None


def test_a_guess_of_the_output_shuts_no_request_out() -> None:
    """The usual output may be more than tpm, the input may not."""
    limits, one = Limits(Clock()), dep(tpm=3000)
    assert limits.reservation_size(one, Tokens(1000, 32_000)) == (1000, 2000)
    assert limits.reservation_size(one, Tokens(3000, 32_000)) == (3000, 0)
    assert limits.find_shortage(one, Tokens(3000, 32_000)) is None
    assert limits.find_shortage(one, Tokens(3001, 32_000)) == Shortage("tpm 3000", math.inf, 3001)
    assert limits.reservation_size(dep(tpm=3000, max_output_tokens=50), Tokens(10, 32_000)) == (10, 50)


def test_the_usual_output_follows_the_replies() -> None:
    clock = Clock()
    limits, one = Limits(clock), dep(tpm=100_000)
    assert limits.usual_output(one) == FIRST_OUTPUT == 4096
    for _ in range(60):
        start(limits, one, 10, 32_000).settle(10, 300, complete=True)
        clock.now += WINDOW
    assert 300 <= limits.usual_output(one) <= 305
    assert start(limits, one, 10, 32_000).output == limits.usual_output(one)
    assert start(limits, one, 10, 20).output == 20
    start(limits, one, 10, 32_000).settle(10, 9000)
    assert limits.usual_output(one) <= 305, "a reply that broke off says nothing of the usual"
    assert limits.usual_output(dep(model="other")) == FIRST_OUTPUT, "each model of a wildcard has its own"


def test_models_whose_usual_output_is_known_are_bounded() -> None:
    limits = Limits(Clock())
    for n in range(USUAL_MODELS + 10):
        limits.observe(dep(model=f"m{n}"), 100)
        limits.observe(dep(model="used"), 100)
    assert limits.usual_output(dep(model="m0")) == FIRST_OUTPUT
    assert limits.usual_output(dep(model="used")) == 101
    assert limits.usual_output(dep(model=f"m{USUAL_MODELS}")) < FIRST_OUTPUT
    assert len(limits._usual) == USUAL_MODELS


def test_the_longest_shortage_is_named() -> None:
    clock = Clock()
    limits, one = Limits(clock), dep(rpm=1, tpm=100, max_parallel=1)
    reservation = start(limits, one, 60, 40)
    assert limits.find_shortage(one, Tokens(1, 1)) == Shortage("rpm 1", 60.0), (
        "and not the place, which may be free at any moment"
    )
    clock.now += 20
    reservation.settle(60, 40)
    assert limits.find_shortage(one, Tokens(50, 40)) == Shortage("tpm 100", 60.0, 90)
    assert limits.find_shortage(one, Tokens(10, 40)) == Shortage("rpm 1", 40.0)
    assert limits.find_shortage(dep(max_parallel=1), Tokens()) is None
    start(limits, dep("other", max_parallel=1))
    assert limits.find_shortage(dep("other", max_parallel=1), Tokens()) == Shortage("max_parallel_requests 1", 0.0)


def test_without_limits_nothing_is_kept() -> None:
    limits = Limits(Clock())
    reservation = start(limits, dep(), 10**9, 10**9)
    assert limits.running == {"d": 1} and not limits.usage()
    reservation.settle(10**9, 10**9, complete=True)
    assert not limits.running and not limits.usage() and not limits._usual


@pytest.mark.parametrize("running", [True, False])
def test_a_deployment_that_is_gone_is_forgotten_when_it_counts_for_nothing(running: bool) -> None:
    clock = Clock()
    limits, first, second = Limits(clock), dep("gone", tpm=100), dep("kept", rpm=1)
    reservation = start(limits, first, 10, 20)
    start(limits, second).settle(0, 0)
    if not running:
        reservation.settle(10, 20)
    limits.keep_only(["kept"])
    assert set(limits.usage()) == {"gone", "kept"}, "or a reload would empty its window"
    clock.now += WINDOW
    limits.keep_only(["kept"])
    assert set(limits.usage()) == ({"gone", "kept"} if running else {"kept"})


def test_the_further_hops_of_a_reply_count_in_rpm() -> None:
    clock = Clock()
    limits, one = Limits(clock), dep(rpm=3)
    reservation = start(limits, one)
    reservation.count_hop()
    reservation.count_hop()
    assert limits.usage()["d"].requests == 3 and limits.find_shortage(one, Tokens()) == Shortage("rpm 3", WINDOW)
    reservation.count_hop()
    assert limits.usage()["d"].requests == 4, "the client has the beginning of the reply"
    for without_rpm in (dep("a"), dep("b", tpm=10)):
        start(limits, without_rpm).count_hop()
    assert "a" not in limits.usage() and limits.usage()["b"].requests == 0
