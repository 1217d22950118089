"""What is read of a client's request, and the body for an upstream."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py import jsonsize
from a2py.errors import ApiError
from a2py.slices import at_once
from a2py.wires.passthrough import request
from a2py.wires.passthrough.endpoints import ENDPOINTS
from a2py.wires.passthrough.request import MEDIA_TOKENS, NO_LIMIT, Question, find_media, parse_in_slices

CHAT, EMBEDDINGS = ENDPOINTS["chat/completions"], ENDPOINTS["embeddings"]
JSON = "application/json"


def parse(raw: bytes, content_type: str = JSON, endpoint: Any = CHAT) -> Question:
    return at_once(parse_in_slices(raw, content_type, endpoint))


def test_only_the_value_of_model_changes() -> None:
    raw = b' {"a" : 1.50, "model"\n: "m\\u0041" ,"b":"\\ud83d", "stream":true}\n'
    question = parse(raw)
    assert question.model == "mA" and question.wants_stream
    assert question.body_for('gpt "5"') == raw.replace(b'"m\\u0041"', b'"gpt \\"5\\""')
    assert question.body_for("mA") is raw, "the same name: the same bytes, written as the client wrote them"
    question.forget()
    assert question.body_for("mA") == b""


@given(
    st.dictionaries(st.text(max_size=6), st.integers() | st.text(max_size=20), max_size=5),
    st.text('abc/"é', min_size=1),
)
def test_any_body(members: dict[str, Any], model: str) -> None:
    members = {name: value for name, value in members.items() if name.casefold() != "model"}
    raw = json.dumps({**members, "model": "old", "z": [1]}, ensure_ascii=False).encode()
    new = parse(raw).body_for(model)
    assert json.loads(new) == {**members, "model": model, "z": [1]}
    before, after = raw.rsplit(b'"old"', 1)
    assert new.startswith(before) and new.endswith(after)


def test_multipart() -> None:
    raw = (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n"model":"x"\r\n'
        b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n'
        b'--B\r\nContent-Disposition: form-data; name="stream"\r\n\r\nTrue\r\n--B--\r\n'
    )
    question = parse(raw, " Multipart/Form-Data; boundary=B", ENDPOINTS["audio/transcriptions"])
    assert (question.model, question.wants_stream, question.estimate) == ("whisper", True, 0)
    assert question.content_type == "Multipart/Form-Data; boundary=B"
    assert question.body_for("large-v3") == raw.replace(b"\r\nwhisper\r\n", b"\r\nlarge-v3\r\n")
    assert not parse(raw.replace(b"True", b"no"), "multipart/form-data; boundary=B").wants_stream


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (JSON, JSON),
        ("application/json; charset=UTF-8", "application/json; charset=UTF-8"),
        ("application/vnd.api+json", "application/vnd.api+json"),
        ("", JSON),
        ("application/x-www-form-urlencoded", JSON),  # curl -d
        ("text/plain", JSON),
        ("application/json; charset=utf-16", JSON),
    ],
)
def test_a_content_type_that_means_something_else_is_not_sent(content_type: str, expected: str) -> None:
    assert parse(b'{"model":"m"}', content_type).content_type == expected


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not valid JSON: "),
        (b"{", "not valid JSON: .*line 1 column 2"),
        (b"[1]", "JSON object"),
        (b'{"model":"m","z":-1e400}', r"the body has a number that is too large for a double .*column 18"),
        (b'{"model":"m","z":' + b"[" * 1025 + b"]" * 1025 + b"}", "the body nests deeper than 1,024 levels"),
    ],
)
def test_no_object(raw: bytes, words: str) -> None:
    with pytest.raises(ApiError, match=words) as excinfo:
        parse(raw)
    assert excinfo.value.status == 400


def test_too_many_values() -> None:
    many = b'{"model":"m","a":[' + b"1," * jsonsize.VALUES_LIMIT + b"1]}"
    with pytest.raises(ApiError) as excinfo:
        parse(many)
    assert excinfo.value.status == 413
    commas = b'{"model":"m","a":"' + b"," * jsonsize.VALUES_LIMIT + b'"}'
    assert parse(commas).model == "m", "marks in a string are no values"


@pytest.mark.parametrize(
    ("more", "limit"),
    [
        ('"max_tokens":7', 7),
        ('"max_completion_tokens":8,"max_tokens":7', 8),
        ('"max_output_tokens":9', 9),
        ('"max_tokens":"7"', NO_LIMIT),
        ('"max_tokens":-1', NO_LIMIT),
        ('"n":1', NO_LIMIT),
    ],
)
def test_the_output_that_it_allows(more: str, limit: int) -> None:
    raw = f'{{"model":"m",{more}}}'.encode()
    assert parse(raw).max_tokens == limit
    assert parse(raw, endpoint=EMBEDDINGS).max_tokens == 0, "no text comes back"


def test_a_response_in_the_background() -> None:
    responses = ENDPOINTS["responses"]
    assert parse(b'{"model":"m","background":true}', endpoint=responses).is_background
    assert not parse(b'{"model":"m","background":false}', endpoint=responses).is_background
    assert not parse(b'{"model":"m","background":true}').is_background


def test_previous_response() -> None:
    assert parse(b'{"model":"m","previous_response_id":"resp_1"}').previous == "resp_1"
    assert parse(b'{"model":"m","previous_response_id":null}').previous == ""


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([b" ", b'"', b".", b"\xc3\xa9", b""]))), st.integers(1, 6))
def test_runs_of_base64(runs: list[tuple[int, bytes]], least: int) -> None:
    piece = b"".join(b"aZ09+/=_-"[:size] + gap for size, gap in runs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request, "MEDIA_BYTES", least)
        spans = list(find_media(piece))
    assert spans == [match.span() for match in re.finditer(rb"[0-9A-Za-z+/=_-]{%d,}" % least, piece)]


def test_the_estimate_leaves_media_out(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"model": "m", "a": "four words are here " * 100}).encode()
    assert 350 < parse(text).estimate < 550
    image = json.dumps({"model": "m", "a": "data:image/png;base64," + "A" * 50_000}).encode()
    assert MEDIA_TOKENS < parse(image).estimate < MEDIA_TOKENS + 30
    monkeypatch.setattr(request, "BYTES", 10_000)
    assert MEDIA_TOKENS < parse(image).estimate < MEDIA_TOKENS + 30, "it is one image, over several slices too"
