"""JSON with halves of surrogate pairs, huge numbers and deep nests."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py import jsontext

HALF = "\ufffd"


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (rb'"\ud83d"', HALF),
        (rb'"a\ude00b"', f"a{HALF}b"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ude00\ud83d"', HALF * 2),
        (rb'"\ud83d\ud83d\ude00"', HALF + "\U0001f600"),
        (rb'"\uD83D\uDE00 \uD83D"', "\U0001f600 " + HALF),
        (rb'"\\ud83d"', r"\ud83d"),
        (rb'"\\\ud83d"', "\\" + HALF),
        (rb'"\\\\ud83d \ud83d"', rf"\\ud83d {HALF}"),
        (rb'{"\ud83d": ["\n", "\u20ac", "\ud83dx"]}', {HALF: ["\n", "\u20ac", f"{HALF}x"]}),
        (b"[1]", [1]),
        (b'{"a": "b\xffc", "d": "\xe2\x82"}', {"a": "b\ufffdc", "d": "\ufffd"}),
        (b'"\xe2\x82\\ud83d"', "\ufffd\ufffd"),
    ],
)
def test_loads(raw: bytes, value: Any) -> None:
    assert jsontext.loads(raw) == value


@pytest.mark.parametrize("raw", [b"", b"{", b"nope", rb'"\ud83d', rb'{"\ud83d"}', b"\xff", rb'"\ud83d\x"'])
def test_what_is_no_json_stays_no_json(raw: bytes) -> None:
    with pytest.raises(ValueError):
        jsontext.loads(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            b'{"z":1e400}',
            "has a number that is too large for a double (number is infinity when parsed as double: line 1",
        ),
        (b"[-1e400]", "has a number that is too large for a double"),
        (b"[" * 1025 + b"]" * 1025, "nests deeper than 1,024 levels (depth limit exceeded: line 1 column"),
        (b'{"a":1,}', "is not valid JSON: trailing comma is not allowed: line 1 column 7 (char 6)"),
        (b"[NaN]", "is not valid JSON: "),
    ],
)
def test_valid_json_is_not_called_invalid(raw: bytes, words: str) -> None:
    with pytest.raises(ValueError) as excinfo:
        jsontext.loads(raw)
    assert jsontext.explain(excinfo.value).startswith(words)
    assert jsontext.loads(b"[" * jsontext.READ_DEPTH + b"]" * jsontext.READ_DEPTH)


def test_mending_is_done_in_slices() -> None:
    raw = b'"' + rb"\ud83d" * 5000 + b'"'
    assert len(list(jsontext.loads_in_slices(raw))) == 1 + 1 + 10 + 1 + 1
    assert jsontext.loads(raw) == HALF * 5000
    raw = b'"' + b"\xe2\x82\xac" * 1_000_000 + b'\xff"'  # a character is never cut between two slices
    assert len(list(jsontext.loads_in_slices(raw))) == 1 + 3 + 1 + 1
    assert jsontext.loads(raw) == "\u20ac" * 1_000_000 + HALF


def test_what_is_far_from_utf_8_is_no_json() -> None:
    with pytest.raises(ValueError):
        jsontext.loads(b'"' + b"\xff" * 6_000_000 + b'"')
    with pytest.raises(ValueError):
        jsontext.loads(rb'"\ud83d' + b'\0"')


halves = st.text(st.sampled_from('ab\\"u\ud83d\ude00\udbff\udc00\u20ac\n'), max_size=12)


@settings(deadline=None)
@given(halves)
def test_any_string_that_python_writes_can_be_read(s: str) -> None:
    value = jsontext.loads(json.dumps(s).encode())
    assert value == jsontext.without_surrogates(s)
    orjson.dumps(value)


@pytest.mark.parametrize(
    ("s", "whole"),
    [
        ("", ""),
        ("abc\u20ac", "abc\u20ac"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ude00\ud83d", HALF * 2),
        ("\ufeffx\ud83d", f"\ufeffx{HALF}"),
    ],
)
def test_whole(s: str, whole: str) -> None:
    assert jsontext.without_surrogates(s) == whole


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.5, None, True, "\u20ac"]}, {"a": [1, 2.5, None, True, "\u20ac"]}),
        ({"\ud83d": ["\udc00", {"x": "\ud83d\ude00"}], "n": 1}, {HALF: [HALF, {"x": "\U0001f600"}], "n": 1}),
        ({1: 2}, {"1": 2}),
        ([2**64, -(2**70), 2**63 - 1, True], [float(2**64), -float(2**70), 2**63 - 1, True]),
        ([10**400], [None]),
        (["\ud83d", 2**64 - 1], [HALF, float(2**64 - 1)]),
    ],
)
def test_dumps(value: Any, expected: Any) -> None:
    assert orjson.loads(jsontext.dumps(value)) == expected


@pytest.mark.parametrize("make", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_a_nest_too_deep_to_write_ends_in_null(make: Any) -> None:
    value: Any = "core"
    for _ in range(1000):
        value = make(value)
    text = jsontext.dumps({"deep": value, "rest": 1})
    assert b"core" not in text
    assert b"null" in text
    assert orjson.loads(text)["rest"] == 1
    shallow: Any = "core"
    for _ in range(250):
        shallow = make(shallow)
    assert b"core" in jsontext.dumps(shallow)


@pytest.mark.parametrize("make", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_what_must_lose_nothing_is_refused_instead(make: Any) -> None:
    value: Any = "\ud83d"
    for _ in range(jsontext.DEPTH):
        value = make(value)
    assert jsontext.dumps_whole(value) == jsontext.dumps(value) and b"null" not in jsontext.dumps(value)
    for write in (jsontext.dumps_whole, jsontext.dumps_to_keep):
        with pytest.raises(ValueError, match="more than 200 levels"):
            write({"deep": [make(value)]})
    assert jsontext.dumps_whole({"a": 2**70, "b": []}) == jsontext.dumps({"a": 2**70, "b": []})


@pytest.mark.parametrize("size", [0, 1, 600, jsontext.SMALL - 3, jsontext.SMALL, 5 * jsontext.SMALL])
def test_packed_is_what_dumps_gives(size: int) -> None:
    value = {"a": "x" * size}
    assert jsontext.dumps_to_keep(value) == jsontext.dumps(value)
    assert jsontext.dumps_to_keep({"a": "\ud83d"}) == jsontext.dumps({"a": "\ud83d"})
