"""Filters on a reply's text: `<think>` tags split off, stop sequences cut.

Knows: how to hold back the possible beginning of a tag or a stop sequence. Must not know: any upstream.
Invariants: what comes out depends on the concatenation of what went in; at most a tag's length is held back.
"""

from __future__ import annotations

from collections.abc import Sequence

OPEN, CLOSE = "<think>", "</think>"
#: Characters of white space that may stand ahead of the tag.
BLANK_LIMIT = 4096


def held(text: str, marks: Sequence[str]) -> int:
    """Length of the longest end of `text` that a mark may begin with."""
    longest = min(len(text), max(map(len, marks)) - 1)
    for size in range(longest, 0, -1):
        end = text[-size:]
        if any(mark.startswith(end) for mark in marks):
            return size
    return 0


class ThinkTags:
    """Text → pieces `(thinking?, text)`. `inside`: the template opened the tag itself (a model may say it again).

    Only a tag at the very start opens (a model that talks about the tag later means the word); white space next to a tag is dropped."""

    __slots__ = ("_buffer", "_inside", "_mode", "_strip")

    def __init__(self, inside: bool = False) -> None:
        self._buffer = ""
        self._inside = inside
        self._mode = OPEN  # the tag that is looked for; "" when none is any more
        self._strip = True

    def feed(self, text: str) -> list[tuple[bool, str]]:
        out: list[tuple[bool, str]] = []
        self._buffer += text
        if self._mode == OPEN:
            start = self._buffer.lstrip()
            near = len(self._buffer) - len(start) <= BLANK_LIMIT
            if near and len(start) < len(OPEN) and OPEN.startswith(start):
                return out
            opened = near and start.startswith(OPEN)
            self._mode = CLOSE if opened or self._inside else ""
            self._buffer = start[len(OPEN) :] if opened else self._buffer
            self._strip = opened or self._inside
        if self._mode == CLOSE:
            at = self._buffer.find(CLOSE)
            keep = held(self._buffer, (CLOSE,)) if at < 0 else 0
            end = len(self._buffer) - keep if at < 0 else at
            self._emit(out, True, self._buffer[:end])
            self._buffer = self._buffer[end:]
            if at < 0:
                return out
            self._buffer = self._buffer[len(CLOSE) :]
            self._mode = ""
            self._strip = True
        self._emit(out, False, self._buffer)
        self._buffer = ""
        return out

    def close(self) -> list[tuple[bool, str]]:
        out: list[tuple[bool, str]] = []
        self._emit(out, self._mode == CLOSE or (self._mode == OPEN and self._inside), self._buffer)
        self._buffer = ""
        return out

    def _emit(self, out: list[tuple[bool, str]], thinking: bool, text: str) -> None:
        if self._strip:
            text = text.lstrip()
        if text:
            self._strip = False
            out.append((thinking, text))


class Stops:
    """Cuts text at the stop sequence that ends first (the longest of those that end there); `matched` names it.

    What is held back is the beginning of a stop sequence, so it need not be kept; how long it is, is told character by character from where
    one began (Knuth, Morris and Pratt's tables), by `str.find` up to there: no stop and no text costs more than its length."""

    __slots__ = ("_begun", "_stops", "_tables", "matched")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._begun = [0] * len(self._stops)  # characters of each stop with which the text so far ends
        self._tables: list[list[int]] = [[] for _ in self._stops]
        self.matched: str | None = None

    def feed(self, text: str) -> str:
        if self.matched is not None:
            return ""
        head, begun = self._longest()
        ends = [(end, -len(stop), stop) for n, stop in enumerate(self._stops) if (end := self._run(n, text)) >= 0]
        if ends:
            end, size, self.matched = min(ends)
            self._begun = [0] * len(self._stops)
            return (head[:begun] + text)[: begun + end + size]
        keep = self._longest()[1]
        out = begun + len(text) - keep
        return head[:begun] + text[: out - begun] if out >= begun else head[:out]

    def _longest(self) -> tuple[str, int]:
        """A stop, and how much of it the text so far ends with: that is held back."""
        begun = max(self._begun, default=0)
        return (self._stops[self._begun.index(begun)], begun) if begun else ("", 0)

    def _run(self, n: int, text: str) -> int:
        """Where in `text` the stop `n` ends first; -1: nowhere, and `_begun` is that of the text's end."""
        stop, begun, at, size = self._stops[n], self._begun[n], 0, len(text)
        while at < size:
            if not begun:
                whole = text.find(stop, at)
                if whole >= 0:
                    return whole + len(stop)
                at = text.find(stop[0], max(at, size - len(stop) + 1))
                if at < 0:
                    break
            begun = self._step(n, begun, text[at])
            at += 1
            if begun == len(stop):
                return at
        self._begun[n] = begun
        return -1

    def _step(self, n: int, begun: int, char: str) -> int:
        """One character further."""
        stop, table = self._stops[n], self._tables[n]
        while begun and stop[begun] != char:
            if len(table) < begun:
                self._extend(stop, table, begun)
            begun = table[begun - 1]
        return begun + (stop[begun] == char)

    @staticmethod
    def _extend(stop: str, table: list[int], size: int) -> None:
        """`table[k]`: the longest beginning of `stop`, shorter than `k + 1`, with which its first `k + 1` characters end."""
        if not table:
            table.append(0)
        for at in range(len(table), size):
            begun = table[at - 1]
            while begun and stop[begun] != stop[at]:
                begun = table[begun - 1]
            table.append(begun + (stop[begun] == stop[at]))

    def close(self) -> str:
        head, begun = self._longest()
        self._begun = [0] * len(self._stops)
        return head[:begun]
