"""Pieces of an item, and where an argument object ends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.messages.arguments import JsonScan, without_placeholder
from a2py.messages.items import TEXT, TOOL, Item, ItemQueue, as_text


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("a\\n", "a\\n"),
        (b"a\\n", "a\n"),
        (b'\\u20ac \\" \xe2\x82\xac', '\u20ac " \u20ac'),
        (b"\\ud83d\\ude00", "\U0001f600"),
        (b"half \\ud83d", "half \ufffd"),
        (b"cut \\", "cut \\"),
        (b'no" string', 'no" string'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"line\nbreak", "line\nbreak"),
    ],
)
def test_as_text_raises_on_nothing(part: str | bytes, text: str) -> None:
    assert as_text(part) == text


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("", ""),
        ("{}", "{}"),
        (" {} ", " {} "),
        ('{}{"a": 1', '{"a": 1'),
        (' {} \n{"a": "x ', '{"a": "x '),
        ("{}{}", "{}"),
        ('null{"a":1}', '{"a":1}'),
        ('""{"a":1}', '{"a":1}'),
        ("{}x", "{}x"),
        ("nullable", "nullable"),
        ('{"a": {}}', '{"a": {}}'),
        ("[]", "[]"),
    ],
)
def test_a_placeholder_ahead_of_the_object_goes(text: str, rest: str) -> None:
    assert without_placeholder(text) == rest


json_objects = st.dictionaries(
    st.text('{}[]"\\a', max_size=4), st.recursive(st.text('{}[]"\\ab', max_size=6) | st.integers(), st.lists)
)


@settings(deadline=None)
@given(json_objects, st.lists(st.integers(0, 60), max_size=5))
def test_the_scan_sees_the_end_at_the_last_brace_and_not_before(value: dict[str, object], cuts: list[int]) -> None:
    text = json.dumps(value)
    places = sorted({min(cut, len(text)) for cut in cuts})
    scan = JsonScan()
    for a, b in zip([0, *places], [*places, len(text)], strict=True):
        scan.feed(text[a:b])
        assert scan.is_complete == (b == len(text)), (text, b)


@settings(deadline=None)
@given(json_objects)
def test_the_scan_byte_by_byte(value: dict[str, object]) -> None:
    text = json.dumps(value)
    scan = JsonScan()
    states = []
    for c in text:
        scan.feed("")
        scan.feed(c)
        states.append(scan.is_complete)
    assert states == [False] * (len(text) - 1) + [True]


@pytest.mark.parametrize("text", ["", "null", '"{}"', "}{", "{", '{"a": "}', '{"a": "\\"}', "[1, 2", "\\{"])
def test_what_is_not_closed_is_not_complete(text: str) -> None:
    scan = JsonScan()
    scan.feed(text)
    assert not scan.is_complete


def test_scanned_forgets_what_it_saw() -> None:
    item = Item(TOOL, 0)
    item.parts = ['{"a": ', b'\\"}']
    item.size = 11
    assert item.join_parts() == '{"a": "}'
    assert not item.has_whole_object()
    item.forget_parts()
    assert (item.parts, item.size) == ([], 0)
    item.parts = ['"}']
    assert item.has_whole_object()
    item.parts = ["trailing"]
    assert item.has_whole_object()


@pytest.mark.parametrize(
    ("parts", "torn"),
    [
        ([], False),
        (["{}"], False),
        (['{"a": ', b'\\"x\\"', "}"], False),
        (['{"a": "\ud83d"}'], False),
        (["[1, 2"], False),
        (["no json"], False),
        (['{"a": }'], False),
        (['{"a": 1}}'], False),
        ([' {"a": '], True),
        (['{"a": "}'], True),
        (["{"], True),
    ],
)
def test_an_object_without_an_end_is_torn(parts: list[str | bytes], torn: bool) -> None:
    item = Item(TOOL, 0)
    item.parts = list(parts)
    assert item.is_cut_off() is torn


def test_torn_after_a_look_for_the_end() -> None:
    item = Item(TOOL, 0)
    item.parts = ['{"a": "x']
    item.forget_parts()
    item.parts = ["y"]
    assert item.is_cut_off()
    item.parts += ['"}']
    assert not item.is_cut_off()


def test_arguments_of_too_many_values_count_as_is_cut_off() -> None:
    item = Item(TOOL, 0)
    item.parts = ['{"a":[' + "[]," * 600_000 + "1]}"]
    assert item.is_cut_off()


def test_of_calls_that_wait_together_the_lowest_index_comes_next() -> None:
    queue = ItemQueue()
    queue.items = [Item(TOOL, 2), Item(TOOL, 0), Item(TOOL, 1), Item(TEXT, "t"), Item(TOOL, -1)]
    assert [queue.take_next().key for _ in range(5)] == [0, 1, 2, "t", -1]


def test_the_newest_waiting_item_of_a_key_and_a_kind() -> None:
    queue = ItemQueue()
    queue.items = [Item(TEXT, "t"), Item(TEXT, "t"), Item(TOOL, 0)]
    assert queue.newest("t", TEXT) is queue.items[1]
    assert queue.newest("t", TOOL) is None


def test_a_piece_is_written_up_to_the_end_of_the_object() -> None:
    item = Item(TOOL, 0)
    assert item.take_piece('{"a": ') == '{"a": '
    assert item.take_piece(b'\\"}\\"}\xc3\xa9') == '"}"}'
    assert item.rest == ["é"]
    assert item.take_piece(b" x") == ""
    assert item.take_piece(" ") == ""
    assert (item.join_parts(), item.rest) == ('{"a": "}"}', ["é", " x", " "])


def test_white_space_behind_the_object_is_written() -> None:
    item = Item(TOOL, 0)
    assert item.take_piece(b"{} \\n") == b"{} \\n"
    assert item.take_piece("\n\t") == "\n\t"
    assert item.take_piece("\xa0") == "", "no white space of JSON"
    assert item.rest == ["\xa0"]


def test_the_rest_is_settled_at_the_end() -> None:
    def settle(text: str, is_cut: bool = False, is_forgotten: bool = False) -> tuple[list[str], list[str]]:
        item = Item(TOOL, 0)
        item.take_piece(text)
        if is_forgotten:
            item.forget_parts()
        return item.settle_rest(is_cut), item.rest

    assert settle('{"a":1}}') == ([], [])
    assert settle('{"a":1}{"a":2}') == (['{"a":2}'], [])
    assert settle('{"a":1}}', is_cut=True) == ([], ["}"])
    assert settle('{"a":1}}', is_forgotten=True) == ([], ["}"])
    assert settle('{"a":1},"b":2}') == ([], [',"b":2}'])
