"""Where a response begins and ends, and what its body is: every case at every split. (What other parsers make of it:
test_differential.)"""

from __future__ import annotations

import pytest

from a2py.http1 import BadResponse, ResponseReader, State
from a2py.http1.response import MAX_CHUNK_LINE, MAX_HEAD, MAX_INTERIM
from tests.http1.hostile import CHUNKED, CONTINUE, FIVE, HELLO, LAST, OK, OK_10
from tests.http1.reading import Reading, ours, read, rejects

CHUNKS = OK + CHUNKED + b"\r\n"
CUT = "the connection was closed before the end of the response"
NO_SIZE = "a chunk size that is not a hexadecimal number"
TOO_LONG = "a chunk whose data is longer than its size"
BAD_EXTENSION = "a malformed chunk extension"
BAD_LENGTH = "a content-length that is not one number"


def whole(data: bytes, body: bytes, *, status: int = 200, keeps: bool = True, method: str = "POST") -> None:
    """Assert that `data` is a response with this body, also before the server closes the connection."""
    reading = read(data, method, close=False)
    assert reading == Reading(status, reading.headers, body, "", keeps)
    assert ours([data], method) == reading


def start_reader(data: bytes = CHUNKS) -> ResponseReader:
    reader = ResponseReader()
    reader.receive(data)
    return reader


# -- bodies with a length ----------------------------------------------------------------------------------------------


def test_a_length() -> None:
    whole(OK + FIVE, b"hello")
    whole(OK + b"Content-Length: 0\r\n\r\n", b"")
    whole(OK + b"Content-Length: 00005\r\n\r\nhello", b"hello")
    whole(OK + b"Content-Length: " + b"0" * 5000 + b"5\r\n\r\nhello", b"hello")  # more digits than `int` takes
    whole(OK + b"Content-Length: 5, 5 ,5\r\nContent-Length: 5\r\n\r\nhello", b"hello")
    whole(OK + b"Content-Length: 4\r\n\r\n\r\n\r\n", b"\r\n\r\n")


def test_a_length_and_more() -> None:
    whole(OK + FIVE + b"x", b"hello", keeps=False)
    whole(OK + b"Content-Length: 0\r\n\r\nx", b"", keeps=False)


def test_a_length_and_less() -> None:
    assert read(OK + b"Content-Length: 6\r\n\r\nhello") == Reading(200, {}, b"hello", CUT)
    assert read(OK + b"Content-Length: %b\r\n\r\nhello" % (b"9" * 18)) == Reading(200, {}, b"hello", CUT)
    assert read(OK + b"Content-Length: 6\r\n\r\nhello", close=False) == Reading(200, {}, b"hello")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b",",
        b"5,",
        b",5",
        b"5,6",
        b"5;5",
        b"+5",
        b"-5",
        b"0x5",
        b"5_0",
        b"5 5",
        b"5.",
        b"x",
        b"\xb2",
        b"\xd9\xa5",
        b"9" * 19,
    ],
)
def test_what_is_no_length(value: bytes) -> None:
    rejects(OK + b"Content-Length: " + value + b"\r\n\r\nhello", BAD_LENGTH)
    rejects(OK + b"Content-Length: 5\r\nContent-Length: " + value + b"\r\n\r\nhello", BAD_LENGTH)
    rejects(OK + CHUNKED + b"Content-Length: " + value + b"\r\n\r\n" + LAST, BAD_LENGTH)


# -- bodies until the connection closes --------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [OK, OK_10, OK + b"Transfer-Encoding: identity\r\n", OK + b"Transfer-Encoding:\r\n"])
def test_until_the_connection_closes(head: bytes) -> None:
    assert read(head + b"\r\nhello\r\n") == Reading(200, {}, b"hello\r\n")
    assert read(head + b"\r\n") == Reading(200, {}, b"")
    reader = start_reader(head + b"\r\nhello")
    assert reader.state is State.UNTIL_CLOSE and not reader.is_done
    reader.end_of_input()
    assert reader.is_done and not reader.keeps_alive


