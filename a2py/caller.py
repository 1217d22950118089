"""Who asks: a key of the proxy's clients, with what it may do.

Knows: what a key may be limited to. Must not know: keys themselves, files, HTTP, what a name of a model means.
Invariants: nothing here is a secret; a caller never changes, so a running request keeps the one that it began with.
"""

from __future__ import annotations

from dataclasses import dataclass

from a2py.budget import Budget


@dataclass(frozen=True, slots=True)
class Caller:
    """`name`: of the key, "" if the proxy asks for none; `is_admin`: may read what concerns all keys; `models`: names
    and patterns that it may ask for, () for all; `rpm`, `tpm`, `max_parallel`: 0 for no limit; `expires`: seconds since
    the epoch, 0 for never."""

    name: str = ""
    is_admin: bool = False
    models: tuple[str, ...] = ()
    rpm: int = 0
    tpm: int = 0
    max_parallel: int = 0
    budget: Budget | None = None
    expires: float = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether its requests are counted: in number, tokens or dollars."""
        return bool(self.rpm or self.tpm or self.max_parallel or self.budget)

    def lists(self, name: str) -> bool:
        """Return whether `models` has the name as it is written. `may_ask` (proxy/access.py)
        knows what it means."""
        return not self.models or any(_matches(pattern, name) for pattern in self.models)


#: A proxy without keys: everybody may do everything.
ANYBODY = Caller()
#: The master key of the configuration. Its name is that of the ledger and the metrics.
MASTER = Caller("master", is_admin=True)


def _matches(pattern: str, name: str) -> bool:
    """Return whether `name` matches `pattern`, in which a `*` is any text.

    Not `fnmatch`, to which the brackets of `claude-opus-5[1m]` mean something. Each part is found once, so the time is
    that of reading the name for each star."""
    head, *inside = pattern.split("*")
    if not inside:
        return name == pattern
    tail, position = inside.pop(), len(head)
    if not name.startswith(head):
        return False
    for part in inside:
        position = name.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return len(name) - position >= len(tail) and name.endswith(tail)


def overlap(first: str, second: str) -> bool:
    """Return whether some text matches both patterns, in which a `*` is any text.

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
