"""The syntax of a head, through `ResponseReader`, at every split."""

from __future__ import annotations

import pytest

from a2py.http1 import Head, ResponseReader
from a2py.http1.head import MAX_HEADERS, parse_head
from tests.http1.hostile import FIVE, OK, fields
from tests.http1.reading import read, rejects


def headers(*lines: bytes) -> dict[str, str]:
    """The headers of a response with these lines."""
    reading = read(b"".join((OK, *(line + b"\r\n" for line in lines), FIVE)))
    assert (reading.status, reading.body, reading.error) == (200, b"hello", "")
    return reading.headers


@pytest.mark.parametrize(
    ("line", "minor", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", 1, 200, "OK"),
        (b"HTTP/1.1 200", 1, 200, ""),
        (b"HTTP/1.1 200 ", 1, 200, ""),
        (b"HTTP/1.1 200  Very \t good ", 1, 200, "Very \t good"),
        (b"HTTP/1.1 200 \xdf\x01:", 1, 200, "ß\x01:"),
        (b"HTTP/1.0 404 Not Found", 0, 404, "Not Found"),
        (b"HTTP/1.1 999 X", 1, 999, "X"),
    ],
)
def test_status_lines(line: bytes, minor: int, status: int, reason: str) -> None:
    assert parse_head(bytearray(line)) == Head(minor, status, reason, {})
    assert read(line + b"\r\n" + FIVE).status == status


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 099 X",
        b"HTTP/1.1 20 X",
        b"HTTP/1.1 2000 X",
        b"HTTP/1.1 2x0 X",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1",
        b"HTTP/1. 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/1.11 200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/2.0 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1 \xb2\xb2\xb2 OK",
        b"HTTP/1.1 200\x0bOK",
        b" HTTP/1.1 200 OK",
        b"\rHTTP/1.1 200 OK",
        b"\r\r\nHTTP/1.1 200 OK",
        b"GET / HTTP/1.1",
        b"X: a",
    ],
)
def test_what_is_no_status_line(line: bytes) -> None:
    rejects(line + b"\r\n" + FIVE, "no HTTP/1.1 status line")


@pytest.mark.parametrize(
    "data", [b"<", b"SSH-2.0", b"\x15\x03", b"HTTP/2", b"HTTP/1x", b"HTTX", b"h", b"\rH", b"\r\n\r\n ", b"\n\r\r"]
)
def test_what_is_no_http_fails_at_its_first_bytes(data: bytes) -> None:
    """No end of a head will ever come."""
    rejects(data, "no HTTP/1.1 status line")
    rejects(b"HTTP/1.1 100 Continue\r\n\r\n" + data, "no HTTP/1.1 status line")


@pytest.mark.parametrize(
    "data", [b"", b"\r", b"\r\n", b"\n\r", b"H", b"HTTP/1.", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX: a\r\n\r"]
)
def test_a_head_that_is_not_whole(data: bytes) -> None:
    assert read(data, close=False) == (None, {}, b"", "", False)
    assert read(data).error == "the connection was closed before the end of the response"


def test_names_and_values() -> None:
    assert headers(b"X-A: b") == {"x-a": "b"}
    assert headers(b"X-A:b", b"x-b: ", b"X-C:") == {"x-a": "b", "x-b": "", "x-c": ""}
    assert headers(b"X-A: \t b:  c,\td \t ") == {"x-a": "b:  c,\td"}
    assert headers(b"!#$%&'*+-.^_`|~09azAZ: a") == {"!#$%&'*+-.^_`|~09azaz": "a"}
    assert headers(b"X-A: \xa0\xe9\xff\x85") == {"x-a": "\xa0\xe9\xff\x85"}
    assert headers(b"X-A: \x01\x0b\x0c\x1f\x7f") == {"x-a": "\x01\x0b\x0c\x1f\x7f"}


def test_lines_may_end_in_lf() -> None:
    assert headers(b"X-A: b\nX-B: c") == {"x-a": "b", "x-b": "c"}
    assert read((OK + b"X-A: b\r\n" + FIVE).replace(b"\r", b"")).headers == {"x-a": "b"}


def test_a_name_that_occurs_again() -> None:
    assert headers(b"Via: a", b"X: 1", b"via: b") == {"via": "a, b", "x": "1"}
    assert headers(b"Via: a", b"Via: a") == {"via": "a"}
    assert headers(b"Via: a", b"Via: b", b"Via: a") == {"via": "a, b, a"}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b" a", "a header line that continues the line before it"),
        (b"\tX: a", "a header line that continues the line before it"),
        (b" ", "a header line that continues the line before it"),
        (b"X", "a header line without a colon"),
        (b"X a", "a header line without a colon"),
        (b": a", "a header name that is not a token"),
        (b":", "a header name that is not a token"),
        (b"X : a", "a header name that is not a token"),
        (b"X\t: a", "a header name that is not a token"),
        (b"X Y: a", "a header name that is not a token"),
        (b"X(Y): a", "a header name that is not a token"),
        (b"X\xe9: a", "a header name that is not a token"),
        (b"\x7f: a", "a header name that is not a token"),
        (b"X: a\rb", "a carriage return inside a header line"),
        (b"X: a\r", "a carriage return inside a header line"),
        (b"\rX: a", "a carriage return inside a header line"),
        (b"X: \0", "a NUL byte in a header line"),
        (b"X\0: a", "a NUL byte in a header line"),
    ],
)
def test_lines_that_are_errors(line: bytes, error: str) -> None:
    rejects(OK + line + b"\r\n" + FIVE, error)
    rejects(OK + b"X-A: b\r\n" + line + b"\r\nX-C: d\r\n" + FIVE, error)
    # the same in trailers
    rejects(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-A: b\r\n" + line + b"\r\n\r\n", error, b"a")


def test_how_many() -> None:
    assert len(headers(fields(MAX_HEADERS - 1)[:-2])) == MAX_HEADERS - 1  # and the length
    rejects(OK + fields(MAX_HEADERS) + FIVE, "more than 200 header fields")


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        (b"a", ["a"]),
        (b" A , b;c=D,,\t, e f ,", ["a", "b;c=d", "e f"]),
        (b"", []),
        (b",", []),
    ],
)
def test_tokens(value: bytes, tokens: list[str]) -> None:
    reader = ResponseReader()
    reader.receive(OK + b"Connection: " + value + b"\r\n" + FIVE)
    assert reader.head is not None
    assert reader.head.tokens("connection") == tokens
    assert reader.head.tokens("via") == []
