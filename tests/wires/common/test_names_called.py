"""Tool names in a reply: which are suspect, and what they become."""

from __future__ import annotations

import pytest

from a2py.messages.arguments import decoded_twice
from a2py.wires.common.draft import _tool_names
from a2py.wires.common.names import CalledNames

NAMES = CalledNames({"mcp_x_1": "mcp.x"}, frozenset({"Bash", "mcp_x_1"}))


@pytest.mark.parametrize(
    ("name", "repair"),
    [
        ("Bash</arg_value>", "Bash"),
        ("Bash<|channel|>commentary", "Bash"),
        ("Bash<|constrain|>json", "Bash"),
        ("functions.Bash", "Bash"),
        ("functions.mcp_x_1<|channel|>x", "mcp.x"),
        ("Bash<｜tool▁sep｜>", "Bash"),
    ],
)
def test_tokens_around_a_name(name: str, repair: str) -> None:
    assert (NAMES.read(name), NAMES.settle(name, False), NAMES.settle(name, True)) == ("", repair, name)


@pytest.mark.parametrize(
    ("name", "read"),
    [("Bash", "Bash"), ("mcp_x_1", "mcp.x"), ("Read</arg_value>", "Read</arg_value>"), ("Bash 2", "Bash 2"), ("", "")],
)
def test_other_names(name: str, read: str) -> None:
    assert NAMES.read(name) == read
    assert not NAMES.is_suspect(name)


def test_names_of_the_requests_tools() -> None:
    tools = [{"function": {"name": "a"}}, {"name": "b"}, {"function": 7}, {"name": 7}, "c"]
    assert (list(_tool_names(tools)), list(_tool_names(None))) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        (' "{}" ', "{}"),
        ('{"a": 1}', '{"a": 1}'),
        ('"[1]"', '"[1]"'),
        ('"{oops"', '"{oops"'),
        ('"{', '"{'),
    ],
)
def test_arguments_that_are_encoded_twice(text: str, expected: str) -> None:
    assert decoded_twice(text) == expected
