"""An upstream's HTTP chunk that holds one event of a lane → the client's HTTP chunk, in one step.

Knows: the bytes around both. Must not know: sockets' reading, events, when a lane is open.
Invariants: what is not exactly one plain chunk with exactly one event of the lane is left alone, and nothing of it counts as passed.

Why: a paced chunk finds the processor's caches cold, so what costs is how much code and how many objects it touches. With warm ones it is
3.4 µs by decoder, writer and stream, 1.2 this way (CPython 3.11; `python -m bench.core_chunk`, bench/NOTES.md).
"""

from __future__ import annotations

from a2py.messages.lane import Lane
from a2py.proxy.client import EventStream

#: Longest chunk that is looked at, framing included.
LONGEST = 4096
#: Bytes of a chunk, framing included → its first line, as servers write it (lower case, no leading zero).
_LINES: dict[int, bytes] = {}


def _line(size: int) -> bytes:
    for digits in (1, 2, 3):
        line = b"%x\r\n" % max(0, size - digits - 4)
        if len(line) == digits + 2 and size <= LONGEST:
            return _LINES.setdefault(size, line)
    return b"\r"  # begins no chunk


class Direct:
    """`lane`: what it is made for; `stream`: where it writes."""

    __slots__ = ("_ahead", "_around", "_before", "_cut", "_prefix", "_suffix", "_tail", "_take", "_write", "lane", "stream")

    def __init__(self, lane: Lane, stream: EventStream) -> None:
        self.lane = lane
        self.stream = stream
        self._before = lane.before
        self._ahead = len(lane.before)
        self._tail = lane.after + b"\r\n"
        self._cut = -len(self._tail)
        self._take = lane.take
        self._prefix, self._suffix = lane.around
        self._around = len(self._prefix) + len(self._suffix)
        self._write = stream.send

    def __call__(self, data: bytes, now: float) -> bool:
        """Whether `data` was passed on; `now`: loop time."""
        line = _LINES.get(len(data)) or _line(len(data))
        at = len(line)
        if not (data.startswith(line) and data.startswith(self._before, at) and data.endswith(self._tail)):
            return False
        string = data[at + self._ahead : self._cut]
        if not string or not self._take(string):
            return False
        self._write(b"%x\r\n%b%b%b\r\n" % (self._around + len(string), self._prefix, string, self._suffix))
        self.stream.last = now
        return True
