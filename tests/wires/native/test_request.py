"""Requests to upstreams that speak Anthropic: a2py's own parts are replaced, the rest is sent unchanged."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import orjson
import pytest

from a2py.deployment import Deployment
from a2py.messages import signatures
from a2py.messages.request import parse
from a2py.messages.types import JSON, Call, Prepared
from a2py.quirks import Quirks
from a2py.wires import wire
from a2py.wires.native.request import url
from tests import recordings

BODY: JSON = {"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
GENUINE = Quirks(mid_system="inline", native_betas="all", tool_ids="keep")


def deployment(**changes: Any) -> Deployment:
    default = Deployment(name="x", id="x/1", provider="p", model="up-1", base="http://up", key="sk-up", quirks=GENUINE)
    return replace(default, **changes)


def prepare(
    body: JSON, dep: Deployment | None = None, *, stream: bool = False, counting: bool = False, **call: Any
) -> Prepared:
    request = parse(orjson.dumps(body), counting=counting)
    before = copy.deepcopy(request.body)
    upstream_request = wire("native").prepare(Call(request, "msg_1", 0.0, **call), dep or deployment(), stream)
    assert request.body == before, "the client's own request was changed"
    return upstream_request


def body_of(changes: JSON, **options: Any) -> JSON:
    dep = options.pop("dep", None) or deployment(**options)
    body: JSON = orjson.loads(prepare({**BODY, **changes}, dep).body)
    return body


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"base": "http://up"}, "http://up/v1/messages"),
        ({"base": "http://up/"}, "http://up/v1/messages"),
        ({"base": "http://up/v1"}, "http://up/v1/messages"),
        ({"base": "http://up/v1/"}, "http://up/v1/messages"),
        ({"base": "http://up/v1/messages"}, "http://up/v1/messages"),
        ({"base": "https://api.z.ai/api/anthropic"}, "https://api.z.ai/api/anthropic/v1/messages"),
        ({"base": "http://up", "path": "/other"}, "http://up/other"),
        ({"base": "http://up/v1", "query": "beta=true"}, "http://up/v1/messages?beta=true"),
    ],
)
def test_url(changes: JSON, expected: str) -> None:
    assert url(deployment(**changes)) == expected


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ("bearer", ("authorization", "Bearer sk-up")),
        ("x-api-key", ("x-api-key", "sk-up")),
        ("api-key", ("api-key", "sk-up")),
        ("none", None),
    ],
)
def test_the_key_travels_as_the_deployment_says(auth: str, header: tuple[str, str] | None) -> None:
    headers = prepare(
        BODY, deployment(auth=auth), client_headers={"authorization": "Bearer sk-client", "x-api-key": "sk-client"}
    ).headers
    credentials = {name: value for name, value in headers.items() if name in ("authorization", "x-api-key", "api-key")}
    assert credentials == (dict([header]) if header else {})


def test_headers() -> None:
    assert prepare(BODY, deployment(key=""), stream=True, betas=("a", "b"), version="2026-10-21").headers == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "a,b",
    }
    assert prepare(BODY, deployment(key="", quirks=Quirks()), betas=("a",), version="2026-10-21").headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "anthropic-version": "2023-06-01",
    }


def test_betas_of_the_configuration_come_first_and_once() -> None:
    dep = deployment(headers={"Anthropic-Beta": " own , a ", "X-Title": "t"})
    headers = prepare(BODY, dep, betas=("a", "b")).headers
    assert headers["anthropic-beta"] == "own,a,b"
    assert headers["x-title"] == "t"
    other = prepare(BODY, replace(dep, quirks=Quirks()), betas=("a", "b")).headers
    assert other["anthropic-beta"] == "own,a"


@pytest.mark.parametrize("capture", recordings.captures())
def test_captured_requests_are_value_identical_but_for_the_model(capture: recordings.Capture) -> None:
    stream = capture.body.get("stream") is True
    upstream_request = prepare(capture.body, stream=stream)
    assert orjson.loads(upstream_request.body) == {**capture.body, "model": "up-1"}
    assert upstream_request.degraded == ()
    assert upstream_request.stream is stream
    assert upstream_request.provider == "p"


@pytest.mark.parametrize("capture", recordings.captures())
def test_captured_requests_for_another_vendor(capture: recordings.Capture) -> None:
    """Fields that need a beta are removed, all texts stay."""
    quirks = Quirks(
        native_drop=frozenset(
            {"context_management", "safeguards", "thinking.display", "tools.defer_loading", "messages.output_config"}
        )
    )
    body = orjson.loads(prepare(capture.body, deployment(quirks=quirks)).body)
    text = orjson.dumps(body).decode()
    assert "defer_loading" not in text
    assert "x-anthropic-billing-header" not in text
    assert all(message["role"] in ("user", "assistant") for message in body["messages"])
    assert {"context_management", "safeguards"}.isdisjoint(body)


@pytest.mark.parametrize(
    ("changes", "stream", "quirks", "expected"),
    [
        ({}, False, GENUINE, None),
        ({}, True, GENUINE, True),
        ({"stream": True}, True, GENUINE, True),
        ({"stream": True}, False, GENUINE, False),
        ({"stream": False}, False, GENUINE, False),
        ({}, False, replace(GENUINE, stream_only=True), True),
    ],
)
def test_stream(changes: JSON, stream: bool, quirks: Quirks, expected: bool | None) -> None:
    upstream_request = prepare({**BODY, **changes}, deployment(quirks=quirks), stream=stream)
    assert orjson.loads(upstream_request.body).get("stream") is expected
    assert upstream_request.stream is bool(expected)


def test_a_count_gets_no_defaults() -> None:
    body = {"model": "m", "messages": BODY["messages"], "tools": []}
    dep = deployment(params={"temperature": 0.5, "max_tokens": 5}, extra_body={"x": 1}, max_output_tokens=5)
    assert orjson.loads(prepare(body, dep, counting=True).body) == {**body, "model": "up-1"}


def test_a_count_is_never_a_stream() -> None:
    body = {"model": "m", "messages": BODY["messages"]}
    dep = deployment(quirks=replace(GENUINE, stream_only=True))
    assert "stream" not in orjson.loads(prepare(body, dep, counting=True).body)


SIGNATURE = signatures.make("t", "chat:x:y", {"text": "hm"})


def turn(*blocks: JSON, role: str = "assistant") -> JSON:
    return {"role": role, "content": list(blocks)}


THINKING = {"type": "thinking", "thinking": "hm", "signature": SIGNATURE}
OWN = {"type": "thinking", "thinking": "hm", "signature": "EqQB"}
UNSIGNED_THINKING = {"type": "thinking", "thinking": "hm", "signature": ""}
REDACTED = {"type": "redacted_thinking", "data": "x"}
TEXT = {"type": "text", "text": "Yes?"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}
HI = {"role": "user", "content": "Hi"}
GO = {"role": "user", "content": "Go"}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([HI, turn(THINKING, TEXT), GO], [HI, turn(TEXT), GO]),
        (
            [HI, turn(OWN, THINKING, UNSIGNED_THINKING, REDACTED, TEXT), GO],
            [HI, turn(OWN, UNSIGNED_THINKING, REDACTED, TEXT), GO],
        ),
        ([HI, turn(THINKING), GO], [turn({"type": "text", "text": "Hi"}, {"type": "text", "text": "Go"}, role="user")]),
        ([HI, turn(THINKING, THINKING)], [HI]),
        ([HI, turn({"type": "thinking", "thinking": "", "signature": "a2py1."}, TEXT)], [HI, turn(TEXT)]),
        (
            [HI, turn({"type": "thinking", "thinking": "hm"}, TEXT)],
            [HI, turn({"type": "thinking", "thinking": "hm"}, TEXT)],
        ),
        ([HI, HI, turn(TEXT)], [HI, HI, turn(TEXT)]),
        ([HI, turn(), GO], [HI, turn(), GO]),
    ],
)
def test_thinking_of_other_wires(messages: list[JSON], expected: list[JSON]) -> None:
    assert body_of({"messages": messages})["messages"] == expected


ENABLED = {"type": "enabled", "budget_tokens": 2048}


@pytest.mark.parametrize(
    ("thinking", "messages", "off"),
    [
        (ENABLED, [HI, turn(THINKING, USE), turn(RESULT, role="user")], True),
        (ENABLED, [HI, turn(THINKING, TEXT, USE), turn(RESULT, TEXT, role="user")], True),
        (ENABLED, [HI, turn(OWN, THINKING, USE), turn(RESULT, role="user")], False),
        (ENABLED, [HI, turn(THINKING, REDACTED, USE), turn(RESULT, role="user")], False),
        (ENABLED, [HI, turn(USE), turn(RESULT, role="user")], False),
        (ENABLED, [HI, turn(THINKING, TEXT), GO], False),
        (ENABLED, [HI, turn(THINKING, USE), turn(RESULT, role="user"), turn(TEXT), GO], False),
        (ENABLED, [HI, {"role": "assistant", "content": "Yes?"}, turn(RESULT, role="user")], False),
        (ENABLED, [HI, turn(), turn(RESULT, role="user")], False),
        (ENABLED, [HI], False),
        ({"type": "adaptive"}, [HI, turn(THINKING, USE), turn(RESULT, role="user")], False),
        (None, [HI, turn(THINKING, USE), turn(RESULT, role="user")], False),
    ],
)
def test_a_tool_loop_of_another_model_is_answered_without_thinking(
    thinking: JSON | None, messages: list[JSON], off: bool
) -> None:
    upstream_request = prepare({**BODY, "max_tokens": 4096, "thinking": thinking, "messages": messages})
    assert orjson.loads(upstream_request.body)["thinking"] == ({"type": "disabled"} if off else thinking)
    assert upstream_request.degraded == (("thinking",) if off else ())


@pytest.mark.parametrize(
    "block", [{"type": "server_tool_use", "id": []}, {"type": "web_search_tool_result", "tool_use_id": {}}]
)
def test_a_server_tool_with_an_id_that_is_no_text_goes_through(block: JSON) -> None:
    """It was a 500, because blocks of server tools are not checked."""
    messages = [HI, turn(block, {"type": "text", "text": "a"}), HI]
    assert body_of({"messages": messages})["messages"] == messages


def test_tool_ids() -> None:
    tool_id = "a2py_1_ZnVuY3Rpb25zLmY6MA"
    use, result = {**USE, "id": tool_id}, {**RESULT, "tool_use_id": tool_id}
    messages = [HI, turn(use, USE), turn(result, RESULT, role="user")]
    assert body_of({"messages": messages})["messages"] == messages
    back = body_of({"messages": messages}, quirks=Quirks())["messages"]
    assert [block["id"] for block in back[1]["content"]] == ["functions.f:0", "toolu_1"]
    assert [block["tool_use_id"] for block in back[2]["content"]] == ["functions.f:0", "toolu_1"]


@pytest.mark.parametrize(
    ("params", "changes", "expected"),
    [
        ({"temperature": 0.5, "top_k": 3, "verbosity": "low"}, {}, {"temperature": 0.5, "top_k": 3}),
        ({"temperature": 0.5}, {"temperature": 0.0}, {"temperature": 0.0}),
        ({"temperature": 0.5}, {"temperature": None}, {"temperature": 0.5}),
        ({"thinking": ENABLED}, {}, {"thinking": ENABLED}),
        ({"thinking": ENABLED}, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        ({"stop_sequences": ["END"], "metadata": {}}, {}, {"stop_sequences": ["END"], "metadata": {}}),
        ({"reasoning_effort": "minimal"}, {}, {"output_config": {"effort": "low"}}),
        (
            {"reasoning_effort": "xhigh"},
            {"output_config": {"format": {}}},
            {"output_config": {"format": {}, "effort": "xhigh"}},
        ),
        ({"reasoning_effort": "high"}, {"output_config": {"effort": "low"}}, {"output_config": {"effort": "low"}}),
        ({"reasoning_effort": "high"}, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "adaptive"}}, {"thinking": {"type": "disabled"}}),
        ({"reasoning_effort": "immense"}, {}, {}),
        ({"reasoning_effort": 7}, {}, {}),
    ],
)
def test_defaults_of_the_configuration(params: JSON, changes: JSON, expected: JSON) -> None:
    assert body_of({"max_tokens": 4096, **changes}, params=params) == {
        **BODY,
        "max_tokens": 4096,
        "model": "up-1",
        **expected,
    }


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, 8000),
        ({"params": {"max_tokens": 5000}}, 5000),
        ({"params": {"max_completion_tokens": 5000, "max_tokens": 6000}}, 5000),
        ({"params": {"max_tokens": 0}}, 8000),
        ({"params": {"max_tokens": "many"}}, 8000),
        ({"max_output_tokens": 4096}, 4096),
        ({"max_output_tokens": 9000}, 8000),
        ({"quirks": replace(GENUINE, max_tokens_limit=2048)}, 2048),
    ],
)
def test_limits(changes: JSON, limit: int) -> None:
    body = {**BODY, "max_tokens": 8000}
    upstream_request = prepare(body, deployment(**changes))
    assert orjson.loads(upstream_request.body)["max_tokens"] == limit
    assert "max_tokens" in upstream_request.added_fields


@pytest.mark.parametrize(
    ("thinking", "limit", "expected"),
    [
        (ENABLED, 2049, ENABLED),
        (ENABLED, 2048, {"type": "enabled", "budget_tokens": 2047}),
        (ENABLED, 1024, {"type": "disabled"}),
        ({"type": "adaptive"}, 1024, {"type": "adaptive"}),
        ({"type": "enabled"}, 1024, {"type": "enabled"}),
    ],
)
def test_the_thinking_budget_stays_below_the_limit(thinking: JSON, limit: int, expected: JSON) -> None:
    assert body_of({"max_tokens": 8000, "thinking": thinking}, max_output_tokens=limit)["thinking"] == expected


@pytest.mark.parametrize(
    ("thinking", "limit", "expected"),
    [
        ({"type": "enabled", "budget_tokens": 500}, 1025, {"type": "enabled", "budget_tokens": 1024}),
        ({"type": "enabled", "budget_tokens": 500, "display": "x"}, 9000, {"budget_tokens": 1024, "display": "x"}),
        ({"type": "enabled", "budget_tokens": 500}, 1024, {"type": "enabled", "budget_tokens": 500}),  # no room
        ({"type": "enabled", "budget_tokens": 1024}, 9000, {"type": "enabled", "budget_tokens": 1024}),
        ({"type": "enabled", "budget_tokens": "500"}, 9000, {"type": "enabled", "budget_tokens": "500"}),
        ({"type": "adaptive"}, 9000, {"type": "adaptive"}),
        (None, 9000, None),
    ],
)
def test_a_small_thinking_budget_is_raised(thinking: Any, limit: int, expected: Any) -> None:
    upstream = body_of({"max_tokens": limit, "thinking": thinking})["thinking"]
    assert upstream == ({"type": "enabled", **expected} if thinking and "budget_tokens" in expected else expected)


def test_a_small_thinking_budget_is_raised_in_a_count() -> None:
    body = {**BODY, "thinking": {"type": "enabled", "budget_tokens": 500}}
    del body["max_tokens"]
    assert orjson.loads(prepare(body, counting=True).body)["thinking"]["budget_tokens"] == 1024


def test_what_is_dropped_and_what_is_lost() -> None:
    quirks = replace(
        GENUINE, native_drop=frozenset({"mcp_servers", "speed", "context_management"}), sampling=frozenset()
    )
    body = {
        **BODY,
        "mcp_servers": [{"name": "x"}],
        "speed": None,
        "context_management": {},
        "temperature": 1,
        "top_p": 1,
        "top_k": 5,
        "tools": [],
    }
    upstream_request = prepare(
        body,
        deployment(
            quirks=quirks, drop=frozenset({"tools", "metadata.user_id"}), extra_body={"top_k": 9, "model": "mine"}
        ),
    )
    assert orjson.loads(upstream_request.body) == {**BODY, "top_k": 9, "model": "mine"}
    assert set(upstream_request.degraded) == {"mcp_servers", "temperature", "top_p"}


def test_an_effort_that_the_upstream_refused_is_reported_as_lost() -> None:
    dep = deployment(quirks=replace(GENUINE, native_drop=frozenset({"output_config.effort"})))
    upstream_request = prepare({**BODY, "output_config": {"effort": "high"}}, dep)
    assert b"effort" not in upstream_request.body and upstream_request.degraded == ("effort",)
    assert prepare(BODY, dep).degraded == ()
