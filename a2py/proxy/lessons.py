"""What upstreams taught: fields they refuse, limits they named, wires they don't speak. Kept for an hour per (deployment, upstream model, field).

A request uses a lesson for its own next attempt at once (`Trial`). The lesson is kept for everybody (`Lessons`) only when that attempt, or a
later one of the same request at the same deployment, has succeeded: an error that quotes the client's text may teach nonsense, and nonsense
must not reach other clients.

Knows: time, and how a lesson changes a deployment's quirks. Must not know: how a lesson is read from an error (wires/lessons.py), HTTP.
Invariants: at most LIMIT lessons, of at most MODELS models of one deployment; a forgotten one is learned again at the price of one refused
request; no lesson of one request reaches another before it has proven itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.evidence.fact import Fact, Source
from a2py.evidence.resolve import known
from a2py.providers import PROVIDERS
from a2py.quirks import override
from a2py.wires.lessons import lasting, lesson, together

#: Seconds that a lesson holds: an upstream that was updated is asked the full question again.
HOLDS = 3600.0
#: The field of the lesson that an upstream does not speak the wire which was chosen by itself.
WIRE = "wire"
LIMIT = 1000
#: Models of one deployment of which lessons are kept. A wildcard deployment's models are names that clients choose.
MODELS = 64


class Lesson(NamedTuple):
    """`until`: monotonic seconds; `fact`: what is shown of it."""

    value: Any
    until: float
    fact: Fact


class Lessons:
    """What holds for everybody. `clock`: monotonic seconds; `wall_clock`: seconds since the epoch."""

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._known: dict[tuple[str, str], dict[str, Lesson]] = {}  # the one that learned last stands last

    def learn(self, deployment: Deployment, changes: dict[str, Any], source: Source = "refusal", reason: str = "") -> None:
        """Keep `changes` (quirk → value) for an hour."""
        key, now, date = (deployment.id, deployment.model), self._clock(), iso_date(self._wall_clock())
        known = self._live(self._known.pop(key, {}), now)
        for name, value in changes.items():
            before = known.get(name)
            value = together(name, before.value, value) if before else value
            known[name] = Lesson(value, now + HOLDS, Fact(value, source, reason, date))
        self._known[key] = known
        self._trim(deployment.id, now)

    def _trim(self, id: str, now: float) -> None:
        """Drop what has expired, and the oldest above the limits: of the deployment that has just learned first."""
        known = {key: live for key, lessons in self._known.items() if (live := self._live(lessons, now))}
        for key in [key for key in known if key[0] == id][:-MODELS]:
            del known[key]
        while sum(map(len, known.values())) > LIMIT:
            del known[next(iter(known))]
        self._known = known

    @staticmethod
    def _live(lessons: dict[str, Lesson], now: float) -> dict[str, Lesson]:
        return {name: lesson for name, lesson in lessons.items() if lesson.until > now}

    def taught(self, deployment: Deployment) -> Deployment:
        """`deployment` as it is after its lessons."""
        known = self._known.get((deployment.id, deployment.model))
        if not known:
            return deployment
        live = self._live(known, self._clock())
        if not live:
            del self._known[deployment.id, deployment.model]  # else there would be one empty entry for each name that clients think of
        return changed(deployment, {name: lesson.value for name, lesson in live.items()}) if live else deployment

    def facts(self, deployment: Deployment) -> list[tuple[str, Fact]]:
        """Return what is learned of `deployment`, a wildcard's models left out."""
        known = self._live(self._known.get((deployment.id, deployment.model), {}), self._clock())
        return [(name, lesson.fact) for name, lesson in known.items()]

    def shown(self) -> list[dict[str, Any]]:
        """For `/health`."""
        now = self._clock()
        return [
            {"deployment": id, "model": model, "field": name, "value": _plain(lesson.value), "seconds_left": round(lesson.until - now)}
            for (id, model), known in self._known.items()
            for name, lesson in known.items()
            if lesson.until > now
        ]


