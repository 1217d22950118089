r"""Find the top-level member `model` in a JSON body, as bytes, and whether it asks for `background`.

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
reach a model that nobody has checked. `background` is read in the same way: each spelling and each duplicate counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from a2py.errors import ApiError
from a2py.messages.request import MODEL_LIMIT
from a2py.slices import BYTES, ITEMS, Slices


def _compile_name(name: str) -> re.Pattern[bytes]:
    r"""Return a pattern of a JSON string that reads `name` in any case, each letter itself or an escape (`\u006d`).

    Go also takes the Kelvin sign (U+212A) for a k."""
    letters = []
    for letter in name:
        codes = [f"{ord(case):04x}" for case in (letter, letter.upper())]
        forms = [letter, letter.upper(), *(rf"\\u{_any_case(code)}" for code in codes)]
        if letter == "k":
            forms += ["\u212a", rf"\\u{_any_case('212a')}"]
        letters.append(f"(?:{'|'.join(forms)})")
    return re.compile(f'"{"".join(letters)}"'.encode())


def _any_case(digits: str) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)


_MODEL, _BACKGROUND = _compile_name("model"), _compile_name("background")
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
    return _read_value(raw, (yield from _find_members(raw, _MODEL)))


def is_background_in_slices(raw: bytes, body: Mapping[str, Any]) -> Slices[bool]:
    """Return whether some server may take `raw` for a request with `background: true`. `body`: what `raw` reads.

    Example: of `{"background": true, "background": false}` a parser tells the second member only."""
    names = [name for name in body if len(name) == len("background") and name.casefold() == "background"]
    if names != ["background"]:
        return bool(names)
    return body["background"] not in (None, False) or len((yield from _find_members(raw, _BACKGROUND))) > 1


def _find_members(raw: bytes, name: re.Pattern[bytes]) -> Slices[list[tuple[int, int]]]:
    """Return the places of the names of the top-level members that are called `name`."""
    candidates: list[tuple[int, int]] = []
    for n, match in enumerate(name.finditer(raw), 1):
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
    return members


def _cover_escapes(text: bytes) -> Slices[bytes]:
    if b"\\" not in text:
        return text
    if len(text) > BYTES:
        yield
    return text.replace(b"\\\\", b"\0\0").replace(b'\\"', b"\0\0")


def _read_value(raw: bytes, members: list[tuple[int, int]]) -> Member:
    if len(members) > 1:
        raise _refusal("the body has more than one member `model`. Send one.")
    if not members:
        raise _refusal("you must provide a model parameter")
    name = orjson.loads(raw[slice(*members[0])])  # with an escape it is the same name to every server
    if name != "model":
        raise _refusal(f"you must provide a model parameter: its name is `model`, not `{name}`")
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
