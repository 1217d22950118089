"""A rule: one wording of one or more upstreams, as data.

Knows: how a pattern is written. Must not know: any wording.
Invariants: a named group means the same in every rule. `used`: tokens of the prompt; `tools`: tokens of the tool list;
`out`: tokens of the completion; `total`: all of them; `limit`: the most that is accepted; `below`: one more than that;
`field`, `f2`, `f3`: a request field; `values`, `more`: the words that it accepts.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Rule(NamedTuple):
    """One wording.

    `name`: of the rule, in its golden; `kind`: of the error; `text`, `codes`: one of them must match; `source`: who
    says it, and when; `statuses`: the only ones with which the rule applies, empty for any; `provider`: the same;
    `field`: the request field that the error is about; `unless`: wording that rules it out; `verbatim`: the client
    gets the upstream's text unchanged; `least`: `used` is where the upstream stopped counting, not the size of the
    prompt."""

    name: str
    kind: str
    text: re.Pattern[str] | None
    source: str
    codes: re.Pattern[str] | None = None
    statuses: frozenset[int] = frozenset()
    provider: str = ""
    field: str = ""
    should_retry: bool | None = None
    unless: re.Pattern[str] | None = None
    verbatim: bool = False
    least: bool = False


def pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern for a text in one line with single spaces (`ErrorBody.line`)."""
    return re.compile(text, re.IGNORECASE)


def codes(words: str) -> re.Pattern[str]:
    """Compile a pattern that matches any of these words as a whole code."""
    return re.compile(rf"(?<!\S)(?:{words})(?!\S)", re.IGNORECASE)


def number(name: str) -> str:
    """Return a pattern for a number, with or without thousands commas."""
    return rf"(?P<{name}>\d[\d,]{{0,14}})"
