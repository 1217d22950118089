"""Filters on a reply's text: `<think>` tags are separated, stop sequences cut.

Knows: how to hold back what may be the beginning of a tag or a stop sequence. Must not know: any upstream.
Invariants: the output depends on the concatenation of the input; what is held back is never longer than a tag or a stop
sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

OPEN, CLOSE = "<think>", "</think>"
#: Characters of white space that may come before the tag.
BLANK_LIMIT = 4096


def count_held(text: str, marks: Sequence[str]) -> int:
    """Return how many characters at the end of `text` may be the beginning of a mark: 3 for `a </t` and `</think>`."""
    longest = min(len(text), max(map(len, marks)) - 1)
    for size in range(longest, 0, -1):
        end = text[-size:]
        if any(mark.startswith(end) for mark in marks):
            return size
    return 0


class ThinkTags:
    """Splits text into pieces `(is_thinking, text)`. `inside`: the chat template has written the opening tag already,
    so that the reply begins within it. (Some models write it again.)

    An opening tag is recognised only at the very start: a model that writes it later talks about it. White space next
    to a tag is dropped."""

    __slots__ = ("_buffer", "_inside", "_mode", "_strip")

    def __init__(self, inside: bool = False) -> None:
        self._buffer = ""
        self._inside = inside
        self._mode = OPEN  # the tag that is searched for; "" after the closing one, or if there was no opening one
        self._strip = True  # white space is dropped until the next text

    def feed(self, text: str) -> list[tuple[bool, str]]:
        pieces: list[tuple[bool, str]] = []
        self._buffer += text
        if self._mode == OPEN:
            start = self._buffer.lstrip()
            is_near = len(self._buffer) - len(start) <= BLANK_LIMIT
            if is_near and len(start) < len(OPEN) and OPEN.startswith(start):
                return pieces
            is_open = is_near and start.startswith(OPEN)
            self._mode = CLOSE if is_open or self._inside else ""
            self._buffer = start[len(OPEN) :] if is_open else self._buffer
            self._strip = is_open or self._inside
        if self._mode == CLOSE:
            at = self._buffer.find(CLOSE)
            keep = count_held(self._buffer, (CLOSE,)) if at < 0 else 0
            end = len(self._buffer) - keep if at < 0 else at
            self._add(pieces, True, self._buffer[:end])
            self._buffer = self._buffer[end:]
            if at < 0:
                return pieces
            self._buffer = self._buffer[len(CLOSE) :]
            self._mode = ""
            self._strip = True
        self._add(pieces, False, self._buffer)
        self._buffer = ""
        return pieces

    @property
    def is_done(self) -> bool:
        """All text that follows is passed on as it is."""
        return not (self._mode or self._strip or self._buffer)

    def close(self) -> list[tuple[bool, str]]:
        """Return what is held back."""
        pieces: list[tuple[bool, str]] = []
        self._add(pieces, self._mode == CLOSE or (self._mode == OPEN and self._inside), self._buffer)
        self._buffer = ""
        return pieces

    def _add(self, pieces: list[tuple[bool, str]], is_thinking: bool, text: str) -> None:
        if self._strip:
            text = text.lstrip()
        if text:
            self._strip = False
            pieces.append((is_thinking, text))


class Stops:
    """Cuts text before the stop sequence that ends first; of several that end there, before the longest. `match`:
    that stop sequence.

    A stop sequence may come in pieces, so text at the end that may be its beginning is held back. With the stop `END`:

        feed("the E")  → "the "     `E` is held back
        feed("N")      → ""         `EN` is held back
        feed("GINE")   → "ENGIN"    it was none; the last `E` may be one
        feed("ND!")    → "", and `match` is `END`

    `_lengths` has, for each stop, how many of its first characters end the text so far. What is held back is therefore
    the beginning of a stop, and need not be stored.

    Why not search the held text together with the next piece each time: with the stop `aaa…b` and text that comes
    letter by letter, that takes time in proportion to the product of both lengths. While a stop may have begun, the
    text is compared character by character with the tables of Knuth, Morris and Pratt; otherwise `str.find` searches
    it. So the cost is in proportion to the length of the text."""

    __slots__ = ("_lengths", "_stops", "_tables", "match")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._lengths = [0] * len(self._stops)
        self._tables: list[list[int]] = [[] for _ in self._stops]
        self.match: str | None = None

    def feed(self, text: str) -> str:
        """Return the text that is certainly not part of a stop sequence."""
        if self.match is not None:
            return ""
        stop, length = self._longest()
        ends = [(end, -len(one), one) for n, one in enumerate(self._stops) if (end := self._search(n, text)) >= 0]
        if ends:
            end, size, self.match = min(ends)
            self._lengths = [0] * len(self._stops)
            return (stop[:length] + text)[: length + end + size]
        keep = self._longest()[1]
        size = length + len(text) - keep
        return stop[:length] + text[: size - length] if size >= length else stop[:size]

    def _longest(self) -> tuple[str, int]:
        """Return the stop of which the longest beginning ends the text, and how many of its characters are held
        back."""
        length = max(self._lengths, default=0)
        return (self._stops[self._lengths.index(length)], length) if length else ("", 0)

    def _search(self, n: int, text: str) -> int:
        """Return where in `text` the stop `n` ends first. If it does not, return -1 and update `_lengths`."""
        stop, length, at, size = self._stops[n], self._lengths[n], 0, len(text)
        while at < size:
            if not length:
                start = text.find(stop, at)
                if start >= 0:
                    return start + len(stop)
                at = text.find(stop[0], max(at, size - len(stop) + 1))
                if at < 0:
                    break
            length = self._step(n, length, text[at])
            at += 1
            if length == len(stop):
                return at
        self._lengths[n] = length
        return -1

    def _step(self, n: int, length: int, char: str) -> int:
        """Return how many characters of the stop `n` end the text after `char`, if `length` of them ended it before."""
        stop, table = self._stops[n], self._tables[n]
        while length and stop[length] != char:
            if len(table) < length:
                self._extend(stop, table, length)
            length = table[length - 1]
        return length + (stop[length] == char)

    @staticmethod
    def _extend(stop: str, table: list[int], size: int) -> None:
        """Extend `table` to `size` entries. `table[k]` is the length of the longest beginning of `stop`, shorter than
        `k + 1`, that also ends its first `k + 1` characters. Example: for `abab` it is `[0, 0, 1, 2]`."""
        if not table:
            table.append(0)
        for at in range(len(table), size):
            length = table[at - 1]
            while length and stop[length] != stop[at]:
                length = table[length - 1]
            table.append(length + (stop[length] == stop[at]))

    def close(self) -> str:
        """Return what is held back."""
        stop, length = self._longest()
        self._lengths = [0] * len(self._stops)
        return stop[:length]
