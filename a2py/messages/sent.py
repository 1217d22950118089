"""The body of a request as it was sent upstream, kept so that an error can be compared with it.

An upstream that refuses a piece of a conversation often repeats that piece in its error. What is in the request is the
client's text, not the upstream's (wires/refusal/echo.py decides what follows from that).

Knows: bytes, and how many of them may be searched. Must not know: errors, JSON.
Invariants: all searches of one body together read at most BUDGET bytes and are at most SEARCHES; a body that may not be
searched any more is assumed to contain everything, so that an unchecked text is not taken for the upstream's own.
"""

from __future__ import annotations

#: Bytes that all searches of one body may read: one search of the largest request. 32 MiB take 7 to 13 ms, and 110 ms
#: if they are made to be slow to search (`aaa…` for `aaa…b aaa…`; CPython 3.11).
BUDGET = 48 * 1024 * 1024
#: Searches of one body. An error has at most a few pieces that are worth one.
SEARCHES = 64


class SentBody:
    """One request body. `forget` releases it. A forgotten or empty body contains nothing."""

    __slots__ = ("_body", "_bytes", "_searches")

    def __init__(self, body: bytes = b"") -> None:
        self._body = body
        self._bytes = BUDGET
        self._searches = SEARCHES

    def __bool__(self) -> bool:
        """Whether there is a body to compare with."""
        return bool(self._body)

    def digest(self) -> int:
        """Return a number that two bodies share only if they are the same."""
        return hash(self._body)

    def holds(self, piece: bytes, *, default: bool = True) -> bool:
        """Whether the body contains `piece`; `default` if it may no longer be searched."""
        body = self._body
        if not body:
            return False
        if not self._searches or self._bytes < len(body):
            return default
        at = body.find(piece)
        self._searches -= 1
        self._bytes -= len(body) if at < 0 else at + len(piece)
        return at >= 0

    def forget(self) -> None:
        """Release the body: nothing depends on it any more."""
        self._body = b""


#: No request is known: no text is an echo.
NOTHING = SentBody()
