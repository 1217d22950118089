"""Requests that wait for a place at a full upstream: who is served when, what the client sees meanwhile, and that nothing
is left of those who leave."""

from __future__ import annotations

import asyncio
import re
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2py.config import single
from a2py.errors import ApiError
from a2py.evidence.server import ServerWord
from a2py.messages.writer import PING
from tests.clock import Clock
from tests.proxied import SECRET, SESSION, Running, config, deployment, message, run_proxy, settle
from tests.scripted import LIMIT, Answer, Peer, Raw, ScriptedServer, answering, refusing

AGENT = "x-claude-code-agent-id"


class Upstream:
    """An upstream that answers one request after the other, each after `go()`. `texts`: the texts that came."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.running = self.most = 0
        self._turns = asyncio.Semaphore(0)

    async def script(self, c: Peer) -> None:
        self.texts.append(c.request.json["messages"][-1]["content"])
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self._turns.acquire()
        finally:
            self.running -= 1
        await answering("Hi")(c)

    def go(self, times: int = 1) -> None:
        for _ in range(times):
            self._turns.release()


@asynccontextmanager
async def full(name: str = "first", **settings: Any) -> AsyncIterator[tuple[Running, Upstream, Raw]]:
    """A proxy whose one deployment has one place, which the client that is returned has. `deployments`: others."""
    upstream = Upstream()
    more = {name: settings.pop(name) for name in ("max_parallel", "slots", "name_parallel", "rpm") if name in settings}
    async with ScriptedServer(upstream.script) as server:
        own = deployment(server.base, id="d0", **(more or {"max_parallel": 1}))
        others = settings.pop("others", lambda base: ())(server.base)
        async with run_proxy(config(deployments=(own, *others), **settings)) as proxy, proxy.client() as client:
            client.ask("POST", "/v1/messages", message(name))
            await settle(lambda: upstream.texts == [name])
            yield proxy, upstream, client


def waiting(proxy: Running) -> int:
    return proxy.services.router.line.waiting


async def join(
    proxy: Running, text: str, headers: dict[str, str] | None = None, stream: bool = True
) -> asyncio.Future[Answer]:
    """A request that waits."""
    before = waiting(proxy)
    asking = asyncio.ensure_future(proxy.ask(message(text, stream), headers=headers))
    await settle(lambda: waiting(proxy) == before + 1)
    return asking


def lines(proxy: Running) -> list[dict[str, Any]]:
    return [line for line in proxy.lines if line["event"] == "request"]


@pytest.mark.parametrize("stream", [True, False])
async def test_requests_wait_in_their_order(stream: bool) -> None:
    """No 429: each is served, and the place is in the header, in the log and in the metrics."""
    async with full() as (proxy, upstream, client):
        asking = [await join(proxy, f"n{n}", {SESSION: f"s{n}"}, stream) for n in range(5)]
        page = (await proxy.ask(None, "/metrics", "GET")).body.decode()
        assert "\na2py_waiting 5\n" in page
        assert (await proxy.ask(None, "/health", "GET")).json["waiting"] == 5
        upstream.go(6)
        answers = await asyncio.gather(*asking)
        assert [answer.status for answer in answers] == [200] * 5
        assert [answer.headers["x-a2py-queue"] for answer in answers] == ["1", "2", "3", "4", "5"]
        first = await client.answer()
        assert first.status == 200 and "x-a2py-queue" not in first.headers
        assert upstream.texts == ["first", "n0", "n1", "n2", "n3", "n4"] and upstream.most == 1
        await settle(lambda: len(lines(proxy)) == 6)
        waiters = [line for line in lines(proxy) if "queue" in line]
        assert [line["queue"] for line in waiters] == [1, 2, 3, 4, 5] and all(line["queue_ms"] >= 0 for line in waiters)
        page = (await proxy.ask(None, "/metrics", "GET")).body.decode()
        assert 'a2py_queue_seconds_count{end="served"} 5\n' in page and "\na2py_waiting 0\n" in page


async def test_the_main_conversation_goes_first_and_keys_take_turns() -> None:
    async with full() as (proxy, upstream, client):
        asking = [
            await join(proxy, "agent 1", {SESSION: "A", AGENT: "1", "x-api-key": "one"}),
            await join(proxy, "agent 2", {SESSION: "A", AGENT: "2", "x-api-key": "one"}),
            await join(proxy, "main", {SESSION: "A", "x-api-key": "one"}),
            await join(proxy, "other key", {SESSION: "B", "authorization": "Bearer two"}),
        ]
        upstream.go(5)
        assert [answer.status for answer in await asyncio.gather(*asking)] == [200] * 4
        assert upstream.texts == ["first", "main", "other key", "agent 1", "agent 2"]
        await client.answer()


async def test_other_deployments_of_the_name_are_tried_first() -> None:
    async with (
        ScriptedServer(answering("Hi")) as other,
        full(others=lambda base: (deployment(other.base, id="d1", order=1),)) as (proxy, upstream, client),
    ):
        answer = await proxy.ask(message("second"))
        assert answer.status == 200 and "x-a2py-queue" not in answer.headers and len(other.requests) == 1
        upstream.go()
        await client.answer()


async def test_a_fallback_with_room_is_asked_before_anybody_waits() -> None:
    async with (
        ScriptedServer(answering("Hi")) as other,
        full(others=lambda base: (deployment(other.base, "spare", id="f"),), fallbacks={"test-model": ("spare",)}) as (
            proxy,
            upstream,
            client,
        ),
    ):
        assert (await proxy.ask(message("second"))).status == 200 and len(other.requests) == 1
        upstream.go()
        await client.answer()


async def test_the_slots_of_a_server_are_waited_for_before_a_fallback() -> None:
    """The server would let the request wait, too. A fallback may cost money."""
    async with (
        ScriptedServer(answering("Hi")) as other,
        full(
            slots=1,
            others=lambda base: (deployment(other.base, "spare", id="f"),),
            fallbacks={"test-model": ("spare",)},
        ) as (proxy, upstream, client),
    ):
        asking = await join(proxy, "second")
        upstream.go(2)
        assert (await asking).status == 200 and not other.requests
        await client.answer()


async def test_a_fallback_that_gets_room_serves_who_has_waited_too_long() -> None:
    async with (
        ScriptedServer(answering("Hi")) as other,
        full(
            slots=1,
            queue_seconds=0.05,
            others=lambda base: (deployment(other.base, "spare", id="f"),),
            fallbacks={"test-model": ("spare",)},
        ) as (proxy, upstream, client),
    ):
        answer = await proxy.ask(message("second"))
        assert answer.status == 200 and len(other.requests) == 1 and answer.headers["x-a2py-queue"] == "1"
        upstream.go()
        await client.answer()


@pytest.mark.parametrize(
    "limit",
    [{"name_parallel": 1}, {"slots": 1}, {"max_parallel": 0, "global_max_parallel_requests": 1}],
    ids=["name", "slots", "global"],
)
async def test_each_limit_has_the_line(limit: dict[str, Any]) -> None:
    async with full(**limit) as (proxy, upstream, client):
        asking = [await join(proxy, f"n{n}", {SESSION: f"s{n}"}) for n in range(3)]
        upstream.go(4)
        assert [answer.status for answer in await asyncio.gather(*asking)] == [200] * 3
        assert upstream.texts == ["first", "n0", "n1", "n2"] and upstream.most == 1
        await client.answer()


async def test_two_names_share_the_slots_of_their_server() -> None:
    async with full(slots=1, others=lambda base: (deployment(base, "twin", id="t", slots=1),)) as (
        proxy,
        upstream,
        client,
    ):
        asking = asyncio.ensure_future(proxy.ask({**message("second"), "model": "twin"}))
        await settle(lambda: waiting(proxy) == 1)
        upstream.go(2)
        assert (await asking).status == 200 and upstream.most == 1
        await client.answer()


async def test_a_full_line_is_a_429_that_says_when() -> None:
    async with full(queue_length=1) as (proxy, upstream, client):
        asking = await join(proxy, "second")
        refusal = await proxy.ask(message("third"))
        assert refusal.status == 429 and int(refusal.headers["retry-after"]) >= 1
        text = refusal.json["error"]["message"]
        assert "max_parallel_requests 1 of d0" in text and "its line is full (1 requests wait)" in text, text
        assert refusal.json["error"]["type"] == "rate_limit_error"
        upstream.go(2)
        assert (await asking).status == 200
        await client.answer()
        page = (await proxy.ask(None, "/metrics", "GET")).body.decode()
        assert 'a2py_queue_seconds_count{end="full"} 1\n' in page


async def test_retry_after_is_the_time_that_requests_take() -> None:
    clock, upstream = Clock(), Upstream()
    async with (
        ScriptedServer(upstream.script) as server,
        run_proxy(config(deployments=(deployment(server.base, max_parallel=1),), queue_length=2), clock=clock) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message("first"))
        await settle(lambda: upstream.texts)
        asking = [await join(proxy, f"n{n}", {SESSION: f"{n}"}) for n in range(2)]
        clock.now += 17
        assert (await proxy.ask(message("more"))).headers["retry-after"] == "17", "so long the first has run already"
        upstream.go(3)
        await asyncio.gather(*asking)
        await client.answer()


@pytest.mark.parametrize("stream", [True, False])
async def test_who_waits_too_long_gets_a_429(stream: bool) -> None:
    async with full(queue_seconds=0.05) as (proxy, upstream, client):
        refusal = await proxy.ask(message("second", stream))
        assert refusal.status == 429 and refusal.headers["x-a2py-queue"] == "1"
        assert int(refusal.headers["retry-after"]) >= 1
        assert "the request has waited 0.05 s, at last at place 1" in refusal.json["error"]["message"]
        upstream.go()
        await client.answer()
        assert upstream.texts == ["first"]


async def test_pings_while_a_stream_waits() -> None:
    """As in any silence: after `commit_seconds` a 200 with the place in it, then pings."""
    quick: dict[str, Any] = {"commit_seconds": 0.01, "keepalive_seconds": 0.01, "delta_keepalive_seconds": 0.01}
    async with full(**quick) as (proxy, upstream, client), proxy.client() as second:
        second.ask("POST", "/v1/messages", message("second"))
        status, headers = await second.head()
        assert (status, headers["x-a2py-queue"]) == (200, "1") and waiting(proxy) == 1
        for _ in range(3):
            await asyncio.wait_for(second.reader.readuntil(PING), LIMIT)
        assert upstream.texts == ["first"]
        upstream.go(2)
        await asyncio.wait_for(second.reader.readuntil(b"message_stop"), LIMIT)
        await client.answer()


async def test_who_waits_too_long_in_a_stream_that_has_begun() -> None:
    quick: dict[str, Any] = {"commit_seconds": 0.01, "keepalive_seconds": 0.01, "delta_keepalive_seconds": 0.01}
    async with full(queue_seconds=0.2, **quick) as (proxy, upstream, client):
        answer = await proxy.ask(message("second"))
        (error,) = [data for name, data in answer.events if name == "error"]
        assert answer.status == 200 and "has waited 0.2 s" in error["error"]["message"]
        assert error["error"]["type"] == "overloaded_error", "by which Claude Code asks again as a stream"
        upstream.go()
        await client.answer()


@pytest.mark.parametrize("limit", [{"max_parallel": 1}, {"max_parallel": 0, "global_max_parallel_requests": 1}])
async def test_no_line(limit: dict[str, Any]) -> None:
    async with full(queue_length=0, **limit) as (proxy, upstream, client):
        refusal = await proxy.ask(message("second"))
        assert refusal.status == 429 and refusal.headers["retry-after"] == "1"
        assert "x-a2py-queue" not in refusal.headers
        text = refusal.json["error"]["message"]
        assert "has reached its configured limit" in text and "max_parallel_requests 1 of" in text
        upstream.go()
        await client.answer()


async def test_requests_a_minute_are_not_waited_for() -> None:
    async with full(rpm=1) as (proxy, upstream, client):
        refusal = await proxy.ask(message("second"))
        assert refusal.status == 429 and int(refusal.headers["retry-after"]) > 50 and not waiting(proxy)
        upstream.go()
        await client.answer()


async def test_a_limit_a_minute_that_is_reached_while_a_request_waits() -> None:
    async with full(rpm=1, max_parallel=1) as (proxy, upstream, client):
        refusal = await proxy.ask(message("second"))
        assert refusal.status == 429 and "rpm 1 of d0" in refusal.json["error"]["message"]
        upstream.go()
        await client.answer()
    async with full(rpm=2, max_parallel=1) as (proxy, upstream, client):
        asking = [await join(proxy, f"n{n}", {SESSION: f"s{n}"}) for n in range(2)]
        upstream.go(3)
        answers = await asyncio.gather(*asking)
        assert [answer.status for answer in answers] == [200, 429]
        assert int(answers[1].headers["retry-after"]) > 50 and len(upstream.texts) == 2
        await client.answer()


async def test_a_lesson_keeps_the_place() -> None:
    """The same request goes once more at once: nobody gets in between."""
    texts: list[str] = []
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        body = c.request.json
        texts.append(body["messages"][-1]["content"])
        if "stream_options" in body:
            await go.wait()
            error: dict[str, Any] = {"param": "stream_options", "code": "unknown_parameter"}
            await refusing(400, "Unknown parameter: 'stream_options'.", **error)(c)
        else:
            await answering("Hi")(c)

    async with (
        ScriptedServer(script) as up,
        run_proxy(config(deployments=(deployment(up.base, max_parallel=1),))) as proxy,
    ):
        first = asyncio.ensure_future(proxy.ask(message("first")))
        await settle(lambda: texts)
        second = await join(proxy, "second")
        go.set()
        assert [(await one).status for one in (first, second)] == [200, 200]
    assert texts == ["first", "first", "second"]


async def test_a_full_deployment_is_waited_for_if_the_others_fail() -> None:
    async with (
        ScriptedServer(refusing(500)) as broken,
        full(others=lambda base: (deployment(broken.base, id="d1", order=1),)) as (proxy, upstream, client),
    ):
        asking = await join(proxy, "second")
        assert len(broken.requests) == 1
        upstream.go(2)
        assert (await asking).status == 200 and upstream.texts == ["first", "second"]
        await client.answer()


async def test_its_error_is_the_answer_if_no_place_comes_free() -> None:
    async with (
        ScriptedServer(refusing(500, "broken")) as broken,
        full(queue_seconds=0.05, others=lambda base: (deployment(broken.base, id="d1", order=1),)) as (
            proxy,
            upstream,
            client,
        ),
    ):
        answer = await proxy.ask(message("second"))
        assert answer.status == 500 and "broken" in answer.json["error"]["message"]
        upstream.go()
        await client.answer()


# -- those who leave, and the end --------------------------------------------------------------------------------------


async def test_a_client_that_leaves_frees_its_place_at_once() -> None:
    async with full() as (proxy, upstream, client):
        async with proxy.client() as leaver:
            leaver.ask("POST", "/v1/messages", message("leaver"))
            await settle(lambda: waiting(proxy) == 1)
            asking = await join(proxy, "next", {SESSION: "other"})
            leaver.reset()
            await settle(lambda: waiting(proxy) == 1)
        upstream.go(2)
        assert (await asking).status == 200 and upstream.texts == ["first", "next"]
        await client.answer()
        await settle(lambda: any(line["status"] == 499 for line in lines(proxy)))
        page = (await proxy.ask(None, "/metrics", "GET")).body.decode()
        assert 'a2py_queue_seconds_count{end="left"} 1\n' in page


async def test_a_drain_serves_those_who_wait() -> None:
    async with full(drain_seconds=20) as (proxy, upstream, client):
        asking = [await join(proxy, f"n{n}", {SESSION: f"s{n}"}) for n in range(3)]
        draining = asyncio.ensure_future(proxy.server.drain())
        await asyncio.sleep(0)
        upstream.go(4)
        assert [answer.status for answer in await asyncio.gather(*asking)] == [200] * 3
        await client.answer()
        await draining


async def test_a_drain_that_lasts_too_long_answers_those_who_wait() -> None:
    async with full(drain_seconds=0.05) as (proxy, upstream, client):
        asking = [await join(proxy, f"n{n}", {SESSION: f"s{n}"}) for n in range(3)]
        await proxy.server.drain()
        answers = await asyncio.gather(*asking)
        assert {answer.status for answer in answers} == {529} and upstream.texts == ["first"]
        assert (await client.answer()).status == 529


async def test_an_interrupted_waiter_is_out() -> None:
    async with full() as (proxy, _, client):
        asking = await join(proxy, "second")
        for exchange in list(proxy.services.running.exchanges):
            exchange.interrupt(ApiError("overloaded", "shutting down"))
        assert (await asking).status == 529 and not waiting(proxy)
        await client.answer()


async def test_a_thousand_clients_of_which_half_leave() -> None:
    """Nothing is left behind: no place, no task, no connection (`run_proxy` checks), and the others are answered."""
    upstream = Upstream()
    async with ScriptedServer(upstream.script) as server, AsyncExitStack() as stack:
        own = deployment(server.base, max_parallel=4)
        proxy = await stack.enter_async_context(run_proxy(config(deployments=(own,), queue_length=1000)))
        clients = [await stack.enter_async_context(proxy.client()) for _ in range(1004)]
        for n, client in enumerate(clients):
            headers = ((SESSION, f"s{n}"), ("x-api-key", f"k{n % 3}"))
            client.ask("POST", "/v1/messages", message(f"n{n}"), headers)
            if n % 50 == 49:
                await settle(lambda n=n: waiting(proxy) == n - 3)
        await settle(lambda: waiting(proxy) == 1000 and len(upstream.texts) == 4)
        assert (await proxy.ask(message("one more"))).status == 429
        running = {int(text[1:]) for text in upstream.texts}
        leavers = [n for n in range(1004) if n % 2 and n not in running]
        for count, n in enumerate(leavers):
            clients[n].reset()
            if not count % 100:
                upstream.go()
        upstream.go(1004)
        for n, client in enumerate(clients):
            if n not in leavers:
                assert (await client.answer()).status == 200, n
        await settle(lambda: not waiting(proxy) and not proxy.services.running.exchanges)
        assert upstream.most == 4
        assert not proxy.services.router.line._gates and not proxy.services.limits.running


# -- a reload ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["deployment", "name", "global", "slots"])
async def test_a_limit_that_is_raised_lets_those_who_wait_in(limit: str) -> None:
    """At once: those who run may take long, and those who come after the reload do not wait."""
    limits: dict[str, dict[str, Any]] = {
        "deployment": {"max_parallel": 1},
        "name": {"name_parallel": 1},
        "global": {"max_parallel": 0, "global_max_parallel_requests": 1},
        "slots": {"slots": 1},
    }
    async with full(**limits[limit]) as (proxy, upstream, client):
        asking = [await join(proxy, f"n{n}", {SESSION: f"s{n}"}) for n in range(2)]
        before = proxy.services.config
        (one,) = before.deployments
        new = replace(one, max_parallel=0, name_parallel=0, slots=3 if limit == "slots" else 0)
        settings = replace(before.settings, global_max_parallel_requests=0)
        assert proxy.server.reload(lambda: replace(before, deployments=(new,), settings=settings))
        await settle(lambda: len(upstream.texts) == 3)
        assert not waiting(proxy)
        upstream.go(3)
        assert [answer.status for answer in await asyncio.gather(*asking)] == [200] * 2
        await client.answer()


async def test_a_server_that_names_more_slots_lets_those_who_wait_in() -> None:
    async with full(slots=1) as (proxy, upstream, client):
        asking = await join(proxy, "second")
        base = proxy.services.config.deployments[0].base
        proxy.services._take_words({base: ServerWord(program="llama.cpp", row="llamacpp", slots=2)})
        await settle(lambda: len(upstream.texts) == 2)
        upstream.go(2)
        assert (await asking).status == 200
        await client.answer()


async def test_models_of_a_wildcard_keep_their_names_in_the_line() -> None:
    models: list[str] = []
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        models.append(c.request.json["model"])
        await go.wait()
        await answering("Hi")(c)

    async with ScriptedServer(script) as up:
        settings = single("openai/*", env={}, api_base=up.base, api_key=SECRET, max_parallel_requests=1)
        async with run_proxy(settings) as proxy:
            asking = []
            for n, name in enumerate(("alpha", "beta", "gamma")):
                asking.append(asyncio.ensure_future(proxy.ask({**message(), "model": f"openai/{name}"})))
                await settle(lambda n=n: len(models) + waiting(proxy) == n + 1)
            go.set()
            assert [answer.status for answer in await asyncio.gather(*asking)] == [200] * 3
    assert models == ["alpha", "beta", "gamma"]


# -- what the line may hold --------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"


async def test_a_flood_of_waiters_stays_within_its_limits() -> None:
    """The page names them; each waiter costs little more than the request that it waits with."""
    text = PAGE.read_text("utf-8").partition("\n## The line\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\|[^|]+\| ([\d,]+) \| `([^`]+)` \|", text, re.MULTILINE))
    places = {where: int(number.replace(",", "")) for number, where in rows.items()}
    assert places["a2py: queue.length"] == config().settings.queue_length
    async with full(queue_length=places["a2py: queue.length"]) as (proxy, upstream, client):
        tracemalloc.start()
        try:
            asking = [await join(proxy, f"n{n}", {SESSION: f"s{n}"}) for n in range(100)]
            memory, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        refusals = await asyncio.gather(*(proxy.ask(message(f"more {n}")) for n in range(50)))
        assert {answer.status for answer in refusals} == {429} and waiting(proxy) == 100
        assert memory / 100 < 64 * 1024
        upstream.go(101)
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
        await client.answer()


async def test_the_slots_that_a_server_names_become_the_limit() -> None:
    """llama.cpp's /props, asked at the start."""
    upstream = Upstream()

    async def script(c: Peer) -> None:
        if c.request.target == "/props":
            c.reply({"default_generation_settings": {"n_ctx": 4096}, "total_slots": 1, "modalities": {"vision": False}})
        elif c.request.method == "GET":
            c.reply({"data": [{"id": "upstream-model", "owned_by": "llamacpp"}]})
        else:
            await upstream.script(c)

    async with ScriptedServer(script) as server:
        own = deployment(server.base, provider="openai")
        async with run_proxy(config(deployments=(own,)), discover=True) as proxy:
            await settle(lambda: proxy.services.config.deployments[0].slots == 1)
            asking = [asyncio.ensure_future(proxy.ask(message(f"n{n}"))) for n in range(4)]
            await settle(lambda: waiting(proxy) == 3)
            row = (await proxy.ask(None, "/health", "GET")).json["deployments"][0]
            assert row["slots"] == 1 and row["running"] == 1
            upstream.go(4)
            assert [answer.status for answer in await asyncio.gather(*asking)] == [200] * 4 and upstream.most == 1
