"""JSON as it really comes: half a surrogate pair in a string, or half a character, is no reason to lose the rest.

Knows: orjson, JavaScript's habit of cutting strings between the two halves of a pair (clients and gateways written in it send
`"\\ud83d"` alone; orjson refuses the whole document), servers that send a token's bytes as they are.
Must not know: what the JSON means.
Invariants: `loads` gives no string that `orjson.dumps` refuses; `dumps` raises on nothing that is made of JSON's types.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from typing import Any

import orjson

from a2py.slices import BYTES, ITEMS, Slices, at_once

#: A surrogate as `\uXXXX`: a pair (12 bytes), or half of one (6).
_SURROGATE = re.compile(rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|[89a-fA-F][0-9a-fA-F]{2})")
_PAIR = 12
#: Bytes by which a text may grow while it is mended: each byte that is no UTF-8 becomes three. A text that grows more is no text.
GROWTH = 8 * 1024 * 1024


def mend_in_slices(raw: bytes) -> Slices[bytes]:
    """`raw` with each escaped half of a surrogate pair, and what is no UTF-8 (as event streams are read), replaced by U+FFFD."""
    if b"\0" in raw:
        return raw  # stands in no JSON, and stands for an escaped backslash below
    text = (yield from _utf8_in_slices(raw)).replace(b"\\\\", b"\0")  # now each `\u` is an escape
    yield
    out = bytearray()
    at = 0
    for n, match in enumerate(_SURROGATE.finditer(text), 1):
        start, end = match.span()
        if end - start < _PAIR:
            out += text[at:start]
            out += b"\\ufffd"
            at = end
        if not n % ITEMS:
            yield
    if at:
        out += text[at:]
        text = bytes(out)
        yield
    return text.replace(b"\0", b"\\\\")


def _utf8_in_slices(raw: bytes) -> Slices[bytes]:
    """`raw` with each byte that is no UTF-8 replaced by U+FFFD."""
    try:
        raw.decode()
        return raw
    except UnicodeDecodeError:
        decoder = getincrementaldecoder("utf-8")("replace")
    out = bytearray()
    for at in range(0, len(raw), BYTES):
        yield
        out += decoder.decode(raw[at : at + BYTES]).encode()
        if len(out) > at + BYTES + GROWTH:
            return raw
    out += decoder.decode(b"", True).encode()
    return bytes(out)


def loads_in_slices(raw: bytes) -> Slices[Any]:
    """`orjson.loads`, tried once more on the mended text; ValueError where it is no JSON. The caller has counted the values (jsonsize)."""
    try:
        return orjson.loads(raw)
    except ValueError:
        pass
    yield
    mended = yield from mend_in_slices(raw)
    yield
    return orjson.loads(mended)


def loads(raw: bytes) -> Any:
    """`loads_in_slices`, at once."""
    try:
        return orjson.loads(raw)
    except ValueError:
        return orjson.loads(at_once(mend_in_slices(raw)))


#: Levels that `dumps` keeps of what orjson refuses to write (it stops at 254).
DEPTH = 200


def whole(s: str) -> str:
    """`s` with lone surrogates as U+FFFD; two halves that follow each other become their character."""
    return s.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _whole(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, (dict, list)) and not depth:
        return None
    if isinstance(value, dict):
        return {whole(str(name)): _whole(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner, depth - 1) for inner in value]
    if isinstance(value, int) and value.bit_length() > 63:
        return float(value) if value.bit_length() < 1024 else None
    return value


#: Bytes up to which `packed` copies.
SMALL = 16 * 1024


def packed(value: Any) -> bytes:
    """`dumps` for what is kept a while: orjson 3.13 gives bytes whose memory is 4 to 13 times as large (8 KiB for 600 bytes)."""
    data = dumps(value)
    return data[:-1] + data[-1:] if len(data) < SMALL else data


def dumps(value: Any) -> bytes:
    """`orjson.dumps` of JSON's types; where it refuses: strings made whole, huge integers as floats, what is nested too deep as null."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(_whole(value, DEPTH))
