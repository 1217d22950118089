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
    deployment: Deployment, patterns: Patterns, learned: Learned | None, lessons: Iterable[tuple[str, Fact]]
) -> dict[str, Any]:
    """Return what is known of `deployment`: `quirks`, each with value, source, reason and date; `server` if it has said
    what it is; `context` in tokens and `slots` if they are known. `learned`: by its server; `lessons`: quirk and fact,
    from replies and refusals."""
    facts = resolve(deployment, patterns, learned.word if learned else None, learned.date if learned else "")
    for name, lesson in lessons:
        if name in Quirks.__dataclass_fields__:
            fact.add(facts, {name: lesson.value}, lesson.source, lesson.reason, lesson.date)
    summary: dict[str, Any] = {
        "quirks": {name: _shown(known) for name, known in fact.explained(facts, Quirks()).items()},
    }
    if learned is not None and learned.word.program:
        summary["server"] = {
            "program": learned.word.program,
            "version": learned.word.version,
            "reason": learned.word.reason,
            "date": learned.date,
        }
    if deployment.max_input_tokens:
        summary["context"] = deployment.max_input_tokens
    if deployment.slots:
        summary["slots"] = deployment.slots
    return summary


def _shown(known: Fact) -> dict[str, Any]:
    out = {"value": fact.plain(known.value), "source": known.source, "reason": known.reason}
    return {**out, "date": known.date} if known.date else out
