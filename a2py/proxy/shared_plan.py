"""The plan of a request whose limits are shared with other processes.

Before each attempt the plan asks the shared limits (admission.py) for its deployment, and for those that it would try
instead. A deployment that has no room there is as one that has none here: another one of the name is tried, or a
fallback, or the request waits.

Knows: what a plan does about a deployment without room. Must not know: how limits are shared.
Invariants: at most one grant is open, and it is cancelled unless its attempt settles it; a request does not overtake
those of this process that wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.proxy.admission import Admission
from a2py.proxy.asker import Asker
from a2py.proxy.limits import ROOM_SECONDS, Demand, Shortage
from a2py.proxy.router import Plan, Router, Step
from a2py.proxy.shared_line import SharedLine
from a2py.proxy.waiting import Full

if TYPE_CHECKING:
    from a2py.config import Config


class _State:
    """What a shared plan has beside other plans. `shortages`: deployment id → until when it has no room in the shared
    limits, and why; `has_waited`: the step is of a place that was waited for."""

    __slots__ = ("admission", "has_waited", "line", "shortages")

    def __init__(self, admission: Admission, line: SharedLine) -> None:
        self.admission = admission
        self.line = line
        self.shortages: dict[str, tuple[float, Shortage]] = {}
        self.has_waited = False


class SharedPlan(Plan):
    """`grant`: what the latest step counts for in the shared limits."""

    def __init__(
        self,
        admission: Admission,
        line: SharedLine,
        router: Router,
        config: Config,
        model: str,
        demand: Demand,
        asker: Asker,
    ) -> None:
        super().__init__(router, config, model, demand, asker)
        self._state = _State(admission, line)

    def close(self) -> None:
        self._drop_grant()
        super().close()

    def _drop_grant(self) -> None:
        grant, self.grant = self.grant, None
        if grant is not None:
            grant.cancel()  # nothing happens if its attempt has settled it

    async def admit(self, step: Step) -> Step:
        while True:
            has_waited, self._state.has_waited = self._state.has_waited, False
            if has_waited and self.grant is not None:
                return step
            self._drop_grant()
            candidates = [step.deployment, *self._list_others(step)]
            if not has_waited:
                candidates = [one for one in candidates if not self._stands_behind(one)]
            if candidates:
                outcome = await self._state.admission.admit(candidates, self._demand)
                self._note(outcome.shortages)
                if outcome.deployment is not None:
                    self.grant = outcome.grant
                    return self._move(step, outcome.deployment)
            self.attempts -= 1
            self._uncount(step.deployment)
            step = await self.begin()

    def _list_others(self, step: Step) -> list[Deployment]:
        """Return the deployments that would be asked if that of `step` had no room, in this order."""
        if step.is_lesson or len(self._group) == 1:
            return []
        candidates = (one for one in self._group if one.id not in self._tries)
        return self._order(one for one in candidates if self._find_shortage(one) is None)

    def _order(self, deployments: Iterable[Deployment]) -> list[Deployment]:
        """Return `deployments` in the order in which they are tried."""
        rest, result = list(deployments), list[Deployment]()
        while rest:
            result.append(self._choose(rest))
            rest.remove(result[-1])
        return result

    def _stands_behind(self, deployment: Deployment) -> bool:
        """Return whether others of this process wait for `deployment`. It counts as full then."""
        shortage = self._state.line.find_wait(deployment)
        if shortage is None:
            return False
        self._note({deployment.id: shortage})
        return True

    def _move(self, step: Step, deployment: Deployment) -> Step:
        """Return `step`, or one to the `deployment` that has room instead."""
        before = step.deployment
        if deployment.id == before.id:
            return step
        place = self.place
        self.place = self._router.limits.places.take(deployment)
        if place is not None:
            place.release()
        self._uncount(before)
        self._tries[deployment.id] = self._tries.get(deployment.id, 0) + 1
        return Step(deployment)

    def _uncount(self, deployment: Deployment) -> None:
        """Take back that `deployment` was tried: it was not asked."""
        self._tries[deployment.id] -= 1
        if not self._tries[deployment.id]:
            del self._tries[deployment.id]

    def _note(self, shortages: dict[str, Shortage]) -> None:
        now = self._router.clock()
        for id, shortage in shortages.items():
            self._state.shortages[id] = (now + (shortage.seconds or ROOM_SECONDS), shortage)

    def _find_shortage(self, deployment: Deployment) -> Shortage | None:
        own = super()._find_shortage(deployment)
        end, shared = self._state.shortages.get(deployment.id, (0.0, None))
        now = self._router.clock()
        if shared is None or end <= now:
            return own
        if shared.seconds:
            shared = shared._replace(seconds=end - now)
        return own if own is not None and own.seconds > shared.seconds else shared

    def _is_server_full(self, deployment: Deployment) -> bool:
        shortage = self._find_shortage(deployment)
        return super()._is_server_full(deployment) or (shortage is not None and shortage.limit.startswith("slots "))

    async def _wait(self, full: Full) -> Step | ApiError:
        self._drop_grant()
        self.close()  # whoever waits holds no place
        outcome = await self.waiting.wait(full, _Turn(self), self.on_join)
        if isinstance(outcome, ApiError):
            return self._fall_back(outcome) or outcome
        self.place = outcome
        self._state.has_waited = True
        self._state.shortages.clear()
        return self._count(outcome.deployment)

    async def take(self, deployments: Sequence[Deployment]) -> Deployment | None:
        """Ask for a place while the request waits; see `_Turn`."""
        candidates = self._order(deployments)
        outcome = await self._state.admission.admit(candidates, self._demand)
        if outcome.deployment is not None:
            self._drop_grant()
            self.grant = outcome.grant
            return outcome.deployment
        is_place = [id for id, shortage in outcome.shortages.items() if not shortage.seconds]
        return None if is_place else candidates[0]  # a rate is not waited for: the request hears of it


class _Turn:
    """How the line takes a place for a plan whose turn it is."""

    def __init__(self, plan: SharedPlan) -> None:
        self._plan = plan

    def __call__(self, deployments: Sequence[Deployment]) -> Deployment:
        return self._plan._choose(deployments)

    async def take(self, deployments: Sequence[Deployment]) -> Deployment | None:
        """Return the deployment that has a place, None if there is none yet. Without a grant of the plan, the shared
        limits have no room for another reason, which `admit` finds out."""
        return await self._plan.take(deployments)

    def drop(self) -> None:
        """The request has left."""
        self._plan._drop_grant()
