"""Ask the limits that all processes share before an attempt, for a deployment that has room.

Knows: which limits a deployment is under, and how they are called in messages. Must not know: Redis, in which order
deployments are tried.
Invariants: deployments without limits cost no call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from a2py.deployment import Deployment
from a2py.proxy.limits import Demand, Limits, Shortage, Tokens
from a2py.shared.grant import Grant, Verdict
from a2py.shared.subject import PARALLEL, Ask, Asks, Refusal, Subject, make_id

#: Deployments that one call may name.
MAX_CANDIDATES = 16
_make_id = lru_cache(4096)(make_id)


class Taker(Protocol):
    async def take(self, candidates: Sequence[Asks]) -> Verdict:
        """Count an attempt at the first candidate that has room."""


class Decision(NamedTuple):
    """`deployment`: that has room, None if none has; `grant`: None if it has no limits; `shortages`: deployment id →
    why it has no room."""

    deployment: Deployment | None
    grant: Grant | None
    shortages: dict[str, Shortage]


class Admission:
    def __init__(self, taker: Taker, limits: Limits) -> None:
        self._taker = taker
        self._limits = limits

    async def admit(self, deployments: Sequence[Deployment], demand: Demand) -> Decision:
        """Count an attempt at the first of `deployments` that has room, in their order."""
        deployments = deployments[:MAX_CANDIDATES]
        candidates = [self._list_asks(one, demand) for one in deployments]
        if not candidates[0]:
            return Decision(deployments[0], None, {})
        verdict = await self._taker.take(candidates)
        if verdict.choice >= 0:
            return Decision(deployments[verdict.choice], verdict.grant, {})
        pairs = zip(deployments, verdict.refusals, strict=False)
        return Decision(None, None, {one.id: describe_refusal(one, refusal) for one, refusal in pairs})

    def list_ids(self, deployments: Iterable[Deployment]) -> list[str]:
        """Return the ids of what `deployments` count for."""
        return list(dict.fromkeys(ask.subject.id for one in deployments for ask in self._list_asks(one, Tokens())))

    def _list_asks(self, one: Deployment, demand: Demand) -> Asks:
        """Return what an attempt at `one` counts for."""
        asks = []
        if one.rpm or one.tpm or one.max_parallel:
            input, output = self._limits.reservation_size(one, demand) if one.tpm else (0, 0)
            id = _make_id("d", one.provider, one.base, one.group or one.name, one.id)
            asks.append(Ask(Subject(id, one.rpm, one.tpm, one.max_parallel), input, output))
        if one.slots and not one.max_parallel:
            asks.append(Ask(Subject(_make_id("u", one.base), parallel=one.slots)))
        if one.name_parallel:
            asks.append(Ask(Subject(_make_id("n", one.group or one.name), parallel=one.name_parallel)))
        return tuple(asks)


def describe_refusal(one: Deployment, refusal: Refusal) -> Shortage:
    """Return why `one` has no room, in the words of the configuration."""
    subject, limit, seconds = refusal.ask.subject, refusal.limit, refusal.seconds
    if limit != PARALLEL:
        value = subject.rpm if limit == "rpm" else subject.tpm
        return Shortage(f"{limit} {value}", seconds, refusal.ask.input + refusal.ask.output)
    kind = subject.id[:1]
    if kind == "u":
        return Shortage(f"slots {subject.parallel}", 0.0, subject=one.address)
    if kind == "n":
        return Shortage(f"a2py: max_parallel_requests {subject.parallel}", 0.0, subject=one.group or one.name)
    return Shortage(f"max_parallel_requests {subject.parallel}", 0.0)
