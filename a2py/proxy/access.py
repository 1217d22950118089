"""Who may ask: the master key; where there is none, the Host and the Origin.

Knows: CONFIG's rules. Must not know: paths, bodies.
Invariants: keys are compared in constant time; `Sec-Fetch-*` is never looked at (Node's SDK sends it).
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from a2py.errors import ApiError

if TYPE_CHECKING:
    from a2py.config import Config

#: Hosts that need no listing where no key is asked for; any IP address is one too. A web page can't pretend to be one of them.
LOCAL_HOSTS = frozenset({"localhost", "host.docker.internal"})


def admit(config: Config, headers: Mapping[str, str]) -> None:
    """Raises `ApiError`: 401 without the key, 403 for a page that a browser may have been tricked into loading."""
    if config.master_key:
        if not _has_key(headers, config.master_key):
            raise ApiError(
                "authentication",
                "This proxy asks for its master_key: set ANTHROPIC_AUTH_TOKEN (or the SDK's api_key) to it",
                should_retry=False,
            )
        return
    settings = config.settings
    host = headers.get("host", "")
    if host and not local_host(host) and not _listed(host.lower(), settings.allowed_hosts):
        raise ApiError(
            "permission",
            f"The Host {host[:100]!r} is not allowed: add it to `a2py: allowed_hosts`, or set a master_key",
            should_retry=False,
        )
    origin = headers.get("origin")
    if origin is not None and origin not in settings.allowed_origins:
        raise ApiError(
            "permission",
            f"The Origin {origin[:100]!r} is not allowed: add it to `a2py: allowed_origins`, or set a master_key",
            should_retry=False,
        )


def _has_key(headers: Mapping[str, str], key: str) -> bool:
    kind, _, token = headers.get("authorization", "").partition(" ")
    expected = key.encode("utf-8", "surrogateescape")  # bytes of the environment may be no UTF-8
    by_header = hmac.compare_digest(headers.get("x-api-key", "").encode("utf-8", "surrogateescape"), expected)
    by_token = hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), expected)
    return by_header or (by_token and kind.lower() == "bearer")


def _listed(host: str, allowed: tuple[str, ...]) -> bool:
    """With its port or without."""
    return any(name.lower() in (host, bare(host)) for name in allowed)


def bare(host: str) -> str:
    """A Host without its port."""
    if host[:1] == "[":
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


@lru_cache(64)
def local_host(host: str) -> bool:
    name = bare(host).lower().rstrip(".")
    if name in LOCAL_HOSTS:
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
