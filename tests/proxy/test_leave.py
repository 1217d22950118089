"""Out of rotation: `drain_delay` after SIGTERM and `/health/drain` before it. Requests are still taken, and each answer
is its connection's last."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from a2py.proxy import routes
from tests.proxied import Running, config, message, run_proxy, settle
from tests.scripted import LIMIT, SSE, Peer, ScriptedServer, answering, chunk, text

pytestmark = pytest.mark.filterwarnings("error")
NOWHERE = "http://127.0.0.1:1/v1"
PATH = "/health/drain"


async def is_ready(proxy: Running) -> bool:
    answer = await proxy.ask(None, "/health/readiness", "GET")
    assert answer.json["status"] == {200: "ready", 503: "draining"}[answer.status]
    return answer.status == 200


# -- drain_delay -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_new_connections_are_served_while_the_delay_lasts(stream: bool) -> None:
    at_once = asyncio.Event()
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base, drain_delay=600)) as proxy,
        proxy.client() as idle,
    ):
        idle.ask("GET", "/")
        assert "connection" not in (await idle.answer()).headers
        drain = asyncio.ensure_future(proxy.server.drain(at_once))
        await settle(lambda: proxy.log.count('"leaving"'))
        assert not await is_ready(proxy)
        async with proxy.client() as client:
            client.ask("POST", "/v1/messages", message(stream=stream))
            answer = await client.answer()
            assert (
                answer.status == 200
                and answer.whole
                and answer.headers["connection"] == "close"
                and b"Hi" in answer.body
            )
            assert await client.reader.read() == b""
        idle.ask("GET", "/")
        assert (await idle.answer()).headers["connection"] == "close"
        assert await idle.reader.read() == b"" and not drain.done()
        at_once.set()
        await asyncio.wait_for(drain, LIMIT)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_the_delay_ends_by_itself() -> None:
    async with run_proxy(config(NOWHERE, drain_delay=0.05)) as proxy:
        await asyncio.wait_for(proxy.server.drain(), LIMIT)
        assert [line["event"] for line in proxy.lines] == ["leaving", "draining"]


async def test_no_delay_where_a_successor_accepts_already() -> None:
    async with run_proxy(config(NOWHERE, drain_delay=600)) as proxy:
        await asyncio.wait_for(proxy.server.drain(handed_over=True), LIMIT)


async def test_the_delay_counts_from_the_moment_at_which_it_left() -> None:
    async with run_proxy(config(NOWHERE, drain_delay=0.05)) as proxy:
        proxy.server.leave()
        before = proxy.server._leave_time
        await asyncio.sleep(0.1)
        proxy.server.leave()
        assert proxy.server._leave_time == before
        await asyncio.wait_for(proxy.server.drain(), LIMIT)
        assert [line["event"] for line in proxy.lines] == ["draining"]


async def test_a_stream_that_began_before_is_the_last_of_its_connection() -> None:
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "first"}))
        await c.drain()
        await go.wait()
        c.events(*text("last")[1:])
        c.end()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy, proxy.client() as client:
        client.ask("POST", "/v1/messages", message())
        assert "connection" not in (await client.head())[1]
        proxy.server.leave()
        go.set()
        while await client.piece():
            pass
        assert await client.reader.read() == b""


# -- /health/drain -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_endpoint_takes_the_proxy_out_of_rotation(method: str) -> None:
    async with run_proxy(config(NOWHERE, enable_drain_endpoint=True)) as proxy:
        assert await is_ready(proxy)
        answer = await proxy.ask(None, PATH, method)
        assert answer.status == 200 and answer.json == {"status": "drained", "drained_requests": 0, "running": 0}
        assert not await is_ready(proxy)
        assert (await proxy.ask(None, "/health/liveliness", "GET")).status == 200, "it runs on"


async def test_the_endpoint_answers_once_what_ran_has_ended() -> None:
    go = asyncio.Event()

    async def script(c: Peer) -> None:
        await go.wait()
        await answering("Hi")(c)

    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, enable_drain_endpoint=True)) as proxy,
    ):
        answers = [asyncio.ensure_future(proxy.ask(message())) for _ in range(2)]
        await settle(lambda: len(proxy.services.running.exchanges) == 2)
        drains = [asyncio.ensure_future(proxy.ask(None, PATH, "POST")) for _ in range(2)]
        await settle(lambda: proxy.services.running.is_draining)
        assert not await is_ready(proxy) and not any(drain.done() for drain in drains)
        go.set()
        for drain in drains:
            assert (await asyncio.wait_for(drain, LIMIT)).json == {
                "status": "drained",
                "drained_requests": 2,
                "running": 0,
            }
        assert [(await one).status for one in answers] == [200, 200]


async def test_the_endpoint_waits_no_longer_than_a_drain() -> None:
    async def script(c: Peer) -> None:
        await c.wait_disconnect()

    settings: dict[str, Any] = {"enable_drain_endpoint": True, "drain_seconds": 0.05}
    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(upstream.base, **settings)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message())
        await settle(lambda: proxy.services.running.exchanges)
        answer = await proxy.ask(None, PATH, "GET")
        assert answer.status == 200 and answer.json == {"status": "draining", "drained_requests": 0, "running": 1}


async def expect_refusal(
    proxy: Running, path: str = PATH, method: str = "GET", headers: dict[str, str] | None = None
) -> int:
    """The status, of a request that must have had no effect."""
    answer = await proxy.ask(None, path, method, headers)
    assert not proxy.services.running.is_draining and answer.json["type"] == "error"
    return answer.status


async def test_the_endpoint_is_off_unless_it_is_asked_for() -> None:
    async with run_proxy(config(NOWHERE)) as proxy:
        assert [await expect_refusal(proxy, method=method) for method in ("GET", "POST")] == [404, 404]


@pytest.mark.parametrize(
    "path",
    ["/v1/health/drain", "/x/health/drain", "/health/drain/", "//health/drain", "/health/drain/x", "/Health/drain"],
)
async def test_the_endpoint_has_exactly_one_path(path: str) -> None:
    assert routes.find_route(path) is not routes.DRAIN
    async with run_proxy(config(NOWHERE, enable_drain_endpoint=True)) as proxy:
        assert await expect_refusal(proxy, path) == 404


async def test_the_endpoint_asks_for_the_master_key() -> None:
    async with run_proxy(config(NOWHERE, master_key="sk-m", enable_drain_endpoint=True)) as proxy:
        assert await expect_refusal(proxy) == 401
        assert await expect_refusal(proxy, headers={"x-api-key": "sk-other"}) == 401
        answer = await proxy.ask(None, PATH, "GET", {"authorization": "Bearer sk-m"})
        assert answer.status == 200 and proxy.services.running.is_draining


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"host": "evil.example"},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_without_a_key_no_web_page_drains(headers: dict[str, Any]) -> None:
    async with run_proxy(config(NOWHERE, enable_drain_endpoint=True)) as proxy:
        assert await expect_refusal(proxy, headers=headers) == 403


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
async def test_the_endpoint_has_two_methods(method: str) -> None:
    async with run_proxy(config(NOWHERE, enable_drain_endpoint=True)) as proxy:
        async with proxy.client() as client:
            client.ask(method, PATH)
            status, headers = await client.head()
        assert status == 405 and headers["allow"] == "GET, POST" and not proxy.services.running.is_draining
