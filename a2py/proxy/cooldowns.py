"""Which deployments are not asked for a while, because they have failed.

Knows: failures of a minute, LiteLLM's settings of cooldowns. Must not know: which deployment is asked instead
(router.py), HTTP.
Invariants: at most MAX_MODELS models of one deployment cool down at a time; what another process reports counts like
this process's own failures, and is not reported again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from a2py.deployment import Deployment
from a2py.errors import CLIENT_ERRORS, COOLDOWN_KINDS, ApiError, Blame
from a2py.proxy.limits import RateWindow

#: Error kinds that are about one model. A wildcard deployment goes on serving the other models that clients ask it for.
MODEL_ERRORS = frozenset({"permission", "not_found"})
#: Models of one deployment that cool down at a time. With a wildcard, clients choose the names.
MAX_MODELS = 64
#: Seconds for which a deployment may ask to be left alone.
LONGEST_REQUEST = 60.0


class Cooldown(NamedTuple):
    """`end`: time of the clock; `kind`: of the error that caused it."""

    end: float
    kind: str


class Reporter(Protocol):
    """Who tells other processes of what happens to a deployment."""

    def report_cooldown(self, id: str, model: str, kind: str, seconds: float) -> None: ...

    def report_recovery(self, id: str, model: str) -> None: ...

    def report_failure(self, id: str) -> None: ...


class Cooldowns:
    """`clock`: monotonic seconds; `active`: (deployment id, model or "" for all of its models) → cooldown, which may be
    over; `reporter`: None if there are no other processes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.active: dict[tuple[str, str], Cooldown] = {}
        self.reporter: Reporter | None = None
        self._failures: dict[str, RateWindow] = {}

    def is_cooling(self, deployment: Deployment) -> bool:
        """Return whether the deployment is in cooldown. Forget cooldowns that are over."""
        is_cooling = False
        for key in _keys(deployment) if self.active else ():
            cooldown = self.active.get(key)
            if cooldown is not None and cooldown.end > self._clock():
                is_cooling = True
            elif cooldown is not None:
                del self.active[key]
        return is_cooling

    def record_success(self, deployment: Deployment) -> None:
        if self.active:
            self.end(deployment.id, deployment.model, self.reporter)

    def record_failure(self, deployment: Deployment, error: ApiError, settings: Any) -> None:
        """Count a failure that is the deployment's fault, and put the deployment into cooldown if that is enough.

        Some kinds are enough at once. Of the others, `allowed_fails` are allowed in a minute. A failure that only the
        upstream's text attributes to the deployment does not count: the text may quote the client's."""
        if error.kind in CLIENT_ERRORS or error.blame is Blame.NONE or settings.disable_cooldowns:
            return
        seconds = max(settings.cooldown_time, min(error.retry_after or 0.0, LONGEST_REQUEST))
        is_lasting = error.kind in COOLDOWN_KINDS and error.blame is Blame.KIND
        if is_lasting and error.kind in MODEL_ERRORS:
            self.begin(deployment.id, deployment.model, error.kind, seconds, self.reporter)
            return
        failures = self.count_failure(deployment.id, self.reporter)
        if is_lasting or failures > settings.allowed_fails:
            self.begin(deployment.id, "", error.kind, seconds, self.reporter)

    def count_failure(self, id: str, reporter: Reporter | None = None, age: float = 0.0) -> int:
        """Count a failure of `age` seconds ago. Return how many there were in the last minute."""
        now = self._clock()
        failures = self._failures.setdefault(id, RateWindow())
        failures.add(now - age, 1)
        if reporter is not None:
            reporter.report_failure(id)
        return failures.total(now)

    def begin(self, id: str, model: str, kind: str, seconds: float, reporter: Reporter | None = None) -> None:
        """Let `model` of the deployment cool down, "" for all of its models."""
        if model:
            cooling = [key for key in self.active if key[0] == id and key[1]]
            for oldest in cooling[: 1 - MAX_MODELS]:
                del self.active[oldest]
        self.active[id, model] = Cooldown(self._clock() + seconds, kind)
        if reporter is not None:
            reporter.report_cooldown(id, model, kind, seconds)

    def end(self, id: str, model: str, reporter: Reporter | None = None) -> None:
        """End the cooldowns of the deployment and of its `model`."""
        cooldowns = [self.active.pop(key, None) for key in ((id, ""), (id, model))]
        if reporter is not None and any(cooldowns):
            reporter.report_recovery(id, model)

    def list_active(self) -> list[tuple[str, str, str, float]]:
        """Return deployment id, model, kind of error and seconds left of each cooldown."""
        now = self._clock()
        return [(*key, one.kind, one.end - now) for key, one in self.active.items() if one.end > now]

    def report(self) -> list[dict[str, Any]]:
        """Return the cooldowns for `/health`."""
        return [
            {"deployment": id, "why": kind, "seconds_left": round(seconds, 1)}
            for id, _, kind, seconds in self.list_active()
        ]


def _keys(deployment: Deployment) -> tuple[tuple[str, str], tuple[str, str]]:
    return (deployment.id, ""), (deployment.id, deployment.model)
