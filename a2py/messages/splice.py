"""Pass a run of similar deltas from socket to socket without decoding them.

Upstreams send one delta as one event in one HTTP chunk, and all bytes but the delta's own string stay the same from one
to the next:

    upstream   2b CRLF  data: {"choices":[{"delta":{"content":"  Hello  "}}]} LF LF  CRLF
    client     6d CRLF  event: content_block_delta LF data: {... "text":"  Hello  "}} LF LF  CRLF

Once the decoder knows what surrounds the string on both sides, it offers a `Splice`, which turns one such HTTP chunk
into the other.

Knows: the inside of a JSON string as orjson writes it, the plain form of an HTTP chunk. Must not know: sockets, when a
splice may be used.
Invariants: the result is byte for byte what decoder and writer would have made; anything but exactly one plain chunk
with exactly one such event is left to them.

Why: a model sends some fifty deltas a second, so each one finds the processor's caches cold. Its cost is then the
amount of code and the number of objects that it touches. With warm caches it costs 3.4 µs through decoder, writer and
stream, 1.2 µs this way (CPython 3.11; `python -m bench.core_chunk`, bench/NOTES.md).
"""

from __future__ import annotations

import re

#: The inside of a JSON string as orjson writes it: short escapes, never `\uXXXX` for what needs none.
_CANONICAL = re.compile(rb'[^"\\\x00-\x1f]*(?:\\["\\bfnrt][^"\\\x00-\x1f]*)*')
#: Bytes that need the pattern. (For 30 bytes `translate` takes 0.12 µs, the pattern 0.20; CPython 3.11)
_SPECIAL = bytes(range(32)) + b'"\\'
#: In longer strings a special byte is likely, so the pattern is tried at once.
SHORT = 64
_BACKSLASH = 92  # `92 in data` costs 16 ns, `b"\\" in data` 110 (3.11)
#: Longest HTTP chunk that is spliced, framing included.
LONGEST = 4096
#: Bytes of the last chunk, `0 CRLF CRLF`: any other has more.
SHORTEST = 5
#: Bytes of a chunk, framing included → its first line as servers write it: lower case, no leading zero.
_SIZE_LINES: dict[int, bytes] = {}


def measure(string: bytes) -> int:
    """Return how many characters the inside of a JSON string has; -1 if orjson would not write it back byte for
    byte."""
    if (len(string) > SHORT or string.translate(None, _SPECIAL) != string) and _CANONICAL.fullmatch(string) is None:
        return -1
    try:
        chars = len(string if string.isascii() else string.decode())
    except UnicodeDecodeError:
        return -1
    if _BACKSLASH in string:
        chars -= string.count(b"\\") - string.count(b"\\\\")
    return chars


def _size_line(size: int) -> bytes:
    """Return the first line of a chunk that has `size` bytes with all its framing; b"" if no plain chunk has so many,
    for example 21 (15 bytes of content make 20, 16 make 22), or if it is too long.

    Example: a chunk of 49 bytes has the line `2b CRLF` (4 bytes), 43 (0x2b) bytes of data, and CRLF (RFC 9112, section
    7.1)."""
    for digits in (1, 2, 3):
        line = b"%x\r\n" % max(0, size - digits - 4)
        if len(line) == digits + 2 and size <= LONGEST:
            return _SIZE_LINES.setdefault(size, line)
    return b""


def chunk_head(data: bytes) -> int:
    """Return how many bytes come before the content of `data`, if it is exactly one plain HTTP chunk that is not the
    last one; 0 otherwise."""
    size = len(data)
    line = _SIZE_LINES.get(size) or _size_line(size)
    if not line or size <= SHORTEST:
        return 0
    return len(line) if data.endswith(b"\r\n") and data.startswith((line, line.upper())) else 0


class Splice:
    """`before` + string + `after` is the upstream's event, `around[0]` + string + `around[1]` the client's. Valid until
    its decoder is fed again, or closed.

    `count`, `chars`: deltas and characters that were spliced since the decoder was last fed."""

    __slots__ = (
        "_cut",
        "_overhead",
        "_prefix",
        "_start",
        "_suffix",
        "_tail",
        "after",
        "around",
        "before",
        "chars",
        "count",
    )

    def __init__(self, before: bytes, after: bytes, around: tuple[bytes, bytes]) -> None:
        self.before = before
        self.after = after
        self.around = around
        self.count = 0
        self.chars = 0
        self._start = len(before)
        self._tail = after + b"\r\n"
        self._cut = -len(self._tail)
        self._prefix, self._suffix = around
        self._overhead = len(self._prefix) + len(self._suffix)

    def chunk(self, data: bytes) -> bytes | None:
        """Turn one HTTP chunk of the upstream into one for the client; None if `data` is anything else."""
        line = _SIZE_LINES.get(len(data)) or _size_line(len(data))
        if not line:
            return None
        at = len(line)
        if not (data.startswith(self.before, at) and data.endswith(self._tail)):
            return None
        if not data.startswith(line) and not data.startswith(line.upper()):  # hyper (Rust servers) writes upper case
            return None
        string = data[at + self._start : self._cut]
        if not string or not self.take(string):
            return None
        return b"%x\r\n%b%b%b\r\n" % (self._overhead + len(string), self._prefix, string, self._suffix)

    def take(self, string: bytes) -> bool:
        """Count `string`, which is not empty, as spliced; False if it may not be."""
        chars = len(string)
        if not string.isascii() or string.translate(None, _SPECIAL) != string:
            chars = measure(string)
            if chars < 0:
                return False
        self.count += 1
        self.chars += chars
        return True
