"""A drain loses nobody who was let in: requests on their way, connections that have not asked yet; and it ends whoever stays silent."""

from __future__ import annotations

import asyncio
import json

import pytest

from a2py.proxy import border
from tests.proxied import config, message, proxied, settle
from tests.scripted import Scripted, answering

pytestmark = pytest.mark.filterwarnings("error")
PATH = "/v1/messages"


async def test_a_request_whose_body_is_on_its_way_is_answered() -> None:
    body = json.dumps(message(stream=False)).encode()
    async with Scripted(answering("Hi")) as upstream, proxied(config(upstream.base)) as proxy, proxy.client() as client:
        client.ask("POST", PATH, body[:20], (("content-length", str(len(body))),))
        await settle(lambda: proxy.proxy.busy)
        drained = asyncio.ensure_future(proxy.server.drain())
        await settle(lambda: proxy.proxy.draining)
        await asyncio.sleep(0.05)
        assert not drained.done()
        client.send(body[20:])
        answer = await client.answer()
        assert answer.status == 200 and answer.headers["connection"] == "close" and answer.json["content"][0]["text"] == "Hi"
        await asyncio.wait_for(drained, 10)
        assert await client.reader.read() == b""


@pytest.mark.parametrize("stream", [True, False])
async def test_a_connection_that_has_not_asked_yet_may_ask(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(border, "FRESH_SECONDS", 30.0)
    async with Scripted(answering("Hi")) as upstream, proxied(config(upstream.base)) as proxy, proxy.client() as client:
        await settle(lambda: proxy.server._border.connections)
        drained = asyncio.ensure_future(proxy.server.drain())
        await settle(lambda: proxy.log.count("draining"))
        client.ask("POST", PATH, message(stream=stream))
        answer = await client.answer()
        assert answer.status == 200 and answer.whole and b"Hi" in answer.body
        await asyncio.wait_for(drained, 10)
        assert await client.reader.read() == b""


async def test_one_that_never_asks_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(border, "FRESH_SECONDS", 0.05)
    async with proxied(config("http://127.0.0.1:1/v1", drain_seconds=60)) as proxy, proxy.client() as client:
        await settle(lambda: proxy.server._border.connections)
        await asyncio.wait_for(proxy.server.drain(), 10)
        assert await client.reader.read() == b""


async def test_an_idle_connection_that_has_just_asked_is_answered() -> None:
    """What lies in the socket when the drain begins counts as asked."""
    async with Scripted(answering("Hi")) as upstream, proxied(config(upstream.base)) as proxy, proxy.client() as client:
        client.ask("POST", PATH, message(stream=False))
        assert (await client.answer()).status == 200
        client.ask("POST", PATH, message(stream=False))
        await asyncio.wait_for(proxy.server.drain(), 10)
        assert (await client.answer()).status == 200


async def test_a_client_that_leaves_does_not_hold_the_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(border, "FRESH_SECONDS", 30.0)
    async with proxied(config("http://127.0.0.1:1/v1", drain_seconds=30)) as proxy:
        async with proxy.client() as client:
            await settle(lambda: proxy.server._border.connections)
            drained = asyncio.ensure_future(proxy.server.drain())
            await settle(lambda: proxy.log.count("draining"))
            assert not drained.done() and client
        await asyncio.wait_for(drained, 10)
