"""Which deployment is asked, and which after a failure: weights, order, cooldowns, retries, fallbacks.

Knows: the deployments of a name, how they have fared, LiteLLM's routing settings. Must not know: HTTP, streams, wires.
Invariants: one function (`Plan.after`) decides what follows a failure, and it decides nothing once anything was delivered; a request ends
after at most ATTEMPTS attempts; a 429 is never waited for.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from a2py.deployment import Deployment
from a2py.errors import COOLDOWN_KINDS, ApiError, Blame
from a2py.proxy.limits import Demand, Limits, RateWindow, Tokens
from a2py.upstream import NoAnswer

if TYPE_CHECKING:
    from a2py.config import Config

#: Attempts of one request, lessons and fallbacks included.
ATTEMPTS = 16
#: Lessons that one request may pay for.
LESSONS = 5
#: Seconds before the first retry at a deployment that was asked already; doubles, up to LONGEST_WAIT, and is spread by half.
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
#: Seconds after which no deployment is asked a second time. (Claude Code waits 600 s, 300 s in its non-streaming fallback.)
PATIENCE = 120.0
#: Kinds that are the client's own doing: another deployment of the name would say the same. (A configured fallback is asked nevertheless.)
CLIENT_ERRORS = frozenset(
    {"invalid_request", "context_overflow", "max_tokens", "unsupported", "image", "document", "content_policy", "request_too_large"}
)
#: Kinds that are about one model. A wildcard deployment goes on serving the other models that clients ask it for.
ABOUT_MODEL = frozenset({"permission", "not_found"})
#: Models of one deployment that cool down at a time. A wildcard deployment's models are names that clients choose.
MODELS = 64

#: Seconds to wait for a place among the requests that a deployment answers at a time. One may be free at any moment.
PLACE_SECONDS = 1.0
#: Deployments that an error about limits names.
MAX_LIMITS = 3
NO_TOKENS = Tokens()

#: Error kind → its key in LiteLLM's `retry_policy` (docs.litellm.ai, reliability, 2026-10).
POLICIES = {
    "invalid_request": "BadRequestErrorRetries",
    "authentication": "AuthenticationErrorRetries",
    "timeout": "TimeoutErrorRetries",
    "rate_limit": "RateLimitErrorRetries",
    "content_policy": "ContentPolicyViolationErrorRetries",
    "api": "InternalServerErrorRetries",
    "upstream": "InternalServerErrorRetries",
    "overloaded": "InternalServerErrorRetries",
}


class Step(NamedTuple):
    """What follows: ask `deployment` after `delay` seconds."""

    deployment: Deployment
    delay: float = 0.0


class Health(NamedTuple):
    until: float
    why: str


class AtLimit(ApiError):
    """Nothing was sent: the deployment had room when it was picked, and had none left when the attempt was to start."""

    def __init__(self) -> None:
        super().__init__("rate_limit", "no room is left in the deployment's limits")


class Router:
    """State of the deployments that outlives requests. `clock`: monotonic seconds; `dice`: for tests."""

    def __init__(self, clock: Callable[[], float], limits: Limits, dice: random.Random | None = None) -> None:
        self.clock = clock
        self.limits = limits
        self.dice = dice or random.Random()
        self._fails: dict[str, RateWindow] = {}
        self.cooling: dict[tuple[str, str], Health] = {}  # (deployment id, model or "" for all of its models)

    def plan(self, config: Config, model: str, demand: Demand = NO_TOKENS) -> Plan:
        """Raises `ApiError` (not_found) for a name that nobody has. `demand`: what the request asks of token limits."""
        return Plan(self, config, model, demand)

    def cool(self, deployment: Deployment) -> bool:
        """Whether it cools down just now."""
        cooling = False
        for key in _keys(deployment) if self.cooling else ():
            health = self.cooling.get(key)
            if health is not None and health.until > self.clock():
                cooling = True
            elif health is not None:
                del self.cooling[key]
        return cooling

    def succeeded(self, deployment: Deployment) -> None:
        if self.cooling:
            for key in _keys(deployment):
                self.cooling.pop(key, None)

    def failed(self, deployment: Deployment, error: ApiError, settings: Any) -> None:
        """Count a failure that the deployment is to blame for. Some kinds put it into cooldown at once, any other if there are enough of them
        in a minute. A failure that only the upstream's text blames on the deployment does not count: the text may be the client's."""
        if error.kind in CLIENT_ERRORS or error.blame is Blame.NONE or settings.disable_cooldowns:
            return
        now = self.clock()
        lasting = error.kind in COOLDOWN_KINDS and error.blame is Blame.KIND
        model = deployment.model if lasting and error.kind in ABOUT_MODEL else ""
        enough = False
        if not model:
            failures = self._fails.setdefault(deployment.id, RateWindow())
            failures.add(now, 1)
            enough = failures.total(now) > settings.allowed_fails
        if lasting or enough:
            for old in [key for key in self.cooling if model and key[0] == deployment.id and key[1]][: 1 - MODELS]:
                del self.cooling[old]
            rest = max(settings.cooldown_time, min(error.retry_after or 0.0, 60.0))
            self.cooling[deployment.id, model] = Health(now + rest, error.kind)

    def pick(self, deployments: Iterable[Deployment], demand: Demand) -> Deployment | None:
        """One by lowest order, then by weight; those that cool down come last, those at a limit never."""
        rest = [d for d in deployments if self.limits.shortage(d, demand) is None]
        rest = [d for d in rest if not self.cool(d)] or rest
        if not rest:
            return None
        first = min(d.order for d in rest)
        rest = [d for d in rest if d.order == first]
        if len(rest) == 1:
            return rest[0]
        weights = [max(d.weight, 0.0) for d in rest]
        return self.dice.choices(rest, weights)[0] if any(weights) else self.dice.choice(rest)

    def shown(self) -> list[dict[str, Any]]:
        """For `/health`."""
        now = self.clock()
        return [
            {"deployment": id, "why": health.why, "seconds_left": round(health.until - now, 1)}
            for (id, _), health in self.cooling.items()
            if health.until > now
        ]


def _keys(deployment: Deployment) -> tuple[tuple[str, str], tuple[str, str]]:
    return (deployment.id, ""), (deployment.id, deployment.model)


def listed(table: Any, name: str) -> tuple[str, ...]:
    """The models that LiteLLM's `fallbacks` name for `name`: a mapping, or a list of one-entry mappings; `*` stands for any."""
    entries = [table] if isinstance(table, dict) else list(table or ())
    for key in (name, "*"):
        for entry in entries:
            if isinstance(entry, dict) and key in entry:
                value = entry[key]
                return (value,) if isinstance(value, str) else tuple(value)
    return ()


