"""The chat wire: limits and corners that no golden shows. The goldens are its main tests."""

from __future__ import annotations

import orjson
import pytest

from a2py.deployment import Deployment
from a2py.messages.reply import Reply
from a2py.messages.request import parse
from a2py.messages.types import JSON, Call, Outcome, Prepared, Usage
from a2py.quirks import Quirks
from a2py.wires.chat import WIRE, pieces
from a2py.wires.chat.calls import Calls
from a2py.wires.chat.reasoning import DIALECTS
from a2py.wires.chat.stream import ChatDecoder
from a2py.wires.common import intake, schema

PREPARED = Prepared("http://x", {}, b"", True)


def deployment(**quirks: object) -> Deployment:
    return Deployment("n", "i", "custom", "m", "http://x/v1", quirks=Quirks(**quirks))  # type: ignore[arg-type]


def sent(body: JSON, dep: Deployment | None = None) -> JSON:
    raw = orjson.dumps({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}], **body})
    out: JSON = orjson.loads(WIRE.prepare(Call(parse(raw), "msg_1", 0.0), dep or deployment(), False).body)
    return out


def decoded(data: bytes, prepared: Prepared = PREPARED) -> tuple[Outcome, JSON]:
    reply = Reply("msg_1", "m")
    decoder = ChatDecoder(prepared, reply)
    decoder.feed(data)
    outcome = decoder.close()
    assert decoder.close() is outcome
    return outcome, {} if outcome.error else reply.message(outcome, Usage())


def test_a_json_body_and_an_event_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BODY_LIMIT", 10)
    outcome, _ = decoded(b'{"choices": [1, 2, 3]}')
    assert outcome.error is not None and "larger than" in outcome.error.message
    monkeypatch.setattr("a2py.sse.LINE_LIMIT", 10)
    outcome, _ = decoded(b"data: " + b"x" * 20)
    assert outcome.error is not None and "larger than" in outcome.error.message


def test_an_error_with_an_empty_choice() -> None:
    outcome, _ = decoded(b'data: {"error":{"message":"no"},"choices":[{"index":0}]}\n\n')
    assert outcome.error is not None and outcome.error.message


def test_reasoning_details_of_no_known_shape() -> None:
    _, message = decoded(
        b'data: {"choices":[{"delta":{"reasoning_details":"x","reasoning":"y","content":"z"},"finish_reason":"stop"}]}\n\n'
    )
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]


def test_details_merge_field_by_field() -> None:
    lines = [
        {"type": "reasoning.text", "index": 0, "text": "a", "signature": None},
        {"type": "reasoning.text", "index": 0, "text": "b", "signature": "s"},
        {"type": "reasoning.text", "index": 0, "text": None, "signature": None},
        {"type": "reasoning.text", "index": 1, "text": "c"},
    ]
    body = b"".join(b"data: " + orjson.dumps({"choices": [{"delta": {"reasoning_details": [line]}}]}) + b"\n\n" for line in lines)
    reply = Reply("msg_1", "m")
    decoder = ChatDecoder(PREPARED, reply)
    decoder.feed(body)
    assert decoder._details.take() == [
        {"type": "reasoning.text", "index": 0, "text": "ab", "signature": "s"},
        {"type": "reasoning.text", "index": 1, "text": "c"},
    ]


def test_details_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LIMIT", 1000)
    decoder = ChatDecoder(PREPARED, Reply("msg_1", "m"))
    decoder.feed(b'data: {"choices":[{"delta":{"reasoning_details":[{"text":"abc"}, 5]}}]}\n\n' * 14)
    assert not decoder.finished
    decoder.feed(b'data: {"choices":[{"delta":{"reasoning_details":[{"text":"abc"}]}}]}\n\n')
    error = decoder.close().error
    assert error is not None and "reasoning details" in error.message


