"""Cross-origin requests of browsers, for the origins in `a2py: allowed_origins`.

A browser lets a page read an answer of another origin only if the answer allows it (fetch.spec.whatwg.org, CORS
protocol, 2026-11). Before the page may send JSON or a key, the browser asks with a preflight, an OPTIONS request
without the key.

Knows: the headers of that protocol. Must not know: paths, who may ask (access.py).
Invariants: an origin that is not listed gets none of these headers. Cookies are never allowed (no
`access-control-allow-credentials`): a page sets its key in a header itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Headers of an answer that a page may read. (Body and content type it may read anyway.)
EXPOSED_HEADERS = "request-id, x-request-id, retry-after, x-should-retry, x-a2py-degraded, x-a2py-route, x-a2py-queue"
#: Seconds for which a browser remembers a preflight. Chrome remembers none for longer.
MAX_AGE = 7200
#: Header names as a preflight lists them.
_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+){0,99}")


def grant(origins: tuple[str, ...], headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that let the page of the request read the answer; {} if its origin is not in `origins`."""
    origin = headers.get("origin")
    if origin is None or origin not in origins:
        return {}
    return {"access-control-allow-origin": origin, "access-control-expose-headers": EXPOSED_HEADERS, "vary": "Origin"}


def preflight(origins: tuple[str, ...], methods: tuple[str, ...], headers: Mapping[str, str]) -> dict[str, str] | None:
    """Return the headers that answer a preflight; None if the OPTIONS request is not one, or its origin is not in
    `origins`.

    `methods`: those of the route."""
    cors_headers = grant(origins, headers)
    if not cors_headers or "access-control-request-method" not in headers:
        return None
    del cors_headers["access-control-expose-headers"]
    cors_headers["access-control-allow-methods"] = ", ".join(methods)
    names = headers.get("access-control-request-headers", "").strip(" \t")
    if _NAMES.fullmatch(names):
        cors_headers["access-control-allow-headers"] = names
    if (
        headers.get("access-control-request-private-network") == "true"
    ):  # Chrome: a public page asks a host of the local network
        cors_headers["access-control-allow-private-network"] = "true"
    cors_headers["access-control-max-age"] = str(MAX_AGE)
    # A cache in between must not give one page's permission to another.
    cors_headers["vary"] = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    return cors_headers
