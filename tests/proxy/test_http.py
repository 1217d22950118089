"""The HTTP border: routes, one envelope for every error, who may ask, what no HTTP client would send."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import orjson
import pytest

from a2py.proxy.access import is_local_host
from a2py.proxy.messages_api import parse_patience
from a2py.proxy.responses import header_list, new_id
from a2py.proxy.routes import find_route
from a2py.proxy.timeouts import Timeouts
from tests.proxied import SECRET, Running, config, message, run_proxy, settle
from tests.scripted import Answer, ScriptedServer, answering, completion

#: What Anthropic's clients send. Without it errors of /v1/models have OpenAI's shape.
ANTHROPIC = {"anthropic-version": "2023-06-01"}
ASK = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n"


def envelope(answer: Answer, status: int, type: str) -> str:
    """Check an error answer, and return its message."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    body = answer.json
    assert set(body) == {"type", "error", "request_id"} and set(body["error"]) == {"type", "message"}
    assert body["type"] == "error" and body["error"]["type"] == type
    assert answer.headers["request-id"] == body["request_id"] and body["request_id"].startswith("req_")
    text: str = body["error"]["message"]
    assert text and "Traceback" not in text
    return text


# -- routes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "is_known"),
    [
        ("/v1/messages", True),
        ("/v1/messages/", True),
        ("/v1/v1/messages", True),
        ("/anthropic/v1/messages", True),
        ("/a/b/c/v1/messages/count_tokens", True),
        ("/v1/models/openrouter/z-ai/glm-4.6", True),
        ("/x/v1/models/gpt", True),
        ("/x/v1/model/info", True),
        ("/anthropic/api/hello", True),
        ("/anthropic/api/event_logging/batch", True),
        ("/health/liveliness", True),
        ("/health", True),
        ("/health/", True),
        ("/metrics", True),
        ("/proxy/health", False),
        ("/proxy/health/liveliness", False),
        ("/proxy/health/readiness/", False),
        ("/health/health", False),
        ("/v1/messages/health", False),
        ("/proxy/metrics", False),
        ("//metrics", False),
        ("/a/", False),
        ("/v1/messages/batches", False),
        ("/v1/complete", False),
        ("/a/b/c/d/e/f/g/h/i/v1/messages", False),
        ("", False),
        ("//", False),
        ("/foo", False),
    ],
)
def test_find_route(path: str, is_known: bool) -> None:
    assert (find_route(path) is not None) is is_known


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("300", 300),
        ("0", 1),
        ("-5", 1),
        ("1e9", 3600),
        ("inf", 3600),
        ("nan", 600),
        ("soon", 600),
        ("", 600),
        (None, 600),
    ],
)
def test_how_long_a_client_waits(header: str | None, seconds: float) -> None:
    assert parse_patience(header) == seconds


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/api/hello", "/health/liveliness", "/health/liveness", "/health/readiness"])
async def test_signs_of_life_need_no_key(method: str, path: str) -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1", master_key="sk-1234")) as proxy:
        answer = await proxy.ask(None, path, method)
    assert answer.status == 200 and answer.headers["request-id"]
    assert answer.body == b"" if method == "HEAD" else answer.json["status"] in ("ok", "ready")


async def test_event_logging_is_swallowed() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1", master_key="sk-1234")) as proxy, proxy.client() as client:
        for _ in range(2):
            client.ask("POST", "/api/event_logging/batch", {"events": ["x" * 1000]})
            assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    "path", ["/v1/messages?beta=true", "/v1/messages/?beta=true", "/v1/v1/messages", "/some/prefix/v1/messages?a=b"]
)
async def test_queries_and_prefixes(path: str) -> None:
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        assert (await proxy.ask(message(), path)).names[-1] == "message_stop"


