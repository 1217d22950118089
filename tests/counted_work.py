"""Count the work of a call, so that a test can tell linear from quadratic without a clock.

`work(run)` is a number that depends on what the code does, not on how fast the machine is. It adds up

- lines of Python that run, and calls of Python and C functions (sys.settrace, sys.setprofile),
- the length of the text, bytes or list whose method may look at all of it (LOOKS),
- the bytes that are allocated in a line (tracemalloc): slices and concatenations copy.

It does not see the steps of a regular expression, nor `x in a_list`. Texts of errors, which patterns read, are cut to
LONG characters before.

Knows: how CPython reports what it runs. Must not know: what is measured.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

#: So many bytes of a copy, or characters of a search, are as much work as one line.
UNIT = 64
#: Methods that may look at all of what they belong to.
LOOKS = frozenset(
    [
        "count",
        "find",
        "index",
        "insert",
        "lower",
        "lstrip",
        "partition",
        "remove",
        "replace",
        "rfind",
        "rindex",
        "rpartition",
        "rsplit",
        "rstrip",
        "sort",
        "split",
        "splitlines",
        "strip",
        "translate",
        "upper",
    ]
)


class _Counter:
    def __init__(self) -> None:
        self.steps = self.sizes = self.allocated = 0
        self._held = tracemalloc.get_traced_memory()[0]

    def _look(self) -> None:
        held, peak = tracemalloc.get_traced_memory()
        self.allocated += max(peak - self._held, 0)
        self._held = held
        tracemalloc.reset_peak()

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        self.steps += 1
        self._look()
        return self.trace

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event != "c_call":
            return
        self.steps += 1
        owner = getattr(arg, "__self__", None)
        if isinstance(owner, str | bytes | bytearray | list) and arg.__name__ in LOOKS:
            self.sizes += len(owner)


def work(run: Callable[[], Any]) -> int:
    """Return how much work a call does. It is called twice; the first time fills caches and is not counted."""
    run()
    collects, before = gc.isenabled(), sys.gettrace()
    gc.disable()
    tracemalloc.start(1)
    counter = _Counter()
    sys.setprofile(counter.profile)
    sys.settrace(counter.trace)
    try:
        run()
    finally:
        sys.settrace(before)
        sys.setprofile(None)
        tracemalloc.stop()
        if collects:
            gc.enable()
    return counter.steps + (counter.sizes + counter.allocated) // UNIT
