"""The doctor: each probe on an upstream that is right and on one with its defect; what is found is written into the
file, and holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from a2py.cli.check.bench import Answer, Bench
from a2py.cli.check.finding import FAIL, FOUND, NO, OK, SKIPPED, Finding, Progress
from a2py.cli.check.probes import PROBES, probe
from a2py.config import load, single
from a2py.demo import Demo
from a2py.demo.protocol import RequestError
from a2py.deployment import Deployment
from a2py.quirks import override
from a2py.upstream import Upstream
from tests import llamacpp as llama
from tests.commands import a2py, serving
from tests.process import free_port
from tests.scripted import Peer, ScriptedServer

Body = dict[str, Any]
#: What the demo takes thinking by.
DEMO = {"reasoning": "thinking_type"}


class Broken(Demo):
    """The demo with a defect: `refuse` raises, `change` edits the request, `stream` replaces the streamed answer,
    `models` the list."""

    def __init__(
        self,
        refuse: Callable[[Body], None] = lambda body: None,
        change: Callable[[Body], None] = lambda body: None,
        rewrite: Callable[[bytes], bytes] | None = None,
        models: Any = None,
        **more: Any,
    ) -> None:
        super().__init__(pace=0, **more)
        self.refuse, self.change, self.rewrite, self.models = refuse, change, rewrite, models
        self.bodies: list[Body] = []

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.bodies.append(json.loads(json.dumps(body)))
        self.refuse(body)
        self.change(body)
        request._read_bytes = json.dumps(body).encode()
        if self.rewrite is None:
            return await super()._complete(request)
        if self.rewrite is at_once:
            await asyncio.sleep(0.6)  # slow enough to tell that nothing came before the end
        is_stream, body["stream"] = body.get("stream"), False
        body.pop("stream_options", None)
        request._read_bytes = json.dumps(body).encode()
        whole = await super()._complete(request)
        assert isinstance(whole, web.Response) and isinstance(whole.body, bytes)
        data = self.rewrite(whole.body)
        return web.Response(
            body=data,
            content_type="text/event-stream" if is_stream and data.startswith(b"data:") else "application/json",
        )

    async def _models(self, request: web.Request) -> web.Response:
        if self.models is None:
            return await super()._models(request)
        return web.json_response(self.models, status=200 if isinstance(self.models, dict) else self.models)


def deployment(base: str, **quirks: Any) -> Deployment:
    dep = single(model="openai/demo", alias="m", api_base=base, api_key="sk-x").deployments[0]
    return replace(dep, quirks=override(dep.quirks, {**DEMO, **quirks}))


async def findings(upstream: Demo, *only: str, dep: Deployment | None = None, **quirks: Any) -> tuple[Progress, Bench]:
    async with upstream:
        sender = Upstream()
        bench = Bench(dep or deployment(upstream.base, **quirks), sender, 20)
        try:
            return await probe(bench, only), bench
        finally:
            await sender.close()


async def test_an_upstream_without_defects() -> None:
    progress, bench = await findings(Broken())
    assert {name: finding.state for name, finding in progress.findings.items()} == dict.fromkeys(PROBES, OK)
    assert progress.quirks == {} and 10 <= bench.requests <= 25 and bench.tokens > 500


def refusing(where: Callable[[Body], bool], param: str, message: str = "", status: int = 400) -> Callable[[Body], None]:
    def refuse(body: Body) -> None:
        if where(body):
            raise RequestError(
                message or f"Unsupported parameter: '{param}' is not supported with this model.",
                param,
                "unsupported_parameter",
                status,
            )

    return refuse


def has_image(body: Body) -> bool:
    return any(
        isinstance(m.get("content"), list) and any(p["type"] == "image_url" for p in m["content"])
        for m in body["messages"]
    )


def forces(body: Body) -> bool:
    return body.get("tool_choice", "auto") != "auto" or "response_format" in body


def always_calls(body: Body) -> None:
    """The model calls the first tool, forced or not."""
    if body.get("tools"):
        body["tool_choice"] = "required"


def always_calls_the_time(body: Body) -> None:
    """The model calls the tool that another probe forces, and `tool_choice` is ignored."""
    if any(tool["function"]["name"] == "get_time" for tool in body.get("tools", ())):
        body["tool_choice"] = {"type": "function", "function": {"name": "get_time"}}


def chats_at_length(body: Body) -> None:
    if body["max_tokens"] > 10_000:
        body["messages"] = [{"role": "user", "content": "Say that it depends"}]


def no_force(body: Body) -> None:
    if isinstance(body.get("tool_choice"), dict):
        body["tool_choice"] = "auto"


def no_thinking(body: Body) -> None:
    for name in ("thinking", "reasoning_effort", "chat_template_kwargs", "enable_thinking", "think", "reasoning"):
        body.pop(name, None)


def only_by(name: str) -> Callable[[Body], None]:
    """Thinking is heard in one dialect only."""

    def change(body: Body) -> None:
        value = body.get(name)
        no_thinking(body)
        if value is not None:
            body[name] = value

    return change


def without(name: str) -> Callable[[Body], None]:
    return lambda body: body.pop(name, None)


def in_words(body: Body) -> None:
    for name in ("tools", "tool_choice", "parallel_tool_calls"):
        body.pop(name, None)


def talking(text: str, finish: str = "stop") -> Callable[[bytes], bytes]:
    """Every answer has this text."""

    def rewrite(whole: bytes) -> bytes:
        body = json.loads(whole)
        body["choices"][0]["message"] = {"role": "assistant", "content": text}
        body["choices"][0]["finish_reason"] = finish
        return json.dumps(body).encode()

    return rewrite


def only_calls(whole: bytes) -> bytes:
    """Every answer is a call, whatever was asked."""
    body = json.loads(whole)
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    body["choices"][0]["message"] = {
        "role": "assistant",
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
    return json.dumps(body).encode()


def broken_arguments(whole: bytes) -> bytes:
    body = json.loads(whole)
    for call in body["choices"][0]["message"].get("tool_calls") or ():
        call["function"]["arguments"] = '{"city": "Par'
    return json.dumps(body).encode()


def at_once(whole: bytes) -> bytes:
    """A proxy that buffers: the stream in one piece."""
    body = json.loads(whole)
    choice = body["choices"][0]
    chunks: list[Body] = [
        {
            **body,
            "usage": None,
            "choices": [{"index": 0, "delta": {"content": choice["message"]["content"]}, "finish_reason": None}],
        }
    ]
    chunks.append({**body, "usage": None, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({**body, "choices": []})
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


#: probe → upstream, the quirks it has, state, what it says (a part), the quirks that are found.
DEFECTS: list[tuple[str, Callable[[], Demo], dict[str, Any], str, str, dict[str, Any]]] = [
    (
        "reach",
        lambda: Broken(refusing(lambda b: True, "model", "Incorrect API key provided: sk-x.", 401)),
        {},
        FAIL,
        "401",
        {},
    ),
    (
        "reach",
        lambda: Broken(refusing(lambda b: "max_tokens" in b, "max_tokens")),
        {},
        FOUND,
        "answers",
        {"max_tokens_field": "max_completion_tokens"},
    ),
    ("models", lambda: Broken(models={"data": [{"id": "demos"}, {"id": 3}]}), {}, NO, "not among the 1", {}),
    ("models", lambda: Broken(models=404), {}, NO, "no models list", {}),
    (
        "context",
        lambda: Broken(models={"data": [{"id": "demo", "max_model_len": 8192}]}),
        {},
        NO,
        "8,192 tokens, says the models list",
        {},
    ),
    ("context", lambda: Broken(models=500), {}, NO, "does not say", {}),
    (
        "streaming",
        lambda: Broken(refusing(lambda b: "stream_options" in b, "stream_options")),
        {},
        FOUND,
        "pieces",
        {"stream_usage": False},
    ),
    ("streaming", lambda: Broken(rewrite=at_once), {}, NO, "all at once", {}),
    ("streaming", lambda: Broken(refusing(lambda b: b.get("stream", False), "x", "No.", 503)), {}, FAIL, "No.", {}),
    ("usage", lambda: Broken(change=without("stream_options")), {}, NO, "no token counts", {}),
    ("usage", lambda: Broken(), {"stream_usage": False}, FOUND, "when it is asked to", {"stream_usage": True}),
    (
        "tools",
        lambda: Broken(refusing(lambda b: "tools" in b, "tools", "this model does not support tools")),
        {},
        FAIL,
        "refused",
        {"tools": False},
    ),
    ("tools", lambda: Broken(change=in_words), {}, NO, "in words", {}),
    ("tools", lambda: Broken(rewrite=broken_arguments), {}, NO, "broken arguments", {}),
    (
        "results",
        lambda: Broken(refusing(lambda b: b["messages"][-1]["role"] == "tool", "messages", "no tool role")),
        {},
        FAIL,
        "400",
        {},
    ),
    (
        "parallel",
        lambda: Broken(change=lambda b: b.update(parallel_tool_calls=False) if "tools" in b else None),
        {},
        NO,
        "one call",
        {},
    ),
    (
        "any",
        lambda: Broken(
            refusing(lambda b: b.get("tool_choice") == "required", "tool_choice"),
            lambda b: b.update(tool_choice="required") if b.get("tool_choice") == "any" else None,
        ),
        {},
        FOUND,
        '"any"',
        {"tool_choice_any": "any"},
    ),
    ("any", lambda: Broken(change=without("tool_choice")), {}, NO, "not obeyed", {}),
    ("any", lambda: Broken(change=always_calls), {}, NO, "anyway", {}),
    (
        "any",
        lambda: Broken(refusing(lambda b: b.get("tool_choice") == "required", "tool_choice"), always_calls),
        {},
        NO,
        "anyway",
        {},
    ),
    ("named", lambda: Broken(change=always_calls_the_time), {}, NO, "anyway", {}),
    ("none", lambda: Broken(change=in_words), {}, NO, "calls no tool anyway", {}),
    (
        "any",
        lambda: Broken(refusing(lambda b: b.get("tool_choice") in ("required", "any"), "tool_choice")),
        {},
        NO,
        "refused",
        {"tool_choice_any": ""},
    ),
    ("named", lambda: Broken(change=no_force), {}, FOUND, '"only"', {"tool_choice_named": "only"}),
    ("named", lambda: Broken(change=without("tool_choice")), {}, NO, "not obeyed", {}),
    (
        "named",
        lambda: Broken(refusing(lambda b: b.get("tool_choice", "auto") != "auto", "tool_choice")),
        {},
        NO,
        "refused",
        {"tool_choice_named": "none"},
    ),
    *(
        (name, lambda: Broken(refusing(forces, "model", "Incorrect API key provided: sk-x.", 401)), {}, FAIL, "401", {})
        for name in ("any", "named", "structured")
    ),
    ("none", lambda: Broken(change=without("tool_choice")), {}, FOUND, "left out", {"tool_choice_none": False}),
    (
        "none",
        lambda: Broken(refusing(lambda b: b.get("tool_choice") == "none", "tool_choice")),
        {},
        FOUND,
        "left out",
        {"tool_choice_none": False},
    ),
    ("none", lambda: Broken(change=without("tool_choice")), {"tool_choice_none": False}, OK, "no call", {}),
    ("none", lambda: Broken(rewrite=only_calls), {}, NO, "calls a tool nevertheless", {}),
    (
        "none",
        lambda: Broken(
            refusing(lambda b: b.get("tool_choice") == "none", "model", "Incorrect API key provided: sk-x.", 401)
        ),
        {},
        FAIL,
        "401",
        {},
    ),
    (
        "images",
        lambda: Broken(refusing(has_image, "messages", "image_url is only supported by certain models.")),
        {},
        NO,
        "text only",
        {"images": False},
    ),
    ("images", lambda: Broken(rewrite=talking("Red.")), {"images": False}, FOUND, "red", {"images": True}),
    ("reasoning", lambda: Broken(change=no_thinking), {}, NO, "does not show", {}),
    (
        "reasoning",
        lambda: Broken(change=only_by("chat_template_kwargs")),
        {},
        FOUND,
        '"template"',
        {"reasoning": "template"},
    ),
    (
        "reasoning",
        lambda: Broken(change=only_by("thinking")),
        {"reasoning": "none"},
        FOUND,
        "thinking_type",
        {"reasoning": "thinking_type"},
    ),
    ("reasoning", lambda: Broken(rewrite=talking("<think>hm</think>391")), {}, OK, "thinks", {}),
    (
        "reasoning",
        lambda: Broken(rewrite=talking("<think>hm</think>391")),
        {"think_tags": False},
        FOUND,
        "<think>",
        {"think_tags": True},
    ),
    ("reasoning", lambda: Broken(rewrite=talking("hm</think>391")), {}, FOUND, "<think>", {"think_open": True}),
    ("small", lambda: Broken(rewrite=talking("")), {}, NO, "no words within 64", {}),
    ("automode", lambda: Broken(rewrite=talking("That is harmless.")), {}, NO, "'That is harmless.' within 2,112", {}),
    ("automode", lambda: Broken(rewrite=talking("")), {}, NO, "'no words' within 2,112", {}),
    ("automode", lambda: Broken(rewrite=talking("<block>yes")), {}, NO, "'<block>yes' within", {}),
    ("automode", lambda: Broken(rewrite=talking("<block>no", "length")), {}, NO, "within 2,112", {}),
    ("automode", lambda: Broken(rewrite=only_calls), {}, NO, "'calls get_weather' within 2,112", {}),
    ("automode", lambda: Broken(change=chats_at_length), {}, NO, "within 10,240", {}),
    (
        "automode",
        lambda: Broken(refusing(lambda b: "stop" in b, "stop", "Incorrect API key", 401)),
        {},
        FAIL,
        "401",
        {},
    ),
    (
        "structured",
        lambda: Broken(
            refusing(lambda b: (b.get("response_format") or {}).get("type") == "json_schema", "response_format")
        ),
        {},
        NO,
        "",
        {},
    ),
    ("structured", lambda: Broken(rewrite=talking('{"title": 3}')), {}, NO, "does not keep", {}),
    (
        "limit",
        lambda: Broken(
            refusing(
                lambda b: b["max_tokens"] > 8192,
                "max_tokens",
                "max_tokens is too large: 128000. This model supports at most 8192 completion tokens",
            )
        ),
        {},
        FOUND,
        "at most 8192",
        {"max_tokens_limit": 8192},
    ),
    ("limit", lambda: Broken(change=without("max_tokens")), {}, NO, "not obeyed", {}),
]


@pytest.mark.parametrize(
    "name, upstream, quirks, state, phrase, expected",
    DEFECTS,
    ids=[f"{row[0]}-{row[3]}-{row[4][:12]}" for row in DEFECTS],
)
async def test_each_defect_is_seen(
    name: str, upstream: Callable[[], Demo], quirks: dict[str, Any], state: str, phrase: str, expected: dict[str, Any]
) -> None:
    progress, _ = await findings(upstream(), name, **quirks)
    finding = progress.findings[name]
    assert (finding.state, dict(finding.quirks)) == (state, expected), finding
    assert phrase in finding.what
    assert "sk-x" not in str(finding)


async def test_a_thinking_model_gets_room_for_short_answers() -> None:
    """64 tokens are eaten by thinking that can't be switched off; with room there are words."""

    def think(body: Body) -> None:
        body["thinking"] = {"type": "enabled"}
        if body["max_tokens"] == 64:
            body["max_tokens"] = 3

    progress, _ = await findings(Broken(change=think), "small")
    assert progress.findings["small"].state == FOUND and progress.quirks == {"min_tokens": 1024}


