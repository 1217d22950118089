"""Cross-origin requests of browsers, for the origins in `a2py: allowed_origins`.

A browser shows a page the answer of another origin only if the answer says that it may (fetch.spec.whatwg.org, CORS protocol, 2026-11), and asks
first (a preflight, without the key) before it sends JSON or a key.

Knows: the headers of that protocol. Must not know: paths, who may ask (access.py).
Invariants: an origin that is not listed gets none of these headers. Cookies are never allowed (no `access-control-allow-credentials`): a key
travels in a header that the page itself sets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: What a page may read of an answer besides its body and content type.
EXPOSED = "request-id, retry-after, x-should-retry, x-a2py-degraded"
#: Seconds for which a browser remembers a preflight. Chrome's most.
MAX_AGE = 7200
#: Header names as a preflight lists them.
_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+){0,99}")


def grant(allowed: tuple[str, ...], headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with which a browser shows the answer to the page that asked; {} if its origin is not listed."""
    origin = headers.get("origin")
    if origin is None or origin not in allowed:
        return {}
    return {"access-control-allow-origin": origin, "access-control-expose-headers": EXPOSED, "vary": "Origin"}


def preflight(allowed: tuple[str, ...], methods: tuple[str, ...], headers: Mapping[str, str]) -> dict[str, str] | None:
    """Return the headers that answer a browser's preflight (an OPTIONS request); None if it is none, or its origin is not listed.

    `methods`: what the path is served by."""
    granted = grant(allowed, headers)
    if not granted or "access-control-request-method" not in headers:
        return None
    del granted["access-control-expose-headers"]
    granted["access-control-allow-methods"] = ", ".join(methods)
    wanted = headers.get("access-control-request-headers", "").strip(" \t")
    if _NAMES.fullmatch(wanted):
        granted["access-control-allow-headers"] = wanted
    if headers.get("access-control-request-private-network") == "true":  # Chrome: a public page asks a host of the local network
        granted["access-control-allow-private-network"] = "true"
    granted["access-control-max-age"] = str(MAX_AGE)
    granted["vary"] = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    return granted