async def test_unknown_path_and_method() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy, proxy.client() as client:
        client.ask("POST", "/v1/nothing", {"a": 1})
        text = envelope(await client.answer(), 404, "not_found_error")
        assert "/v1/nothing" in text and "Messages API: POST /v1/messages" in text
        client.ask("GET", "/v1/messages")
        answer = await client.answer()
        assert envelope(answer, 405, "invalid_request_error") == "GET is not allowed on /v1/messages. Use POST."
        assert answer.headers["allow"] == "POST"
        client.ask("HEAD", "/v1/messages")
        answer = await client.answer("HEAD")
        assert answer.status == 405 and answer.headers["request-id"] and not answer.body


# -- bad requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": 1}', b"null"])
async def test_bad_json(body: bytes) -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        envelope(await proxy.ask(body), 400, "invalid_request_error")


async def test_unknown_model_lists_the_known() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        text = envelope(await proxy.ask(message(model="gpt-none")), 404, "not_found_error")
    assert "gpt-none" in text and "test-model" in text


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"HELLO\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/0.9\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (ASK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (ASK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (ASK + b"Content-Length: -5\r\n\r\n", 400),
        (ASK + b"Content-Length: +5\r\n\r\nhello", 400),
        (ASK + b"Content-Length: 0x5\r\n\r\nhello", 400),
        (ASK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        (ASK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
        (ASK + b"Bad Header: x\r\n\r\n", 400),
        (ASK + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (ASK + b"X: a\x00b\r\n\r\n", 400),
        (b"POST /v1/messages\nHost: localhost\n\n", 400),
        (ASK + b"X-Long: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (ASK + b"".join(b"X-%d: y\r\n" % n for n in range(500)) + b"\r\n", 400),
    ],
)
async def test_what_is_no_http_gets_an_envelope_and_is_cut(raw: bytes, status: int) -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy, proxy.client() as client:
        client.send(raw)
        try:
            answer = await client.answer()
            assert answer.status in (status, 400)
            envelope(answer, answer.status, "invalid_request_error")
            assert await client.reader.read() == b""
        except (ConnectionResetError, asyncio.IncompleteReadError):
            assert len(raw) > 65_536, "only a head that was not read to its end may end with a reset"


async def test_a_smuggled_second_request_is_never_seen() -> None:
    """Content-Length and Transfer-Encoding together: a program that believes the wrong one sees a second request."""
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
    ):
        inner = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
        client.send(
            ASK + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (len(inner) + 5) + inner
        )
        envelope(await client.answer(), 400, "invalid_request_error")
        assert await client.reader.read() == b""
        assert not upstream.requests


@pytest.mark.parametrize(
    "path",
    ["/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models/%00", "/../../etc/passwd", "/v1/models/a%0d%0aX-Evil:%201"],
)
async def test_path_tricks(path: str) -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        answer = await proxy.ask(None, path, "GET", ANTHROPIC)
    envelope(answer, 404, "not_found_error")
    assert "x-evil" not in answer.headers


# -- the body ----------------------------------------------------------------------------------------------------------


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1", max_body_mb=1)) as proxy, proxy.client() as client:
        client.send(ASK + b"Content-Length: 1048577\r\n\r\n")
        assert "max_body_mb" in envelope(await client.answer(), 413, "request_too_large")


async def test_a_body_that_does_not_say_it_is_cut_at_the_limit() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1", max_body_mb=1)) as proxy, proxy.client() as client:
        client.send(ASK + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(17):
            client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        envelope(await client.answer(), 413, "request_too_large")


async def test_a_gzip_bomb_is_cut_at_the_limit() -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    async with run_proxy(config("http://127.0.0.1:1/v1", max_body_mb=1)) as proxy, proxy.client() as client:
        client.ask("POST", "/v1/messages", bomb, (("Content-Encoding", "gzip"),))
        envelope(await client.answer(), 413, "request_too_large")


async def test_a_large_body_within_the_limit() -> None:
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message("x" * (8 << 20)))
        assert answer.names[-1] == "message_stop"
    assert len(upstream.requests[0].body) > 8 << 20


async def test_chunked_and_expect_100() -> None:
    body = b'{"model":"test-model","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}'
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base)) as proxy,
        proxy.client() as client,
    ):
        client.send(ASK + b"Transfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 7):
            piece = body[at : at + 7]
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        assert (await client.answer()).status == 200
        client.send(ASK + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert (await client.head())[0] == 100
        client.send(body)
        assert (await client.answer()).status == 200


async def test_a_body_that_stalls_is_cut() -> None:
    async with (
        run_proxy(config("http://127.0.0.1:1/v1"), timeouts=Timeouts(body_pause=0.05)) as proxy,
        proxy.client() as client,
    ):
        client.send(ASK + b"Content-Length: 100\r\n\r\n{")
        envelope(await client.answer(), 408, "timeout_error")
        assert await client.reader.read() == b""


async def test_a_body_that_trickles_is_cut() -> None:
    """A byte now and then is not a stall, and yet the body would never end. Further bytes must not make the kernel
    reset the connection before the answer is read."""
    async with (
        run_proxy(config("http://127.0.0.1:1/v1"), timeouts=Timeouts(body_pause=0.3, body_rate=1_000_000)) as proxy,
        proxy.client() as client,
    ):
        client.send(ASK + b"Content-Length: 1000\r\n\r\n{")

        async def trickle() -> None:
            while True:
                await asyncio.sleep(0.002)
                client.send(b" ")

        drops = asyncio.ensure_future(trickle())
        answer = await client.answer()
        drops.cancel()
        envelope(answer, 408, "timeout_error")


async def test_a_large_body_on_a_slow_line_is_taken() -> None:
    body = orjson.dumps(message("x" * 20_000, stream=False))
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base), timeouts=Timeouts(body_pause=0.2, body_rate=10_000)) as proxy,
        proxy.client() as client,
    ):
        client.send(ASK + b"Content-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 2000):
            client.send(body[at : at + 2000])
            await asyncio.sleep(0.05)
        assert (await client.answer()).status == 200


async def test_a_client_that_leaves_in_mid_body() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy, proxy.client() as client:
        client.send(ASK + b"Content-Length: 100\r\n\r\n{")
        await settle(lambda: proxy.busy)
        client.reset()
        await settle(lambda: not proxy.busy)


async def test_a_broken_chunk() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy, proxy.client() as client:
        client.send(ASK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
        envelope(await client.answer(), 400, "invalid_request_error")


# -- who may ask -------------------------------------------------------------------------------------------------------

KEY = "sk-master-1234"


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({"x-api-key": KEY}, True),
        ({"authorization": f"Bearer {KEY}"}, True),
        ({"authorization": f"bearer {KEY}"}, True),
        ({"authorization": f"Bearer {KEY}", "x-api-key": "other"}, True),
        ({"x-api-key": KEY, "authorization": "Bearer other"}, True),
        ({}, False),
        ({"x-api-key": ""}, False),
        ({"x-api-key": KEY + "x"}, False),
        ({"x-api-key": KEY[:-1]}, False),
        ({"authorization": f"Basic {KEY}"}, False),
        ({"authorization": KEY}, False),
        ({"authorization": "Bearer"}, False),
        ({"x-api-key": "schl\u00fcssel"}, False),
    ],
)
async def test_master_key(headers: dict[str, str], is_allowed: bool) -> None:
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base, master_key=KEY)) as proxy:
        answer = await proxy.ask(message(), headers=headers)
        if is_allowed:
            assert answer.names[-1] == "message_stop"
        else:
            text = envelope(answer, 401, "authentication_error")
            assert "x-api-key" not in text and KEY not in text and answer.headers["x-should-retry"] == "false"
            assert not upstream.requests
        assert KEY not in proxy.log
        for request in upstream.requests:
            assert KEY.encode() not in request.raw_head and request.headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("key", ["k\udcff\udcfe-key", "schl\u00fcssel"])
