"""Time limits of one exchange, on one timer.

Knows: the event loop's clock. Must not know: sockets, what happens when a limit passes.
Invariants: at most one timer is set; the timer is not moved at each read, which would cost 2 µs a chunk: when it fires, it looks how long
the silence has lasted, and is set anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from a2py.upstream.flow import Flow

#: How often the progress of a body is looked at within its limit.
PROGRESS_LOOKS = 8
NEVER = float("inf")


class Limits(NamedTuple):
    """None: no limit. `silence`: seconds without a byte; `due`: loop time by which everything must have ended; `contentless`: seconds in which
    the body must make progress (`Flow.progress`)."""

    silence: float | None = None
    due: float | None = None
    contentless: float | None = None


def _nothing(kind: str) -> None:
    pass


class Watch:
    """`last`: loop time of the latest read; `paused`: nobody reads, so that silence does not count; `flow`: what makes progress, once there is
    something. `expired` is called with the kind of failure when a limit passes."""

    __slots__ = ("_expired", "_limits", "_loop", "_seen", "_since", "_timer", "flow", "last", "paused")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[str], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._limits = Limits()
        self._timer: asyncio.TimerHandle | None = None
        self._seen = -1  # `flow.progress` as it was at the latest look
        self._since = 0.0  # loop time of the look that first saw it
        self.flow: Flow | None = None
        self.last = loop.time()
        self.paused = False

    def start(self, limits: Limits) -> None:
        self.stop()
        self._limits = limits
        self._seen = -1
        self.last = self._since = self._loop.time()
        self._look()

    def forget(self) -> None:
        """The connection is gone for good: refer to it no longer, which would be a cycle for the garbage collector."""
        self.stop()
        self._expired = _nothing

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        limits, now = self._limits, self._loop.time()
        self._timer = None
        if self.paused:
            self.last = now
        end = NEVER if limits.due is None else limits.due
        if limits.silence is not None:
            end = min(end, self.last + limits.silence)
        if limits.contentless is not None:
            progress = self.flow.progress if self.flow is not None else -1
            if self.paused or progress != self._seen:
                self._seen, self._since = progress, now
            end = min(end, self._since + limits.contentless)
        if end <= now:
            self._expired(self._passed(now))
            return
        if limits.contentless is not None:
            end = min(end, now + limits.contentless / PROGRESS_LOOKS)
        if end < NEVER:
            self._timer = self._loop.call_at(end, self._look)

    def _passed(self, now: float) -> str:
        """Say which limit has passed: a kind of `Cause`. Each of them has a setting of its own."""
        limits = self._limits
        if limits.due is not None and limits.due <= now:
            return "timeout_total"
        if limits.silence is not None and self.last + limits.silence <= now:
            return "timeout_idle"
        return "timeout_contentless"
