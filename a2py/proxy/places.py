"""How many requests run at a time: in total, for each name, at each deployment, at each server.

A running request has one `Place` at a deployment. The place counts towards each limit that the deployment is under:

    global_max_parallel_requests           all requests of this process
    a2py: max_parallel_requests            the requests to one model name
    max_parallel_requests                  the requests to one deployment
    the slots that a server says it has    the requests to one server, if the deployment has no limit of its own

Knows: these limits, who runs, how long a place is usually held. Must not know: who waits for a place (line.py), rates and
tokens (limits.py).
Invariants: a place is released once, however its request ends; memory is bounded by the running requests and the
configured deployments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from a2py.deployment import Deployment

#: What a limit counts: ("total", ""), ("name", model name), ("deployment", id) or ("server", base).
Counter = tuple[str, str]
TOTAL: Counter = ("total", "")
#: Weight of one more place in the mean time for which a deployment's places are held.
HOLD_WEIGHT = 1 / 8
#: Seconds: a mean below this says nothing.
SHORTEST_HOLD = 0.001
#: Deployments whose mean is kept. Reloads bring new ones.
MAX_HOLDS = 1024


class Bound(NamedTuple):
    """`counter` may be at most `limit`; `setting`: what sets the limit, `subject`: what is limited, for messages. The
    subject is "" if it is the deployment itself."""

    counter: Counter
    limit: int
    setting: str
    subject: str = ""

    @property
    def is_of_server(self) -> bool:
        """Whether the server said it, and not the configuration."""
        return self.counter[0] == "server"


class Place:
    """A place of a running request at `deployment`. `counters`: what it counts towards; `start`: time of the clock."""

    __slots__ = ("_places", "counters", "deployment", "start")

    def __init__(self, places: Places, deployment: Deployment, start: float) -> None:
        self._places: Places | None = places
        self.deployment = deployment
        self.counters: tuple[Counter, ...] = (
            TOTAL,
            ("name", deployment.group or deployment.name),
            ("deployment", deployment.id),
            ("server", deployment.base),
        )
        self.start = start

    def release(self) -> None:
        """Give the place back. Only the first call counts."""
        places, self._places = self._places, None
        if places is not None:
            places._drop(self)


class Places:
    """`clock`: monotonic seconds; `total_limit`: requests at a time in this process, 0 for no limit; `on_release`: called
    after each release, when there may be room for somebody who waits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.total_limit = 0
        self.on_release: Callable[[], None] = lambda: None
        self._running: dict[str, set[Place]] = {}  # by deployment id
        self._counts: dict[Counter, int] = {}
        self._holds: dict[str, float] = {}  # deployment id → mean seconds for which a place is held

    def running(self) -> dict[str, int]:
        """Return deployment id → requests that run there now."""
        return {id: len(places) for id, places in self._running.items()}

    @property
    def is_total_reached(self) -> bool:
        """Whether as many requests run as may run in total."""
        return 0 < self.total_limit <= self._counts.get(TOTAL, 0)

    def find_limit(self, deployment: Deployment, held: Place | None = None) -> Bound | None:
        """Return which limit keeps a request from `deployment` now, None if there is a place. `held`: the place that the
        request has already, and would leave."""
        for bound in self._bounds(deployment):
            count = self._counts.get(bound.counter, 0)
            if held is not None and bound.counter in held.counters:
                count -= 1
            if count >= bound.limit:
                return bound
        return None

    def take(self, deployment: Deployment) -> Place:
        """Return a place at `deployment`. The caller has made sure that there is one (`find_limit`)."""
        place = Place(self, deployment, self._clock())
        self._running.setdefault(deployment.id, set()).add(place)
        counts = self._counts
        for counter in place.counters:
            counts[counter] = counts.get(counter, 0) + 1
        return place

    def estimate_wait(self, deployments: Iterable[Deployment], place: int) -> float:
        """Return the seconds until `place` (1 is the next) of those who wait for one of `deployments` may have its turn.

        It is computed from the mean time for which places are held there, or from the time for which the running requests
        have held theirs so far, if that is longer."""
        now, turns = self._clock(), 0.0
        for id in {one.id for one in deployments}:
            running = self._running.get(id, ())
            ages = [now - held.start for held in running]
            if ages:
                hold = max(self._holds.get(id, 0.0), sum(ages) / len(ages), SHORTEST_HOLD)
                turns += len(ages) / hold
        return place / turns if turns else 0.0

    def _bounds(self, deployment: Deployment) -> Iterator[Bound]:
        if self.total_limit:
            yield Bound(TOTAL, self.total_limit, "global_max_parallel_requests", "the proxy")
        if deployment.name_parallel:
            name = deployment.group or deployment.name
            yield Bound(("name", name), deployment.name_parallel, "a2py: max_parallel_requests", name)
        if deployment.max_parallel:
            yield Bound(("deployment", deployment.id), deployment.max_parallel, "max_parallel_requests")
        elif deployment.slots:
            yield Bound(("server", deployment.base), deployment.slots, "slots", deployment.address)

    def _drop(self, place: Place) -> None:
        id = place.deployment.id
        places = self._running[id]
        places.discard(place)
        if not places:
            del self._running[id]
        counts = self._counts
        for counter in place.counters:
            counts[counter] -= 1
            if not counts[counter]:
                del counts[counter]
        self._note_hold(id, self._clock() - place.start)
        self.on_release()

    def _note_hold(self, id: str, seconds: float) -> None:
        mean = self._holds.get(id)
        if mean is None and len(self._holds) >= MAX_HOLDS:
            del self._holds[next(iter(self._holds))]
        self._holds[id] = seconds if mean is None else mean + (seconds - mean) * HOLD_WEIGHT
