"""News over the bus: what each worker knows, and what one gets that begins or replaces another."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Coroutine
from typing import Any

import orjson
import pytest

from a2py.proxy import news as news_module
from a2py.proxy import worker_news
from a2py.proxy.bus import ANSWER, Bus
from a2py.proxy.limits import WINDOW, Limits, Tokens
from a2py.proxy.share import Share
from a2py.proxy.worker_news import SLICES, STATE, TOPIC, WorkerNews
from tests.clock import Clock
from tests.proxy.test_bus import Parent
from tests.proxy.test_limits import dep
from tests.proxy.test_news import Process

LIVES = itertools.count()
ONE = dep("d", rpm=8, tpm=4000)


class Worker(Process):
    """A process with limits, on a bus."""

    def __init__(self, bus: Bus, number: int, count: int, clock: Clock) -> None:
        super().__init__(f"w{number}-{next(LIVES)}")
        self.clock = clock
        self.limits = Limits(clock)
        self.limits.divide(Share(number, count))
        self.tasks: list[asyncio.Task[None]] = []
        self.worker_news = WorkerNews(self.news, bus, self.limits, self._run)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))


class House(Parent):
    """Workers with news."""

    def __init__(self, count: int) -> None:
        self.clock = Clock()
        super().__init__(0)
        self.count = count
        self.living: dict[int, Worker] = {}
        for number in range(count):
            self.start(number)

    def start(self, number: int) -> Worker:
        """Start worker `number`, or its successor."""
        bus = Bus(self.crashes.append)
        if number < len(self.workers):
            self.bury(number)
            self.workers[number] = bus
        else:
            self.workers.append(bus)
        worker = self.living[number] = Worker(bus, number, self.count, self.clock)
        bus.connect(number, self.count, lambda envelopes: self.carry(number, envelopes))
        return worker


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news_module, "FLUSH_SECONDS", 0.0)


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def usage(worker: Worker) -> tuple[int, ...]:
    use = worker.limits.usage().get("d")
    return tuple(use) if use is not None else ()


async def test_all_workers_know_what_one_learns() -> None:
    house = House(3)
    house.living[0].fail()
    house.living[1].observe("counts", 100, 130)
    await turns()
    ends = [(len(worker.cooldowns.report()), worker.sizes.counts.ratio("u")) for worker in house.living.values()]
    assert ends == [(1, 1.3)] * 3 and not house.crashes


async def test_one_that_begins_learns_what_the_others_know() -> None:
    house = House(3)
    house.living[0].fail()
    house.living[1].observe("estimates", 100, 130)
    await turns()
    fresh = house.start(2)
    assert not fresh.cooldowns.report()
    await turns()
    assert len(fresh.cooldowns.report()) == 1 and fresh.sizes.estimates.ratio("u") == 1.3
    assert all(task.done() for task in fresh.tasks) and len(fresh.tasks) == 1


async def test_a_worker_that_dies_does_not_use_its_part_twice() -> None:
    """Requests and tokens that its predecessor has started count for a minute from their time."""
    house = House(2)
    first = house.living[1]
    running = [first.limits.reserve(ONE, Tokens(200, 100)) for _ in range(4)]
    assert None not in running and first.limits.reserve(ONE, Tokens(200, 100)) is None
    running[0].settle(200, 50)  # type: ignore[union-attr]
    await turns()
    house.clock.now += 20
    second = house.start(1)
    assert usage(second) == ()
    await turns()
    assert usage(second) == (4, 850, 0), "what ran has ended with its worker; its input was sent"
    assert second.limits.reserve(ONE, Tokens(200, 100)) is None
    house.clock.now += WINDOW - 20
    assert usage(second) == (0, 0, 0) and second.limits.reserve(ONE, Tokens(200, 100)) is not None
    await turns()
    third = house.start(1)
    await turns()
    assert usage(third)[:2] == (1, 200), "the latest use, not that of the first"


async def test_a_worker_does_not_count_its_own_use_twice() -> None:
    """It has used something before it learns what the others know, and they have heard of that."""
    house = House(2)
    await turns()
    fresh = house.start(1)
    assert fresh.limits.reserve(ONE, Tokens(100, 0)) is not None
    await turns()
    assert usage(fresh) == (1, 100, 0)


async def test_what_two_lives_have_used_is_counted_once() -> None:
    """The second one reports its own use before it has got that of the first."""
    house = House(2)
    assert house.living[1].limits.reserve(ONE, Tokens(100, 0)) is not None
    await turns()
    house.loses = lambda envelope: envelope.kind == ANSWER
    second = house.start(1)
    assert second.limits.reserve(ONE, Tokens(200, 0)) is not None
    await turns()
    house.loses = lambda envelope: False
    third = house.start(1)
    await turns()
    assert usage(third)[:2] == (1, 200), "what the first has used was handed over, and got lost"
    assert third.limits.reserve(ONE, Tokens(50, 0)) is not None
    await turns()
    fourth = house.start(1)
    await turns()
    assert usage(fourth)[:2] == (2, 250)


async def test_a_use_comes_back_once() -> None:
    """All siblings know it."""
    house = House(4)
    assert house.living[3].limits.reserve(ONE, Tokens(100, 0)) is not None
    await turns()
    fresh = house.start(3)
    await turns()
    assert usage(fresh)[:2] == (1, 100)


def test_a_use_has_few_parts() -> None:
    clock = Clock()
    limits = Limits(clock)
    big = dep("d", rpm=100_000)
    for _ in range(3000):
        clock.now += 0.02
        assert limits.reserve(big, Tokens()) is not None
    starts, tokens = limits.list_use("d", SLICES)
    assert (
        len(starts) <= SLICES and tokens == [] and sum(amount for _, amount in starts) == limits.usage()["d"].requests
    )
    later = Limits(clock)
    later.restore_use("d", starts, tokens)
    for _ in range(60):
        clock.now += 1
        assert later.usage()["d"].requests >= limits.usage()["d"].requests
    assert later.usage()["d"].requests == 0 and limits.list_use("nobody", SLICES) == ([], [])


async def test_the_uses_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_news, "MAX_USES", 2)
    house = House(4)
    for number in range(1, 4):
        house.living[0].take("use", number, "a", "d", [[1, number]], [])
    assert [worker for worker, _ in house.living[0].worker_news._uses] == [2, 3]


@pytest.mark.parametrize(
    "word",
    [
        ["use"],
        ["use", 1, 5, "d", [], []],
        ["use", 7, "a", "d", [], []],
        ["use", "1", "a", "d", [], []],
        ["use", 1, "a", "nobody", [], []],
        ["use", 1, "a", "d", [[1, 1]] * 13, []],
        ["use", 1, "a", "d", [[61, 1]], []],
        ["use", 1, "a", "d", [[-1, 1]], []],
        ["use", 1, "a", "d", [[1, 10**13]], []],
        ["use", 1, "a", "d", [["1", 1]], []],
        ["use", 1, "a", "d", [[1]], []],
        ["use", 1, "a", "d", {}, []],
        ["use", 0, "a", "d", 5, 5],
    ],
    ids=str,
)
async def test_a_use_of_nobodys_making_is_ignored(word: list[Any]) -> None:
    house = House(2)
    house.living[0].take(*word)
    assert not house.living[0].worker_news._uses and usage(house.living[0]) == ()


async def test_strange_messages_raise_nothing() -> None:
    house = House(2)
    house.workers[1].publish(TOPIC, b"")
    house.workers[1].publish(TOPIC, b"\n\xff\n[]\n" + orjson.dumps(["failure", "d", 1]))
    house.workers[1].answer(STATE, lambda payload, worker: b"nothing\n[1]")
    house.start(0)
    await turns()
    assert not house.crashes


def test_a_process_that_is_alone_loads_none_of_it() -> None:
    program = (
        "import asyncio, sys\n"
        "from a2py.config import Config\n"
        "from a2py.proxy.services import Services\n"
        "async def main():\n"
        "    Services(Config()).join_workers(0, int(sys.argv[1]), lambda envelopes: True)\n"
        "asyncio.run(main())\n"
        "print(sorted(name for name in sys.modules if 'news' in name))"
    )
    for count, modules in (("1", []), ("2", ["a2py.proxy.news", "a2py.proxy.worker_news"])):
        result = subprocess.run([sys.executable, "-c", program, count], capture_output=True, text=True, check=True)
        assert result.stdout.strip() == str(modules)
