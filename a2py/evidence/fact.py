"""One thing that is known of a deployment, with its reason.

Knows: which source outweighs which. Must not know: how any source is read.
Invariants: a fact of a weaker source never replaces one of a stronger source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

#: Where a fact comes from. `common` is the subset that every server takes.
Source = Literal["common", "family", "host", "server", "reply", "refusal", "file"]
#: The sources, the weakest first.
SOURCES: tuple[Source, ...] = ("common", "family", "host", "server", "reply", "refusal", "file")


class Fact(NamedTuple):
    """`value`: of a quirk; `reason`: one line for people; `date`: ISO date on which a server, reply or refusal showed
    it, "" for the tables and the file."""

    value: Any
    source: Source
    reason: str
    date: str = ""


Facts = dict[str, Fact]


def add(facts: Facts, changes: Mapping[str, Any], source: Source, reason: str, date: str = "") -> None:
    """Put `changes` (quirk → value) into `facts`, over what is of the same source or a weaker one."""
    rank = SOURCES.index(source)
    for name, value in changes.items():
        current = facts.get(name)
        if current is None or SOURCES.index(current.source) <= rank:
            facts[name] = Fact(value, source, reason, date)


def values(facts: Mapping[str, Fact]) -> dict[str, Any]:
    """Return quirk → value."""
    return {name: fact.value for name, fact in facts.items()}


def find_fixed_quirks(facts: Mapping[str, Fact]) -> frozenset[str]:
    """Return the quirks that the configuration has set: nothing that is learned changes them."""
    return frozenset(name for name, fact in facts.items() if fact.source == "file")


def find_differences(facts: Mapping[str, Fact], defaults: object) -> dict[str, Fact]:
    """Return the facts that differ from `defaults`, the common subset, by name."""
    return {name: fact for name, fact in sorted(facts.items()) if fact.value != getattr(defaults, name, None)}


def plain(value: Any) -> Any:
    """Return the value of a quirk as JSON can have it."""
    return sorted(value) if isinstance(value, frozenset) else value
