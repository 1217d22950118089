"""A clock of the event loop that does not count the time for which a busy machine let the loop wait.

A test of a time limit has a server, on the same loop, that pauses for less than the limit. By the wall clock a stall of
the whole process may be longer than the limit, and then the limit passes although the server did nothing wrong. By this
clock a stall lasts at most STEP, so limits and pauses keep their order whatever else the machine does.

Knows: asyncio's own loop, whose timers ask `loop.time`. On another loop (uvloop) the wall clock stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: Seconds that pass at most between two looks at the clock. A timer makes the loop look that often.
STEP = 0.01


@asynccontextmanager
async def steady_clock() -> AsyncIterator[None]:
    """Give the running loop such a clock within the block."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        yield
        return
    wall_clock = loop.time
    latest = now = wall_clock()
    timer: asyncio.TimerHandle

    def time() -> float:
        nonlocal latest, now
        wall = wall_clock()
        now += min(wall - latest, STEP)
        latest = wall
        return now

    def tick() -> None:
        nonlocal timer
        timer = loop.call_later(STEP, tick)

    loop.time = time  # type: ignore[method-assign]
    timer = loop.call_later(STEP, tick)
    try:
        yield
    finally:
        timer.cancel()
        del loop.time
