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
    """One row of the provider table."""

    #: Prefix of a model name.
    name: str
    #: API base without trailing slash; "" if the user must give one.
    base: str = ""
    #: Environment variables for the key and the base. The first that is set is used.
    keys: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    #: How the key is sent: `bearer`, `api-key` or `x-api-key`.
    auth: str = "bearer"
    #: It works without a key.
    key_optional: bool = False
    #: Wire of its own base.
    wire: str = "chat"
    #: Base of the vendor's own Anthropic endpoint; `/v1/messages` is appended.
    native: str = ""
    #: Patterns of the models that this endpoint serves faithfully: last path segment or whole name, lower case.
    native_models: tuple[str, ...] = ()
    #: Hosts that belong to the row. A leading dot matches subdomains, `:port` matches any host with that port.
    hosts: tuple[str, ...] = ()
    #: Model for `claude-*` names if nothing is configured; "": a request must name a model.
    default_model: str = ""
    #: Fields of `Quirks` that differ from the common subset.
    quirks: Mapping[str, Any] = field(default_factory=dict)
    #: Endpoints of OpenAI's API that it does not have at its own address. What is not listed is asked.
    lacks: frozenset[str] = frozenset()
    #: Header → environment variable with its value.
    env_headers: Mapping[str, str] = field(default_factory=dict)
    #: Source and date of the facts.
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
