"""Decompress a body in bounded steps.

Knows: the content codings gzip and deflate (RFC 9110, section 8.4.1), which some servers use although a2py asks for
`identity`.
Must not know: heads, framing, sockets.
Invariants: no step returns more than STEP bytes, whatever the ratio of the compression, so that a caller can stop a
bomb between steps. The result depends only on the bytes, not on where they were split. No input is kept, but for one
byte before the first step.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from a2py.http1.error import BadResponse

#: Bytes that one step may return.
STEP = 64 * 1024
#: Bytes that zlib is given at a time. It copies what it has not used, at each step and at each end of a gzip member.
INPUT = 4096
_GZIP, _ZLIB, _RAW = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
#: Content codings that can be read → zlib's window bits.
CODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


class Inflater:
    """One compressed body. `coding`: a key of CODINGS."""

    def __init__(self, coding: str) -> None:
        self._bits = CODINGS[coding]
        self._inflate = zlib.decompressobj(self._bits)
        # The first byte of a `deflate` body until its form is known; None after that, and for other codings.
        self._start: bytes | None = b"" if self._bits == _ZLIB else None
        self._has_begun = False
        self._is_padded = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` decompresses to, at most STEP bytes at a time. The iterator must be used up before the next
        call.

        Raises `BadResponse` if the data is damaged."""
        if self._start is not None:
            data = self._choose_form(self._start + data)
        for at in range(0, len(data), INPUT):
            yield from self._steps(data[at : at + INPUT])

    def _steps(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflate.eof and not self._begin_member(data):
                return
            self._has_begun = True
            while True:
                piece = self._decompress(data)
                if piece:
                    yield piece
                data = self._inflate.unconsumed_tail
                if not data and len(piece) < STEP:  # a full step may leave output behind although all input is used up
                    break
            data = self._inflate.unused_data

    def close(self) -> None:
        """End the body. Raises `BadResponse` if it ended too early. (An empty body is whole: some servers name
        a coding with it.)"""
        if self._start or (self._has_begun and not self._inflate.eof):
            raise BadResponse("its compressed body ends too early")

    def _choose_form(self, data: bytes) -> bytes:
        """Return the data as soon as its form is known. "deflate" is a zlib stream, but some servers send the raw form
        (RFC 9110, section 8.4.1.2). The two bytes of a zlib header tell (RFC 1950, section 2.2)."""
        if len(data) < 2:
            self._start = data
            return b""
        self._start = None
        if data[0] & 15 != 8 or (data[0] << 8 | data[1]) % 31:
            self._inflate = zlib.decompressobj(_RAW)
        return data

    def _begin_member(self, data: bytes) -> bool:
        """Whether the bytes after the end begin another gzip member. They may also be padding (NUL). Anything else is
        an error."""
        if self._bits == _GZIP and not self._is_padded and data[0]:
            self._inflate = zlib.decompressobj(_GZIP)
            return True
        if data.strip(b"\0"):
            raise BadResponse("its compressed body is followed by something else")
        self._is_padded = True
        return False

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._inflate.decompress(data, STEP)
        except zlib.error:
            raise BadResponse("its compressed body is damaged") from None