class _Unproven(NamedTuple):
    """A lesson that waits for a success. `cause`: of the error that taught it."""

    changes: dict[str, Any]
    cause: tuple[str, str, int]
    reason: str


class Trial:
    """The lessons of one request, by deployment id."""

    def __init__(self, lessons: Lessons) -> None:
        self._lessons = lessons
        self._own: dict[str, dict[str, Any]] = {}  # what this request changes, on top of what everybody knows
        self._unproven: dict[str, list[_Unproven]] = {}

    def taught(self, original: Deployment) -> Deployment:
        """`original` after everybody's lessons and this request's."""
        deployment = self._lessons.taught(original)
        own = self._own.get(original.id)
        return changed(deployment, own) if own else deployment

    def moved(self, original: Deployment) -> bool:
        """Whether this request has left the wire of `original`."""
        return WIRE in self._own.get(original.id, ())

    def learn(self, original: Deployment, asked: Deployment, error: ApiError, added: frozenset[str]) -> tuple[str, ...]:
        """The quirks that are changed when `original` is asked once more; () if `error` teaches nothing.

        `asked`: the deployment as the failed attempt asked it, `added`: the optional fields that it sent. What other requests have learned
        since does not matter to that error; where they have changed the same quirks already, theirs are used."""
        cause = _cause(error)
        waiting = self._unproven.get(original.id, [])
        self._unproven[original.id] = [one for one in waiting if one.cause != cause]  # those did not help
        changes = lesson(error, asked.quirks, added, original.fixed)
        if changes is None:
            return ()
        now = self.taught(original).quirks
        if any(getattr(now, name) == getattr(asked.quirks, name) for name in changes):
            self.change(original, error, changes, keep=lasting(error))
        return tuple(changes)

    def change(self, original: Deployment, error: ApiError, changes: dict[str, Any], *, keep: bool = True) -> None:
        """Use `changes` for this request from now on; `keep`: for everybody once it has succeeded."""
        self._own[original.id] = {**self._own.get(original.id, {}), **changes}
        if keep:
            self._unproven.setdefault(original.id, []).append(_Unproven(changes, _cause(error), _reason(error)))

    def succeeded(self, original: Deployment) -> None:
        """This request has its answer from `original`: what it learned there holds for everybody."""
        for one in self._unproven.pop(original.id, ()):
            self._lessons.learn(original, one.changes, "refusal", one.reason)


def _cause(error: ApiError) -> tuple[str, str, int]:
    return error.kind, error.field, error.limit


def _reason(error: ApiError) -> str:
    """Return why a lesson holds, without the error's words: they may quote the client."""
    return f"it answered {error.status} and named {error.field}" if error.field else f"it answered {error.status}"


def iso_date(seconds: float) -> str:
    """Return seconds since the epoch as `2026-11-29T20:15Z`."""
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(seconds))


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, (frozenset, set)) else value


def on_wire(deployment: Deployment, wire: str) -> Deployment:
    """Return `deployment` asked by an OpenAI wire instead of the one that was chosen for it."""
    row = PROVIDERS.get(deployment.provider)
    moved = replace(deployment, wire=wire, path="", auth=row.auth if row else "bearer")
    if deployment.wire != "native":
        return moved
    base = row.base if row and row.base and row.native == deployment.base else f"{deployment.base}/v1"
    moved = known(replace(moved, base=base), {}, None, lambda _: None)
    configured = {name: getattr(deployment.quirks, name) for name in deployment.fixed}
    return replace(moved, quirks=override(moved.quirks, configured), fixed=deployment.fixed)


def changed(deployment: Deployment, changes: dict[str, Any]) -> Deployment:
    """`deployment` with the quirks of a lesson, on the wire that it names."""
    rest = dict(changes)
    wire = rest.pop(WIRE, "")
    if wire and wire != deployment.wire:
        deployment = on_wire(deployment, wire)
    rest = {name: value for name, value in rest.items() if name not in deployment.fixed}
    return replace(deployment, quirks=override(deployment.quirks, rest)) if rest else deployment
