"""What a broken response leaves behind."""

from __future__ import annotations

import pytest

from a2py.http1.error import BadResponse
from a2py.http1.response import ResponseReader


def test_the_pieces_of_the_body_before_the_fault_are_kept() -> None:
    reader = ResponseReader()
    reader.receive(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    with pytest.raises(BadResponse, match="hexadecimal") as excinfo:
        reader.receive(b"5\r\nHello\r\n6\r\n world\r\nzz\r\n")
    assert excinfo.value.pieces == [b"Hello", b" world"]


def test_without_a_body_there_are_none() -> None:
    error = BadResponse("no HTTP/1.1 status line")
    assert str(error) == "no HTTP/1.1 status line" and error.pieces == []
