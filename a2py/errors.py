"""Error kinds, Anthropic's error envelope and OpenAI's.

Knows: the kinds of failure, the HTTP status and Anthropic `error.type` of each, OpenAI's type and code, the headers of
an error.
Must not know: upstream wordings (wires/failure.py), HTTP servers, how errors are retried.
Invariants: an `ApiError` never holds a key, a URL query or a stack; its message says what to do next if anything can be
done.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

import orjson

from a2py.printable import printable


class Kind(NamedTuple):
    """One row of KINDS. `retryable`: the same request may succeed later, or at another deployment."""

    status: int
    type: str
    retryable: bool


KINDS: dict[str, Kind] = {
    "invalid_request": Kind(400, "invalid_request_error", False),
    "context_overflow": Kind(400, "invalid_request_error", False),
    "max_tokens": Kind(400, "invalid_request_error", False),
    "unsupported": Kind(400, "invalid_request_error", False),
    "image": Kind(400, "invalid_request_error", False),
    "document": Kind(400, "invalid_request_error", False),
    "content_policy": Kind(400, "invalid_request_error", False),
    "authentication": Kind(401, "authentication_error", False),
    "billing": Kind(402, "billing_error", False),
    "permission": Kind(403, "permission_error", False),
    "not_found": Kind(404, "not_found_error", False),
    "method_not_allowed": Kind(405, "invalid_request_error", False),
    "request_too_large": Kind(413, "request_too_large", False),
    "rate_limit": Kind(429, "rate_limit_error", True),
    "api": Kind(500, "api_error", True),
    "upstream": Kind(502, "api_error", True),
    "timeout": Kind(504, "timeout_error", True),
    "overloaded": Kind(529, "overloaded_error", True),
}


#: Kind → OpenAI's `error.type` and `error.code` (openai 3.57; its error-codes page, 2026-10), where they differ from
#: `invalid_request_error` and none.
OPENAI: dict[str, tuple[str, str | None]] = {
    "context_overflow": ("invalid_request_error", "context_length_exceeded"),
    "content_policy": ("invalid_request_error", "content_policy_violation"),
    "authentication": ("invalid_request_error", "invalid_api_key"),
    "billing": ("insufficient_quota", "insufficient_quota"),
    "permission": ("invalid_request_error", "permission_denied"),
    "method_not_allowed": ("invalid_request_error", "method_not_supported"),
    "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
    "api": ("server_error", None),
    "upstream": ("server_error", "upstream_error"),
    "timeout": ("server_error", "timeout"),
    "overloaded": ("server_error", "server_overloaded"),
}

#: Error kinds caused by the request itself. Another deployment of the name would answer the same, so they are not
#: retried there. A configured fallback is asked nevertheless.
CLIENT_ERRORS = frozenset(
    {
        "invalid_request",
        "context_overflow",
        "max_tokens",
        "unsupported",
        "image",
        "document",
        "content_policy",
        "request_too_large",
    }
)
#: Error kinds that put a deployment into cooldown at the first failure: it would answer the same for a while.
COOLDOWN_KINDS = frozenset({"authentication", "billing", "permission", "not_found", "rate_limit"})


class Blame(Enum):
    """What a failure says about the deployment. An upstream's free text may repeat the request, so text alone never
    blames."""

    #: Count the failure as its kind says: the HTTP status or a code in the body says so too.
    KIND = "kind"
    #: Count an ordinary failure: the status says that the upstream failed, and only the text says more.
    FAILURE = "failure"
    #: Count nothing: only the text blames the deployment, or the request alone is at fault.
    NONE = "none"


class ApiError(Exception):
    """A failure as the client will see it: a kind of KINDS, a message, and the headers that control its retry.

    `status`: replaces the kind's own HTTP status (an upstream's 422 stays 422). `retry_after`: seconds. `should_retry`:
    value of `x-should-retry`, a header that the Anthropic SDKs obey; None: it is not sent. `field`: the request field
    that the upstream named; `limit`: the number that it named for it (tokens).

    Five attributes are set afterwards. `code`: OpenAI's `error.code`, where it is not the kind's. `details`:
    Anthropic's `error.details`, by which its SDKs recover. `rate_limits`: the upstream's headers about them. `blame`:
    what the failure says about the deployment. `is_echo`: the words that decided the kind and the field are in the
    request, too, so they may be the client's own.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        field: str = "",
        limit: int = 0,
    ) -> None:
        message = message.encode(errors="replace").decode()  # orjson refuses a lone surrogate
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status or KINDS[kind].status
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.field = field
        self.limit = limit
        self.details: dict[str, Any] | None = None
        self.rate_limits: Mapping[str, str] = {}
        self.blame = Blame.KIND
        self.is_echo = False
        self.code = ""

    @property
    def type(self) -> str:
        """Anthropic's `error.type`."""
        return KINDS[self.kind].type

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later, or at another deployment."""
        return KINDS[self.kind].retryable

    def hide(self, secrets: Iterable[str]) -> ApiError:
        """Remove `secrets` and control characters from the message, which Claude Code shows on a terminal. Return this
        error."""
        for secret in secrets:
            self.message = self.message.replace(secret, "…")
        self.message = printable(self.message)
        self.args = (self.message,)
        return self

    def envelope(self, request_id: str, type: str = "") -> dict[str, Any]:
        """Return `{"type": "error", "error": {"type": …, "message": …}, "request_id": …}` (docs.claude.com, API
        errors).

        `type` replaces the kind's own `error.type`."""
        return {
            "type": "error",
            "error": {
                "type": type or self.type,
                "message": self.message,
                **({"details": self.details} if self.details else {}),
            },
            "request_id": request_id,
        }

    def openai_envelope(self) -> dict[str, Any]:
        """Return `{"error": {"message": …, "type": …, "param": …, "code": …}}` (OpenAI's API reference, 2026-10)."""
        type, code = OPENAI.get(self.kind, ("invalid_request_error", None))
        param = self.field or None
        return {"error": {"message": self.message, "type": type, "param": param, "code": self.code or code}}

    @property
    def openai_status(self) -> int:
        """The HTTP status for OpenAI's clients. Only Anthropic's API has a 529."""
        return 503 if self.status == 529 else self.status

    def body(self, request_id: str) -> bytes:
        """Return the envelope as the bytes of an HTTP body."""
        return orjson.dumps(self.envelope(request_id))

    def headers(self) -> dict[str, str]:
        """Return the upstream's rate limits, and `retry-after` (whole seconds, rounded up) and `x-should-retry` if they
        are set. NaN and infinity are left out."""
        out = dict(self.rate_limits)
        if self.retry_after is not None and math.isfinite(self.retry_after):
            out["retry-after"] = str(max(0, math.ceil(self.retry_after)))
        if self.should_retry is not None:
            out["x-should-retry"] = "true" if self.should_retry else "false"
        return out

    def __repr__(self) -> str:
        return f"ApiError({self.kind!r}, {self.message!r}, status={self.status})"


def unknown_model(message: str, *, should_retry: bool | None = None) -> ApiError:
    """Return the error for a model that is not served here, with the code and the field that OpenAI's clients expect.

    An upstream's 404 has its own."""
    error = ApiError("not_found", message, should_retry=should_retry, field="model")
    error.code = "model_not_found"
    return error
