"""Limits of deployments: requests a minute, tokens a minute, requests at a time.

Knows: rpm, tpm and max_parallel of a deployment, and what its running and its recent attempts count for.
Must not know: what happens when a limit is reached (router), how tokens are counted (relay).
Invariants:
- in no WINDOW seconds do more than rpm attempts start;
- an attempt starts only if what all attempts of the window use or have reserved, its own share included, is at most tpm;
- every `Reservation` is settled exactly once, however its attempt ends;
- memory is bounded: at most 2 * EXACT + 1 entries a window, USUAL_MODELS models.

How tokens count. An attempt reserves its input (counted by the proxy) and an output: the smaller of the request's `max_tokens` and the
model's usual output. `max_tokens` alone would be far too much: Claude Code asks for 32,000 to 128,000 and gets some hundreds. Input counts
for WINDOW seconds from the start of the attempt, because an upstream reads it at once. Output counts from the start until WINDOW seconds
after the end, because it arrives in between. At the end the real numbers replace the reserved ones. Example with `tpm: 10000`:

    0 s   an attempt starts: 2,000 input, 4,096 output reserved   → 6,096 used
    20 s  it ends with 2,100 input and 500 output                 → 2,600 used
    60 s  its input leaves the window                             → 500 used
    80 s  so does its output                                      → 0 used
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from a2py.deployment import Deployment

#: Seconds of "a minute" in rpm and tpm.
WINDOW = 60.0
#: Entries of a window that keep their exact time.
EXACT = 1024
#: Output tokens that a model is taken to give before its first reply has ended.
FIRST_OUTPUT = 4096
#: Weight of one more reply in a model's usual output, which is a running mean.
OUTPUT_WEIGHT = 1 / 8
#: Models whose usual output is remembered. A wildcard deployment may have any number of them.
USUAL_MODELS = 256


class _Entry:
    """What was added between `first` and `last`, in seconds of the clock."""

    __slots__ = ("amount", "first", "last")

    def __init__(self, now: float, amount: int) -> None:
        self.first = self.last = now
        self.amount = amount


class RateWindow:
    """The sum of what was added in the last WINDOW seconds.

    Up to `exact` amounts have an entry each, and the sum is exact. Beyond that, an amount that comes within a grain (WINDOW / `exact`
    seconds) of the newest entry's first is added to that entry, and all of the entry leaves with its last amount. The sum is then too high
    for at most a grain, and never too low. So `rpm: 6000` counts in grains of 59 ms once 1,024 requests are in the window."""

    __slots__ = ("_entries", "_exact", "_grain", "_sum")

    def __init__(self, exact: int = EXACT) -> None:
        self._entries: deque[_Entry] = deque()
        self._exact = exact
        self._grain = WINDOW / exact
        self._sum = 0

    def add(self, now: float, amount: int) -> _Entry:
        """Add `amount`; return the entry for `correct`."""
        self._forget(now)
        entries = self._entries
        self._sum += amount
        if len(entries) >= self._exact and now - entries[-1].first < self._grain:
            entry = entries[-1]
            entry.last = now
            entry.amount += amount
        else:
            entry = _Entry(now, amount)
            entries.append(entry)
        return entry

    def correct(self, now: float, entry: _Entry, by: int) -> None:
        """Change what was added with `entry` by `by`. An entry that has left the window counts for nothing, and stays out."""
        self._forget(now)
        if now - entry.last < WINDOW:
            entry.amount += by
            self._sum += by

    def total(self, now: float) -> int:
        self._forget(now)
        return self._sum

    def wait(self, now: float, most: int) -> float:
        """Seconds until the sum is at most `most` if nothing is added; infinite if that is below 0."""
        rest = self.total(now)
        if rest <= most:
            return 0.0
        for entry in self._entries:
            rest -= entry.amount
            if rest <= most:
                return entry.last + WINDOW - now
        return math.inf

    def _forget(self, now: float) -> None:
        entries = self._entries
        while entries and now - entries[0].last >= WINDOW:
            self._sum -= entries.popleft().amount

    @property
    def entries(self) -> int:
        """How many entries it keeps."""
        return len(self._entries)


class Demand(Protocol):
    """What one request asks of a token limit."""

    @property
    def max_tokens(self) -> int: ...

    def input_tokens(self, model: str) -> int:
        """Input tokens for the upstream's `model`. Called only for deployments with `tpm`: counting takes time."""


class Tokens(NamedTuple):
    """A demand whose numbers are known."""

    input: int = 0
    max_tokens: int = 0

    def input_tokens(self, model: str) -> int:
        return self.input


class Shortage(NamedTuple):
    """Why an attempt may not start. `limit`: the setting and its value, `rpm 2`; `seconds`: when there is room again if nothing else
    starts; 0: whenever a running request ends; infinite: never, the request alone is larger than the limit (`tokens`)."""

    limit: str
    seconds: float
    tokens: int = 0


class Used(NamedTuple):
    """What counts towards the limits of one deployment now: attempts that started, tokens used or reserved, and how many of those tokens
    running attempts hold for their output."""

    requests: int
    tokens: int
    held: int


class _Usage:
    """What counts towards rpm and tpm of one deployment. `held`: output tokens that running attempts have reserved."""

    __slots__ = ("held", "starts", "tokens")

    def __init__(self) -> None:
        self.starts = RateWindow()
        self.tokens = RateWindow()
        self.held = 0

    def used(self, now: float) -> Used:
        return Used(self.starts.total(now), self.tokens.total(now) + self.held, self.held)


