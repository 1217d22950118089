"""The part of a configured limit that one of several processes may use.

Without a place where all can count (Redis), the workers of one parent divide each limit: `rpm: 10` over four workers is
3, 3, 2 and 2. The parts add up to the limit. A limit that is smaller than the number of workers can't be divided: each
worker then uses 1, because a worker without any part would refuse all its clients.

Knows: numbers. Must not know: what is limited, who the others are.
Invariants: 0 is no limit, and stays so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """The part of process `number` (from 0) of `count` that are alike."""

    number: int = 0
    count: int = 1

    def part(self, limit: int) -> int:
        """Return how much of `limit` this process may use."""
        if self.count == 1 or not limit:
            return limit
        return max(1, limit // self.count + (self.number < limit % self.count))

    def describe(self, setting: str, limit: int) -> str:
        """Return a limit for messages, for example `rpm 10`."""
        if self.count == 1:
            return f"{setting} {limit}"
        return f"{setting} {limit} [{self.part(limit)} in this worker]"


#: The only process.
WHOLE = Share()
