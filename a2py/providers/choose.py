"""Which row a host belongs to; which quirks and which wire a deployment gets.

Knows: how rows of the two tables are put together. Must not know: any single provider, except that `openai` with a foreign base is not OpenAI.
Invariants: every function is pure, and total: an unknown provider, host or model gets the common subset on chat completions.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from a2py.providers.models import MODELS, RESPONSES_MODELS
from a2py.providers.table import PROVIDERS
from a2py.providers.types import Provider
from a2py.quirks import Quirks, override

#: host (with port) → row name; entries with a leading dot match subdomains.
_HOSTS = {host: row.name for row in PROVIDERS.values() for host in row.hosts}
_SUFFIXES = tuple((host, name) for host, name in _HOSTS.items() if host.startswith("."))
_COMMON = Provider(name="")


def by_host(base: str) -> str:
    """The row that the host of `base` belongs to; "" for a host that no row knows."""
    host = _host(base)
    found = _HOSTS.get(host) or _HOSTS.get(host.partition(":")[0])
    return found or next((name for suffix, name in _SUFFIXES if host.partition(":")[0].endswith(suffix)), "")


def quirks_for(provider: str, base: str, model: str) -> Quirks:
    """The quirks of `model` at `provider`, whose API base is `base` ("": the row's own)."""
    row = _row(provider, base)
    changes = dict(row.quirks)
    last = _last(model)
    for entry in MODELS:
        if (not entry.providers or row.name in entry.providers) and any(fnmatchcase(last, pattern) for pattern in entry.models):
            changes.update(entry.quirks)
    return override(Quirks(), changes)


def wire_for(provider: str, base: str, model: str) -> str:
    """The best wire: `native` where the vendor's own Anthropic endpoint serves the model, `responses` for models of api.openai.com that
    refuse reasoning with tools on chat completions, else `chat`. A base of the user's own is asked by chat, unless it names the vendor's
    Anthropic endpoint or the provider only speaks that."""
    row = _row(provider, base)
    asked = PROVIDERS.get(provider, _COMMON)
    if asked.wire == "native" or (row.native and base.rstrip("/").removesuffix("/v1").endswith(urlsplit(row.native).path or "//")):
        return "native"
    overridden = asked is not row or (bool(base) and base.rstrip("/") != row.base)
    whole, last = model.lower(), _last(model)
    if row.native and not overridden and any(fnmatchcase(whole, p) or fnmatchcase(last, p) for p in row.native_models):
        return "native"
    if row.name == "openai" and any(fnmatchcase(last, p) for p in RESPONSES_MODELS):
        return "responses"
    return row.wire


def native_base(provider: str, base: str) -> str:
    """The base below which `/v1/messages` stands when the wire is `native`: the row's native base, or `base` itself where it is given."""
    row = _row(provider, base)
    return row.native if not base or base.rstrip("/") == row.base else base.rstrip("/").removesuffix("/v1")


def _row(provider: str, base: str) -> Provider:
    asked = PROVIDERS.get(provider, _COMMON)
    if not base or (asked.name and asked.name != "openai" and not by_host(base)):
        return asked
    return PROVIDERS.get(by_host(base), _COMMON)


def _host(base: str) -> str:
    return (urlsplit(base).netloc or urlsplit("//" + base).netloc).rpartition("@")[2].lower()


def _last(model: str) -> str:
    return model.rpartition("/")[2].lower()
