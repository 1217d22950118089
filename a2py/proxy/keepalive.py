"""Signs of life towards a waiting client, and the moment at which an answer commits to being a 200.

Knows: the clock, the stream, the writer of the attempt that runs. Must not know: upstreams, errors.
Invariants: one timer per stream, never a task; nothing is written over a client that does not read.

Why these intervals: Claude Code 2.1.330 gives up after 300 s of silence, and after 30 heartbeats of pings alone; the open block's own
empty delta carries any length (measured, CLAUDE_CODE §8: ping every 25 s, empty delta every 15 s).
"""

from __future__ import annotations

import asyncio

from a2py.messages.writer import PING, Writer
from a2py.proxy.client import EventStream


class Pulse:
    """`writer`: of the running attempt (None between attempts); `degraded`: what the commit's header will name.

    `commit_at`: loop time of the commit; intervals in seconds, 0 or less switches one off."""

    __slots__ = ("_delta_interval", "_interval", "_loop", "_stream", "_timer", "commit_at", "degraded", "writer")

    def __init__(self, stream: EventStream, commit_at: float, interval: float, delta_interval: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._interval = interval
        self._delta_interval = delta_interval
        self.commit_at = commit_at
        self.writer: Writer | None = None
        self.degraded: tuple[str, ...] = ()
        self._timer: asyncio.TimerHandle | None = self._loop.call_at(commit_at, self._beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        stream = self._stream
        if stream.finished or stream.gone:
            self._timer = None
            return
        now = self._loop.time()
        if not stream.committed:
            stream.commit(self.degraded)
            stream.write(PING)
        elif not stream.full:
            self._sign(now - stream.last)
        self._timer = self._next(stream.last)

    def _sign(self, silence: float) -> None:
        """An empty delta after `delta_interval` of silence, where a block is open that can carry one; else a ping after `interval`."""
        data = PING
        if self.writer is not None:
            self.writer.keepalive()
            data = self.writer.take()
        wait = self._interval if data == PING else self._delta_interval
        if 0 < wait <= silence + 0.01:
            self._stream.write(data)

    def _next(self, last: float) -> asyncio.TimerHandle | None:
        """The next look: when the shorter interval ends that has not ended yet."""
        now = self._loop.time()
        waits = sorted(wait for wait in (self._interval, self._delta_interval) if wait > 0)
        if not waits:
            return None
        due = next((last + wait for wait in waits if last + wait > now), now + waits[0])
        return self._loop.call_at(due, self._beat)
