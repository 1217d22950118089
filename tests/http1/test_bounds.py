"""What a server can make us hold, and how much work it can make us do: both are bounded, whatever it sends and however
it cuts it."""

from __future__ import annotations

import itertools
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from a2py.http1 import BadResponse, Inflater, ResponseReader, State, coding, response
from tests.http1 import counted
from tests.http1.hostile import CHUNKED, CONTINUE, OK, fields
from tests.http1.reading import MAX_HELD, count_held_bytes
from tests.http1.test_coding import squeeze

CHUNKS = OK + CHUNKED + b"\r\n"
#: Bytes of a response's head, or of its trailers, and of its largest read.
MAX_HEAD, READ = 64 * 1024, 64 * 1024
#: Name → how it begins, and what follows for ever: what must end in an error.
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "empty lines": (b"", b"\r\n"),
    "status line": (b"HTTP/1.1 200 ", b"a"),
    "header line": (OK + b"X: ", b"a"),
    "headers": (OK, b"X: a\r\n"),
    "blanks": (OK + b"X:", b" "),
    "CRs": (OK + b"X: a", b"\r"),
    "interim responses": (b"", CONTINUE),
    "interim headers": (b"HTTP/1.1 103 X\r\n", b"X: a\r\n"),
    "zeros of a chunk size": (CHUNKS, b"0"),
    "blanks after a chunk size": (CHUNKS + b"5", b" "),
    "extension": (CHUNKS + b"5;", b"a"),
    "quoted extension": (CHUNKS + b'5;a="', b"\\"),
    "CRs after a chunk": (CHUNKS + b"1\r\na", b"\r"),
    "trailer line": (CHUNKS + b"0\r\nX: ", b"a"),
    "trailers": (CHUNKS + b"0\r\n", b"X: a\r\n"),
}
#: The same for bodies, which may be endless.
BODIES: dict[str, tuple[bytes, bytes]] = {
    "until close": (OK + b"\r\n", b"a"),
    "a length": (OK + b"Content-Length: 999999999999999\r\n\r\n", b"a"),
    "a chunk": (CHUNKS + b"fffffffffffffff\r\n", b"a"),
    "chunks": (CHUNKS, b"1\r\na\r\n"),
    "odd chunks": (CHUNKS, b"01;a=b\r\na\n"),
    "after the end": (OK + b"Content-Length: 0\r\n\r\n", b"a"),
}
#: Bytes of each read.
READS = (1, 7, 1000, READ)


