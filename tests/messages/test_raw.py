"""Whole Anthropic events: indexes, ids and hidden blocks in both sinks."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.messages.blocks import Blocks
from a2py.messages.items import Item
from a2py.messages.output import Output
from a2py.messages.raw import RawMessage
from a2py.messages.types import JSON, Outcome, Usage


class Notes(Output):
    """What is written: the type, the event, and whether as the bytes that came."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, JSON, bool]] = []

    def pass_event(self, type: str, event: JSON, data: bytes) -> None:
        self.log.append((type, event, bool(data)))

    def start(self, index: int, item: Item) -> None:
        self.log.append(("start", {}, False))

    def stop(self) -> None:
        self.log.append(("stop", {}, False))

    def add_text(self, text: str) -> None:
        raise AssertionError("whole events come by pass_event")

    def add_json(self, raw: bytes) -> None:
        raise AssertionError("whole events come by pass_event")

    def sign(self, signature: str) -> None:
        raise AssertionError("whole events come by pass_event")

    def cite(self, citation: JSON) -> None:
        raise AssertionError("whole events come by pass_event")


class Log(Blocks):
    """Blocks that are written as notes."""

    def __init__(self, **options: Any) -> None:
        self.notes = Notes()
        super().__init__(self.notes, **options)

    @property
    def log(self) -> list[tuple[str, JSON, bool]]:
        return self.notes.log


def send(log: Log, type: str, **body: Any) -> None:
    log.raw(type, {"type": type, **body}, b"{}")


def start(log: Log, index: int, block: JSON) -> None:
    send(log, "content_block_start", index=index, content_block=block)


def begin(log: Log) -> None:
    send(log, "message_start", message={"usage": {}})


TEXT = {"type": "text", "text": ""}
THINKING = {"type": "thinking", "thinking": "", "signature": ""}


def test_what_needs_no_change_keeps_its_bytes() -> None:
    log = Log()
    begin(log)
    start(log, 0, TEXT)
    send(log, "ping")
    send(log, "content_block_delta", index=0, delta={})
    send(log, "content_block_stop", index=0)
    send(log, "brand_new_event", index=9)
    send(log, "message_delta", delta={}, usage={})
    assert [(type, is_unchanged) for type, _, is_unchanged in log.log] == [
        ("content_block_start", True),
        ("ping", True),
        ("content_block_delta", True),
        ("content_block_stop", True),
        ("brand_new_event", True),
    ]
    assert log.count == 1


@pytest.mark.parametrize("type", ["brand_new_event", "ping"])
def test_other_events_before_the_first_block_are_not_passed(type: str) -> None:
    """message_start is not out yet, and the SDKs take nothing before it; a ping would commit the answer to its 200."""
    log = Log()
    begin(log)
    send(log, type)
    assert log.log == []


def test_indexes_are_ours() -> None:
    log = Log()
    begin(log)
    start(log, 3, TEXT)
    send(log, "content_block_delta", index=3, delta={})
    start(log, 1, TEXT)
    send(log, "content_block_stop", index=3)
    send(log, "content_block_delta", index=1, delta={})
    send(log, "content_block_stop", index=1)
    start(log, 3, TEXT)
    send(log, "content_block_delta", index=3, delta={})
    assert [event["index"] for _, event, _ in log.log] == [0, 0, 1, 0, 1, 1, 2, 2]
    assert [is_unchanged for _, _, is_unchanged in log.log] == [False, False, True, False, True, True, False, False]


def test_blocks_of_ours_may_stand_before() -> None:
    """A search of the proxy's own, then the upstream's answer."""
    log = Log()
    log.server_result("s", "web_search_tool_result", "id", [])
    begin(log)
    start(log, 0, TEXT)
    assert log.log[-1][1]["index"] == 1


