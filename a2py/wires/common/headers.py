"""URL and headers of an upstream request.

Knows: how a key and a session are sent. Must not know: what the body holds.
Invariants: the client's own credentials are never used.
"""

from __future__ import annotations

import re

from a2py.deployment import Deployment

_PRINTABLE = re.compile(r"[!-~]{1,128}\Z")
#: Value of Deployment.auth → header name, and what comes before the key.
AUTH = {"bearer": ("authorization", "Bearer "), "x-api-key": ("x-api-key", ""), "api-key": ("api-key", "")}


def build_url(dep: Deployment, path: str) -> str:
    """Return the deployment's base with the wire's `path` (or the deployment's own) and its query."""
    whole = dep.base.rstrip("/") + (dep.path or path)
    return f"{whole}?{dep.query}" if dep.query else whole


def server_root(base: str) -> str:
    """Return the address below which the own endpoints of vLLM, llama.cpp and Ollama are: beside `/v1`, not below
    it."""
    return base.removesuffix("/v1")


def build_headers(dep: Deployment, stream: bool, session: str = "") -> dict[str, str]:
    """Return the headers of a request to `dep`, names in lower case. `session`: the client's session id. It is sent
    only if it is printable, because the client may have put anything into it."""
    out = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        # a compressed stream arrives late and in lumps, and inflating it costs more time than it saves on loopback or a
        # LAN
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
