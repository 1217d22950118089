"""Count the values of a JSON text before it is parsed.

Knows: JSON's strings and punctuation. Must not know: what the JSON means, HTTP.
Invariants: nothing is parsed; a text that is no JSON is counted like any other.

Why: `orjson.loads` cannot be interrupted. Its time depends on the number of values, not of bytes: a string of 32 MB
takes 50 ms, but 32 MB of `[],` take 2.5 s and a gigabyte (CPython 3.11, orjson 3.13). So a text with too many values is
refused before it is parsed.

Each value needs a `,` before it or an opening bracket around it, and each member's name needs a `:`. The count of these
bytes outside strings is what VALUES_LIMIT bounds. Example: `{"a": [1, 2], "b": "x,y"}` has 6: `{`, `:`, `[`, `,`, `,`,
`:`; the comma in the string is not counted.
"""

from __future__ import annotations

from a2py.slices import BYTES, Slices, at_once

#: Values and member names of one JSON text. `orjson.loads` takes 30 to 220 ns for each: most for an object whose names
#: are all different, 0.2 s for this many (CPython 3.11). 100,000 messages with one text block each have 1,000,000.
VALUES_LIMIT = 1_010_000
#: Bytes that a value takes beside its text (CPython 3.11: a list 56, a short string 50, a dict 64 and 100 for its
#: members).
VALUE_COST = 64
_MARKS = b",:[{"


def upper_bound(raw: bytes) -> int:
    """Count the marks in all of `raw`, also in its strings: at most 1 ms per MB."""
    return len(raw) - len(raw.translate(None, _MARKS))


def count_in_slices(raw: bytes, limit: int = VALUES_LIMIT) -> Slices[int]:
    """Count the marks outside strings; stop after the slice that exceeds `limit`."""
    total = at = 0
    in_string = 0
    while at < len(raw) and total <= limit:
        piece = raw[at : at + BYTES]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # the last backslash escapes the next byte
            piece = raw[at : at + BYTES + 1]
        at += len(piece)
        # Without escaped backslashes each `\"` is an escaped quote, and without these each quote begins or ends a
        # string
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        total += upper_bound(b"".join(parts[in_string::2]))
        in_string ^= (len(parts) - 1) & 1
        yield
    return total


def exceeds_in_slices(raw: bytes, limit: int = VALUES_LIMIT) -> Slices[bool]:
    """`exceeds` for a long text."""
    most = 0
    for at in range(0, len(raw) if len(raw) > limit else 0, BYTES):
        most += upper_bound(raw[at : at + BYTES])
        yield
        if most > limit:
            return (yield from count_in_slices(raw, limit)) > limit
    return False


def weight(raw: bytes) -> int:
    """Bytes that the parsed text takes, roughly: an object of CPython for each value."""
    return len(raw) + VALUE_COST * upper_bound(raw)


def exceeds(raw: bytes, limit: int = VALUES_LIMIT) -> bool:
    """Whether `raw` holds more than `limit` values. The exact count is made only if the cheap upper bound exceeds the
    limit."""
    return len(raw) > limit and upper_bound(raw) > limit and at_once(count_in_slices(raw, limit)) > limit
