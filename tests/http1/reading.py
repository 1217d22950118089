"""Read a response at every split: with our reader, and with the two parsers that it is compared with, h11 and aiohttp's
C parser.

Knows: how each parser is driven as an HTTP client drives it. Must not know: what is right.
Use: `read(data)` gives what our reader makes of `data`, and fails if any split gives anything else; `outcomes(parser,
data)` gives the different results of any parser over all splits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import aiohttp
import h11
import pytest
from aiohttp.base_protocol import BaseProtocol

from a2py.http1 import BadResponse, ResponseReader
from tests.streams import splits

#: Bytes that a reader may hold between two reads: MAX_HEAD, and the line end before the first trailer.
MAX_HELD = 64 * 1024 + 1
#: More than any response here has, so that h11 and aiohttp set no limit of their own.
NO_LIMIT = 1 << 30
#: Pieces of a response with which two other parsers are slow.
MANY = 2000


class Reading(NamedTuple):
    """What a parser made of a response. `error`: "" if the response is whole; `keeps`: the connection may be used
    again; `headers`: by lower-case name, values of one name joined, without the headers that say where the body
    ends."""

    status: int | None
    headers: dict[str, str]
    body: bytes
    error: str = ""
    keeps: bool = False

    def __str__(self) -> str:
        if self.error:
            return "error"
        return f"{self.status} {self.body[:20].decode('latin-1')!r}{'' if self.keeps else ' close'}"


Parser = Callable[[Iterable[bytes]], Reading]


def _fields(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in fields and fields[name] != value:
            value = f"{fields[name]}, {value}"
        fields[name] = value
    return _plain(fields)


def _plain(fields: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name not in ("content-length", "transfer-encoding")}


# -- our reader --------------------------------------------------------------------------------------------------------


def count_held_bytes(reader: ResponseReader) -> int:
    """Bytes of the response that a reader holds, its head aside."""
    values = [getattr(reader, name) for name in reader.__slots__]
    return sum(len(value) for value in values if isinstance(value, (bytes, bytearray, list)))


def ours(pieces: Iterable[bytes], method: str = "POST", *, close: bool = True) -> Reading:
    """Our reader. `close`: the server closes the connection in the end."""
    reader = ResponseReader(method)
    body: list[bytes] = []
    error = ""
    try:
        for piece in pieces:
            parts = reader.receive(piece)
            assert all(parts), "an empty piece"
            body += parts
            assert count_held_bytes(reader) <= MAX_HELD
        if close:
            reader.end_of_input()
    except BadResponse as fault:
        assert not reader.is_done and not reader.keeps_alive
        assert count_held_bytes(reader) <= MAX_HELD
        body += fault.pieces
        error = str(fault)
    head = reader.head
    headers = {} if head is None else _plain(head.headers)
    return Reading(None if head is None else head.status, headers, b"".join(body), error, reader.keeps_alive)


def read(data: bytes, method: str = "POST", *, close: bool = True) -> Reading:
    """What our reader makes of `data`, which must be the same at every split."""
    whole = ours([data], method, close=close)
    for pieces in splits(data):
        reading = ours(pieces, method, close=close)
        assert reading == whole, f"split {[len(piece) for piece in pieces][:9]}: {reading} instead of {whole}"
    return whole


def check(data: bytes, dice: random.Random) -> Reading:
    """What must hold for any bytes: nothing is raised but `BadResponse`, little is held, the result does not depend on
    the split, and h11 agrees if it takes them, too."""
    whole = ours([data])
    for _ in range(2):
        places = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice((1, 3, 30))))
        pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
        assert ours(pieces) == whole, places
    if not whole.error and not (other := by_h11([data])).error:
        assert other[:3] == whole[:3], "h11 reads it in another way"
    return whole


def rejects(data: bytes, error: str, body: bytes = b"") -> None:
    """Assert that our reader refuses `data` with these words, after this body, at every split and whether the server
    closes or not."""
    reading = read(data, close=False)
    assert (reading.error, reading.body) == (error, body)
    assert ours([data]) == reading


# -- the others --------------------------------------------------------------------------------------------------------


def by_h11(pieces: Iterable[bytes]) -> Reading:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=NO_LIMIT)
    client.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    client.send(h11.EndOfMessage())
    status, headers, body, is_complete, surplus = None, {}, b"", False, False
    try:
        for piece in [*filter(None, pieces), b""]:  # an empty piece is the end of the connection
            if is_complete:
                surplus = surplus or bool(piece)
                continue
            client.receive_data(piece)
            event: Any = None
            while event not in (h11.NEED_DATA, h11.PAUSED) and not isinstance(event, h11.ConnectionClosed):
                event = client.next_event()
                if isinstance(event, h11.Response):
                    status, headers = event.status_code, _fields(event.headers)
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    is_complete = True
                    surplus = bool(client.trailing_data[0]) or not piece
                    break
    except h11.ProtocolError as error:
        return Reading(status, headers, body, str(error))
    if not is_complete:
        return Reading(status, headers, body, "it ends too early")
    keeps = client.their_state is h11.DONE and not surplus
    return Reading(status, headers, body, keeps=keeps)


def by_aiohttp(pieces: Iterable[bytes]) -> Reading:
    """aiohttp's C parser, in the lenient mode and with the limits of a2py's own client of 2026-11, but with no limit on
    reading ahead."""
    response_parser = pytest.importorskip("aiohttp._http_parser").HttpResponseParser
    loop: Any = object()  # a parser asks nothing of it, and to make one for each split takes longer than to parse
    parser = response_parser(
        BaseProtocol(loop),
        loop,
        NO_LIMIT,
        payload_exception=aiohttp.ClientPayloadError,
        read_until_eof=True,
        auto_decompress=False,
        max_line_size=65_536,
        max_field_size=65_536,
    )
    return _drive(parser, pieces)


def _drive(parser: Any, pieces: Iterable[bytes]) -> Reading:
    message: Any = None
    payload: Any = None
    surplus = False
    error = ""
    try:
        for piece in pieces:
            if message is not None and payload.is_eof():
                surplus = surplus or bool(piece)
                continue
            for new, its_payload in parser.feed_data(piece)[0]:
                if message is not None:
                    surplus = True
                elif new.code == 101 or not 100 <= new.code <= 199:
                    message, payload = new, its_payload
                    surplus = new.code == 101
                    if new.code in (204, 304):
                        payload = aiohttp.EMPTY_PAYLOAD
        if message is None or not payload.is_eof():
            parser.feed_eof()
            surplus = True
    except Exception as fault:
        if message is None or not payload.is_eof():
            error = f"{type(fault).__name__}: {fault}"
        surplus = True
    if message is None:
        return Reading(None, {}, b"", error or "it ends too early")
    body = b"" if payload is aiohttp.EMPTY_PAYLOAD else b"".join(payload._buffer)
    if not error and (payload.exception() is not None or not payload.is_eof()):
        error = "it ends too early"
    return Reading(
        message.code, _fields(message.raw_headers), body, error, not (error or surplus or message.should_close)
    )


def outcomes(parser: Parser, data: bytes) -> list[Reading]:
    """Return the different results of all splits (not byte by byte if there are many). All errors count as one result,
    whatever their message and what came before them."""
    readings: dict[str, Reading] = {}
    for pieces in splits(data):
        if len(pieces) <= MANY:
            reading = parser(pieces)
            reading = reading._replace(status=None, headers={}, body=b"", error="error") if reading.error else reading
            readings.setdefault(repr(reading), reading)
    return [readings[key] for key in sorted(readings)]
