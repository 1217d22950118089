"""Patterns of names, in which a `*` is any text.

Not `fnmatch`, to which the brackets of `claude-opus-5[1m]` mean something.

Knows: the star. Must not know: what the names are of. A pattern whose stars stand for something (config/names.py) is
matched there.
Invariants: pure. The time is that of reading the name for each star; of two patterns, the product of their lengths.
"""

from __future__ import annotations


def matches(pattern: str, text: str) -> bool:
    """Return whether `text` matches `pattern`. Each part between two stars is found once, as early as it can be."""
    head, *rest = pattern.split("*")
    if not rest:
        return text == head
    *inside, tail = rest
    if len(text) < len(head) + len(tail) or not text.startswith(head) or not text.endswith(tail):
        return False
    at, end = len(head), len(text) - len(tail)
    for part in inside:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def overlap(first: str, second: str) -> bool:
    """Return whether some text matches both patterns.

    `row[j]`: whether the rest of `first` and `second[j:]` can match the same text, from the end of `first` to its
    beginning."""
    row = [not second[j:].strip("*") for j in range(len(second) + 1)]
    for character in reversed(first):
        after, row = row, [character == "*" and row[-1]] * len(row)
        for j in reversed(range(len(second))):
            if character == "*" or second[j] == "*":  # the star takes nothing more, or one more character
                row[j] = after[j] or row[j + 1]
            else:
                row[j] = character == second[j] and after[j + 1]
    return row[0]
