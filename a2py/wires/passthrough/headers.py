"""Which headers pass, both ways. What is not listed here does not.

Knows: names of headers. Must not know: how a request is sent.
Invariants: no credential, cookie or organization of a client reaches an upstream, and none of an upstream reaches a
client; the upstream's key comes from the configuration alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from a2py.deployment import Deployment
from a2py.wires.common.headers import build_headers
from a2py.wires.common.ratelimits import rate_limits

#: Of the client: what it accepts, which beta of the API it means, and ids by which both sides find a request again.
#: (Codex sends `session-id`, before that `session_id` and `conversation_id`: openai/codex, 2026-10.)
TO_UPSTREAM = (
    "accept",
    "openai-beta",
    "idempotency-key",
    "x-client-request-id",
    "session_id",
    "session-id",
    "conversation_id",
    "originator",
)
#: Of the upstream: what the body is, and what its SDKs read: the request's id, times, when to ask again. Rate limits
#: pass, too. (openai 3.57; `openai-organization` names the account, so it stays here.)
TO_CLIENT = frozenset(
    (
        *("content-type", "content-disposition", "content-language", "cache-control", "x-request-id"),
        *("openai-processing-ms", "openai-version", "openai-model", "retry-after", "retry-after-ms"),
        *("x-should-retry", "x-accel-buffering"),
    )
)
#: Characters of one header that passes.
LENGTH = 1024


def upstream_headers(deployment: Deployment, client: Mapping[str, str], content_type: str) -> dict[str, str]:
    """Return the headers of the upstream's request: those of the deployment, and of the client's those that pass."""
    headers = build_headers(deployment, False)
    own = {name.lower() for name in deployment.headers}
    headers["content-type"] = content_type
    if "accept" not in own:
        headers["accept"] = "*/*"
    for name in TO_UPSTREAM:
        value = client.get(name)
        if value and name not in own and len(value) <= LENGTH:
            headers[name] = value
    return headers


def client_headers(upstream: Mapping[str, str]) -> dict[str, str]:
    """Return what the client gets of an upstream's headers (lower-case names)."""
    headers = {
        name: value
        for name, value in upstream.items()
        if name in TO_CLIENT and len(value) <= LENGTH and value.isprintable()
    }
    return {**headers, **rate_limits(upstream)}
