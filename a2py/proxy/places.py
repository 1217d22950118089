"""How many requests run at a time: in total, for each name, at each deployment, at each server.

A running request has one `Place` at a deployment. The place counts towards each limit that the deployment is under:

    global_max_parallel_requests           all requests of this process
    a2py: max_parallel_requests            the requests to one model name
    max_parallel_requests                  the requests to one deployment
    the slots that a server says it has    the requests to one server, if the deployment has no limit of its own

Knows: these limits, who runs, how long a place is usually held. Must not know: who waits for a place (line.py), rates
and tokens (limits.py).
Invariants: a place is released once, however its request ends; memory is bounded by the running requests and the
configured deployments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from a2py.deployment import Deployment
from a2py.proxy.share import WHOLE

#: What a limit counts, and how a deployment is told that it counts for.
TOTAL, NAME, DEPLOYMENT, SERVER = "total", "name", "deployment", "server"
#: Weight of one more place in the mean time for which a deployment's places are held.
HOLD_WEIGHT = 1 / 8
#: Seconds: a mean below this says nothing.
SHORTEST_HOLD = 0.001
#: Deployments whose mean is kept. Reloads bring new ones.
MAX_HOLDS = 1024


class Bound(NamedTuple):
    """At most `limit` requests may run of a `kind` in this process; `label`: the limit, `subject`: what is limited, for
    messages. The subject is "" if it is the deployment itself."""

    kind: str
    limit: int
    label: str
    subject: str = ""

    @property
    def is_of_server(self) -> bool:
        """Whether the server said it, and not the configuration."""
        return self.kind == SERVER


class Place:
    """A place of a running request at `deployment`. `start`: time of the clock."""

    __slots__ = ("_places", "deployment", "start")

    def __init__(self, places: Places, deployment: Deployment, start: float) -> None:
        self._places: Places | None = places
        self.deployment = deployment
        self.start = start

    def release(self) -> None:
        """Give the place back. Only the first call counts."""
        places, self._places = self._places, None
        if places is not None:
            places._drop(self)


class Places:
    """`clock`: monotonic seconds; `total_limit`: requests at a time in this process, 0 for no limit; `on_release`:
    called after each release, when there may be room for somebody who waits; `share`: the part of each limit that is
    this process's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.total_limit = 0
        self.share = WHOLE
        self.on_release: Callable[[], None] = lambda: None
        self._running: dict[str, set[Place]] = {}  # by deployment id
        self._total = 0
        self._holds: dict[str, float] = {}  # deployment id → mean seconds for which a place is held

    def running(self) -> dict[str, int]:
        """Return deployment id → requests that run there now."""
        return {id: len(places) for id, places in self._running.items()}

    @property
    def is_total_reached(self) -> bool:
        """Whether as many requests run as may run in total."""
        return 0 < self.share.part(self.total_limit) <= self._total

    def find_limit(self, deployment: Deployment, own_place: Place | None = None) -> Bound | None:
        """Return which limit keeps a request from `deployment` now, None if there is a place. `own_place`: the place
        that the request has already, and would leave; at the same deployment it is all that the request needs, even if
        a reload has changed the limits."""
        one = deployment
        if own_place is not None and own_place.deployment.id == one.id:
            return None
        if not (self.total_limit or one.max_parallel or one.slots or one.name_parallel):
            return None  # most deployments have no limits, and this is asked for every attempt
        for bound in self._bounds(deployment):
            count = self._count(bound.kind, deployment)
            if own_place is not None and _counts_for(bound.kind, own_place.deployment, deployment):
                count -= 1
            if count >= bound.limit:
                return bound
        return None

    def take(self, deployment: Deployment) -> Place:
        """Return a place at `deployment`. The caller has made sure that there is one (`find_limit`)."""
        place = Place(self, deployment, self._clock())
        running = self._running.get(deployment.id)
        if running is None:
            running = self._running[deployment.id] = set()
        running.add(place)
        self._total += 1
        return place

    def estimate_wait(self, deployments: Iterable[Deployment], place: int) -> float:
        """Return the seconds until `place` (1 is the next) of those who wait for one of `deployments` may have its
        turn.

        It is computed from the mean time for which the places that count towards the limit are held, or from the time
        for which the running requests have held theirs so far, if that is longer."""
        now, turns = self._clock(), 0.0
        for id in {id for one in deployments for id in self._list_holders(one)}:
            ages = [now - each.start for each in self._running[id]]
            turns += len(ages) / max(self._holds.get(id, 0.0), sum(ages) / len(ages), SHORTEST_HOLD)
        return place / turns if turns else 0.0

    def _list_holders(self, deployment: Deployment) -> list[str]:
        """Return the ids of those where requests run that count towards the limit that `deployment` has reached."""
        bound = self.find_limit(deployment)
        kind = DEPLOYMENT if bound is None else bound.kind
        return [
            id for id, places in self._running.items() if _counts_for(kind, next(iter(places)).deployment, deployment)
        ]

    def _bounds(self, deployment: Deployment) -> Iterator[Bound]:
        if self.total_limit:
            yield self._bound(TOTAL, self.total_limit, "global_max_parallel_requests", "the proxy")
        if deployment.name_parallel:
            name = deployment.group or deployment.name
            yield self._bound(NAME, deployment.name_parallel, "a2py: max_parallel_requests", name)
        if deployment.max_parallel:
            yield self._bound(DEPLOYMENT, deployment.max_parallel, "max_parallel_requests")
        elif deployment.slots:
            yield self._bound(SERVER, deployment.slots, "slots", deployment.address)

    def find_narrowest(self, deployment: Deployment) -> Bound | None:
        """Return the limit of `deployment` for which the fewest requests count, None if it has none."""
        bounds = list(self._bounds(deployment))
        return bounds[-1] if bounds else None

    def _bound(self, kind: str, limit: int, setting: str, subject: str = "") -> Bound:
        return Bound(kind, self.share.part(limit), self.share.describe(setting, limit), subject)

    def _count(self, kind: str, deployment: Deployment) -> int:
        """Return how many requests run that count together with one at `deployment`."""
        if kind == TOTAL:
            return self._total
        if kind == DEPLOYMENT:
            return len(self._running.get(deployment.id, ()))
        # Counted when somebody asks, because most requests are under no such limit. Those of one id are alike.
        alike = (
            places for places in self._running.values() if _counts_for(kind, next(iter(places)).deployment, deployment)
        )
        return sum(map(len, alike))

    def _drop(self, place: Place) -> None:
        id = place.deployment.id
        places = self._running[id]
        places.discard(place)
        if not places:
            del self._running[id]
        self._total -= 1
        self._note_hold(id, self._clock() - place.start)
        self.on_release()

    def _note_hold(self, id: str, seconds: float) -> None:
        mean = self._holds.get(id)
        if mean is None and len(self._holds) >= MAX_HOLDS:
            del self._holds[next(iter(self._holds))]
        self._holds[id] = seconds if mean is None else mean + (seconds - mean) * HOLD_WEIGHT


def _counts_for(kind: str, other: Deployment, deployment: Deployment) -> bool:
    """Return whether a request at `other` counts together with one at `deployment`."""
    if kind == NAME:
        return (other.group or other.name) == (deployment.group or deployment.name)
    return kind == TOTAL or (other.id == deployment.id if kind == DEPLOYMENT else other.base == deployment.base)