class Reservation:
    """The place of one running attempt in its deployment's limits. `input`, `output`: tokens reserved, 0 without `tpm`."""

    __slots__ = ("_deployment", "_entry", "_limits", "_running", "_usage", "input", "output")

    def __init__(self, limits: Limits, deployment: Deployment, usage: _Usage | None, input: int, output: int, entry: _Entry | None) -> None:
        self._limits = limits
        self._deployment = deployment
        self._usage = usage
        self._entry = entry
        self._running = True
        self.input = input
        self.output = output

    def settle(self, input: int, output: int, *, complete: bool = False) -> None:
        """End the attempt. The real token counts replace the reserved ones. `complete`: the reply ended by itself, so that `output` is
        what this model gives. Only the first call counts."""
        if not self._running:
            return
        self._running = False
        self._limits._ended(self._deployment)
        if self._usage is not None and self._entry is not None:
            now = self._limits.clock()
            self._usage.held -= self.output
            self._usage.tokens.correct(now, self._entry, input - self.input)
            if output:
                self._usage.tokens.add(now, output)
            if complete:
                self._limits.observe(self._deployment, output)


class Limits:
    """`clock`: monotonic seconds; `running`: deployment id → attempts that run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.running: dict[str, int] = {}
        self._usages: dict[str, _Usage] = {}
        self._usual: dict[tuple[str, str], float] = {}  # (deployment id, upstream model) → usual output; the latest used last

    def shortage(self, deployment: Deployment, demand: Demand) -> Shortage | None:
        """Why `deployment` has no room for `demand` now; None: it has. Of several limits, the one that takes longest."""
        found = None
        parallel = deployment.max_parallel
        if parallel and self.running.get(deployment.id, 0) >= parallel:
            found = Shortage(f"max_parallel_requests {parallel}", 0.0)
        if not (deployment.rpm or deployment.tpm):
            return found
        usage = self._usages.get(deployment.id) or _Usage()
        now = self.clock()
        if deployment.rpm:
            wait = usage.starts.wait(now, deployment.rpm - 1)
            if wait and (found is None or wait > found.seconds):
                found = Shortage(f"rpm {deployment.rpm}", wait)
        if deployment.tpm:
            input, output = self.tokens(deployment, demand)
            wait = usage.tokens.wait(now, deployment.tpm - usage.held - input - output)
            if wait == math.inf and input <= deployment.tpm:
                wait = WINDOW  # running attempts hold the rest: what they use leaves the window that long after their end
            if wait and (found is None or wait > found.seconds):
                found = Shortage(f"tpm {deployment.tpm}", wait, input + output)
        return found

    def tokens(self, deployment: Deployment, demand: Demand) -> tuple[int, int]:
        """Input and output tokens that an attempt reserves. The output is a guess, so it may take what the input leaves of tpm: a request
        that fits is never shut out by it."""
        input = demand.input_tokens(deployment.model)
        output = min(demand.max_tokens, deployment.max_output_tokens or demand.max_tokens, self.usual_output(deployment))
        return input, max(0, min(output, deployment.tpm - input))

    def usual_output(self, deployment: Deployment) -> int:
        """Output tokens that the deployment's model usually gives."""
        return math.ceil(self._usual.get((deployment.id, deployment.model), FIRST_OUTPUT))

    def observe(self, deployment: Deployment, output: int) -> None:
        """Let a complete reply of `output` tokens count in the model's usual output."""
        key = (deployment.id, deployment.model)
        usual = self._usual.pop(key, FIRST_OUTPUT)
        self._usual[key] = usual + (output - usual) * OUTPUT_WEIGHT
        if len(self._usual) > USUAL_MODELS:
            del self._usual[next(iter(self._usual))]

    def reserve(self, deployment: Deployment, demand: Demand) -> Reservation | None:
        """Start an attempt now; None: there is no room. The caller settles the reservation in every way out."""
        if self.shortage(deployment, demand) is not None:
            return None
        id = deployment.id
        self.running[id] = self.running.get(id, 0) + 1
        if not (deployment.rpm or deployment.tpm):
            return Reservation(self, deployment, None, 0, 0, None)
        now = self.clock()
        usage = self._usages.get(id)
        if usage is None:
            usage = self._usages[id] = _Usage()
        if deployment.rpm:
            usage.starts.add(now, 1)
        if not deployment.tpm:
            return Reservation(self, deployment, usage, 0, 0, None)
        input, output = self.tokens(deployment, demand)
        usage.held += output
        return Reservation(self, deployment, usage, input, output, usage.tokens.add(now, input))

    def used(self) -> dict[str, Used]:
        """Deployment id → what counts now, of those that have a limit and were asked."""
        now = self.clock()
        return {id: usage.used(now) for id, usage in self._usages.items()}

    def _ended(self, deployment: Deployment) -> None:
        id = deployment.id
        self.running[id] -= 1
        if not self.running[id]:
            del self.running[id]

    def keep(self, ids: Iterable[str]) -> None:
        """Forget what deployments other than `ids` have used, once it counts for nothing."""
        known = set(ids)
        for id, used in self.used().items():
            if id not in known and not any(used):
                del self._usages[id]
