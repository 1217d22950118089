"""One HTTP chunk through the splice: which chunks pass, and which the decoder gets."""

from __future__ import annotations

import pytest

from a2py.messages.splice import LONGEST, Splice

BEFORE, AFTER = b'data: {"c":"', b'"}\n\n'


def make_splice() -> Splice:
    return Splice(BEFORE, AFTER, (b'{"t":"', b'"}\n\n'))


def frame(payload: bytes, size: str = "%x") -> bytes:
    return (size % len(payload)).encode() + b"\r\n" + payload + b"\r\n"


@pytest.mark.parametrize(
    "size", [1, 2, 13, 14, 15, 16, 200, 225, 226, 227, 228, 229, 3000, LONGEST - len(BEFORE + AFTER) - 7]
)
def test_one_chunk_with_one_event(size: int) -> None:
    string = b"x" * size
    splice = make_splice()
    assert splice.chunk(frame(BEFORE + string + AFTER)) == frame(b'{"t":"' + string + b'"}\n\n')
    assert (splice.count, splice.chars) == (1, size)


@pytest.mark.parametrize("size", ["%x", "%X"])
def test_a_size_in_either_case(size: str) -> None:
    """hyper, on which Rust servers are built, writes chunk sizes in upper case."""
    data = frame(BEFORE + b"x" * (0xAB - len(BEFORE + AFTER)) + AFTER, size)
    assert data[:2] == (b"ab" if size == "%x" else b"AB")
    assert make_splice().chunk(data) is not None


@pytest.mark.parametrize(
    "data",
    [
        frame(BEFORE + AFTER),
        frame(BEFORE[:-1] + AFTER),  # head and tail share their quote
        frame(BEFORE + b"a" + AFTER + BEFORE + b"b" + AFTER),
        frame(BEFORE + b"a" + AFTER) + frame(BEFORE + b"b" + AFTER),
        frame(BEFORE + b"x" * 30 + AFTER, "0%x"),
        frame(BEFORE + b"x" * 30 + AFTER, "%x;ext=1"),
        frame(BEFORE + b"x" * 30 + AFTER).replace(b"\r\n", b"\n", 1),
        frame(BEFORE + b"x" * 30 + AFTER)[:-1],
        frame(BEFORE + b"x" * 30 + AFTER)[1:],
        frame(BEFORE + b"x" * LONGEST + AFTER),
        frame(BEFORE + b'a"b' + AFTER),
        frame(BEFORE + b"\xff" + AFTER),
        frame(b"data: [DONE]\n\n"),
        frame(b": comment\n\n"),
        b"0\r\n\r\n",
        b"\r\n",
        b"x",
        *(b"\r" + BEFORE + b"x" * size + AFTER + b"\r\n" for size in (2, 243, 5000)),  # of a size that no chunk has
    ],
)
def test_anything_else_is_left_to_the_decoder(data: bytes) -> None:
    splice = make_splice()
    assert splice.chunk(data) is None
    assert (splice.count, splice.chars) == (0, 0)
