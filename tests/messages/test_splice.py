"""What may pass a decoder by: the inside of a JSON string as orjson writes it, and how long it is."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.messages.splice import Splice, chunk_head, measure


@pytest.mark.parametrize("s", ["", "plain", "é€😀\x7f", 'a "b" \\ c', "\b\f\n\r\t", "\\\\n", "é\n"])
def test_what_orjson_writes_is_measured(s: str) -> None:
    assert measure(orjson.dumps(s)[1:-1]) == len(s)


@pytest.mark.parametrize(
    "raw", [b'"', b"\\", b"\\u00e9", b"\\/", b"a\nb", b"\x00", b"\xff", b"\xe2\x82", b"\xed\xa0\xbd", b"\xff\\n"]
)
def test_what_it_would_write_in_another_way_is_not(raw: bytes) -> None:
    assert measure(raw) == -1
    splice = Splice(b"<", b">", (b"[", b"]"))
    assert not splice.take(raw)
    assert (splice.count, splice.chars) == (0, 0)


def test_what_passes_is_counted() -> None:
    splice = Splice(b"<", b">", (b"[", b"]"))
    assert splice.take(b"four") and splice.take("é€".encode()) and splice.take(rb"\"\\")
    assert (splice.count, splice.chars) == (3, 8)


@given(st.binary(max_size=20))
def test_any_bytes(raw: bytes) -> None:
    try:
        s = orjson.loads(b'"' + raw + b'"')
        expected = len(s) if orjson.dumps(s)[1:-1] == raw else -1
    except orjson.JSONDecodeError:
        expected = -1
    assert measure(raw) == expected


@given(st.binary(min_size=1, max_size=5000))
def test_exactly_one_chunk_is_recognized(content: bytes) -> None:
    head = b"%x\r\n" % len(content)
    whole = head + content + b"\r\n"
    if chunk_head(whole):
        assert chunk_head(whole) == len(head)
    else:
        assert len(content) < 16, "only very short ones are not worth it"
    assert chunk_head(whole.replace(head, head.upper(), 1)) == chunk_head(whole)
    for other in (whole + b"x", whole[:-1], b"0\r\n\r\n", b"", head.replace(b"\r", b";x=1\r") + content + b"\r\n"):
        assert chunk_head(other) == 0


@pytest.mark.parametrize("size", [18, 259, 5000])
def test_a_size_that_no_chunk_has(size: int) -> None:
    """Between the sizes of chunks with one and two digits, and above the longest one, there is no first line."""
    assert chunk_head(b"\r" + b"x" * size + b"\r\n") == 0
