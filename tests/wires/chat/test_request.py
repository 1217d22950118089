"""The chat request: corners that no golden shows."""

from __future__ import annotations

import orjson

from a2py.deployment import Deployment
from a2py.messages.request import parse
from a2py.messages.types import JSON, Call
from a2py.quirks import Quirks
from a2py.wires.chat import WIRE


def deployment(**quirks: object) -> Deployment:
    return Deployment("n", "i", "custom", "m", "http://x/v1", quirks=Quirks(**quirks))  # type: ignore[arg-type]


def body_of(body: JSON, dep: Deployment | None = None) -> JSON:
    raw = orjson.dumps({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}], **body})
    out: JSON = orjson.loads(WIRE.prepare(Call(parse(raw), "msg_1", 0.0), dep or deployment(), False).body)
    return out


def test_a_rule_where_the_assistant_opens_and_there_is_no_system_role() -> None:
    """`system_as_user`: the schema's rule becomes a user message of its own, before the assistant's."""
    to = deployment(structured="none", system_as_user=True)
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body = {
        "model": "m",
        "max_tokens": 100,
        "messages": [{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Go"}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }
    upstream = orjson.loads(WIRE.prepare(Call(parse(orjson.dumps(body)), "msg_1", 0.0), to, False).body)
    assert [message["role"] for message in upstream["messages"]] == ["user", "assistant", "user"]
    assert "JSON schema" in upstream["messages"][0]["content"] and upstream["messages"][1]["content"] == "Yes?"
