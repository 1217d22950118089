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
    """Functions for sys.settrace and sys.setprofile, and what they have counted. They run for each line, so they are
    closures, and call as little as they can."""

    def __init__(self) -> None:
        steps = sizes = allocations = 0
        memory, reset_peak = tracemalloc.get_traced_memory, tracemalloc.reset_peak
        current = memory()[0]

        def trace(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal steps, allocations, current
            steps += 1
            before = current
            current, peak = memory()
            if peak > before:
                allocations += peak - before
            reset_peak()
            return trace

        def profile(frame: FrameType, event: str, arg: Any) -> None:
            nonlocal steps, sizes
            if event == "c_call":
                steps += 1
                if arg.__name__ in LOOKS:
                    owner = getattr(arg, "__self__", None)
                    if isinstance(owner, (str, bytes, bytearray, list)):
                        sizes += len(owner)

        self.trace, self.profile = trace, profile
        self.total: Callable[[], int] = lambda: steps + (sizes + allocations) // UNIT


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
    return counter.total()
