"""Reasoning items in a Responses request: whose state comes back, and how it is put together."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.messages import signatures
from a2py.messages.types import JSON
from a2py.wires import wire
from tests import golden

ORIGIN = "responses:custom:test-model"
REASONS: JSON = {"wire": "responses", "quirks": {"reasoning": "effort"}}
RAW: JSON = {"wire": "responses", "quirks": {"reasoning": "effort", "reasoning_history": "reasoning_content"}}


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


def thinking(signature: Any, text: str = "Hm.") -> JSON:
    return {"type": "thinking", "thinking": text, "signature": signature}


def text_block(text: str) -> JSON:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    "signature",
    [
        "",
        None,
        "EqQBCkYIBBgC",
        "a2py1.responses.",
        "a2py1.responses.AAAA",
        signatures.make(
            "responses", "responses:custom:other-model", {"item": {"id": "rs_1", "encrypted_content": "x"}}
        ),
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
    body = body_of({"messages": [user("Hi"), assistant(thinking(signature), text_block("Yo")), user("Go")]}, RAW)
    assert [item["type"] for item in body["input"]] == ["message"] * 3
    assert b"Hm." not in orjson.dumps(body)


def test_only_known_fields_of_an_envelope_go_upstream() -> None:
    state = {
        "item": {
            "id": "rs_1",
            "encrypted_content": "x",
            "summary": ["a", 7, None],
            "type": "message",
            "role": "system",
        },
        "evil": 1,
    }
    body = body_of(
        {"messages": [user("Hi"), assistant(thinking(signatures.make("responses", ORIGIN, state)), text_block("Yo"))]},
        REASONS,
    )
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
        body = body_of({"messages": [user("Hi"), assistant(*blocks, text_block("Yo"))]}, RAW)
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
    assert [item["id"] for item in items(raw("a", id="rs_1", signature="x"), raw("b", id="rs_2", signature="x"))] == [
        "rs_1",
        "rs_2",
    ]
    assert [item["id"] for item in items(raw("a"), text_block("between"), raw("b"))] == ["rs_1", "rs_2"]
    signature = signatures.make(
        "responses", ORIGIN, {"item": {"id": "rs_1", "encrypted_content": "x", "summary": ["s"]}}
    )
    assert items(thinking(signature), thinking(signature)) == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "encrypted_content": "x",
            "summary": [{"type": "summary_text", "text": "s"}] * 2,
        }
    ]


def test_encrypted_reasoning_that_the_model_does_not_have() -> None:
    config = {
        "wire": "responses",
        "quirks": {"reasoning": "effort", "encrypted_reasoning": False, "reasoning_summary": False},
    }
    upstream_request = prepare({"messages": [user("Hi")], "thinking": {"type": "adaptive"}}, config)
    assert set(orjson.loads(upstream_request.body)) == {"model", "input", "max_output_tokens", "store"}
    assert upstream_request.added_fields == {"max_tokens", "store"}


def test_refused_reasoning_items_stay_out() -> None:
    own = signatures.make("responses", ORIGIN, {"item": {"id": "rs_1", "encrypted_content": "x", "summary": ["Hm."]}})
    body: JSON = {"messages": [user("Hi"), assistant(thinking(own), text_block("Hello")), user("Go on")]}
    types = [item["type"] for item in body_of(body, REASONS)["input"]]
    assert types == ["message", "reasoning", "message", "message"]
    quirks = {**REASONS["quirks"], "vendor_state": False}
    assert [item["type"] for item in body_of(body, {**REASONS, "quirks": quirks})["input"]] == ["message"] * 3
