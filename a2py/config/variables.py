"""The environment that a configuration is read in, and the origin of each value.

Knows: variables of the process, and those of a folder's `.env` below them. Must not know: what a variable means, where
it is sent.
Invariants: pure; a variable of the process wins over one of `.env`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Origin(NamedTuple):
    """Where a value comes from. `dotenv`: a folder's `.env` wrote it. `holds`: the secrets that may be in its text, as
    names of the process's variables and as absolute paths of files with literal keys."""

    dotenv: bool = False
    holds: frozenset[str] = frozenset()

    def __or__(self, other: object) -> Origin:
        if not isinstance(other, Origin):
            return NotImplemented
        return Origin(self.dotenv or other.dotenv, self.holds | other.holds)


NOWHERE = Origin()


class Variables(dict[str, str]):
    """Variable → value: those of the process, and those of `.env` that count by themselves.

    `dotenv`: every variable of `.env` that a file may name by `os.environ/NAME`. `origins`: the origin of each variable
    that is not the process's own."""

    def __init__(
        self,
        values: Mapping[str, str],
        dotenv: Mapping[str, str] | None = None,
        origins: Mapping[str, Origin] | None = None,
    ) -> None:
        super().__init__(values)
        self.dotenv: Mapping[str, str] = dotenv or {}
        self.origins: Mapping[str, Origin] = origins or {}

    def lookup(self, name: str) -> str:
        """Return the value of `os.environ/NAME`, "" if it is not set."""
        return self[name] if name in self else self.dotenv.get(name, "")

    def origin(self, name: str) -> Origin:
        """Return where `lookup(name)` comes from. A variable that is not set yet would be set in the process."""
        if name in self.origins:
            return self.origins[name]
        return Origin(dotenv=True) if name not in self and name in self.dotenv else Origin(holds=frozenset((name,)))

    def above(self, values: Mapping[str, str], origins: Mapping[str, Origin]) -> Variables:
        """Return these variables with `values` below them. `origins`: the origin of each of these."""
        missing = {name: value for name, value in values.items() if name not in self and name not in self.dotenv}
        return Variables(
            {**missing, **self}, self.dotenv, {**{name: origins[name] for name in missing}, **self.origins}
        )

    def having(self, name: str, value: str) -> Variables:
        """Return these variables with one more, as if the process had it."""
        return Variables(
            {**self, name: value}, self.dotenv, {key: origin for key, origin in self.origins.items() if key != name}
        )


def variables(env: Mapping[str, str]) -> Variables:
    """Return `env` as Variables. A plain mapping is taken for the process's own variables."""
    return env if isinstance(env, Variables) else Variables(env)
