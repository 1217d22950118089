"""Replace secrets in the bodies of a capture, however they are written or split there.

A body may contain a secret as it is, with JSON escapes (`\\u0073k-…`, also in a string within a string),
percent-encoded, split over two network reads, or split over two events of a stream: a model that repeats a key from its
prompt sends it in pieces of a few letters.

How: a body is searched twice. First the strings of all events that belong to the same block are joined and searched;
events in which a secret begins, goes on or ends get new JSON. Then the whole body is searched as bytes, plain and with
its escapes resolved.

Knows: JSON's escapes, server-sent events.
Must not know: which secrets there are, what a body means.
Invariants: everything else stays as it is, byte by byte, except in an event that holds a part of a secret: its JSON is
written anew. A secret whose end is missing, because the body was cut there, is replaced too, from PARTIAL characters
on.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from a2py.jsontext import loads

REDACTED = b"[redacted]"
#: Secrets with fewer characters are ignored, because ordinary words would match. So many characters of a secret at the
#: end of a body are taken for its beginning.
SHORT, PARTIAL = 4, 8
#: The JSON of one event. No upstream sends JSON in several `data:` lines.
_DATA = re.compile(rb"^data: ?(\{[^\r\n]*)", re.MULTILINE)
#: Members that say to which of several blocks, calls or items a piece of a stream belongs.
_KEYS = ("index", "output_index", "content_index", "item_id")
#: Backslashes of one escape. Each string within a string doubles them, so 64 are six levels. Without a limit a body
#: could take quadratic time.
_SLASHES = rb"\\{1,64}"


class Span(NamedTuple):
    """The bytes of a body from `start` up to `end`, and what replaces them."""

    start: int
    end: int
    replacement: bytes = REDACTED


class Redactor:
    """Replaces `secrets`. Those with fewer than SHORT characters are ignored."""

    def __init__(self, secrets: Iterable[str]) -> None:
        values = {secret.encode("utf-8", "surrogateescape") for secret in secrets if len(secret) >= SHORT}
        values |= {quote(secret, safe="").encode() for secret in values}
        self._secrets = sorted(values, key=len, reverse=True)
        letters = sorted(set("".join(secret.decode("utf-8", "surrogateescape") for secret in self._secrets)))
        escapes = [_escape(char) for char in letters] + [re.escape(char).encode() for char in letters if char in '/"']
        self._escape = re.compile(rb"(?<!\\)%b(?:%b)" % (_SLASHES, b"|".join(escapes)))
        self._backslash_patterns = [_backslash_pattern(secret) for secret in self._secrets if b"\\" in secret]

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        data = text.encode("utf-8", "surrogateescape")
        return self.body(data)[0].decode("utf-8", "surrogateescape") if self._spans(data) else text

    def body(self, data: bytes, cuts: Sequence[int] = ()) -> tuple[bytes, list[int]]:
        """Return `data` without secrets, and the new places of `cuts`.

        `cuts`: ascending offsets between the pieces of `data`. A secret that lies across a cut is replaced before
        it."""
        if not self._secrets:
            return data, list(cuts)
        data, cuts = apply(data, self._events(data), cuts)
        return apply(data, self._spans(data), cuts)

    def _spans(self, data: bytes) -> list[Span]:
        """Return every place of a secret, ascending, without overlaps."""
        places = [*self._find(data)]
        if b"\\" in data:
            plain, original_offset = self._unescape(data)
            places += [(original_offset(start, False), original_offset(end, True)) for start, end in self._find(plain)]
            places += [match.span() for pattern in self._backslash_patterns for match in pattern.finditer(data)]
        spans: list[Span] = []
        for start, end in sorted(places):
            if spans and start < spans[-1].end:
                spans[-1] = Span(spans[-1].start, max(end, spans[-1].end))
            else:
                spans.append(Span(start, end))
        return spans

    def _find(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield start and end of every secret in `data`, and of the beginning of one at its end."""
        for secret in self._secrets:
            start = data.find(secret)
            while start >= 0:
                yield start, start + len(secret)
                start = data.find(secret, start + len(secret))
            partial = next((n for n in range(len(secret) - 1, PARTIAL - 1, -1) if data.endswith(secret[:n])), 0)
            if partial:
                yield len(data) - partial, len(data)

    def _unescape(self, data: bytes) -> tuple[bytes, Callable[[int, bool], int]]:
        """Return `data` with its escapes resolved, and a function that maps an offset in the result to the one in
        `data`.

        Its second argument says whether the offset is the end of something. The parts are in turn plain bytes and an
        escape, so odd parts are escapes. An offset at or in an escape maps to the escape's start or end."""
        parts: list[bytes] = []
        ours: list[int] = []  # where each part begins in the result …
        theirs: list[tuple[int, int]] = []  # … and where it begins and ends in `data`
        size = at = 0
        for match in self._escape.finditer(data):
            start, end = match.span()
            letter = _resolve(match[0])
            parts += data[at:start], letter
            ours += size, size + start - at
            theirs += (at, start), (start, end)
            size += start - at + len(letter)
            at = end
        parts.append(data[at:])
        ours.append(size)
        theirs.append((at, len(data)))

        def original_offset(offset: int, is_end: bool) -> int:
            n = bisect_right(ours, offset - is_end) - 1
            start, end = theirs[n]
            if n % 2:  # an escape
                return end if is_end else start
            return start + offset - ours[n]

        return b"".join(parts), original_offset

    # -- events --------------------------------------------------------------------------------------------------------

    def _events(self, data: bytes) -> list[Span]:
        """Return new JSON for the events over whose strings a secret is spread."""
        events: list[tuple[int, int, Any]] = []
        blocks: dict[tuple[Any, ...], list[tuple[int, Any, Any, bytes]]] = {}
        for match in _DATA.finditer(data):
            try:
                value = loads(match[1])
            except ValueError:
                continue
            for path, container, key in _strings(value, ()):
                blocks.setdefault(path, []).append((len(events), container, key, container[key].encode()))
            events.append((match.start(1), match.end(1), value))
        indexes: set[int] = set()
        for pieces in blocks.values():
            indexes.update(self._mend(pieces))
        return [Span(start, end, orjson.dumps(value)) for n, (start, end, value) in enumerate(events) if n in indexes]

    def _mend(self, pieces: list[tuple[int, Any, Any, bytes]]) -> Iterator[int]:
        """Replace secrets in the strings of one block, and yield the numbers of the events that this changes.

        Each piece is: number of the event, container of the string, its key there, the string."""
        text = b"".join(piece for *_, piece in pieces)
        spans = self._spans(text)
        if not spans:
            return
        cuts, at = [], 0
        for *_, piece in pieces:
            at += len(piece)
            cuts.append(at)
        text, cuts = apply(text, spans, cuts)
        start = 0
        for (number, container, key, before), end in zip(pieces, cuts, strict=True):
            after = text[start:end]
            start = end
            if after != before:
                container[key] = after.decode("utf-8", "replace")
                yield number


