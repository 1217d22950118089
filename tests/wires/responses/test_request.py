"""The Responses request builder beyond its goldens: real captures, the `openai` SDK's types, hostile envelopes, size."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming, ResponseCreateParamsStreaming

from a2py.messages import signatures
from a2py.messages.types import JSON
from a2py.wires import wire
from tests import golden, typed
from tests.recordings import Captured, captures

ORIGIN = "responses:custom:test-model"
REASONS: JSON = {"wire": "responses", "quirks": {"reasoning": "effort"}}
RAW: JSON = {"wire": "responses", "quirks": {"reasoning": "effort", "reasoning_history": "reasoning_content"}}
TOOL: JSON = {"name": "read", "input_schema": {"type": "object", "properties": {}}}


def prepared(body: JSON, config: JSON | None = None) -> Any:
    config = config or {"wire": "responses"}
    to = golden.deployment(config)
    asked = golden.call({"model": "claude-test", "max_tokens": 100, **body}, config)
    return wire("responses").prepare(asked, to, asked.request.stream)


def body_of(body: JSON, config: JSON | None = None) -> JSON:
    out: JSON = orjson.loads(prepared(body, config).body)
    return out


def user(*content: JSON | str) -> JSON:
    return {"role": "user", "content": [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]}


def assistant(*content: JSON) -> JSON:
    return {"role": "assistant", "content": list(content)}


def thinking(signature: Any, text: str = "Hm.") -> JSON:
    return {"type": "thinking", "thinking": text, "signature": signature}


def said(text: str) -> JSON:
    return {"type": "text", "text": text}


# -- types ---------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("captured", captures())
def test_captures(captured: Captured) -> None:
    """Nothing of the client's request leaks, every call has its output, every text stands somewhere."""
    body = body_of(captured.body)
    assert set(body) <= {
        *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens"),
        *("temperature", "top_p", "text", "store", "stream", "reasoning", "include"),
    }
    calls = [item["call_id"] for item in body["input"] if item["type"] == "function_call"]
    outputs = [item["call_id"] for item in body["input"] if item["type"] == "function_call_output"]
    assert calls == outputs
    assert len(set(calls)) == len(calls)
    whole = orjson.dumps(body)
    for message in captured.body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else [said(message["content"])]:
            if block["type"] == "text":
                assert orjson.dumps(block["text"]).strip(b'"') in whole


# -- reasoning history ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signature",
    [
        "",
        None,
        "EqQBCkYIBBgC",
        "a2py1.responses.",
        "a2py1.responses.AAAA",
        signatures.make("responses", "responses:custom:other-model", {"item": {"id": "rs_1", "encrypted_content": "x"}}),
        signatures.make("responses", "chat:custom:test-model", {"item": {"id": "rs_1", "encrypted_content": "x"}}),
        signatures.make("details", ORIGIN, {"item": {"id": "rs_1", "encrypted_content": "x"}}),
        signatures.make("t", ORIGIN, {"text": "Hm."}),
        signatures.make("responses", ORIGIN, {}),
        signatures.make("responses", ORIGIN, {"item": "x"}),
        signatures.make("responses", ORIGIN, {"item": {"id": 7, "encrypted_content": 8}}),
        signatures.make("responses", ORIGIN, {"item": {"id": "rs_1", "encrypted_content": "", "summary": ["x"]}}),
        signatures.make("responses", ORIGIN, {"raw": "yes"}),
    ],
)
def test_what_is_no_state_of_this_model_is_dropped(signature: Any) -> None:
    body = body_of({"messages": [user("Hi"), assistant(thinking(signature), said("Yo")), user("Go")]}, RAW)
    assert [item["type"] for item in body["input"]] == ["message"] * 3
    assert b"Hm." not in orjson.dumps(body)


def test_only_known_fields_of_an_envelope_go_upstream() -> None:
    state = {"item": {"id": "rs_1", "encrypted_content": "x", "summary": ["a", 7, None], "type": "message", "role": "system"}, "evil": 1}
    body = body_of({"messages": [user("Hi"), assistant(thinking(signatures.make("responses", ORIGIN, state)), said("Yo"))]}, REASONS)
    assert body["input"][1] == {
        "type": "reasoning",
        "id": "rs_1",
        "encrypted_content": "x",
        "summary": [{"type": "summary_text", "text": "a"}],
    }


def test_blocks_of_one_item_become_one_item_again() -> None:
    def raw(text: str, **item: str) -> JSON:
        return thinking(signatures.make("responses", ORIGIN, {"raw": True, **({"item": item} if item else {})}), text)

    def items(*blocks: JSON) -> list[JSON]:
        body = body_of({"messages": [user("Hi"), assistant(*blocks, said("Yo"))]}, RAW)
        return [item for item in body["input"] if item["type"] == "reasoning"]

    parts = items(raw("a"), raw("b", id="rs_9", encrypted_content="x"))
    assert parts == [
        {
            "type": "reasoning",
            "id": "rs_9",
            "encrypted_content": "x",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "a"}, {"type": "reasoning_text", "text": "b"}],
        }
    ]
    assert [item["id"] for item in items(raw("a", id="rs_1", signature="x"), raw("b", id="rs_2", signature="x"))] == ["rs_1", "rs_2"]
    assert [item["id"] for item in items(raw("a"), said("between"), raw("b"))] == ["rs_1", "rs_2"]
    sealed = signatures.make("responses", ORIGIN, {"item": {"id": "rs_1", "encrypted_content": "x", "summary": ["s"]}})
    assert items(thinking(sealed), thinking(sealed)) == [
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "x", "summary": [{"type": "summary_text", "text": "s"}] * 2}
    ]


