"""Limits of deployments: requests a minute and tokens a minute, beside the requests at a time (places.py).

Knows: rpm and tpm of a deployment, and what its running and its recent attempts count for.
Must not know: what happens when a limit is reached (router), how tokens are counted (sizes).
Invariants:
- in no WINDOW seconds do more than rpm attempts start; the further hops of a reply with searches count, but start in
  any case;
- an attempt starts only if what all attempts of the window use or have reserved, its own share included, is at most
tpm;
- every `Reservation` is settled exactly once, however its attempt ends;
- of several processes each keeps to its part of every limit (share.py);
- memory is bounded: at most 2 * EXACT + 1 entries a window, USUAL_MODELS models.

How tokens count. An attempt reserves its input (counted by the proxy) and an output: the smaller of the request's
`max_tokens` and the model's usual output. `max_tokens` alone would be far too much: Claude Code asks for 32,000 to
128,000 and gets some hundreds. Input counts for WINDOW seconds from the start of the attempt, because an upstream reads
it at once. Output counts from the start until WINDOW seconds after the end, because it arrives in between. At the end
the real numbers replace the reserved ones. Example with `tpm: 10000`:

    0 s   an attempt starts: 2,000 input, 4,096 output reserved   → 6,096 used
    20 s  it ends with 2,100 input and 500 output                 → 2,600 used
    60 s  its input leaves the window                             → 500 used
    80 s  so does its output                                      → 0 used

A request whose input is larger than this process's part of `tpm`, but not than all of it, starts once nothing else
counts. Otherwise no process would ever take it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.proxy.places import Place, Places
from a2py.proxy.share import WHOLE, Share

#: Seconds of "a minute" in rpm and tpm.
WINDOW = 60.0
#: How many entries of a window keep their exact time.
EXACT = 1024
#: The usual output of a model before its first reply has ended, in tokens.
FIRST_OUTPUT = 4096
#: Weight of one more reply in a model's usual output, which is a running mean.
OUTPUT_WEIGHT = 1 / 8
#: Models whose usual output is remembered. With a wildcard, clients choose the names.
USUAL_MODELS = 256
#: Seconds after which a request may ask again for a place. One may be free at any moment.
ROOM_SECONDS = 1.0
#: How many limits an error names.
MAX_NAMED = 3


class _Entry:
    """An amount that was added between `first` and `last` (times of the clock)."""

    __slots__ = ("amount", "first", "last")

    def __init__(self, now: float, amount: int) -> None:
        self.first = self.last = now
        self.amount = amount


class RateWindow:
    """The sum of what was added in the last WINDOW seconds.

    Up to `exact` amounts have an entry each, and the sum is exact. If there are more, an amount that comes within a
    grain (WINDOW / `exact` seconds) after the beginning of the newest entry is added to that entry. All of an entry
    leaves the window with its last amount, so the sum is too high for at most a grain, and never too low. Example:
    `rpm: 6000` counts in grains of 59 ms once 1,024 requests are in the window."""

    __slots__ = ("_entries", "_exact", "_grain", "_sum")

    def __init__(self, exact: int = EXACT) -> None:
        self._entries: deque[_Entry] = deque()
        self._exact = exact
        self._grain = WINDOW / exact
        self._sum = 0

    def add(self, now: float, amount: int) -> _Entry:
        """Add `amount`; return the entry for `correct`."""
        self._drop_old(now)
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
        """Change what was added with `entry` by `by`. If the entry has left the window, nothing happens."""
        self._drop_old(now)
        if now - entry.last < WINDOW:
            entry.amount += by
            self._sum += by

    def slices(self, now: float, count: int) -> list[list[float]]:
        """Return [seconds ago, amount] of each of `count` parts of the window that has any, the oldest first. All of a
        part is as young as its youngest entry."""
        self._drop_old(now)
        parts: dict[int, list[float]] = {}
        for entry in self._entries:
            age = now - entry.last
            part = parts.setdefault(int(age * count / WINDOW), [age, 0])
            part[0] = min(part[0], age)
            part[1] += entry.amount
        return list(parts.values())

    def total(self, now: float) -> int:
        """Return the sum."""
        self._drop_old(now)
        return self._sum

    def seconds_until(self, now: float, most: int) -> float:
        """Return the seconds until the sum is at most `most`, if nothing is added; infinite if `most` is below 0."""
        rest = self.total(now)
        if rest <= most:
            return 0.0
        for entry in self._entries:
            rest -= entry.amount
            if rest <= most:
                return entry.last + WINDOW - now
        return math.inf

    def _drop_old(self, now: float) -> None:
        entries = self._entries
        while entries and now - entries[0].last >= WINDOW:
            self._sum -= entries.popleft().amount

    @property
    def entries(self) -> int:
        """How many entries are kept."""
        return len(self._entries)


class Demand(Protocol):
    """What one request needs of a token limit."""

    @property
    def max_tokens(self) -> int: ...

    def input_tokens(self, model: str) -> int:
        """Return the input tokens for the upstream's `model`. Called only for deployments with `tpm`, because counting
        takes time."""


class Tokens(NamedTuple):
    """A demand whose numbers are known."""

    input: int = 0
    max_tokens: int = 0

    def input_tokens(self, model: str) -> int:
        return self.input


class Shortage(NamedTuple):
    """Why an attempt may not start.

    `limit`: the setting and its value, for example `rpm 2`; `seconds`: until there is room again, if nothing else
    starts (0: whenever a running request ends; infinite: never, because the request alone, of `tokens`, is larger than
    the limit); `subject`: what the limit is about, "" for the deployment."""

    limit: str
    seconds: float
    tokens: int = 0
    subject: str = ""


class Use(NamedTuple):
    """What counts towards the limits of one deployment now. `/health` shows these names.

    `requests`: attempts that started; `tokens`: used or reserved; `held`: how many of these running attempts have
    reserved for output."""

    requests: int
    tokens: int
    held: int


class _Counters:
    """What counts towards rpm and tpm of one deployment.

    `starts`: one for each attempt; `tokens`: input of all attempts, and output of those that have ended; `output`: what
    running attempts have reserved for it. It is not in the window, because it counts until the attempt ends, however
    long that takes."""

    __slots__ = ("output", "starts", "tokens")

    def __init__(self) -> None:
        self.starts = RateWindow()
        self.tokens = RateWindow()
        self.output = 0

    def use(self, now: float) -> Use:
        return Use(self.starts.total(now), self.tokens.total(now) + self.output, self.output)


class SharedGrant(Protocol):
    """What an attempt counts for in limits that other processes share."""

    def settle(self, input: int, output: int) -> None:
        """End the attempt. Real tokens replace the reserved ones."""

    def cancel(self) -> None:
        """Take the attempt back, because nothing was sent. Nothing happens if it was settled."""

    def count_hop(self) -> None:
        """Count one more request of the attempt."""


class Reservation:
    """What one running attempt counts for in its deployment's limits. `place`: its place, if it ends with the attempt;
    `input`, `output`: tokens reserved, 0 without `tpm`; `grant`: what it counts for in shared limits."""

    __slots__ = ("_counters", "_deployment", "_entry", "_is_running", "_limits", "_place", "grant", "input", "output")

    def __init__(
        self,
        limits: Limits,
        deployment: Deployment,
        place: Place | None,
        counters: _Counters | None = None,
        input: int = 0,
        output: int = 0,
        entry: _Entry | None = None,
    ) -> None:
        self._limits = limits
        self._deployment = deployment
        self._place = place
        self._counters = counters
        self._entry = entry
        self._is_running = True
        self.grant: SharedGrant | None = None
        self.input = input
        self.output = output

    def count_hop(self) -> None:
        """Count one more request of the running attempt in rpm. It starts even where there is no room: its reply is
        under way, and the next attempt waits for it."""
        if self._counters is not None and self._deployment.rpm:
            self._counters.starts.add(self._limits.clock(), 1)
            self._limits.note_use(self._deployment)
            if self.grant is not None:
                self.grant.count_hop()

    def settle(self, input: int, output: int, *, complete: bool = False) -> None:
        """End the attempt, and replace the reserved tokens by the real ones. Only the first call counts.

        `complete`: the reply ended by itself, so that `output` is what this model usually gives."""
        if not self._is_running:
            return
        self._is_running = False
        if self._place is not None:
            self._place.release()
        if self.grant is not None:
            self.grant.settle(input, output)
        counters = self._counters
        if counters is not None and self._entry is not None:
            now = self._limits.clock()
            counters.output -= self.output
            counters.tokens.correct(now, self._entry, input - self.input)
            if output:
                counters.tokens.add(now, output)
            self._limits.note_use(self._deployment)
            if complete:
                self._limits.observe(self._deployment, output)


def fit_output(output: int, room: int) -> int:
    """Return a likely `output`, at most the `room` that the input leaves of tpm: it keeps out nothing that fits."""
    return max(0, min(output, room))


def wait_for_tokens(window: RateWindow, now: float, reserved_output: int, tpm: int, part: int, tokens: Tokens) -> float:
    """Return the seconds until `tokens` can be reserved: 0 for now, infinite for never. `window`: what counts;
    `reserved_output`: of running requests; `part`: this process's, of `tpm`."""
    is_large = part < tokens.input <= tpm  # no process would ever take it
    room = -reserved_output if is_large else part - reserved_output - tokens.input - tokens.max_tokens
    seconds = window.seconds_until(now, room)
    # Running requests hold the rest. What they use leaves the window that long after their end.
    return WINDOW if seconds == math.inf and tokens.input <= tpm else seconds


