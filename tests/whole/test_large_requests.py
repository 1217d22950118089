"""A request of very many small pieces costs time in proportion, so that no body can stop the proxy's only thread."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
import pytest

from a2py.deployment import Deployment
from a2py.messages.count import count, count_in_slices, estimate, estimate_in_slices
from a2py.messages.request import parse, parse_in_slices
from a2py.messages.types import JSON, Call
from a2py.providers import find_quirks
from a2py.quirks import override
from a2py.slices import Slices
from a2py.wires import wire
from tests.counted_work import work

T = TypeVar("T")

PIECES = 20_000


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
    "calls of one turn": lambda n: [
        _user(_text()),
        _turn(*(_call(f"c{i}") for i in n)),
        _user(*(_result(f"c{i}") for i in reversed(n))),
    ],
    "calls of one id": lambda n: [_user(_text()), _turn(*(_call("c") for _ in n)), _user(*(_result("c") for _ in n))],
    "results without calls": lambda n: [_user(*(_result(f"c{i}") for i in n))],
    "texts of one turn": lambda n: [_user(*(_text() for _ in n)), _turn(*(_text() for _ in n))],
    "texts of one result": lambda n: [
        _user(_text()),
        _turn(_call("c")),
        _user({**_result("c"), "content": [_text() for _ in n]}),
    ],
    "messages of the assistant": lambda n: [_user(_text()), *(_turn(_text()) for _ in n)],
    "turns": lambda n: [message for _ in n for message in (_user(_text()), _turn(_text()))],
    "empty turns between": lambda n: [message for _ in n for message in (_user(_text("ab" * 50)), _turn())],
    "system messages": lambda n: [_user(_text()), *({"role": "system", "content": "ab"} for _ in n)],
}


@pytest.mark.parametrize("name", ["chat", "responses", "native"])
@pytest.mark.parametrize("shape", SHAPES)
def test_cost_grows_in_proportion(shape: str, name: str) -> None:
    """Four times the pieces make about four times the work. The square would be sixteen times as much."""
    dep = Deployment(
        "n",
        "i",
        "openai",
        "gpt-5.6",
        "https://api.openai.com/v1",
        wire=name,
        quirks=find_quirks("openai", "", "gpt-5.6"),
    )

    def run(pieces: int) -> None:
        request = parse(orjson.dumps({"model": "m", "max_tokens": 9, "messages": SHAPES[shape](range(pieces))}))
        wire(name).prepare(Call(request, "msg_1", 0.0), dep, True)
        count(request)
        estimate(request)

    assert work(lambda: run(400)) <= 8 * work(lambda: run(100))


#: Calls of Python and C functions in one slice. Most have some thousand; a whole pass over PIECES messages has 120,000
#: to 1,000,000.
CALLS = 90_000
#: Bodies whose work is in tools and schemas.
TOOLS: dict[str, JSON] = {
    "tools": {
        "tools": [{"name": f"t{n}", "description": "x", "input_schema": {"type": "object"}} for n in range(PIECES)]
    },
    "a schema": {
        "tools": [
            {
                "name": "t",
                "input_schema": {"type": "object", "properties": {f"p{n}": {"type": "a"} for n in range(PIECES)}},
            }
        ]
    },
    "a schema of the reply": {
        "output_config": {
            "format": {
                "type": "json_schema",
                "schema": {"type": "object", "properties": {f"p{n}": {"type": "a"} for n in range(PIECES)}},
            }
        }
    },
}
UNKNOWN: dict[str, list[JSON]] = {
    "a result of no known type": [
        _user(_text()),
        _turn({"type": "x_tool_result", "content": [["x"]] * PIECES}),
        _user(_text()),
    ],
    "a result with what only Anthropic reads": [
        _user(_text()),
        _turn({"type": "x_tool_result", "content": [["x"]] * PIECES + [{"encrypted_content": "x"}]}),
        _user(_text()),
    ],
    "a block of no known type": [_user({"type": "x", "content": [["x"]] * PIECES})],
}


def _body(shape: str) -> bytes:
    messages = SHAPES[shape](range(PIECES)) if shape in SHAPES else UNKNOWN.get(shape, [_user(_text())])
    return orjson.dumps({"model": "m", "max_tokens": 9, "messages": messages, **TOOLS.get(shape, {})})


def _calls(work: Slices[T]) -> tuple[T, list[int]]:
    """The result, and for each slice the calls that it made."""
    count = 0
    slices: list[Any] = []

    def count_call(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    while True:
        count = 0
        sys.setprofile(count_call)
        try:
            next(work)
        except StopIteration as stop:
            sys.setprofile(None)
            return stop.value, [*slices, count]
        finally:
            sys.setprofile(None)
        slices.append(count)


@pytest.mark.parametrize("shape", [*SHAPES, *TOOLS, *UNKNOWN])
def test_no_slice_does_all_the_work(shape: str) -> None:
    request, parsing = _calls(parse_in_slices(_body(shape)))
    assert max(parsing) < CALLS
    for slices in (count_in_slices(request), estimate_in_slices(request)):
        assert max(_calls(slices)[1]) < CALLS
    steps = ("drop_$schema", "drop_formats", "inline_refs", "const_to_enum")
    for name in ("chat", "responses", "native"):
        quirks = override(
            find_quirks("openai", "", "gpt-5.6"), {"schema": steps, "cache": "blocks" if name == "chat" else "key"}
        )
        drop = frozenset({"messages.content.cache_control", "tools.input_schema.x", "input.content.x"})
        dep = Deployment(
            "n", "i", "openai", "m", "https://x/v1", wire=name, quirks=quirks, drop=drop, cache_control_ttl="1h"
        )
        result, preparing = _calls(wire(name).prepare_in_slices(Call(request, "msg_1", 0.0), dep, True))
        assert max(preparing) < CALLS and result.body
