"""The time limits of one exchange, on one timer.

Knows: the event loop's clock. Must not know: sockets, what happens when a limit passes.
Invariants: at most one timer is set.

To move the timer at each read would cost 2 µs per chunk. So a read only notes the time (`last`). When the timer fires,
it checks how long the silence has lasted, and is set again for the rest. Example: a limit of 10 s and a read after 7 s;
the timer fires after 10 s, finds a silence of 3 s, and is set for 7 s more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from a2py.upstream.flow import Flow

#: How often the progress of a body is checked within its limit.
PROGRESS_CHECKS = 8
NEVER = float("inf")


class Limits(NamedTuple):
    """The limits of one exchange; None: no limit. `silence`: seconds without a byte; `due`: loop time by which
    everything must have ended; `contentless`: seconds in which the body must make progress (`Flow.progress`)."""

    silence: float | None = None
    due: float | None = None
    contentless: float | None = None


def _do_nothing(kind: str, detail: str) -> None:
    pass


class Watch:
    """Calls `on_expiry` with kind and detail of the failure when a limit passes.

    `last`: loop time of the latest read; `is_paused`: we do not read, so silence does not count; `flow`: where the body
    goes, None before that."""

    __slots__ = (
        "_last_progress",
        "_limits",
        "_loop",
        "_on_expiry",
        "_progress_time",
        "_timer",
        "flow",
        "is_paused",
        "last",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, on_expiry: Callable[[str, str], None]) -> None:
        self._loop = loop
        self._on_expiry = on_expiry
        self._limits = Limits()
        self._timer: asyncio.TimerHandle | None = None
        self._last_progress = -1  # `flow.progress` at the latest check
        self._progress_time = 0.0  # loop time of the check that first saw this value
        self.flow: Flow | None = None
        self.last = loop.time()
        self.is_paused = False

    def start(self, limits: Limits) -> None:
        """Watch these limits from now on."""
        self.stop()
        self._limits = limits
        self._last_progress = -1
        self.last = self._progress_time = self._loop.time()
        self._check()

    def forget(self) -> None:
        """Stop for good, and release the connection. A reference to it would be a cycle for the garbage collector."""
        self.stop()
        self._on_expiry = _do_nothing

    def stop(self) -> None:
        """Watch nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        limits, now = self._limits, self._loop.time()
        self._timer = None
        if self.is_paused:
            self.last = now
        end = NEVER if limits.due is None else limits.due
        if limits.silence is not None:
            end = min(end, self.last + limits.silence)
        if limits.contentless is not None:
            progress = self.flow.progress if self.flow is not None else -1
            if self.is_paused or progress != self._last_progress:
                self._last_progress, self._progress_time = progress, now
            end = min(end, self._progress_time + limits.contentless)
        if end <= now:
            self._on_expiry(*self._expired_limit(now))
            return
        if limits.contentless is not None:
            end = min(end, now + limits.contentless / PROGRESS_CHECKS)
        if end < NEVER:
            self._timer = self._loop.call_at(end, self._check)

    def _expired_limit(self, now: float) -> tuple[str, str]:
        """Return the limit that has passed, as kind and detail of a `Cause`. Each has a setting of its own."""
        limits = self._limits
        if limits.due is not None and limits.due <= now:
            return "timeout_total", "its limit has passed"
        if limits.silence is not None and self.last + limits.silence <= now:
            return "timeout_idle", f"no byte for {limits.silence:g} s"
        return "timeout_contentless", f"only comments and empty events for {limits.contentless:g} s"
