"""Run a2py so that a signal makes it count its objects: `python -m bench.census FILE ARGUMENT…` runs `a2py ARGUMENT…`.

    SIGUSR1  appends a line to FILE: objects that the garbage collector tracks, what it has collected so far, how long it took
    SIGUSR2  the same, and what a full collection finds now, by type

Knows: gc. Must not know: a2py's inside.
Invariants: nothing happens but at a signal, except that each collection is timed (some 0.3 µs).
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections import Counter
from types import FrameType
from typing import Any

#: How many types a line lists, the most frequent first.
TYPES = 15


class Census:
    """Counts the objects of this process at each SIGUSR1 and SIGUSR2, and times each garbage collection."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._began = 0.0
        self._was_asked = False
        self._pauses: list[float] = [0.0, 0.0]  # all of them together, and the longest; seconds
        gc.callbacks.append(self._on_collection)
        signal.signal(signal.SIGUSR1, self._on_signal)
        signal.signal(signal.SIGUSR2, self._on_signal)

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            pause = time.perf_counter() - self._began
            self._pauses[0] += pause
            self._pauses[1] = max(self._pauses[1], pause)

    def _on_signal(self, number: int, frame: Any) -> None:
        if not self._was_asked:  # leave out the collections of the start
            self._was_asked = True
            self._pauses = [0.0, 0.0]
        stats = gc.get_stats()
        line: dict[str, Any] = {
            "objects": len(gc.get_objects()),
            "collections": [row["collections"] for row in stats],
            "collected": sum(row["collected"] for row in stats),
            "pause_ms": round(self._pauses[0] * 1000, 2),
            "longest_ms": round(self._pauses[1] * 1000, 2),
        }
        if number == signal.SIGUSR2:
            line |= self._collect_all()
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _collect_all(self) -> dict[str, Any]:
        """Return what a full collection finds, by type and by frame."""
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        codes = [thing.f_code for thing in gc.garbage if isinstance(thing, FrameType)]
        frames = Counter(f"{'/'.join(code.co_filename.split('/')[-2:])}:{code.co_name}" for code in codes)
        counts = names(gc.garbage)
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()
        return {
            "found": sum(counts.values()),
            "types": dict(counts.most_common(TYPES)),
            "frames": dict(frames.most_common(TYPES)),
            "alive": dict(names(gc.get_objects()).most_common(TYPES)),
        }


def names(things: list[Any]) -> Counter[str]:
    return Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in things)


if __name__ == "__main__":
    Census(os.path.abspath(sys.argv.pop(1)))
    from a2py.cli import main

    sys.exit(main())
