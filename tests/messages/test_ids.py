"""Tool-call ids: legal, unique, and back again."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.messages.ids import ORIGINAL_LIMIT, Allocator, original

LEGAL = re.compile(r"[A-Za-z0-9_-]+\Z")


@pytest.mark.parametrize("id", ["call_0", "toolu_01AbC-_", "a", "x" * 64, "a2py_", "a2py_1", "a2py_x_y"])
def test_a_legal_new_id_stays(id: str) -> None:
    assert Allocator().legal(id) == id
    assert original(id) == id


@pytest.mark.parametrize(
    "id", ["", "functions.Bash:0", "x" * 65, "a b", "\u20ac", "call\n", "a2py_1_Zm9v", "a2py_7_", 'quote"', "\x00"]
)
def test_any_other_gets_a_reversible_form(id: str) -> None:
    out = Allocator().legal(id)
    assert out != id
    assert LEGAL.match(out)
    assert original(out) == (id or out)


def test_no_id_twice_in_a_reply_or_against_the_history() -> None:
    ids = Allocator(frozenset({"call_0", "a2py_3_Y2FsbF8w"}))
    legal_ids = [ids.legal("call_0"), ids.legal("call_1"), ids.legal("call_1"), ids.legal(""), ids.legal("")]
    assert len({*legal_ids, "call_0", "a2py_3_Y2FsbF8w"}) == 7
    assert [original(id) for id in legal_ids[:3]] == ["call_0", "call_1", "call_1"]


@settings(deadline=None)
@given(
    st.lists(st.text(max_size=12) | st.sampled_from(["call_0", "functions.x:0", "a2py_1_Y2FsbF8w"]), max_size=12),
    st.integers(0, 3),
)
def test_a_conversation_of_several_turns(ids: list[str], turn_length: int) -> None:
    used_ids: set[str] = set()
    for start in range(0, len(ids), turn_length + 1):
        allocator = Allocator(frozenset(used_ids))
        for id in ids[start : start + turn_length + 1]:
            out = allocator.legal(id)
            assert out not in used_ids
            assert LEGAL.match(out)
            assert not id or original(out) == id.encode("utf-8", "replace").decode()
            used_ids.add(out)


def test_lone_surrogates_and_long_originals_do_no_harm() -> None:
    assert original(Allocator().legal("\ud800x")) == "?x"
    assert original(Allocator().legal("y" * ORIGINAL_LIMIT + "z")) == "y" * ORIGINAL_LIMIT
    assert original(Allocator().legal(":" * ORIGINAL_LIMIT)) == ":" * ORIGINAL_LIMIT
    cut_in_a_character = Allocator().legal("xx" + "\u20ac" * 400)
    assert original(cut_in_a_character) == cut_in_a_character
    assert len(Allocator().legal("z" * 10_000_000)) < 1400


@pytest.mark.parametrize(
    "forged_id",
    [
        "a2py_1_",  # nothing inside
        "a2py_1_x",  # no base64 has this length
        "a2py_1_____",  # 0xff…: no UTF-8
        "a2py_1_Zm9v\n",
        "a2py_-1_Zm9v",
        "a2py_\u0663_Zm9v",
        "a2py_1234567890_Zm9v",
        "a2py_1_Zm9v=",
        "xa2py_1_Zm9v",
        "a2py_1_" + "A" * 5000,
        "a2py_1_" + base64.urlsafe_b64encode(b"x" * 1025).decode().rstrip("="),
        "",
    ],
)
def test_a_forged_id_stays_as_it_is(forged_id: str) -> None:
    assert original(forged_id) == forged_id


def test_a_forged_id_can_only_name_text() -> None:
    assert (
        original("a2py_1_" + base64.urlsafe_b64encode(b"../../x\r\ny\x00").decode().rstrip("=")) == "../../x\r\ny\x00"
    )
