"""rpm and tpm over real sockets: what an attempt reserves, and what counts for it after each way in which it can end.

The proxy's clock stands still here, so that nothing leaves a window; a test that needs time moves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from a2py.messages.count import count
from a2py.messages.request import parse
from a2py.proxy import sizes
from a2py.proxy.limits import FIRST_OUTPUT, Use
from a2py.quirks import Quirks
from tests.clock import Clock
from tests.proxied import Running, config, deployment, message, run_proxy, settle
from tests.scripted import DONE, SSE, Peer, Script, ScriptedServer, answering, chunk, completion, refusing, text, usage

#: Input tokens of the small request as the proxy counts them, and the output that it reserves for it.
INPUT = count(parse(orjson.dumps(message())))
OUTPUT = message()["max_tokens"]


@asynccontextmanager
async def run_limited(
    *bases: str, tpm: int = 1_000_000, rpm: int = 0, clock: Clock | None = None, **more: Any
) -> AsyncIterator[Running]:
    """A proxy whose deployments d0, d1, … have these limits. `quirks`, `max_parallel`: of the deployments; the rest:
    settings."""
    own = {name: more.pop(name) for name in ("quirks", "max_parallel") if name in more}
    deployments = tuple(deployment(base, id=f"d{n}", tpm=tpm, rpm=rpm, **own) for n, base in enumerate(bases))
    async with run_proxy(config(deployments=deployments, **more), clock=clock or Clock()) as proxy:
        yield proxy


def use_of(proxy: Running, id: str = "d0") -> Use:
    return proxy.services.limits.usage()[id]


# -- the ways in which an attempt ends ---------------------------------------------------------------------------------


def streams(*events: Any) -> Script:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*events)
        c.end()

    return script


def breaks_off(*events: Any) -> Script:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*events)
        await c.drain()
        c.reset()

    return script


def whole(body: Any) -> Script:
    async def script(c: Peer) -> None:
        c.reply(body)

    return script


async def closes(c: Peer) -> None:
    c.close()


async def silent(c: Peer) -> None:
    await c.wait_disconnect()


async def silent_later(c: Peer) -> None:
    c.head(200, SSE if c.request.json.get("stream") else {"content-type": "application/json"})
    c.write(b"")
    await c.wait_disconnect()


LONG = "x" * 40_000  # some 10,000 tokens
NO_USAGE = {name: value for name, value in completion("Hello there").items() if name != "usage"}
CACHED_USAGE: dict[str, Any] = {**usage(200, 30), "prompt_tokens_details": {"cached_tokens": 150}}
#: What happens: script, streamed or whole, tokens that count afterwards.
ENDS: dict[str, tuple[Script, bool, int]] = {
    "a stream, counted by the upstream": (streams(*text("Hi", tokens=usage(200, 30))), True, 230),
    "a whole reply": (whole({**completion("Hi"), "usage": usage(200, 30)}), False, 230),
    "cached input counts too": (streams(*text("Hi", tokens=CACHED_USAGE)), True, 230),
    "a stream that nobody counted": (
        streams(chunk({"content": "abcd" * 20}), chunk({}, "stop"), DONE),
        True,
        INPUT + 21,
    ),
    "a whole reply that nobody counted": (whole(NO_USAGE), False, INPUT + 3),
    "more than was reserved": (streams(*text("Hi", tokens=usage(5000, 700))), True, 5700),
    "refused": (refusing(400), True, 0),
    "refused, whole": (refusing(400), False, 0),
    "failed": (refusing(500), True, 0),
    "a redirect": (refusing(302), True, 0),
    "closed before the answer": (closes, True, 0),
    "silent before the answer": (silent, True, INPUT + OUTPUT),
    "silent before the answer, whole": (silent, False, INPUT + OUTPUT),
    "silent in the answer": (silent_later, True, INPUT + OUTPUT),
    "silent in the answer, whole": (silent_later, False, INPUT + OUTPUT),
    "broken off": (breaks_off(chunk({"content": "Hel"})), True, INPUT + OUTPUT),
    "broken off late": (breaks_off(chunk({"content": LONG})), True, INPUT + 10_001),
    "broken off after the count": (breaks_off(chunk({"content": "Hi"}), chunk(usage=usage(300, 200))), True, 500),
    "an error in the stream": (
        streams(chunk({"content": "Hi"}), {"error": {"message": "no", "code": 500}}),
        True,
        INPUT + OUTPUT,
    ),
    "an error in a 200, whole": (whole({"error": {"message": "no", "code": 500}}), False, INPUT + OUTPUT),
    "not JSON, whole": (whole(b"<html>"), False, INPUT + OUTPUT),
}


@pytest.mark.parametrize("end", ENDS)
async def test_what_counts_after_an_attempt(end: str) -> None:
    script, stream, tokens = ENDS[end]
    times: dict[str, Any] = {"stream_timeout": 0.2, "request_timeout": 0.2} if end.startswith("silent") else {}
    async with ScriptedServer(script) as up, run_limited(up.base, rpm=100, **times) as proxy:
        answer = await proxy.ask(message(stream=stream))
        assert use_of(proxy) == (len(up.requests), tokens, 0), answer.body
        assert not proxy.services.limits.running


async def test_what_could_not_be_sent_counts_no_tokens() -> None:
    async with ScriptedServer(answering("Hi")) as up:
        base = up.base
    async with run_limited(base, rpm=100) as proxy:
        assert (await proxy.ask(message())).status == 502
        assert use_of(proxy) == (1, 0, 0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("piece", [None, "", "Hi", LONG])
async def test_a_client_that_leaves(piece: str | None, stream: bool) -> None:
    """Before the head (None), after it, in the answer. The upstream may have come further than anybody saw, so that at
    least what was reserved stays."""
    arrival = asyncio.Event()

    async def script(c: Peer) -> None:
        if piece is not None:
            c.head(200, SSE if stream else {"content-type": "application/json"})
            if piece and stream:
                c.events(chunk({"content": piece}))
            elif piece:
                c.chunk(b'{"id": "chatcmpl-1", ')
            await c.drain()
        arrival.set()
        await c.wait_disconnect()

    async with ScriptedServer(script) as up, run_limited(up.base) as proxy:
        async with proxy.client() as client:
            client.ask("POST", "/v1/messages", message(stream=stream))
            await arrival.wait()
            if piece and stream:
                await client.reader.readuntil(b"content_block_delta")
            assert use_of(proxy) == (0, INPUT + OUTPUT, OUTPUT)
        await settle(lambda: not proxy.services.limits.running)
        assert use_of(proxy) == (0, INPUT + (10_001 if piece == LONG and stream else OUTPUT), 0)


async def test_a_drain_settles_too() -> None:
    arrival = asyncio.Event()

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "Hi"}))
        await c.drain()
        arrival.set()
        await c.wait_disconnect()

    async with (
        ScriptedServer(script) as up,
        run_limited(up.base, drain_seconds=0.05) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message())
        await arrival.wait()
        await client.reader.readuntil(b"content_block_delta")
        await proxy.server.drain()
        assert use_of(proxy) == (0, INPUT + OUTPUT, 0)


async def test_each_retry_counts() -> None:
    async with (
        ScriptedServer(refusing(500), refusing(500), answering("Hi")) as up,
        run_limited(up.base, rpm=100, num_retries=2) as proxy,
    ):
        assert (await proxy.ask(message())).status == 200
        assert use_of(proxy) == (3, 14, 0)


async def test_a_fallback_counts_where_it_went() -> None:
    async with (
        ScriptedServer(refusing(429)) as full,
        ScriptedServer(answering("Hi")) as other,
        run_limited(full.base, other.base, rpm=100) as proxy,
    ):
        for _ in range(6):
            assert (await proxy.ask(message())).status == 200
        assert use_of(proxy, "d1") == (6, 6 * 14, 0)
        assert use_of(proxy, "d0") == (len(full.requests), 0, 0)


# -- nothing above the limit -------------------------------------------------------------------------------------------


async def statuses(proxy: Running, count: int, **more: Any) -> list[int]:
    return [answer.status for answer in await asyncio.gather(*(proxy.ask(message(**more)) for _ in range(count)))]


@pytest.mark.parametrize("stream", [True, False])
async def test_forty_at_once_of_a_thousand_tokens(stream: bool) -> None:
    """All forty passed `tpm: 10000`: nothing counted before the first had ended."""
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        await go.wait()
        reply = completion("Hi")
        if stream:
            await streams(*text("Hi", tokens=usage(INPUT, 1000 - INPUT)))(c)
        else:
            c.reply({**reply, "usage": usage(INPUT, 1000 - INPUT)})

    async with ScriptedServer(script) as up, run_limited(up.base, tpm=10_000, commit_seconds=60) as proxy:
        asking = asyncio.ensure_future(statuses(proxy, 40, stream=stream, max_tokens=1000 - INPUT))
        await settle(lambda: sum(line["event"] == "request" for line in proxy.lines) == 30)
        go.set()
        assert sorted(await asking) == [200] * 10 + [429] * 30
        assert len(up.requests) == 10 and use_of(proxy).tokens == 10_000


async def test_forty_one_by_one() -> None:
    """The requests are small, the answers are not: each counts what it used."""
    async with (
        ScriptedServer(streams(*text("Hi", tokens=usage(900, 100)))) as up,
        run_limited(up.base, tpm=10_000) as proxy,
    ):
        answers = [await proxy.ask(message(max_tokens=1)) for _ in range(40)]
        assert [answer.status for answer in answers] == [200] * 10 + [429] * 30
        assert len(up.requests) == 10 and use_of(proxy).tokens == 10_000


async def test_a_large_max_tokens_reserves_the_usual_output() -> None:
    """Claude Code asks for 32,000 to 128,000 each time."""
    arrival, go = asyncio.Event(), asyncio.Event()

    async def script(c: Peer) -> None:
        arrival.set()
        await go.wait()
        await answering("Hi")(c)

    async with ScriptedServer(script) as up, run_limited(up.base, tpm=10_000) as proxy:
        asking = asyncio.ensure_future(statuses(proxy, 5, max_tokens=64_000))
        await settle(lambda: len(proxy.lines) == 3)
        assert use_of(proxy) == (0, 2 * (INPUT + FIRST_OUTPUT), 2 * FIRST_OUTPUT)
        go.set()
        assert sorted(await asking) == [200, 200, 429, 429, 429]
        for _ in range(10):
            await proxy.ask(message(max_tokens=64_000))
        assert proxy.services.limits.usual_output(proxy.services.config.deployments[0]) < 900


async def test_never_more_than_rpm() -> None:
    """Also where lessons and retries ask again: the refused attempts count at the upstream too."""
    clock = Clock()

    async def script(c: Peer) -> None:
        if "stream_options" in c.request.json:
            await refusing(
                400, "Unknown parameter: 'stream_options'.", param="stream_options", code="unknown_parameter"
            )(c)
        else:
            await answering("Hi")(c)

    async with ScriptedServer(script) as up, run_limited(up.base, rpm=1, clock=clock) as proxy:
        refusal = await proxy.ask(message())
        assert refusal.status == 429 and refusal.headers["retry-after"] == "60" and len(up.requests) == 1
        assert "(rpm 1 of d0). Ask again in 60 s" in refusal.json["error"]["message"]
        lines = [line for line in proxy.lines if line["event"] == "request"]
        assert "attempts" not in lines[0], "what was not sent is no attempt"
        clock.now += 59
        assert (await proxy.ask(message())).headers["retry-after"] == "1" and len(up.requests) == 1
        clock.now += 1
        await proxy.ask(message())
        assert len(up.requests) == 2


async def test_a_place_that_is_taken_while_another_request_waits() -> None:
    """Ollama is asked for its context first. Meanwhile another request takes the free place."""
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        if c.request.target.startswith("/api/"):
            await go.wait()
            c.reply({"models": [{"name": "upstream-model", "context_length": 65536}]})
        else:
            await answering("Hi")(c)

    async with (
        ScriptedServer(script) as up,
        run_limited(up.base, rpm=1, quirks=Quirks(context_probe="ollama")) as proxy,
    ):
        asking = asyncio.ensure_future(statuses(proxy, 4, text="word " * 3000))
        await settle(lambda: len(up.requests) == 4)
        assert (await proxy.ask(message())).status == 200, "a small one is sent at once"
        go.set()
        assert await asking == [429] * 4
        assert [request.target for request in up.requests].count("/v1/chat/completions") == 1


async def test_the_places_of_a_deployment() -> None:
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        await go.wait()
        await answering("Hi")(c)

    async with ScriptedServer(script) as up, run_limited(up.base, tpm=0, max_parallel=3, queue_length=0) as proxy:
        asking = asyncio.ensure_future(statuses(proxy, 8))
        await settle(lambda: len(up.requests) == 3 and len(proxy.lines) == 5)
        refusal = await proxy.ask(message())
        assert (
            refusal.headers["retry-after"] == "1"
            and "max_parallel_requests 3 of d0" in refusal.json["error"]["message"]
        )
        go.set()
        assert sorted(await asking) == [200] * 3 + [429] * 5


async def test_a_request_that_can_never_fit() -> None:
    async with ScriptedServer(answering("Hi")) as up, run_limited(up.base, tpm=100) as proxy:
        refusal = await proxy.ask(message("word " * 2000))
        assert (refusal.status, refusal.headers["x-should-retry"], "retry-after" in refusal.headers) == (
            429,
            "false",
            False,
        )
        assert (
            "takes no request of this size" in refusal.json["error"]["message"]
            and "tpm 100 of d0" in refusal.json["error"]["message"]
        )
        assert (await proxy.ask(message())).status == 200 and len(up.requests) == 1


async def test_a_huge_request_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting it would hold the loop."""

    def counts(request: object) -> int:
        raise AssertionError("counted")

    monkeypatch.setattr(sizes, "count", counts)
    monkeypatch.setattr(sizes, "COUNTED_BYTES", 10_000)
    async with ScriptedServer(silent) as up, run_limited(up.base, request_timeout=0.2, stream_timeout=0.2) as proxy:
        await proxy.ask(message("word " * 4000))
        assert 4000 < use_of(proxy).tokens < 6000


@pytest.mark.parametrize("limits", [{"tpm": 1000, "rpm": 10}, {"tpm": 0, "rpm": 0}])
async def test_health_shows_what_counts(limits: dict[str, Any]) -> None:
    async with ScriptedServer(answering("Hi")) as up, run_limited(up.base, **limits) as proxy:
        await proxy.ask(message())
        row = (await proxy.ask({}, "/health", "GET")).json["deployments"][0]
    assert row.get("used") == ({"requests": 1, "tokens": 14, "held": 0} if limits["rpm"] else None)


async def test_a_reload_keeps_what_counts() -> None:
    async with ScriptedServer(answering("Hi")) as up, run_limited(up.base, tpm=0, rpm=1) as proxy:
        assert (await proxy.ask(message())).status == 200
        proxy.services.reload(proxy.services.config)
        assert (await proxy.ask(message())).status == 429
