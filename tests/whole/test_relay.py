"""The relay over real sockets: the way of a good answer, streamed and whole."""

from __future__ import annotations

from tests.proxied import SECRET, config, message, run_proxy
from tests.scripted import SSE, Peer, ScriptedServer, answering, chunk, completion, text


async def test_stream() -> None:
    async with ScriptedServer(answering("Hel", "lo")) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message())
    assert answer.status == 200 and answer.whole
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["request-id"].startswith("req_")
    assert "x-a2py-degraded" not in answer.headers
    assert answer.names == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start = answer.events[0][1]["message"]
    assert start["model"] == "test-model" and start["id"].startswith("msg_") and len(start["id"]) == 28
    request = upstream.requests[0]
    assert request.json["model"] == "upstream-model" and request.json["stream"] is True
    assert request.headers["authorization"] == f"Bearer {SECRET}"


async def test_whole() -> None:
    async with ScriptedServer(answering("Hello")) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(stream=False))
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    assert answer.json["content"] == [{"type": "text", "text": "Hello"}]
    assert answer.json["stop_reason"] == "end_turn" and answer.json["model"] == "test-model"
    assert answer.json["usage"]["input_tokens"] == 11 and answer.json["usage"]["output_tokens"] == 3


async def test_one_write_per_read() -> None:
    """The events of one upstream write arrive as one chunk."""

    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(*text("a", "b", "c"))
        c.end()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy, proxy.client() as client:
        client.ask("POST", "/v1/messages", message())
        await client.head()
        assert (await client.piece()).count(b"event: ") >= 4


async def test_keep_alive_on_both_sides() -> None:
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
    ):
        for n in range(6):
            client.ask("POST", "/v1/messages", message(stream=bool(n % 2)))
            assert (await client.answer()).status == 200
        assert len(upstream.requests) == 6 and upstream.connections == 1


async def test_json_body_for_a_stream_and_stream_for_a_whole_request() -> None:
    async def wrong_way_round(c: Peer) -> None:
        if c.request.json.get("stream"):
            c.reply(completion("Hello"))
        else:
            c.head(200, SSE)
            c.events(*text("Hel", "lo"))
            c.end()

    async with ScriptedServer(wrong_way_round) as upstream, run_proxy(config(upstream.base)) as proxy:
        stream_answer = await proxy.ask(message())
        whole = await proxy.ask(message(stream=False))
    assert stream_answer.names[0] == "message_start" and stream_answer.names[-1] == "message_stop"
    assert whole.json["content"] == [{"type": "text", "text": "Hello"}]


async def test_http_1_0_client() -> None:
    async with (
        ScriptedServer(answering("Hel", "lo")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message(), version="HTTP/1.0")
        answer = await client.answer()
    assert "transfer-encoding" not in answer.headers and answer.headers["connection"] == "close"
    assert answer.names[-1] == "message_stop"


async def test_client_asks_to_close() -> None:
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message(), (("Connection", "close"),))
        answer = await client.answer()
        assert answer.headers["connection"] == "close" and answer.whole
        assert await client.reader.read() == b""


async def test_upstream_that_ends_by_closing() -> None:
    """No length, not chunked: the body ends with the connection."""

    async def script(c: Peer) -> None:
        c.head(200, SSE, version="HTTP/1.0")
        c.events(*text("Hel", "lo"))

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        assert (await proxy.ask(message())).names[-1] == "message_stop"


async def test_finish_reason_then_a_broken_end_is_a_whole_answer() -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"content": "Hello"}), chunk({}, "stop"))
        await c.drain()
        c.reset()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        assert (await proxy.ask(message())).names[-1] == "message_stop"
