"""The quirks of a deployment with their reasons, for `/health` and `a2py models --explain`.

Knows: the form in which they are shown. Must not know: where they are shown.
Invariants: only what differs from the common subset is shown; no key, no address, nothing that a client wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from a2py.deployment import Deployment
from a2py.evidence import fact
from a2py.evidence.fact import Fact
from a2py.evidence.message import Learned
from a2py.evidence.resolve import Patterns, resolve
from a2py.quirks import Quirks


def explain(
    deployment: Deployment, patterns: Patterns, said: Learned | None, lessons: Iterable[tuple[str, Fact]]
) -> dict[str, Any]:
    """Return what is known of `deployment`: `quirks`, each with value, source, reason and date; `server` if it has said
    what it is; `context` in tokens and `slots` if they are known. `said`: by its server; `lessons`: quirk and fact, from replies and
    refusals."""
    facts = resolve(deployment, patterns, said.word if said else None, said.date if said else "")
    for name, lesson in lessons:
        if name in Quirks.__dataclass_fields__:
            fact.add(facts, {name: lesson.value}, lesson.source, lesson.reason, lesson.date)
    shown: dict[str, Any] = {
        "quirks": {name: _shown(known) for name, known in fact.explained(facts, Quirks()).items()},
    }
    if said is not None and said.word.program:
        shown["server"] = {
            "program": said.word.program,
            "version": said.word.version,
            "reason": said.word.reason,
            "date": said.date,
        }
    if deployment.max_input_tokens:
        shown["context"] = deployment.max_input_tokens
    if deployment.slots:
        shown["slots"] = deployment.slots
    return shown


def _shown(known: Fact) -> dict[str, Any]:
    out = {"value": fact.plain(known.value), "source": known.source, "reason": known.reason}
    return {**out, "date": known.date} if known.date else out
