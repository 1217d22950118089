"""What upstreams taught: fields they refuse, limits they named, wires they don't speak. Kept for an hour per (deployment, upstream model, field).

Knows: time, and how a lesson changes a deployment's quirks. Must not know: how a lesson is read from an error (wires/lessons.py).
Invariants: at most LIMIT lessons; a forgotten one is learned again at the price of one refused request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from a2py.deployment import Deployment
from a2py.providers import PROVIDERS, quirks_for
from a2py.quirks import override

#: Seconds that a lesson holds: an upstream that was updated is asked the full question again.
HOLDS = 3600.0
#: The field of the lesson that an upstream does not speak the wire which was chosen by itself.
WIRE = "wire"
LIMIT = 1000


class Lesson(NamedTuple):
    value: Any
    until: float


class Lessons:
    """`clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], dict[str, Lesson]] = {}
        self._count = 0

    def learn(self, deployment: Deployment, changes: dict[str, Any]) -> None:
        """Keep `changes` (quirk → value)."""
        known = self._known.setdefault((deployment.id, deployment.model), {})
        now = self._clock()
        if sum(map(len, self._known.values())) + len(changes) > LIMIT:
            self._known.clear()
            known = self._known.setdefault((deployment.id, deployment.model), {})
        for name, value in changes.items():
            known[name] = Lesson(value, now + HOLDS)

    def taught(self, deployment: Deployment) -> Deployment:
        """`deployment` as it is after its lessons."""
        known = self._known.get((deployment.id, deployment.model))
        if not known:
            return deployment
        now = self._clock()
        live = {name: lesson.value for name, lesson in known.items() if lesson.until > now}
        if not live:
            del self._known[deployment.id, deployment.model]  # else there would be one empty entry for each name that clients think of
        elif len(live) < len(known):
            self._known[deployment.id, deployment.model] = {name: known[name] for name in live}
        return changed(deployment, live) if live else deployment

    def shown(self) -> list[dict[str, Any]]:
        """For `/health`."""
        now = self._clock()
        return [
            {"deployment": id, "model": model, "field": name, "value": _plain(lesson.value), "seconds_left": round(lesson.until - now)}
            for (id, model), known in self._known.items()
            for name, lesson in known.items()
            if lesson.until > now
        ]


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, (frozenset, set)) else value


def on_wire(deployment: Deployment, wire: str) -> Deployment:
    """`deployment` asked by an OpenAI wire instead of the one that was chosen for it."""
    base, row = deployment.base, PROVIDERS.get(deployment.provider)
    if deployment.wire == "native":
        base = row.base if row and row.base and row.native == base else f"{base}/v1"
    quirks = override(quirks_for(deployment.provider, base, deployment.model), dict(deployment.overrides))
    return replace(deployment, wire=wire, base=base, path="", auth=row.auth if row else "bearer", quirks=quirks)


def changed(deployment: Deployment, changes: dict[str, Any]) -> Deployment:
    """`deployment` with the quirks of a lesson, on the wire that it names."""
    rest = dict(changes)
    wire = rest.pop(WIRE, "")
    if wire and wire != deployment.wire:
        deployment = on_wire(deployment, wire)
    return replace(deployment, quirks=override(deployment.quirks, rest)) if rest else deployment
