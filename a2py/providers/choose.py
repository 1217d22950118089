"""Which row a host belongs to; which quirks, which wire and which base a deployment gets.

Knows: how rows of the two tables are put together. Must not know: any single provider, except that `openai` with a
foreign base is not OpenAI.
Invariants: every function is pure, and total: an unknown provider, host or model gets the common subset on chat
completions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from a2py.providers.any_host import FAMILIES, TRANSLATES, WEIGHTS
from a2py.providers.models import MODELS, OPENAI_WIRES
from a2py.providers.table import PROVIDERS
from a2py.providers.types import Provider
from a2py.quirks import Quirks, override

_HOSTS = {host: row.name for row in PROVIDERS.values() for host in row.hosts}
_SUFFIXES = tuple((host, name) for host, name in _HOSTS.items() if host.startswith("."))
#: A provider that no row knows, and `openai` at a host that no row knows.
_COMMON = Provider(name="")


class Layer(NamedTuple):
    """Quirks that one row of the tables gives. `reason`: the row's `docs`."""

    source: Literal["family", "host"]
    reason: str
    quirks: Mapping[str, Any]


def by_host(base: str) -> str:
    """The row that the host of `base` belongs to, or else the local server whose port it names; "" where no row knows
    it."""
    return _host_row_name(base) or _HOSTS.get(f":{_split(base)[1]}", "")


def quirks_for(provider: str, base: str, model: str) -> Quirks:
    """Return the quirks of `model` at `provider`, whose API base is `base` ("": the row's own)."""
    changes: dict[str, Any] = {}
    for layer in layers_for(provider, base, model):
        changes.update(layer.quirks)
    return override(Quirks(), changes)


def layers_for(provider: str, base: str, model: str, server: str | None = None) -> Iterator[Layer]:
    """Yield what the tables know of `model`, the weakest first. `server`: name of the row that the server itself has named, "" for a relay
    that no row describes; None if it has named none. A host of the table and a prefix other than `openai` are stronger than it."""
    row, last = _row(provider, base), _last(model)
    if server is not None and row_is_guess(provider, base):
        row = PROVIDERS.get(server) or Provider(server)
    if row.name not in WEIGHTS and row.name not in TRANSLATES:
        for family in FAMILIES:
            if (not family.providers or row.name in family.providers) and _matches(family.models, last):
                yield Layer("family", family.docs, family.quirks)
    yield Layer("host", row.docs, row.quirks)
    for entry in MODELS:
        if (not entry.providers or row.name in entry.providers) and _matches(entry.models, last):
            yield Layer("host" if entry.providers else "family", entry.docs, entry.quirks)


def row_is_guess(provider: str, base: str) -> bool:
    """Return whether nothing but a port says which server stands at `base`: no host of the table, and no prefix that names a server."""
    return bool(base) and not _host_row_name(base) and PROVIDERS.get(provider, _COMMON).name in ("", "openai")


def wire_for(provider: str, base: str, model: str) -> str:
    """The best wire: `native` where the vendor's own Anthropic endpoint serves the model, `responses` for models of
    api.openai.com that refuse reasoning with tools on chat completions, else `chat`. A base of the user's own is asked
    by chat, unless it names the vendor's Anthropic endpoint or the provider speaks nothing else."""
    row, own_row = _row(provider, base), PROVIDERS.get(provider, _COMMON)
    if own_row.wire == "native" or _is_native(row, base):
        return "native"
    if own_row is row and _own(row, base) and _matches(row.native_models, model.lower(), _last(model)):
        return "native"
    if row.name == "openai":
        return next((wire for pattern, wire in OPENAI_WIRES if fnmatchcase(_last(model), pattern)), "chat")
    return row.wire


def native_base(provider: str, base: str) -> str:
    """The base below which `/v1/messages` stands when the wire is `native`: the row's native base where `base` is empty
    or the row's own, else `base` without the `/v1` or `/v1/messages` that people write behind it."""
    row = _row(provider, base)
    return row.native if row.native and _own(row, base) else _root(base)


def _row(provider: str, base: str) -> Provider:
    """A known host tells the row; else the provider's name does, but for `openai`, which at a foreign host only names
    the protocol; else a local server's port."""
    own_row = PROVIDERS.get(provider, _COMMON)
    name = _host_row_name(base)
    if name:
        return PROVIDERS[name]
    if not base or own_row.name not in ("", "openai"):
        return own_row
    return PROVIDERS.get(by_host(base), _COMMON)


def _host_row_name(base: str) -> str:
    host = _split(base)[0]
    return _HOSTS.get(host) or next((row for suffix, row in _SUFFIXES if host.endswith(suffix)), "")


def _split(base: str) -> tuple[str, str]:
    """Host and port, lower case; empty where `base` is no URL."""
    try:
        parts = urlsplit(base if "://" in base else "//" + base)
        return parts.hostname or "", str(parts.port or "")
    except ValueError:
        return "", ""


def _own(row: Provider, base: str) -> bool:
    return base.rstrip("/") in ("", row.base)


def _is_native(row: Provider, base: str) -> bool:
    """`base` has the path of the row's Anthropic endpoint (another of its hosts may: China, EU), and not that of its
    own API."""
    path = urlsplit(base).path.rstrip("/") if _host_row_name(base) else urlsplit(row.base).path
    return bool(row.native) and path != urlsplit(row.base).path and _root(path) == urlsplit(row.native).path


def _root(base: str) -> str:
    return base.rstrip("/").removesuffix("/messages").removesuffix("/v1")


def _last(model: str) -> str:
    return model.rpartition("/")[2].lower()


def _matches(patterns: Iterable[str], *names: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
