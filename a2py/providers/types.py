"""The types of the rows of the provider table and of the model table.

Knows: their fields. Must not know: any row.
Invariants: frozen; the tables are built once, at import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Provider:
    """One row. `name`: the prefix of a model name; `base`: API base without trailing slash ("" if the user must give
    one); `keys`, `bases`: environment variables for the key and the base, of which the first that is set is used;
    `auth`: how the key is sent (`bearer`, `api-key`, `x-api-key`); `key_optional`: works without a key; `wire`: the
    wire of its own base; `native`: base of the vendor's own Anthropic endpoint (`/v1/messages` below it);
    `native_models`: patterns (model's last path segment or whole name, lower case) of what that endpoint serves
    faithfully; `hosts`: hosts that belong to the row: a leading dot matches subdomains, `:port` any host;
    `default_model`: the model for `claude-*` names if nothing is configured ("": a request must name a model);
    `quirks`: fields of `Quirks` that differ from the common subset; `headers`: sent always; `env_headers`: header →
    environment variable that holds its value; `docs`: source and date."""

    name: str
    base: str = ""
    keys: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    auth: str = "bearer"
    key_optional: bool = False
    wire: str = "chat"
    native: str = ""
    native_models: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    default_model: str = ""
    quirks: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    env_headers: Mapping[str, str] = field(default_factory=dict)
    docs: str = ""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """Quirks of a model family. `models`: patterns on the last path segment, lower case; `providers`: rows to which
    they apply. Empty: on every server, because the model itself is so. "" among them: on servers that are not in the
    provider table. Later rows override earlier ones. `docs`: source and date."""

    models: tuple[str, ...]
    quirks: Mapping[str, Any]
    providers: frozenset[str] = frozenset()
    docs: str = ""


def row(name: str, base: str = "", **more: Any) -> Provider:
    """Return a `Provider` with what most rows share: `<PREFIX>_API_KEY`, `<PREFIX>_API_BASE`, the host of its base."""
    prefix = name.upper().replace("-", "_")
    more.setdefault("keys", (f"{prefix}_API_KEY",))
    more.setdefault("bases", (f"{prefix}_API_BASE",))
    more.setdefault("hosts", (urlsplit(base).netloc,) if base else ())
    return Provider(name=name, base=base, **more)
