"""Long work in slices, so that the event loop can do something else in between.

Knows: generators. Must not know: asyncio, clocks, what the work is.
Invariants: a yield carries no value; the result does not depend on when the work is resumed.

Why: the core is synchronous, and a request of 32 MB with 100,000 messages needs a second of it. A function that may
take long is a generator: it yields after each slice (some hundred list items, or a megabyte) and returns its result at
the end. The proxy resumes it from the event loop (proxy/pace.py). Everybody else calls `at_once`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Slices = Generator[None, None, T]

#: List items (messages, blocks, tools) and bytes of one slice: 1 to 5 ms on a slow core.
ITEMS, BYTES = 500, 1024 * 1024


def at_once(work: Slices[T]) -> T:
    """Run `work` to its end and return its result."""
    try:
        while True:
            next(work)
    except StopIteration as stop:
        result: T = stop.value
        return result
