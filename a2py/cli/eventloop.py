"""Run a command's coroutine: on uvloop if it is installed, with a garbage collector that leaves streams alone.

Knows: asyncio, uvloop, gc. Must not know: what runs.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

#: New objects after which the garbage collector looks for cycles. From 5,000 on, eight concurrent requests of 100 KB
#: need no collection; at 2,000, collections take 52 µs of each request (bench/NOTES.md). Requests leave no cycles
#: (tests/whole/test_relay_garbage.py). A closed TLS connection does until Python 3.11: asyncio leaves one of 7 objects
#: and 1 to 2 KB. With 10,000, at most some 2 MB of them wait for a collection.
COLLECT_AFTER = 10_000


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` like asyncio.run, on uvloop if it is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def settle() -> None:
    """Hide all objects of the start from the garbage collector, and let it run after COLLECT_AFTER objects instead of
    700.

    Without this, a collection walks through every imported module in the middle of a stream."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