class Plan:
    """The way of one request through the deployments. `first()`, then `after(error)` for each failure until it gives None."""

    def __init__(self, router: Router, config: Config, model: str, demand: Demand) -> None:
        self._router = router
        self._demand = demand
        self._config = config
        self._settings = config.settings
        self._group: tuple[Deployment, ...] = config.resolve(model)
        self._model = model
        self._begun = router.clock()
        self._queue: list[str] | None = None  # names still to fall back on; None: not looked up yet
        self._seen = {model}
        self._tried: dict[str, int] = {}  # deployment id → attempts, in this group
        self._retries = 0
        self.attempts = 0
        self.lessons = 0

    def first(self) -> Step:
        """Raises `ApiError` where no deployment of the name can be asked."""
        step = self._next(self._group)
        if step is not None:
            return step
        error = self._busy()
        later = self._fallback(error)
        if later is None:
            raise error
        return later

    #: After an `AtLimit`: another deployment with room, or the same one if it has room again. Raises `ApiError` if there is none.
    instead = first

    def _busy(self) -> ApiError:
        """The error if no deployment of the name has room: which limits are reached, and when the first of them has room again."""
        if not self._group:
            return ApiError("not_found", f"no deployment serves the model {self._model!r}")
        limits = self._router.limits
        short = [(deployment.id, shortage) for deployment in self._group if (shortage := limits.shortage(deployment, self._demand))]
        seconds = min((shortage.seconds or PLACE_SECONDS for _, shortage in short), default=PLACE_SECONDS)
        reached = ", ".join(f"{shortage.limit} of {id}" for id, shortage in short[:MAX_LIMITS]) or "others took its last places"
        if math.isinf(seconds):
            needed = min(shortage.tokens for _, shortage in short)
            return ApiError(
                "rate_limit",
                f"{self._model!r} takes no request of this size: its input has about {needed} tokens, more than the configured limit allows"
                f" in a minute ({reached}). Shorten the request, or raise the limit in the configuration.",
                should_retry=False,
            )
        seconds = math.ceil(seconds)
        return ApiError(
            "rate_limit",
            f"{self._model!r} has reached its configured limit ({reached}). Ask again in {seconds} s, or raise the limit in the configuration.",
            retry_after=seconds,
        )

    def _next(self, among: Iterable[Deployment], delay: float = 0.0) -> Step | None:
        chosen = self._router.pick(among, self._demand)
        if chosen is None or self.attempts >= ATTEMPTS:
            return None
        self.attempts += 1
        self._tried[chosen.id] = self._tried.get(chosen.id, 0) + 1
        return Step(chosen, delay)

    def again(self, deployment: Deployment) -> Step | None:
        """The same deployment at once, uncounted: after a lesson."""
        if self.attempts >= ATTEMPTS or self.lessons >= LESSONS:
            return None
        self.attempts += 1
        self.lessons += 1
        return Step(deployment)

    def after(self, deployment: Deployment, error: ApiError, *, delivered: bool, patience: float = 0.0) -> Step | None:
        """What follows the failure `error` of `deployment`; None: nothing, the error is the answer.

        `delivered`: a content block is out, nothing can be asked again; `patience`: seconds that the client waits, 0: any."""
        if delivered:
            return None
        self._router.failed(deployment, error, self._settings)
        if patience and self._router.clock() - self._begun >= patience:
            return None
        return self._same_name(deployment, error) or self._fallback(error)

    def _same_name(self, deployment: Deployment, error: ApiError) -> Step | None:
        told = self._told(deployment, error)
        if error.kind in CLIENT_ERRORS and not told:
            return None
        others = [d for d in self._group if d.id not in self._tried]
        step = self._next(others) if others else None
        if step is not None or error.should_retry is False:
            return step
        if told is None:
            if not error.retryable or error.kind == "rate_limit":
                return None
            if isinstance(error, NoAnswer) and deployment.retries < 0:
                return None  # it may have crashed on this prompt: it gets it again only if the file says so for this deployment
            told = deployment.retries if deployment.retries >= 0 else self._settings.num_retries
        if self._retries >= told or self._router.clock() - self._begun >= PATIENCE:
            return None
        wait = min(FIRST_WAIT * 2**self._retries, LONGEST_WAIT)
        wait *= 1 - self._router.dice.random() / 2
        least = max(error.retry_after or 0.0, self._settings.retry_after)
        if least > LONGEST_WAIT:
            return None
        self._retries += 1
        return self._next(self._group, max(wait, least))

    def _told(self, deployment: Deployment, error: ApiError) -> int | None:
        """Retries for this kind of error by the configured policy of the group, or of all; None: it says nothing."""
        settings, name = self._settings, POLICIES.get(error.kind, "")
        for policy in (settings.model_group_retry_policy.get(deployment.name), settings.retry_policy):
            if policy and name in policy:
                return int(policy[name])
        return None

    def _fallback(self, error: ApiError) -> Step | None:
        settings = self._settings
        if self._queue is None:
            names: tuple[str, ...] = ()
            if error.kind == "context_overflow":
                names = self._listed(settings.context_window_fallbacks)
            else:
                names = self._listed(settings.fallbacks) or tuple(settings.default_fallbacks or ())
            self._queue = [name for name in names if name not in self._seen][: settings.max_fallbacks]
        while self._queue:
            name = self._queue.pop(0)
            self._seen.add(name)
            try:
                group = self._config.resolve(name)
            except ApiError:
                continue
            self._group, self._tried, self._retries = group, {}, 0
            step = self._next(group)
            if step is not None:
                return step
        return None

    def _listed(self, table: Any) -> tuple[str, ...]:
        """By the name that the client asked for, else by the configured name that it resolved to."""
        return listed(table, self._model) or (listed(table, self._group[0].name) if self._group else ())
