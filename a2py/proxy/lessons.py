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

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.evidence.fact import Fact, Source, plain
from a2py.evidence.resolve import apply_evidence
from a2py.providers import PROVIDERS
from a2py.quirks import Quirks, override
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
    """`expiry`: time of the clock; `fact`: what is shown of it."""

    value: Any
    expiry: float
    fact: Fact


class Lessons:
    """The lessons for everybody, by (deployment id, upstream model) and quirk. `clock`: monotonic seconds;
    `wall_clock`: seconds since the epoch; `report_lesson`: called with what was learned here, for other processes."""

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self.report_lesson: Callable[[str, str, dict[str, Any], Source, str], object] | None = None
        self._lessons: dict[tuple[str, str], dict[str, Lesson]] = {}  # the pair that learned last is last

    def learn(
        self, deployment: Deployment, changes: dict[str, Any], source: Source = "refusal", reason: str = ""
    ) -> None:
        """Keep `changes` (quirk → value) for an hour. `reason`: one line for people."""
        self.keep(deployment.id, deployment.model, changes, LESSON_SECONDS, (source, reason, ""))
        if self.report_lesson is not None:
            self.report_lesson(deployment.id, deployment.model, changes, source, reason)

    def keep(
        self, id: str, model: str, changes: dict[str, Any], seconds: float, origin: tuple[Source, str, str]
    ) -> None:
        """Keep `changes` of a deployment's `model` for `seconds`. `origin`: source, reason, and the date, "" for
        today."""
        key, now, (source, reason, date) = (id, model), self._clock(), origin
        date = date or iso_date(self._wall_clock())
        lessons = _drop_expired(self._lessons.pop(key, {}), now)
        for name, value in changes.items():
            earlier = lessons.get(name)
            value = join_lessons(name, earlier.value, value) if earlier else value
            lessons[name] = Lesson(value, now + seconds, Fact(value, source, reason, date))
        self._lessons[key] = lessons
        self._trim(id, now)

    def list_lessons(self) -> list[tuple[str, str, dict[str, Any], float, Source, str, str]]:
        """Return deployment id, model, change, seconds left, source, reason and date of each lesson."""
        now = self._clock()
        return [
            (id, model, {name: lesson.value}, lesson.expiry - now, *lesson.fact[1:])
            for (id, model), lessons in self._lessons.items()
            for name, lesson in _drop_expired(lessons, now).items()
        ]

    def _trim(self, id: str, now: float) -> None:
        """Drop what has expired, and the oldest lessons above the limits: first those of deployment `id`, which has
        just learned."""
        current = {key: rest for key, lessons in self._lessons.items() if (rest := _drop_expired(lessons, now))}
        for key in [key for key in current if key[0] == id][:-MAX_MODELS]:
            del current[key]
        while sum(map(len, current.values())) > MAX_LESSONS:
            del current[next(iter(current))]
        self._lessons = current

    def apply(self, deployment: Deployment) -> Deployment:
        """Return `deployment` with its lessons."""
        key = (deployment.id, deployment.model)
        lessons = self._lessons.get(key)
        if not lessons:
            return deployment
        rest = _drop_expired(lessons, self._clock())
        if not rest:
            del self._lessons[key]  # otherwise there would be an empty entry for each name that clients think of
            return deployment
        return with_changes(deployment, {name: lesson.value for name, lesson in rest.items()})

    def facts(self, deployment: Deployment) -> list[tuple[str, Fact]]:
        """Return what was learned about `deployment`: quirk and fact."""
        lessons = _drop_expired(self._lessons.get((deployment.id, deployment.model), {}), self._clock())
        return [(name, lesson.fact) for name, lesson in lessons.items()]

    def report(self) -> list[dict[str, Any]]:
        """Return all lessons for `/health`."""
        now = self._clock()
        return [
            {
                "deployment": id,
                "model": model,
                "field": name,
                "value": plain(lesson.value),
                "seconds_left": round(lesson.expiry - now),
            }
            for (id, model), lessons in self._lessons.items()
            for name, lesson in lessons.items()
            if lesson.expiry > now
        ]


