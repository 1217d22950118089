"""Models, counting, health and metrics, as the real `anthropic` SDK and Claude Code ask for them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import anthropic
import pytest

from a2py.config import Config, single
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.proxy import models
from a2py.proxy.metrics import MAX_SERIES, Metrics
from a2py.quirks import Quirks
from tests.proxied import SECRET, Running, config, deployment, message, run_proxy
from tests.scripted import SSE, Peer, ScriptedServer, answering, refusing, text

BASE = "http://127.0.0.1:1/v1"


def make_config(*names: str) -> Config:
    return config(
        deployments=tuple(
            deployment(BASE, name, id=name, max_input_tokens=1000, max_output_tokens=100) for name in names
        )
    )


def sdk(proxy: Running) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=proxy.base, api_key="any", max_retries=0, _strict_response_validation=True)


# -- models ------------------------------------------------------------------------------------------------------------


async def test_sdk_lists_and_pages() -> None:
    names = [f"model-{n:02d}" for n in range(25)]
    async with run_proxy(make_config(*names)) as proxy, sdk(proxy) as client:
        ids = [model.id async for model in client.models.list(limit=7)]
        assert ids == names + [f"anthropic/{name}" for name in names]
        first = await client.models.list()
        assert len(first.data) == 50 and not first.has_more, "everything, where no limit is asked for"
        assert (first.first_id, first.last_id) == ("model-00", "anthropic/model-24")
        before = await client.models.list(before_id="model-10", limit=3)
        assert [model.id for model in before.data] == ["model-07", "model-08", "model-09"] and before.has_more
        one = await client.models.retrieve("model-03")
        assert (one.id, one.display_name, one.max_input_tokens, one.max_tokens) == ("model-03", "model-03", 1000, 100)
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("gpt-none")


async def test_claude_codes_discovery() -> None:
    """limit=1000, ids with claude or anthropic only, and each of them routes."""
    async with ScriptedServer(answering("Hi")) as upstream:
        settings = config(
            deployments=tuple(
                deployment(upstream.base, name, id=name) for name in ("qwen3", "my-claude", "z-ai/glm-4.6")
            )
        )
        async with run_proxy(settings) as proxy:
            answer = await proxy.ask(None, "/v1/models?limit=1000", "GET", {"User-Agent": "claude-code/2.1.332"})
            rows = [row for row in answer.json["data"] if re.search("claude|anthropic", row["id"], re.IGNORECASE)]
            assert [row["id"] for row in rows] == ["my-claude", "anthropic/qwen3", "anthropic/z-ai/glm-4.6"]
            assert [row["display_name"] for row in rows] == ["my-claude", "qwen3", "z-ai/glm-4.6"]
            for row in rows:
                assert (await proxy.ask(message(model=row["id"]))).names[-1] == "message_stop"
                assert (await proxy.ask(None, f"/v1/models/{row['id']}", "GET")).json["id"] == row["id"]


def test_pages() -> None:
    settings = make_config("claude-a", "claude-b", "claude-c")
    assert [row["id"] for row in models.list_page(settings, "after_id=claude-a")["data"]] == ["claude-b", "claude-c"]
    assert models.list_page(settings, "after_id=claude-c")["data"] == []
    empty = models.list_page(Config(), "")
    assert empty == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    assert models.list_page(settings, "limit=2")["has_more"] is True
    assert models.list_page(settings, "before_id=claude-b&limit=1000")["has_more"] is False


def ids(query: str) -> tuple[list[str], bool]:
    page = models.list_page(make_config(*(f"claude-{name}" for name in "abcdef")), query)
    return [row["id"].removeprefix("claude-") for row in page["data"]], page["has_more"]


def test_both_ids_are_the_window_between_them() -> None:
    assert ids("after_id=claude-a&before_id=claude-e") == (["b", "c", "d"], False)
    assert ids("after_id=claude-a&before_id=claude-e&limit=2") == (["b", "c"], True)
    assert ids("after_id=claude-e&before_id=claude-a") == ([], False)
    assert ids("after_id=after_id&before_id=before_id&limit=1") == (["a"], True), "as the SDK's own tests ask"
    assert ids("after_id=claude-d&before_id=before_id&limit=9") == (["e", "f"], False)


async def test_sdk_asks_with_all_three() -> None:
    """With these very values: the tests of anthropic 2.14."""
    async with run_proxy(make_config("claude-a", "claude-b")) as proxy, sdk(proxy) as client:
        page = await client.models.list(after_id="after_id", before_id="before_id", limit=1)
        assert [model.id for model in page.data] == ["claude-a"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after_id=nobody", "before_id=nobody"])
def test_bad_pages(query: str) -> None:
    with pytest.raises(ApiError, match=query.partition("=")[0]):
        models.list_page(make_config("claude-a"), query)


async def test_litellms_model_info_holds_no_secret() -> None:
    async with run_proxy(
        config(deployments=(deployment("https://user:pass@host.example/v1?key=abc", "m", wire="responses"),))
    ) as proxy:
        answer = await proxy.ask(None, "/v1/model/info", "GET")
    row = answer.json["data"][0]
    assert (
        row["model_name"] == "m"
        and row["litellm_params"] == {"model": "scripted/upstream-model"}
        and row["model_info"]["mode"] == "responses"
    )
    assert SECRET.encode() not in answer.body and b"host.example" not in answer.body


# -- counting ----------------------------------------------------------------------------------------------------------

ASK = {"model": "test-model", "messages": [{"role": "user", "content": "Hello, how many tokens is this?"}]}
COUNT = "/v1/messages/count_tokens?beta=true"


async def test_sdk_counts() -> None:
    async with run_proxy(config(BASE)) as proxy, sdk(proxy) as client:
        small = await client.messages.count_tokens(**ASK)  # type: ignore[arg-type]
        tool = {"name": "f", "description": "x " * 500, "input_schema": {"type": "object"}}
        large = await client.messages.count_tokens(**ASK, tools=[tool])  # type: ignore[arg-type,list-item]
        assert 0 < small.input_tokens < large.input_tokens


async def test_an_unknown_model_is_counted_too() -> None:
    async with run_proxy(config(BASE)) as proxy:
        answer = await proxy.ask({**ASK, "model": "gpt-none"}, COUNT)
    assert answer.status == 200 and answer.json["input_tokens"] >= 1


async def test_claude_codes_placeholder() -> None:
    async with run_proxy(config(BASE)) as proxy:
        answer = await proxy.ask(
            {"model": "test-model", "messages": [{"role": "user", "content": "foo"}], "tools": []}, COUNT
        )
        assert answer.status == 200
        assert (await proxy.ask({"model": "test-model"}, COUNT)).status == 400


def counting(base: str, **changes: Any) -> Deployment:
    return replace(deployment(base), quirks=Quirks(**changes))


async def test_vllms_tokenizer() -> None:
    async def script(c: Peer) -> None:
        assert (
            c.request.target == "/tokenize"
            and c.request.json["messages"]
            and c.request.json["model"] == "upstream-model"
        )
        assert c.request.headers["authorization"] == f"Bearer {SECRET}"
        c.reply({"count": 1234, "max_model_len": 32768, "tokens": []})

    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(deployments=(counting(upstream.base, tokenizer="vllm"),))) as proxy,
    ):
        assert (await proxy.ask(ASK, COUNT)).json == {"input_tokens": 1234}


@pytest.mark.parametrize("wire", ["chat", "responses", "native"])
async def test_a_tokenizer_is_asked_in_chat_form_whatever_the_wire(wire: str) -> None:
    async def script(c: Peer) -> None:
        assert c.request.target == "/tokenize"
        assert [turn["role"] for turn in c.request.json["messages"]] == ["system", "user"]
        assert c.request.json["tools"][0]["function"]["name"] == "f"
        c.reply({"count": 7})

    body = {**ASK, "system": "Be brief.", "tools": [{"name": "f", "input_schema": {"type": "object"}}]}
    async with ScriptedServer(script) as upstream:
        base = upstream.base.removesuffix("/v1") if wire == "native" else upstream.base
        dep = replace(counting(base, tokenizer="vllm"), wire=wire)
        async with run_proxy(config(deployments=(dep,))) as proxy:
            assert (await proxy.ask(body, COUNT)).json == {"input_tokens": 7}


async def test_llamacpps_tokenizer() -> None:
    async def template(c: Peer) -> None:
        assert c.request.target == "/apply-template" and "model" not in c.request.json
        c.reply({"prompt": "<|user|>Hello"})

    async def tokenize(c: Peer) -> None:
        assert c.request.target == "/tokenize" and c.request.json["content"] == "<|user|>Hello"
        c.reply({"tokens": [1, 2, 3]})

    scripts = (template, tokenize)
    async with (
        ScriptedServer(*scripts) as upstream,
        run_proxy(config(deployments=(counting(upstream.base, tokenizer="llamacpp"),))) as proxy,
    ):
        assert (await proxy.ask(ASK, COUNT)).json == {"input_tokens": 3}


async def nonsense(c: Peer) -> None:
    c.reply(b"[]")


async def no_count(c: Peer) -> None:
    c.reply({"count": None})


async def broken(c: Peer) -> None:
    c.reply(b"{")


async def hang_up(c: Peer) -> None:
    c.close()


@pytest.mark.parametrize("script", [nonsense, no_count, broken, hang_up, refusing(404), refusing(500)])
async def test_a_tokenizer_that_fails_is_left_alone_for_a_while(script: Any) -> None:
    async with (
        ScriptedServer(script) as upstream,
        run_proxy(config(deployments=(counting(upstream.base, tokenizer="vllm"),))) as proxy,
    ):
        for _ in range(3):
            answer = await proxy.ask(ASK, COUNT)
            assert answer.status == 200 and answer.json["input_tokens"] > 1
        assert len(upstream.requests) == 1


async def test_the_count_learns_from_real_replies() -> None:
    """Within 5 % after three replies, whatever tokenizer the upstream has; message_start tells the same truth."""

    async def script(c: Peer) -> None:
        tokens = len(c.request.json["messages"][0]["content"]) // 2
        c.head(200, SSE)
        c.events(*text("Hi", tokens={"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}))
        c.end()

    async with ScriptedServer(script) as upstream, run_proxy(config(upstream.base)) as proxy:
        before = (await proxy.ask({**ASK, "messages": [{"role": "user", "content": "some words " * 200}]}, COUNT)).json[
            "input_tokens"
        ]
        for n in range(3):
            answer = await proxy.ask(message("some words " * (100 + n)))
        after = (await proxy.ask({**ASK, "messages": [{"role": "user", "content": "some words " * 200}]}, COUNT)).json[
            "input_tokens"
        ]
    assert abs(after - 1100) < 55 < abs(before - 1100)
    first = answer.events[0][1]["message"]["usage"]["input_tokens"]
    assert abs(first - 561) < 60


async def test_no_estimate_where_none_is_wanted() -> None:
    async with (
        ScriptedServer(answering("Hi")) as upstream,
        run_proxy(config(upstream.base, estimate_initial_input_tokens=False)) as proxy,
    ):
        answer = await proxy.ask(message("word " * 1000))
    assert answer.events[0][1]["message"]["usage"]["input_tokens"] == 1


# -- health and metrics ------------------------------------------------------------------------------------------------


async def test_health_shows_lessons_and_cooldowns_and_no_secret() -> None:
    refuse = refusing(400, "Unknown parameter: 'stream_options'.", param="stream_options", code="unknown_parameter")
    async with (
        ScriptedServer(refuse, answering("Hi"), refusing(401)) as upstream,
        run_proxy(config(upstream.base)) as proxy,
    ):
        assert (await proxy.ask(message())).status == 200
        assert (await proxy.ask(message())).status == 401
        answer = await proxy.ask(None, "/health", "GET")
        health = answer.json
    assert health["status"] == "healthy" and health["deployments"][0]["model"] == "upstream-model"
    assert health["lessons"] == [
        {
            "deployment": "d0",
            "model": "upstream-model",
            "field": "stream_usage",
            "value": False,
            "seconds_left": health["lessons"][0]["seconds_left"],
        }
    ]
    assert health["cooldowns"][0]["deployment"] == "d0" and health["cooldowns"][0]["why"] == "authentication"
    assert SECRET.encode() not in answer.body and b"127.0.0.1" not in answer.body


async def test_metrics() -> None:
    async with ScriptedServer(answering("Hi"), refusing(500)) as upstream, run_proxy(config(upstream.base)) as proxy:
        await proxy.ask(message(top_k=5))
        await proxy.ask(message(stream=False))
        answer = await proxy.ask(None, "/metrics", "GET")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4") and answer.headers["request-id"]
    lines = answer.body.decode().splitlines()
    assert 'a2py_requests_total{deployment="d0",wire="chat",status="200"} 1' in lines
    assert 'a2py_requests_total{deployment="d0",wire="chat",status="500"} 1' in lines
    assert 'a2py_attempts_total{deployment="d0",result="ok"} 1' in lines
    assert 'a2py_attempts_total{deployment="d0",result="api"} 1' in lines
    assert 'a2py_tokens_total{deployment="d0",direction="input"} 11' in lines
    assert 'a2py_degraded_total{what="top_k"} 1' in lines
    assert "a2py_running 0" in lines and "# TYPE a2py_running gauge" in lines


async def test_a_wildcard_is_one_series_whatever_clients_ask_for() -> None:
    async with ScriptedServer(answering("Hi")) as upstream:
        async with run_proxy(single(model="openai/*", api_base=upstream.base, api_key=SECRET)) as proxy:
            for name in ("one", "two"):
                assert (await proxy.ask({**message(stream=False), "model": f"openai/{name}"})).status == 200
            answer = await proxy.ask(None, "/metrics", "GET")
        assert (
            'a2py_requests_total{deployment="openai/*",wire="chat",status="200"} 2' in answer.body.decode().splitlines()
        )
        upstreams = [line["upstream"] for line in proxy.lines if line.get("path") == "/v1/messages"]
    assert upstreams == ["openai/one", "openai/two"]


def test_metrics_are_bounded_and_escaped() -> None:
    metrics = Metrics()
    for n in range(MAX_SERIES + 50):
        metrics.add("a2py_degraded_total", 1.5, what=f'a"b\\c\n{n}')
    text = metrics.text({})
    assert text.count("a2py_degraded_total{") == MAX_SERIES + 1 and 'what="other"} 75' in text
    assert 'what="a\\"b\\\\c\\n0"} 1.5' in text
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(
            r'\w+(\{\w+="(?:[^"\\]|\\.)*"(,\w+="(?:[^"\\]|\\.)*")*\})? [0-9.]+', line
        ), line
