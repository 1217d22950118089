"""Take secrets out of the bodies of a capture, however they are spelt or split there.

A secret may stand in a body as it is, with JSON escapes (`\\u0073k-…`, also in a string within a string), percent-encoded, over two network
reads, or over two events of a stream: a model that repeats a key of its prompt sends it in pieces of a few letters.

Knows: JSON's escapes, server-sent events.
Must not know: which secrets there are, what a body means.
Invariants: what is no secret stays as it is, byte by byte, except in an event that holds a piece of one: its JSON is written anew. A secret
whose end is missing, because the body was cut there, is taken out too, from PARTIAL characters on.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from a2py.jsontext import loads

REDACTED = b"[redacted]"
#: Shorter secrets would eat ordinary words; so many characters of one at the end of a body are taken for its beginning.
SHORT, PARTIAL = 4, 8
#: The JSON of one event. Data of several lines is no JSON that any upstream sends.
_DATA = re.compile(rb"^data: ?(\{[^\r\n]*)", re.MULTILINE)
#: Members by which streams tell which of several blocks, calls or items a piece belongs to.
_MARKS = ("index", "output_index", "content_index", "item_id")
#: Backslashes of one escape: each string within a string doubles them, and this is six levels. (A bound, so that no body takes quadratic time.)
_SLASHES = rb"\\{1,64}"


class Span(NamedTuple):
    """A part of a body, from `start` to before `end`, and what takes its place."""

    start: int
    end: int
    instead: bytes = REDACTED


class Redactor:
    """Takes `secrets` out; those shorter than SHORT are ignored."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret.encode("utf-8", "surrogateescape") for secret in secrets if len(secret) >= SHORT}
        known |= {quote(secret, safe="").encode() for secret in known}
        self._secrets = sorted(known, key=len, reverse=True)
        letters = sorted(set("".join(secret.decode("utf-8", "surrogateescape") for secret in self._secrets)))
        escapes = [_escape(char) for char in letters] + [re.escape(char).encode() for char in letters if char in '/"']
        self._escape = re.compile(rb"(?<!\\)%b(?:%b)" % (_SLASHES, b"|".join(escapes)))
        self._spelt = [_spelt(secret) for secret in self._secrets if b"\\" in secret]

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        data = text.encode("utf-8", "surrogateescape")
        return self.body(data)[0].decode("utf-8", "surrogateescape") if self._spans(data) else text

    def body(self, data: bytes, cuts: Sequence[int] = ()) -> tuple[bytes, list[int]]:
        """Return `data` without secrets, and where `cuts` (ascending places between its pieces) are then. A secret that lies across a cut is
        replaced before it."""
        if not self._secrets:
            return data, list(cuts)
        data, cuts = apply(data, self._events(data), cuts)
        return apply(data, self._spans(data), cuts)

    def _spans(self, data: bytes) -> list[Span]:
        """Every place of a secret, ascending, without overlaps."""
        found = [*self._places(data)]
        if b"\\" in data:
            plain, back = self._unescaped(data)
            found += [(back(start, False), back(end, True)) for start, end in self._places(plain)]
            found += [match.span() for pattern in self._spelt for match in pattern.finditer(data)]
        out: list[Span] = []
        for start, end in sorted(found):
            if out and start < out[-1].end:
                out[-1] = Span(out[-1].start, max(end, out[-1].end))
            else:
                out.append(Span(start, end))
        return out

    def _places(self, data: bytes) -> Iterator[tuple[int, int]]:
        for secret in self._secrets:
            at = data.find(secret)
            while at >= 0:
                yield at, at + len(secret)
                at = data.find(secret, at + len(secret))
            partial = next((n for n in range(len(secret) - 1, PARTIAL - 1, -1) if data.endswith(secret[:n])), 0)
            if partial:
                yield len(data) - partial, len(data)

    def _unescaped(self, data: bytes) -> tuple[bytes, Any]:
        """Return `data` with its escapes resolved, and a function from a place there to the one in `data` (`is_end`: of the end of a part)."""
        parts: list[bytes] = []
        ours: list[int] = []  # where each part begins in the result …
        theirs: list[tuple[int, int]] = []  # … and where it begins and ends in `data`
        size = at = 0
        for match in self._escape.finditer(data):
            start, end = match.span()
            letter = _letter(match[0])
            parts += data[at:start], letter
            ours += size, size + start - at
            theirs += (at, start), (start, end)
            size += start - at + len(letter)
            at = end
        parts.append(data[at:])
        ours.append(size)
        theirs.append((at, len(data)))

        def back(place: int, is_end: bool) -> int:
            n = bisect_right(ours, place - is_end) - 1
            start, end = theirs[n]
            if n % 2:  # an escape
                return end if is_end else start
            return start + place - ours[n]

        return b"".join(parts), back

    # -- events ------------------------------------------------------------------------------------------------------

    def _events(self, data: bytes) -> list[Span]:
        """New JSON for the events among whose strings a secret is spread."""
        lines: list[tuple[int, int, Any]] = []
        streams: dict[tuple[Any, ...], list[tuple[int, Any, Any, bytes]]] = {}
        for match in _DATA.finditer(data):
            try:
                value = loads(match[1])
            except ValueError:
                continue
            for path, holder, key in _strings(value, ()):
                streams.setdefault(path, []).append((len(lines), holder, key, holder[key].encode()))
            lines.append((match.start(1), match.end(1), value))
        changed: set[int] = set()
        for pieces in streams.values():
            changed.update(self._mend(pieces))
        return [Span(start, end, orjson.dumps(value)) for n, (start, end, value) in enumerate(lines) if n in changed]

    def _mend(self, pieces: list[tuple[int, Any, Any, bytes]]) -> Iterator[int]:
        """Take secrets out of the strings of one stream (number of the event, what holds the string, its key there, the string); gives the
        numbers of the events that are changed."""
        whole = b"".join(piece for *_, piece in pieces)
        spans = self._spans(whole)
        if not spans:
            return
        cuts, at = [], 0
        for *_, piece in pieces:
            at += len(piece)
            cuts.append(at)
        whole, cuts = apply(whole, spans, cuts)
        start = 0
        for (number, holder, key, before), end in zip(pieces, cuts, strict=True):
            after = whole[start:end]
            start = end
            if after != before:
                holder[key] = after.decode("utf-8", "replace")
                yield number


