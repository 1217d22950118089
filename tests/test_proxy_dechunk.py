"""Whole chunks told from the bytes of a read: what is one, what is left to a real parser."""

from __future__ import annotations

import pytest

from a2py.proxy.dechunk import UNKNOWN, dechunk


def frame(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def test_whole_chunks() -> None:
    assert dechunk(frame(b"hello")) == ([b"hello"], 10, 0)
    data = frame(b"a" * 16) + frame(b"b" * 300) + frame(b"\r\n")
    assert dechunk(data) == ([b"a" * 16, b"b" * 300, b"\r\n"], len(data), 0)
    assert dechunk(b"A\r\n0123456789\r\n") == ([b"0123456789"], 15, 0)
    assert dechunk(b"") == ([], 0, 0)


def test_from_the_middle() -> None:
    assert dechunk(b"xyz\r\n" + frame(b"hello"), 5) == ([b"hello"], 15, 0)


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_chunk_that_is_not_whole(cut: int) -> None:
    """The bytes that are still to come are told as soon as the size line is whole."""
    data = frame(b"first") + frame(b"hello")[:cut]
    pieces, at, owed = dechunk(data)
    assert pieces == [b"first"] and at == 10
    assert owed == (10 - cut if cut >= 3 else UNKNOWN)


@pytest.mark.parametrize(
    "data",
    [
        b"0\r\n\r\n",
        b"0\r\n",
        b"000\r\n\r\n",
        b"5;name=value\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"1_0\r\n0123456789abcdef\r\n",
        b"-5\r\nhello\r\n",
        b"\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello!!",
        b"5\r\nhello\n\n",
        b"0000005\r\nhello\r\n",
        b"data: {}\n\n\r\n",
        b"zz\r\n",
        b"\xff\xfe",
    ],
)
def test_what_is_left_to_a_parser(data: bytes) -> None:
    assert dechunk(data) == ([], 0, UNKNOWN)
    assert dechunk(frame(b"x") + data) == ([b"x"], 6, UNKNOWN)


def test_every_cut_of_a_body() -> None:
    """What comes out, and what is left, is always the whole body."""
    payloads = [b"a", b"data: {}\n\n" * 5, b"\r\n\r\n", b"0\r\n\r\n", b"x" * 300]
    body = b"".join(map(frame, payloads))
    for cut in range(len(body) + 1):
        pieces, at, owed = dechunk(body[:cut])
        assert b"".join(map(frame, pieces)) == body[:at] and at <= cut
        if owed > 0:
            more, end, _ = dechunk(body[at : cut + owed])
            assert len(more) == 1 and end == cut + owed - at
