"""The arguments of a call as text: what a rest behind their object means (more in goldens/repairs.md)."""

from __future__ import annotations

import pytest

from a2py.messages.arguments import OBJECTS_LIMIT, JsonScan, begins_string, decoded_twice, read_calls

ROOT = '{"a": 1}'


@pytest.mark.parametrize(
    "rest", ["}", "}}", "</s", "]}\n```", "<|im_end|>", " and then I look.", "[/TOOL_CALLS]", ' "x"', "é"]
)
def test_rubbish_leaves_the_object(rest: str) -> None:
    assert read_calls(ROOT, rest) == [ROOT]


@pytest.mark.parametrize(
    "rest",
    [
        ', "b": 2}',
        '"b": 2}',
        '"b" : 2',
        '}, {"b": 2}',
        '{"b": ',
        '{"b": 2}{',
        '</s>{"b": 2}',
        '{"b": 2}, "c": 3}',
        '{"b": "\ud83d"}',
        "{" * 100_000,
        '{"b": [' + "[]," * 600_000 + "1]}",
    ],
)
def test_what_may_be_content_has_no_reading(rest: str) -> None:
    assert read_calls(ROOT, rest) is None


@pytest.mark.parametrize("root", ["{}", "{'a': 1}", '{"a": }', '[{"a": 1}]', '{"a": [' + "[]," * 600_000 + "1]}"])
def test_what_is_no_object_with_members_has_no_reading(root: str) -> None:
    assert read_calls(root, "</s") is None


def test_objects_that_differ_are_calls() -> None:
    assert read_calls(ROOT, ' {"a": 2} , {"b": 1}</s>') == [ROOT, '{"a": 2}', '{"b": 1}']
    assert read_calls(ROOT, '{"a": true}') == [ROOT, '{"a": true}'], "true is not 1"


def test_objects_that_say_the_same_are_one_call() -> None:
    assert read_calls('{"a":1,"b":[2]}', '{"b": [2], "a": 1}{"a":1,"b":[2]}') == ['{"a":1,"b":[2]}']
    assert read_calls(ROOT, "{}{}") == [ROOT], "an empty object is a placeholder"


def test_objects_of_which_one_holds_another_have_two_readings() -> None:
    assert read_calls(ROOT, '{"a": 1, "b": 2}') is None
    assert read_calls('{"a": 1, "b": 2}', ROOT) is None
    assert read_calls(ROOT, '{"a": 2}{"a": 2}') is None


def test_a_model_in_a_loop_is_not_run() -> None:
    most = [f'{{"a": {n}}}' for n in range(OBJECTS_LIMIT)]
    assert read_calls(most[0], "".join(most[1:])) == most
    assert read_calls(most[0], "".join([*most[1:], '{"b": 1}'])) is None


@pytest.mark.parametrize(("text", "begins"), [('"{', True), (' "', True), ('""', False), ("{", False), ("", False)])
def test_a_string_may_hold_the_object(text: str, begins: bool) -> None:
    assert begins_string(text) is begins


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        (' "{}" ', "{}"),
        ('{"a": 1}', '{"a": 1}'),
        # No object inside, no JSON inside, and no JSON at all.
        ('"[1]"', '"[1]"'),
        ('"text"', '"text"'),
        ('"{\\"a\\": 1}', '"{\\"a\\": 1}'),
        ('"{}" and more', '"{}" and more'),
    ],
)
def test_arguments_that_are_encoded_twice_are_decoded_once(text: str, expected: str) -> None:
    assert decoded_twice(text) == expected


def test_a_backslash_outside_of_strings_escapes_nothing() -> None:
    scan = JsonScan()
    assert scan.feed('{\\"a": "}"') == -1 and scan.feed(" \\}x") == 3
    assert scan.is_complete and scan.feed("}") == -1