def _drop_expired(lessons: dict[str, Lesson], now: float) -> dict[str, Lesson]:
    return {name: lesson for name, lesson in lessons.items() if lesson.expiry > now}


class _Unproven(NamedTuple):
    """A lesson that waits for a success. `cause`: of the error that taught it."""

    changes: dict[str, Any]
    cause: tuple[str, str, int]
    reason: str


class Trial:
    """The lessons of one request, by deployment id."""

    def __init__(self, lessons: Lessons) -> None:
        self._lessons = lessons
        self._own: dict[str, dict[str, Any]] = {}  # what this request changes, on top of everybody's lessons
        self._unproven: dict[str, list[_Unproven]] = {}
        self._earlier_quirks: dict[str, list[Quirks]] = {}  # how it was asked so far

    def apply(self, original: Deployment) -> Deployment:
        """Return `original` with everybody's lessons and this request's."""
        deployment = self._lessons.apply(original)
        own = self._own.get(original.id)
        return with_changes(deployment, own) if own else deployment

    def has_changed_wire(self, original: Deployment) -> bool:
        """Return whether this request has changed the wire of `original` already."""
        return WIRE in self._own.get(original.id, ())

    def learn(
        self, original: Deployment, deployment: Deployment, error: ApiError, optional_fields: frozenset[str]
    ) -> tuple[str, ...]:
        """Return the quirks to change before `original` is asked once more; () if `error` teaches nothing.

        `deployment`: as the failed attempt asked it; `optional_fields`: the optional fields that the attempt sent. What
        other requests have learned meanwhile does not matter to that error. Where they have changed the same quirks
        already, their values are used. Nothing that this request has learned is taken back."""
        cause = _cause_of(error)
        earlier = self._earlier_quirks.setdefault(original.id, [])
        waiting = self._unproven.get(original.id, [])
        # The same error again: the lessons that it taught before did not help.
        self._unproven[original.id] = [one for one in waiting if one.cause != cause]
        changes = find_lesson(error, deployment.quirks, optional_fields, original.fixed_quirks, earlier)
        earlier.append(deployment.quirks)
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
            self._unproven.setdefault(original.id, []).append(_Unproven(changes, _cause_of(error), _reason(error)))

    def confirm(self, original: Deployment) -> None:
        """Keep for everybody what this request has learned about `original`, because it has its answer from there."""
        for one in self._unproven.pop(original.id, ()):
            self._lessons.learn(original, one.changes, "refusal", one.reason)


def _cause_of(error: ApiError) -> tuple[str, str, int]:
    return error.kind, error.field, error.limit


def _reason(error: ApiError) -> str:
    """Return why a lesson holds, without the error's words: they may quote the client."""
    return f"it answered {error.status} and named {error.field}" if error.field else f"it answered {error.status}"


def iso_date(seconds: float) -> str:
    """Return seconds since the epoch as `2026-11-29T20:15Z`."""
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(seconds))


def with_wire(deployment: Deployment, wire: str) -> Deployment:
    """Return `deployment` for an OpenAI wire, instead of the wire that was chosen for it."""
    row = PROVIDERS.get(deployment.provider)
    variant = replace(deployment, wire=wire, path="", auth=row.auth if row else "bearer")
    if deployment.wire != "native":
        return variant
    base = row.base if row and row.base and row.native == deployment.base else f"{deployment.base}/v1"
    variant = apply_evidence(replace(variant, base=base), {}, None)
    fixed_quirks = {name: getattr(deployment.quirks, name) for name in deployment.fixed_quirks}
    return replace(variant, quirks=override(variant.quirks, fixed_quirks), fixed_quirks=deployment.fixed_quirks)


def with_changes(deployment: Deployment, changes: dict[str, Any]) -> Deployment:
    """Return `deployment` with the quirks of a lesson, on the wire that it names."""
    quirks = dict(changes)
    wire = quirks.pop(WIRE, "")
    if wire and wire != deployment.wire:
        deployment = with_wire(deployment, wire)
    quirks = {name: value for name, value in quirks.items() if name not in deployment.fixed_quirks}
    return replace(deployment, quirks=override(deployment.quirks, quirks)) if quirks else deployment
