# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""Real workers of one parent, without Redis: what they share, whichever of them is asked."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from a2py.config import Config, Settings
from a2py.deployment import Deployment
from tests.cli.test_workers import REAL, Watched, watched
from tests.commands import LIMIT, nothing
from tests.proxied import message
from tests.scripted import Answer, Raw, Scripted, answering

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="POSIX"), pytest.mark.integration]


class Proxy:
    """`made`: the parent."""

    def __init__(self, seen: Watched) -> None:
        self.seen, self.made = seen, seen.made
        self.port = self.made.sharing.sockets[0].getsockname()[1]

    async def ask(self, text: str = "Hi", **headers: str) -> Answer:
        """One request on a connection of its own: the kernel chooses the worker."""
        return await ask(self.port, text, **headers)

    async def get(self, path: str) -> Any:
        async with Raw(self.port) as client:
            client.ask("GET", path)
            return await client.answer("GET")


async def ask(port: int, text: str = "Hi", **headers: str) -> Answer:
    async with Raw(port) as client:
        client.ask("POST", "/v1/messages", message(text, model="m"), headers.items())
        return await client.answer()


@asynccontextmanager
async def workers(count: int, config: Config, place: Path) -> AsyncIterator[Proxy]:
    given = pickle.dumps((config, "a test"))
    async with watched(REAL, count, str(place / "no"), "serve", "--log-format", "json", config=given) as seen:
        await seen.until(lambda: len(seen.made.relay.members) == count)
        yield Proxy(seen)


def deployment(base: str, id: str = "m", **more: Any) -> Deployment:
    return Deployment(name="m", id=id, provider="openai", model="m", base=base, key="k", **more)


def make_config(*deployments: Deployment, **more: Any) -> Config:
    return Config(deployments=deployments, settings=Settings(discover=False, num_retries=0, **more))


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_rpm_counts_for_all_workers_together(nothing: Path) -> None:
    """It let 40 of 40 through with four workers."""
    async with Scripted(answering("Hi")) as server:
        config = make_config(deployment(server.base, rpm=10))
        async with workers(4, config, nothing) as proxy:
            answers = await asyncio.gather(*(proxy.ask() for _ in range(80)))
            statuses = Counter(answer.status for answer in answers)
            assert statuses[200] + statuses[429] == 80 and 0 < statuses[200] <= 10
            refused = next(answer for answer in answers if answer.status == 429)
            assert (
                "[2 in this worker] of m" in refused.body.decode() or "[3 in this worker] of m" in refused.body.decode()
            )
