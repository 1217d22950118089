"""What upstreams teach: fields they reject, limits they name, wires they do not implement. Lessons last for an hour.

A request uses a lesson for its own next attempt at once (`Trial`). The lesson is kept for everybody (`Lessons`) only
once that attempt, or a later one of the same request at the same deployment, has succeeded. An error that quotes the
client's text may teach nonsense, and nonsense must not reach other clients.

Knows: time, and how a lesson changes a deployment's quirks. Must not know: how a lesson is read from an error
(wires/lessons.py), HTTP.
Invariants: at most MAX_LESSONS lessons, of at most MAX_MODELS models of one deployment; a forgotten lesson is learned
again at the price of one rejected request; no lesson of one request reaches another before it has proven itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.providers import PROVIDERS, find_quirks
from a2py.quirks import override
from a2py.wires.lessons import find_lesson, is_lasting, join_lessons

#: Seconds for which a lesson is used. After that the upstream, which may have been updated, is asked the full question
#: again.
LESSON_SECONDS = 3600.0
#: The field of the lesson that an upstream does not implement the wire that was chosen for it.
WIRE = "wire"
MAX_LESSONS = 1000
#: Models of one deployment that have lessons. With a wildcard, clients choose the names.
MAX_MODELS = 64


class Lesson(NamedTuple):
    """`expiry`: time of the clock."""

    value: Any
    expiry: float


class Lessons:
    """The lessons for everybody, by (deployment id, upstream model) and quirk. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_pair: dict[tuple[str, str], dict[str, Lesson]] = {}  # the pair that learned last is last

    def learn(self, deployment: Deployment, changes: dict[str, Any]) -> None:
        """Keep `changes` (quirk → value)."""
        key, now = (deployment.id, deployment.model), self._clock()
        current = _unexpired(self._by_pair.pop(key, {}), now)
        for name, value in changes.items():
            earlier = current.get(name)
            value = join_lessons(name, earlier.value, value) if earlier else value
            current[name] = Lesson(value, now + LESSON_SECONDS)
        self._by_pair[key] = current
        self._trim(deployment.id, now)

    def _trim(self, id: str, now: float) -> None:
        """Drop what has expired, and the oldest lessons above the limits: first those of deployment `id`, which has
        just learned."""
        current = {key: unexpired for key, lessons in self._by_pair.items() if (unexpired := _unexpired(lessons, now))}
        for key in [key for key in current if key[0] == id][:-MAX_MODELS]:
            del current[key]
        while sum(map(len, current.values())) > MAX_LESSONS:
            del current[next(iter(current))]
        self._by_pair = current

    def apply(self, deployment: Deployment) -> Deployment:
        """Return `deployment` with its lessons."""
        key = (deployment.id, deployment.model)
        current = self._by_pair.get(key)
        if not current:
            return deployment
        unexpired = _unexpired(current, self._clock())
        if not unexpired:
            del self._by_pair[key]  # otherwise there would be an empty entry for each name that clients think of
            return deployment
        return with_changes(deployment, {name: lesson.value for name, lesson in unexpired.items()})

    def report(self) -> list[dict[str, Any]]:
        """Return all lessons for `/health`."""
        now = self._clock()
        return [
            {
                "deployment": id,
                "model": model,
                "field": name,
                "value": _plain(lesson.value),
                "seconds_left": round(lesson.expiry - now),
            }
            for (id, model), current in self._by_pair.items()
            for name, lesson in current.items()
            if lesson.expiry > now
        ]


def _unexpired(lessons: dict[str, Lesson], now: float) -> dict[str, Lesson]:
    return {name: lesson for name, lesson in lessons.items() if lesson.expiry > now}


class _Unproven(NamedTuple):
    """A lesson that waits for a success. `cause`: of the error that taught it."""

    changes: dict[str, Any]
    cause: tuple[str, str, int]


class Trial:
    """The lessons of one request, by deployment id."""

    def __init__(self, lessons: Lessons) -> None:
        self._lessons = lessons
        self._own: dict[str, dict[str, Any]] = {}  # what this request changes, on top of everybody's lessons
        self._unproven: dict[str, list[_Unproven]] = {}

    def apply(self, original: Deployment) -> Deployment:
        """Return `original` with everybody's lessons and this request's."""
        deployment = self._lessons.apply(original)
        own = self._own.get(original.id)
        return with_changes(deployment, own) if own else deployment

    def has_changed_wire(self, original: Deployment) -> bool:
        """Return whether this request has changed the wire of `original` already."""
        return WIRE in self._own.get(original.id, ())

    def learn(
        self, original: Deployment, deployment: Deployment, error: ApiError, added: frozenset[str]
    ) -> tuple[str, ...]:
        """Return the quirks to change before `original` is asked once more; () if `error` teaches nothing.

        `deployment`: the one that the failed attempt used, with the lessons of that time. `added`: the optional fields
        that the attempt sent. What other requests have learned meanwhile does not matter to that error. Where they have
        changed the same quirks already, their values are used."""
        cause = _cause_of(error)
        waiting = self._unproven.get(original.id, [])
        # The same error again: the lessons that it taught before did not help.
        self._unproven[original.id] = [one for one in waiting if one.cause != cause]
        changes = find_lesson(error, deployment.quirks, added)
        if changes is None:
            return ()
        current = self.apply(original).quirks
        if any(getattr(current, name) == getattr(deployment.quirks, name) for name in changes):
            self.use(original, error, changes, keep=is_lasting(error))
        return tuple(changes)

    def use(self, original: Deployment, error: ApiError, changes: dict[str, Any], *, keep: bool = True) -> None:
        """Apply `changes` for this request from now on. `keep`: for everybody, once it has succeeded."""
        self._own[original.id] = {**self._own.get(original.id, {}), **changes}
        if keep:
            self._unproven.setdefault(original.id, []).append(_Unproven(changes, _cause_of(error)))

    def confirm(self, original: Deployment) -> None:
        """Keep for everybody what this request has learned about `original`, because it has its answer from there."""
        for one in self._unproven.pop(original.id, ()):
            self._lessons.learn(original, one.changes)


def _cause_of(error: ApiError) -> tuple[str, str, int]:
    return error.kind, error.field, error.limit


def _plain(value: Any) -> Any:
    """Return `value` as JSON can have it."""
    return sorted(value) if isinstance(value, (frozenset, set)) else value


def with_wire(deployment: Deployment, wire: str) -> Deployment:
    """Return `deployment` for an OpenAI wire, instead of the wire that was chosen for it."""
    base, row = deployment.base, PROVIDERS.get(deployment.provider)
    if deployment.wire == "native":
        base = row.base if row and row.base and row.native == base else f"{base}/v1"
    quirks = override(find_quirks(deployment.provider, base, deployment.model), dict(deployment.overrides))
    return replace(deployment, wire=wire, base=base, path="", auth=row.auth if row else "bearer", quirks=quirks)


def with_changes(deployment: Deployment, changes: dict[str, Any]) -> Deployment:
    """Return `deployment` with the quirks of a lesson, on the wire that it names."""
    quirks = dict(changes)
    wire = quirks.pop(WIRE, "")
    if wire and wire != deployment.wire:
        deployment = with_wire(deployment, wire)
    return replace(deployment, quirks=override(deployment.quirks, quirks)) if quirks else deployment