def _escape(char: str) -> bytes:
    """A pattern for the JSON escape of `char`, without the backslashes before it."""
    code = char.encode("utf-16-be", "surrogatepass").hex()
    units = [rb"u(?i:%b)" % code[at : at + 4].encode() for at in range(0, len(code), 4)]
    return _SLASHES.join(units)


def _spelt(secret: bytes) -> re.Pattern[bytes]:
    """A pattern for every spelling of a secret with a backslash in it: which of several backslashes belong to it, and which to an escape, only
    the whole match tells. (Slow: some 50 ns a byte.)"""
    parts = []
    for char in secret.decode("utf-8", "surrogateescape"):
        letter = _SLASHES if char == "\\" else rb"\\{0,64}" + re.escape(char.encode("utf-8", "surrogateescape"))
        parts.append(rb"(?:%b|%b%b)" % (letter, _SLASHES, _escape(char)))
    return re.compile(b"".join(parts))


def _letter(escape: bytes) -> bytes:
    """What an escape stands for."""
    first, _, second = escape.lstrip(b"\\").partition(b"\\")
    if len(first) == 1:
        return first
    code = int(first[1:], 16)
    if second:
        code = 0x10000 + ((code & 0x3FF) << 10) + (int(second.lstrip(b"\\")[1:], 16) & 0x3FF)
    return chr(code).encode("utf-8", "surrogateescape")


def _strings(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Every string of a JSON value: what it is a part of (the same in each event of a stream), what holds it, and its key there."""
    if isinstance(value, dict):
        path = (*path, *(value.get(name) for name in _MARKS if isinstance(value.get(name), (int, str))))
    elif not isinstance(value, list):
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, str):
            yield (*path, key), value, key
        else:
            yield from _strings(inner, (*path, key))


def apply(data: bytes, spans: Sequence[Span], cuts: Sequence[int]) -> tuple[bytes, list[int]]:
    """Return `data` with `spans` (ascending) replaced, and where `cuts` are then; one within a span comes to lie behind it."""
    if not spans:
        return data, list(cuts)
    parts: list[bytes] = []
    moved: list[int] = []
    at = size = n = 0
    for span in (*spans, Span(len(data), len(data), b"")):
        while n < len(cuts) and cuts[n] <= span.start:
            moved.append(size + cuts[n] - at)
            n += 1
        parts += [data[at : span.start], span.instead]
        size += span.start - at + len(span.instead)
        at = span.end
        while n < len(cuts) and cuts[n] < at:
            moved.append(size)
            n += 1
    return b"".join(parts), moved
