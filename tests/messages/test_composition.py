"""What fills a context: each part once, none lost, in the request's order."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.messages import composition
from a2py.messages.composition import Part, compose
from a2py.messages.count import count
from a2py.messages.request import parse
from a2py.messages.types import Request
from tests import golden

IMAGE = {"type": "image", "source": {"type": "url", "url": "http://x/y.png"}}


def request(**body: Any) -> Request:
    return parse(
        orjson.dumps({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}], **body})
    )


def test_each_part_has_its_tokens() -> None:
    parts = compose(
        request(
            system=[{"type": "text", "text": "Be brief. " * 50}, {"type": "text", "text": "Now."}],
            tools=[{"name": "Read", "input_schema": {"type": "object"}}, {"type": "bash_20250124", "name": "bash"}],
            messages=[
                {"role": "user", "content": "Look at this. " * 20},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "Well"},
                        {"type": "tool_use", "id": "t1", "name": "Read", "input": {"path": "x"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "word " * 300},
                        {"type": "tool_result", "tool_use_id": "t9", "content": "x"},
                        IMAGE,
                        {"type": "text", "text": "So?"},
                    ],
                },
            ],
        )
    )
    assert [(part.kind, part.label) for part in parts] == [
        ("system", "system 1"),
        ("system", "system 2"),
        ("tool", "Read"),
        ("tool", "bash"),
        ("turn", "user, message 1"),
        ("turn", "assistant, message 2"),
        ("turn", "user, message 3"),
        ("result", "result of Read"),
        ("result", "result of a tool"),
        ("image", "image in message 3"),
    ]
    largest = max(parts, key=lambda part: part.tokens)
    assert largest.kind in ("result", "image") and parts[0].tokens > 10 * parts[1].tokens
    assert parts[3].tokens > 200  # a typed tool costs what its vendor says


@pytest.mark.parametrize("case", golden.cases(), ids=lambda case: case.id)
def test_the_sum_is_the_count(case: golden.Case) -> None:
    for step in case.steps():
        body = step.blocks["request"].json() if "request" in step.blocks else golden.REQUEST
        if "$reply" in str(body):
            continue
        try:
            request = parse(orjson.dumps({"model": "m", "max_tokens": 9, **body}))
        except Exception:  # a golden of a request that is refused
            continue
        parts = compose(request)
        # Each part of a message is counted with what is around a message, and each is rounded.
        assert count(request) - len(parts) <= sum(part.tokens for part in parts) <= count(request) + 6 * len(parts) + 1


def test_few_parts_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "MAX_PARTS", 3)
    parts = compose(request(messages=[{"role": "user", "content": "word " * 10}] * 10))
    assert len(parts) == 4 and parts[-1] == Part("turn", "all that follows", 7 * parts[0].tokens)
    long = compose(request(tools=[{"name": "n" * 200, "input_schema": {"type": "object"}}]))
    assert len(long[0].label) == composition.LABEL