async def test_a_master_key_of_any_bytes(key: str) -> None:
    """What the environment holds need not be UTF-8."""
    header = key.encode("utf-8", "surrogateescape").decode("latin-1")
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base, master_key=key)) as proxy:
        assert (await proxy.ask(message(), headers={"x-api-key": header})).status == 200
        assert (await proxy.ask(message(), headers={"authorization": f"Bearer {header}"})).status == 200
        for wrong in (header[:-1], "", "k"):
            envelope(await proxy.ask(message(), headers={"x-api-key": wrong}), 401, "authentication_error")


async def test_a_probe_without_a_key_learns_only_that_it_answers() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1", master_key=KEY)) as proxy:
        answer = await proxy.ask(None, "/health", "GET")
        assert (answer.status, answer.json) == (200, {"status": "healthy"})
        for header in ("x-api-key", "authorization", "x-litellm-api-key"):
            envelope(await proxy.ask(None, "/health", "GET", {header: "Bearer x"}), 401, "authentication_error")
        full = (await proxy.ask(None, "/health", "GET", {"x-api-key": KEY})).json
        assert full["deployments"] and (full["healthy_count"], full["unhealthy_count"]) == (1, 0)


async def test_a_web_page_of_a_strange_name_does_not_read_the_health_page() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        answer = await proxy.ask(None, "/health", "GET", {"host": "evil.example"})
        envelope(answer, 403, "permission_error")


