"""OpenAI's clients at a full upstream, and where their conversations stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from a2py.proxy.exchange import Exchange
from tests.proxied import Running, config, deployment, message, run_proxy, settle
from tests.scripted import Answer, Peer, ScriptedServer, answering
from tests.whole.test_affinity import over
from tests.whole.test_openai import CHAT, ask_body, check_error


class Turns:
    """An upstream that answers one request after the other, each after `go()`. `tags`: the tags that came."""

    def __init__(self) -> None:
        self.tags: list[str] = []
        self._turns = asyncio.Semaphore(0)

    async def script(self, c: Peer) -> None:
        self.tags.append(c.request.json["metadata"]["tag"])
        await self._turns.acquire()
        await answering("Hi")(c)

    def go(self, times: int = 1) -> None:
        for _ in range(times):
            self._turns.release()


@asynccontextmanager
async def full(**settings: Any) -> AsyncIterator[tuple[Running, Turns, asyncio.Future[Answer]]]:
    """A proxy whose one deployment has one place, which the request that is returned has."""
    upstream = Turns()
    async with ScriptedServer(upstream.script) as server:
        deployments = (deployment(server.base, max_parallel=1, tpm=100_000),)
        async with run_proxy(config(deployments=deployments, **settings)) as proxy:
            first = asyncio.ensure_future(proxy.ask(tagged_body("first"), CHAT))
            await settle(lambda: upstream.tags == ["first"])
            yield proxy, upstream, first


def tagged_body(tag: str, stream: bool = False) -> dict[str, Any]:
    return ask_body(metadata={"tag": tag}, stream=stream)


async def join(proxy: Running, body: Any, path: str, headers: dict[str, str]) -> asyncio.Future[Answer]:
    """A request that waits."""
    line = proxy.services.router.line
    before = line.waiting
    asking = asyncio.ensure_future(proxy.ask(body, path, headers=headers))
    await settle(lambda: line.waiting == before + 1)
    return asking


@pytest.mark.parametrize("stream", [False, True])
async def test_both_apis_wait_in_one_line_and_keys_take_turns(stream: bool) -> None:
    one, two = {"Authorization": "Bearer one"}, {"x-api-key": "two"}
    async with full() as (proxy, upstream, first):
        asking = [
            await join(proxy, tagged_body("a", stream), CHAT, one),
            await join(proxy, tagged_body("b", stream), CHAT, one),
            await join(proxy, tagged_body("c", stream), "/v1/responses", two),
        ]
        upstream.go(4)
        answers = await asyncio.gather(first, *asking)
        assert [answer.status for answer in answers] == [200] * 4
        assert upstream.tags == ["first", "a", "c", "b"]
        assert [answer.headers.get("x-a2py-queue") for answer in answers] == [None, "1", "2", "2"]
        await settle(lambda: len(proxy.lines) == 4)
        assert [line["queue"] for line in proxy.lines if "queue" in line] == [1, 2, 2]
        page = (await proxy.ask(None, "/metrics", "GET")).body.decode()
        assert 'a2py_queue_seconds_count{end="served"} 3\n' in page


async def test_a_line_that_is_full_or_too_slow_is_a_429_in_openais_shape() -> None:
    async with full(queue_length=1, queue_seconds=0.5) as (proxy, upstream, first):
        late = await join(proxy, tagged_body("late", True), CHAT, {})
        answer = await proxy.ask(tagged_body("full"), CHAT)
        assert "its line is full" in check_error(answer, 429, "rate_limit_exceeded", "rate_limit_error")
        assert int(answer.headers["retry-after"]) > 0
        answer = await late
        assert "has waited" in check_error(answer, 429, "rate_limit_exceeded", "rate_limit_error")
        assert answer.headers["x-a2py-queue"] == "1" and int(answer.headers["retry-after"]) > 0
        upstream.go()
        assert (await first).status == 200 and upstream.tags == ["first"]


async def test_a_client_that_leaves_is_out_of_the_line_and_frees_its_place() -> None:
    """Whoever waits, and whoever runs: `run_proxy` checks that no place and no tokens are left."""
    async with full() as (proxy, upstream, first):
        line = proxy.services.router.line
        async with proxy.client() as client:
            client.ask("POST", CHAT, tagged_body("leaves", True))
            await settle(lambda: line.waiting == 1)
            client.reset()
            await settle(lambda: line.waiting == 0)
        async with proxy.client() as client:
            client.ask("POST", CHAT, tagged_body("runs", True))
            await settle(lambda: line.waiting == 1)
            last = await join(proxy, tagged_body("last"), CHAT, {})
            upstream.go()
            await settle(lambda: upstream.tags == ["first", "runs"])
            client.reset()
            await settle(lambda: upstream.tags == ["first", "runs", "last"])
        upstream.go(2)
        assert (await first).status == (await last).status == 200


@pytest.mark.parametrize("named_by", ["header", "messages", "input"])
async def test_a_conversation_stays_at_one_deployment(named_by: str) -> None:
    """Its prompt is cached there."""
    path = "/v1/responses" if named_by == "input" else CHAT
    async with over() as (proxy, ups):
        all_homes = set()
        for session in range(8):
            headers = {"session_id": f"s{session}"} if named_by == "header" else {}
            first = {"role": "user", "content": "Hi" if headers else f"Hi {session}"}
            homes = set()
            for turn in range(6):
                before = [len(up.requests) for up in ups]
                later = [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "More"}] * turn
                name = "input" if named_by == "input" else "messages"
                body = {"model": "test-model", name: [first, *later]}
                assert (await proxy.ask(body, path, headers=headers)).status == 200
                homes |= {n for n, up in enumerate(ups) if len(up.requests) > before[n]}
            assert len(homes) == 1
            all_homes |= homes
        assert len(all_homes) > 1, "other conversations have another home"


async def test_a_clients_patience_is_read_of_openais_header() -> None:
    """openai 3.57 for Python sends `x-stainless-read-timeout`."""
    read: list[float] = []

    async def script(c: Peer) -> None:
        (passage,) = proxy.services.running.exchanges
        assert isinstance(passage, Exchange)
        read.append(passage._inbound.patience)
        await answering("Hi")(c)

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        for headers in ({"x-stainless-read-timeout": "20"}, {"x-stainless-timeout": "30"}, {}):
            await proxy.ask(ask_body(), CHAT, headers=headers)
        assert read == [20, 30, 600]
        await proxy.ask(message(stream=False), headers={"x-stainless-timeout": "40"})
        assert read[-1] == 40
