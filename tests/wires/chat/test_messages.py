"""Messages of a chat request: corners that no golden shows."""

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


def test_an_empty_result_text_beside_other_blocks() -> None:
    out = body_of(
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": ""}]}],
                },
            ]
        }
    )
    assert out["messages"][1] == {"role": "tool", "tool_call_id": "a", "content": ""}


def test_a_link_to_a_pdf_is_no_part() -> None:
    source = {"type": "url", "url": "https://x/a.pdf"}
    out = body_of(
        {"messages": [{"role": "user", "content": [{"type": "document", "source": source}]}]},
        deployment(documents="file"),
    )
    assert isinstance(out["messages"][0]["content"], str)
