"""JSON as people write it: comments, trailing commas, quotes, and where a mistake is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.config import ConfigError
from a2py.config.imports.json5 import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, // one\n "b": [1, 2,], }', {"a": 1, "b": [1, 2]}),
        ('/* head\n */ {a: "x", $b_1: true}', {"a": "x", "$b_1": True}),
        ("""{'a': 'it\\'s "x"', "b": "https://h/p"}""", {"a": 'it\'s "x"', "b": "https://h/p"}),
        ('{"a": "x, } // no comment", }', {"a": "x, } // no comment"}),
        ('{"a": "tab\there", "b": "one\\\ntwo"}', {"a": "tab\there", "b": "onetwo"}),
        ('{"a": "\\x41\\u0042\\q\\n"}', {"a": "ABq\n"}),
        ("{'a': 'one \\\" two'}", {"a": 'one " two'}),
        ('{"a": .5, "b": +3, "c": -2., "d": 1e3}', {"a": 0.5, "b": 3, "c": -2.0, "d": 1000.0}),
        ('\ufeff{"a": null}', {"a": None}),
        ('{"a": 1, /* why */ }', {"a": 1}),
    ],
)
def test_what_people_write(text: str, value: Any) -> None:
    assert parse(text, "c.json") == value


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{\n  // a comment\n  "a": 1\n  "b": 2\n}', "c.json:4:"),
        ("{\n  a: b\n}", "c.json:2:"),
        ('{"a": }', "c.json:1:"),
        ("[1, 2", "c.json:1:"),
        ('{"key": "sk-secret', "c.json:1:"),
        ("{'key': 'sk-secret", "c.json:1:"),
        ('{"key": "sk-secret\\', "c.json:1:"),
        ('{"key": 1 /* sk-secret', "c.json:1:"),
    ],
)
def test_a_mistake_is_told_where_it_is_and_shows_nothing(text: str, place: str) -> None:
    with pytest.raises(ConfigError) as excinfo:
        parse(text, "c.json")
    assert str(excinfo.value).startswith(place) and "sk-secret" not in str(excinfo.value)


def test_bounds() -> None:
    with pytest.raises(ConfigError, match="larger than 4 MB"):
        parse(" " * (5 << 20), "c.json")
    with pytest.raises(ConfigError, match=r"nested too deeply\. Look for a bracket"):
        parse("[" * 200_000, "c.json")
    for text in ("/*" * 500_000, '\\"' * 500_000, "'" + "\\'" * 500_000):  # each needs one pass, not one a character
        with pytest.raises(ConfigError, match="not valid JSON"):
            parse(text, "c.json")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_json_is_json5(value: Any) -> None:
    assert parse(json.dumps(value, ensure_ascii=False), "c.json") == value
    assert parse(json.dumps(value, indent=1), "c.json") == value
