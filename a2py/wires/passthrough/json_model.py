r"""Find the top-level member `model` in a JSON body, as bytes.

Only the bytes of its value may change on the way upstream, so its place is needed, which no JSON parser tells. The text
was parsed before, so it is known to be JSON. Three steps, all of them searches of the C library:

1. Each string that reads `model` is a candidate: `"model"`, but also `"mod\u0065l"` and `"MODEL"`.
2. Up to the last candidate, escapes that could be taken for the end of a string, `\\` and `\"`, are covered by as many
   NUL bytes, which JSON can't contain. Then each quote begins or ends a string, and positions stay the same.
3. A candidate counts if it is outside of strings, one bracket deep, and followed by a colon. Quotes and brackets are
   counted from one candidate to the next, so the text is gone through once. Most clients send `model` first.

Example: of `{"a": {"model": 1}, "model": "x"}` only the second candidate is one bracket deep.

Knows: JSON's strings and brackets. Must not know: what the body means otherwise.
Invariants: a body with two such members is refused, also if one of them is written with escapes or in another case:
servers differ in which of them they take (Go's encoding/json ignores case, go.dev, 2026-11), and the other one would
reach a model that nobody has checked.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import orjson

from a2py.errors import ApiError
from a2py.messages.request import MODEL_LIMIT
from a2py.slices import BYTES, ITEMS, Slices

#: The letters of the name: themselves in either case, or as an escape (`\u006d`, `\u004D`).
_LETTERS = (r"(?:[mM]|\\u00[46][dD])", r"(?:[oO]|\\u00[46][fF])", r"(?:[dD]|\\u00[46]4)", r"(?:[eE]|\\u00[46]5)")
_NAME = re.compile(f'"{"".join(_LETTERS)}(?:[lL]|\\\\u00[46][cC])"'.encode())
_COLON = re.compile(rb"[ \t\r\n]*:")
_TEXT = re.compile(rb'[ \t\r\n]*:[ \t\r\n]*"')
#: A string that may be a name: the escapes of a character have 12 bytes at most. It has a bound because the search
#: keeps some 140 bytes for each step of it.
_VALUE = re.compile(_TEXT.pattern[:-1] + rb'("(?:[^"\\]|\\.){0,%d}")' % (12 * MODEL_LIMIT))


class Member(NamedTuple):
    """The value of `model`: the bytes from `start` to `end` are its JSON string, with the quotes."""

    value: str
    start: int
    end: int


def find_model_in_slices(raw: bytes) -> Slices[Member]:
    """Return the top-level member `model` of `raw`, a JSON object. Raise `ApiError` if there is none, or more than one,
    or if it is no name."""
    candidates: list[tuple[int, int]] = []
    for n, match in enumerate(_NAME.finditer(raw), 1):
        candidates.append(match.span())
        if not n % ITEMS:
            yield
    text = yield from _cover_escapes(raw[: candidates[-1][1]] if candidates else b"")
    members: list[tuple[int, int]] = []
    at = depth = in_string = 0
    for n, (start, end) in enumerate(candidates, 1):
        while at < start:
            stop = min(at + BYTES, start)
            parts = text[at:stop].split(b'"')
            outside = b"".join(parts[in_string::2])
            depth += outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")
            in_string ^= (len(parts) - 1) & 1
            if stop - at == BYTES:
                yield
            at = stop
        if depth == 1 and not in_string and _COLON.match(raw, end):
            members.append((start, end))
        if not n % ITEMS:
            yield
    return _read_value(raw, members)


def _cover_escapes(text: bytes) -> Slices[bytes]:
    if b"\\" not in text:
        return text
    if len(text) > BYTES:
        yield
    return text.replace(b"\\\\", b"\0\0").replace(b'\\"', b"\0\0")


def _read_value(raw: bytes, members: list[tuple[int, int]]) -> Member:
    if len(members) > 1:
        raise _refusal("the body has more than one member `model`. Send one.")
    if not members or raw[slice(*members[0])] != b'"model"':
        raise _refusal("you must provide a model parameter")
    string = _VALUE.match(raw, members[0][1])
    if string is None:
        raise _name_refusal() if _TEXT.match(raw, members[0][1]) else _refusal("`model` must be a string")
    try:
        value = orjson.loads(string[1])
    except ValueError:  # half of a surrogate pair, which no name has
        raise _refusal("`model` is not a valid string") from None
    return Member(check_name(value), *string.span(1))


def check_name(name: str) -> str:
    """Return `name` if it can be a model's. Raise `ApiError` if it is empty, too long or not printable."""
    if not name or len(name) > MODEL_LIMIT or not name.isprintable():
        raise _name_refusal()
    return name


def _name_refusal() -> ApiError:
    return _refusal(f"`model` must be a name of 1 to {MODEL_LIMIT} printable characters")


def _refusal(message: str) -> ApiError:
    return ApiError("invalid_request", message, field="model", should_retry=False)
