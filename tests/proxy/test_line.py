"""The order of those who wait, what happens to those who leave, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from a2py.deployment import Deployment
from a2py.proxy import line as line_module
from a2py.proxy.asker import Asker
from a2py.proxy.line import Line, LineFull, TooLate
from a2py.proxy.places import Place, Places


def dep(id: str = "d", **more: Any) -> Deployment:
    return Deployment(
        **{"name": "m", "id": id, "provider": "p", "model": "u", "base": "http://x", "max_parallel": 1, **more}
    )


def asker(key: str = "k", session: str = "s", agent: bool = False) -> Asker:
    return Asker({"x-api-key": key} if key else {}, lambda: session, is_subagent=agent)


def test_a_client_with_a_key_is_known_by_its_name_whatever_else_it_sends() -> None:
    anonymous = {Asker({"x-api-key": key}).key for key in ("a", "b", "")}
    with_name = {Asker({"x-api-key": key, "authorization": "Bearer alice"}, name="alice").key for key in ("a", "b", "")}
    assert len(anonymous) == 3 and len(with_name) == 1 and Asker({}, name="bob").key not in with_name


class Queue:
    """A line in front of `deployments`, all of whose places are taken. `order`: names of those that were served;
    `models`: of the deployments at which they were."""

    def __init__(self, *deployments: Deployment, total: int = 0) -> None:
        self.deployments = deployments or (dep(),)
        self.places = Places(lambda: 0.0)
        self.places.total_limit = total
        self.line = Line(self.places)
        self.in_use: list[Place] = []
        for one in self.deployments:
            while self.places.find_limit(one) is None:
                self.in_use.append(self.places.take(one))
        self.order: list[str] = []
        self.models: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.positions: dict[str, int] = {}

    async def join(self, name: str, who: Asker, *deployments: Deployment, **more: Any) -> None:
        """Let `name` wait. It keeps its place until `serve` is called again."""
        self.tasks[name] = asyncio.ensure_future(self._wait(name, who, deployments or self.deployments, more))
        await asyncio.sleep(0)

    async def _wait(self, name: str, who: Asker, deployments: tuple[Deployment, ...], more: dict[str, Any]) -> None:
        place = await self.line.wait(
            deployments,
            who,
            lambda free: free[0],
            **{
                "length": 10_000,
                "seconds": 60.0,
                "on_join": lambda place: self.positions.update({name: place}),
                **more,
            },
        )
        self.order.append(name)
        self.models.append(place.deployment.model)
        self.in_use.append(place)

    async def serve(self) -> list[str]:
        """End one running request after the other until nobody waits. Return the order in which they were served."""
        while self.line.waiting:
            self.in_use.pop(0).release()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        self.check_nothing_is_left()
        return self.order

    def check_nothing_is_left(self) -> None:
        for place in self.in_use:
            place.release()
        assert not self.line._gates and not self.line.waiting and not self.places.running() and not self.places._total


async def test_one_after_the_other() -> None:
    queue = Queue()
    for n in range(20):
        await queue.join(f"{n}", asker(session=f"s{n}"))
    assert queue.positions == {f"{n}": n + 1 for n in range(20)}
    assert await queue.serve() == [f"{n}" for n in range(20)]


async def test_keys_take_turns() -> None:
    """Someone with a hundred requests does not keep out someone with one."""
    queue = Queue()
    for n in range(5):
        await queue.join(f"a{n}", asker("a", f"s{n}"))
    await queue.join("b0", asker("b"))
    await queue.join("b1", asker("b"))
    await queue.join("c0", asker("", "x"))
    assert [queue.positions[name] for name in ("b0", "b1", "c0")] == [2, 4, 3]
    assert await queue.serve() == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]


async def test_the_main_conversation_goes_before_its_sub_agents() -> None:
    """And nobody else waits longer for it."""
    queue = Queue()
    for name, who in {
        "a1": asker(session="A", agent=True),
        "b": asker(session="B"),
        "a2": asker(session="A", agent=True),
        "c1": asker(session="C", agent=True),
        "a": asker(session="A"),
    }.items():
        await queue.join(name, who)
    assert queue.positions == {"a1": 1, "b": 2, "a2": 3, "c1": 4, "a": 1}
    assert await queue.serve() == ["a", "b", "a1", "c1", "a2"]


async def test_a_main_conversation_that_has_just_left_takes_no_turn() -> None:
    """Its task has not run yet when the place gets free."""
    queue = Queue()
    await queue.join("agent", asker(session="A", agent=True))
    await queue.join("b", asker(session="B"))
    await queue.join("main", asker(session="A"))
    queue.tasks["main"].cancel()
    assert await queue.serve() == ["agent", "b"]


async def test_a_sub_agent_that_has_waited_long_enough_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "AGING", 0.0)
    queue = Queue()
    await queue.join("agent", asker(agent=True))
    await queue.join("main", asker())
    assert await queue.serve() == ["agent", "main"]


async def test_a_place_at_any_of_several_deployments() -> None:
    one, two = dep("one"), dep("two")
    queue = Queue(one, two)
    await queue.join("both", asker())
    await queue.join("only two", asker(), two)
    queue.in_use.pop(0).release()  # of one
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert queue.order == ["both"] and queue.in_use[-1].deployment is one
    assert await queue.serve() == ["both", "only two"]


async def test_names_take_turns_for_the_places_of_the_proxy() -> None:
    one, two = dep("one", max_parallel=0), dep("two", max_parallel=0)
    queue = Queue(one, two, total=1)
    for n in range(3):
        await queue.join(f"one{n}", asker(session=f"{n}"), one)
    await queue.join("two0", asker(), two)
    assert queue.positions["two0"] == 4, "all wait for the same places"
    assert await queue.serve() == ["one0", "two0", "one1", "one2"]


async def test_a_full_line() -> None:
    queue = Queue()
    await queue.join("first", asker(), length=1)
    await queue.join("second", asker(), length=1)
    with pytest.raises(LineFull):
        await queue.tasks["second"]
    assert await queue.serve() == ["first"]


async def test_nobody_waits_longer_than_he_may() -> None:
    queue = Queue()
    await queue.join("first", asker())
    await queue.join("second", asker(), seconds=0.0)
    with pytest.raises(TooLate) as late:
        await queue.tasks["second"]
    assert late.value.place == 2
    assert await queue.serve() == ["first"]


async def leave(queue: Queue, name: str) -> None:
    queue.tasks[name].cancel()
    await asyncio.gather(queue.tasks[name], return_exceptions=True)


async def test_a_leaver_frees_its_place_in_the_line() -> None:
    queue = Queue()
    for name in "abc":
        await queue.join(name, asker(session=name))
    await leave(queue, "a")
    assert queue.line.waiting == 2
    await queue.join("d", asker())
    assert queue.positions["d"] == 3
    assert await queue.serve() == ["b", "c", "d"]


async def test_a_main_conversation_that_leaves_gives_its_turn_back() -> None:
    queue = Queue()
    await queue.join("a1", asker(session="A", agent=True))
    await queue.join("b", asker(session="B"))
    await queue.join("a", asker(session="A"))
    await leave(queue, "a")
    assert await queue.serve() == ["a1", "b"]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_place_that_is_handed_to_a_leaver_goes_on(moment: str) -> None:
    """The client leaves just before, or just after, its place was handed over, and its task has had no turn since."""
    queue = Queue()
    await queue.join("leaver", asker(session="1"))
    await queue.join("next", asker(session="2"))
    steps: list[Callable[[], Any]] = [queue.tasks["leaver"].cancel, queue.in_use.pop(0).release]
    for step in steps if moment == "before" else steps[::-1]:
        step()
    for _ in range(4):
        await asyncio.sleep(0)
    assert queue.order == ["next"]
    queue.check_nothing_is_left()


async def test_a_leaver_at_the_end_of_its_time() -> None:
    queue = Queue()
    await queue.join("one", asker())
    (gate,) = queue.line._gates.values()
    queue.line._end_wait(gate.first())
    queue.tasks["one"].cancel()
    await asyncio.gather(queue.tasks["one"], return_exceptions=True)
    queue.check_nothing_is_left()


async def test_a_reload_that_raises_the_limit_counts_at_once() -> None:
    """Those who run hold the new place for long, and others who come meanwhile need not wait."""
    queue = Queue(dep("d"), dep("gone"))
    await queue.join("a", asker(session="1"), dep("d"))
    await queue.join("b", asker(session="2"), dep("d"))
    await queue.join("c", asker(session="3"), dep("gone"))
    queue.line.renew((dep("d", max_parallel=0, base="http://other"), dep("new")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert queue.order == ["a", "b"]
    assert {place.deployment.base for place in queue.in_use} == {"http://x"}, "each is asked as its request began"
    assert await queue.serve() == ["a", "b", "c"]


async def test_a_request_that_began_before_a_reload_waits_by_the_new_limit() -> None:
    queue = Queue()
    queue.line.renew((dep(max_parallel=2),))
    await queue.join("a", asker(session="1"))
    await queue.join("b", asker(session="2"))
    await asyncio.sleep(0)
    assert queue.order == ["a"] and queue.positions == {"a": 1, "b": 1}
    assert await queue.serve() == ["a", "b"]


async def test_models_of_one_wildcard() -> None:
    """They share the places of their deployment, and each is asked for its own."""
    queue = Queue()
    for n, model in enumerate("abc"):
        await queue.join(model, asker(session=f"{n}"), dep(model=model))
    assert await queue.serve() == ["a", "b", "c"]
    assert queue.models == ["a", "b", "c"]


async def test_who_cannot_be_told_its_place_is_out() -> None:
    queue = Queue()

    def fail(place: int) -> None:
        raise ValueError(place)

    await queue.join("a", asker(), on_join=fail)
    with pytest.raises(ValueError):
        await queue.tasks["a"]
    assert not queue.line.waiting
    queue.check_nothing_is_left()


async def test_a_thousand_of_which_half_leave() -> None:
    """In random order, while places come free: nothing is left, and the others are served in their order."""
    dice = random.Random(19)
    queue = Queue(dep(max_parallel=3))
    names = [f"{n}" for n in range(1000)]
    keys = {name: f"k{dice.randrange(7)}" for name in names}
    for name in names:
        await queue.join(name, asker(keys[name], f"s{name}"))
    assert queue.line.waiting == 1000
    leavers = dice.sample(names, 500)
    for name in leavers:
        await leave(queue, name)
        if not dice.randrange(10):
            queue.in_use.pop(0).release()
            await asyncio.sleep(0)
    order = await queue.serve()
    assert set(names) - set(leavers) <= set(order)
    for key in set(keys.values()):
        own = [int(name) for name in order if keys[name] == key]
        assert own == sorted(own), "in the order of their key"
    middle = Counter(keys[name] for name in order[:210])
    assert max(middle.values()) - min(middle.values()) <= 2 * 7, "and the keys had as many turns each"
