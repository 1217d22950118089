"""Limits of keys over the shared counts, and what a reload does to sharing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO

import pytest

from a2py.budget import Budget
from a2py.caller import ANYBODY, Caller
from a2py.config import Config
from a2py.config.redis import RedisAddress
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.ledger.spending import Hold, Spending
from a2py.proxy.limits import Limits, Tokens
from a2py.proxy.log import Log
from a2py.proxy.router import Router
from a2py.proxy.sharing import Sharing

NOWHERE = RedisAddress("redis://127.0.0.1:1", "redis://127.0.0.1:1/0")


@asynccontextmanager
async def open_sharing(out: StringIO) -> AsyncIterator[Sharing]:
    """Without a Redis: each decision is made here."""
    router = Router(lambda: 0.0, Limits(lambda: 0.0), random.Random(7))
    sharing = Sharing(NOWHERE, router, Log(stream=out))
    sharing.store._is_broken = True
    sharing.store.is_up = False
    try:
        yield sharing
    finally:
        await sharing.close()


async def test_each_limit_of_a_key() -> None:
    async with open_sharing(StringIO()) as sharing:
        assert await sharing.admit_key(ANYBODY, Tokens(1, 1)) is None
        alice = Caller("alice", rpm=1)
        assert await sharing.admit_key(alice, Tokens()) is not None
        with pytest.raises(ApiError, match=r"alice has reached its limit \(rpm 1\). Ask again in \d\d s") as excinfo:
            await sharing.admit_key(alice, Tokens())
        assert excinfo.value.status == 429
        assert await sharing.admit_key(Caller("bob", rpm=1), Tokens()) is not None, "another key"
        places = Caller("carol", max_parallel=1)
        grant = await sharing.admit_key(places, Tokens())
        assert grant is not None
        with pytest.raises(ApiError, match=r"\(max_parallel 1\). Ask again in 1 s"):
            await sharing.admit_key(places, Tokens())
        grant.settle(1, 1)
        assert await sharing.admit_key(places, Tokens()) is not None


async def test_tokens_of_a_key() -> None:
    async with open_sharing(StringIO()) as sharing:
        dave = Caller("dave", tpm=1000)
        grant = await sharing.admit_key(dave, Tokens(600, 32_000))
        assert grant is not None
        with pytest.raises(ApiError, match="tpm 1000"):
            await sharing.admit_key(dave, Tokens(1, 1))
        grant.settle(600, 100)
        assert await sharing.admit_key(dave, Tokens(300, 0)) is not None
        with pytest.raises(ApiError, match="takes no request of this size"):
            await sharing.admit_key(dave, Tokens(1001, 1))


async def test_workers_divide_a_limit_while_redis_has_never_answered() -> None:
    async with open_sharing(StringIO()) as sharing:
        sharing.join_workers(3, 4)
        alice = Caller("alice", rpm=10)
        assert (
            await sharing.admit_key(alice, Tokens()) is not None
            and await sharing.admit_key(alice, Tokens()) is not None
        )
        with pytest.raises(ApiError):
            await sharing.admit_key(alice, Tokens())


async def test_a_reload_watches_the_new_limits_and_says_that_another_redis_needs_a_restart() -> None:
    out = StringIO()
    async with open_sharing(out) as sharing:
        one = Deployment(name="m", id="a", provider="p", model="u", base="http://x", rpm=1)
        sharing.renew(Config(deployments=(one,), redis=NOWHERE))
        assert len(sharing.store.mirror.shares) == 1 and "restart" not in out.getvalue()
        sharing.renew(Config(deployments=(one,)))
        assert "another Redis is used after a restart only" in out.getvalue()
        assert sharing.report() == {"redis": "redis://127.0.0.1:1", "is_up": False, "processes": 1}
        await asyncio.sleep(0)


async def test_a_budget_without_redis_is_that_of_the_ledger() -> None:
    async with open_sharing(StringIO()) as sharing:
        hold = Hold("x-1", "alice", Budget(1.0, "day"), 0.5)
        assert await sharing.charge_key(hold, Spending(0.9, 0.0), "ledger", 1_800_000_000.0) is None
        with pytest.raises(ApiError, match=r"alice has spent its budget of 1/day"):
            await sharing.charge_key(hold, Spending(1.0, 0.0), "ledger", 1_800_000_000.0)
