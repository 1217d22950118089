"""`a2py: routes:` over real sockets: the model, the header, the log and the metrics, for streams, whole replies and
token counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2py.config import Config
from a2py.messages.rules import Condition, Rule
from a2py.quirks import Quirks
from tests import recordings
from tests.proxied import Running, config, deployment, message, run_proxy
from tests.scripted import Answer, Peer, ScriptedServer, answering, completion, refusing

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


def rule(model: str, word: str, value: Any = True, is_sticky: bool = True) -> Rule:
    label = word if value is True else f"{word} {value}"
    return Rule(model, ((Condition(word, value),),), label, is_sticky)


def routed_config(base: str, *rules: Rule, **settings: Any) -> Config:
    """One upstream, asked for by the model that each name stands for."""
    names = ("main", "small", "long", "eyes", "agent", "thinker")
    deployments = tuple(deployment(base, name, id=name, model=f"up-{name}") for name in names)
    return replace(config(deployments=deployments, routes=rules, **settings), default_name="main")


RULES = (
    rule("long", "tokens_over", 4000),
    rule("eyes", "image"),
    rule("agent", "subagent"),
    rule("small", "background"),
    rule("thinker", "think"),
)


def claude(text: Any = "Hi", model: str = "claude-opus-5-5", stream: bool = True, **more: Any) -> dict[str, Any]:
    return message(text, stream=stream, **{"model": model, **more})


async def ask(proxy: Running, body: Any, path: str = "/v1/messages", **headers: str) -> Answer:
    return await proxy.ask(body, path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("body", "headers", "model", "route"),
    [
        ({}, {}, "up-main", 'none; why="no rule holds"'),
        ({}, {"x_claude_code_agent_id": "a1"}, "up-agent", '3 subagent; model="agent"; why="a sub-agent of Claude Code"'),
        ({"model": "claude-haiku-5-5"}, {}, "up-small", '4 background; model="small"; why="a haiku-class name"'),
        ({"output_config": {"effort": "max"}}, {}, "up-thinker", '5 think; model="thinker"; why="effort max"'),
        ({"text": [IMAGE]}, {}, "up-eyes", '2 image; model="eyes"; why="an image in this turn"'),
        ({"model": "main", "text": [IMAGE]}, {}, "up-main", 'named; why="the configuration has the model that was asked for"'),
    ],
)  # fmt: skip
async def test_a_rule_chooses_the_model_and_says_so(
    stream: bool, body: dict[str, Any], headers: dict[str, str], model: str, route: str
) -> None:
    async with ScriptedServer(answering("yes")) as upstream, run_proxy(routed_config(upstream.base, *RULES)) as proxy:
        answer = await ask(proxy, claude(stream=stream, **body), **headers)
        page = (await proxy.ask(None, "/metrics", "GET")).body.decode()
        line = next(line for line in proxy.lines if line.get("path") == "/v1/messages")
    assert answer.status == 200 and upstream.requests[0].json["model"] == model
    assert answer.headers["x-a2py-route"] == route
    name, _, why = route.partition("; ")
    assert line["route"] == name and line["why"] in why
    target = model.removeprefix("up-") if "model=" in route else "as asked"
    assert f'a2py_routes_total{{rule="{name}",model="{target}"}} 1' in page
    if not stream:
        assert answer.json["model"] == claude(**body)["model"], "the name that the client asked for"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_long_prompts_and_their_count_go_to_the_same_model(path: str) -> None:
    async with ScriptedServer(answering("yes")) as upstream, run_proxy(routed_config(upstream.base, *RULES)) as proxy:
        answer = await ask(proxy, claude("word " * 6000, stream=False), path)
        line = next(line for line in proxy.lines if line["event"] == "request")
    assert answer.headers["x-a2py-route"].startswith('1 tokens_over 4000; model="long"; why="about 6')
    assert line["route"] == "1 tokens_over 4000"
    assert [one.json["model"] for one in upstream.requests] == ["up-long"] * (path == "/v1/messages")


async def test_the_tokenizer_of_the_chosen_model_counts() -> None:
    """The models are on different servers; only the one of the rule has a tokenizer, and it says 4."""

    async def tokenize(peer: Peer) -> None:
        peer.reply({"tokens": [1, 2, 3, 4], "count": 4})

    async with ScriptedServer(tokenize, tokenize) as right, ScriptedServer(refusing(500)) as wrong:
        quirks = Quirks(tokenizer="llamacpp")
        rules = (rule("agent", "subagent"),)
        settings = config(
            deployments=(
                deployment(wrong.base, "main", id="main", quirks=quirks),
                deployment(right.base, "agent", id="agent", quirks=quirks),
            ),
            routes=rules,
        )
        async with run_proxy(replace(settings, default_name="main")) as proxy:
            answer = await ask(proxy, claude(stream=False), "/v1/messages/count_tokens", x_claude_code_agent_id="a1")
    assert answer.status == 200 and not wrong.requests and right.requests


async def test_an_error_says_which_rule_chose_the_model() -> None:
    async with (
        ScriptedServer(refusing(400, "no such model")) as upstream,
        run_proxy(routed_config(upstream.base, *RULES)) as proxy,
    ):
        answer = await ask(proxy, claude(), x_claude_code_agent_id="a1")
    assert answer.status == 400 and answer.headers["x-a2py-route"].startswith("3 subagent;")


async def test_a_conversation_stays_where_its_image_brought_it() -> None:
    turns = [
        claude("Hi"),
        claude([IMAGE]),
        claude("Hi", messages=[
            {"role": "user", "content": [IMAGE]}, {"role": "assistant", "content": "A cat"}, {"role": "user", "content": "Thanks"},
        ]),
    ]  # fmt: skip
    for is_sticky, models in ((True, ["up-main", "up-eyes", "up-eyes"]), (False, ["up-main", "up-eyes", "up-main"])):
        rules = (rule("eyes", "image", is_sticky=is_sticky),)
        async with (
            ScriptedServer(answering("a"), answering("b"), answering("c")) as upstream,
            run_proxy(routed_config(upstream.base, *rules)) as proxy,
        ):
            for turn in turns:
                await ask(proxy, turn)
        assert [one.json["model"] for one in upstream.requests] == models


async def test_the_fallbacks_of_the_chosen_model_are_tried() -> None:
    async with ScriptedServer(refusing(503), answering("yes")) as upstream:
        settings = routed_config(upstream.base, rule("small", "background"), fallbacks={"small": ("main",)})
        async with run_proxy(settings) as proxy:
            answer = await ask(proxy, claude(model="claude-haiku-5-5", stream=False))
    assert answer.status == 200 and [one.json["model"] for one in upstream.requests] == ["up-small", "up-main"]


async def test_a_name_that_nobody_serves_is_sent_nowhere() -> None:
    async with ScriptedServer() as upstream, run_proxy(routed_config(upstream.base, *RULES)) as proxy:
        answer = await ask(proxy, claude([IMAGE], model="gpt-typo", stream=False))
    assert answer.status == 404 and "x-a2py-route" not in answer.headers and not upstream.requests


async def test_a_request_that_is_passed_through_has_no_rules() -> None:
    body = {"model": "main", "messages": [{"role": "user", "content": "word " * 6000}]}
    async with ScriptedServer(answering("yes")) as upstream, run_proxy(routed_config(upstream.base, *RULES)) as proxy:
        answer = await ask(proxy, body, "/v1/chat/completions", x_claude_code_agent_id="a1")
        typo = await ask(proxy, {**body, "model": "gpt-typo"}, "/v1/chat/completions", x_claude_code_agent_id="a1")
    assert answer.status == 200 and upstream.requests[0].json["model"] == "up-main"
    assert "x-a2py-route" not in answer.headers and typo.status == 404


async def test_without_rules_there_is_no_header() -> None:
    async with ScriptedServer(answering("yes")) as upstream, run_proxy(routed_config(upstream.base)) as proxy:
        answer = await ask(proxy, claude())
        line = next(line for line in proxy.lines if line["event"] == "request")
    assert "x-a2py-route" not in answer.headers and "route" not in line


async def test_a_browser_may_read_the_header() -> None:
    async with ScriptedServer(answering("yes")) as upstream:
        settings = routed_config(upstream.base, *RULES, allowed_origins=("https://app.example",))
        async with run_proxy(settings) as proxy:
            answer = await ask(proxy, claude(), origin="https://app.example")
    assert "x-a2py-route" in answer.headers["access-control-expose-headers"]
    assert answer.headers["x-a2py-route"] == 'none; why="no rule holds"'


async def test_no_text_of_a_request_or_a_name_breaks_the_header() -> None:
    odd = Rule("main", ((Condition("tool", ("*",)),),), 'a "label"\r\nx-evil: 1')
    tool = {"name": 'x"\r\nx-evil: 1é', "input_schema": {"type": "object"}}
    async with ScriptedServer(answering("yes")) as upstream, run_proxy(routed_config(upstream.base, odd)) as proxy:
        answer = await ask(proxy, claude(tools=[tool]))
    assert "x-evil" not in answer.headers
    assert answer.headers["x-a2py-route"] == '1 a "label"?x-evil: 1; model="main"; why="the tool x\'?x-evil: 1?"'


def read_recording(name: str) -> Any:
    return json.loads(Path(recordings.CLIENTS / f"{name}.json").read_text("utf-8"))


@pytest.mark.skipif(not recordings.CLIENTS.is_dir(), reason="needs recordings of clients")
@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("text", "up-main"),
        ("agent_subagent", "up-agent"),
        ("image_tool_result", "up-eyes"),
        ("websearch_inner", "up-small"),
        ("count_tokens_context", "up-main"),
    ],
)
async def test_recordings_of_claude_code(name: str, model: str) -> None:
    recording = read_recording(name)
    names = ("x-claude-code-agent-id", "anthropic-beta", "user-agent")
    headers = {key: value for key, value in recording["headers"] if key.lower() in names}
    body = {"max_tokens": 100, **recording["body"], "stream": False}
    rules = (rule("agent", "subagent"), rule("eyes", "image"), rule("small", "web_search"))

    async def any_reply(peer: Peer) -> None:
        peer.reply(completion("yes"))

    async with ScriptedServer(any_reply) as upstream, run_proxy(routed_config(upstream.base, *rules)) as proxy:
        answer = await proxy.ask(body, headers=headers)
    assert answer.status == 200
    if name == "websearch_inner":  # nothing but a search, which this upstream can't make: answered without it
        assert not upstream.requests and f'model="{model.removeprefix("up-")}"' in answer.headers["x-a2py-route"]
    else:
        assert upstream.requests[0].json["model"] == model
