"""Limits of keys: requests a minute, tokens a minute, requests at a time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.caller import Caller
from a2py.errors import ApiError
from a2py.proxy.keylimits import KeyLimits, KeyReservation, KeyUse
from a2py.proxy.limits import WINDOW, Tokens
from a2py.proxy.share import Share
from tests.clock import Clock


def limits(clock: Clock | None = None) -> KeyLimits:
    return KeyLimits(clock or Clock(0.0))


NOTHING = Tokens()


def usage(keys: KeyLimits) -> KeyUse:
    return keys.usage().get("alice", KeyUse(0, 0, 0))


def alice(**more: Any) -> Caller:
    return Caller("alice", **more)


def expect_refusal(keys: KeyLimits, caller: Caller, demand: Tokens = NOTHING) -> ApiError:
    before = usage(keys)
    with pytest.raises(ApiError) as excinfo:
        keys.reserve(caller, demand)
    assert usage(keys) == before, "a refused request counts for nothing"
    assert excinfo.value.status == 429
    return excinfo.value


def test_requests_a_minute() -> None:
    clock = Clock(0.0)
    keys, caller = limits(clock), alice(rpm=2)
    for now in (0.0, 20.0):
        clock.now = now
        keys.reserve(caller, Tokens()).settle(10, 10)
    error = expect_refusal(keys, caller)
    assert error.message == "The key alice has reached its limit (rpm 2). Ask again in 40 s."
    assert error.headers()["retry-after"] == "40"
    keys.reserve(Caller("bob", rpm=2), Tokens())
    clock.now = WINDOW
    keys.reserve(caller, Tokens())


def test_requests_at_a_time() -> None:
    keys, caller = limits(), alice(max_parallel=2)
    first, _ = keys.reserve(caller, Tokens()), keys.reserve(caller, Tokens())
    assert "max_parallel 2" in expect_refusal(keys, caller).message
    first.settle(1, 1)
    first.settle(1, 1)
    keys.reserve(caller, Tokens())
    expect_refusal(keys, caller)


def test_tokens_a_minute() -> None:
    clock = Clock(0.0)
    keys, caller = limits(clock), alice(tpm=1000)
    running = keys.reserve(caller, Tokens(400, 500))
    assert keys.usage() == {"alice": KeyUse(1, 0, 900)}
    assert expect_refusal(keys, caller, Tokens(200, 100)).headers()["retry-after"] == "60"
    running.settle(450, 50)
    assert keys.usage() == {"alice": KeyUse(0, 0, 500)}
    keys.reserve(caller, Tokens(400, 100)).settle(400, 100)
    clock.now = 30.0
    assert expect_refusal(keys, caller, Tokens(1, 0)).headers()["retry-after"] == "30"


def test_the_guess_of_the_output_never_keeps_out_a_request_that_fits() -> None:
    keys = limits()
    keys.reserve(alice(tpm=1000), Tokens(900, 4096))
    assert keys.usage()["alice"].tokens == 1000


def test_a_request_that_never_fits_is_told_so() -> None:
    error = expect_refusal(limits(), alice(tpm=1000), Tokens(1001, 0))
    assert "takes no request of this size" in error.message and error.should_retry is False


def test_of_several_limits_the_one_that_lasts_longest_is_named() -> None:
    keys, caller = limits(), alice(rpm=1, max_parallel=1)
    keys.reserve(caller, Tokens())
    assert "rpm 1" in expect_refusal(keys, caller).message


def test_workers_divide_the_limits() -> None:
    keys, caller = KeyLimits(Clock(0.0), Share(3, 4)), alice(rpm=6, max_parallel=2)
    keys.reserve(caller, Tokens()).settle(0, 0)
    assert "rpm 6 [1 in this worker]" in expect_refusal(keys, caller).message
    keys, caller = KeyLimits(Clock(0.0), Share(0, 4)), alice(tpm=4000)
    keys.reserve(caller, Tokens(600, 4096)).settle(600, 0)
    assert "tpm 4000 [1000 in this worker]" in expect_refusal(keys, caller, Tokens(3000, 10)).message
    keys = KeyLimits(Clock(0.0), Share(0, 4))
    keys.reserve(caller, Tokens(3000, 10))  # larger than the part, not than the limit: it starts if nothing else counts
    assert keys.usage()["alice"].tokens == 3000


def test_counters_of_keys_that_are_gone_are_forgotten() -> None:
    clock = Clock(0.0)
    keys = limits(clock)
    running = [keys.reserve(Caller(name, max_parallel=1), Tokens()) for name in "abc"]
    running[0].settle(0, 0)
    keys.keep_only(["b"])
    assert sorted(keys.usage()) == ["b", "c"], "one of c still runs"


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.floats(0, 40)), max_size=30))
def test_what_is_used_is_what_was_settled(requests: list[tuple[int, int, float]]) -> None:
    """Whatever runs at a time: never above the limit by reservations, and nothing is left in the end."""
    clock = Clock(0.0)
    keys, caller = limits(clock), alice(tpm=1000, max_parallel=3)
    running: list[tuple[KeyReservation, int, int]] = []
    for input, output, pause in requests:
        clock.now += pause
        try:
            running.append((keys.reserve(caller, Tokens(input, output)), input, output))
        except ApiError:
            if running:
                one, most, rest = running.pop(0)
                one.settle(min(input, most), min(output, rest))
        assert usage(keys).running == len(running) <= 3 and usage(keys).tokens <= 1000
    for one, _, _ in running:
        one.settle(0, 0)
    clock.now += WINDOW + 1
    assert usage(keys) == KeyUse(0, 0, 0)
