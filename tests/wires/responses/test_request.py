"""The Responses request builder beyond its goldens: real captures, the `openai` SDK's types, hostile envelopes,
size."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from a2py.messages.types import JSON
from a2py.wires import wire
from tests import golden, typed
from tests.recordings import Capture, captures

TOOL: JSON = {"name": "read", "input_schema": {"type": "object", "properties": {}}}


def prepare(body: JSON, config: JSON | None = None) -> Any:
    config = config or {"wire": "responses"}
    to = golden.deployment(config)
    call = golden.call({"model": "claude-test", "max_tokens": 100, **body}, config)
    return wire("responses").prepare(call, to, call.request.stream)


def body_of(body: JSON, config: JSON | None = None) -> JSON:
    out: JSON = orjson.loads(prepare(body, config).body)
    return out


def user(*content: JSON | str) -> JSON:
    return {"role": "user", "content": [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]}


def assistant(*content: JSON) -> JSON:
    return {"role": "assistant", "content": list(content)}


def text_block(text: str) -> JSON:
    return {"type": "text", "text": text}


@pytest.mark.parametrize("case", [pytest.param(c, id=c.title) for c in golden.cases() if c.path.stem == "responses"])
def test_every_golden_request_is_one_that_openai_accepts(case: golden.Case) -> None:
    for step in case.steps():
        block = step.blocks.get("upstream-request")
        if block is None or step.config.get("wire") != "responses":
            continue
        body = block.json()
        for own in ("top_k", "store"):  # not OpenAI's: sent where a row takes it; left out by the configuration
            body.pop(own, None)
        for item in body["input"]:
            item.pop("format", None)  # OpenRouter's
        type_: Any = ResponseCreateParamsStreaming if body.get("stream") else ResponseCreateParamsNonStreaming
        assert typed.problems(body, type_) == []


@pytest.mark.parametrize("capture", captures())
def test_captures(capture: Capture) -> None:
    """Nothing of the client's request leaks, every call has its output, every text is sent."""
    body = body_of(capture.body)
    assert set(body) <= {
        *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens"),
        *("temperature", "top_p", "text", "store", "stream", "reasoning", "include"),
    }
    calls = [item["call_id"] for item in body["input"] if item["type"] == "function_call"]
    outputs = [item["call_id"] for item in body["input"] if item["type"] == "function_call_output"]
    assert calls == outputs
    assert len(set(calls)) == len(calls)
    whole = orjson.dumps(body)
    for message in capture.body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else [text_block(message["content"])]:
            if block["type"] == "text":
                assert orjson.dumps(block["text"]).strip(b'"') in whole


