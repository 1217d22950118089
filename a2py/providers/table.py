"""All rows of the provider table by name (docs/providers.md is tested against them).

Knows: the three lists of rows. Must not know: what a row holds.
Invariants: each key is its row's name, and no name is used twice.
"""

from __future__ import annotations

from a2py.providers.hosts import HOSTS
from a2py.providers.local import LOCAL
from a2py.providers.types import Provider
from a2py.providers.vendors import VENDORS

PROVIDERS: dict[str, Provider] = {row.name: row for row in (*VENDORS, *HOSTS, *LOCAL)}