def _escape(char: str) -> bytes:
    """Return a pattern for the JSON escape of `char`, without the backslashes before it. (Above U+FFFF it is a pair of
    two escapes.)"""
    code = char.encode("utf-16-be", "surrogatepass").hex()
    units = [rb"u(?i:%b)" % code[at : at + 4].encode() for at in range(0, len(code), 4)]
    return _SLASHES.join(units)


def _backslash_pattern(secret: bytes) -> re.Pattern[bytes]:
    """Return a pattern for every way to write a secret that contains a backslash. Only the whole match tells which of
    several backslashes belong to the secret, and which to an escape. (Slow: some 50 ns a byte.)"""
    parts = []
    for char in secret.decode("utf-8", "surrogateescape"):
        letter = _SLASHES if char == "\\" else rb"\\{0,64}" + re.escape(char.encode("utf-8", "surrogateescape"))
        parts.append(rb"(?:%b|%b%b)" % (letter, _SLASHES, _escape(char)))
    return re.compile(b"".join(parts))


def _resolve(escape: bytes) -> bytes:
    """Return the character that an escape means, in UTF-8."""
    first, _, second = escape.lstrip(b"\\").partition(b"\\")
    if len(first) == 1:
        return first
    code = int(first[1:], 16)
    if second:
        code = 0x10000 + ((code & 0x3FF) << 10) + (int(second.lstrip(b"\\")[1:], 16) & 0x3FF)
    return chr(code).encode("utf-8", "surrogateescape")


def _strings(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Yield every string of a JSON value: its path (the same in each event of one block), its container, and its key
    there."""
    if isinstance(value, dict):
        path = (*path, *(value.get(name) for name in _KEYS if isinstance(value.get(name), (int, str))))
    elif not isinstance(value, list):
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, str):
            yield (*path, key), value, key
        else:
            yield from _strings(inner, (*path, key))


def apply(data: bytes, spans: Sequence[Span], cuts: Sequence[int]) -> tuple[bytes, list[int]]:
    """Return `data` with `spans` (ascending) replaced, and the new places of `cuts`. A cut within a span moves to its
    end."""
    if not spans:
        return data, list(cuts)
    parts: list[bytes] = []
    new_cuts: list[int] = []
    at = size = n = 0
    for span in (*spans, Span(len(data), len(data), b"")):
        while n < len(cuts) and cuts[n] <= span.start:
            new_cuts.append(size + cuts[n] - at)
            n += 1
        parts += [data[at : span.start], span.replacement]
        size += span.start - at + len(span.replacement)
        at = span.end
        while n < len(cuts) and cuts[n] < at:
            new_cuts.append(size)
            n += 1
    return b"".join(parts), new_cuts
