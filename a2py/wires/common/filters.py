"""Filters on a reply's text: `<think>` tags split off, stop sequences cut.

Knows: how to hold back the possible beginning of a tag or a stop sequence. Must not know: any upstream.
Invariants: what comes out depends on the concatenation of what went in; at most a tag's length is held back.
"""

from __future__ import annotations

from collections.abc import Sequence

OPEN, CLOSE = "<think>", "</think>"


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
            if len(start) < len(OPEN) and OPEN.startswith(start):
                return out
            opened = start.startswith(OPEN)
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
    """Cuts text at the first stop sequence; `matched` names it."""

    __slots__ = ("_buffer", "_stops", "matched")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._buffer = ""
        self.matched: str | None = None

    def feed(self, text: str) -> str:
        if self.matched is not None:
            return ""
        text = self._buffer + text
        found = [(at, -len(stop), stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            at, _, self.matched = min(found)
            self._buffer = ""
            return text[:at]
        keep = held(text, self._stops)
        self._buffer = text[len(text) - keep :]
        return text[: len(text) - keep]

    def close(self) -> str:
        text, self._buffer = self._buffer, ""
        return text
