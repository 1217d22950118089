"""A request of very many small pieces costs time in proportion: nobody stops the proxy's only thread with one body."""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson
import pytest

from a2py.deployment import Deployment
from a2py.messages.count import count, estimate
from a2py.messages.request import parse
from a2py.messages.types import JSON, Call
from a2py.providers import quirks_for
from a2py.wires import wire

PIECES = 20_000
#: Seconds of CPU. Each shape takes 0.1 to 0.6; what grows by the square of PIECES took 10 and more.
SECONDS = 5.0


def _user(*content: JSON) -> JSON:
    return {"role": "user", "content": list(content)}


def _turn(*content: JSON) -> JSON:
    return {"role": "assistant", "content": list(content)}


def _text(text: str = "ab") -> JSON:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}


def _call(id: str) -> JSON:
    return {"type": "tool_use", "id": id, "name": "read", "input": {}}


def _result(id: str) -> JSON:
    return {"type": "tool_result", "tool_use_id": id, "content": "ok"}


SHAPES: dict[str, Callable[[range], list[JSON]]] = {
    "calls of one turn": lambda n: [_user(_text()), _turn(*(_call(f"c{i}") for i in n)), _user(*(_result(f"c{i}") for i in reversed(n)))],
    "calls of one id": lambda n: [_user(_text()), _turn(*(_call("c") for _ in n)), _user(*(_result("c") for _ in n))],
    "results without calls": lambda n: [_user(*(_result(f"c{i}") for i in n))],
    "texts of one turn": lambda n: [_user(*(_text() for _ in n)), _turn(*(_text() for _ in n))],
    "turns": lambda n: [message for _ in n for message in (_user(_text()), _turn(_text()))],
    "empty turns between": lambda n: [message for _ in n for message in (_user(_text("ab" * 50)), _turn())],
    "system messages": lambda n: [_user(_text()), *({"role": "system", "content": "ab"} for _ in n)],
}


@pytest.mark.parametrize("name", ["chat", "responses", "native"])
@pytest.mark.parametrize("shape", SHAPES)
def test_cost_grows_in_proportion(shape: str, name: str) -> None:
    raw = orjson.dumps({"model": "m", "max_tokens": 9, "messages": SHAPES[shape](range(PIECES))})
    dep = Deployment("n", "i", "openai", "gpt-5.6", "https://api.openai.com/v1", wire=name, quirks=quirks_for("openai", "", "gpt-5.6"))
    start = time.process_time()
    request = parse(raw)
    wire(name).prepare(Call(request, "msg_1", 0.0), dep, True)
    count(request)
    estimate(request)
    assert time.process_time() - start < SECONDS
