"""The provider table: one row a provider, as data (CONFIG of the project's docs: docs/providers.md is tested against it).

Knows: base URLs, key and base variables, wires, quirks, and the quirks of model families.
Must not know: the environment (config/ reads it), sockets.
Invariants: `quirks_for` is a pure function of provider, host and model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from a2py.quirks import Quirks


@dataclass(frozen=True, slots=True)
class Provider:
    """One row. `base`: API base without trailing slash ("" where the user must give one); `keys`: environment variables, first set wins;
    `bases`: environment variables for the base; `key_optional`: works without a key; `native`: base of the vendor's own Anthropic endpoint
    (`/v1/messages` below it); `default_model`: where `claude-*` names go when nothing is configured."""

    name: str
    base: str = ""
    keys: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    auth: str = "bearer"
    key_optional: bool = False
    wire: str = "chat"
    native: str = ""
    default_model: str = ""
    quirks: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    docs: str = ""


def quirks_for(provider: str, base: str, model: str) -> Quirks:  # a first row; the table follows
    return Quirks()
