"""One conversation stays at one deployment, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from tests.clock import Clock
from tests.proxied import SESSION, Running, config, deployment, message, run_proxy, settle
from tests.scripted import SSE, Peer, ScriptedServer, answering, refusing, text, usage


@asynccontextmanager
async def over(count: int = 3, **settings: Any) -> AsyncIterator[tuple[Running, list[ScriptedServer]]]:
    """A proxy over `count` deployments of one name."""
    async with (
        ScriptedServer(answering("Hi")) as a,
        ScriptedServer(answering("Hi")) as b,
        ScriptedServer(answering("Hi")) as c,
    ):
        ups = [a, b, c][:count]
        async with run_proxy(config(*(up.base for up in ups), **settings)) as proxy:
            yield proxy, ups


def turns(n: int, first: str = "Hi") -> list[dict[str, Any]]:
    """The messages of the n-th turn. The cache mark stands in the last one."""
    out: list[dict[str, Any]] = []
    for k in range(n):
        out += [{"role": "user", "content": first if not k else f"turn {k}"}, {"role": "assistant", "content": "Hi"}]
    block = {"type": "text", "text": f"turn {n}" if n else first, "cache_control": {"type": "ephemeral"}}
    return [*out, {"role": "user", "content": [block]}]


async def homes(
    proxy: Running, ups: list[ScriptedServer], bodies: list[Any], headers: dict[str, str] | None
) -> list[int]:
    """Which upstream answers each of the requests."""
    out = []
    for body in bodies:
        before = [len(up.requests) for up in ups]
        assert (await proxy.ask(body, headers=headers)).status == 200
        out += [n for n, up in enumerate(ups) if len(up.requests) > before[n]]
    return out


@pytest.mark.parametrize("named_by", ["header", "user_id", "old user_id", "opening"])
async def test_ninety_five_turns_stay_where_the_first_was(named_by: str) -> None:
    """They changed 72 times over three deployments."""
    async with over() as (proxy, ups):
        all_homes = []
        for session in range(8):
            more: dict[str, Any] = {}
            if named_by == "user_id":
                more = {"metadata": {"user_id": orjson.dumps({"session_id": f"s{session}"}).decode()}}
            elif named_by == "old user_id":
                more = {"metadata": {"user_id": f"user_0_account__session_0000000{session}"}}
            first = f"Hi {session}" if named_by == "opening" else "Hi"
            headers = {SESSION: f"s{session}"} if named_by == "header" else None
            count = 95 if session < 2 else 3
            bodies = [message(messages=turns(n, first), **more) for n in range(count)]
            places = await homes(proxy, ups, bodies, headers)
            assert len(places) == count and len(set(places)) == 1
            all_homes.append(places[0])
        assert len(set(all_homes)) > 1, "other sessions have another home"


async def test_sub_agents_stay_with_their_session() -> None:
    async with over() as (proxy, ups):
        for session in range(6):
            main = await homes(proxy, ups, [message("main")], {SESSION: f"s{session}"})
            agents = [
                await homes(
                    proxy, ups, [message(f"errand {n}")], {SESSION: f"s{session}", "x-claude-code-agent-id": f"{n}"}
                )
                for n in range(3)
            ]
            assert agents == [main] * 3


async def test_it_can_be_switched_off() -> None:
    async with over(affinity=False) as (proxy, ups):
        places = await homes(proxy, ups, [message()] * 40, {SESSION: "s"})
        assert len(set(places)) == 3


async def test_a_deployment_that_fails_loses_only_its_own_sessions() -> None:
    """While it cools down they are elsewhere, each at one place, and the others do not move."""
    async with over(cooldown_time=600) as (proxy, ups):
        sessions = [{SESSION: f"s{n}"} for n in range(12)]
        before = [(await homes(proxy, ups, [message()], one))[0] for one in sessions]
        failing = before[0]
        ups[failing].scripts = (refusing(401),)
        await proxy.ask(message(), headers=sessions[0])
        after = [await homes(proxy, ups, [message()] * 2, one) for one in sessions]
        for n, was in enumerate(before):
            now = after[n]
            assert now[0] == now[1] and (now[0] == was) == (was != failing)


async def test_only_the_lowest_order_has_sessions() -> None:
    async with ScriptedServer(answering("Hi")) as low, ScriptedServer(answering("Hi")) as high:
        deployments = (deployment(low.base, id="low", order=1), deployment(high.base, id="high", order=2, weight=1000))
        async with run_proxy(config(deployments=deployments)) as proxy:
            for n in range(8):
                await proxy.ask(message(), headers={SESSION: f"s{n}"})
            assert (len(low.requests), len(high.requests)) == (8, 0)


# -- the cache's health ------------------------------------------------------------------------------------------------

TOOL = {"name": "f", "input_schema": {"type": "object"}}


def caching(cached: list[int]) -> Any:
    async def script(c: Peer) -> None:
        count = cached.pop(0)
        c.head(200, SSE)
        c.events(*text("Hi", tokens={**usage(1000, 5), "prompt_tokens_details": {"cached_tokens": count}}))  # type: ignore[dict-item]
        c.end()

    return script


def notes(proxy: Running) -> list[str]:
    return [line.get("notes", "") for line in proxy.lines if line["event"] == "request"]


async def test_the_log_says_why_the_cache_was_lost() -> None:
    clock = Clock()
    reports = [0, *[900] * 10, 0, 900, 0, 900, 0]
    async with ScriptedServer(caching(reports)) as up, run_proxy(config(up.base), clock=clock) as proxy:
        for n in range(16):
            if n == 15:
                clock.now += 301
            body = message(messages=turns(n), system="other" if n >= 13 else "s", tools=[TOOL] if n >= 11 else [])
            await proxy.ask(body, headers={SESSION: "s"})
        await settle(lambda: len(notes(proxy)) == 16)
        reasons = {n + 1: note for n, note in enumerate(notes(proxy)) if note}
        assert reasons == {
            12: "cache lost at turn 12: the tool list changed",
            14: "cache lost at turn 14: the system prompt changed",
            16: "cache lost at turn 16: older than 5 minutes",
        }
        page = (await proxy.ask(None, "/metrics", "GET")).body.decode()
        assert 'a2py_cache_lost_total{reason="the tool list changed"} 1\n' in page


async def test_another_deployment_is_a_reason() -> None:
    async with ScriptedServer(caching([0, 900, 0])) as one, ScriptedServer(caching([0])) as other:
        deployments = (deployment(one.base, id="one", order=1), deployment(other.base, id="other", order=2))
        async with run_proxy(config(deployments=deployments)) as proxy:
            for n in range(2):
                await proxy.ask(message(messages=turns(n)), headers={SESSION: "s"})
            one.scripts = (refusing(500),)
            await proxy.ask(message(messages=turns(2)), headers={SESSION: "s"})
            await settle(lambda: len(notes(proxy)) == 3)
            assert notes(proxy)[-1] == "cache lost at turn 3: another deployment"


async def test_it_can_be_silent() -> None:
    async with ScriptedServer(caching([900, 0])) as up, run_proxy(config(up.base, cache_health=False)) as proxy:
        for n in range(2):
            await proxy.ask(message(messages=turns(n)), headers={SESSION: "s"})
        await settle(lambda: len(notes(proxy)) == 2)
        assert notes(proxy) == ["", ""] and not proxy.services.prompts.cache_health.sessions


async def test_without_affinity_a_session_moves() -> None:
    """What the first test would see without its subject: a check that it can fail."""
    async with over(affinity=False) as (proxy, ups):
        places = await homes(proxy, ups, [message(messages=turns(n)) for n in range(30)], {SESSION: "s"})
        moves = sum(places[n] != places[n + 1] for n in range(29))
        assert moves > 5 and len(set(places)) == 3
