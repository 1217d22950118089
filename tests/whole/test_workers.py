# ruff: noqa: F401, F811  (a fixture that is imported and then named as an argument)
"""Real workers of one parent, without Redis: what they share, whichever of them is asked."""

from __future__ import annotations

import asyncio
import pickle
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from a2py.config import Config, Settings
from a2py.deployment import Deployment
from tests.cli.test_workers import REAL, Watch, supervise
from tests.commands import LIMIT, nothing
from tests.proxied import config as plain_config
from tests.proxied import message, run_proxy, settle
from tests.scripted import SSE, Answer, Peer, Raw, ScriptedServer, answering, usage
from tests.scripted import text as reply

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="POSIX"), pytest.mark.integration]


class Proxy:
    """`supervisor`: the process that starts the workers."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.supervisor = watch, watch.supervisor
        self.port = self.supervisor.sharing.sockets[0].getsockname()[1]

    async def ask(self, text: str = "Hi", **headers: str) -> Answer:
        """One request on a connection of its own: the kernel chooses the worker."""
        return await ask(self.port, text, **headers)

    async def post(self, path: str, body: Any) -> Answer:
        async with Raw(self.port) as client:
            client.ask("POST", path, body)
            return await client.answer()

    async def get(self, path: str) -> Answer:
        async with Raw(self.port) as client:
            client.ask("GET", path)
            return await client.answer("GET")

    async def until_all(self, path: str, is_so: Callable[[Any], bool], body: Any = None) -> None:
        """Wait until 24 connections in a row get an answer like that: more than enough to reach each worker."""

        async def one() -> bool:
            return is_so((await (self.get(path) if body is None else self.post(path, body))).json)

        async def all_of_them() -> None:
            while not all(await asyncio.gather(*(one() for _ in range(24)))):
                pass

        await asyncio.wait_for(all_of_them(), LIMIT)

    async def replace(self, number: int) -> None:
        """Kill a worker, and wait for its successor."""
        process = self.supervisor.running[number]
        process.kill()
        await self.watch.until(lambda: self.supervisor.running.get(number) not in (None, process))
        await self.watch.until(lambda: number in self.supervisor.relay.members)


async def ask(port: int, text: str = "Hi", **headers: str) -> Answer:
    async with Raw(port) as client:
        client.ask("POST", "/v1/messages", message(text, model="m"), headers.items())
        return await client.answer()


@asynccontextmanager
async def workers(count: int, config: Config, place: Path) -> AsyncIterator[Proxy]:
    payload = pickle.dumps((config, "a test"))
    async with supervise(REAL, count, str(place / "no"), "serve", "--log-format", "json", config=payload) as watch:
        await watch.until(lambda: len(watch.supervisor.relay.members) == count)
        yield Proxy(watch)


def deployment(base: str, id: str = "m", **more: Any) -> Deployment:
    return Deployment(name="m", id=id, provider="openai", model="m", base=base, key="k", **more)


def make_config(*deployments: Deployment, **more: Any) -> Config:
    return Config(deployments=deployments, settings=Settings(discover=False, num_retries=0, **more))


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_rpm_counts_for_all_workers_together(nothing: Path) -> None:
    """It let 40 of 40 through with four workers."""
    async with ScriptedServer(answering("Hi")) as server:
        config = make_config(deployment(server.base, rpm=10))
        async with workers(4, config, nothing) as proxy:
            answers = await asyncio.gather(*(proxy.ask() for _ in range(80)))
            statuses = Counter(answer.status for answer in answers)
            assert statuses[200] + statuses[429] == 80 and 0 < statuses[200] <= 10
            refusal = next(answer for answer in answers if answer.status == 429)
            assert (
                "[2 in this worker] of m" in refusal.body.decode() or "[3 in this worker] of m" in refusal.body.decode()
            )


async def test_a_worker_that_is_replaced_does_not_use_its_part_again(nothing: Path) -> None:
    async with ScriptedServer(answering("Hi")) as server:
        config = make_config(deployment(server.base, rpm=4))
        async with workers(2, config, nothing) as proxy:
            messages, carry = [], proxy.supervisor.relay.carry

            def listen(sender: int, link: Any, data: bytes) -> None:
                messages.append(data.partition(b'["use",0,')[2].partition(b"]]")[0])
                carry(sender, link, data)

            proxy.supervisor.relay.carry = listen  # type: ignore[method-assign]
            answers = await asyncio.gather(*(proxy.ask() for _ in range(40)))
            assert Counter(answer.status for answer in answers)[200] == 4
            await proxy.watch.until(lambda: any(use.endswith(b",2") for use in messages))
            await proxy.replace(0)
            await proxy.until_all("/health", lambda page: page["deployments"][0].get("used", {}).get("requests") == 4)
            answers = await asyncio.gather(*(proxy.ask() for _ in range(40)))
            assert {answer.status for answer in answers} == {429}


# -- what one learns, all know -----------------------------------------------------------------------------------------


async def test_a_deployment_that_fails_at_one_worker_cools_down_at_all(nothing: Path) -> None:
    """Also at one that starts later."""

    async def refuse(c: Peer) -> None:
        c.reply({"error": {"message": "no such key"}}, 401)

    async with ScriptedServer(refuse) as server:
        config = make_config(deployment(server.base), cooldown_time=600)
        async with workers(3, config, nothing) as proxy:

            def cools(page: Any) -> bool:
                return [row["why"] for row in page["cooldowns"]] == ["authentication"]

            assert (await proxy.ask()).status == 401
            await proxy.until_all("/health", cools)
            await proxy.replace(1)
            await proxy.until_all("/health", cools)
        assert len(server.requests) == 1


async def test_a_lesson_of_one_worker_is_used_by_all(nothing: Path) -> None:
    async def script(c: Peer) -> None:
        if "temperature" in c.request.json:
            c.reply({"error": {"message": "Unsupported parameter: 'temperature'", "param": "temperature"}}, 400)
        else:
            await answering("Hi")(c)

    async with ScriptedServer(script) as server, workers(3, make_config(deployment(server.base)), nothing) as proxy:
        hot = message("Hi", model="m", temperature=0.5)
        assert (await proxy.post("/v1/messages", hot)).status == 200 and len(server.requests) == 2
        await proxy.until_all("/health", lambda page: [row["field"] for row in page["lessons"]] == ["sampling"])
        answers = await asyncio.gather(*(proxy.post("/v1/messages", hot) for _ in range(12)))
        assert {answer.status for answer in answers} == {200} and len(server.requests) == 14


async def test_count_tokens_agrees(nothing: Path) -> None:
    """One worker had learned from a reply, and said 3,000; the other said 1,404."""

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*reply("Hi", tokens=usage(3000)))
        c.end()

    async with ScriptedServer(script) as server, workers(2, make_config(deployment(server.base)), nothing) as proxy:
        text = "Some words of English. " * 280
        body = message(text, model="m", stream=False)
        before = (await proxy.post("/v1/messages/count_tokens", body)).json["input_tokens"]
        assert (await proxy.ask(text)).status == 200
        await proxy.until_all("/v1/messages/count_tokens", lambda count: count["input_tokens"] == 3000, body)
        assert before < 2000
        await proxy.replace(0)
        await proxy.until_all("/v1/messages/count_tokens", lambda count: count["input_tokens"] == 3000, body)


# -- pages of all workers ----------------------------------------------------------------------------------------------


def metric(page: Answer, name: str) -> float:
    """The sum of a metric's values."""
    lines = [line for line in page.body.decode().splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def test_every_scrape_shows_all_workers(nothing: Path) -> None:
    """Each scrape showed another worker. Counters never go down, whoever dies and whoever is asked."""
    async with (
        ScriptedServer(answering("Hi")) as server,
        workers(3, make_config(deployment(server.base)), nothing) as proxy,
    ):

        async def scrape() -> tuple[float, float, float]:
            page = await proxy.get("/metrics")
            assert metric(page, "a2py_workers") + metric(page, "a2py_workers_missing") == 3
            requests = metric(page, "a2py_requests_total")
            assert metric(page, "a2py_tokens_total") == requests * 14
            return requests, metric(page, "a2py_workers_missing"), metric(page, "a2py_connections")

        await asyncio.gather(*(proxy.ask() for _ in range(30)))
        pages = await asyncio.gather(*(scrape() for _ in range(12)))
        assert {(requests, missing) for requests, missing, _ in pages} == {(30, 0)}
        assert max(connections for _, _, connections in pages) > 1
        for number in range(3):
            process = proxy.supervisor.running[number]
            process.kill()
            while (await scrape())[1]:
                assert (await scrape())[0] == 30
            await proxy.watch.until(lambda number=number: number in proxy.supervisor.relay.members)  # type: ignore[misc]
            assert (await scrape())[0] == 30
        await asyncio.gather(*(proxy.ask() for _ in range(6)))
        assert {page[0] for page in await asyncio.gather(*(scrape() for _ in range(12)))} == {36}


async def test_health_shows_all_workers(nothing: Path) -> None:
    """Also one that does not answer: it is missing, and named."""
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        await go.wait()
        c.events(*reply("Hi"))
        c.end()

    async with ScriptedServer(script) as server:
        config = make_config(deployment(server.base, rpm=100, max_parallel=50))
        async with workers(2, config, nothing) as proxy:
            asking = [asyncio.ensure_future(proxy.ask()) for _ in range(12)]
            await settle(lambda: len(server.requests) == 12, LIMIT)

            def is_whole(page: Any) -> bool:
                (row,) = page["deployments"]
                assert page["workers"] == {"count": 2, "missing": []}
                return bool(page["running"] == row["running"] == row["used"]["requests"] == 12)

            await proxy.until_all("/health", is_whole)
            worker = proxy.supervisor.running[1]
            worker.send_signal(signal.SIGSTOP)
            pages = [asyncio.ensure_future(proxy.get("/health")) for _ in range(24)]  # some reach the other one
            try:
                done, late = await asyncio.wait(pages, return_when=asyncio.FIRST_COMPLETED)
                page = next(iter(done)).result().json
            finally:
                worker.send_signal(signal.SIGCONT)
            await asyncio.gather(*late)
            assert page["workers"] == {"count": 2, "missing": [1]} and page["running"] < 12
            go.set()
            assert {answer.status for answer in await asyncio.gather(*asking)} == {200}


async def test_usage_has_the_rows_of_all_workers(nothing: Path) -> None:
    """Also those that wait to be written."""
    async with ScriptedServer(answering("Hi")) as server:
        config = make_config(deployment(server.base), ledger=str(nothing / "ledger.db"))
        async with workers(3, config, nothing) as proxy:
            for count in range(1, 6):
                await asyncio.gather(*(proxy.ask() for _ in range(5)))
                page = (await proxy.get("/usage")).json
                assert [group["requests"] for group in page["groups"]] == [5 * count] and "missing_workers" not in page


async def test_one_process_asks_nobody(nothing: Path) -> None:
    async with ScriptedServer(answering("Hi")) as server, run_proxy(plain_config(server.base)) as proxy:
        health = (await proxy.ask(None, "/health", "GET")).json
        page = await proxy.ask(None, "/metrics", "GET")
        assert "workers" not in health and metric(page, "a2py_workers") == 1


# -- sessions ----------------------------------------------------------------------------------------------------------


async def test_a_session_stays_with_its_deployment_at_every_worker(nothing: Path) -> None:
    """Nothing is shared for it: each computes the same. Connections of one session reach several workers."""
    async with ScriptedServer(answering("Hi")) as one, ScriptedServer(answering("Hi")) as two:
        config = make_config(deployment(one.base, "one"), deployment(two.base, "two"))
        async with workers(3, config, nothing) as proxy:
            homes: Counter[int] = Counter()
            for session in range(8):
                before = len(one.requests), len(two.requests)
                name = {"x-claude-code-session-id": f"session-{session}"}
                answers = await asyncio.gather(*(proxy.ask(**name) for _ in range(12)))
                assert {answer.status for answer in answers} == {200}
                counts = len(one.requests) - before[0], len(two.requests) - before[1]
                assert sorted(counts) == [0, 12]
                homes[counts.index(12)] += 1
            assert len(homes) == 2
