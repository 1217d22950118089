"""One HTTP chunk through the splice: which chunks pass, and which the decoder gets."""

from __future__ import annotations

import pytest

from a2py.messages.splice import LONGEST, Splice

BEFORE, AFTER = b'data: {"c":"', b'"}\n\n'


def splice() -> Splice:
    return Splice(BEFORE, AFTER, (b'{"t":"', b'"}\n\n'))


def framed(payload: bytes, size: str = "%x") -> bytes:
    return (size % len(payload)).encode() + b"\r\n" + payload + b"\r\n"


@pytest.mark.parametrize(
    "size", [1, 2, 13, 14, 15, 16, 200, 225, 226, 227, 228, 229, 3000, LONGEST - len(BEFORE + AFTER) - 7]
)
def test_one_chunk_with_one_event(size: int) -> None:
    string = b"x" * size
    made = splice()
    assert made.chunk(framed(BEFORE + string + AFTER)) == framed(b'{"t":"' + string + b'"}\n\n')
    assert (made.count, made.chars) == (1, size)


@pytest.mark.parametrize("size", ["%x", "%X"])
def test_a_size_in_either_case(size: str) -> None:
    """hyper, on which Rust servers are built, writes chunk sizes in upper case."""
    data = framed(BEFORE + b"x" * (0xAB - len(BEFORE + AFTER)) + AFTER, size)
    assert data[:2] == (b"ab" if size == "%x" else b"AB")
    assert splice().chunk(data) is not None


@pytest.mark.parametrize(
    "data",
    [
        framed(BEFORE + AFTER),
        framed(BEFORE[:-1] + AFTER),  # head and tail share their quote
        framed(BEFORE + b"a" + AFTER + BEFORE + b"b" + AFTER),
        framed(BEFORE + b"a" + AFTER) + framed(BEFORE + b"b" + AFTER),
        framed(BEFORE + b"x" * 30 + AFTER, "0%x"),
        framed(BEFORE + b"x" * 30 + AFTER, "%x;ext=1"),
        framed(BEFORE + b"x" * 30 + AFTER).replace(b"\r\n", b"\n", 1),
        framed(BEFORE + b"x" * 30 + AFTER)[:-1],
        framed(BEFORE + b"x" * 30 + AFTER)[1:],
        framed(BEFORE + b"x" * LONGEST + AFTER),
        framed(BEFORE + b'a"b' + AFTER),
        framed(BEFORE + b"\xff" + AFTER),
        framed(b"data: [DONE]\n\n"),
        framed(b": comment\n\n"),
        b"0\r\n\r\n",
        b"\r\n",
        b"x",
        *(b"\r" + BEFORE + b"x" * size + AFTER + b"\r\n" for size in (2, 243, 5000)),  # of a size that no chunk has
    ],
)
def test_anything_else_is_left_to_the_decoder(data: bytes) -> None:
    made = splice()
    assert made.chunk(data) is None
    assert (made.count, made.chars) == (0, 0)