async def test_a_probe_that_looks_for_litellms_words_finds_them() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        for path in ("/health/liveliness", "/health/liveness"):
            assert b"alive" in (await proxy.ask(None, path, "GET")).body


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/test-model", "/v1/model/info", "/metrics"])
async def test_everything_else_asks_for_the_key(path: str) -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1", master_key=KEY)) as proxy:
        envelope(await proxy.ask(None, path, "GET", ANTHROPIC), 401, "authentication_error")
        assert (await proxy.ask(None, path, "GET", {"x-api-key": KEY})).status == 200


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("localhost:4000", True),
        ("LOCALHOST.", True),
        ("127.0.0.1:4000", True),
        ("192.168.1.7", True),
        ("[::1]:4000", True),
        ("[fe80::1%25eth0]:80", True),
        ("::1", True),
        ("host.docker.internal:4000", True),
        ("localhost:", True),
        ("0.0.0.0", True),
        ("[::ffff:127.0.0.1]", True),
        ("[::1].evil.com", False),
        ("[::1]evil.com", False),
        ("[::1]:80@evil.com", False),
        ("[::1]:80.evil.com", False),
        ("[::1", False),
        ("[]", False),
        ("[127.0.0.1]", False),
        ("[localhost]", False),
        ("[::1]:4000:5", False),
        ("localhost:80@evil.com", False),
        ("localhost@evil.com", False),
        ("evil.com:80@localhost", False),
        ("user:pw@localhost:80", False),
        ("localhost:evil", False),
        ("localhost:80:90", False),
        ("localhost:99999", False),
        ("localhost:+80", False),
        ("localhost:\u0664", False),
        ("localhost/evil.com", False),
        ("localhost\\evil.com", False),
        ("localhost?.evil.com", False),
        ("localhost#.evil.com", False),
        ("localhost,evil.com", False),
        ("localhost evil.com", False),
        ("localhost..", False),
        (".localhost", False),
        ("\u017focalhost", False),
        ("127.0.0.1@evil.com", False),
        ("127.0.0.1:80@evil.com", False),
        ("127.0.0.1%2eevil.com", False),
        ("::1%evil.com", False),
        ("localhost:80\n", False),
        ("http://localhost", False),
        ("a" * 70_000, False),
        ("evil.example", False),
        ("evil.example:4000", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_is_local_host(host: str, local: bool) -> None:
    assert is_local_host(host) is local


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({"Host": "localhost:4000"}, True),
        ({"Host": "a2py.lan"}, True),
        ({"Host": "a2py.lan:4000"}, True),
        ({"Host": "A2PY.lan:4000"}, True),
        ({"Host": "Other.lan:4000"}, True),
        ({"Host": "other.lan"}, False),
        ({"Host": "a2py.lan.evil.example"}, False),
        ({"Host": "evil.example"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "https://mine.example"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, True),
    ],
)
async def test_host_and_origin_without_a_key(headers: dict[str, str], is_allowed: bool) -> None:
    settings: dict[str, Any] = {
        "allowed_hosts": ("a2py.lan", "Other.LAN:4000"),
        "allowed_origins": ("https://mine.example",),
    }
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base, **settings)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message(), tuple(headers.items()))
        answer = await client.answer()
        if is_allowed:
            assert answer.status == 200
        else:
            envelope(answer, 403, "permission_error")
            assert not upstream.requests


