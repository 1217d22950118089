"""What this process knows of the shared counts, and how it divides the limits while Redis does not answer.

While Redis answers, each answer says what all processes have used; what this process has used itself it knows anyway.
When Redis no longer answers, the processes divide what is left: of the requests that still fit into the minute each
takes its part, and the remainder goes to the first of them in the order of their names, so that all parts together are
the limit. Example: `rpm: 100`, three processes, 40 requests counted when Redis went away. 60 are left, each process
starts 20. When the 40 leave the minute, the next 40 are divided in the same way.

Knows: slices (script.py), subjects, how many processes there are. Must not know: connections, scripts, deployments.
Invariants: pure; a part is never more than what is left; what was counted here alone is owed to Redis until it was
sent; at most MAX_SUBJECTS subjects are kept besides those that something runs at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from a2py.shared.script import SLICE_MS, SLICES, Change, Counts, Standing, slice_of
from a2py.shared.subject import PARALLEL, RPM, TPM, Ask, Asks, Refusal

#: Subjects that are kept. Clients' keys are subjects, too.
MAX_SUBJECTS = 1024
#: Milliseconds for which the others' running requests count after Redis has gone: as long as a lease.
OTHERS_MS = 15_000
#: Seconds that a request waits for tokens which running requests hold.
WINDOW_SECONDS = 60.0


class Slices:
    """Requests and tokens by slice. Those that have left the minute are dropped by `trim`."""

    __slots__ = ("_slices",)

    def __init__(self) -> None:
        self._slices: dict[int, list[int]] = {}

    def add(self, slice: int, requests: int, tokens: int) -> None:
        if requests or tokens:
            entry = self._slices.setdefault(slice, [0, 0])
            entry[0] += requests
            entry[1] += tokens

    def trim(self, now: int) -> None:
        oldest = slice_of(now) - SLICES + 1
        for slice in [slice for slice in self._slices if slice < oldest]:
            del self._slices[slice]

    def total(self, now: int, which: int) -> int:
        """Return the requests (`which` 0) or tokens (1) in the minute that ends at `now`."""
        oldest = slice_of(now) - SLICES + 1
        return sum(entry[which] for slice, entry in self._slices.items() if slice >= oldest)

    def items(self) -> Iterator[tuple[int, int, int]]:
        """Yield (slice, requests, tokens)."""
        for slice, (requests, tokens) in self._slices.items():
            yield slice, requests, tokens

    def clear(self) -> None:
        self._slices.clear()

    def __bool__(self) -> bool:
        return bool(self._slices)


class Share:
    """One subject, as this process sees it.

    `own`: what this process has counted; `others`: what the other processes have, as far as Redis has said; `alone`:
    the part of `own` that was counted since Redis ceased to answer; `debt`: the part of `own` that Redis has not been
    told; `running`, `output`: requests and reserved output of this process now; `others_running`, `others_output`."""

    __slots__ = ("alone", "debt", "last", "others", "others_output", "others_running", "output", "own", "running")

    def __init__(self) -> None:
        self.own, self.others, self.alone, self.debt = Slices(), Slices(), Slices(), Slices()
        self.running = self.output = self.others_running = self.others_output = 0
        self.last = 0  # time of the latest use

    def trim(self, now: int) -> None:
        for slices in (self.own, self.others, self.alone, self.debt):
            slices.trim(now)

    @property
    def is_idle(self) -> bool:
        return not (self.running or self.output or self.own or self.debt)


class Mirror:
    """All subjects that this process has asked for. Times are milliseconds of Redis's clock.

    `count`, `rank`: how many processes there are, and how many of their names are before this one's; `alone_since`:
    when Redis ceased to answer, 0 while it answers."""

    def __init__(self) -> None:
        self.shares: dict[str, Share] = {}  # the one used last is last
        self._watched_ids: frozenset[str] = frozenset()
        self.count, self.rank = 1, 0
        self._is_counted = False  # Redis has said how many there are
        self.alone_since = 0

    def assume(self, count: int, rank: int) -> None:
        """There are at least these processes: use that until Redis says how many there are."""
        if not self._is_counted:
            self.count, self.rank = count, rank

    def watch(self, ids: Iterable[str]) -> None:
        """Know what the others use of these subjects, too, which this process has not asked for yet."""
        self._watched_ids = frozenset(islice(ids, MAX_SUBJECTS // 2))
        for id in self._watched_ids:
            self.shares.setdefault(id, Share())

    def share(self, id: str, now: int) -> Share:
        share = self.shares.pop(id, None) or Share()
        self.shares[id] = share
        share.last = now
        if len(self.shares) > MAX_SUBJECTS:
            self._forget_idle(now)
        return share

    def _forget_idle(self, now: int) -> None:
        for id, share in list(self.shares.items())[: len(self.shares) - MAX_SUBJECTS]:
            share.trim(now)
            if share.running or share.output or id in self._watched_ids:
                continue
            del self.shares[id]

    # -- while Redis answers -------------------------------------------------------------------------------------------

    def note_take(self, asks: Asks, now: int, sums: Sequence[tuple[int, int]]) -> None:
        """Note that Redis has counted `asks`. `sums`: requests and tokens of each subject before, of all processes."""
        slice = slice_of(now)
        for ask, (requests, tokens) in zip(asks, sums, strict=False):
            share = self.share(ask.subject.id, now)
            own, others = share.own, share.others
            others.add(
                slice,
                max(0, requests - own.total(now, 0) - others.total(now, 0)),
                max(0, tokens - own.total(now, 1) - others.total(now, 1)),
            )
            self._count(share, ask, slice)

    def _count(self, share: Share, ask: Ask, slice: int) -> tuple[int, int]:
        """Count `ask` as this process's own, and return the requests and tokens of it that a window counts."""
        _, rpm, tpm, parallel = ask.subject
        requests, tokens = int(rpm > 0), ask.input if tpm else 0
        share.own.add(slice, requests, tokens)
        if self.alone_since:
            share.alone.add(slice, requests, tokens)
        share.running += parallel > 0
        share.output += ask.output if tpm else 0
        return requests, tokens

    def note_beat(self, now: int, count: int, rank: int, counts: Mapping[str, Counts]) -> None:
        """Note what all processes have used, and how many there are."""
        self.count, self.rank, self._is_counted = max(1, count), rank, True
        for id, each in counts.items():
            share = self.shares.get(id)
            if share is None:
                continue
            share.others_running, share.others_output = each.running, each.output
            own = {slice: (requests, tokens) for slice, requests, tokens in share.own.items()}
            debt = {slice: (requests, tokens) for slice, requests, tokens in share.debt.items()}
            share.others.clear()
            for slice, requests, tokens in each.slices:
                mine, missing = own.get(slice, (0, 0)), debt.get(slice, (0, 0))
                share.others.add(
                    slice,
                    max(0, requests - mine[0] + missing[0]),
                    max(0, tokens - mine[1] + missing[1]),
                )
        over = [id for id, share in self.shares.items() if self._is_over(share, now)]
        for id in over:
            if id not in self._watched_ids:
                del self.shares[id]

    def _is_over(self, share: Share, now: int) -> bool:
        if now - share.last < SLICE_MS * SLICES:
            return False
        share.trim(now)
        return share.is_idle

    def change(self, id: str, change: Change, now: int, *, is_sent: bool) -> None:
        """Note what a running attempt has changed. `is_sent`: Redis was told."""
        share = self.share(id, now)
        share.running = max(0, share.running + change.running)
        share.output = max(0, share.output + change.output)
        pairs = (
            (change.slice, change.requests, change.tokens),
            (slice_of(now), change.new_requests, change.new_tokens),
        )
        for slice, requests, tokens in pairs:
            share.own.add(slice, requests, tokens)
            if self.alone_since:
                share.alone.add(slice, requests, tokens)
            if not is_sent:
                share.debt.add(slice, requests, tokens)

    # -- while it does not ---------------------------------------------------------------------------------------------

    def begin_alone(self, now: int) -> None:
        """Begin to divide the limits: Redis does not answer."""
        if not self.alone_since:
            self.alone_since = now
            for share in self.shares.values():
                share.alone.clear()

    def end_alone(self) -> None:
        self.alone_since = 0

    def take(self, candidates: Sequence[Asks], now: int) -> tuple[int, list[Refusal]]:
        """Count the first of `candidates` that has room in this process's part, and return its index, or -1 and why
        each has none."""
        refusals: list[Refusal] = []
        for index, asks in enumerate(candidates):
            refusal = self.find_refusal(asks, now)
            if refusal is None:
                self.count_alone(asks, now)
                return index, []
            refusals.append(refusal)
        return -1, refusals

    def count_alone(self, asks: Asks, now: int) -> None:
        """Count `asks` here, and owe it to Redis."""
        slice = slice_of(now)
        for ask in asks:
            share = self.share(ask.subject.id, now)
            requests, tokens = self._count(share, ask, slice)
            share.debt.add(slice, requests, tokens)

    def find_refusal(self, asks: Asks, now: int) -> Refusal | None:
        """Return why this process's part has no room, the reason that lasts longest; None if it has."""
        worst: Refusal | None = None
        for ask in asks:
            for refusal in self._refusals(ask, now):
                if worst is None or refusal.seconds > worst.seconds:
                    worst = refusal
        return worst

    def _refusals(self, ask: Ask, now: int) -> Iterator[Refusal]:
        _, rpm, tpm, parallel = ask.subject
        share = self.shares.get(ask.subject.id) or Share()
        if parallel and not self._has_place(share, parallel, now):
            yield Refusal(ask, PARALLEL, 0.0)
        if rpm and share.alone.total(now, 0) + 1 > self._part(share, rpm, 0, now):
            yield Refusal(ask, RPM, self._wait(share, rpm, 0, 1, now))
        if tpm:
            tokens = ask.input + ask.output + share.output
            if share.alone.total(now, 1) + tokens > self._part(share, tpm, 1, now):
                seconds = math.inf if ask.input > tpm else self._wait(share, tpm, 1, tokens, now)
                yield Refusal(ask, TPM, seconds)

    def _has_place(self, share: Share, parallel: int, now: int) -> bool:
        """Return whether one more request may run: within this process's part and, until the others' leases would have
        ended, within what they have left."""
        if share.running >= self._divide(parallel):
            return False
        others = share.others_running if now - self.alone_since < OTHERS_MS else 0
        return share.running + others < parallel

    def _divide(self, limit: int) -> int:
        part, rest = divmod(max(0, limit), self.count)
        return part + (self.rank < rest)

    def _part(self, share: Share, limit: int, which: int, now: int) -> int:
        """Return how much of `limit` this process may use in the minute that ends at `now`, besides what was counted
        while Redis answered."""
        before = share.own.total(now, which) - share.alone.total(now, which)
        rest = limit - share.others.total(now, which) - before
        if which and now - self.alone_since < OTHERS_MS:
            rest -= share.others_output
        return self._divide(rest)

    def _wait(self, share: Share, limit: int, which: int, amount: int, now: int) -> float:
        """Return the seconds until this process's part has room for `amount` more, if nothing else starts."""
        for ahead in range(1, SLICES + 1):
            later = (slice_of(now) + ahead) * SLICE_MS
            if share.alone.total(later, which) + amount <= self._part(share, limit, which, later):
                return (later - now) / 1000
        return WINDOW_SECONDS

    # -- what Redis is told afterwards ---------------------------------------------------------------------------------

    def standings(self, now: int, *, is_all: bool = False) -> dict[str, Standing]:
        """Return what JOIN writes. `is_all`: Redis has lost what it had, so everything is counted again."""
        out = {}
        for id, share in self.shares.items():
            share.trim(now)
            slices = tuple((share.own if is_all else share.debt).items())
            if slices or share.running or share.output:
                out[id] = Standing(share.running, share.output, slices)
        return out

    def forget_debt(self) -> None:
        """Redis is being told everything."""
        for share in self.shares.values():
            share.debt.clear()

    def owe(self, standings: Mapping[str, Standing]) -> None:
        """Owe `standings` again: it is not known whether Redis has been told."""
        for id, standing in standings.items():
            if id in self.shares:
                for each in standing.slices:
                    self.shares[id].debt.add(*each)
