"""Run the core's long work on the event loop, slice by slice.

Knows: asyncio. Must not know: what the work is (a2py/slices.py says what a slice is).
Invariants: between two slices of long work the loop runs everything that is ready; one piece of long work runs at a time, so that ten large
requests do not take ten slices from everybody else.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from a2py.slices import Slices

T = TypeVar("T")

#: Seconds of work after which everybody else gets a turn.
SLICE_SECONDS = 0.01
#: Bytes of a body that waits for its turn before it is parsed: parsing is one slice, however long.
LARGE = 1024 * 1024
#: Turns of the loop between two of long work. In the first it runs what has become ready meanwhile (data, timers), which comes behind this
#: task in the loop's queue; in the second the tasks that wait for that.
TURNS = 3


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Pace:
    """`seconds`: as SLICE_SECONDS."""

    def __init__(self, seconds: float = SLICE_SECONDS) -> None:
        self.seconds = seconds
        self._turn = asyncio.Lock()

    async def run(self, work: Slices[T], *, size: int = 0) -> T:
        """The result of `work`. What ends within `seconds` is run at once, unless it begins with a slice of a LARGE body of `size` bytes."""
        ended = None if size > LARGE else self._advance(work)
        if ended is None:
            async with self._turn:
                while ended is None:
                    await _turns()
                    ended = self._advance(work)
            await _turns()
        return ended[0]

    def _advance(self, work: Slices[T]) -> tuple[T] | None:
        """Run slices until `seconds` have passed. The result, in a tuple, if that was the end of the work."""
        time = asyncio.get_running_loop().time
        due = time() + self.seconds
        try:
            while True:
                next(work)
                if time() >= due:
                    return None
        except StopIteration as stop:
            return (stop.value,)
