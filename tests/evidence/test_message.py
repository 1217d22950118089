"""What one worker tells another of a server: every word arrives as it was, and nothing else is taken."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.evidence.message import MAX_BYTES, ServerReport, decode, encode
from a2py.evidence.server import MAX_CONTEXT, MAX_ID, MAX_MODELS, PROGRAMS, ListedModel, ServerWord

BASE, DATE = "http://127.0.0.1:8000/v1", "2026-11-29T21:23Z"
WORD = ServerWord(
    "vLLM",
    "hosted_vllm",
    False,
    "0.11.0",
    (ListedModel("m", 4096), ListedModel("bge-m3", 0, False, False)),
    2,
    "its list",
    False,
)


def test_every_field_is_sent() -> None:
    """A field that is added to ServerWord or ListedModel must arrive, too."""
    defaults, (model, other) = ServerWord(), WORD.models
    fields = [name for name in ServerWord._fields if getattr(WORD, name) != getattr(defaults, name)]
    assert {*fields, "is_relay"} == set(ServerWord._fields)
    assert all(
        getattr(other, name) != default for name, default in ListedModel._field_defaults.items() if name != "context"
    )
    assert model.context and decode(encode(ServerReport(BASE, WORD, DATE))) == ServerReport(BASE, WORD, DATE)


@pytest.mark.parametrize("program", ["", *PROGRAMS])
def test_a_word_arrives_as_it_was(program: str) -> None:
    row, is_relay = PROGRAMS.get(program, ("", False))
    message = ServerReport(BASE, WORD._replace(program=program, row=row, is_relay=is_relay), DATE)
    assert decode(encode(message)) == message


def test_a_word_that_says_nothing_and_the_largest_one_arrive_too() -> None:
    models = tuple(ListedModel("\U00020000" * MAX_ID, MAX_CONTEXT) for _ in range(MAX_MODELS))
    for word in (ServerWord(), WORD._replace(models=models)):
        data = encode(ServerReport(BASE, word, DATE))
        assert len(data) <= MAX_BYTES and decode(data) == ServerReport(BASE, word, DATE)


WRONG: list[dict[str, Any]] = [
    {"base": ""},
    {"base": "x" * 3000},
    {"base": "a\nb"},
    {"base": None},
    {"date": "yesterday"},
    {"date": ""},
    {"program": "Skynet"},
    {"program": []},
    {"version": "1" * 41},
    {"slots": -1},
    {"has_vision": 0},
    {"slots": True},
    {"slots": MAX_CONTEXT + 1},
    {"reason": "\x1b[2J"},
    {"models": {}},
    {"models": [["m", 1, True, True]] * (MAX_MODELS + 1)},
    {"models": [["", 1, True, True]]},
    {"models": [["m", 1.5, True, True]]},
    {"models": [["m", 1, 1, True]]},
    {"models": [["m", 1, True, None]]},
    {"models": [["m", 1, True]]},
    {"models": ["abcd"]},
    {"models": [7]},
]


@pytest.mark.parametrize("change", WRONG, ids=lambda change: str(change)[:40])
def test_a_message_that_nobody_encodes_is_not_taken(change: dict[str, Any]) -> None:
    message = orjson.loads(encode(ServerReport(BASE, WORD, DATE)))
    assert decode(orjson.dumps(message)) is not None
    assert decode(orjson.dumps({**message, **change})) is None
    for name in change:
        assert decode(orjson.dumps({key: value for key, value in message.items() if key != name})) is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b'"base"', b"[" * 5000, b"[" + b"0," * 20_000 + b"0]", b" " * (MAX_BYTES + 1)]
)
def test_bytes_that_are_no_message_are_not_taken(data: bytes) -> None:
    assert decode(data) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_read(data: bytes) -> None:
    decode(data)
