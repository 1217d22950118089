"""Say once what is the same at many places.

Knows: how a message begins with its place. Must not know: what it says.
Invariants: pure; the order of the first of each stays; no place is lost without being counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: How many further places are named; the others are counted.
MAX_PLACES = 3
_PLACE = re.compile(r"(?P<file>[^\s`]+):(?P<line>\d+): ")
_INDEX = re.compile(r"model_list\[\d+\]")


def collapse(messages: Iterable[str]) -> list[str]:
    """Return `messages` with those that differ only in their place as one.

    Two messages `a.yaml:3: x` and `a.yaml:7: x` become `a.yaml:3: x (also at line 7)`."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for message in dict.fromkeys(messages):
        match = _PLACE.match(message)
        file, line = (match["file"], match["line"]) if match else ("", "")
        rest = message[match.end() :] if match else message
        groups.setdefault((file, _INDEX.sub("model_list[]", rest)), []).append((message, line))
    return [_join(group) for group in groups.values()]


def _join(group: list[tuple[str, str]]) -> str:
    first, *others = group
    lines = list(dict.fromkeys(line for _, line in others if line and line != first[1]))
    if not lines:
        return first[0]
    more = f" and {len(lines) - MAX_PLACES} more" if len(lines) > MAX_PLACES else ""
    return f"{first[0]} (also at line{'s' if len(lines) > 1 else ''} {', '.join(lines[:MAX_PLACES])}{more})"