# -- chunks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (LAST, b""),
        (HELLO + LAST, b"hello"),
        (b"a\r\n0123456789\r\n" + LAST, b"0123456789"),
        (b"00A\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
        (b"1\r\na\r\n2\r\nbc\r\n" + LAST, b"abc"),
        (b"2\r\n\r\n\r\n5\r\n0\r\n\r\n\r\n" + LAST, b"\r\n0\r\n\r\n"),
        (b"5 \t\r\nhello\r\n0 \r\n\r\n", b"hello"),
        (b"5\nhello\n0\n\n", b"hello"),
        (b"5\r\nhello\n0\r\n\n", b"hello"),
        (b"5;a\r\nhello\r\n0;b=c\r\n\r\n", b"hello"),
        (b'5 ; a = "b;\\"c\\\\" ;;d\xff\r\nhello\r\n' + LAST, b"hello"),
        (HELLO + b"0\r\nX: a\r\n\r\n", b"hello"),
        (HELLO + b"0\r\nX: a\nY: b\n\n", b"hello"),
        (b"6\r\nhello\r\n" + LAST, b"hello\r"),
        (b"0" * (MAX_CHUNK_LINE - 3) + b"1\r\nx\r\n" + LAST, b"x"),
        (b"1;" + b"a" * (MAX_CHUNK_LINE - 4) + b"\r\nx\r\n" + LAST, b"x"),
    ],
)
def test_chunks(data: bytes, body: bytes) -> None:
    whole(CHUNKS + data, body)
    whole(CHUNKS + data + b"\r\n", body, keeps=False)
    whole(CHUNKS + data + OK + FIVE, body, keeps=False)


@pytest.mark.parametrize(
    ("data", "error", "body"),
    [
        *[
            (bad, NO_SIZE, b"")
            for bad in (
                b"\r\nhello",
                b"\nhello",
                b" 5\r\nhello",
                b"+5\r\nhello",
                b"-5\r\nhello",
                b"0x5\r\nhello",
                b"1_0\r\nhello",
                b"5 5\r\nhello",
                b"5h\r\nhello",
                b"5\0\r\nhello",
                b"5\x0c\r\nhello",
                b"5\r\r\nhello",
                b"5\rhello\n",
                b"zz",
                b";a",
                b"data: {}\n\n",
                b"\xff\xfe",
                b"z" * 5000,
            )
        ],
        (HELLO + b"\r\n" + LAST, NO_SIZE, b"hello"),
        (HELLO + b"x", NO_SIZE, b"hello"),
        (b"5\r\nhello!!", TOO_LONG, b"hello"),
        (b"5\r\nhello0\r\n\r\n", TOO_LONG, b"hello"),
        (b"5\r\nhello\rx", TOO_LONG, b"hello"),
        (b"5\r\nhello\r\r\n", TOO_LONG, b"hello"),
        *[
            (b"1\r\na\r\n5" + bad + b"hello\r\n" + LAST, BAD_EXTENSION, b"a")
            for bad in (
                b";a\n",
                b';a="b"\n',
                b';a="b\r\n',
                b';a="b\\"\r\n',
                b';a="b\nc"\r\n',
                b";a\rb\r\n",
                b";a\r\r\n",
                b";\0\r\n",
                b";\x7f\r\n",
            )
        ],
        (b"1" + b"0" * 15 + b"\r\n", "a chunk size of 2^60 bytes or more", b""),
        (HELLO + b"0" * 99 + b"f" * 16 + b"\r\n", "a chunk size of 2^60 bytes or more", b"hello"),
        (HELLO + b"0" * MAX_CHUNK_LINE, "a chunk's first line of more than 4096 bytes", b"hello"),
        (HELLO + b"0" * (MAX_CHUNK_LINE - 1) + b"\r\n", "a chunk's first line of more than 4096 bytes", b"hello"),
        (HELLO + b"1;" + b"a" * 9000, "a chunk's first line of more than 4096 bytes", b"hello"),
        (HELLO + b"0\r\nX: " + b"a" * MAX_HEAD, "more than 65536 bytes of headers", b"hello"),
        (HELLO + b"0\r\n" + b"X: a\r\n" * 201 + b"\r\n", "more than 200 header fields", b"hello"),
    ],
)
def test_chunks_that_are_errors(data: bytes, error: str, body: bytes) -> None:
    """What came before an error is not lost, though it came in the same read."""
    rejects(CHUNKS + data, error, body)


