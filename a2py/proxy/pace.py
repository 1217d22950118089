"""Run the core's long work on the event loop, slice by slice.

Translating a request of some megabytes takes a tenth of a second, in which no stream of any other client would go on.
The core is pure and cannot wait, so it offers such work as a generator that yields between slices (a2py/slices.py).
This module decides when to go on.

Knows: asyncio. Must not know: what the work is.
Invariants: between two slices of long work the loop runs everything that is ready; one piece of long work runs at a
time, so that ten large requests do not take ten slices from everybody else.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from a2py.slices import Slices

T = TypeVar("T")

#: Seconds of work after which everybody else gets a turn.
SLICE_SECONDS = 0.01
#: Bytes of a body above which parsing waits for its turn, because parsing is one slice, however long.
LARGE = 1024 * 1024
#: Turns of the loop between two slices. `sleep(0)` puts this task at the end of the loop's queue. In the first turn the
#: loop runs what was queued before, and polls for data and timers; what these made ready runs in the second; the tasks
#: that wait for that run in the third.
TURNS = 3


async def _yield_to_others() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Pace:
    """`seconds`: as SLICE_SECONDS."""

    def __init__(self, seconds: float = SLICE_SECONDS) -> None:
        self.seconds = seconds
        self._turn = asyncio.Lock()

    async def run(self, work: Slices[T], *, size: int = 0) -> T:
        """Return the result of `work`.

        Work that ends within `seconds` runs at once. Only work on a body of more than LARGE bytes (`size`) waits for
        its turn first."""
        result = None if size > LARGE else self._advance(work)
        if result is None:
            async with self._turn:
                while result is None:
                    await _yield_to_others()
                    result = self._advance(work)
            await _yield_to_others()
        return result[0]

    def _advance(self, work: Slices[T]) -> tuple[T] | None:
        """Run slices until `seconds` have passed. Return the result in a tuple if the work has ended, None if it has
        not."""
        time = asyncio.get_running_loop().time
        deadline = time() + self.seconds
        try:
            while True:
                next(work)
                if time() >= deadline:
                    return None
        except StopIteration as stop:
            return (stop.value,)
