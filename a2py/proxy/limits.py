"""Ceilings of deployments: requests and tokens per minute, requests at a time.

Knows: rpm, tpm, max_parallel of a deployment. Must not know: what is done when one is reached (router).
Invariants: state is one small row per deployment; a minute is a sliding window of WINDOW seconds in SLICES slices.
"""

from __future__ import annotations

from collections.abc import Callable

from a2py.deployment import Deployment

WINDOW, SLICES = 60.0, 12


class Meter:
    """A sum over the last minute, in slices of five seconds."""

    __slots__ = ("_at", "_slices")

    def __init__(self) -> None:
        self._slices = [0] * SLICES
        self._at = 0

    def _turn(self, now: float) -> int:
        at = int(now / (WINDOW / SLICES))
        for n in range(max(self._at + 1, at - SLICES + 1), at + 1):
            self._slices[n % SLICES] = 0
        self._at = max(self._at, at)
        return self._at % SLICES

    def add(self, now: float, amount: int) -> None:
        self._slices[self._turn(now)] += amount

    def total(self, now: float) -> int:
        self._turn(now)
        return sum(self._slices)


class Limits:
    """`clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._requests: dict[str, Meter] = {}
        self._tokens: dict[str, Meter] = {}
        self.running: dict[str, int] = {}

    def room(self, deployment: Deployment) -> bool:
        """Whether one more request may be sent."""
        now = self._clock()
        id = deployment.id
        if deployment.max_parallel and self.running.get(id, 0) >= deployment.max_parallel:
            return False
        if deployment.rpm and id in self._requests and self._requests[id].total(now) >= deployment.rpm:
            return False
        return not (deployment.tpm and id in self._tokens and self._tokens[id].total(now) >= deployment.tpm)

    def begin(self, deployment: Deployment) -> None:
        id = deployment.id
        self.running[id] = self.running.get(id, 0) + 1
        if deployment.rpm:
            self._requests.setdefault(id, Meter()).add(self._clock(), 1)

    def end(self, deployment: Deployment, tokens: int) -> None:
        id = deployment.id
        self.running[id] -= 1
        if not self.running[id]:
            del self.running[id]
        if deployment.tpm and tokens:
            self._tokens.setdefault(id, Meter()).add(self._clock(), tokens)
