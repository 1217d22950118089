"""What one attempt was granted, and how it is ended.

Knows: what is counted for an attempt, and what its end changes. Must not know: Redis.
Invariants: a grant is ended once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from a2py.shared.script import Change
from a2py.shared.subject import Ask, Asks, Refusal


class Counter(Protocol):
    def change(self, changes: Mapping[str, Change], since: int) -> None:
        """Change what counts at subjects, by id. `since`: see `Grant`."""


class Grant:
    """What one attempt counts for. `slice`: where it was counted; `since`: the first number of the process's name under
    which Redis has it."""

    __slots__ = ("_asks", "_counter", "_is_open", "since", "slice")

    def __init__(self, counter: Counter, asks: Asks, slice: int, since: int) -> None:
        self._counter = counter
        self._asks = asks
        self._is_open = True
        self.slice = slice
        self.since = since

    def settle(self, input: int, output: int) -> None:
        """End the attempt, and count its real tokens. Only the first call of `settle` and `cancel` counts."""
        self._end(lambda ask: (0, input - ask.input, output) if ask.subject.tpm else (0, 0, 0))

    def cancel(self) -> None:
        """Take the attempt back, because nothing was sent."""
        self._end(take_back)

    def count_hop(self) -> None:
        """Count one more request of the running attempt."""
        changes = {ask.subject.id: Change(new_requests=1) for ask in self._asks if ask.subject.rpm}
        if changes:
            self._counter.change(changes, self.since)

    def _end(self, count: Callable[[Ask], tuple[int, int, int]]) -> None:
        if self._is_open:
            self._is_open = False
            changes = end_changes(self._asks, self.slice, count)
            if changes:
                self._counter.change(changes, self.since)


def take_back(ask: Ask) -> tuple[int, int, int]:
    """Return what an attempt adds that has sent nothing: less than nothing, see `end_changes`."""
    return -int(ask.subject.rpm > 0), -ask.input if ask.subject.tpm else 0, 0


def end_changes(asks: Asks, slice: int, count: Callable[[Ask], tuple[int, int, int]]) -> dict[str, Change]:
    """Return the changes at the end of an attempt, without those that change nothing. `count`: (requests and tokens to
    add in `slice`, tokens to add now) of an ask."""
    changes: dict[str, Change] = {}
    for ask in asks:
        requests, tokens, new_tokens = count(ask)
        running, output = -int(ask.subject.parallel > 0), -ask.output if ask.subject.tpm else 0
        if running or output or requests or tokens or new_tokens:
            changes[ask.subject.id] = Change(running, output, slice, requests, tokens, 0, new_tokens)
    return changes


class Verdict(NamedTuple):
    """`choice`: index of the candidate that is granted, -1 if none is; `refusals`: why none has room."""

    choice: int
    grant: Grant | None = None
    refusals: Sequence[Refusal] = ()
