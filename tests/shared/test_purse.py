"""Budgets of keys on several machines, each with a ledger of its own, at one real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from a2py.shared import store
from a2py.shared.purse import Purses, Total
from a2py.shared.store import Store
from tests import redis_server
from tests.redis_server import RedisServer
from tests.shared.test_store import stores, until

pytestmark = [pytest.mark.real]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    why = redis_server.missing()
    if why:
        pytest.skip(why)
    with RedisServer(tmp_path) as server:
        yield server


class Machine:
    """`spent`: as its ledger says."""

    def __init__(self, each: Store, name: str) -> None:
        self.purses, self.name, self.spent = Purses(each), name, 0.0

    async def reserve(self, cost: float, start: float = 3600.0, amount: float = 10.0) -> Total:
        return await self.purses.reserve("m1", self.name, start, amount, self.spent, cost)

    async def pay(self, total: Total, cost: float, start: float = 3600.0) -> None:
        assert total.charge is not None
        total.charge.settle(cost, start)
        total.charge.settle(0.0, start)
        self.spent += cost
        await asyncio.sleep(0.05)


async def test_what_any_machine_has_spent_or_reserved_counts(server: RedisServer) -> None:
    async with stores(server, 2) as (one, two):
        first, second = Machine(one, "a"), Machine(two, "b")
        running = await first.reserve(6.0)
        assert running == Total(0.0, 0.0, True, running.charge)
        other = await second.reserve(4.5)
        assert (other.spent, other.reserved, other.has_room) == (0.0, 6.0, True)
        full = await first.reserve(1.0)
        assert (full.reserved, full.has_room, full.charge) == (10.5, False, None)
        await first.pay(running, 2.0)
        await second.pay(other, 1.5)
        third = await second.reserve(0.5)
        assert (third.spent, third.reserved, third.has_room) == (3.5, 0.0, True)


async def test_a_ledger_says_what_it_has_spent_and_nothing_counts_twice(server: RedisServer) -> None:
    async with stores(server, 2) as (one, two):
        first, second = Machine(one, "a"), Machine(two, "b")
        first.spent, second.spent = 3.0, 4.0
        for _ in range(3):
            total = await first.reserve(0.1)
            await first.pay(total, 0.1)
        assert (await second.reserve(0.1)).spent == pytest.approx(7.3)
        async with Redis.from_url(server.url) as client:
            await client.delete("{a2py:1}:m:m1")  # Redis has lost it
        await first.reserve(0.1)
        assert (await second.reserve(0.1)).spent == pytest.approx(7.3)


async def test_a_new_period_begins_with_nothing(server: RedisServer) -> None:
    async with stores(server, 1) as (one,):
        machine = Machine(one, "a")
        await machine.pay(await machine.reserve(9.0), 10.0)
        assert not (await machine.reserve(1.0)).has_room
        machine.spent = 0.0
        assert await machine.reserve(1.0, start=7200.0) != Total(0.0, 0.0, False)
        assert (await machine.reserve(1.0, start=7200.0)).spent == 0.0


async def test_what_a_dead_process_had_reserved_is_free_after_its_lease(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LEASE_SECONDS", 1.0)
    async with stores(server, 2) as (one, two):
        first, second = Machine(one, "a"), Machine(two, "b")
        assert (await first.reserve(10.0)).has_room
        assert not (await second.reserve(1.0)).has_room
        assert one._task is not None
        one._task.cancel()
        for _ in range(100):
            if (await second.reserve(1.0)).has_room:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("it still counts")


async def test_what_was_reserved_for_a_request_that_did_not_wait_is_given_back(server: RedisServer) -> None:
    async with stores(server, 2) as (one, two):
        first, second = Machine(one, "a"), Machine(two, "b")
        asking = asyncio.ensure_future(first.reserve(10.0))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.2)
        assert (await second.reserve(1.0)).reserved == 0.0


async def test_without_redis_the_ledger_decides_with_what_others_had_spent(server: RedisServer) -> None:
    async with stores(server, 2) as (one, two):
        first, second = Machine(one, "a"), Machine(two, "b")
        await first.pay(await first.reserve(6.0), 6.0)
        assert (await second.reserve(1.0)).spent == 6.0
        server.freeze()
        second.spent = 3.0
        total = await second.reserve(1.0)
        assert (total.spent, total.has_room, total.charge) == (9.0, True, None)
        second.spent = 4.0
        assert not (await second.reserve(1.0)).has_room
        server.thaw()
        await until(lambda: two.is_up)
        assert (await second.reserve(1.0)).spent == 10.0