class Limits:
    """`clock`: monotonic seconds; `places`: the requests that run now; `share`: the part of each limit that is this
    process's; `report_use`: called with the id of a deployment of which more counts, for other processes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.share = WHOLE
        self.report_use: Callable[[str], object] | None = None
        self.places = Places(clock)
        self._counters: dict[str, _Counters] = {}
        # (deployment id, upstream model) → usual output; the one used last is last
        self._usual: dict[tuple[str, str], float] = {}

    def divide(self, share: Share) -> None:
        """Use only this process's part of each limit from now on."""
        self.share = self.places.share = share

    @property
    def running(self) -> dict[str, int]:
        """Deployment id → requests that run there now."""
        return self.places.running()

    def find_shortage(self, deployment: Deployment, demand: Demand, own_place: Place | None = None) -> Shortage | None:
        """Return why `deployment` has no room for `demand` now, or None if it has. Of several reasons, return the one
        that lasts longest. `own_place`: the place that the request has already."""
        bound = self.places.find_limit(deployment, own_place)
        shortage = None if bound is None else Shortage(bound.label, 0.0, subject=bound.subject)
        if not (deployment.rpm or deployment.tpm):
            return shortage  # most deployments have no limits, and this is asked for every attempt
        counters = self._counters.get(deployment.id) or _Counters()
        for other in self._find_rate_shortages(deployment, counters, demand):
            if shortage is None or other.seconds > shortage.seconds:
                shortage = other
        return shortage

    def _find_rate_shortages(self, deployment: Deployment, counters: _Counters, demand: Demand) -> Iterator[Shortage]:
        """Yield a shortage of rpm and one of tpm, if there are any."""
        now, share = self.clock(), self.share
        if deployment.rpm:
            seconds = counters.starts.seconds_until(now, share.part(deployment.rpm) - 1)
            if seconds:
                yield Shortage(share.describe("rpm", deployment.rpm), seconds)
        if deployment.tpm:
            size = Tokens(*self.reservation_size(deployment, demand))
            part = share.part(deployment.tpm)
            seconds = wait_for_tokens(counters.tokens, now, counters.output, deployment.tpm, part, size)
            if seconds:
                yield Shortage(share.describe("tpm", deployment.tpm), seconds, size.input + size.max_tokens)

    def reservation_size(self, deployment: Deployment, demand: Demand) -> tuple[int, int]:
        """Return the input and output tokens that an attempt reserves.

        The output is a guess. It is at most what the input leaves of tpm, so that it never keeps out a request that
        fits."""
        input = demand.input_tokens(deployment.model)
        most = deployment.max_output_tokens or demand.max_tokens
        output = min(demand.max_tokens, most, self.usual_output(deployment))
        return input, fit_output(output, self.share.part(deployment.tpm) - input)

    def usual_output(self, deployment: Deployment) -> int:
        """Return the output tokens that the deployment's model usually gives."""
        return math.ceil(self._usual.get((deployment.id, deployment.model), FIRST_OUTPUT))

    def observe(self, deployment: Deployment, output: int) -> None:
        """Let a complete reply of `output` tokens count in the model's usual output."""
        key = (deployment.id, deployment.model)
        usual = self._usual.pop(key, FIRST_OUTPUT)
        self._usual[key] = usual + (output - usual) * OUTPUT_WEIGHT
        if len(self._usual) > USUAL_MODELS:
            del self._usual[next(iter(self._usual))]

    def reserve(
        self, deployment: Deployment, demand: Demand, own_place: Place | None = None, grant: SharedGrant | None = None
    ) -> Reservation | None:
        """Start an attempt now. Return None if there is no room. The caller settles the reservation in every way out.

        `own_place`: of the request. Without one, the attempt takes a place until it is settled. `grant`: what it
        counts for in shared limits. It is settled with the reservation."""
        if self.find_shortage(deployment, demand, own_place) is not None:
            return None
        reservation = self._reserve(deployment, demand, own_place)
        reservation.grant = grant
        return reservation

    def _reserve(self, deployment: Deployment, demand: Demand, own_place: Place | None) -> Reservation:
        place = self.places.take(deployment) if own_place is None else None
        if not (deployment.rpm or deployment.tpm):
            return Reservation(self, deployment, place)
        id, now = deployment.id, self.clock()
        counters = self._counters.get(id)
        if counters is None:
            counters = self._counters[id] = _Counters()
        if deployment.rpm:
            counters.starts.add(now, 1)
        self.note_use(deployment)
        if not deployment.tpm:
            return Reservation(self, deployment, place, counters)
        input, output = self.reservation_size(deployment, demand)
        counters.output += output
        return Reservation(self, deployment, place, counters, input, output, counters.tokens.add(now, input))

    def note_use(self, deployment: Deployment) -> None:
        """Report that more counts for `deployment`, if anybody wants to know."""
        if self.report_use is not None:
            self.report_use(deployment.id)

    def list_use(self, id: str, count: int) -> tuple[list[list[float]], list[list[float]]]:
        """Return what counts for a deployment: requests and tokens in `count` parts of the last minute, each with its
        age in seconds."""
        counters, now = self._counters.get(id) or _Counters(), self.clock()
        return counters.starts.slices(now, count), counters.tokens.slices(now, count)

    def restore_use(self, id: str, starts: Iterable[Sequence[float]], tokens: Iterable[Sequence[float]]) -> None:
        """Count what another process, which has ended, has used of this one's part. The arguments are those that
        `list_use` has returned."""
        counters, now = self._counters.setdefault(id, _Counters()), self.clock()
        for window, slices in ((counters.starts, starts), (counters.tokens, tokens)):
            for age, amount in slices:
                window.add(now - age, int(amount))

    def usage(self) -> dict[str, Use]:
        """Return by deployment id what counts now, for deployments that have a limit and were asked."""
        now = self.clock()
        return {id: counters.use(now) for id, counters in self._counters.items()}

    def keep_only(self, ids: Iterable[str]) -> None:
        """Forget the counters of deployments other than `ids`, unless something still counts."""
        keep = set(ids)
        for id, use in self.usage().items():
            if id not in keep and not any(use):
                del self._counters[id]


