"""Signs of life towards a waiting client, and the moment at which an answer commits to being a 200.

Knows: the clock, the stream, the writer of the attempt that runs. Must not know: upstreams, errors.
Invariants: one timer per stream, never a task; nothing is written over a client that does not read.

Why these intervals: Claude Code 2.1.330 gives up after 300 s of silence, and after 30 heartbeats of pings alone; the open block's own
empty delta carries any length (measured: ping every 25 s, empty delta every 15 s).
"""

from __future__ import annotations

import asyncio

from a2py.messages.writer import PING, Writer
from a2py.proxy.client import EventStream

NEVER = float("inf")


class Pulse:
    """`writer`: of the running attempt (None between attempts); `degraded`: what the commit's header will name;
    `interval`: before a ping, which a deployment may set.

    `commit_at`: loop time of the commit; intervals in seconds, 0 or less switches one off."""

    __slots__ = ("_delta_interval", "_loop", "_stream", "_timer", "commit_at", "degraded", "interval", "writer")

    def __init__(self, stream: EventStream, commit_at: float, interval: float, delta_interval: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self.interval = interval
        self._delta_interval = delta_interval
        self.commit_at = commit_at
        self.writer: Writer | None = None
        self.degraded: tuple[str, ...] = ()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = self._next(self._stream.last)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self._timer = None
        stream = self._stream
        if stream.finished or stream.gone:
            return
        now = self._loop.time()
        if stream.committed:
            if not stream.full():
                self._sign(now - stream.last)
        elif now >= self.commit_at:
            stream.commit(self.degraded)
            stream.write(PING)
        self._timer = self._next(stream.last)

    def _sign(self, silence: float) -> None:
        """An empty delta after `delta_interval` of silence, where a block is open that can carry one; else a ping after `interval`."""
        data, wait = PING, self.interval
        if self.writer is not None and self._delta_interval > 0:
            self.writer.keepalive()
            data = self.writer.take()
            if data != PING:
                wait = self._delta_interval
        if data and 0 < wait <= silence:
            self._stream.write(data)

    def _next(self, last: float) -> asyncio.TimerHandle | None:
        """The next look: at the commit, or when the next interval ends. (Before the commit an interval only looks whether it came.)"""
        now = self._loop.time()
        due = NEVER if self._stream.committed else self.commit_at
        for wait in (self.interval, self._delta_interval):
            if wait > 0:
                due = min(due, last + wait if last + wait > now else now + wait)
        return None if due == NEVER else self._loop.call_at(due, self._beat)
