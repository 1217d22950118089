"""A plan whose limits are shared: which deployment it asks if another process has taken the last place."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from a2py.config import Config, Settings
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.proxy import shared_line
from a2py.proxy.admission import Admission
from a2py.proxy.limits import Limits
from a2py.proxy.router import Plan, Router, Step
from a2py.proxy.shared_line import SharedLine
from a2py.proxy.shared_plan import SharedPlan
from a2py.shared.grant import Grant, Verdict
from a2py.shared.mirror import Mirror
from a2py.shared.script import Change, slice_of
from a2py.shared.subject import Ask, Asks, Subject
from tests.clock import Clock

NOW = 1_800_000_000_000


class SharedLimits:
    """The shared limits of a single process, whose mirror decides at once. `calls`: how often it was asked."""

    def __init__(self) -> None:
        self.mirror = Mirror()
        self.mirror.begin_alone(NOW)
        self.calls = 0

    async def take(self, candidates: Sequence[Asks]) -> Verdict:
        self.calls += 1
        await asyncio.sleep(0)
        choice, refusals = self.mirror.take(candidates, NOW)
        if choice < 0:
            return Verdict(-1, None, refusals)
        return Verdict(choice, Grant(self, candidates[choice], slice_of(NOW), 0))

    def change(self, changes: Mapping[str, Change], since: int) -> None:
        for id, each in changes.items():
            self.mirror.change(id, each, NOW, is_sent=True)

    def running(self) -> int:
        return sum(share.running for share in self.mirror.shares.values())


def dep(id: str, name: str = "m", **more: Any) -> Deployment:
    return Deployment(name=name, id=id, provider="p", model="u", base=f"http://{id}", **more)


class Process:
    """A router as a2py/proxy/sharing.py puts it together, whose limits are those of `shared`."""

    def __init__(self, shared: SharedLimits, *deployments: Deployment, **settings: Any) -> None:
        self.clock = Clock()
        self.router = Router(self.clock, Limits(self.clock), random.Random(7))
        self.line = self.router.line = SharedLine(self.router.limits.places)
        admission = Admission(shared, self.router.limits)
        self.router.make_plan = partial(SharedPlan, admission, self.line)
        self.config = Config(deployments=deployments, settings=Settings(**settings))

    def plan(self, model: str = "m") -> Plan:
        return self.router.plan(self.config, model)


async def begin(plan: Plan) -> Step:
    return await plan.admit(await plan.begin())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_line, "POLL", 0.01)


def test_nothing_is_loaded_where_no_redis_is_configured() -> None:
    """Neither by the program's start nor by a request."""
    program = (
        "import sys, a2py.cli.main, a2py.cli.serve, a2py.proxy.server, a2py.proxy.exchange;"
        "print([name for name in sys.modules if name.split('.')[0] == 'redis' or name.startswith(('a2py.shared', "
        "'a2py.proxy.shar', 'a2py.proxy.admission'))])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names = {name.strip(" '") for name in result.stdout.strip()[1:-1].split(",")}
    assert names <= {"", "a2py.proxy.share"}, "share.py is about workers"


async def test_another_process_has_used_the_limit() -> None:
    shared = SharedLimits()
    first, second = (Process(shared, dep("a", rpm=1)) for _ in range(2))
    assert (await begin(first.plan())).deployment.id == "a"
    with pytest.raises(ApiError, match=r"'m' has reached its configured limit \(rpm 1 of a\)") as excinfo:
        await begin(second.plan())
    assert excinfo.value.retry_after and 55 < excinfo.value.retry_after <= 65


async def test_the_next_deployment_is_found_in_the_same_call() -> None:
    shared = SharedLimits()
    both = (dep("a", rpm=1, order=1), dep("b", rpm=1, order=2))
    first, second = (Process(shared, *both) for _ in range(2))
    assert (await begin(first.plan())).deployment.id == "a"
    plan = second.plan()
    calls = shared.calls
    assert (await begin(plan)).deployment.id == "b" and shared.calls == calls + 1
    assert plan.place is not None and plan.place.deployment.id == "b" and plan._tries == {"b": 1}
    assert second.router.limits.running == {"b": 1}
    plan.close()
    assert second.router.limits.running == {}


async def test_a_fallback_follows_a_name_without_room() -> None:
    shared = SharedLimits()
    models = (dep("a", rpm=1), dep("b", name="n"))
    first, second = (Process(shared, *models, fallbacks={"m": ("n",)}) for _ in range(2))
    await begin(first.plan())
    assert (await begin(second.plan())).deployment.id == "b"


async def test_a_grant_that_no_attempt_used_is_taken_back() -> None:
    shared = SharedLimits()
    process = Process(shared, dep("a", rpm=5, max_parallel=5))
    plan = process.plan()
    step = await begin(plan)
    assert shared.running() == 1
    again = plan.repeat(step.deployment)
    assert again is not None and await plan.admit(again) == again and shared.running() == 1
    plan.close()
    plan.close()
    assert shared.running() == 0
    assert sum(share.own.total(NOW, 0) for share in shared.mirror.shares.values()) == 0


async def test_an_attempt_settles_its_grant() -> None:
    shared = SharedLimits()
    process = Process(shared, dep("a", rpm=5, max_parallel=5, tpm=10_000))
    plan = process.plan()
    step = await begin(plan)
    reservation = process.router.limits.reserve(step.deployment, plan._demand, plan.place, plan.grant)
    assert reservation is not None
    reservation.count_hop()
    reservation.settle(100, 20)
    plan.close()
    (share,) = shared.mirror.shares.values()
    assert (share.running, share.output, share.own.total(NOW, 0), share.own.total(NOW, 1)) == (0, 0, 2, 120)


async def wait(process: Process, order: list[str], name: str) -> Plan:
    plan = process.plan()
    await begin(plan)
    order.append(name)
    return plan


async def turns(until: int, order: list[str]) -> None:
    for _ in range(2000):
        if len(order) >= until:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(order)


async def test_who_waits_gets_the_place_that_another_process_frees_in_order() -> None:
    shared = SharedLimits()
    first, second = (Process(shared, dep("a", max_parallel=1)) for _ in range(2))
    holder = first.plan()
    await begin(holder)
    order: list[str] = []
    waiting = []
    for name in ("one", "two", "three"):
        waiting.append(asyncio.ensure_future(wait(second, order, name)))
        await asyncio.sleep(0.03)
    assert order == [] and second.line.waiting == 3
    newcomer = asyncio.ensure_future(wait(second, order, "four"))
    holder.close()
    await turns(1, order)
    for count, task in enumerate([*waiting, newcomer], 1):
        await turns(count, order)
        (await task).close()
    assert order == ["one", "two", "three", "four"] and second.line.waiting == 0
    await asyncio.sleep(0.05)
    assert not second.line._pumps and not second.line._events and shared.running() == 0


async def test_whoever_leaves_the_line_holds_nothing() -> None:
    shared = SharedLimits()
    first, second = (Process(shared, dep("a", max_parallel=1)) for _ in range(2))
    holder = first.plan()
    await begin(holder)
    order: list[str] = []
    for _ in range(20):
        leaving = asyncio.ensure_future(wait(second, order, "x"))
        await asyncio.sleep(0.011)
        holder.close()
        leaving.cancel()
        outcome = (await asyncio.gather(leaving, return_exceptions=True))[0]
        if isinstance(outcome, Plan):
            outcome.close()
        await asyncio.sleep(0.03)
        assert shared.running() == 0 and second.router.limits.running == {}
        holder = first.plan()
        await begin(holder)
    await second.line.close()


async def test_a_line_closes_in_the_moment_in_which_a_place_gets_free() -> None:
    """Python before 3.12 loses the cancellation of a `wait_for` whose wait has just ended: the pump went on for ever."""
    shared = SharedLimits()
    first, second = (Process(shared, dep("a", max_parallel=1)) for _ in range(2))
    holder = first.plan()
    await begin(holder)
    waiting = asyncio.ensure_future(wait(second, [], "x"))
    await asyncio.sleep(0.015)  # a pump waits for its next question
    assert second.line._pumps
    second.line._hand_over()
    closing = asyncio.ensure_future(second.line.close())
    ended_tasks, _ = await asyncio.wait([closing], timeout=5)
    assert ended_tasks
    waiting.cancel()
    await asyncio.gather(waiting, closing, return_exceptions=True)
    holder.close()


async def test_a_rate_is_not_waited_for() -> None:
    """The place gets free, but meanwhile the requests of the minute were used up."""
    shared = SharedLimits()
    first, second = (Process(shared, dep("a", max_parallel=1, rpm=2)) for _ in range(2))
    holder = first.plan()
    await begin(holder)
    order: list[str] = []
    waiting = asyncio.ensure_future(wait(second, order, "x"))
    await asyncio.sleep(0.03)
    (id,) = shared.mirror.shares
    shared.mirror.count_alone((Ask(Subject(id, rpm=2)),), NOW)
    grant, holder.grant = holder.grant, None
    assert grant is not None
    grant.settle(0, 0)
    with pytest.raises(ApiError, match="rpm 2"):
        await waiting


async def test_slots_of_a_server_are_waited_for_before_fallbacks_are_asked() -> None:
    shared = SharedLimits()
    models = (dep("a", slots=1), dep("b", name="n"))
    first, second = (Process(shared, *models, fallbacks={"m": ("n",)}) for _ in range(2))
    holder = first.plan()
    await begin(holder)
    order: list[str] = []
    waiting = asyncio.ensure_future(wait(second, order, "x"))
    await asyncio.sleep(0.03)
    assert second.line.waiting == 1
    holder.close()
    plan = await waiting
    assert plan.place is not None and plan.place.deployment.id == "a"
    plan.close()


async def test_nobody_waits_if_nobody_may() -> None:
    shared = SharedLimits()
    first, second = (Process(shared, dep("a", max_parallel=1), queue_length=0) for _ in range(2))
    await begin(first.plan())
    with pytest.raises(ApiError, match="max_parallel_requests 1 of a"):
        await begin(second.plan())