def limit_error(model: str, short: Sequence[tuple[Deployment, Shortage]]) -> ApiError:
    """Return the error if no deployment of `model` has room: which limits are reached, and when the first of them has
    room again. `short`: the deployments, and why each has none; [] if others took the last places."""
    seconds = min((shortage.seconds or ROOM_SECONDS for _, shortage in short), default=ROOM_SECONDS)
    details = list_shortages(short) or " (others took its last places)"
    if math.isinf(seconds):
        tokens = min(shortage.tokens for _, shortage in short)
        return ApiError(
            "rate_limit",
            f"{model!r} takes no request of this size: its input has about {tokens} tokens, more than the configured"
            f" limit allows in a minute{details}. Shorten the request, or raise the limit in the configuration.",
            should_retry=False,
        )
    seconds = math.ceil(seconds)
    return ApiError(
        "rate_limit",
        f"{model!r} has reached its configured limit{details}. Ask again in {seconds} s, or raise the limit in the"
        " configuration.",
        retry_after=seconds,
    )


def list_shortages(short: Sequence[tuple[Deployment, Shortage]]) -> str:
    """Return the limits of deployments that are reached, for a message; "" if there are none."""
    limits = dict.fromkeys(f"{shortage.limit} of {shortage.subject or one.id}" for one, shortage in short)
    return f" ({', '.join(list(limits)[:MAX_NAMED])})" if limits else ""
