"""Limits of keys: requests a minute, tokens a minute, requests at a time.

They count as the limits of deployments do (limits.py), for all models of a key together: a request reserves its input
and a likely output, and the real numbers replace them at its end. Of several workers each keeps to its part (share.py).
Nobody waits: a key that is at its limit gets a 429 with the seconds until there is room again.

Knows: these limits, what a key's running and recent requests count for. Must not know: deployments, budgets.
Invariants: what is reserved is settled once, however the request ends; only keys that have such a limit are counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from a2py.caller import Caller
from a2py.errors import ApiError
from a2py.proxy.limits import ROOM_SECONDS, RateWindow, Tokens, fit_output, wait_for_tokens
from a2py.proxy.share import WHOLE, Share


class KeyUse(NamedTuple):
    """What counts towards the limits of one key now. `requests`: in the last minute; `tokens`: used or reserved."""

    running: int
    requests: int
    tokens: int


class _Counters:
    """`output`: tokens that running requests have reserved for output; `running`: these requests."""

    __slots__ = ("output", "running", "starts", "tokens")

    def __init__(self) -> None:
        self.starts = RateWindow()
        self.tokens = RateWindow()
        self.output = 0
        self.running = 0


class KeyReservation:
    """What one running request counts for in the limits of its key."""

    __slots__ = ("_clock", "_counters", "_entry", "_is_running", "_tokens")

    def __init__(self, clock: Callable[[], float], counters: _Counters, caller: Caller, tokens: Tokens) -> None:
        self._clock = clock
        self._counters = counters
        self._tokens = tokens
        self._is_running = True
        now = clock()
        counters.running += 1
        if caller.rpm:
            counters.starts.add(now, 1)
        counters.output += tokens.max_tokens
        self._entry = counters.tokens.add(now, tokens.input) if caller.tpm else None

    def settle(self, input: int, output: int) -> None:
        """End the request, and replace the reserved tokens by the real ones. Only the first call counts."""
        if not self._is_running:
            return
        self._is_running = False
        counters, now = self._counters, self._clock()
        counters.running -= 1
        counters.output -= self._tokens.max_tokens
        if self._entry is not None:
            counters.tokens.correct(now, self._entry, input - self._tokens.input)
            if output:
                counters.tokens.add(now, output)


class KeyLimits:
    """`clock`: monotonic seconds; `share`: the part of each limit that is this process's."""

    def __init__(self, clock: Callable[[], float], share: Share = WHOLE) -> None:
        self._clock = clock
        self._share = share
        self._counters: dict[str, _Counters] = {}  # by the key's name

    def reserve(self, caller: Caller, demand: Tokens) -> KeyReservation:
        """Begin a request of `caller`. `demand`: its input and its likely output. Raise `ApiError` (429) if a limit of
        the key is reached."""
        counters = self._counters.get(caller.name)
        if counters is None:
            counters = self._counters[caller.name] = _Counters()
        room = self._share.part(caller.tpm) - demand.input if caller.tpm else 0
        output = fit_output(demand.max_tokens, room)
        tokens = Tokens(demand.input, output)
        shortage = max(self._find_shortages(caller, counters, tokens), default=None)
        if shortage is not None:
            raise refuse(caller, *shortage)
        return KeyReservation(self._clock, counters, caller, tokens)

    def _find_shortages(self, caller: Caller, counters: _Counters, tokens: Tokens) -> Iterator[tuple[float, str]]:
        """Yield the limits that are reached, each with the seconds until there is room; infinite for never."""
        now, share = self._clock(), self._share
        if caller.max_parallel and counters.running >= share.part(caller.max_parallel):
            yield ROOM_SECONDS, share.describe("max_parallel", caller.max_parallel)
        if caller.rpm:
            seconds = counters.starts.seconds_until(now, share.part(caller.rpm) - 1)
            if seconds:
                yield seconds, share.describe("rpm", caller.rpm)
        if caller.tpm:
            part = share.part(caller.tpm)
            seconds = wait_for_tokens(counters.tokens, now, counters.output, caller.tpm, part, tokens)
            if seconds:
                yield seconds, share.describe("tpm", caller.tpm)

    def usage(self) -> dict[str, KeyUse]:
        """Return by a key's name what counts now, for keys that have a limit and asked."""
        now = self._clock()
        return {
            name: KeyUse(one.running, one.starts.total(now), one.tokens.total(now) + one.output)
            for name, one in self._counters.items()
        }

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget the counters of other keys than `names`, unless something still counts."""
        keep = set(names)
        for name, use in self.usage().items():
            if name not in keep and not any(use):
                del self._counters[name]


def refuse(caller: Caller, seconds: float, limit: str) -> ApiError:
    """Return the error for a key that is at `limit`, for `seconds`; infinite: for a request that is too large."""
    if math.isinf(seconds):
        return ApiError(
            "rate_limit",
            f"The key {caller.name} takes no request of this size: its input alone is above the key's limit ({limit})."
            " Shorten the request.",
            should_retry=False,
        )
    seconds = math.ceil(seconds)
    return ApiError(
        "rate_limit",
        f"The key {caller.name} has reached its limit ({limit}). Ask again in {seconds} s.",
        retry_after=seconds,
    )
