"""Keys of clients on a running proxy: every route, both APIs, streams and whole answers."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2py.config import Config
from a2py.messages.rules import Condition, Rule
from a2py.proxy.keys import LOOK_SECONDS
from a2py.proxy.routes import DRAIN_PATH, OPENAI_ROUTES, ROUTES
from tests.proxied import Running, config, deployment, message, run_proxy
from tests.proxy.test_keys import write
from tests.scripted import Answer, ScriptedServer, answering, refusing

CHAT = "/v1/chat/completions"


def key(name: str) -> dict[str, str]:
    return {"x-api-key": f"sk-{name}"}


def keyed_config(path: Path, *bases: str, **more: Any) -> Config:
    """A configuration whose keys are those of `path`."""
    return replace(config(*bases, **more), keys_path=str(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def words(answer: Answer) -> str:
    return str(json.loads(answer.body)["error"]["message"])


async def test_every_route_asks_for_a_key(path: Path) -> None:
    """Whatever is not open is closed to strangers, and what concerns all keys to those that are no admin's."""
    write(path, alice={}, boss={"admin": "true"}, gone={"revoked": "true"})
    private_routes = {p: route for p, route in {**ROUTES, **OPENAI_ROUTES}.items() if not route.open}
    assert {"/v1/messages", "/metrics", "/usage", CHAT} <= private_routes.keys() and len(private_routes) > 30
    async with run_proxy(keyed_config(path)) as proxy:
        for route_path, route in {**private_routes, DRAIN_PATH: ROUTES["/metrics"]}.items():
            method = route.methods[0]
            for stranger in ({}, {"x-api-key": "sk-gone"}, {"x-api-key": "sk-nobody"}):
                answer = await proxy.ask(None, route_path, method, headers=stranger)
                assert answer.status == 401, (route_path, stranger)
            for name in ("alice", "boss"):
                status = (await proxy.ask(None, route_path, method, headers=key(name))).status
                assert status != 401, route_path
                assert (status == 403) is (route.admin and name == "alice"), route_path
        assert {p for p, route in private_routes.items() if route.admin} == {"/metrics"}
        assert (await proxy.ask(None, "/health/liveliness", "GET")).status == 200


async def test_health_tells_details_to_admins_only(path: Path) -> None:
    write(path, alice={}, boss={"admin": "true"})
    async with run_proxy(keyed_config(path, master_key="sk-master")) as proxy:
        for headers, has_details in (({}, False), (key("alice"), False), (key("boss"), True), (key("master"), True)):
            answer = await proxy.ask(None, "/health", "GET", headers=headers)
            assert answer.status == 200 and ("deployments" in json.loads(answer.body)) is has_details
        assert (await proxy.ask(None, "/health", "GET", headers=key("nobody"))).status == 401


@pytest.mark.parametrize("stream", [True, False])
async def test_a_key_s_name_is_in_the_metrics(path: Path, stream: bool) -> None:
    write(path, alice={}, boss={"admin": "true"})
    async with ScriptedServer(answering("Hi"), answering("Hi")) as upstream:  # noqa: SIM117
        async with run_proxy(keyed_config(path, upstream.base)) as proxy:
            assert (await proxy.ask(message(stream=stream), headers=key("alice"))).status == 200
            assert (await proxy.ask(message(stream=stream), CHAT, headers=key("alice"))).status == 200
            metrics = (await proxy.ask(None, "/metrics", "GET", headers=key("boss"))).body.decode()
    assert 'a2py_key_requests_total{key="alice",status="200"} 2' in metrics
    assert "sk-alice" not in proxy.log + metrics


@asynccontextmanager
async def run_limited(
    path: Path, script: Any, models: str = "[test-model]", **more: Any
) -> AsyncIterator[tuple[Running, ScriptedServer]]:
    """A proxy with two models at one upstream, of which alice may ask for `models`."""
    write(path, alice={"models": models}, stranger={"models": "[nothing]"})
    async with ScriptedServer(*[script] * 4) as upstream:
        other = deployment(upstream.base, "other", id="other", model="up-other")
        settings = replace(keyed_config(path, upstream.base, deployments=(other,), **more), default_name="test-model")
        async with run_proxy(settings) as proxy:
            yield proxy, upstream


