"""The upstream's headers about rate limits reach the client."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.wires.common.ratelimits import COUNT, rate_limits
from tests.proxied import config, message, run_proxy
from tests.scripted import JSON_TYPE, SSE, Peer, ScriptedServer, completion, text

LIMITS = {"X-RateLimit-Remaining-Tokens": "7", "anthropic-ratelimit-unified-status": "allowed"}
SENT_LIMITS = {name.lower(): value for name, value in LIMITS.items()}


async def answer_with_limits(c: Peer) -> None:
    body: dict[str, Any] = c.request.json
    if "refuse" in str(body["messages"]):
        c.reply({"error": {"message": "slow down"}}, 429, {**JSON_TYPE, **LIMITS, "x-other": "1"})
    elif body.get("stream"):
        c.head(200, {**SSE, **LIMITS, "x-other": "1"})
        c.events(*text("Hi"))
        c.end()
    else:
        c.reply(completion("Hi"), 200, {**JSON_TYPE, **LIMITS, "x-other": "1"})


@pytest.mark.parametrize("words", ["Hi", "refuse"])
@pytest.mark.parametrize("stream", [True, False])
async def test_rate_limits_reach_the_client(words: str, stream: bool) -> None:
    async with ScriptedServer(answer_with_limits) as upstream, run_proxy(config(upstream.base)) as proxy:
        answer = await proxy.ask(message(words, stream))
        assert answer.status == (200 if words == "Hi" else 429)
        assert answer.headers.items() >= SENT_LIMITS.items() and "x-other" not in answer.headers


def test_odd_headers_are_left_out() -> None:
    many = {f"x-ratelimit-{n}": "1" for n in range(COUNT + 5)}
    assert len(rate_limits(many)) == COUNT
    assert rate_limits({"x-ratelimit-a": "x" * 300, "x-ratelimit-b": "\x01", "x-ratelimit-c": "\xe9"}) == {}


async def test_what_claude_code_calls_besides_messages_is_answered() -> None:
    async with ScriptedServer(answer_with_limits) as upstream, run_proxy(config(upstream.base)) as proxy:
        assert (await proxy.ask({}, "/api/event_logging/v2/batch")).status == 200
        assert (await proxy.ask(None, "/api/claude_cli/bootstrap?x=1", "GET")).status == 200
