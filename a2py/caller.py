"""Who asks: a key of the proxy's clients, with what it may do.

Knows: what a key may be limited to. Must not know: keys themselves, files, HTTP, what a name of a model means.
Invariants: nothing here is a secret; a caller never changes, so a running request keeps the one that it began with.
"""

from __future__ import annotations

from dataclasses import dataclass

from a2py.budget import Budget
from a2py.patterns import matches


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

    def is_expired(self, now: float) -> bool:
        """Return whether its time is over. `now`: seconds since the epoch."""
        return bool(self.expires) and now >= self.expires

    def lists(self, name: str) -> bool:
        """Return whether `models` has the name as it is written. `may_ask` (proxy/access.py)
        knows what it means."""
        return not self.models or any(matches(pattern, name) for pattern in self.models)


#: A proxy without keys: everybody may do everything.
ANYBODY = Caller()
#: The master key of the configuration. Its name is that of the ledger and the metrics.
MASTER = Caller("master", is_admin=True)
