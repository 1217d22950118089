"""Long work lets other requests run after each slice, and only one piece of long work runs at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from a2py.proxy.pace import LARGE, TURNS, Pace
from a2py.slices import Slices, at_once
from tests.proxied import config, message, run_proxy, settle
from tests.scripted import ScriptedServer, answering


def steps(count: int, log: list[str], name: str = "") -> Slices[str]:
    for n in range(count):
        log.append(f"{name}{n}")
        yield
    return f"{name} is done"


def test_at_once() -> None:
    log: list[str] = []
    assert at_once(steps(3, log)) == " is done" and log == ["0", "1", "2"]
    assert at_once(steps(0, log)) == " is done"


class Turns:
    """Counts the turns of the loop that others get."""

    def __init__(self) -> None:
        self.count = 0

    async def __aenter__(self) -> Turns:
        self._task = asyncio.create_task(self._run())
        await asyncio.sleep(0)
        self.count = 0
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


async def test_short_work_is_done_at_once() -> None:
    log: list[str] = []
    async with Turns() as turns:
        assert await Pace(60.0).run(steps(1000, log)) == " is done"
    assert turns.count == 0 and len(log) == 1000


async def test_long_work_gives_way_after_each_slice() -> None:
    log: list[str] = []
    async with Turns() as turns:
        assert await Pace(0.0).run(steps(10, log)) == " is done"
    assert turns.count == (10 + 1) * TURNS  # also after the last slice


async def test_a_large_body_waits_for_its_turn_before_its_first_slice() -> None:
    log: list[str] = []
    async with Turns() as turns:
        assert await Pace(60.0).run(steps(10, log), size=LARGE + 1) == " is done"
    assert turns.count == 2 * TURNS


async def test_one_long_work_at_a_time() -> None:
    log: list[str] = []
    pace = Pace(0.0)
    results = await asyncio.gather(*(pace.run(steps(3, log, name)) for name in "abc"))
    assert results == ["a is done", "b is done", "c is done"]
    assert log == ["a0", "b0", "c0", "a1", "a2", "b1", "b2", "c1", "c2"]


async def test_an_error_ends_it_and_the_next_has_its_turn() -> None:
    def failing() -> Slices[None]:
        yield
        yield
        raise ValueError("no")

    log: list[str] = []
    pace = Pace(0.0)
    with pytest.raises(ValueError, match="no"):
        await pace.run(failing())
    assert await pace.run(steps(3, log)) == " is done"


async def test_work_of_a_client_that_has_left_is_given_up() -> None:
    log: list[str] = []
    pace = Pace(0.0)
    task = asyncio.create_task(pace.run(steps(100_000, log)))
    await settle(lambda: len(log) >= 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    length = len(log)
    assert await pace.run(steps(3, log)) == " is done"
    assert length < 100_000 and len(log) == length + 3


@pytest.mark.parametrize("wire", ["chat", "responses", "native"])
async def test_a_small_request_overtakes_a_large_one(wire: str) -> None:
    async with ScriptedServer(answering("Hi")) as upstream:
        settings = config(upstream.base)
        settings = replace(settings, deployments=tuple(replace(d, wire=wire) for d in settings.deployments))
        async with run_proxy(settings) as proxy:
            proxy.services.pace.seconds = 0.0
            turns = {"role": "user", "content": "x"}, {"role": "assistant", "content": [{"type": "text", "text": "y"}]}
            large = asyncio.create_task(proxy.ask(message("x", messages=[*turns * 10_000][:-1])))
            await settle(lambda: proxy.services.pace._turn.locked())
            small = await proxy.ask(None, "/health", "GET")
            assert small.status == 200 and not upstream.requests and not large.done()
            await large
            assert len(upstream.requests) == 1


async def test_counting_a_large_request_gives_way() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        proxy.services.pace.seconds = 0.0
        body = {"model": "test-model", "messages": [{"role": "user", "content": "x"}] * 20_000}
        large = asyncio.create_task(proxy.ask(body, "/v1/messages/count_tokens"))
        await settle(lambda: proxy.services.pace._turn.locked())
        small = await proxy.ask(None, "/health", "GET")
        assert small.status == 200 and not large.done()
        assert (await large).json["input_tokens"] > 80_000