def test_encrypted_reasoning_that_the_model_does_not_have() -> None:
    config = {"wire": "responses", "quirks": {"reasoning": "effort", "encrypted_reasoning": False, "reasoning_summary": False}}
    made = prepared({"messages": [user("Hi")], "thinking": {"type": "adaptive"}}, config)
    assert set(orjson.loads(made.body)) == {"model", "input", "max_output_tokens", "store"}
    assert made.added == {"max_tokens", "store"}


# -- the rest ------------------------------------------------------------------------------------------------------------


def test_what_a_lesson_may_take_away_is_named() -> None:
    made = prepared(
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
    assert made.added == {
        *("include", "max_tokens", "max_tool_calls", "parallel_tool_calls", "prompt_cache_key", "reasoning"),
        *("response_format", "service_tier", "store", "temperature", "tool_choice"),
    }
    assert made.degraded == ()


def test_hosted_search_where_max_tool_calls_is_unknown() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "user_location": {"city": 7, "country": "CH"}}
    config = {"wire": "responses", "quirks": {"web_search": "responses", "max_tool_calls": False}}
    body = body_of({"messages": [user("Hi")], "tools": [search, {**search, "name": "again", "allowed_domains": ["x"]}]}, config)
    assert "max_tool_calls" not in body
    assert body["tools"] == [{"type": "web_search", "user_location": {"type": "approximate", "country": "CH"}}]


def test_hosted_search_forced_where_naming_is_refused() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    config = {"wire": "responses", "quirks": {"web_search": "responses", "tool_choice_named": "none"}}
    made = prepared({"messages": [user("Hi")], "tools": [search], "tool_choice": {"type": "tool", "name": "web_search"}}, config)
    assert "tool_choice" not in orjson.loads(made.body)
    assert made.degraded == ("tool_choice",)


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
    body = body_of({"system": "Be brief.", "messages": [*calls, user({"type": "tool_result", "tool_use_id": "c", "content": "x"})]}, config)
    assert body["input"][0] == {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Be brief."}]}
    body = body_of({"system": "Be brief.", "messages": [*calls, user("Go")]}, config)
    assert [part["text"] for part in body["input"][-1]["content"]] == ["Be brief.", "Go"]


def test_a_body_whose_limit_is_set_by_extra_body_is_not_looked_at() -> None:
    config = {"wire": "responses", "extra_body": {"max_output_tokens": None}}
    assert prepared({"messages": [user("Hi")]}, config).limit == 0
    assert prepared({"messages": [user("Hi")]}).limit == 100


def test_a_streaming_only_upstream() -> None:
    config = {"wire": "responses", "quirks": {"stream_only": True}}
    made = prepared({"messages": [user("Hi")]}, config)
    assert made.stream
    assert orjson.loads(made.body)["stream"] is True


def test_equal_turns_give_equal_bytes() -> None:
    """The upstream's prefix cache hits only so."""
    turn = [user("Hi"), assistant(said("Yo"), {"type": "tool_use", "id": "c", "name": "read", "input": {"b": 1, "a": 2}})]
    result = user({"type": "tool_result", "tool_use_id": "c", "content": "x"})
    first = body_of({"system": "S", "messages": [*turn, result]})["input"]
    second = body_of({"system": "S", "messages": [*turn, result, assistant(said("Done")), user("More")]})["input"]
    assert orjson.dumps(second[: len(first)]) == orjson.dumps(first)


def test_a_system_message_without_text_says_nothing() -> None:
    assert body_of({"messages": [user("Hi"), {"role": "system", "content": []}]})["input"] == body_of({"messages": [user("Hi")]})["input"]


def test_a_forced_tool_that_was_lost_is_told() -> None:
    made = prepared({"messages": [user("Hi")], "tools": [{"type": "code_execution_20250825", "name": "x"}], "tool_choice": {"type": "any"}})
    assert "tool_choice" in made.degraded and "tools" not in orjson.loads(made.body)


def test_no_tools_where_none_can_not_be_said() -> None:
    config = {"wire": "responses", "quirks": {"tool_choice_none": False}}
    body = body_of({"messages": [user("Hi")], "tools": [TOOL], "tool_choice": {"type": "none"}}, config)
    assert "tools" not in body and "tool_choice" not in body


def test_parallel_calls_that_can_not_be_forbidden() -> None:
    config = {"wire": "responses", "quirks": {"parallel_tool_calls": False}}
    made = prepared({"messages": [user("Hi")], "tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, config)
    assert "disable_parallel_tool_use" in made.degraded and "parallel_tool_calls" not in orjson.loads(made.body)