def test_a_custom_call_without_text() -> None:
    reply = Reply("msg_1", "m")
    calls = Calls(reply, {})
    calls.fragments([{"id": "a", "custom": {"name": "f", "input": None}}])
    calls.close(False)
    assert reply.message(Outcome(), Usage())["content"][0]["input"] == {"input": ""}


def test_think_goes_ahead_of_typed_parts() -> None:
    from a2py.wires.chat.reasoning import _put_think

    message: JSON = {"content": [{"type": "text", "text": "x"}]}
    _put_think(message, "t", [])
    assert message["content"] == [{"type": "text", "text": "<think>\nt\n</think>\n\n"}, {"type": "text", "text": "x"}]


def test_an_empty_result_text_beside_other_blocks() -> None:
    out = sent(
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": ""}]}]},
            ]
        }
    )
    assert out["messages"][1] == {"role": "tool", "tool_call_id": "a", "content": ""}


# -- schemas -------------------------------------------------------------------------------------------------------------


def nest(depth: int) -> JSON:
    node: JSON = {"type": "object", "properties": {}, "additionalProperties": False, "$schema": "x"}
    for _ in range(depth):
        node = {"type": "object", "properties": {"a": node}, "required": ["a"], "additionalProperties": False}
    return node


def test_hostile_depth_passes_unchanged() -> None:
    deep = nest(schema.DEPTH)
    assert schema.clean(deep, ("drop_$schema",)) is deep
    assert not schema.strict(nest(schema.DEPTH + 1))
    assert schema._walk({"$schema": 1}, [schema.SCHEMA_STEPS["drop_$schema"]], schema.DEPTH + 1) == {"$schema": 1}


def test_a_clean_schema_is_the_same_object() -> None:
    plain: JSON = {"type": "object", "properties": {"a": {"type": "string"}}, "allOf": [{"type": "object"}], "items": {"type": "object"}}
    assert schema.clean(plain, tuple(schema.SCHEMA_STEPS)) is plain


def test_refs_are_bounded_and_cycles_end() -> None:
    tree: JSON = {"$defs": {"n": {"properties": {"l": {"$ref": "#/$defs/m"}, "r": {"$ref": "#/$defs/m"}}}, "m": {"$ref": "#/$defs/n"}}}
    tree["properties"] = {
        "root": {"$ref": "#/$defs/n"},
        "gone": {"$ref": "#/nowhere/x", "description": "d"},
        "list": {"anyOf": [{"$ref": "http://x"}]},
    }
    out = schema.clean(tree, ("inline_refs",))
    assert "$defs" not in out and out["properties"]["gone"] == {"type": "object", "description": "d"}
    assert out["properties"]["list"] == {"anyOf": [{"$ref": "http://x"}]}


@pytest.mark.parametrize(
    ("node", "ok"),
    [
        ({"type": "object", "properties": 5, "additionalProperties": False}, True),
        ({"type": "object", "additionalProperties": False, "required": 7, "properties": {"a": {}}}, False),
        ({"anyOf": [{"type": "object"}]}, False),
        ({"type": "object", "additionalProperties": False, "required": [[]]}, True),
        ({"items": {"properties": {}}}, False),
        (True, True),
    ],
)
def test_strict(node: object, ok: bool) -> None:
    assert schema.strict(node) is ok


def test_every_dialect_is_named_in_the_quirk(request: pytest.FixtureRequest) -> None:
    assert set(DIALECTS) >= {"none", "effort", "openrouter", "thinking_type", "enable_thinking", "template", "think"}


def test_a_rule_where_the_assistant_opens_and_there_is_no_system_role() -> None:
    """`system_as_user`: the schema's rule becomes a user message of its own, ahead of the assistant's."""
    to = deployment(structured="none", system_as_user=True)
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body = {
        "model": "m",
        "max_tokens": 100,
        "messages": [{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Go"}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }
    sent = orjson.loads(WIRE.prepare(Call(parse(orjson.dumps(body)), "msg_1", 0.0), to, False).body)
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert "JSON schema" in sent["messages"][0]["content"] and sent["messages"][1]["content"] == "Yes?"
