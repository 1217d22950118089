"""The line and affinity in front of llama.cpp's real server with the tiny model: one slot and twenty clients, two servers
and conversations that are cached there."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import process
from tests.llamacpp import Servers
from tests.process import Proxy

pytestmark = pytest.mark.integration
#: Seconds for one request, many of which may wait for each other.
LIMIT = 120


class Client:
    def __init__(self, proxy: Proxy, session: aiohttp.ClientSession) -> None:
        self.proxy = proxy
        self.session = session

    async def ask(self, messages: list[dict[str, Any]], headers: dict[str, str], **more: Any) -> tuple[int, Any, Any]:
        """Return status, headers and body."""
        body = {"model": "tiny", "max_tokens": 40, "messages": messages, **more}
        async with self.session.post(self.proxy.base + "/v1/messages", json=body, headers=headers) as answer:
            return answer.status, answer.headers, await answer.json()

    async def health(self) -> Any:
        async with self.session.get(self.proxy.base + "/health") as answer:
            return await answer.json()

    async def until(self, key: str, value: int) -> None:
        deadline = time.monotonic() + LIMIT
        while True:
            health = await self.health()
            if health.get(key, health["deployments"][0].get(key)) == value:
                return
            assert time.monotonic() < deadline, f"{key} is not {value}: {health}"
            await asyncio.sleep(0.01)


def log_lines(proxy: Proxy) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in proxy.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("path") == "/v1/messages"]


async def test_twenty_clients_of_one_slot(llamacpp: Servers, tmp_path: Path) -> None:
    """They wait while another has the slot. No error; each key in its order, the keys in turns; the place is what it says."""
    server = llamacpp(tool=0.0, tool_first=0.0, end=0.000001)
    models = [process.deployment("tiny", server.base)]
    with process.running(tmp_path, models, key="", discover=True, litellm_settings={"json_logs": True}) as proxy:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(LIMIT)) as session:
            client = Client(proxy, session)
            await client.until("slots", 1)
            hello = [{"role": "user", "content": "Hello"}]
            first = asyncio.ensure_future(client.ask(hello, {}, max_tokens=60_000))
            await client.until("running", 1)
            finishers: list[str] = []

            async def ask(name: str) -> tuple[int, Any, Any]:
                headers = {"x-api-key": name[0], "x-claude-code-session-id": name}
                answer = await client.ask(hello, headers, max_tokens=200)
                finishers.append(name)
                return answer

            names = [f"a{n:02}" for n in range(14)] + [f"b{n:02}" for n in range(6)]
            asking = []
            for n, name in enumerate(names):
                asking.append(asyncio.ensure_future(ask(name)))
                await client.until("waiting", n + 1)
            first.cancel()  # it leaves, and all others are there
            answers = await asyncio.gather(*asking)
            assert [status for status, _, _ in answers] == [200] * 20
            places = [int(headers["x-a2py-queue"]) for _, headers, _ in answers]
            assert places == [*range(1, 15), *(2, 4, 6, 8, 10, 12)]
            turns = [name for n in range(6) for name in (names[n], names[14 + n])] + names[6:14]
            assert finishers == turns
            assert [line["queue"] for line in log_lines(proxy) if "queue" in line] == [
                places[names.index(name)] for name in turns
            ]


def words(seed: str, count: int) -> str:
    return " ".join(f"{seed}{n * 7919 % 1000}" for n in range(count))


async def cached_share(proxy: Proxy, sessions: int, turns: int) -> float:
    """Return the tokens that were cached over those that could be: of each turn, the prompt of the turn before."""
    hits = possible = 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(LIMIT)) as session:
        client = Client(proxy, session)
        for number in range(sessions):
            messages: list[dict[str, Any]] = []
            before = 0
            for turn in range(turns):
                messages.append({"role": "user", "content": words(f"t{turn}s{number}", 40)})
                headers = {"x-api-key": proxy.key, "x-claude-code-session-id": f"session-{number}"}
                status, _, body = await client.ask(messages, headers, system=words(f"s{number}", 60), max_tokens=8)
                assert status == 200, body
                usage = body["usage"]
                possible += before
                hits += min(before, usage["cache_read_input_tokens"])
                before = usage["input_tokens"] + usage["cache_read_input_tokens"]
                messages.append({"role": "assistant", "content": words(f"r{turn}s{number}", 5)})
    return hits / possible


async def test_conversations_stay_where_their_cache_is(llamacpp: Servers, tmp_path: Path) -> None:
    servers = [llamacpp(tool=0.0, tool_first=0.0, ctx=ctx, parallel=4) for ctx in (16384, 16640)]
    models = [process.deployment("tiny", server.base) for server in servers]
    shares = {}
    for affinity in (True, False):
        folder = tmp_path / str(affinity)
        folder.mkdir()
        with process.running(folder, models, a2py={"affinity": affinity}) as proxy:
            shares[affinity] = await cached_share(proxy, 6, 8)
    print(f"cached of the possible: {shares[True]:.1%} with affinity, {shares[False]:.1%} without")
    assert shares[True] >= 0.95 and shares[False] < shares[True] - 0.05, shares
