"""Counting tokens without a tokenizer, and learning from replies."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.messages import count as module
from a2py.messages import media, signatures
from a2py.messages.count import (
    Calibration,
    bytes_tokens,
    count,
    count_in_slices,
    estimate,
    estimate_in_slices,
    text_tokens,
)
from a2py.messages.request import parse
from a2py.messages.types import JSON, Request
from tests import recordings
from tests.messages.test_media import b64, pdf, png

TEXT = "The quick brown fox jumps over the lazy dog. " * 20


def read(*content: JSON, role: str = "user", **changes: Any) -> Request:
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": role, "content": list(content)}], **changes}
    return parse(orjson.dumps(body))


def count_block(block: JSON, role: str = "user") -> int:
    """What one block adds."""
    empty = read({"type": "text", "text": TEXT}, role=role)
    return count(read({"type": "text", "text": TEXT}, block, role=role)) - count(empty)


def near(n: int, expected: float) -> bool:
    return abs(n - expected) <= 1


#: Text and its tokens by o200k (2026-11).
SAMPLES = [
    (TEXT, 201),
    ("def add(a: int, b: int) -> int:\n    return a + b\n" * 20, 380),
    ('{"type": "object", "properties": {"path": {"type": "string", "description": "The file"}}}' * 10, 260),
]


@pytest.mark.parametrize(("text", "tokens"), SAMPLES)
def test_text(text: str, tokens: int) -> None:
    assert 0.65 < text_tokens(text) / tokens < 1.35
    assert text_tokens(text) == bytes_tokens(text.encode())


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("\u4e2d\u6587" * 50, 50, 120), ("\u043c\u044b" * 50, 20, 60), ("\U0001f600" * 10, 8, 30)],
)
def test_other_scripts(text: str, least: int, most: int) -> None:
    assert least < text_tokens(text) < most


def json_tokens(value: JSON) -> float:
    return bytes_tokens(orjson.dumps(value))


def test_what_is_no_text() -> None:
    assert text_tokens("") == 0
    assert text_tokens("\ud83d") > 0
    odd = {
        "type": "document",
        "title": 7,
        "context": None,
        "source": {"type": "text", "media_type": "text/plain", "data": "\ud83d"},
    }
    assert count(Request(body={}, model="m", messages=[{"role": "user", "content": [odd]}])) == 5


@pytest.mark.parametrize(
    ("content", "counting", "estimating"),
    [
        ("x" * 3_000_000, 12, 0),  # a string is counted in pieces of 256 Ki; its length is known
        ([{"type": "text", "text": "x"}] * 3000, 7, 5),  # 500 blocks a slice
        ([{"type": "brand_new", "x": [["y"]] * 3000}], 13, 0),  # 500 values of an unknown block a slice
        ([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "x" * 900}}] * 501, 2, 2),
        ("Hi", 1, 0),
    ],
)
def test_slices(content: Any, counting: int, estimating: int) -> None:
    request = Request(body={}, model="m", messages=[{"role": "user", "content": content}])
    assert (len(list(count_in_slices(request))), len(list(estimate_in_slices(request)))) == (counting, estimating)


def test_slices_of_many_messages_and_tools() -> None:
    message = {"role": "user", "content": "x"}
    assert len(list(estimate_in_slices(Request(body={}, model="m", messages=[message] * 1500)))) == 3
    tool = {"name": "f", "input_schema": {"type": "object"}}
    assert len(list(count_in_slices(Request(body={}, model="m", messages=[message], tools=[tool] * 1500)))) == 4


def test_every_byte_has_one_class() -> None:
    kinds = [kind for kind, _ in module._WEIGHTS if kind != module._CAPITALS]
    assert sorted(b"".join(kinds)) == list(range(128))


# -- count -------------------------------------------------------------------------------------------------------------

tokens = text_tokens(TEXT)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "text", "text": TEXT}, tokens),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(png(1000, 1000))}},
            1333,
        ),
        ({"type": "image", "source": {"type": "url", "url": "https://x/" + "y" * 500}}, media.IMAGE_UNKNOWN),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, media.IMAGE_UNKNOWN),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": pdf(3)}},
            3 * media.PAGE,
        ),
        (
            {
                "type": "document",
                "title": TEXT,
                "context": TEXT,
                "source": {"type": "text", "media_type": "text/plain", "data": TEXT},
            },
            3 * tokens,
        ),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": TEXT}]}}, tokens),
        ({"type": "document", "source": {"type": "url", "url": "https://x"}}, media.PAGE),
        ({"type": "thinking", "thinking": TEXT, "signature": "x" * 5000}, tokens),
        ({"type": "thinking", "thinking": TEXT}, tokens),
        ({"type": "thinking", "thinking": "", "signature": signatures.make("t", "o", {"text": TEXT})}, tokens),
        ({"type": "thinking", "thinking": "", "signature": signatures.make("t", "o", {})}, 0),
        ({"type": "thinking", "thinking": "", "signature": "a2py1.forged"}, 0),
        ({"type": "thinking", "thinking": "", "signature": "x" * 5000}, 0),
        ({"type": "redacted_thinking", "data": "x" * 5000}, 0),
        (
            {"type": "tool_use", "id": "x" * 64, "name": "Write", "input": {"text": TEXT}},
            8 + text_tokens("Write") + json_tokens({"text": TEXT}),
        ),
        ({"type": "tool_result", "tool_use_id": "x" * 64, "content": TEXT}, 8 + tokens),
        ({"type": "tool_result", "tool_use_id": "x", "content": [{"type": "text", "text": TEXT}]}, 8 + tokens),
        ({"type": "tool_result", "tool_use_id": "x"}, 8),
        (
            {"type": "search_result", "source": TEXT, "title": TEXT, "content": [{"type": "text", "text": TEXT}]},
            3 * tokens,
        ),
        (
            {"type": "server_tool_use", "id": "x" * 64, "name": "web_search", "input": {"query": TEXT}},
            tokens + text_tokens("web_search"),
        ),
        (
            {
                "type": "web_search_tool_result",
                "tool_use_id": "x",
                "content": [{"title": TEXT, "encrypted_content": "x" * 5000, "n": 1}],
            },
            tokens,
        ),
        ({"type": "brand_new", "data": "x" * 5000, "cache_control": {"type": "ephemeral"}}, 0),
    ],
)
def test_each_block_counts_for_what_the_model_reads(block: JSON, expected: float) -> None:
    assert near(count_block(block), expected)


def test_a_nest_without_rules_has_an_end() -> None:
    deep: Any = TEXT
    for _ in range(200):
        deep = [deep]
    assert count_block({"type": "brand_new", "x": deep}) == 0


def test_system_tools_and_messages() -> None:
    bare = count(read({"type": "text", "text": "x"}))
    tool = {"name": "f", "description": TEXT, "input_schema": {"type": "object"}}
    body: Any = {
        "system": TEXT,
        "tools": [{**tool, "cache_control": {"type": "ephemeral", "x": "y" * 500}, "defer_loading": True}],
    }
    assert near(count(read({"type": "text", "text": "x"}, **body)) - bare, tokens + 8 + json_tokens(tool))
    string = parse(orjson.dumps({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": TEXT}] * 3}))
    assert near(count(string), 3 * (tokens + 4))


@pytest.mark.parametrize(
    ("type", "least"), [("bash_20250124", 245), ("text_editor_20250728", 700), ("mcp_toolset", 8), ("brand_new", 8)]
)
def test_typed_tools(type: str, least: int) -> None:
    bare = count(read({"type": "text", "text": "x"}))
    assert least <= count(read({"type": "text", "text": "x"}, tools=[{"type": type, "name": "t"}])) - bare <= least + 12


def test_an_empty_request_is_one_token_at_least() -> None:
    assert count(Request(body={}, model="m", messages=[])) == 1
    assert estimate(Request(body={}, model="m", messages=[])) == 1


# -- estimate ----------------------------------------------------------------------------------------------------------


def test_base64_is_not_text() -> None:
    big = b64(png(1000, 1000) + b"x" * 3_000_000)
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": big}}
    document = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": b64(b"x" * 400_000)},
    }
    url = {"type": "image", "source": {"type": "url", "url": "https://x"}}
    text = {"type": "text", "text": TEXT}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [text, image]}
    plain = estimate(read(text, text, text))
    assert 1333 < estimate(read(text, image)) < plain + 1333
    assert 1333 < estimate(read(result)) < plain + 1333
    assert 11 * media.PAGE < estimate(read(text, document)) < plain + 11 * media.PAGE
    assert media.IMAGE_UNKNOWN < estimate(read(text, url)) < plain + media.IMAGE_UNKNOWN
    more = [{"type": "tool_result", "tool_use_id": "a", "content": TEXT}, {"type": "tool_result", "tool_use_id": "b"}]
    no_data = [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": TEXT}}]
    assert 0 < estimate(read(*more, *no_data)) < plain + 100


def test_string_content() -> None:
    request = parse(orjson.dumps({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": TEXT}]}))
    assert 0.7 < estimate(request) / count(request) < 1.4


@pytest.mark.parametrize("capture", recordings.captures())
def test_captured_requests(capture: recordings.Capture) -> None:
    """Both ways agree roughly on Claude Code's own bodies (their prose is filler, so no tokenizer's truth is known)."""
    request = parse(orjson.dumps(capture.body))
    careful, cheap = count(request), estimate(request)
    assert careful >= 1
    if request.size > 20_000:
        assert 0.7 < cheap / careful < 1.5


json_values = st.recursive(
    st.none() | st.integers(-5, 5) | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["text", "content", "data", "x", "input"]), json_values, max_size=4))
def test_any_unknown_block(body: JSON) -> None:
    request = read({**body, "type": "brand_new"})
    assert count(request) >= 1
    assert estimate(request) >= 1


# -- calibration -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [0.6, 0.8, 1.0, 1.37, 1.9])
@pytest.mark.parametrize("overhead", [0, 300, 900])
def test_within_five_percent_after_three_replies(slope: float, overhead: int) -> None:
    """A conversation of Claude Code that grows, with small helper calls in between."""
    calibration = Calibration()
    for n in range(20):
        tokens = 11_000 + 2_500 * n
        real = round(slope * tokens + overhead)
        if n >= 3:
            assert abs(calibration.apply("m", tokens) / real - 1) < 0.05
        calibration.observe("m", tokens, real)
        calibration.observe("m", 150, round(slope * 150 + min(overhead, 50)))


def test_a_new_tokenizer_is_learned_in_a_few_replies() -> None:
    calibration = Calibration()
    for _ in range(50):
        assert calibration.observe("m", 10_000, 10_000)
    for _ in range(6):
        calibration.observe("m", 10_000, 15_000)
    assert abs(calibration.ratio("m") - 1.5) < 0.05


@pytest.mark.parametrize(
    ("tokens", "real"), [(10_000, 0), (10_000, -5), (0, 10), (-1, 10), (10_000, 2_048), (10_000, 90_000)]
)
def test_nonsense_teaches_nothing(tokens: int, real: int) -> None:
    calibration = Calibration()
    assert not calibration.observe("m", tokens, real)
    assert calibration.ratio("m") == 1.0
    assert calibration.apply("m", 123) == 123
    assert calibration.apply("m", 0) == 1


def test_another_process_adopts_what_one_has_learned() -> None:
    teacher, pupil = Calibration(), Calibration()
    for tokens, real in ((100, 110), (2000, 2400)):
        teacher.observe("m", tokens, real)
    for _ in range(5):
        pupil.wants("m")
    pupil.observe("m", 10_000, 5_000)
    assert pupil.adopt("m", *teacher.sums("m"))
    assert pupil.ratio("m") == teacher.ratio("m") and pupil.sums("m") == teacher.sums("m")
    assert not pupil.wants("m"), "it goes on with its own replies"
    before = pupil.sums("m")
    for sums in ((1.0, 0.0), (100.0, 1.0), (1.0, 100.0), (-1.0, -1.0)):
        assert not pupil.adopt("m", *sums)
    assert pupil.sums("m") == before and pupil.sums("unknown") == (0.0, 0.0)


def test_models_are_apart_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calibration, "MODELS", 3)
    calibration = Calibration()
    for n, model in enumerate("abc"):
        calibration.observe(model, 1000, 1000 + 100 * n)
    assert [round(calibration.ratio(model), 1) for model in "abcd"] == [1.0, 1.1, 1.2, 1.0]
    calibration.observe("a", 1000, 1500)
    calibration.observe("d", 1000, 2000)
    assert calibration.ratio("b") == 1.0, "the one that was longest unused is forgotten"
    assert calibration.ratio("a") > 1.2
    assert calibration.ratio("d") == 2.0


def test_the_first_replies_are_wanted_and_then_some() -> None:
    calibration = Calibration()
    decisions = [calibration.wants("m") for _ in range(33)]
    assert decisions[:3] == [True] * 3
    assert sum(decisions) == 7
    calibration.observe("m", 1000, 1200)
    assert calibration.wants("n")
    assert not calibration.wants("m")
    assert calibration.ratio("m") == 1.2
