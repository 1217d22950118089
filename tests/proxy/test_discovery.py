"""When servers are asked what they are: private ones at the start and after a failed connection, others once after a success, hosts of the
provider table never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from a2py.config import Config
from a2py.deployment import Deployment
from a2py.evidence.message import ServerReport
from a2py.evidence.server import ServerWord
from a2py.providers import PROVIDERS
from a2py.proxy import discovery
from a2py.proxy.discovery import Discovery, is_private
from a2py.quirks import Quirks
from a2py.upstream import Upstream
from tests import streams
from tests.process import free_port
from tests.proxied import config, message, run_proxy, settle
from tests.scripted import SSE, Peer, ScriptedServer, answering, chunk, completion, text

VLLM = {"object": "list", "data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]}


def deployment(base: str, **more: Any) -> Deployment:
    return Deployment(
        **{"name": "m", "id": "m", "provider": "openai", "model": "m", "base": base, "key": "sk-deployment", **more}
    )


def serving(models: Any, status: int = 200) -> Callable[[Peer], Any]:
    async def script(c: Peer) -> None:
        if c.request.target.startswith("/v1/models"):
            c.reply(models, status)
        else:
            c.reply({"error": "not found"}, 404)

    return script


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    client = Upstream("hop")
    yield client
    await client.close()


class Recorder(Discovery):
    """Records what it was told to change."""

    def __init__(self) -> None:
        self.changes: list[dict[str, ServerWord]] = []
        super().__init__(self.note)

    def note(self, words: Mapping[str, ServerWord]) -> None:
        self.changes.append(dict(words))

    async def settle_tasks(self) -> None:
        await settle(lambda: not self._tasks)


async def test_a_private_server_is_asked_at_the_start(upstream: Upstream) -> None:
    async with ScriptedServer(serving(VLLM)) as server:
        recorder = Recorder()
        recorder.start(upstream, [deployment(server.base), deployment(server.base, name="twin")], True)
        await recorder.settle_tasks()
        assert recorder.words[server.base].program == "vLLM" and recorder.words[server.base].context("m") == 4096
        assert [request.target for request in server.requests] == [
            "/v1/models",
            "/props",
            "/version",
            "/api/version",
            "/api/tags",
        ]
        assert all(request.method == "GET" and not request.body for request in server.requests)
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-deployment"}
        recorder.start(upstream, [deployment(server.base)], True)  # a reload
        recorder.note_success(deployment(server.base))
        assert not recorder._tasks and len(recorder.changes) == 1
        await recorder.close()


async def test_nobody_is_asked_if_it_is_switched_off(upstream: Upstream) -> None:
    async with ScriptedServer(serving(VLLM)) as server:
        recorder = Recorder()
        recorder.start(upstream, [deployment(server.base)], False)
        recorder.note_success(deployment(server.base))
        recorder.note_failed_connection(deployment(server.base))
        recorder.note_success(deployment("https://relay.example/v1"))
        assert not recorder._tasks and not recorder._stale and not server.requests


async def test_hosts_of_the_provider_table_are_never_asked(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any) -> Any:
        raise AssertionError("a host of the provider table was asked")

    monkeypatch.setattr(upstream, "fetch", refuse)
    recorder = Recorder()
    bases = [(row.name, row.base or "https://x.openai.azure.com") for row in PROVIDERS.values()]
    rows = [deployment(base, provider=name) for name, base in bases if not is_private(base)]
    behind_openai = [deployment(row.base) for row in PROVIDERS.values() if row.base.startswith("https:")]
    native = deployment("http://127.0.0.1:1/anthropic", provider="anthropic", wire="native")
    everyone = [*rows, *behind_openai, native, deployment("http://127.0.0.1:1", problem="no key")]
    recorder.start(upstream, everyone, True)
    for one in everyone:
        recorder.note_failed_connection(one)
        recorder.note_success(one)
    assert not recorder._tasks and not recorder._stale


async def test_another_host_is_asked_once_after_a_success(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "is_private", lambda base: False)
    async with ScriptedServer(
        serving({"data": [{"id": "gpt-5", "owned_by": "x", "supported_endpoint_types": []}]})
    ) as server:
        recorder = Recorder()
        recorder.start(upstream, [deployment(server.base)], True)
        recorder.note_failed_connection(deployment(server.base))
        assert not recorder._tasks, "not before a request has succeeded there"
        recorder.note_success(deployment(server.base, query="version=1"))
        await recorder.settle_tasks()
        assert [request.target for request in server.requests] == ["/v1/models?version=1"], "its root is not asked"
        assert recorder.words[server.base].program == "new-api"
        recorder.note_success(deployment(server.base))
        assert not recorder._tasks
        await recorder.close()


async def test_the_list_of_a_local_server_counts_whatever_its_prefix_is(upstream: Upstream) -> None:
    async with ScriptedServer(
        serving({"data": [{"id": "bge-m3"}, {"id": "qwen3-32b", "max_model_len": 32768}]})
    ) as server:
        recorder = Recorder()
        wild = deployment(server.base, provider="hosted_vllm", model="*", name="hosted_vllm/*")
        recorder.start(upstream, [wild], True)
        await recorder.settle_tasks()
        update = config(deployments=(wild,)).with_servers(recorder.words)
        assert update.default_name == "hosted_vllm/qwen3-32b"
        assert update.list_names() == ("hosted_vllm/qwen3-32b", "hosted_vllm/bge-m3")
        assert update.resolve("claude-opus-5-5")[0].model == "qwen3-32b"
        assert update.resolve("hosted_vllm/qwen3-32b")[0].max_input_tokens == 32768
        await recorder.close()


async def test_an_answer_that_says_nothing_is_kept_too(upstream: Upstream) -> None:
    async with ScriptedServer(serving({"error": "no key"}, 401)) as server:
        recorder = Recorder()
        recorder.start(upstream, [deployment(server.base)], True)
        await recorder.settle_tasks()
        assert recorder.words[server.base] == ServerWord()
        recorder.note_success(deployment(server.base))
        assert not recorder._tasks
        await recorder.close()


async def test_a_server_that_is_not_there_yet_is_asked_again(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "FIRST_WAIT", 0.01)
    port = free_port()
    recorder = Recorder()
    recorder.start(upstream, [deployment(f"http://127.0.0.1:{port}/v1")], True)
    await asyncio.sleep(0.05)
    async with ScriptedServer(serving(VLLM), port=port) as server:
        await recorder.settle_tasks()
        assert recorder.words[server.base].program == "vLLM"
    await recorder.close()


async def test_after_a_failed_connection_it_is_asked_anew(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come back as another program."""
    async with ScriptedServer(serving(VLLM)) as server:
        recorder = Recorder()
        recorder.start(upstream, [deployment(server.base)], True)
        await recorder.settle_tasks()
        recorder.note_failed_connection(deployment(server.base))
        server.scripts = (serving({"data": [{"id": "tiny", "owned_by": "llamacpp"}]}),)
        recorder.note_success(deployment(server.base))
        await recorder.settle_tasks()
        assert [words[server.base].program for words in recorder.changes] == ["vLLM", "llama.cpp"]
        await recorder.close()