def test_what_a_lesson_may_take_away_is_named() -> None:
    upstream_request = prepare(
        {
            "messages": [user("Hi")],
            "tools": [TOOL, {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
            "temperature": 0.5,
            "service_tier": "auto",
        },
        {
            "wire": "responses",
            "call": {"session": "s"},
            "quirks": {"reasoning": "effort", "web_search": "responses", "service_tier": True, "cache": "key"},
        },
    )
    assert upstream_request.added_fields == {
        *("include", "max_tokens", "max_tool_calls", "parallel_tool_calls", "prompt_cache_key", "reasoning"),
        *("response_format", "service_tier", "store", "temperature", "tool_choice"),
    }
    assert upstream_request.degraded == ()


def test_hosted_search_where_max_tool_calls_is_unknown() -> None:
    search = {
        "type": "web_search_20250305",
        "name": "web_search",
        "max_uses": 3,
        "user_location": {"city": 7, "country": "CH"},
    }
    config = {"wire": "responses", "quirks": {"web_search": "responses", "max_tool_calls": False}}
    body = body_of(
        {"messages": [user("Hi")], "tools": [search, {**search, "name": "again", "allowed_domains": ["x"]}]}, config
    )
    assert "max_tool_calls" not in body
    assert body["tools"] == [{"type": "web_search", "user_location": {"type": "approximate", "country": "CH"}}]


def test_hosted_search_forced_where_naming_is_refused() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    config = {"wire": "responses", "quirks": {"web_search": "responses", "tool_choice_named": "none"}}
    upstream_request = prepare(
        {"messages": [user("Hi")], "tools": [search], "tool_choice": {"type": "tool", "name": "web_search"}}, config
    )
    assert "tool_choice" not in orjson.loads(upstream_request.body)
    assert upstream_request.degraded == ("tool_choice",)


def test_a_tool_choice_of_no_known_form_is_left_out() -> None:
    assert "tool_choice" not in body_of({"messages": [user("Hi")], "tools": [TOOL], "tool_choice": {"type": "new"}})


def test_structured_output_beside_tools() -> None:
    form = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    config = {"wire": "responses", "quirks": {"structured_with_tools": False}}
    body = body_of({"messages": [user("Hi")], "tools": [TOOL], "output_config": form}, config)
    assert "text" not in body
    assert "JSON schema" in body["instructions"]
    assert "text" in body_of({"messages": [user("Hi")], "output_config": form}, config)


def test_system_as_user_without_a_user_message() -> None:
    config = {"wire": "responses", "quirks": {"system_as_user": True}}
    calls = [assistant({"type": "tool_use", "id": "c", "name": "read", "input": {}})]
    body = body_of(
        {
            "system": "Be brief.",
            "messages": [*calls, user({"type": "tool_result", "tool_use_id": "c", "content": "x"})],
        },
        config,
    )
    assert body["input"][0] == {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "Be brief."}],
    }
    body = body_of({"system": "Be brief.", "messages": [*calls, user("Go")]}, config)
    assert [part["text"] for part in body["input"][-1]["content"]] == ["Be brief.", "Go"]


def test_a_body_whose_limit_is_set_by_extra_body_is_not_looked_at() -> None:
    config = {"wire": "responses", "extra_body": {"max_output_tokens": None}}
    assert prepare({"messages": [user("Hi")]}, config).limit == 0
    assert prepare({"messages": [user("Hi")]}).limit == 100


def test_a_streaming_only_upstream() -> None:
    config = {"wire": "responses", "quirks": {"stream_only": True}}
    upstream_request = prepare({"messages": [user("Hi")]}, config)
    assert upstream_request.stream
    assert orjson.loads(upstream_request.body)["stream"] is True


def test_equal_turns_give_equal_bytes() -> None:
    """The upstream's prefix cache hits only so."""
    turn = [
        user("Hi"),
        assistant(text_block("Yo"), {"type": "tool_use", "id": "c", "name": "read", "input": {"b": 1, "a": 2}}),
    ]
    result = user({"type": "tool_result", "tool_use_id": "c", "content": "x"})
    first = body_of({"system": "S", "messages": [*turn, result]})["input"]
    second = body_of({"system": "S", "messages": [*turn, result, assistant(text_block("Done")), user("More")]})["input"]
    assert orjson.dumps(second[: len(first)]) == orjson.dumps(first)


def test_a_system_message_without_text_says_nothing() -> None:
    assert (
        body_of({"messages": [user("Hi"), {"role": "system", "content": []}]})["input"]
        == body_of({"messages": [user("Hi")]})["input"]
    )


def test_no_tools_where_none_can_not_be_said() -> None:
    config = {"wire": "responses", "quirks": {"tool_choice_none": False}}
    body = body_of({"messages": [user("Hi")], "tools": [TOOL], "tool_choice": {"type": "none"}}, config)
    assert "tools" not in body and "tool_choice" not in body


def test_parallel_calls_that_can_not_be_forbidden() -> None:
    config = {"wire": "responses", "quirks": {"parallel_tool_calls": False}}
    upstream_request = prepare(
        {"messages": [user("Hi")], "tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        config,
    )
    assert "disable_parallel_tool_use" in upstream_request.degraded and "parallel_tool_calls" not in orjson.loads(
        upstream_request.body
    )