async def test_later_probes_ask_with_what_earlier_ones_found() -> None:
    upstream = Broken(refusing(lambda b: "max_tokens" in b, "max_tokens"))
    progress, _ = await findings(upstream, "tools", "parallel")
    assert (
        progress.quirks == {"max_tokens_field": "max_completion_tokens"} and progress.findings["parallel"].state == OK
    )
    assert sum("max_tokens" in body for body in upstream.bodies) == 1


async def test_what_needs_another_is_skipped() -> None:
    progress, _ = await findings(Broken(refusing(lambda b: "tools" in b, "tools", "this model does not support tools")))
    assert [name for name, finding in progress.findings.items() if finding.state == SKIPPED] == [
        "parallel",
        "any",
        "named",
        "none",
    ]
    dead = deployment(f"http://127.0.0.1:{free_port()}/v1")
    progress, _ = await findings(Broken(), dep=dead)
    assert progress.findings["reach"].state == FAIL and "api_base" in "".join(progress.findings["reach"][1:3])
    assert {finding.state for name, finding in progress.findings.items() if name != "reach"} == {SKIPPED}


async def test_a_server_that_hangs_is_given_up() -> None:
    class Hanging(Demo):
        async def _complete(self, request: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

    async with Hanging() as upstream:
        sender = Upstream()
        answer = await Bench(deployment(upstream.base), sender, 0.2).ask(
            {"messages": [{"role": "user", "content": "x"}]}
        )
        await sender.close()
    assert answer.error is not None and answer.error.kind == "timeout"


async def test_an_error_whose_body_breaks_off_is_that_error() -> None:
    async def script(c: Peer) -> None:
        c.head(401, {"content-type": "application/json"}, length=500)
        c.write(b'{"error":{"message":"Incorrect API key')
        await c.drain()
        c.close()

    async with ScriptedServer(script) as upstream:
        sender = Upstream()
        answer = await Bench(deployment(upstream.base), sender).ask({"messages": [{"role": "user", "content": "x"}]})
        await sender.close()
    assert answer.error is not None and (answer.error.kind, answer.error.status) == ("authentication", 401)


async def test_what_a_server_tells_of_its_context() -> None:
    from a2py.cli.facts import gather

    async def props(request: web.Request) -> web.Response:
        return web.json_response({"default_generation_settings": {"n_ctx": 12345}})

    async def list_models(request: web.Request) -> web.Response:
        return web.json_response(rows)

    async def list_loaded(request: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": "demo:latest", "context_length": 4096}]})

    rows: dict[str, Any] = {"data": [{"id": "demo", "owned_by": "llamacpp"}]}
    app = web.Application()
    app.router.add_get("/props", props)
    app.router.add_get("/v1/models", list_models)
    app.router.add_get("/api/ps", list_loaded)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sender = Upstream()
    try:
        base = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        assert (await gather(sender, deployment(base)))[2:] == (12345, "llama.cpp (n_ctx of one slot)")
        assert (await gather(sender, deployment(base, context_probe="ollama")))[2:] == (4096, "Ollama")
        rows["data"][0]["owned_by"] = "x"
        assert (await gather(sender, deployment(base)))[2:] == (0, "")
    finally:
        await sender.close()
        await runner.cleanup()


@pytest.mark.parametrize(
    "limit, answer, state",
    [(0, 200_000, OK), (300_000, 200_000, NO), (100_000, 200_000, OK), (100_000, 0, OK)],
)
async def test_context_against_what_is_configured(limit: int, answer: int, state: str) -> None:
    upstream = Broken(models={"data": [{"id": "demo", "context_length": answer}]})
    async with upstream:
        dep = replace(deployment(upstream.base), max_input_tokens=limit)
        progress, _ = await findings(
            Broken(models=upstream.models), "models", "context", dep=replace(dep, base=upstream.base)
        )
    assert progress.findings["context"].state == state


# -- the command -------------------------------------------------------------------------------------------------------


def test_check_of_nothing_at_all(tmp_path: Path) -> None:
    result = a2py("check", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (
        result.stdout.count("\n  ok ") == len(PROBES) and "this costs" in result.stderr and "\x1b" not in result.stdout
    )
    assert a2py("--health", cwd=tmp_path).stdout.count(" ok ") == 1


def test_check_writes_what_it_found_and_it_holds(tmp_path: Path) -> None:
    with serving("demo", "--port", "0", cwd=tmp_path) as upstream:
        base = upstream.until(r"at (http://\S+/v1),")[1]
        path = tmp_path / "a2py.yaml"
        path.write_text(
            f"# mine\nmodel_list:\n  - model_name: m  # the one\n    litellm_params: {{model: openai/demo, api_base: '{base}', api_key: k}}\n"
            "    model_info: {quirks: {stream_usage: false}}\n"
        )
        path.chmod(0o600)
        report = a2py("check", "--only", "reasoning", "m", cwd=tmp_path)
        assert (
            "a2py:\n  quirks:\n" in report.stdout
            and 'reasoning: "effort"' in report.stdout
            and "quirks" not in path.read_text()[200:]
        )
        result = a2py("check", "--only", "reasoning", "--write", cwd=tmp_path)
        assert result.returncode == 0 and "a2py.yaml: written" in result.stderr, result.stderr
        text = path.read_text()
        assert text.startswith("# mine\n") and "# the one" in text
        config = load(str(path), {}, str(tmp_path))
        assert config.resolve("m")[0].quirks.reasoning == "effort" and not config.warnings
        again = json.loads(a2py("check", "--only", "reasoning", "--json", cwd=tmp_path).stdout)
        assert again[0]["findings"]["reasoning"]["state"] == OK


def test_offline_and_wrong_words(tmp_path: Path) -> None:
    (tmp_path / "a2py.yaml").write_text(
        "model_list:\n- {model_name: a, litellm_params: {model: openai/x, api_key: k, api_base: http://example.com/v1}}\n- {model_name: b, litellm_params: {model: groq/y}}\n"
    )
    result = a2py("check", "--offline", cwd=tmp_path)
    assert (
        result.returncode == 1
        and "GROQ_API_KEY" in result.stderr
        and "a: its key travels unencrypted to example.com" in result.stderr
    )
    assert a2py("check", "--offline", "a", cwd=tmp_path).returncode == 0
    assert "there is no probe 'reech'" in a2py("check", "--only", "reech", cwd=tmp_path).stderr
    result = a2py("check", "c", cwd=tmp_path)
    assert result.returncode == 1 and "known names: a" in result.stderr


def test_a_model_that_fails_makes_the_command_fail(tmp_path: Path) -> None:
    result = a2py("check", "--model", "openai/x", "--api-base", f"http://127.0.0.1:{free_port()}/v1", cwd=tmp_path)
    assert result.returncode == 1 and "fail" in result.stdout and "api_base" in result.stdout
    cause, others = result.stdout.splitlines()[1:3]
    assert "connection refused" in cause and "16 other probes" in others and "not asked: answers failed" in others
    assert len(result.stdout.splitlines()) == 4, "the cause is printed once, and what it prevents is counted"


# -- the real llama.cpp ------------------------------------------------------------------------------------------------


@pytest.mark.integration
@pytest.mark.parametrize("think", [False, True])
async def test_llamacpp(llamacpp: llama.Servers, think: bool) -> None:
    server = llamacpp(tool_first=0.9, think=think, ctx=8192)
    dep = single(model="llamacpp/tiny", alias="m", api_base=server.base, api_key="sk-x").deployments[0]
    sender = Upstream()
    try:
        progress = await probe(Bench(dep, sender, 60))
    finally:
        await sender.close()
    states = {name: finding.state for name, finding in progress.findings.items()}
    assert FAIL not in states.values(), progress.findings
    assert (
        states["reach"] in (OK, FOUND) and states["tools"] == OK and states["usage"] == OK and states["streaming"] == OK
    )
    assert progress.facts.context == 8192 and states["context"] == NO
    assert (states["reasoning"] == NO) is not think


def test_told_joins_its_blocks() -> None:
    answer = Answer(
        content=[{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "b"}, {"type": "text", "text": "c"}]
    )
    assert (answer.text, answer.join_blocks("thinking"), answer.calls) == ("ac", "b", [])
    assert Finding(OK, "x").quirks == {}