@pytest.mark.parametrize(
    "data",
    [b"", b"5", b"5\r", b"5\r\n", b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r", HELLO, HELLO + b"0", HELLO + b"0\r\n"],
)
def test_chunks_that_are_cut(data: bytes) -> None:
    body = b"hello" if b"hello" in data else b"hel" if b"hel" in data else b""
    assert read(CHUNKS + data) == Reading(200, {}, body, CUT)
    assert read(CHUNKS + data, close=False) == Reading(200, {}, body)


def test_trailers_that_are_cut() -> None:
    for trailers in (b"X", b"X: a", b"X: a\r\n", b"X: a\r\n\r", b"\r"):
        assert read(CHUNKS + HELLO + b"0\r\n" + trailers) == Reading(200, {}, b"hello", CUT)


def test_whole_chunks_in_one_read_are_pieces() -> None:
    """And neither is copied twice, nor joined."""
    reader = start_reader()
    assert reader.receive(HELLO) == [b"hello"]
    assert reader.receive(HELLO + b"1\r\na\r\n") == [b"hello", b"a"]
    assert reader.receive(b"3;x\r\nabc\r\n2\r\ndef"[:-1]) == [b"abc", b"de"]
    assert reader.receive(b"\r\n6\r\nab") == [b"ab"]
    assert reader.receive(b"cd") == [b"cd"]
    assert reader.receive(b"ef\r\n" + LAST) == [b"ef"]
    assert reader.is_done


def test_every_cut_of_chunks() -> None:
    """The state says where the next byte belongs."""
    payloads = [b"a", b"data: {}\n\n" * 5, b"\r\n\r\n", b"0\r\n\r\n", b"x" * 300]
    states: list[State] = []
    for payload in payloads:
        size = b"%x\r\n" % len(payload)
        states += [State.BETWEEN_CHUNKS, *[State.CHUNK_LINE] * (len(size) - 1)]
        states += [*[State.CHUNK_DATA] * len(payload), *[State.CHUNK_END] * 2]
    states += [State.BETWEEN_CHUNKS, *[State.CHUNK_LINE] * 2, *[State.TRAILERS] * 2, State.DONE]
    data = b"".join(b"%x\r\n%b\r\n" % (len(payload), payload) for payload in payloads) + LAST
    assert len(states) == len(data) + 1
    for cut in range(len(data) + 1):
        reader = start_reader()
        body = b"".join(reader.receive(data[:cut]))
        assert reader.state is states[cut], cut
        assert body + b"".join(reader.receive(data[cut:])) == b"".join(payloads)
        assert reader.keeps_alive


# -- which framing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [b"chunked", b"CHUNKED", b" chunked ", b",chunked,", b"identity, chunked", b"chunked, chunked"]
)
def test_codings_that_are_chunked(value: bytes) -> None:
    whole(OK + b"Transfer-Encoding: " + value + b"\r\n\r\n" + HELLO + LAST, b"hello")


@pytest.mark.parametrize(
    "value",
    [
        b"gzip",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked, identity",
        b"identity, identity",
        b"chunked;a",
        b"xchunked",
        b'"chunked"',
    ],
)
def test_codings_that_are_errors(value: bytes) -> None:
    rejects(OK + b"Transfer-Encoding: " + value + b"\r\n\r\n" + HELLO + LAST, "a transfer-encoding other than chunked")


