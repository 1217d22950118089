"""The quirks of a deployment with their reasons, for `/health` and `a2py models --explain`.

Knows: the form in which they are shown. Must not know: where they are shown.
Invariants: only what differs from the common subset is shown; no key, no address, nothing that a client wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from a2py.deployment import Deployment
from a2py.evidence import fact
from a2py.evidence.fact import Fact
from a2py.evidence.resolve import Patterns, resolve
from a2py.evidence.server import ServerWord
from a2py.quirks import Quirks


class Seen(NamedTuple):
    """What a server said of itself, and when (ISO date)."""

    word: ServerWord
    date: str = ""


def explain(
    deployment: Deployment, patterns: Patterns, seen: Seen | None, learned: Iterable[tuple[str, Fact]]
) -> dict[str, Any]:
    """Return what is known of `deployment`: `quirks`, each with value, source, reason and date; `server` if it has said what it is; `context`
    in tokens if it is known. `learned`: quirk and fact, from replies and refusals."""
    facts = resolve(deployment, patterns, seen.word if seen else None, seen.date if seen else "")
    for name, learned_fact in learned:
        if name in Quirks.__dataclass_fields__:
            fact.add(facts, {name: learned_fact.value}, learned_fact.source, learned_fact.reason, learned_fact.date)
    shown: dict[str, Any] = {
        "quirks": {name: _shown(known) for name, known in fact.explained(facts, Quirks()).items()},
    }
    if seen is not None and seen.word.program:
        shown["server"] = {
            "program": seen.word.program,
            "version": seen.word.version,
            "reason": seen.word.reason,
            "date": seen.date,
        }
    if deployment.max_input_tokens:
        shown["context"] = deployment.max_input_tokens
    return shown


def _shown(known: Fact) -> dict[str, Any]:
    value = sorted(known.value) if isinstance(known.value, (set, frozenset)) else known.value
    out = {"value": value, "source": known.source, "reason": known.reason}
    return {**out, "date": known.date} if known.date else out
