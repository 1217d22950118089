"""Planted secrets, and everything that a2py says: answers, log, health, metrics, captures, the command line, crashes,
repr. None may show.

Knows: where secrets go in. Must not know: how they are kept out.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from a2py.cli.clientenv import Target
from a2py.config import load
from a2py.deployment import Deployment
from a2py.messages.request import parse
from a2py.messages.types import Call
from a2py.proxy import attempt
from a2py.wires import wire
from tests import process, proxied
from tests.commands import a2py
from tests.process import free_port
from tests.scripted import JSON_TYPE, SSE, Peer, Raw, ScriptedServer, answering, chunk, event

#: Where it is planted → what. No prefix that a pattern knows, no digits that make a key of it: only knowing them keeps
#: them out.
MASTER, UPSTREAM, HEADER = "planted-master-hawk", "planted-upstream-crow", "planted-header-wren"
QUERY, CLIENT, BEARER, COOKIE = (
    "planted-query-lark",
    "planted-client-swan",
    "planted-bearer-dove",
    "planted-cookie-ibis",
)
GATE, OTHER = "planted-gate-kite", "planted-other-rook"
USERINFO, BODY, CUSTOM = "planted-userinfo-tern", "planted-body-dipper", "planted-custom-smew"
SECRETS = (MASTER, UPSTREAM, HEADER, QUERY, CLIENT, BEARER, COOKIE, GATE, OTHER, USERINFO, BODY, CUSTOM)
#: What the client sends besides: none of it is a key of this proxy.
HEADERS = (("cookie", f"session={COOKIE}"), ("x-gateway-api-key", CUSTOM), ("anthropic-version", "2023-06-01"))


def check_hidden(where: str, text: str | bytes, *but: str) -> None:
    """Raise AssertionError if a secret is in `text`."""
    data = text.encode() if isinstance(text, str) else text
    leaks = [secret for secret in SECRETS if secret.encode() in data and secret not in but]
    at = data.find(leaks[0].encode()) if leaks else 0
    assert not leaks, f"{where} shows {leaks}: …{data[max(0, at - 200) : at + 60]!r}"


# -- what an upstream echoes -------------------------------------------------------------------------------------------


async def echo(c: Peer) -> None:
    """Everything that came in, in an error: as JSON, as text, in headers, in a redirect, in the stream; by the number
    in the request."""
    words = c.request.raw_head.decode("latin-1").replace("\r\n", " | ")
    words += " ".join(word for word in (BODY, USERINFO) if word.encode() in c.request.body)
    how = next((word for word in HOWS if f"<{word}>" in c.request.body.decode()), "json")
    error = {"error": {"message": words, "type": UPSTREAM, "code": UPSTREAM, "param": UPSTREAM}}
    status = {"401": 401, "429": 429, "500": 500}.get(how, 400)
    if how == "text":
        c.head(500, {"content-type": "text/plain"})
        c.chunk(words.encode())
        c.end()
    elif how == "headers":
        odd = {
            "retry-after": UPSTREAM,
            "x-request-id": UPSTREAM,
            "www-authenticate": UPSTREAM,
            "x-should-retry": UPSTREAM,
        }
        c.reply(error, 503, {**odd, "set-cookie": UPSTREAM})
    elif how == "redirect":
        c.reply({}, 307, {"location": f"https://elsewhere.example/?key={UPSTREAM}"})
    elif how == "stream":
        c.head(200, SSE)
        c.events(error)
        c.end()
    elif how == "late":
        c.head(200, SSE)
        c.events(chunk({"role": "assistant", "content": "Hel"}), error)
        c.end()
    elif how == "broken":
        c.head(200, JSON_TYPE)
        c.chunk(words.encode())
        c.end()
    elif how == "finish":
        c.head(200, SSE)
        c.events(chunk({"role": "assistant", "content": "Hel"}), chunk({}, UPSTREAM), event("data: {" + words + "\n\n"))
        c.end()
    else:
        c.reply(error, status)


HOWS = ("json", "401", "429", "500", "text", "headers", "redirect", "stream", "late", "broken", "finish")


def file(folder: Path, base: str, gate: int) -> list[dict[str, Any]]:
    """Deployments on each wire, one behind the proxy of the environment, one that does not resolve."""
    params: dict[str, Any] = {"api_key": UPSTREAM, "extra_headers": {"x-gateway-token": HEADER}}
    rows: dict[str, dict[str, Any]] = {
        "chat": {"model": "llamacpp/tiny", "api_base": base},
        "native": {"model": "anthropic/claude-x", "api_base": base.removesuffix("/v1")},
        "responses": {"model": "openai/responses/gpt-x", "api_base": base},
        "query": {"model": "llamacpp/tiny", "api_base": f"{base}?key={QUERY}"},
        "gate": {"model": "llamacpp/tiny", "api_base": "https://models.test/v1"},
        "dns": {"model": "llamacpp/tiny", "api_base": "http://no-such-host.invalid/v1"},
        "azure": {"model": "azure/gpt-x", "api_base": base.removesuffix("/v1"), "api_version": "2026-01-01"},
        "unknown": {"model": "nosuchprovider/x"},
        "userinfo": {"model": "llamacpp/tiny", "api_base": base.replace("://", f"://user:{USERINFO}@")},
        "body": {"model": "llamacpp/tiny", "api_base": base, "extra_body": {"gateway": {"access_token": BODY}, "n": 1}},
    }
    return [{"model_name": name, "litellm_params": {**params, **row}} for name, row in rows.items()]


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("form", ["text", "json"])
async def test_nothing_that_a_real_process_says(tmp_path: Path, form: str) -> None:
    captures = tmp_path / "captures"
    async with ScriptedServer(echo) as upstream, ScriptedServer(refuse_tunnel) as gate:
        models = file(tmp_path, upstream.base, gate.port)
        env = {"HTTPS_PROXY": f"http://user:{GATE}@127.0.0.1:{gate.port}", "NO_PROXY": "", "DEEPSEEK_API_KEY": OTHER}
        flags = ("--capture", str(captures), "--debug", "--log-format", form)
        quiet = {"num_retries": 0, "disable_cooldowns": True, "default_fallbacks": ["chat"]}
        with process.running(tmp_path, models, key=MASTER, flags=flags, env=env, router_settings=quiet) as proxy:
            port = int(proxy.base.rpartition(":")[2])
            count = 0
            for row in models if form == "text" else models[:2]:
                for stream in (True, False):
                    for how in HOWS:
                        body = {
                            "model": row["model_name"],
                            "max_tokens": 5,
                            "messages": [{"role": "user", "content": f"<{how}>"}],
                            "stream": stream,
                        }
                        async with Raw(port) as client:
                            client.ask(
                                "POST",
                                "/v1/messages",
                                body,
                                (("x-api-key", MASTER), ("authorization", f"Bearer {BEARER}"), *HEADERS),
                            )
                            answer = await client.answer()
                        check_hidden(
                            f"the answer to {row['model_name']}/{how}", answer.body + repr(answer.headers).encode()
                        )
                        count += 1
            for path in ("/health", "/metrics", "/v1/models", "/v1/model/info", "/health/readiness", "/"):
                async with Raw(port) as client:
                    client.ask("GET", path, None, (("x-api-key", MASTER), *HEADERS))
                    check_hidden(path, (await client.answer()).body)
            for headers in (
                (("x-api-key", CLIENT),),
                (("authorization", f"Bearer {BEARER}"),),
                (("authorization", f"Basic {BEARER}"),),
                (),
            ):
                async with Raw(port) as client:
                    client.ask("POST", "/v1/messages", {"model": "chat"}, (*headers, *HEADERS))
                    answer = await client.answer()
                assert answer.status == 401
                check_hidden("a refusal", answer.body + repr(answer.headers).encode())
            for name in ("chat", "native"):
                async with Raw(port) as client:
                    body = {"model": name, "messages": [{"role": "user", "content": "json"}]}
                    client.ask("POST", "/v1/messages/count_tokens", body, (("x-api-key", MASTER), *HEADERS))
                    check_hidden("count_tokens", (await client.answer()).body)
            config = tmp_path / "a2py.yaml"
            whole = config.read_text()
            config.write_text(f"general_settings:\n  master_key: {MASTER}\nmodel_list: [{{api_key: {UPSTREAM}\n")
            os.kill(proxy.pid, signal.SIGHUP)
            await wait_for_log(proxy.log, "reload refused")
            config.write_text(whole)
            os.kill(proxy.pid, signal.SIGHUP)
            await wait_for_log(proxy.log, "reloaded")
        assert upstream.requests and any(
            UPSTREAM in repr(a.headers) and HEADER in repr(a.headers) for a in upstream.requests
        ), "nothing was planted"
        for a in (*upstream.requests, *gate.requests):
            check_hidden("what went upstream", a.raw_head + a.body, UPSTREAM, HEADER, QUERY, BODY)
        check_hidden("the log", proxy.log.read_bytes())
        files = list(captures.rglob("*")) if captures.exists() else []
        for path_ in files:
            check_hidden(f"the capture {path_.name}", path_.read_bytes())
            assert not path_.stat().st_mode & 0o077, "others can read a capture"
        assert count > 40


async def refuse_tunnel(c: Peer) -> None:
    """A proxy that refuses CONNECT, and repeats everything it got."""
    c.keep = False
    head = c.request.raw_head
    c.write(
        b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: %d\r\nx-echo: %b\r\n\r\n%b"
        % (len(head), GATE.encode(), head)
    )


async def wait_for_log(log: Path, word: str) -> None:
    end = time.monotonic() + 10
    while word not in (text := await asyncio.to_thread(log.read_text)):
        assert time.monotonic() < end, text[-1000:]
        await asyncio.sleep(0.02)


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ("config", "show"),
        ("config", "validate"),
        ("check", "chat"),
        ("models",),
        ("--health",),
        ("--test",),
        ("config", "show", "--config", "broken.yaml"),
    ],
    ids=" ".join,
)
async def test_nothing_that_a_command_prints(tmp_path: Path, args: tuple[str, ...]) -> None:
    async with ScriptedServer(echo) as upstream:
        models = file(tmp_path, upstream.base, free_port())[:3]
        settings = {
            "model_list": models,
            "general_settings": {"master_key": MASTER},
            "litellm_settings": {"nonsense": OTHER},
        }
        (tmp_path / "a2py.yaml").write_text(json.dumps(settings))
        (tmp_path / "broken.yaml").write_text(
            f"general_settings: {{master_key: [{MASTER}]}}\nmodel_list: [{{litellm_params: {{api_key: {{a: {UPSTREAM}}}}}}}]\n"
        )
        result = await asyncio.to_thread(a2py, *args, cwd=tmp_path, env={"DEEPSEEK_API_KEY": OTHER})
    check_hidden(" ".join(args), result.stdout + result.stderr)
    assert result.stdout or result.stderr


# -- crashes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("place", ["send", "wire_of", "read"])
async def test_a_crash_tells_its_place_alone(monkeypatch: pytest.MonkeyPatch, place: str, stream: bool) -> None:
    """An unexpected exception, with the key and the content in its text."""

    def crash(*args: object, **more: object) -> Any:
        raise LookupError(f"{UPSTREAM} {[repr(arg) for arg in args]}")

    script = echo if place == "read" else answering("Hi")
    async with ScriptedServer(script) as upstream:
        to = proxied.deployment(upstream.base, key=UPSTREAM, headers={"x-gateway-token": HEADER})
        async with proxied.run_proxy(proxied.config(deployments=(to,), master_key=MASTER)) as proxy:
            if place == "send":
                monkeypatch.setattr(proxy.services.upstream, "send", crash)
            else:
                monkeypatch.setattr(attempt, place, crash)
            answer = await proxy.ask(
                proxied.message("private words", stream=stream), headers={"x-api-key": MASTER, **dict(HEADERS)}
            )
            log = proxy.log
            proxy._out.truncate(0)  # this test causes a crash
            proxy._out.seek(0)
    assert '"crash"' in log and "LookupError" in log
    for where, text in (("the log", log), ("the answer", answer.body.decode())):
        check_hidden(where, text)
        assert "private words" not in text


# -- repr --------------------------------------------------------------------------------------------------------------


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    """Whatever ends up in a message, a debugger or an assertion."""
    path = tmp_path / "a2py.yaml"
    settings = {
        "model_list": file(tmp_path, "http://127.0.0.1:1/v1", 1),
        "general_settings": {"master_key": MASTER},
        "environment_variables": {"OTHER_API_KEY": OTHER},
    }
    path.write_text(json.dumps(settings))
    config = load(str(path), {}, str(tmp_path))
    things = [config, config.settings, *config.deployments, Target("http://x", MASTER)]
    body = orjson.dumps({"model": "chat", "max_tokens": 5, "messages": [{"role": "user", "content": "private words"}]})
    call = Call(parse(body), "msg_1", 0.0)
    things += [wire(to.wire).prepare(call, to, True) for to in config.deployments if not to.problem]
    things += [call, call.request]
    assert len(things) > 12 and UPSTREAM in config.deployments[0].key and config.master_key == MASTER
    for thing in things:
        own = not isinstance(
            thing, (Call, type(call.request))
        )  # their content is what they are; it never enters a message
        for form in (repr(thing), str(thing), f"{thing!r:.9999}"):
            check_hidden(type(thing).__name__, form)
            assert not own or "private words" not in form
    names = [field.name for field in fields(Deployment) if not field.repr]
    assert is_dataclass(Deployment) and {"key", "headers", "query"} <= set(names)


def test_what_of_a_deployment_is_secret() -> None:
    """The key, and under a telling name: headers, query, and the body at any depth. No numbers, no limits, nothing as
    short as a word."""
    to = proxied.deployment(
        "http://x/v1",
        key="the-key",
        headers={"authorization": "Bearer by-header", "x-title": "a title"},
        query="api-version=2026-01-01&sig_key=by-query",
        extra_body={
            "gateway": {"token": "by-body", "name": "a name", "password": 12345},
            "tokens": "no secret",
            "max_tokens": "4096",
            "keys": ["one-of-two", {"x": "not named"}, None],
            "auth": "no",
        },
    )
    assert set(to.secrets) == {"the-key", "Bearer by-header", "by-header", "by-query", "by-body", "one-of-two"}