def test_keepalive_knows_the_open_block() -> None:
    log = Log()
    begin(log)
    start(log, 0, THINKING)
    item = log._current
    assert item is not None
    assert (item.kind, item.is_started) == ("thinking", True)
    send(log, "content_block_stop", index=0)
    assert log._current is None
    start(log, 1, TEXT)
    start(log, 2, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}})
    item = log._current
    assert item is not None
    assert item.kind == "whole"
    send(log, "content_block_stop", index=1)
    assert log._current is item


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking"])
def test_thinking_that_is_not_wanted_is_left_out(kind: str) -> None:
    log = Log(thinking="none")
    begin(log)
    start(log, 0, {"type": kind})
    send(log, "content_block_delta", index=0, delta={})
    send(log, "content_block_stop", index=0)
    assert log.log == []
    start(log, 1, TEXT)
    send(log, "content_block_stop", index=1)
    assert [event["index"] for _, event, _ in log.log] == [0, 0]
    shown_log = Log()
    begin(shown_log)
    start(shown_log, 0, {"type": kind})
    assert shown_log.count == 1


def test_tool_ids_are_legal_and_new() -> None:
    log = Log(history_ids=frozenset({"call_0"}))
    begin(log)
    for n, id in enumerate(["call_0", "toolu_1", "functions.f:0"]):
        start(log, n, {"type": "tool_use", "id": id, "name": "f", "input": {}, "extra": 1})
    assert [event["content_block"]["id"] for _, event, _ in log.log] == [
        "a2py_2_Y2FsbF8w",
        "toolu_1",
        "a2py_3_ZnVuY3Rpb25zLmY6MA",
    ]
    assert [is_unchanged for _, _, is_unchanged in log.log] == [False, True, False]
    assert all(event["content_block"]["extra"] == 1 for _, event, _ in log.log)
    assert log.tools_emitted == 3


def test_another_attempt_begins_anew() -> None:
    log = Log()
    begin(log)
    send(log, "message_delta", delta={}, usage={})
    assert log.notes.raw.closing is not None
    send(log, "message_start", message={"usage": {}, "id": "second"})
    assert log.notes.raw.closing is None
    assert log.notes.raw.opening == {"usage": {}, "id": "second"}


FULL = {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ({"input_tokens": 9, "output_tokens": 3, "x": 1}, {"input_tokens": 9, "output_tokens": 3, "x": 1}),
        ({}, {"input_tokens": 40, "output_tokens": 1}),
        ({"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 40, "output_tokens": 0}),
        ({"input_tokens": None, "output_tokens": None}, {"input_tokens": 40, "output_tokens": 0}),
        ({"input_tokens": "9", "output_tokens": -1}, {"input_tokens": 40, "output_tokens": 0}),
        (
            {"input_tokens": 0, "cache_read_input_tokens": 7, "output_tokens": 1},
            {"input_tokens": 1, "cache_read_input_tokens": 7, "output_tokens": 1},
        ),
        ({"cache_creation_input_tokens": 7}, {"input_tokens": 1, "cache_creation_input_tokens": 7, "output_tokens": 1}),
    ],
)
def test_the_first_usage(first: JSON, expected: JSON) -> None:
    assert RawMessage().opening_usage(first, Usage(40)) == {**FULL, **expected}


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ({"input_tokens": 9}, {"input_tokens": 0, "output_tokens": 5}, {"input_tokens": 9, "output_tokens": 5}),
        ({}, {"input_tokens": 12, "output_tokens": 5, "x": [1]}, {"input_tokens": 12, "output_tokens": 5, "x": [1]}),
        ({}, {"output_tokens": 0}, {"input_tokens": 40, "output_tokens": 0}),
        ({}, {"input_tokens": 0}, {"input_tokens": 40, "output_tokens": 6}),
        (
            {},
            {"input_tokens": 0, "cache_read_input_tokens": 50_000, "output_tokens": 5},
            {"input_tokens": 1, "cache_read_input_tokens": 50_000, "output_tokens": 5},
        ),
        (
            {"input_tokens": 9, "cache_read_input_tokens": 7},
            {"output_tokens": None, "cache_read_input_tokens": None},
            {"input_tokens": 9, "cache_read_input_tokens": 7, "output_tokens": 6},
        ),
    ],
)
def test_the_last_usage_never_counts_the_input_twice(first: JSON, last: JSON, expected: JSON) -> None:
    message = RawMessage()
    message.opening_usage(first, Usage(40))
    assert message.closing_usage(last, Usage(40, 6)) == {**FULL, **expected}


def test_verbs_and_events_share_one_order() -> None:
    log = Log()
    begin(log)
    start(log, 0, TEXT)
    log.server_result("s", "web_search_tool_result", "id", [])
    assert log.finish(Outcome()) == "end_turn"
    assert log.count == 2
