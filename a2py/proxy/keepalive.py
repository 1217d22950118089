"""Keep-alives for a waiting client, and the moment at which an answer commits to being a 200.

A client must be told before it gives up that its request is alive. Before the first content there is a choice: as long
as nothing is sent, a failure can still be an HTTP status; after that it is an event in a 200. So nothing is sent until
`commit_time`. From then on silence is filled with pings, or with empty deltas of the open block.

Why these intervals: Claude Code 2.1.332 gives up after 300 s of silence, and after 30 pings in a row without anything
else. An empty delta of the open block counts as content and carries an answer of any length (measured: a ping every 25
s, an empty delta every 15 s).

Knows: the clock, the stream, the writer of the attempt that runs. Must not know: upstreams, errors.
Invariants: one timer per stream, never a task; nothing is written to a client that does not read.
"""

from __future__ import annotations

import asyncio

from a2py.messages.writer import PING, Writer
from a2py.proxy.client import EventStream

NEVER = float("inf")


class KeepAlive:
    """`commit_time`: loop time at which the answer commits; `ping_interval`, `delta_interval`: seconds of silence
    before a ping and before an empty delta, 0 or less for none. A deployment may have a `ping_interval` of its own.

    `writer`: of the running attempt, None between attempts; `degraded`: what the head will say if this commits."""

    __slots__ = ("_delta_interval", "_loop", "_stream", "_timer", "commit_time", "degraded", "ping_interval", "writer")

    def __init__(self, stream: EventStream, *, commit_time: float, ping_interval: float, delta_interval: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._delta_interval = delta_interval
        self.commit_time = commit_time
        self.ping_interval = ping_interval
        self.writer: Writer | None = None
        self.degraded: tuple[str, ...] = ()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = self._schedule(self._stream.last_write)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        stream = self._stream
        if stream.is_finished or stream.has_left:
            return
        now = self._loop.time()
        if stream.is_committed:
            if not stream.full():
                self._fill(now - stream.last_write)
        elif now >= self.commit_time:
            stream.commit(self.degraded)
            stream.write(PING)
        self._timer = self._schedule(stream.last_write)

    def _fill(self, silence: float) -> None:
        """Write an empty delta if a block is open that can carry one, otherwise a ping, if `silence` (seconds) has
        lasted long enough."""
        data, interval = PING, self.ping_interval
        if self.writer is not None and self._delta_interval > 0:
            self.writer.keepalive()
            data = self.writer.take()
            if data != PING:
                interval = self._delta_interval
        if data and 0 < interval <= silence:
            self._stream.write(data)

    def _schedule(self, last_write: float) -> asyncio.TimerHandle | None:
        """Set the timer to the commit, or to the end of the next interval, whichever is first.

        The timer is not moved when something is written: that would cost a timer per chunk. It goes off, sees that the
        silence is shorter, and is set again."""
        now = self._loop.time()
        due = NEVER if self._stream.is_committed else self.commit_time
        for interval in (self.ping_interval, self._delta_interval):
            if interval > 0:
                due = min(due, last_write + interval if last_write + interval > now else now + interval)
        return None if due == NEVER else self._loop.call_at(due, self._on_timer)
