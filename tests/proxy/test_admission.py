"""What an attempt counts for in the shared limits, and how a refusal reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from a2py.deployment import Deployment
from a2py.proxy.admission import MAX_CANDIDATES, Admission
from a2py.proxy.limits import Limits, Shortage, Tokens
from a2py.shared.grant import Verdict
from a2py.shared.subject import PARALLEL, RPM, TPM, Asks, Refusal


def dep(id: str = "d", **more: Any) -> Deployment:
    return Deployment(**{"name": "m", "id": id, "provider": "p", "model": "u", "base": "http://x:1/v1", **more})


class Taker:
    """Refuses everything, by the limit and the ask that the test says."""

    def __init__(self, limit: str = RPM, which: int = 0, seconds: float = 5.0, choice: int = -1) -> None:
        self.limit, self.which, self.seconds, self.choice = limit, which, seconds, choice
        self.questions: list[list[Asks]] = []

    async def take(self, candidates: Sequence[Asks]) -> Verdict:
        self.questions.append(list(candidates))
        if self.choice >= 0:
            return Verdict(self.choice)
        return Verdict(-1, None, [Refusal(asks[self.which], self.limit, self.seconds) for asks in candidates])


def admission(taker: Taker) -> Admission:
    return Admission(taker, Limits(lambda: 0.0))


async def test_a_deployment_without_limits_costs_no_call() -> None:
    taker = Taker()
    free = dep()
    assert (await admission(taker).admit([free, dep("e", rpm=1)], Tokens())).deployment is free
    assert taker.questions == []


async def test_each_limit_of_a_deployment_is_asked() -> None:
    taker = Taker(choice=1)
    all_limits = dep(rpm=1, tpm=1000, slots=3, name_parallel=4)
    own = dep("own", max_parallel=2, slots=3)
    outcome = await admission(taker).admit([all_limits, own], Tokens(100, 50))
    assert outcome.deployment is own
    first, second = taker.questions[0]
    assert [(ask.subject[1:], ask.input, ask.output) for ask in first] == [
        ((1, 1000, 0), 100, 50),
        ((0, 0, 3), 0, 0),
        ((0, 0, 4), 0, 0),
    ]
    assert [ask.subject[1:] for ask in second] == [(0, 0, 2)], "an own limit stands above the server's slots"


async def test_ids_are_the_same_in_each_process_and_hold_no_secret() -> None:
    taker = Taker(choice=0)
    for key in ("one", "two"):
        await admission(taker).admit([dep(rpm=1, key=key, headers={"x-key": key})], Tokens())
    for other in (dep("other", rpm=1), dep(rpm=1, base="http://y"), dep(rpm=1, name="n"), dep(rpm=1, provider="q")):
        await admission(taker).admit([other], Tokens())
    await admission(taker).admit([dep(rpm=1, name="m-4", group="m", model="m-4")], Tokens())
    ids = [candidates[0][0].subject.id for candidates in taker.questions]
    assert ids[0] == ids[1] == ids[-1] and len(set(ids)) == 5, "a wildcard's models count together"


async def test_a_refusal_reads_as_the_configuration_does() -> None:
    async def refuse(one: Deployment, taker: Taker) -> Shortage:
        return (await admission(taker).admit([one], Tokens(100, 50))).shortages[one.id]

    assert await refuse(dep(rpm=7), Taker(RPM)) == Shortage("rpm 7", 5.0)
    assert await refuse(dep(tpm=99), Taker(TPM, seconds=math.inf)) == Shortage("tpm 99", math.inf, 100)
    assert await refuse(dep(max_parallel=7), Taker(PARALLEL, seconds=0.0)) == Shortage("max_parallel_requests 7", 0.0)
    assert await refuse(dep(slots=7), Taker(PARALLEL, seconds=0.0)) == Shortage("slots 7", 0.0, subject="x:1")
    name = await refuse(dep(name_parallel=7, group="m*"), Taker(PARALLEL, seconds=0.0))
    assert name == Shortage("a2py: max_parallel_requests 7", 0.0, subject="m*")


async def test_one_call_names_a_bounded_number_of_deployments() -> None:
    taker = Taker()
    outcome = await admission(taker).admit([dep(str(n), rpm=1) for n in range(100)], Tokens())
    assert len(taker.questions[0]) == MAX_CANDIDATES == len(outcome.shortages)


def test_the_ids_of_a_configuration() -> None:
    both = [dep(rpm=1, name_parallel=2), dep("e", rpm=1, name_parallel=2), dep("free")]
    assert len(admission(Taker()).list_ids(both)) == 3, "both deployments, and their name once"
