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
from a2py.evidence.message import ServerReport
from a2py.evidence.resolve import Patterns, resolve
from a2py.quirks import Quirks


def explain(
    deployment: Deployment, patterns: Patterns, report: ServerReport | None, lessons: Iterable[tuple[str, Fact]]
) -> dict[str, Any]:
    """Return what is known of `deployment`: `quirks`, each with value, source, reason and date; `server` if it has said
    what it is; `context` in tokens and `slots` if they are known. `report`: of its server; `lessons`: quirk and fact,
    from replies and refusals."""
    facts = resolve(deployment, patterns, report.word if report else None, report.date if report else "")
    for name, lesson in lessons:
        if name in Quirks.__dataclass_fields__:
            fact.add(facts, {name: lesson.value}, lesson.source, lesson.reason, lesson.date)
    summary: dict[str, Any] = {
        "quirks": {name: _describe(item) for name, item in fact.find_differences(facts, Quirks()).items()},
    }
    if report is not None and report.word.program:
        summary["server"] = {
            "program": report.word.program,
            "version": report.word.version,
            "reason": report.word.reason,
            "date": report.date,
        }
    if deployment.max_input_tokens:
        summary["context"] = deployment.max_input_tokens
    if deployment.slots:
        summary["slots"] = deployment.slots
    return summary


def _describe(item: Fact) -> dict[str, Any]:
    out = {"value": fact.plain(item.value), "source": item.source, "reason": item.reason}
    return {**out, "date": item.date} if item.date else out
