"""Browsers' pages: the origins that are listed may ask and read, with or without a master key; no other gets a header
for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.proxied import config, message, run_proxy
from tests.proxy.test_http import KEY, envelope
from tests.scripted import SSE, Peer, ScriptedServer, answering, chunk, refusing

PAGE, OTHER = "https://app.example", "https://evil.example"
SETTINGS: dict[str, Any] = {"allowed_origins": (PAGE, "http://localhost:3000")}
WANTS = "authorization,content-type,anthropic-version"


def cors(headers: dict[str, str]) -> dict[str, str]:
    """What of an answer is for browsers."""
    return {name: value for name, value in headers.items() if name.startswith("access-control-") or name == "vary"}


def is_readable(headers: dict[str, str]) -> bool:
    """Whether a browser shows the answer to PAGE. Nothing half."""
    permissions = cors(headers)
    if not permissions:
        return False
    assert permissions["access-control-allow-origin"] == PAGE and permissions["vary"] == "Origin"
    assert (
        "request-id, x-request-id," in permissions["access-control-expose-headers"]
        and "access-control-allow-credentials" not in permissions
    )
    return True


@pytest.mark.parametrize("key", ["", KEY])
@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/messages", "POST"),
        ("/x/v1/messages?beta=true", "POST"),
        ("/v1/messages/count_tokens", "POST"),
        ("/v1/models", "GET, HEAD"),
        ("/v1/models/a/b", "GET, HEAD"),
        ("/health", "GET, HEAD"),
    ],
)
async def test_a_preflight_needs_no_key(path: str, methods: str, key: str) -> None:
    """A browser sends none with it."""
    async with (
        run_proxy(config("http://127.0.0.1:1/v1", master_key=key, **SETTINGS)) as proxy,
        proxy.client() as client,
    ):
        for _ in range(2):  # the connection goes on
            client.ask(
                "OPTIONS",
                path,
                None,
                (
                    ("Origin", PAGE),
                    ("Access-Control-Request-Method", "POST"),
                    ("Access-Control-Request-Headers", WANTS),
                ),
            )
            status, headers = await client.head()
            assert status == 204 and headers["request-id"]
            assert cors(headers) == {
                "access-control-allow-origin": PAGE,
                "access-control-allow-methods": methods,
                "access-control-allow-headers": WANTS,
                "access-control-max-age": "7200",
                "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            }


async def test_what_a_preflight_may_ask_besides() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1", **SETTINGS)) as proxy, proxy.client() as client:
        preflight = (("Origin", PAGE), ("Access-Control-Request-Method", "POST"))
        client.ask("OPTIONS", "/v1/messages", None, (*preflight, ("Access-Control-Request-Private-Network", "true")))
        status, headers = await client.head()
        assert (
            status == 204
            and headers["access-control-allow-private-network"] == "true"
            and "access-control-allow-headers" not in headers
        )
        for odd in ("a b", "x: y", "a,,b", "\u00e4", ",".join(f"x-{n}" for n in range(200))):
            client.ask("OPTIONS", "/v1/messages", None, (*preflight, ("Access-Control-Request-Headers", odd)))
            status, headers = await client.head()
            assert status == 204 and "access-control-allow-headers" not in headers


@pytest.mark.parametrize("key", ["", KEY])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": OTHER, "Access-Control-Request-Method": "POST"},
        {"Origin": "null", "Access-Control-Request-Method": "POST"},
        {"Origin": PAGE + ".evil.example", "Access-Control-Request-Method": "POST"},
        {"Origin": "http://app.example", "Access-Control-Request-Method": "POST"},
        {"Origin": PAGE + ":443", "Access-Control-Request-Method": "POST"},
        {"Origin": PAGE + ", " + OTHER, "Access-Control-Request-Method": "POST"},
        {"Access-Control-Request-Method": "POST"},
        {},
    ],
)
async def test_no_other_origin_gets_anything(headers: dict[str, str], key: str) -> None:
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base, master_key=key, **SETTINGS)) as proxy,
    ):
        answer = await proxy.ask(None, "/v1/messages", "OPTIONS", headers)
        assert answer.status in (401, 403, 405) and not cors(answer.headers)
        for stream in (True, False):
            answer = await proxy.ask(message(stream=stream), headers={**headers, "x-api-key": KEY})
            assert answer.status == (200 if key or "Origin" not in headers else 403) and not cors(answer.headers)


async def test_without_a_list_nobody_gets_anything() -> None:
    async with run_proxy(config("http://127.0.0.1:1/v1", master_key=KEY)) as proxy:
        answer = await proxy.ask(None, "/v1/models", "GET", {"Origin": PAGE, "x-api-key": KEY})
        assert answer.status == 200 and not cors(answer.headers)
        answer = await proxy.ask(
            None, "/v1/models", "OPTIONS", {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
        )
        assert answer.status == 401 and not cors(answer.headers)


@pytest.mark.parametrize("key", ["", KEY])
@pytest.mark.parametrize("has_capture", [False, True])
async def test_answers_can_be_read(key: str, has_capture: bool, tmp_path: Path) -> None:
    """Streams, whole answers, lists, pages, errors before and after the key check, and 404s."""
    page = {"Origin": PAGE, "x-api-key": KEY}
    settings: dict[str, Any] = {**SETTINGS, "capture_dir": str(tmp_path) if has_capture else ""}
    scripts = (answering("Hi"), answering("Hi"), refusing(429, "slow down"))
    async with (
        ScriptedServer(*scripts) as upstream,
        run_proxy(config(upstream.base, master_key=key, **settings)) as proxy,
    ):
        answers = [await proxy.ask(message(stream=stream), headers=page) for stream in (True, False)]
        assert answers[0].names[-1] == "message_stop" and answers[1].json["content"]
        paths = ("/v1/models", "/v1/models/test-model", "/v1/model/info", "/", "/health", "/metrics")
        answers += [await proxy.ask(None, path, "GET", page) for path in paths]
        assert {answer.status for answer in answers} == {200}
        for stream in (True, False):
            answers.append(await proxy.ask(message(stream=stream), headers=page))
            envelope(answers[-1], 429, "rate_limit_error")
        answers.append(await proxy.ask(b"{", headers=page))
        envelope(answers[-1], 400, "invalid_request_error")
        answers.append(await proxy.ask(None, "/nothing", "GET", page))
        envelope(answers[-1], 404, "not_found_error")
        answers.append(await proxy.ask(None, "/v1/messages", "GET", page))
        envelope(answers[-1], 405, "invalid_request_error")
        answers.append(await proxy.ask(message(), headers={**page, "x-a2py-hop": "a,b,c,d,e"}))
        envelope(answers[-1], 508, "invalid_request_error")
        answers.append(
            await proxy.ask(message(), headers={"Origin": PAGE, "x-api-key": "wrong", "host": "evil.example"})
        )
        assert answers[-1].status == (401 if key else 403)
    assert all(is_readable(answer.headers) for answer in answers)


async def test_a_stream_that_fails_after_its_head_can_be_read() -> None:
    async def script(c: Peer) -> None:
        c.head(200, SSE)
        c.events(chunk({"role": "assistant", "content": "Hel"}), {"error": {"message": "no more"}})
        c.end()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base, **SETTINGS)) as proxy:
        answer = await proxy.ask(message(), headers={"Origin": PAGE})
    assert answer.status == 200 and answer.names[-1] == "error" and is_readable(answer.headers)