@pytest.mark.parametrize(
    "where", ["/v1/messages", "/v1/messages/count_tokens", CHAT, "/v1/responses", "/v1/embeddings"]
)
async def test_a_model_outside_the_list_is_403_everywhere(path: Path, where: str) -> None:
    async with run_limited(path, answering("Hi")) as (proxy, upstream):
        answer = await proxy.ask({**message(stream=False), "model": "other", "input": "x"}, where, headers=key("alice"))
        assert answer.status == 403
        error = json.loads(answer.body)["error"]
        assert "The key alice may not ask for the model 'other': its models are test-model. " in error["message"]
        assert "ask the owner of this proxy to allow it" in error["message"]
        if where.startswith("/v1/messages"):
            assert error["type"] == "permission_error"
        else:
            assert error["code"] == "permission_denied"
        assert answer.headers["x-should-retry"] == "false"
        assert not upstream.requests


@pytest.mark.parametrize("limits", [{}, {"rpm": 9}, {"models": "[nobody]"}])
async def test_a_model_that_nobody_has_has_openai_s_code_for_every_key(path: Path, limits: dict[str, Any]) -> None:
    write(path, alice=limits)
    async with run_proxy(keyed_config(path)) as proxy:
        for where, method in ((CHAT, "POST"), ("/v1/responses", "POST"), ("/v1/models/nobody", "GET")):
            body = {**message(stream=False), "model": "nobody", "input": "x"} if method == "POST" else None
            answer = await proxy.ask(body, where, method, headers=key("alice"))
            error = json.loads(answer.body)["error"]
            assert answer.status == 404 and "nobody is not served here" in error["message"]
            assert (error["code"], error["param"]) == ("model_not_found", "model")


async def test_a_key_sees_its_models_only(path: Path) -> None:
    async with run_limited(path, answering("Hi")) as (proxy, _):

        async def get(where: str) -> Answer:
            return await proxy.ask(None, where, "GET", headers=key("alice"))

        for where in ("/v1/models", "/models"):
            ids = [row["id"] for row in json.loads((await get(where)).body)["data"]]
            assert ids == ["test-model", "anthropic/test-model"]
        for where in ("/v1/model/info", "/model/info"):
            assert [row["model_name"] for row in json.loads((await get(where)).body)["data"]] == ["test-model"]
        assert (await get("/v1/models/test-model")).status == 200
        for model in ("other", "nobody"):
            answer = await get(f"/v1/models/{model}")
            assert answer.status == 403 and "its models are test-model" in words(answer)


@pytest.mark.parametrize("where", ["/v1/messages", CHAT])
@pytest.mark.parametrize(("models", "requests"), [("[test-model]", 1), ('[test-model, "o*"]', 2)])
async def test_no_fallback_leads_out_of_the_list(path: Path, where: str, models: str, requests: int) -> None:
    fallbacks = {"test-model": ("other",)}
    async with run_limited(path, refusing(500, "broken"), models, fallbacks=fallbacks) as (proxy, upstream):
        assert (await proxy.ask(message(stream=False), where, headers=key("alice"))).status == 500
        assert len(upstream.requests) == requests


