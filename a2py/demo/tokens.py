"""Text → tokens, well enough to stream and to count by.

Knows: one regular expression. Must not know: any real vocabulary; the counts are this model's own, and true for it.
Invariants: the tokens of a text, joined, are the text.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\s?\w{1,6}|\s+|[^\w\s]")


def split(text: str) -> list[str]:
    """The tokens of `text`: a word of up to six letters with the blank before it, a run of white space, or one sign."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    return len(_TOKEN.findall(text))
