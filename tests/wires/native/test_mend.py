"""Anthropic events made whole: what lacks nothing stays the same object."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import Message

from a2py.messages.types import JSON, Usage
from a2py.wires.native import mend


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        (None, {}),
        ("x", {}),
        ({}, {}),
        ({"id": "msg_01A", "model": "up", "container": None}, {"id": "msg_01A", "model": "up", "container": None}),
        ({"id": 7, "usage": [], "role": "user", "content": [1], "stop_reason": "end_turn"}, {}),
        ({"id": "chatcmpl-x"}, {}),
        ({"id": "msg_a b"}, {}),
        ({"id": "msg_" + "x" * 200}, {}),
        ({"usage": {"input_tokens": 3}}, {"usage": {"input_tokens": 3}}),
    ],
)
def test_message(message: Any, changes: JSON) -> None:
    bare: JSON = {
        "id": "",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {},
    }
    assert mend.mend_message(message) == {**bare, **changes}


WHOLE_BLOCKS: list[JSON] = [
    {"type": "text", "text": ""},
    {"type": "text", "text": "", "citations": None},
    {"type": "text", "text": "", "citations": []},
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking", "thinking": "", "signature": "EqQB"},
    {"type": "tool_use", "id": "a", "name": "f", "input": {}},
    {"type": "redacted_thinking", "data": "x"},
    {"type": "web_search_tool_result", "tool_use_id": "x", "content": [1]},
    {"type": "brand_new", "text": "x"},
]


@pytest.mark.parametrize("block", WHOLE_BLOCKS)
def test_a_block_that_lacks_nothing_stays(block: JSON) -> None:
    start, deltas = mend.mend_block(block)
    assert start is block
    assert deltas == []


TEXT, THINK, CALL = (
    {"type": "text", "text": ""},
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "tool_use", "id": "a", "name": "f"},
)


@pytest.mark.parametrize(
    ("block", "start", "deltas"),
    [
        ({"type": "text"}, TEXT, []),
        ({"type": "text", "text": None}, TEXT, []),
        ({"type": "text", "text": 7}, TEXT, []),
        ({"type": "text", "text": "x"}, TEXT, [{"type": "text_delta", "text": "x"}]),
        (
            {"type": "text", "text": "x", "citations": [{"n": 1}]},
            TEXT,
            [{"type": "text_delta", "text": "x"}, {"type": "citations_delta", "citation": {"n": 1}}],
        ),
        ({"type": "text", "text": "", "citations": "odd"}, {**TEXT, "citations": "odd"}, []),
        ({"type": "thinking"}, THINK, []),
        ({"type": "thinking", "thinking": "", "signature": None}, THINK, []),
        ({"type": "thinking", "thinking": "hm"}, THINK, [{"type": "thinking_delta", "thinking": "hm"}]),
        (
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            THINK,
            [{"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "s"}],
        ),
        (CALL, {**CALL, "input": {}}, []),
        ({**CALL, "input": None}, {**CALL, "input": {}}, []),
        (
            {**CALL, "input": {"a": "\u20ac"}},
            {**CALL, "input": {}},
            [{"type": "input_json_delta", "partial_json": '{"a":"\u20ac"}'}],
        ),
        ({**CALL, "input": '{"a'}, {**CALL, "input": {}}, [{"type": "input_json_delta", "partial_json": '{"a'}]),
        ({"type": "tool_use", "input": {}}, {"type": "tool_use", "id": "", "name": "", "input": {}}, []),
        (
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            [{"type": "input_json_delta", "partial_json": '{"query":"x"}'}],
        ),
    ],
)
def test_a_block_starts_empty_and_fills_in_deltas(block: JSON, start: JSON, deltas: list[JSON]) -> None:
    before = dict(block)
    assert mend.mend_block(block) == (start, deltas)
    assert block == before


@pytest.mark.parametrize(
    "delta",
    [
        {"type": "text_delta", "text": "x"},
        {"type": "text_delta", "text": ""},
        {"type": "signature_delta", "signature": "x"},
        {"type": "citations_delta", "citation": {}},
        {"type": "brand_new_delta", "x": 1},
    ],
)
def test_a_delta_that_lacks_nothing_stays(delta: JSON) -> None:
    assert mend.mend_delta(delta) is delta


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        (None, None),
        ("x", None),
        ({}, None),
        ({"type": "text_delta"}, None),
        ({"type": "text_delta", "text": None}, None),
        ({"type": "text_delta", "text": {"a": 1}}, None),
        ({"type": None, "text": "x"}, {"type": "text_delta", "text": "x"}),
        ({"thinking": "x"}, {"type": "thinking_delta", "thinking": "x"}),
        ({"partial_json": "{"}, {"type": "input_json_delta", "partial_json": "{"}),
        ({"signature": "s"}, {"type": "signature_delta", "signature": "s"}),
        ({"text": None}, None),
        ({"other": "x"}, None),
        (
            {"type": "input_json_delta", "partial_json": {"a": 1}},
            {"type": "input_json_delta", "partial_json": '{"a":1}'},
        ),
    ],
)
def test_a_delta_gets_its_type_and_text(delta: Any, expected: JSON | None) -> None:
    assert mend.mend_delta(delta) == expected


@pytest.mark.parametrize(
    ("delta", "block", "fits"),
    [
        ("text_delta", "text", True),
        ("text_delta", "tool_use", False),
        ("input_json_delta", "text", False),
        ("input_json_delta", "mcp_tool_use", True),
        ("citations_delta", "text", True),
        ("brand_new_delta", "text", True),
        ("text_delta", "brand_new", True),
        ("thinking_delta", "thinking", True),
        ("signature_delta", "text", False),
    ],
)
def test_which_delta_fills_which_block(delta: str, block: str, fits: bool) -> None:
    assert mend.accepts(block, delta) is fits


def test_a_start_that_was_never_sent() -> None:
    assert mend.missing_start("text_delta") == TEXT
    assert mend.missing_start("thinking_delta") == THINK
    assert mend.missing_start("input_json_delta") is None


NOTHING = {"type": "message_delta", "delta": {"stop_reason": None, "stop_sequence": None}, "usage": {}}


@pytest.mark.parametrize(
    ("before", "event", "after"),
    [
        ({}, {}, NOTHING),
        ({}, {"type": "message_delta", "delta": None, "usage": "x"}, NOTHING),
        (
            {},
            {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}, "context_management": {"a": 1}},
            {
                **NOTHING,
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 5},
                "context_management": {"a": 1},
            },
        ),
        (
            {**NOTHING, "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 5}},
            {"delta": {"stop_reason": None, "container": None}, "usage": {"output_tokens": None, "input_tokens": 3}},
            {
                **NOTHING,
                "delta": {"stop_reason": "tool_use", "stop_sequence": None, "container": None},
                "usage": {"output_tokens": 5, "input_tokens": 3},
            },
        ),
    ],
)
def test_several_endings_are_one(before: JSON, event: JSON, after: JSON) -> None:
    assert mend.merge_ending(before, event) == after


def test_usage() -> None:
    assert mend.read_usage({}) == Usage()
    assert (
        mend.read_usage(
            {"input_tokens": "9", "output_tokens": -1, "cache_read_input_tokens": 1.5, "output_tokens_details": 7}
        )
        == Usage()
    )
    full = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 5},
        "server_tool_use": {"web_search_requests": 6},
    }
    assert mend.read_usage(full) == Usage(1, 2, 3, 4, 5, 6)
    assert mend.merge_usage(
        {"input_tokens": 9, "output_tokens": 1}, {"input_tokens": 0, "output_tokens": 5, "x": 0}
    ) == {
        "input_tokens": 9,
        "output_tokens": 5,
        "x": 0,
    }


@pytest.mark.parametrize(
    ("content", "blocks"),
    [
        ("Hi", [{"type": "text", "text": "Hi"}]),
        ([{"type": "text", "text": "Hi"}, 7, {}, {"type": 7}], [{"type": "text", "text": "Hi"}]),
        (None, []),
        ({}, []),
    ],
)
def test_content_of_a_whole_message(content: Any, blocks: list[JSON]) -> None:
    assert list(mend.content_blocks({"content": content})) == blocks
    assert list(mend.content_blocks(None)) == []


def test_a_whole_message_as_events() -> None:
    whole = {"type": "message", "stop_reason": "end_turn", "usage": {"output_tokens": 5}, "content": []}
    start, end = mend.as_events(whole)
    assert start["message"] is whole
    assert end == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 5},
    }


def test_what_is_mended_is_what_the_sdk_demands() -> None:
    message = {
        **mend.mend_message({}),
        "id": "msg_1",
        "model": "m",
        "content": [mend.mend_block({"type": kind, "id": "a", "name": "f"})[0] for kind in mend._STREAMED_FIELDS],
    }
    message["usage"] = {"input_tokens": 1, "output_tokens": 1}
    message["content"] = [block for block in message["content"] if block["type"] in ("text", "thinking", "tool_use")]
    Message.model_validate(message, strict=True)


def test_entries_that_are_kept_for_an_hour_are_read() -> None:
    """platform.claude.com, prompt caching (2026-11): `cache_creation` splits cache_creation_input_tokens by lifetime."""
    split = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 356}
    usage = mend.read_usage({"input_tokens": 1, "cache_creation_input_tokens": 456, "cache_creation": split})
    assert (usage.cache_creation, usage.cache_hour) == (456, 356)
    assert (
        mend.read_usage({"cache_creation": None}).cache_hour == mend.read_usage({"cache_creation": {}}).cache_hour == 0
    )
