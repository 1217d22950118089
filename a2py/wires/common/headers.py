"""URL and headers of an upstream request.

Knows: how a key and a session travel. Must not know: what the body holds.
Invariants: nothing of the client's own credentials is used.
"""

from __future__ import annotations

import re

from a2py.deployment import Deployment

_PRINTABLE = re.compile(r"[!-~]{1,128}\Z")
#: Deployment.auth → header name and the value's prefix.
AUTH = {"bearer": ("authorization", "Bearer "), "x-api-key": ("x-api-key", ""), "api-key": ("api-key", "")}


def url(dep: Deployment, path: str) -> str:
    """Return the deployment's base with the wire's `path` (or the deployment's own) and its query."""
    whole = dep.base.rstrip("/") + (dep.path or path)
    return f"{whole}?{dep.query}" if dep.query else whole


def headers(dep: Deployment, stream: bool, session: str = "") -> dict[str, str]:
    """Return the headers of a request to `dep`, names in lower case. `session`: the client's session id, which comes from outside."""
    out = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        # a compressed stream arrives in lumps, and inflating costs more than loopback or LAN
        "accept-encoding": "identity",
    }
    if dep.key and dep.auth in AUTH:
        name, prefix = AUTH[dep.auth]
        out[name] = prefix + dep.key
    if dep.quirks.session_header and _PRINTABLE.match(session):
        out[dep.quirks.session_header] = session
    for name, value in dep.headers.items():
        out[name.lower()] = value
    return out
