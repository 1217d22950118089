"""Read and write JSON that orjson refuses: lone surrogates, bytes that are no UTF-8.

JavaScript cuts strings between the two halves of a surrogate pair: clients and gateways written in it send `"\\ud83d"`
alone. Some servers send the bytes of a token as they are, which may be half a character. Neither is a reason to refuse
the whole document, as orjson does.

Knows: orjson, UTF-8, JSON's escapes.
Must not know: what the JSON means.
Invariants: `loads` returns no string that `orjson.dumps` refuses. `dumps` raises on nothing that is made of JSON's
types.
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
#: Bytes by which a text may grow when it is repaired: each byte that is no UTF-8 becomes three. What grows more is not
#: repaired.
GROWTH = 8 * 1024 * 1024


def repair_in_slices(raw: bytes) -> Slices[bytes]:
    """Return `raw` with each escaped half of a surrogate pair, and all that is no UTF-8, replaced by U+FFFD.

    Example: `"a\\ud83d"` becomes `"a\\ufffd"`; `"\\\\ud83d"` has an escaped backslash, not an escaped surrogate, and
    stays. So escaped backslashes become NUL bytes, which JSON can't contain, while surrogates are looked for."""
    if b"\0" in raw:
        return raw  # not JSON; and NUL means an escaped backslash below
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
    """Return `raw` with each byte that is no UTF-8 replaced by U+FFFD, as the HTML standard wants for event streams."""
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
    """Return the parsed text. If orjson refuses it, repair and parse it again. Raises ValueError.

    The caller must have counted the values (jsonsize): parsing can't be interrupted."""
    try:
        return orjson.loads(raw)
    except ValueError:
        pass
    yield
    text = yield from repair_in_slices(raw)
    yield
    return orjson.loads(text)


def loads(raw: bytes) -> Any:
    """Run `loads_in_slices` at once."""
    try:
        return orjson.loads(raw)
    except ValueError:
        return orjson.loads(at_once(repair_in_slices(raw)))


#: Levels that orjson reads.
READ_DEPTH = 1024


def explain(error: ValueError) -> str:
    """Return why `loads` refuses a text, as what follows "the body ".

    Valid JSON may nest deeper than orjson reads, and may have numbers that no double holds (`1e400`)."""
    text = str(error)
    if "depth" in text or "recursion" in text.lower():
        return f"nests deeper than {READ_DEPTH:,} levels ({text})"
    if "infinity" in text or "out of range" in text:
        return f"has a number that is too large for a double ({text})"
    return f"is not valid JSON: {text}"


#: Levels that `dumps` keeps of a value that orjson refuses to write (orjson's limit is 254).
DEPTH = 200


def without_surrogates(s: str) -> str:
    """Return `s` with lone surrogates replaced by U+FFFD. Two halves that follow each other become their character."""
    return s.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _writable(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, (dict, list)) and not depth:
        return None
    if isinstance(value, dict):
        return {without_surrogates(str(name)): _writable(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_writable(inner, depth - 1) for inner in value]
    if isinstance(value, int) and value.bit_length() > 63:
        return float(value) if value.bit_length() < 1024 else None
    return value


#: Bytes of the largest text that `dumps_to_keep` copies.
SMALL = 16 * 1024


def dumps_to_keep(value: Any) -> bytes:
    """Return `dumps_whole(value)` for what is kept a while. Raise ValueError as it does.

    The bytes that orjson 3.13 returns occupy 4 to 13 times their size (8 KiB for 600 bytes). A copy does not."""
    data = dumps_whole(value)
    return data[:-1] + data[-1:] if len(data) < SMALL else data


def dumps_whole(value: Any) -> bytes:
    """Return `dumps(value)` of what must lose nothing. Raise ValueError if it nests deeper than that writes."""
    try:
        return orjson.dumps(value)
    except TypeError:
        if _is_deeper(value, DEPTH):
            raise ValueError(f"more than {DEPTH} levels") from None
        return dumps(value)


def _is_deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return not depth or any(_is_deeper(one, depth - 1) for one in inner)


def dumps(value: Any) -> bytes:
    """Return `value` as JSON. Where orjson refuses: strings without lone surrogates, huge integers as floats, null
    below DEPTH levels."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(_writable(value, DEPTH))