@pytest.mark.parametrize(
    ("models", "model", "route"),
    [
        ("[other]", "up-other", 'model="other"'),
        ("[test-model]", "upstream-model", "but the key may not ask for the rule's model"),
        ("[more]", "", ""),
    ],
)
async def test_no_rule_leads_out_of_the_list(path: Path, models: str, model: str, route: str) -> None:
    """A rule may lead into the list. One that leads out of it is not applied."""
    rule = Rule("other", ((Condition("subagent", True),),), "subagent")
    async with run_limited(path, answering("Hi"), models, routes=(rule,)) as (proxy, upstream):
        headers = {**key("alice"), "x-claude-code-agent-id": "a1"}
        for where in ("/v1/messages", "/v1/messages/count_tokens"):
            for name in ("test-model", "nobody"):  # the header does not say which of them the configuration has
                answer = await proxy.ask({**message(stream=False), "model": name}, where, headers=key("stranger"))
                assert answer.status == 403 and "x-a2py-route" not in answer.headers
            answer = await proxy.ask({**message(stream=False), "model": "claude-x"}, where, headers=headers)
            assert answer.status == (200 if model else 403)
            assert route in answer.headers.get("x-a2py-route", "")
        assert [request.json["model"] for request in upstream.requests] == ([model] if model else [])


async def test_a_changed_file_holds_at_the_next_request(path: Path) -> None:
    write(path, alice={})
    times = [1000.0]
    async with ScriptedServer(*[answering("Hi")] * 3) as upstream:  # noqa: SIM117
        async with run_proxy(keyed_config(path, upstream.base), clock=lambda: times[0]) as proxy:
            assert (await proxy.ask(message(), headers=key("alice"))).status == 200
            write(path, alice={"revoked": "true"}, bob={})
            times[0] += LOOK_SECONDS
            answer = await proxy.ask(message(), headers=key("alice"))
            assert answer.status == 401 and "The key alice was revoked" in words(answer)
            assert (await proxy.ask(message(), headers=key("bob"))).status == 200
            assert [line["event"] for line in proxy.lines if "keys" in line["event"]] == ["keys reloaded"]


async def test_a_reload_reads_the_keys_at_once(path: Path) -> None:
    write(path, alice={})
    settings = keyed_config(path)
    async with run_proxy(settings, clock=lambda: 1000.0) as proxy:
        write(path, bob={})
        assert proxy.server.reload(lambda: settings)
        assert (await proxy.ask(None, "/v1/models", "GET", headers=key("alice"))).status == 401
        assert (await proxy.ask(None, "/v1/models", "GET", headers=key("bob"))).status == 200


async def test_without_a_file_no_key_is_needed(path: Path) -> None:
    async with run_proxy(keyed_config(path)) as proxy:
        assert (await proxy.ask(None, "/v1/models", "GET")).status == 200
        assert not proxy.services.needs_key
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize(
    ("method", "where", "command"),
    [
        ("POST", "/key/generate", "a2py keys"),
        ("GET", "/key/info?key=sk-1", "a2py keys"),
        ("POST", "/key/delete", "a2py keys"),
        ("GET", "/user/info", "a2py keys"),
        ("POST", "/team/new", "a2py keys"),
        ("GET", "/spend/logs", "a2py usage"),
        ("GET", "/global/spend", "a2py usage"),
        ("GET", "/global/spend/keys?limit=5", "a2py usage"),
    ],
)
async def test_litellms_paths_name_the_command(path: Path, method: str, where: str, command: str) -> None:
    async with run_proxy(keyed_config(path)) as proxy:
        answer = await proxy.ask({} if method == "POST" else None, where, method)
    assert answer.status == 404 and f"`{command}" in words(answer) and where.partition("?")[0] in words(answer)
    assert "sk-1" not in words(answer)


async def test_usage_shows_a_key_its_own_answers(path: Path) -> None:
    write(path, alice={}, bob={}, boss={"admin": "true"})
    ledger = str(path.with_name("usage.db"))
    async with ScriptedServer(*[answering("Hi")] * 3) as upstream:  # noqa: SIM117
        async with run_proxy(keyed_config(path, upstream.base, ledger=ledger)) as proxy:
            for name in ("alice", "bob", "bob"):
                assert (await proxy.ask(message(), headers=key(name))).status == 200
            for name, rows in (("alice", {"alice": 1}), ("bob", {"bob": 2}), ("boss", {"alice": 1, "bob": 2})):
                answer = await proxy.ask(None, "/usage?by=key", "GET", headers=key(name))
                assert {row["key"]: row["requests"] for row in json.loads(answer.body)["groups"]} == rows
