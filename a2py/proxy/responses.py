"""Whole responses: ids, JSON bodies, the error envelope.

Knows: aiohttp's responses, the envelope's headers. Must not know: connections, routes, upstreams.
Invariants: every response carries `request-id`; none names the software that made it.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from typing import Any

import orjson

from a2py.errors import ApiError
from a2py.proxy.aiohttp_server import BaseRequest, Response, StreamResponse

#: The place in the line at which a request began to wait.
PLACE_HEADER = "x-a2py-queue"
#: Headers of every answer at /ui and below.
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
}
_UNPRINTABLE = re.compile(r"[^ -~]+")


def new_id(prefix: str) -> str:
    """Return `prefix` and 24 url-safe random characters: `req_…`, `msg_…`."""
    return prefix + base64.urlsafe_b64encode(os.urandom(18)).decode()


def header_text(text: str, limit: int = 100) -> str:
    """Return any text as a part of a header's value. A line break in it would begin a header of its own."""
    return _UNPRINTABLE.sub("?", text)[:limit]


def header_list(names: tuple[str, ...]) -> str:
    """Return `names`, which may hold anything, as a comma list for a header."""
    return ",".join(map(header_text, names[:50]))


class SentResponse(StreamResponse):
    """What a handler returns if it has written the response to the transport itself. aiohttp finds nothing left to
    write."""

    def __init__(self, status: int, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._has_keep_alive = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        return self._has_keep_alive

    async def prepare(self, request: BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class NamelessResponse(Response):
    """aiohttp's response without its `Server` header, which tells the versions of Python and aiohttp."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("server", None)


def json_response(body: Any, request_id: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response. `body`: bytes that are JSON already, or what orjson takes."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return NamelessResponse(
        body=data,
        status=status,
        headers={"content-type": "application/json", "request-id": request_id, **(headers or {})},
    )


def error_response(error: ApiError, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the error envelope with the status and the headers of `error`."""
    return json_response(error.body(request_id), request_id, error.status, {**error.headers(), **(headers or {})})


def openai_error_response(error: ApiError, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return `error` as OpenAI's clients expect it."""
    own = {"x-request-id": request_id, **error.headers(), **(headers or {})}
    if error.status == 426:
        own["upgrade"] = "HTTP/1.1"  # RFC 9110, section 15.5.22: what may be used instead
    return json_response(error.openai_envelope(), request_id, error.openai_status, own)