async def test_host_and_origin_do_not_matter_with_a_key() -> None:
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base, master_key=KEY)) as proxy,
        proxy.client() as client,
    ):
        headers = (("Host", "anything.example"), ("Origin", "https://evil.example"), ("x-api-key", KEY))
        client.ask("POST", "/v1/messages", message(), headers)
        assert (await client.answer()).status == 200


async def test_what_the_client_sends_of_its_own_never_goes_upstream() -> None:
    mine = {
        "x-api-key": "client-key-1",
        "authorization": "Bearer client-key-2",
        "cookie": "session=client-key-3",
        "proxy-authorization": "Basic client-key-4",
        "x-forwarded-for": "10.1.2.3",
        "x-custom": "client-key-5",
    }
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        assert (await proxy.ask(message(), headers=mine)).status == 200
        assert "client-key" not in proxy.log
    assert (
        b"client-key" not in upstream.requests[0].raw_head + upstream.requests[0].body
        and b"10.1.2.3" not in upstream.requests[0].raw_head
    )


async def test_responses_of_the_upstream_set_nothing_on_the_client() -> None:
    async def script(c: object) -> None:
        c.reply(completion("Hi"), headers={"set-cookie": "a=b", "x-upstream": "secret", "server": "upstream"})  # type: ignore[attr-defined]

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(stream=False))
    assert answer.status == 200 and not {"set-cookie", "x-upstream"} & set(answer.headers)


# -- loops, limits -----------------------------------------------------------------------------------------------------


async def test_a_proxy_that_is_its_own_upstream_says_so() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy:
        proxy.services.reload(config(f"{proxy.base}/v1"))
        text = envelope(await proxy.ask(message()), 508, "api_error")
        assert "is its own upstream" in text and "api_base" in text
        envelope(await proxy.ask(message(), headers={"x-a2py-hop": "a,b,c,d,e"}), 508, "invalid_request_error")


async def test_hops_are_counted_along() -> None:
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        await proxy.ask(message(), headers={"x-a2py-hop": "first"})
        assert upstream.requests[0].headers["x-a2py-hop"] == f"first,{proxy.services.name}"


async def test_a_body_that_can_not_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """One envelope, and the end of the connection. aiohttp used to meet the error a second time and to log its
    traceback."""
    async with run_proxy(config("http://127.0.0.1:1/v1")) as proxy, proxy.client() as client:
        client.send(
            b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\ncontent-encoding: gzip\r\ncontent-length: 7\r\n\r\nno gzip"
        )
        envelope(await client.answer(), 400, "invalid_request_error")
        assert await client.reader.read() == b""
    assert not caplog.records


async def test_requests_at_a_time() -> None:
    go = asyncio.Event()

    async def slow(c: object) -> None:
        await go.wait()
        c.reply(completion("Hi"))  # type: ignore[attr-defined]

    async with (
        ScriptedServer(slow) as upstream,
        run_proxy(config(upstream.base, global_max_parallel_requests=1, queue_length=0)) as proxy,
        proxy.client() as client,
    ):
        client.ask("POST", "/v1/messages", message(stream=False))
        await settle(lambda: upstream.requests)
        refusal = await proxy.ask(message())
        envelope(refusal, 429, "rate_limit_error")
        assert (
            refusal.headers["retry-after"] == "1" and "global_max_parallel_requests" in refusal.json["error"]["message"]
        )
        go.set()
        assert (await client.answer()).status == 200


