"""How one request waits for a place, and what it gets if there is none in time.

Knows: the line (line.py), its settings, the words of its errors. Must not know: which deployment comes next
(router.py).
Invariants: all waits of one request together last at most `a2py: queue: seconds`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.proxy.asker import Asker
from a2py.proxy.limits import ROOM_SECONDS
from a2py.proxy.line import Choose, Line, LineFull, TooLate
from a2py.proxy.places import Place


class Full(ApiError):
    """All places of `deployments` are taken, and only that keeps a request from them: it may wait for one. `subject`:
    the model, and which limits are reached."""

    def __init__(self, error: ApiError, deployments: tuple[Deployment, ...], subject: str) -> None:
        super().__init__(error.kind, error.message, retry_after=error.retry_after)
        self.deployments = deployments
        self.subject = subject


class Waiting:
    """`place`: where the request began to wait, 1 is the next, 0 if it has not waited; `seconds`: how long it has
    waited; `end`: `served`, `full`, `late` or `left`."""

    __slots__ = ("_asker", "_line", "_settings", "end", "place", "seconds")

    def __init__(self, line: Line, settings: Any, asker: Asker) -> None:
        self._line = line
        self._settings = settings
        self._asker = asker
        self.place = 0
        self.seconds = 0.0
        self.end = ""

    async def wait(self, full: Full, choose: Choose, on_join: Callable[[int], None]) -> Place | ApiError:
        """Return a place at one of the deployments of `full`, or the error if there is none in time.

        `choose`: which of those that have a place to take; `on_join`: called with `place`."""
        settings, loop = self._settings, asyncio.get_running_loop()

        def note_join(place: int) -> None:
            self.place = self.place or place
            on_join(self.place)

        start = loop.time()
        self.end = "left"
        try:
            place = await self._line.wait(
                full.deployments,
                self._asker,
                choose,
                length=settings.queue_length,
                seconds=max(0.0, settings.queue_seconds - self.seconds),
                on_join=note_join,
            )
        except LineFull:
            self.end = "full"
            return self._error(full, 1, f"its line is full ({settings.queue_length} requests wait)")
        except TooLate as late:
            self.end = "late"
            reason = f"the request has waited {settings.queue_seconds:g} s, at last at place {late.place} of the line"
            return self._error(full, late.place, reason)
        finally:
            self.seconds += loop.time() - start
        self.end = "served"
        return place

    def _error(self, full: Full, place: int, reason: str) -> ApiError:
        """Return the error for a request that gets no place. `place`: in the line."""
        seconds = math.ceil(max(ROOM_SECONDS, self._line.places.estimate_wait(full.deployments, place)))
        return ApiError(
            "rate_limit",
            f"{full.subject} is full, and {reason}. Ask again in {seconds} s, or change `a2py: queue` or the limit.",
            retry_after=seconds,
        )
