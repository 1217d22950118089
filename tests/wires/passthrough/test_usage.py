"""Usage and id of a reply that passes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.messages.types import Usage
from a2py.wires.passthrough.usage import HEAD, TAIL, USAGE_LIMIT, USAGE_TRIES, Watcher, outcome_of, read_usage
from tests.scripted import chunk, event, text

CHAT = b"".join(map(event, text("Hel", "lo")))


def watch(data: bytes, *cuts: int) -> Watcher:
    watcher = Watcher()
    places = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(places):
        watcher.see(data[start:end])
    return watcher


@given(st.lists(st.integers(0, len(CHAT)), max_size=12))
def test_a_stream_at_any_split(cuts: list[int]) -> None:
    watcher = watch(CHAT, *cuts)
    assert watcher.find_usage() == Usage(input=11, output=3)
    assert watcher.find_id() == "chatcmpl-1" and watcher.size == len(CHAT) and watcher.is_between_events


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}, Usage(input=5, output=2)),
        ({"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}}, Usage(1, 2, 4)),
        ({"prompt_tokens": 5, "total_tokens": 5}, Usage(input=5)),
        ({"total_tokens": 9}, Usage(input=9)),  # rerank
        ({"type": "duration", "seconds": 3}, None),
        ({"total_tokens": "9"}, None),
        ({"a": "x" * USAGE_LIMIT}, None),
        ({"a": "}"}, None),
    ],
)
def test_usage_of_a_whole_reply(usage: dict[str, Any], read: Usage | None) -> None:
    for body in ({"data": [], "usage": usage}, {"usage": usage, "data": ["x"] * 20_000}):
        assert watch(json.dumps(body).encode()).find_usage() == read


def test_text_that_looks_like_usage_is_none() -> None:
    body = json.dumps({"content": '"usage": {"prompt_tokens": 1}', "usage": {"prompt_tokens": 8}}).encode()
    assert watch(body).find_usage() == Usage(input=8)
    assert watch(body[: body.index(b', "usage"')]).find_usage() is None
    assert read_usage(b"{" * 3, 0) is None


def test_the_last_usage_that_counts() -> None:
    body = b'{"usage":{"prompt_tokens":1},"x":{"usage": {"prompt_tokens":2}},"tools":[{"usage":{"type":"string"}}]}'
    assert watch(body).find_usage() == Usage(input=2)


def test_a_flood_of_usage_objects_is_not_read() -> None:
    """Each would cost a search through USAGE_LIMIT bytes: 18 KB held the proxy for 0.4 s."""
    real, null, schema = b'{"usage":{"prompt_tokens":3},', b'"usage":null,', b'"usage":{"type":"object"},'
    assert watch(real + null * 500 + schema * (USAGE_TRIES - 1)).find_usage() == Usage(input=3)
    assert watch(real + schema * USAGE_TRIES).find_usage() is None


def test_what_is_kept_is_bounded() -> None:
    watcher = Watcher()
    watcher.see(b'{"id":"resp_1","usage":{"prompt_tokens":3},"data":"')
    for _ in range(5000):
        watcher.see(b"x" * 100)
        assert len(watcher.tail) <= 2 * TAIL + 100 and len(watcher.head) <= HEAD
    assert watcher.find_usage() == Usage(input=3) and watcher.find_id() == "resp_1", "of its beginning"
    assert watcher.size == 500_000 + 51
    watcher.see(b"y" * 1_000_000)
    assert len(watcher.tail) == TAIL


@pytest.mark.parametrize(
    ("end", "is_between"),
    [(b"", True), (b"data: 1\n\n", True), (b"data: 1\r\n\r\n", True), (b"data: 1\n", False), (b'data: {"a', False)],
)
def test_between_events(end: bytes, is_between: bool) -> None:
    assert watch(end).is_between_events is is_between


@pytest.mark.parametrize(
    ("stream", "has_last"),
    [
        (CHAT, True),
        (CHAT.replace(b"\n\n", b"\r\n\r\n"), True),
        (CHAT[:-1], False),
        (CHAT.removesuffix(b"data: [DONE]\n\n"), False),
        (b"event: response.completed\ndata: {}\n\n", True),
        (b"event: response.output_text.delta\ndata: {}\n\n", False),
        (b"", False),
    ],
)
def test_the_last_event(stream: bytes, has_last: bool) -> None:
    assert watch(stream).has_last_event is has_last


def test_a_stream_without_usage_is_estimated_and_marked() -> None:
    text = "twenty characters a " * 40
    pieces = [chunk({"content": text[n : n + 20]}) for n in range(0, 800, 20)]
    stream = b"".join(map(event, pieces))
    outcome = outcome_of(watch(stream), is_stream=True, estimate=50)
    assert outcome.is_estimated and outcome.usage == Usage(input=50, output=201)
    long = outcome_of(watch(stream * 100), is_stream=True, estimate=50)
    assert long.usage is not None and abs(long.usage.output - 20_000) < 1000, "of its end, by its length"
    assert outcome_of(watch(CHAT), is_stream=True, estimate=50).is_estimated is False
    assert outcome_of(watch(stream), is_stream=False, estimate=50).usage is None
    assert outcome_of(watch(b""), is_stream=True, estimate=50).usage is None


def test_text_of_a_responses_stream() -> None:
    deltas = [event({"type": "response.output_text.delta", "delta": "abcd"}) for _ in range(10)]
    whole = event({"type": "response.output_text.done", "text": "abcd" * 10})
    assert watch(b"".join((*deltas, whole, b"data: [DONE]\n\n", b"data: {\n\n"))).estimate_output() == 11


def test_a_deep_event_is_no_harm() -> None:
    deep = b'data: {"delta":' + b"[" * 200 + b"]" * 200 + b"}\n\n"
    assert watch(deep).estimate_output() == 1


@pytest.mark.parametrize(
    ("stream", "has_failed"),
    [
        (b'data: {"error": {"message": "overloaded"}}\n\n', True),
        (b'data: {"choices": []}\n\ndata: {"error": "x"}\n\ndata: [DONE]\n\n', True),
        (b'event: error\r\ndata: {"type": "error", "code": "x"}\r\n\r\n', True),
        (b'event: response.failed\ndata: {"type": "response.failed", "response": {}}\n\n', True),
        (b"event: response.failed\ndata: " + b"x" * 50_000 + b"\n\n", False),  # its first line is gone
        (b'data: {"error": null, "choices": []}\n\ndata: [DONE]\n\n', False),
        (b'data: {"choices": [{"delta": {"content": "an error"}}]}\n\ndata: [DONE]\n\n', False),
        (b'event: response.completed\ndata: {"type": "response.completed", "response": {"error": null}}\n\n', False),
        (b'data: {"error": 1}\n\ndata: {}\n\ndata: {}\n\ndata: [DONE]\n\n', False),  # it went on
        (b'data: {"error\n\ndata: ["error"]\n\n', False),
        (b"", False),
    ],
)
def test_whether_a_stream_ends_with_an_error(stream: bytes, has_failed: bool) -> None:
    watcher = Watcher()
    for at in range(0, len(stream), 1000):
        watcher.see(stream[at : at + 1000])
    assert watcher.has_failed is has_failed