async def test_one_that_stays_away_is_given_up_until_a_request_succeeds(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(discovery, "TRIES", 2)
    away = deployment(f"http://127.0.0.1:{free_port()}/v1")
    recorder = Recorder()
    recorder.start(upstream, [away], True)
    await recorder.settle_tasks()
    assert not recorder.words and list(recorder._stale) == [away.base]
    await recorder.close()


@pytest.mark.parametrize(
    "body", [b"<html>", b"[" * 100_000, b'{"data": [' + b"0," * 300_000 + b"0]}", b"x" * (3 * 1024 * 1024)]
)
async def test_a_strange_answer_is_no_failure(upstream: Upstream, body: bytes) -> None:
    async def script(c: Peer) -> None:
        c.head(200, {"content-type": "application/json"}, length=len(body))
        c.write(body)

    async with ScriptedServer(script) as server:
        recorder = Recorder()
        recorder.start(upstream, [deployment(server.base)], True)
        await recorder.settle_tasks()
        assert recorder.words[server.base] == ServerWord()
        await recorder.close()


async def test_an_answer_that_never_ends_is_given_up_and_closing_stops_it(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(discovery, "TRIES", 1)

    async def silent(c: Peer) -> None:
        await c.wait_disconnect()

    async with ScriptedServer(silent) as server:
        recorder = Recorder()
        recorder.start(upstream, [deployment(server.base)], True)
        await recorder.settle_tasks()
        assert not recorder.words
        monkeypatch.setattr(discovery, "ANSWER_SECONDS", 30.0)
        recorder.start(upstream, [deployment(server.base)], True)
        await settle(lambda: len(server.requests) == 2)
        await recorder.close()
        assert not recorder._tasks


@pytest.mark.parametrize(
    ("base", "private"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://192.168.0.5:1234/v1", True),
        ("http://172.16.0.1/v1", True),
        ("http://169.254.1.1/v1", True),
        ("http://vllm:8000/v1", True),
        ("http://gpu.lan:8000/v1", True),
        ("http://host.docker.internal:8000/v1", True),
        ("https://api.example.com/v1", False),
        ("http://8.8.8.8/v1", False),
        ("http://[::ffff:8.8.8.8", False),
        ("", False),
    ],
)
def test_private_addresses(base: str, private: bool) -> None:
    assert is_private(base) is private


def test_the_number_of_servers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MAX_SERVERS", 1)
    recorder = Recorder()
    recorder.reports["http://a/v1"] = ServerReport("http://a/v1", ServerWord(), "2026-11-01")
    recorder._ask(deployment("http://b/v1"), 1)
    assert not recorder._tasks


# -- the whole proxy ---------------------------------------------------------------------------------------------------------

NAMED_TOOL = {
    "tools": [
        {"name": "look", "input_schema": {"type": "object"}},
        {"name": "other", "input_schema": {"type": "object"}},
    ],
    "tool_choice": {"type": "tool", "name": "look"},
}


def of_llama_cpp(c: Peer) -> bool:
    """Answer as llama.cpp does; False if the request is another one."""
    if c.request.target == "/v1/models":
        c.reply({"data": [{"id": "tiny", "owned_by": "llamacpp"}, {"id": "bge-m3"}]}, headers={"server": "llama.cpp"})
    elif c.request.target == "/props":
        c.reply({"default_generation_settings": {"n_ctx": 4096}, "total_slots": 1})
    elif c.request.method == "GET":
        c.reply({"error": {"message": "File Not Found"}}, 404)
    else:
        return False
    return True


async def llama_cpp(c: Peer) -> None:
    if not of_llama_cpp(c):
        c.reply(completion("Hello"))


def own_server(base: str, **more: Any) -> Config:
    return config(deployments=(replace(deployment(base), name="local", model="tiny", **more),))


async def test_a_deployment_behind_openai_is_served_as_its_server_says() -> None:
    async with ScriptedServer(llama_cpp) as server, run_proxy(own_server(server.base), discover=True) as proxy:
        await settle(lambda: proxy.services.discovery.words)
        answer = await proxy.ask({**message(stream=False), "model": "local", **NAMED_TOOL})
        assert answer.status == 200
        body = server.requests[-1].json
        assert body["tool_choice"] == "required" and [tool["function"]["name"] for tool in body["tools"]] == ["look"]
        health = (await proxy.ask(None, "/health", "GET")).json["deployments"][0]
        assert health["server"]["program"] == "llama.cpp" and health["context"] == 4096
        reason = health["quirks"]["tool_choice_named"]
        assert reason["source"] == "server" and "llama.cpp" in reason["reason"] and reason["date"]
        models = (await proxy.ask(None, "/v1/models", "GET")).json["data"]
        assert models[0]["max_input_tokens"] == 4096


async def test_a_request_does_not_wait_for_a_server_that_does_not_say_what_it_is() -> None:
    async def silent(c: Peer) -> None:
        if c.request.method == "GET":
            await c.wait_disconnect()
        else:
            c.reply(completion("Hello"))

    async with ScriptedServer(silent) as server, run_proxy(own_server(server.base), discover=True) as proxy:
        assert (await proxy.ask({**message(stream=False), "model": "local"})).status == 200


async def test_claude_goes_to_a_chat_model_that_the_server_lists() -> None:
    settings = config(deployments=(replace(deployment("http://127.0.0.1:1/v1"), name="openai/*", model="*"),))
    async with ScriptedServer(llama_cpp) as server:
        settings = replace(settings, deployments=tuple(replace(one, base=server.base) for one in settings.deployments))
        async with run_proxy(settings, discover=True) as proxy:
            await settle(lambda: proxy.services.discovery.words)
            answer = await proxy.ask({**message(stream=False), "model": "claude-opus-5-5"})
            assert answer.status == 200 and server.requests[-1].json["model"] == "tiny"
            names = [entry["id"] for entry in (await proxy.ask(None, "/v1/models", "GET")).json["data"]]
            assert names[:2] == ["openai/tiny", "openai/bge-m3"]


async def test_where_nothing_is_listed_the_name_goes_as_it_is() -> None:
    settings = config(deployments=(replace(deployment("http://127.0.0.1:1/v1"), name="openai/*", model="*"),))
    async with ScriptedServer(answering("Hi")) as server:
        settings = replace(settings, deployments=tuple(replace(one, base=server.base) for one in settings.deployments))
        async with run_proxy(settings) as proxy:
            answer = await proxy.ask({**message(stream=False), "model": "claude-opus-5-5"})
            assert answer.status == 200 and server.requests[-1].json["model"] == "claude-opus-5-5"


async def test_what_a_server_said_outlives_a_reload_and_a_restart_of_the_server_is_seen() -> None:
    port = free_port()
    settings = own_server(f"http://127.0.0.1:{port}/v1")
    async with ScriptedServer(llama_cpp, port=port), run_proxy(settings, discover=True) as proxy:
        await settle(lambda: proxy.services.discovery.words)
        proxy.services.reload(replace(settings, settings=replace(settings.settings, discover=True)))
        assert proxy.services.config.resolve("local")[0].quirks.tool_choice_named == "only"


# -- what replies show -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_forced_tool_that_is_ignored_is_forced_in_another_way_next_time(stream: bool) -> None:
    """As llama.cpp behind a proxy that hides what it is: the object form is ignored, `required` is obeyed."""

    async def script(c: Peer) -> None:
        if c.request.json.get("stream"):
            await answering("no tool")(c)
        else:
            c.reply(completion("no tool"))

    async with ScriptedServer(script) as server, run_proxy(own_server(server.base)) as proxy:
        for _ in range(3):
            assert (await proxy.ask({**message(stream=stream), "model": "local", **NAMED_TOOL})).status == 200
        choices = [request.json["tool_choice"] for request in server.requests]
        assert choices == [{"type": "function", "function": {"name": "look"}}, "required", "required"]
        reason = (await proxy.ask(None, "/health", "GET")).json["deployments"][0]["quirks"]["tool_choice_named"]
        assert reason["source"] == "reply" and "forced" in reason["reason"]
        assert any("forced" in str(line.get("notes")) for line in proxy.lines)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_goes_back_in_the_field_in_which_it_came(stream: bool, field: str) -> None:
    """Also if no thinking is asked for: tool loops of interleaved-thinking models keep their thoughts."""

    async def script(c: Peer) -> None:
        if c.request.json.get("stream"):
            c.head(200, SSE)
            c.events(chunk({field: "I must "}), chunk({field: "think."}), *text("Hello"))
            c.end()
        else:
            c.reply(completion("Hello", **{field: "I must think."}))

    quirks = Quirks(reasoning_history="reply")
    async with ScriptedServer(script) as server, run_proxy(own_server(server.base, quirks=quirks)) as proxy:
        body = {**message(stream=stream), "model": "local"}
        answer = await proxy.ask(body)
        content = streams.accumulate(streams.events(answer.body))["content"] if stream else answer.json["content"]
        turns = [*body["messages"], {"role": "assistant", "content": content}, {"role": "user", "content": "Go on"}]
        assert (await proxy.ask({**body, "messages": turns})).status == 200
        assert server.requests[-1].json["messages"][1] == {
            "role": "assistant",
            "content": "Hello",
            field: "I must think.",
        }
