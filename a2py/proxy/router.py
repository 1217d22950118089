"""Choose the deployment for a request, and the next one after a failure.

Knows: the deployments of a name, LiteLLM's routing settings. Must not know: HTTP, streams, wires.
Invariants: one function (`Plan.choose_next`) decides what follows a failure, and it chooses nothing once anything was
delivered; a request ends after at most MAX_ATTEMPTS attempts; nobody waits for a limit a minute; each step has a place
at its deployment (places.py) from the moment in which it is chosen, until the next step has one or the plan is closed.

The order of the decisions after a failure:

1. Another deployment of the same name, if the fault may be this deployment's.
2. The same deployments again after a pause, if the kind of error may pass, as often as `num_retries` or a retry policy
says.
3. The first name of the configured fallbacks that was not asked yet and has a deployment with room.
4. A deployment of the same name that was full and not asked yet, once it has a place (line.py).

Of several deployments, those of the lowest order are asked, and of these the one that the session stays with
(affinity.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from a2py.affinity import choose_home
from a2py.caller import Caller
from a2py.deployment import Deployment
from a2py.errors import CLIENT_ERRORS, ApiError, unknown_model
from a2py.proxy.accounts import Accounts
from a2py.proxy.asker import NOBODY, Asker
from a2py.proxy.cooldowns import Cooldowns
from a2py.proxy.fallbacks import fallbacks_for
from a2py.proxy.limits import Demand, Limits, SharedGrant, Shortage, Tokens, limit_error, list_shortages
from a2py.proxy.line import Line
from a2py.proxy.places import Place
from a2py.proxy.waiting import Full, Waiting
from a2py.upstream import NoAnswer

if TYPE_CHECKING:
    from a2py.config import Config

#: Attempts of one request, those after lessons and at fallbacks included.
MAX_ATTEMPTS = 16
#: Attempts of one request that only follow a lesson: with the first one they are four questions.
MAX_LESSONS = 3
#: Seconds before the first retry at a deployment that was asked already. They double up to LONGEST_WAIT, and are spread
#: by half so that clients that failed together do not come back together.
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
#: Seconds after which no deployment is asked a second time. (Claude Code waits 600 s, 300 s in its non-streaming
#: fallback.)
PATIENCE = 120.0
NO_TOKENS = Tokens()

#: Error kind → its key in LiteLLM's `retry_policy` (docs.litellm.ai, reliability, 2026-10).
RETRY_POLICIES = {
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
    """Ask `deployment` after `delay` seconds. `is_lesson`: because its refusal has taught something."""

    deployment: Deployment
    delay: float = 0.0
    is_lesson: bool = False


class AtLimit(ApiError):
    """Nothing was sent: the deployment had room when it was chosen, and had none left when the attempt was about to
    start."""

    def __init__(self) -> None:
        super().__init__("rate_limit", "no room is left in the deployment's limits")


class Sharing(Protocol):
    """What shares limits with other processes (sharing.py)."""

    async def admit_key(self, caller: Caller, demand: Tokens) -> SharedGrant | None:
        """Count a request of a key, None if the key has no limits. Raise `ApiError` if one is reached."""

    def renew(self, config: Config) -> None:
        """Share the limits of `config` from now on."""

    def join_workers(self, number: int, count: int) -> None:
        """Know that this is process `number` of `count` of one machine."""

    async def charge_key(self, hold: Any, before: Any, ledger: str, now: float) -> Any:
        """Reserve on all machines what the ledger has reserved (`budgets.Share`)."""

    def report(self) -> dict[str, Any]:
        """Return what `/health` says of it."""

    async def close(self) -> None:
        """Share nothing any more."""


class Router:
    """What is known of the deployments beyond one request. `clock`: monotonic seconds; `dice`: random numbers, a test's
    own ones."""

    def __init__(self, clock: Callable[[], float], limits: Limits, dice: random.Random | None = None) -> None:
        self.clock = clock
        self.limits = limits
        self.line = Line(limits.places)
        self.dice = dice or random.Random()
        self.cooldowns = Cooldowns(clock)
        self.accounts = Accounts()
        self.make_plan: Callable[..., Plan] = Plan
        self.sharing: Sharing | None = None

    def plan(self, config: Config, model: str, demand: Demand = NO_TOKENS, asker: Asker = NOBODY) -> Plan:
        """Return the plan of one request, to be closed at its end. `demand`: what it needs of token limits. Raise
        `ApiError` (not_found) if nobody has the name."""
        return self.make_plan(self, config, model, demand, asker)

    def choose(self, deployments: Sequence[Deployment], asker: Asker | None) -> Deployment:
        """Return one of `deployments`, which have room: of the lowest order, and among these the one that the session
        of `asker` stays with. Without a session it is chosen by weight.

        Those in cooldown are used only if there are no others: a bad answer is better than none."""
        live = [one for one in deployments if not self.cooldowns.is_cooling(one)] or deployments
        lowest = min(one.order for one in live)
        live = [one for one in live if one.order == lowest]
        if len(live) == 1:
            return live[0]
        if asker is not None and asker.session:
            return choose_home(asker.session, live)
        weights = [max(one.weight, 0.0) for one in live]
        return self.dice.choices(live, weights)[0] if any(weights) else self.dice.choice(live)


class Plan:
    """The way of one request through the deployments: `choose_first`, then `choose_next` after each failure until it
    returns None.

    `attempts`, `lessons`: how many there were so far; `place`, `grant`: of the latest step; `waiting`: how the request
    has waited; `on_join`: called with its place in the line when it begins to; `may_ask`: which names may be asked."""

    def __init__(self, router: Router, config: Config, model: str, demand: Demand, asker: Asker) -> None:
        self._router = router
        self._demand = demand
        self._asker = asker
        self._config = config
        self._settings = config.settings
        self._group: tuple[Deployment, ...] = config.resolve(model)  # deployments of the name that is tried now
        self._model = model
        self._start_time = router.clock()
        self._fallbacks: list[str] | None = None  # names still to fall back on; None: not looked up yet
        self._is_able: Callable[[Deployment], bool] | None = None  # None: all are
        self._tries: dict[str, int] = {}  # deployment id → attempts, in this group
        self._retries = 0
        self.place: Place | None = None
        self.grant: SharedGrant | None = None
        self.waiting = Waiting(router.line, config.settings, asker)
        self.on_join: Callable[[int], None] = lambda place: None
        self.may_ask: Callable[[str], bool] = lambda name: True
        self.attempts = 0
        self.lessons = 0

    def close(self) -> None:
        """Give the place of the latest step back."""
        place, self.place = self.place, None
        if place is not None:
            place.release()

    @property
    def group(self) -> tuple[Deployment, ...]:
        """The deployments of the name that is tried now."""
        return self._group

    def keep_only(self, is_able: Callable[[Deployment], bool]) -> bool:
        """Ask only deployments that are able to answer, of this name and of its fallbacks. Return whether this name has
        any."""
        before = self._is_able
        self._is_able = is_able if before is None else lambda one: before(one) and is_able(one)
        self._group = tuple(one for one in self._group if is_able(one))
        return bool(self._group)

    def forgo_fallbacks(self) -> None:
        """Ask no other name."""
        self._fallbacks = []

    def choose_first(self) -> Step:
        """Return the first step; after an `AtLimit`, a step to another deployment with room, or to the same one if it
        has room again.

        Raise `ApiError` if no deployment can be asked now."""
        outcome = self._find_first()
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    async def admit(self, step: Step) -> Step:
        """Return `step`, or another if limits that other processes share have no room for it (shared_plan.py)."""
        return step

    async def begin(self) -> Step:
        """Return the step of `choose_first`. If all deployments are full, wait for a place first."""
        outcome = self._find_first()
        if isinstance(outcome, Full):
            outcome = await self._wait(outcome)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    def _find_first(self) -> Step | ApiError:
        """Return the first step, or the error if there is none: a `Full` if a place is worth waiting for.

        A server that says how many slots it has would let a request wait itself, so that it waits here before the
        fallbacks are asked. A limit of the configuration is a reason to ask them."""
        group = self._group
        step = self._choose_among(group)
        if step is not None:
            return step
        if not group:
            return unknown_model(f"no deployment serves the model {self._model!r}")
        error = limit_error(self._model, self._find_shortages(group))
        full = self._find_full(error, group)
        if full is not None and all(map(self._is_server_full, full.deployments)):
            return full
        return self._fall_back(error) or full or error

    def _find_full(self, error: ApiError, deployments: Iterable[Deployment]) -> Full | None:
        """Return those of `deployments` that only their places keep from being asked; None if there are none, or if
        nobody may wait. `error`: for a request that does not wait."""
        short = [(one, shortage) for one, shortage in self._find_shortages(deployments) if not shortage.seconds]
        if not short or not self._settings.queue_length or self.attempts >= MAX_ATTEMPTS:
            return None
        return Full(error, tuple(one for one, _ in short), f"{self._model!r}{list_shortages(short)}")

    def _is_server_full(self, deployment: Deployment) -> bool:
        bound = self._router.limits.places.find_limit(deployment, self.place)
        return bound is not None and bound.is_of_server

    async def _wait(self, full: Full) -> Step | ApiError:
        """Wait for a place at one of the deployments of `full`. Return a step there, or the error if there is none in
        time and no fallback has room."""
        self.close()  # whoever waits holds no place
        outcome = await self.waiting.wait(full, self._choose, self.on_join)
        if isinstance(outcome, ApiError):
            return self._fall_back(outcome) or outcome
        self.place = outcome
        return self._count(outcome.deployment)

    def repeat(self, deployment: Deployment) -> Step | None:
        """Return the step to ask the same deployment at once, after a lesson. It does not count as a retry."""
        if self.attempts >= MAX_ATTEMPTS or self.lessons >= MAX_LESSONS:
            return None
        self.attempts += 1
        self.lessons += 1
        return Step(deployment, is_lesson=True)

    def skip(self, step: Step) -> None:
        """Count `step` as no lesson: the question would have been one that was refused already, so nothing was sent."""
        self.lessons -= step.is_lesson

    def choose_next(
        self, deployment: Deployment, error: ApiError, *, is_delivered: bool, patience: float = 0.0
    ) -> Step | None:
        """Return what follows the failure `error` of `deployment`; None if the error is the answer.

        `is_delivered`: the client has got content, so nothing can be asked again; `patience`: seconds that the client
        waits, 0 for any."""
        if is_delivered:
            return None
        self._router.cooldowns.record_failure(deployment, error, self._settings)
        if patience and self._router.clock() - self._start_time >= patience:
            return None
        return self._stay_with_name(deployment, error) or self._fall_back(error)

    async def follow(
        self, deployment: Deployment, error: ApiError, *, is_delivered: bool, patience: float = 0.0
    ) -> Step | None:
        """Return the step of `choose_next`. If there is none, but a deployment of the name that was not asked yet is
        full, wait for a place there."""
        step = self.choose_next(deployment, error, is_delivered=is_delivered, patience=patience)
        if step is not None or is_delivered or error.kind in CLIENT_ERRORS or error.should_retry is False:
            return step
        if patience and self._router.clock() - self._start_time >= patience:
            return None
        full = self._find_full(error, (one for one in self._group if one.id not in self._tries))
        if full is None:
            return None
        outcome = await self._wait(full)
        return outcome if isinstance(outcome, Step) else None

    def _choose_among(self, deployments: Iterable[Deployment], delay: float = 0.0) -> Step | None:
        available = [one for one in deployments if self._find_shortage(one) is None]
        if not available or self.attempts >= MAX_ATTEMPTS:
            return None
        choice = self._choose(available)
        before = self.place
        if before is None or before.deployment.id != choice.id:
            self.place = self._router.limits.places.take(choice)
            if before is not None:
                before.release()
        return self._count(choice, delay)

    def _choose(self, available: Sequence[Deployment]) -> Deployment:
        return self._router.choose(available, self._asker if self._settings.affinity else None)

    def _count(self, choice: Deployment, delay: float = 0.0) -> Step:
        """Return a step to `choice`, which is counted as an attempt."""
        self.attempts += 1
        self._tries[choice.id] = self._tries.get(choice.id, 0) + 1
        return Step(choice, delay)

    def _find_shortage(self, deployment: Deployment) -> Shortage | None:
        return self._router.limits.find_shortage(deployment, self._demand, self.place)

    def _find_shortages(self, deployments: Iterable[Deployment]) -> list[tuple[Deployment, Shortage]]:
        """Return those of `deployments` that have no room, and why."""
        return [(one, shortage) for one in deployments if (shortage := self._find_shortage(one)) is not None]

    def _stay_with_name(self, deployment: Deployment, error: ApiError) -> Step | None:
        """Return a step to another deployment of the same name, or to any of them again after a pause."""
        policy_retries = self._policy_retries(deployment, error)
        if error.kind in CLIENT_ERRORS and not policy_retries:
            return None
        candidates = [one for one in self._group if one.id not in self._tries]
        step = self._choose_among(candidates) if candidates else None
        if step is not None or error.should_retry is False:
            return step
        retries = self._default_retries(deployment, error) if policy_retries is None else policy_retries
        if self._retries >= retries or self._router.clock() - self._start_time >= PATIENCE:
            return None
        least = max(error.retry_after or 0.0, self._settings.retry_after)
        if least > LONGEST_WAIT:
            return None  # the client knows better what to do in so long a time
        wait = min(FIRST_WAIT * 2**self._retries, LONGEST_WAIT) * (1 - self._router.dice.random() / 2)
        step = self._choose_among(self._group, max(wait, least))
        self._retries += step is not None
        return step

    def _policy_retries(self, deployment: Deployment, error: ApiError) -> int | None:
        """Return how many retries the configured policy of the group, or of all groups, has for this kind of error;
        None if it has none."""
        settings, key = self._settings, RETRY_POLICIES.get(error.kind, "")
        for policy in (settings.model_group_retry_policy.get(deployment.name), settings.retry_policy):
            if policy and key in policy:
                return int(policy[key])
        return None

    def _default_retries(self, deployment: Deployment, error: ApiError) -> int:
        """Return how many retries this kind of error gets without a policy."""
        if not error.retryable or error.kind == "rate_limit":
            return 0
        if deployment.retries >= 0:
            return deployment.retries
        # A server that closes the connection without an answer may have crashed on this prompt. It gets the prompt
        # again only if the file says so for this deployment.
        return 0 if isinstance(error, NoAnswer) else self._settings.num_retries

    def _fall_back(self, error: ApiError) -> Step | None:
        """Return a step to the first of the configured fallbacks that was not asked yet and has a deployment with room.

        If there is none, nothing has changed: the fallbacks may have room the next time."""
        if self._fallbacks is None:
            names = filter(self.may_ask, self._configured_fallbacks(error))
            self._fallbacks = [name for name in names if name != self._model][: self._settings.max_fallbacks]
        for name in self._fallbacks:
            try:
                group = self._config.resolve(name)
            except ApiError:
                continue  # a name that nobody serves
            if self._is_able is not None:
                group = tuple(one for one in group if self._is_able(one))
            step = self._choose_among(group)
            if step is not None:
                self._fallbacks.remove(name)
                self._group, self._tries, self._retries = group, {step.deployment.id: 1}, 0
                return step
        return None

    def _configured_fallbacks(self, error: ApiError) -> tuple[str, ...]:
        settings = self._settings
        if error.kind == "context_overflow":
            return self._look_up(settings.context_window_fallbacks)
        return self._look_up(settings.fallbacks) or tuple(settings.default_fallbacks or ())

    def _look_up(self, table: Any) -> tuple[str, ...]:
        """Return the fallbacks for the name that the client asked for, otherwise for the configured name that it
        resolved to."""
        return fallbacks_for(table, self._model) or (fallbacks_for(table, self._group[0].name) if self._group else ())
