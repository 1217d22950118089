"""A place goes on to who waits, whichever way the request that has it goes: passed through, with searches, to a fallback,
away, or into a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from a2py.config.search import SearchTool
from a2py.proxy.attempt import DecodedAttempt
from tests.proxied import Running, config, deployment, message, run_proxy, settle
from tests.scripted import Answer, Peer, Script, ScriptedServer, answering, refusing
from tests.whole.test_line import waiting
from tests.whole.test_search import PAGE, TOOL, call, in_turn, model, results

CHAT = "/v1/chat/completions"


class Gate:
    """Scripts that wait for `go`. `arrivals`: how many have come."""

    def __init__(self) -> None:
        self.arrivals = 0
        self.go = asyncio.Event()

    def then(self, script: Script) -> Script:
        async def run(c: Peer) -> None:
            self.arrivals += 1
            await self.go.wait()
            await script(c)

        return run


def chat_body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "test-model", "messages": [{"role": "user", "content": text}], **more}


async def join(proxy: Running, body: Any, path: str = "/v1/messages") -> asyncio.Future[Answer]:
    before = waiting(proxy)
    asking = asyncio.ensure_future(proxy.ask(body, path))
    await settle(lambda: waiting(proxy) == before + 1)
    return asking


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_passed_through_waits_in_the_same_line(stream: bool) -> None:
    gate = Gate()
    async with (
        ScriptedServer(gate.then(answering("Hi"))) as up,
        run_proxy(config(deployments=(deployment(up.base, max_parallel=1),))) as proxy,
    ):
        first = asyncio.ensure_future(proxy.ask(chat_body("first"), CHAT))
        await settle(lambda: gate.arrivals == 1)
        second = await join(proxy, chat_body("second", stream=stream), CHAT)
        async with proxy.client() as leaver:
            leaver.ask("POST", CHAT, chat_body("leaver", stream=stream))
            await settle(lambda: waiting(proxy) == 2)
            third = await join(proxy, message("third", stream))
            leaver.reset()
            await settle(lambda: waiting(proxy) == 2)
        gate.go.set()
        answers = [await one for one in (first, second, third)]
        assert [answer.status for answer in answers] == [200] * 3
        assert [answer.headers.get("x-a2py-queue") for answer in answers] == [None, "1", "3"]
        assert [one.json["messages"][-1]["content"] for one in up.requests] == ["first", "second", "third"]


async def test_what_is_passed_through_and_waits_too_long() -> None:
    gate = Gate()
    async with (
        ScriptedServer(gate.then(answering("Hi"))) as up,
        run_proxy(config(deployments=(deployment(up.base, max_parallel=1),), queue_seconds=0.05)) as proxy,
    ):
        first = asyncio.ensure_future(proxy.ask(chat_body("first"), CHAT))
        await settle(lambda: gate.arrivals == 1)
        late = await proxy.ask(chat_body("second", stream=True), CHAT)
        assert late.status == 429 and int(late.headers["retry-after"]) >= 1 and late.headers["x-a2py-queue"] == "1"
        assert set(late.json["error"]) == {"message", "type", "param", "code"}
        gate.go.set()
        assert (await first).status == 200


@asynccontextmanager
async def searching(upstream: Script, engine: Script) -> AsyncIterator[tuple[Running, ScriptedServer, ScriptedServer]]:
    """A proxy with a search tool and one place at its one upstream."""
    async with ScriptedServer(upstream) as up, ScriptedServer(engine) as pages:
        tool = SearchTool("local", "searxng", pages.base.removesuffix("/v1"))
        settings = replace(config(deployments=(deployment(up.base, max_parallel=1),)), search=tool)
        async with run_proxy(settings) as proxy:
            yield proxy, up, pages


def wants_search() -> dict[str, Any]:
    return message("search", tools=[TOOL])


@pytest.mark.parametrize("end", ["ends", "fails", "leaves"])
async def test_a_reply_with_searches_keeps_its_place_until_its_end(end: str) -> None:
    gate = Gate()
    last = refusing(500) if end == "fails" else model("Found it.")
    script = in_turn(model(("", [call()])), gate.then(last), answering("Hi"))
    async with searching(script, results(PAGE)) as (proxy, up, _), proxy.client() as client:
        client.ask("POST", "/v1/messages", wants_search())
        await settle(lambda: gate.arrivals == 1)
        second = await join(proxy, message("second"))
        assert len(up.requests) == 2, "nobody gets in between"
        if end == "leaves":
            client.reset()
        else:
            gate.go.set()
            await client.answer()
        assert (await second).status == 200
        gate.go.set()


async def test_a_client_that_leaves_while_its_search_runs() -> None:
    gate = Gate()
    script = in_turn(model(("", [call()])), answering("Hi"))
    async with searching(script, gate.then(results(PAGE))) as (proxy, up, _), proxy.client() as client:
        client.ask("POST", "/v1/messages", wants_search())
        await settle(lambda: gate.arrivals == 1)
        second = await join(proxy, message("second"))
        client.reset()
        assert (await second).status == 200 and len(up.requests) == 2
        gate.go.set()


async def test_a_request_at_its_fallback_has_left_its_place() -> None:
    gate, slow = Gate(), Gate()
    async with (
        ScriptedServer(in_turn(gate.then(refusing(500)), answering("Hi"))) as up,
        ScriptedServer(slow.then(answering("Hi"))) as spare,
    ):
        deployments = (deployment(up.base, id="d0", slots=1), deployment(spare.base, "spare", id="f", max_parallel=1))
        async with run_proxy(config(deployments=deployments, fallbacks={"test-model": ("spare",)})) as proxy:
            first = asyncio.ensure_future(proxy.ask(message("first")))
            await settle(lambda: gate.arrivals == 1)
            second = await join(proxy, message("second"))
            gate.go.set()
            assert (await second).status == 200
            await settle(lambda: slow.arrivals == 1)
            assert proxy.services.limits.running == {"f": 1}
            slow.go.set()
            assert (await first).status == 200


async def test_a_crash_gives_the_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    read = DecodedAttempt._read_reply

    async def crash(self: DecodedAttempt, response: Any) -> Any:
        monkeypatch.setattr(DecodedAttempt, "_read_reply", read)
        raise RuntimeError("a fault of the proxy")

    monkeypatch.setattr(DecodedAttempt, "_read_reply", crash)
    async with (
        ScriptedServer(gate.then(answering("Hi"))) as up,
        run_proxy(config(deployments=(deployment(up.base, max_parallel=1),)), crashes=True) as proxy,
    ):
        first = asyncio.ensure_future(proxy.ask(message("first")))
        await settle(lambda: gate.arrivals == 1)
        second = await join(proxy, message("second"))
        gate.go.set()
        assert (await first).status == 500 and (await second).status == 200
