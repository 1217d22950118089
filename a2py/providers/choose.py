"""Which row a host belongs to; which quirks, which wire and which base a deployment gets.

Knows: how rows of the two tables are put together. Must not know: any single provider, except that `openai` with a
foreign base is not OpenAI.
Invariants: every function is pure, and total: an unknown provider, host or model gets the common subset on chat
completions.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from a2py.providers.models import MODELS, OPENAI_WIRES
from a2py.providers.table import PROVIDERS
from a2py.providers.types import Provider
from a2py.quirks import Quirks, override

_HOSTS = {host: row.name for row in PROVIDERS.values() for host in row.hosts}
_SUFFIXES = tuple((host, name) for host, name in _HOSTS.items() if host.startswith("."))
#: A provider that no row knows, and `openai` at a host that no row knows.
_COMMON = Provider(name="")


def by_host(base: str) -> str:
    """The row that the host of `base` belongs to, or else the local server whose port it names; "" where no row knows
    it."""
    return _host_row_name(base) or _HOSTS.get(f":{_split(base)[1]}", "")


def quirks_for(provider: str, base: str, model: str) -> Quirks:
    """The quirks of `model` at `provider`, whose API base is `base` ("": the row's own)."""
    row = _row(provider, base)
    changes = dict(row.quirks)
    last = _last(model)
    for entry in MODELS:
        if (not entry.providers or row.name in entry.providers) and _matches(entry.models, last):
            changes.update(entry.quirks)
    return override(Quirks(), changes)


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
