"""Which conversation a request belongs to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.messages.session import MAX_BLOCKS, MAX_TEXT, SESSION_HEADERS
from a2py.wires.passthrough.session import find_session, read_opening

SYSTEM = {"role": "system", "content": "Be kind."}
FIRST = {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {}}, "odd"]}
LATER = [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "More"}]


def test_each_turn_of_a_conversation_has_the_same_opening() -> None:
    chat = read_opening({"messages": [SYSTEM, FIRST]})
    assert chat == ("Be kind.", "Hi") == read_opening({"messages": [SYSTEM, FIRST, *LATER]})
    opening = read_opening({"instructions": "Be kind.", "input": [FIRST]})
    assert opening == chat == read_opening({"instructions": "Be kind.", "input": [FIRST, *LATER]})
    assert read_opening({"input": "Hi"}) == ("Hi",)
    assert find_session({}, chat) == find_session({}, opening) != find_session({}, ("Be kind.H", "i"))


@pytest.mark.parametrize("body", [{}, {"messages": 1}, {"messages": [1, {"role": "user"}]}, {"prompt": "Hi"}])
def test_without_an_opening_there_is_no_session(body: dict[str, Any]) -> None:
    assert find_session({}, read_opening(body)) == ""


@pytest.mark.parametrize("name", SESSION_HEADERS)
def test_a_header_names_the_session(name: str) -> None:
    assert find_session({name: "s" * 200}, ("Hi",)) == "s" * 128
    assert find_session({name: ""}, ("Hi",)) == find_session({}, ("Hi",))


def test_what_is_kept_is_bounded() -> None:
    flood = [{"role": "system", "content": [{"text": "x" * (MAX_TEXT + 1)}] * 1000}] * 1000
    opening = read_opening({"messages": flood, "instructions": "x"})
    assert len(opening) == MAX_BLOCKS and max(map(len, opening)) == MAX_TEXT


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["content", "text", "role"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["messages", "input", "instructions"]), JSON))
def test_any_body_has_a_session_or_none(body: dict[str, Any]) -> None:
    assert isinstance(find_session({}, read_opening(body)), str)


def test_half_of_a_surrogate_pair_is_no_crash() -> None:
    assert find_session({}, ("\ud83d",))
