"""Choose a deployment's row of the provider table, its quirks, its wire and its base.

Knows: how rows of the two tables are combined. Must not know: any single provider, except that `openai` with a
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
#: The row of a provider that is not in the table, and of `openai` at a host that is not in the table.
_COMMON = Provider(name="")


class Layer(NamedTuple):
    """Quirks that one row of the tables gives. `reason`: the row's `docs`."""

    source: Literal["family", "host"]
    reason: str
    quirks: Mapping[str, Any]


def find_host_row(base: str) -> str:
    """The row that the host of `base` belongs to, or else the local server whose port it names; "" where no row knows
    it."""
    return _host_row_name(base) or _HOSTS.get(f":{_split(base)[1]}", "")


def find_quirks(provider: str, base: str, model: str) -> Quirks:
    """Return the quirks of `model` at `provider`, whose API base is `base` ("": the row's own)."""
    changes: dict[str, Any] = {}
    for layer in layers_for(provider, base, model):
        changes.update(layer.quirks)
    return override(Quirks(), changes)


def layers_for(provider: str, base: str, model: str, server: str | None = None) -> Iterator[Layer]:
    """Yield what the tables know of `model`, the weakest first. `server`: name of the row that the server itself has
    named, "" for a relay that no row describes; None if it has named none. A host of the table and a prefix other than
    `openai` are stronger than it."""
    row, last = _row(provider, base), _last_segment(model)
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
    """Return whether nothing but a port says which server stands at `base`: no host of the table, and no prefix that
    names a server."""
    return bool(base) and not _host_row_name(base) and PROVIDERS.get(provider, _COMMON).name in ("", "openai")


def find_wire(provider: str, base: str, model: str) -> str:
    """Return the best wire for `model`.

    `native` if the vendor's own Anthropic endpoint serves the model. `responses` for models of api.openai.com that
    reject reasoning together with tools on chat completions. Else the row's wire, usually `chat`. If the user gives
    another base, `native` is used only if that base is the vendor's Anthropic endpoint, or if the provider has no
    other wire."""
    row, own_row = _row(provider, base), PROVIDERS.get(provider, _COMMON)
    if own_row.wire == "native" or _is_native(row, base):
        return "native"
    if own_row is row and _is_own(row, base) and _matches(row.native_models, model.lower(), _last_segment(model)):
        return "native"
    if row.name == "openai":
        return next((wire for pattern, wire in OPENAI_WIRES if fnmatchcase(_last_segment(model), pattern)), "chat")
    return row.wire


def find_native_base(provider: str, base: str) -> str:
    """Return the base to which the native wire appends `/v1/messages`.

    It is the row's native base if `base` is empty or the row's own. Else it is `base` without a `/v1` or
    `/v1/messages` at its end, which people often write."""
    row = _row(provider, base)
    return row.native if row.native and _is_own(row, base) else _strip_path(base)


def _row(provider: str, base: str) -> Provider:
    """Return the row that the host of `base` names, else the provider's name, else a local server's port.

    The name `openai` with another host is skipped, because people use it for any server with that protocol."""
    own_row = PROVIDERS.get(provider, _COMMON)
    name = _host_row_name(base)
    if name:
        return PROVIDERS[name]
    if not base or own_row.name not in ("", "openai"):
        return own_row
    return PROVIDERS.get(find_host_row(base), _COMMON)


def _host_row_name(base: str) -> str:
    host = _split(base)[0]
    return _HOSTS.get(host) or next((row for suffix, row in _SUFFIXES if host.endswith(suffix)), "")


def _split(base: str) -> tuple[str, str]:
    """Return host and port in lower case; ("", "") if `base` is not a URL."""
    try:
        parts = urlsplit(base if "://" in base else "//" + base)
        return parts.hostname or "", str(parts.port or "")
    except ValueError:
        return "", ""


def _is_own(row: Provider, base: str) -> bool:
    return base.rstrip("/") in ("", row.base)


def _is_native(row: Provider, base: str) -> bool:
    """Return whether `base` has the path of the row's Anthropic endpoint and not that of its own API.

    Only the path is compared, because a vendor may have several hosts (China, EU)."""
    path = urlsplit(base).path.rstrip("/") if _host_row_name(base) else urlsplit(row.base).path
    return bool(row.native) and path != urlsplit(row.base).path and _strip_path(path) == urlsplit(row.native).path


def _strip_path(base: str) -> str:
    return base.rstrip("/").removesuffix("/messages").removesuffix("/v1")


def _last_segment(model: str) -> str:
    return model.rpartition("/")[2].lower()


def _matches(patterns: Iterable[str], *names: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
