"""The place of the top-level `model` in a JSON body, beside a parser that knows every pair."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py import slices
from a2py.errors import ApiError
from a2py.messages.request import MODEL_LIMIT
from a2py.slices import at_once
from a2py.wires.passthrough import json_model
from a2py.wires.passthrough.json_model import find_model_in_slices, is_background_in_slices


def find(raw: bytes) -> tuple[str, bytes]:
    """The name, and the bytes at its place."""
    member = at_once(find_model_in_slices(raw))
    return member.value, raw[member.start : member.end]


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (rb'{"model":"m"}', "m"),
        (b'{ "model"\t:\r\n "m" , "a": 1}', "m"),
        (rb'{"messages":[{"model":"no"}],"model":"m"}', "m"),
        (rb'{"a":{"model":{"model":"no"}},"b":["model"],"model":"m"}', "m"),
        (rb'{"a":"model","model":"m"}', "m"),
        (rb'{"a":"{\"model\":\"no\"}","model":"m"}', "m"),
        (rb'{"a":"say \"model","model":"m"}', "m"),
        (rb'{"say \"model":1,"model":"m"}', "m"),
        (rb'{"a":"\\","model":"m"}', "m"),
        (rb'{"a":"\\\"model\":","model":"m"}', "m"),
        (rb'{"\\u006dodel":1,"model":"m"}', "m"),
        (rb'{"mod\u0065l":"m"}', "m"),
        (rb'{"a":{"model":1},"\u006D\u006f\u0064\u0065\u006C" : "m"}', "m"),
        (rb'{"models":["a"],"model":"m","model_":1}', "m"),
        (rb'{"model":"a\"b\\c\u0041/d"}', 'a"b\\cA/d'),
        ('{"model":"模型"}'.encode(), "模型"),
    ],
)
def test_it_is_found(raw: bytes, name: str) -> None:
    value, place = find(raw)
    assert value == name and json.loads(place) == name


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"model":"a","model":"b"}',
        rb'{"model":"a","model":"a"}',
        rb'{"model":"a","mod\u0065l":"b"}',
        rb'{"\u006D\u006f\u0064\u0065\u006C":"a","model":"b"}',
        rb'{"model":"a","Model":"b"}',
        rb'{"model":"a","\u004dODEL":"b"}',
        rb'{"model":"a","x":{},"model":{"model":1}}',
    ],
)
def test_two_are_refused(raw: bytes) -> None:
    with pytest.raises(ApiError, match="more than one member `model`") as excinfo:
        find(raw)
    assert excinfo.value.status == 400 and excinfo.value.field == "model"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (rb"{}", "must provide a model"),
        (rb'{"a":{"model":"m"}}', "must provide a model"),
        (rb'{"MODEL":"m"}', "must provide a model parameter: its name is `model`, not `MODEL`"),
        (rb'{"\u004dodel":"m"}', "its name is `model`, not `Model`"),
        (rb'{"model":1}', "must be a string"),
        (rb'{"model":null}', "must be a string"),
        (rb'{"model":["m"]}', "must be a string"),
        (rb'{"model":"\ud800"}', "valid string"),
        (rb'{"model":""}', "name of 1 to"),
        (rb'{"model":"a\nb"}', "name of 1 to"),
        (b'{"model":"%b"}' % (b"m" * (MODEL_LIMIT + 1)), "name of 1 to"),
    ],
)
def test_no_name(raw: bytes, words: str) -> None:
    with pytest.raises(ApiError, match=words) as excinfo:
        find(raw)
    assert excinfo.value.status == 400 and excinfo.value.should_retry is False


@pytest.mark.parametrize(
    ("members", "is_background"),
    [
        ("", False),
        (',"background":false', False),
        (',"background":null', False),
        (',"background":true', True),
        (',"background":"false"', True),
        (',"background":true,"background":false', True),
        (',"background":false,"background":false', True),
        (',"Background":true', True),
        (',"BACKGROUND":false', True),
        (r',"\u0062ackground":false,"background":false', True),
        (r',"bac\u212Aground":true', True),
        (',"bac\u212aground":true,"background":false', True),
        (',"background":false,"backgrounds":true,"a":{"background":true}', False),
        (r',"background":false,"a":"\"background\":true"', False),
    ],
)
def test_background(members: str, is_background: bool) -> None:
    raw = f'{{"model":"m"{members}}}'.encode()
    assert at_once(is_background_in_slices(raw, orjson.loads(raw))) is is_background


@pytest.mark.parametrize("name", ["model", "background"])
def test_each_letter_may_be_an_escape_or_in_another_case(name: str) -> None:
    pattern = json_model._compile_name(name)
    for at, letter in enumerate(name):
        for form in (letter.upper(), rf"\u{ord(letter):04x}", rf"\u{ord(letter.upper()):04X}"):
            assert pattern.fullmatch(f'"{name[:at]}{form}{name[at + 1 :]}"'.encode())
        assert not pattern.fullmatch(f'"{name[:at]}{name[at + 1 :]}"'.encode())


def test_a_name_may_be_written_in_escapes() -> None:
    name = "😀" * MODEL_LIMIT
    raw = json.dumps({"model": name}).encode()
    assert find(raw)[0] == name


def test_a_flood_as_a_name_costs_no_memory() -> None:
    """It took 140 bytes for each of its own."""
    raw = b'{"model":"%b"}' % (b"m" * (1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(ApiError, match="name of 1 to"):
            find(raw)
        assert tracemalloc.get_traced_memory()[1] < len(raw)
    finally:
        tracemalloc.stop()


class Pairs(list[tuple[str, Any]]):
    """An object, whose names may repeat."""


NAMES = st.sampled_from(["model", "models", "Model", "a", 'say "model', "\\", "mode", "x\\"])
LEAVES = st.one_of(
    st.none(),
    st.integers(),
    st.text(st.sampled_from('model":,{}[]\\ é\n'), max_size=12),
    st.sampled_from(["model", '"model":', '{"model":"x"}']),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(NAMES, inner), max_size=3).map(Pairs)
)


def write(value: Any, has_escapes: bool) -> str:
    """JSON with every second name written in escapes, if `has_escapes`."""
    if isinstance(value, Pairs):
        members = []
        for n, (name, inner) in enumerate(value):
            text = json.dumps(name)
            if has_escapes and n % 2 and '"' not in name and "\\" not in name:
                text = '"' + "".join(f"\\u{ord(c):04x}" for c in name) + '"'
            members.append(f"{text} :{write(inner, has_escapes)}")
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(write(inner, has_escapes) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=has_escapes)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6).map(Pairs), st.booleans())
def test_any_object(value: Pairs, has_escapes: bool) -> None:
    """A parser that keeps every pair says what must come out."""
    raw = write(value, has_escapes).encode()
    members = [(name, inner) for name, inner in value if name.casefold() == "model"]
    try:
        name, place = find(raw)
    except ApiError:
        is_one = len(members) == 1 and members[0][0] == "model" and isinstance(members[0][1], str)
        is_plain = is_one and members[0][1].isprintable() and members[0][1] != ""
        position = [name for name, _ in value].index("model") if is_plain else 0
        assert not is_plain or (has_escapes and position % 2), raw  # written in escapes
    else:
        assert [("model", name)] == members and json.loads(place) == name


def test_a_large_body_is_gone_through_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between candidates, at many candidates, and while escapes are covered."""
    monkeypatch.setattr(json_model, "BYTES", 64)
    monkeypatch.setattr(json_model, "ITEMS", 4)
    assert slices.BYTES > 64
    raw = json.dumps({"a": ["model", 'x"' * 200] * 20, "model": "m"}).encode()
    work = find_model_in_slices(raw)
    turns = 0
    try:
        while True:
            next(work)
            turns += 1
    except StopIteration as stop:
        assert stop.value.value == "m" and turns > 50