def test_two_framings() -> None:
    rejects(OK + b"Transfer-Encoding: identity\r\n" + FIVE, "a transfer-encoding other than chunked")
    whole(OK + CHUNKED + FIVE[:21] + HELLO + LAST, b"hello", keeps=False)
    whole(OK_10 + CHUNKED + b"Connection: keep-alive\r\n\r\n" + HELLO + LAST, b"hello", keeps=False)


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("headers", [b"", b"Content-Length: 5\r\n", CHUNKED])
def test_statuses_without_a_body(status: int, headers: bytes) -> None:
    head = b"HTTP/1.1 %d X\r\n%b\r\n" % (status, headers)
    whole(head, b"", status=status)
    whole(head + b"hello", b"", status=status, keeps=False)


def test_requests_without_a_body() -> None:
    whole(OK + FIVE[:21], b"", method="HEAD")
    whole(OK + CHUNKED + b"\r\n", b"", method="HEAD")
    for headers in (b"", b"Content-Length: 5\r\n", b"Content-Length: x\r\n", CHUNKED, b"Transfer-Encoding: gzip\r\n"):
        whole(OK + headers + b"\r\n", b"", method="CONNECT")
        whole(OK + headers + b"\r\nhello", b"", method="CONNECT", keeps=False)
    whole(b"HTTP/1.1 407 X\r\n" + FIVE, b"hello", status=407, method="CONNECT")


# -- before and after --------------------------------------------------------------------------------------------------


def test_interim_responses() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\nContent-Length: 9\r\nConnection: close\r\n" + CHUNKED + b"\r\n"
    whole(CONTINUE + OK + FIVE, b"hello")
    whole(early + CONTINUE + b"\r\n" + CHUNKS + HELLO + LAST, b"hello")
    assert read(early + OK + FIVE).headers == {}
    assert read(CONTINUE).error == CUT
    whole(CONTINUE * MAX_INTERIM + OK + FIVE, b"hello")
    rejects(CONTINUE * (MAX_INTERIM + 1) + OK + FIVE, "more than 16 interim responses")
    rejects(b"HTTP/1.1 101 X\r\n\r\nhello", "a change of protocol that was not asked for (status 101)")


def test_empty_lines_first() -> None:
    for lines in (b"\r\n", b"\n", b"\n\n\r\n\r\n\n"):
        whole(lines + OK + FIVE, b"hello")


def head_of(size: int) -> bytes:
    """A head of so many bytes, for a body of five."""
    return OK + b"X: " + b"a" * (size - len(OK) - 3 - 2 - 21) + b"\r\n" + FIVE[:21]


def test_the_length_of_a_head() -> None:
    """All heads of a response, and empty lines, count together; the body and trailers do not."""
    whole(head_of(MAX_HEAD) + b"hello", b"hello")
    rejects(head_of(MAX_HEAD + 1) + b"hello", "more than 65536 bytes of headers")
    whole(b"\r\n" + CONTINUE + head_of(MAX_HEAD - 2 - len(CONTINUE)) + b"hello", b"hello")
    rejects(b"\r\n" + CONTINUE + head_of(MAX_HEAD - 1 - len(CONTINUE)) + b"hello", "more than 65536 bytes of headers")
    rejects(b"\r\n" * (MAX_HEAD // 2) + OK, "more than 65536 bytes of headers")
    rejects(OK + b"X: " + b"a" * MAX_HEAD, "more than 65536 bytes of headers")
    trailer = b"X: " + b"a" * (MAX_HEAD - 7) + b"\r\n\r\n"
    whole(CHUNKS + HELLO + b"0\r\n" + trailer, b"hello")
    rejects(CHUNKS + HELLO + b"0\r\nX" + trailer, "more than 65536 bytes of headers", b"hello")


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"keep-alive", True),
        (b"1.1", b"close", False),
        (b"1.1", b"Foo , Close", False),
        (b"1.1", b"keep-alive, close", False),
        (b"1.1", b"closed", True),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"close", False),
    ],
)
def test_what_keeps_a_connection(version: bytes, connection: bytes, keeps: bool) -> None:
    whole(b"HTTP/%b 200 OK\r\nConnection: %b\r\n%b" % (version, connection, FIVE), b"hello", keeps=keeps)


