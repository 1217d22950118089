"""A rule: one wording of one or more upstreams, as data.

Knows: how a pattern is written. Must not know: any wording.
Invariants: named groups mean the same everywhere: `used` tokens of the prompt, `tools` those of the tool list, `out` the completion's,
`total` both, `limit` what is taken, `below` one more than that; `field` a request field, `values` the words that it takes.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Rule(NamedTuple):
    """`text` or `codes` must be found; `statuses`: only with these (empty: any); `verbatim`: the text goes on as it came; `least`: `used`
    is where the counting stopped, not the prompt's size."""

    name: str
    kind: str
    text: re.Pattern[str] | None
    seen: str
    codes: re.Pattern[str] | None = None
    statuses: frozenset[int] = frozenset()
    provider: str = ""
    field: str = ""
    should_retry: bool | None = None
    verbatim: bool = False
    least: bool = False


def pattern(text: str) -> re.Pattern[str]:
    """Over a text in one line, whose white space is single spaces."""
    return re.compile(text, re.IGNORECASE)


def codes(words: str) -> re.Pattern[str]:
    """Any of these words as a whole code."""
    return re.compile(rf"(?<!\S)(?:{words})(?!\S)", re.IGNORECASE)


def number(name: str) -> str:
    """A number, with or without thousands commas."""
    return rf"(?P<{name}>\d[\d,]{{0,14}})"
