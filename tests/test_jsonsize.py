"""Values of a JSON text are counted without parsing it, and only outside strings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py import jsonsize
from a2py.jsonsize import count_in_slices, exceeds, exceeds_in_slices, upper_bound
from a2py.slices import BYTES, at_once

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a,:[{}]"\\\n\u20ac'), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.sampled_from('b,:[{"\\'), max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


def marks(value: Any) -> int:
    """What is counted, by looking at the value: an opening bracket, a comma between two members or items, a colon for
    each name."""
    if isinstance(value, dict):
        return max(1, len(value)) + len(value) + sum(map(marks, value.values()))
    if isinstance(value, list):
        return max(1, len(value)) + sum(map(marks, value))
    return 0


@settings(deadline=None)
@given(values, st.booleans(), st.sampled_from([1, 2, 3, 7, BYTES]))
def test_the_count_is_that_of_the_parsed_value(value: Any, ascii: bool, piece: int) -> None:
    raw = json.dumps(value, ensure_ascii=ascii).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonsize, "BYTES", piece)  # a piece may end anywhere: in a string, after a backslash
        assert at_once(count_in_slices(raw, len(raw))) == marks(value) <= upper_bound(raw)
        assert at_once(exceeds_in_slices(raw, marks(value))) is False
        assert at_once(exceeds_in_slices(raw, marks(value) - 1)) is True


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (b'{"a": [1, 2], "b": "x,y"}', 6),
        (b"[]", 1),
        (b'","', 0),
        (rb'["\"[,", "\\", "\\\",", 1]', 4),
        (b'["never closed, [[[', 1),
        (b"", 0),
        (b"x,y", 1),
    ],
)
def test_known_texts(raw: bytes, count: int) -> None:
    assert at_once(count_in_slices(raw, 100)) == count


def test_strings_do_not_count_against_the_limit() -> None:
    assert not exceeds(b'["' + b"," * 50 + b'"]', 10)
    assert exceeds(b"[" + b"1," * 10 + b"1]", 10)
    assert not exceeds(b"[" + b"1," * 9 + b"1]", 10)
    assert not exceeds(b"[[[", 10)


def test_it_counts_a_megabyte_a_slice_and_no_further_than_the_limit() -> None:
    assert len(list(count_in_slices(b'"' + b"," * (3 * BYTES) + b'"', 10))) == 4
    assert len(list(count_in_slices(b"[" + b"[]," * BYTES + b"1]", 10))) == 1


def test_the_cheap_bound_is_counted_a_megabyte_a_slice() -> None:
    """A pause after each, because 32 MB take some 30 ms."""
    assert len(list(exceeds_in_slices(b'"' + b"x" * (3 * BYTES) + b'"', 10))) == 4
    assert len(list(exceeds_in_slices(b'"' + b"," * (3 * BYTES) + b'"', 10))) == 5
    assert not list(exceeds_in_slices(b"[]", 10))