def test_nothing_is_kept_before_the_end() -> None:
    reader = ResponseReader()
    for piece in (b"", OK, FIVE[:-1]):
        reader.receive(piece)
        assert not reader.keeps_alive and not reader.is_done
    reader.receive(FIVE[-1:])
    assert reader.keeps_alive
    reader.receive(b"")
    assert reader.keeps_alive and not reader.surplus
    assert reader.receive(b"\n") == []
    assert reader.surplus and not reader.keeps_alive and reader.is_done


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"timeout=5", 5),
        (b"max=100, timeout = 75", 75),
        (b"Timeout=5;max=9", 5),
        (b'timeout="7"', 7),
        (b"timeout=0", 0),
        (b"timeout", None),
        (b"timeout=x", None),
        (b"timeout=-5", None),
        (b"xtimeout=5", None),
        (b"5", None),
        (b"", None),
    ],
)
def test_idle_seconds(value: bytes, seconds: int | None) -> None:
    assert start_reader(OK + b"Keep-Alive: " + value + b"\r\n" + FIVE).idle_seconds == seconds


@pytest.mark.parametrize(("seconds", "keeps"), [(0, False), (1, False), (2, True)])
def test_a_server_that_keeps_a_connection_for_a_moment_only(seconds: int, keeps: bool) -> None:
    reader = start_reader(OK + b"Keep-Alive: timeout=%d\r\n" % seconds + FIVE)
    assert reader.keeps_alive is keeps


def test_idle_seconds_that_nobody_names() -> None:
    assert ResponseReader().idle_seconds is None
    assert start_reader(OK + FIVE).idle_seconds is None


def test_started() -> None:
    """A single byte is the beginning of a response, also an empty line's or an interim one's."""
    reader = ResponseReader()
    assert not reader.has_started
    reader.receive(b"")
    assert not reader.has_started
    reader.receive(b"\r")
    assert reader.has_started
    assert start_reader(CONTINUE).has_started and start_reader(CONTINUE).head is None


def test_the_head_is_there_as_soon_as_it_is_whole() -> None:
    reader = start_reader(OK + FIVE[:20])
    assert reader.head is None
    reader.receive(b"\n")
    assert reader.head is not None and reader.head.headers == {"content-length": "5"}
    with pytest.raises(BadResponse):
        (bad := ResponseReader()).receive(OK + b"Content-Length: x\r\n\r\n")
    assert bad.head is None


def test_after_an_error_nothing_is_taken() -> None:
    reader = start_reader()
    with pytest.raises(BadResponse) as excinfo:
        reader.receive(HELLO + b"zz\r\n")
    assert excinfo.value.pieces == [b"hello"] and reader.state is State.ERROR
    assert reader.receive(HELLO) == []
    assert reader.state is State.ERROR and not reader.is_done and not reader.keeps_alive
    with pytest.raises(BadResponse, match="closed before the end"):
        reader.end_of_input()


def test_the_end_of_input_is_no_error_after_the_end() -> None:
    reader = start_reader(OK + FIVE)
    reader.end_of_input()
    reader.end_of_input()
    assert reader.is_done


def test_no_message_repeats_the_response() -> None:
    for data in (
        b"secret",
        OK + b"secret\r\n\r\n",
        OK + b"Content-Length: secret\r\n\r\n",
        CHUNKS + b"secret\r\n",
        CHUNKS + b"1;\0secret\r\n",
    ):
        assert "secret" not in read(data).error != ""
