"""Who may ask: the master key; where there is none, the Host and the Origin.

Knows: the rules of docs/translation.md ("Refused"). Must not know: paths, bodies.
Invariants: keys are compared in constant time; `Sec-Fetch-*` is never looked at (Node's SDK sends it); a Host that is no valid one is not
allowed, whatever is listed.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from a2py.errors import ApiError
from a2py.hostname import LIMIT, Host, parse_host

if TYPE_CHECKING:
    from a2py.config import Config

#: Hosts that need no listing where no key is asked for; any IP address is one too. A web page can't pretend to be one of them.
LOCAL_HOSTS = frozenset({"localhost", "host.docker.internal"})
#: A request target in absolute form.
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")


def admit(config: Config, headers: Mapping[str, str], target: str = "/") -> None:
    """Raises `ApiError`: 401 without the key, 403 for a page that a browser may have been tricked into loading. `target`: of the request."""
    if config.master_key:
        if not _has_key(headers, config.master_key):
            raise ApiError(
                "authentication",
                "This proxy asks for its master_key: set ANTHROPIC_AUTH_TOKEN (or the SDK's api_key) to it",
                should_retry=False,
            )
        return
    settings = config.settings
    host = authority(target, headers)
    if host and not local_host(host) and not _listed(host, settings.allowed_hosts):
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


def authority(target: str, headers: Mapping[str, str]) -> str:
    """Return the host that a request names. In a target in absolute form (`GET http://host/path`) the `Host` header does not count (RFC 9112,
    3.2.2)."""
    absolute = _ABSOLUTE.match(target)
    return headers.get("host", "") if absolute is None else absolute[1] or "?"


def _listed(text: str, allowed: tuple[str, ...]) -> bool:
    """Whether a Host is listed, with its port or without."""
    host = parse_host(text)
    return host is not None and any(parse_host(name) in (host, Host(host.name)) for name in allowed)


def local_host(text: str) -> bool:
    """Whether a Host is an address, or a name that only this machine can have."""
    return len(text) <= LIMIT and _local(text)


@lru_cache(64)
def _local(text: str) -> bool:
    host = parse_host(text)
    return host is not None and (host.name in LOCAL_HOSTS or host.is_address)