async def test_a_refused_stream_writes_nothing_later() -> None:
    """Its keep-alive must not begin: the connection goes on to the next request."""
    go = asyncio.Event()

    async def slow(c: object) -> None:
        await go.wait()
        c.reply(completion("Hi"))  # type: ignore[attr-defined]

    settings: dict[str, Any] = {
        "global_max_parallel_requests": 1,
        "queue_length": 0,
        "commit_seconds": 0.01,
        "keepalive_seconds": 0.01,
    }
    async with (
        ScriptedServer(slow) as upstream,
        run_proxy(config(upstream.base, **settings)) as proxy,
        proxy.client() as one,
        proxy.client() as two,
    ):
        one.ask("POST", "/v1/messages", message(stream=False))
        await settle(lambda: upstream.requests)
        two.ask("POST", "/v1/messages", message())
        envelope(await two.answer(), 429, "rate_limit_error")
        await asyncio.sleep(0.1)
        two.ask("GET", "/")
        assert (await two.answer()).json["status"] == "ok"
        go.set()
        assert (await one.answer()).status == 200


# -- the frame ---------------------------------------------------------------------------------------------------------


async def test_an_exception_nobody_expected() -> None:
    """An envelope for the client, a line with the place for the log, and no text of the exception anywhere."""

    async def broken(proxy: object, request: object, record: object) -> None:
        raise RuntimeError("secret content")

    from a2py.proxy.routes import ROUTES, Route

    async with ScriptedServer(answering("Hi")) as upstream:
        running: Running | None = None
        with pytest.raises(AssertionError, match="crash"):
            async with run_proxy(config(upstream.base)) as proxy:
                running = proxy
                ROUTES["/broken"] = Route(("GET",), broken)  # type: ignore[arg-type]
                try:
                    answer = await proxy.ask(None, "/broken", "GET")
                finally:
                    del ROUTES["/broken"]
                envelope(answer, 500, "api_error")
                assert "secret" not in proxy.log and b"secret" not in answer.body
    assert running is not None
    crash = next(line for line in running.lines if line["event"] == "crash")
    assert crash["type"] == "RuntimeError" and crash["id"] == answer.headers["request-id"]
    assert crash["at"].startswith("test_http.py:") and " < proxy/" in crash["at"]


async def test_every_request_has_its_own_id() -> None:
    async with ScriptedServer(answering("Hi")) as upstream, run_proxy(config(upstream.base)) as proxy:
        ids = {(await proxy.ask(message())).headers["request-id"] for _ in range(5)}
    assert len(ids) == 5


def test_ids_and_header_lists() -> None:
    assert len(new_id("msg_")) == 28
    assert header_list(("a", "b\r\nX-Evil: 1", "c\u00e4")) == "a,b?X-Evil: 1,c?"
    assert len(header_list(tuple("x" * 1000 for _ in range(1000)))) <= 50 * 101


async def test_as_an_application_inside_aiohttp() -> None:
    from aiohttp.test_utils import TestClient, TestServer

    from a2py.proxy.embed import PROXY, build_app

    async with ScriptedServer(answering("Hi")) as upstream:
        app = build_app(config(upstream.base))
        async with TestClient(TestServer(app)) as client:
            answer = await client.post("/v1/messages", json=message())
            assert answer.status == 200 and (await answer.read()).endswith(b'data: {"type":"message_stop"}\n\n')
            answer = await client.get("/nothing")
            assert answer.status == 404 and (await answer.json())["error"]["type"] == "not_found_error"
        assert app[PROXY].services.config.resolve("test-model")
