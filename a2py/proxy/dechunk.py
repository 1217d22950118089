"""Whole chunks of a chunked HTTP/1.1 body, told from the bytes of one read.

Knows: `size CRLF payload CRLF`, the plain form (RFC 9112, 7.1). Must not know: sockets, events, the end of a body.
Invariants: what is not whole, not plain (an extension, a trailer, the last chunk) or not certain is left to a real parser, byte for byte.
"""

from __future__ import annotations

_HEX = b"0123456789abcdefABCDEF"
#: Digits of a size that is read here: up to 16 MiB.
_DIGITS = 6
#: It can't be told how many bytes are still to come.
UNKNOWN = -1


def dechunk(data: bytes, at: int = 0) -> tuple[list[bytes], int, int]:
    """Payloads of the whole chunks of `data` that begin at `at`; where the first begins that is none; how many of its bytes are still to
    come (UNKNOWN: only a parser can tell; 0: `data` ended with a chunk)."""
    out: list[bytes] = []
    end = len(data)
    while at < end:
        line = data.find(b"\r\n", at, at + _DIGITS + 2)
        digits = data[at:line]
        if line < 0 or not digits or digits.translate(None, _HEX):
            return out, at, UNKNOWN
        size = int(digits, 16)
        begin = line + 2
        after = begin + size + 2
        if not size:
            return out, at, UNKNOWN
        if after > end:
            return out, at, after - end
        if data[after - 2 : after] != b"\r\n":
            return out, at, UNKNOWN
        out.append(data[begin : after - 2])
        at = after
    return out, at, 0