def cut(begin: bytes, more: bytes, size: int) -> Iterator[bytes]:
    """`begin`, then `more` for ever, in reads of `size` bytes."""
    yield begin
    many = more * (size // len(more) + 2)
    for at in itertools.count(0, size):
        start = at % len(more)
        yield many[start : start + size]


@pytest.mark.parametrize("size", READS)
@pytest.mark.parametrize("name", ENDLESS)
def test_what_has_no_end_is_an_error(name: str, size: int) -> None:
    reader = ResponseReader()
    total = 0
    with pytest.raises(BadResponse):
        for piece in cut(*ENDLESS[name], size):
            total += len(piece)
            reader.receive(piece)
            assert count_held_bytes(reader) <= MAX_HELD
            assert total <= MAX_HEAD + len(CHUNKS) + 9, "it is taken, and taken"
    assert count_held_bytes(reader) == 0


@pytest.mark.parametrize("size", READS)
@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_not_held(name: str, size: int) -> None:
    reader = ResponseReader()
    for piece in itertools.islice(cut(*BODIES[name], size), 3000 if size == 1 else 30):
        reader.receive(piece)
        assert count_held_bytes(reader) <= 8


@pytest.mark.parametrize("size", [7, READ])
@pytest.mark.parametrize("name", [*ENDLESS, *BODIES])
def test_memory(name: str, size: int) -> None:
    """As Python counts it: a head and one read, and what a growing bytearray has in reserve (an eighth)."""
    pieces = [*itertools.islice(cut(*(ENDLESS | BODIES)[name], size), 12_000 if size == 7 else 3)]
    tracemalloc.start()
    try:
        reader = ResponseReader()
        before = tracemalloc.get_traced_memory()[0]
        most = 0
        for n, piece in enumerate(pieces):
            try:
                reader.receive(piece)
            except BadResponse:
                break
            if n % 50 == 0 or size == READ:
                most = max(most, tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    assert most <= (MAX_HEAD + READ) * 9 // 8 + 4096


# -- work --------------------------------------------------------------------------------------------------------------

#: Each case is made at two sizes, the larger one GROWTH times the smaller; its work may grow MOST times as much
#: (../whole/test_linear.py).
GROWTH, MOST = 8, 10


def singly(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


def by(size: int, data: bytes) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


Make = Callable[[int], list[bytes]]
CASES: dict[str, tuple[int, Make]] = {
    "a head, byte by byte": (1000, lambda n: singly(OK + b"X: " + b"a" * n + b"\r\n\r\n")),
    "headers, byte by byte": (20, lambda n: singly(OK + fields(n) + b"\r\n")),
    "headers, a line a read": (20, lambda n: [OK, *[b"X: " + b"a" * 300 + b"\r\n"] * n, b"\r\n"]),
    "empty lines, byte by byte": (1000, lambda n: singly(b"\r\n" * n + OK + b"\r\n")),
    "empty lines in one read": (1000, lambda n: [b"\n" * n + OK + b"\r\n"]),
    "interim responses in one read": (2, lambda n: [CONTINUE * n + OK + b"\r\n"]),
    "a body behind interim responses": (2, lambda n: [CONTINUE * 2 + OK + b"\r\n" + b"a" * 1000 * n]),
    "a chunk line, byte by byte": (400, lambda n: [CHUNKS, *singly(b"1;" + b"a" * n + b"\r\n")]),
    "chunk lines, byte by byte": (30, lambda n: [CHUNKS, *singly((b"1;" + b"a" * 50 + b"\r\nx\r\n") * n)]),
    "small chunks in one read": (500, lambda n: [CHUNKS, b"1\r\na\r\n" * n]),
    "odd chunks in one read": (500, lambda n: [CHUNKS, b"01\na\n" * n]),
    "small chunks, byte by byte": (200, lambda n: [CHUNKS, *singly(b"1\r\na\r\n" * n)]),
    "chunks across reads": (100, lambda n: [CHUNKS, *by(7, b"a\r\n0123456789\r\n" * n)]),
    "large chunks": (10, lambda n: [CHUNKS, *by(1000, b"1388\r\n%b\r\n" % (b"a" * 5000) * n)]),
    "trailers, byte by byte": (1000, lambda n: [CHUNKS, b"0\r\n", *singly(b"X: " + b"a" * n + b"\r\n\r\n")]),
    "trailer lines, byte by byte": (20, lambda n: [CHUNKS, b"0\r\n", *singly(fields(n) + b"\r\n")]),
    "a length, byte by byte": (1000, lambda n: [OK + b"Content-Length: %d\r\n\r\n" % n, *singly(b"a" * n)]),
    "until close, byte by byte": (1000, lambda n: [OK + b"\r\n", *singly(b"a" * n)]),
    "after the end": (1000, lambda n: [OK + b"Content-Length: 0\r\n\r\n", *singly(b"a" * n)]),
}


def effort(pieces: Iterable[bytes]) -> int:
    """The bytes that our reader copies and looks at, and its operations."""
    with counted.counting(response):
        reader = ResponseReader()
        before = counted.work()
        for piece in pieces:
            counted.count(0)
            reader.receive(counted.Bytes(piece))
        assert reader.state not in (State.HEAD, State.ERROR)
        return counted.work() - before


@pytest.mark.parametrize("name", CASES)
def test_work_grows_with_the_length(name: str) -> None:
    n, make = CASES[name]
    small, large = effort(make(n)), effort(make(n * GROWTH))
    assert small >= n and large <= MOST * small


def test_the_length_is_not_much_work() -> None:
    """No byte is copied or looked at more than a few times."""
    for n, make in CASES.values():
        pieces = make(n)
        assert effort(pieces) <= 20 * sum(map(len, pieces))


def test_quadratic_work_is_seen() -> None:
    def join_bytes(n: int) -> int:
        before = counted.work()
        buffer: Any = b""
        for _ in range(n):
            buffer = buffer + counted.Bytes(b"a")
        return counted.work() - before

    def search_again(n: int) -> int:
        before = counted.work()
        with counted.counting(response):
            buffer = counted.Array()
            for _ in range(n):
                buffer += b"a"
                response._END_OF_SECTION.search(buffer)
        return counted.work() - before

    for run in (join_bytes, search_again):
        assert run(1000 * GROWTH) > 5 * MOST * run(1000)


class CountedZlib:
    """zlib's decompressor, which copies what it has not used at each step."""

    def __init__(self, *arguments: Any) -> None:
        self._inflate = zlib.decompressobj(*arguments)

    def decompress(self, data: bytes, limit: int) -> bytes:
        piece = self._inflate.decompress(data, limit)
        counted.count(len(data) + len(self._inflate.unused_data) + len(self._inflate.unconsumed_tail) + len(piece))
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inflate, name)


COMPRESSED_CASES: dict[str, tuple[int, Make]] = {
    "members of gzip": (300, lambda n: [squeeze(b"", 31) * n]),
    "members of gzip, byte by byte": (300, lambda n: singly(squeeze(b"a", 31) * n)),
    "a bomb": (1_000_000, lambda n: [squeeze(bytes(n), 31)]),
    "a bomb, byte by byte": (1_000_000, lambda n: singly(squeeze(bytes(n), 31))),
    "padding": (1000, lambda n: [squeeze(b"a", 31), *[bytes(10)] * n]),
}


@pytest.mark.parametrize("name", COMPRESSED_CASES)
def test_work_of_decompressing_grows_with_the_length(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding, "zlib", SimpleNamespace(decompressobj=CountedZlib, error=zlib.error))

    def effort(pieces: list[bytes]) -> int:
        before = counted.work()
        inflater = Inflater("gzip")
        for piece in pieces:
            for _ in inflater.pieces(counted.Bytes(piece)):
                pass
        inflater.close()
        return counted.work() - before

    n, make = COMPRESSED_CASES[name]
    assert effort(make(n * GROWTH)) <= MOST * effort(make(n))
