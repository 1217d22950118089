"""`--capture DIR`: one file a request, with what the client sent, what went upstream, what came back, and what the client got.

Knows: the file's form, what must not stand in it. Must not know: how requests are relayed.
Invariants: no key, cookie or URL query is ever written; files are readable by their owner alone; a body is cut at BODY_LIMIT, and says so; a
capture that can't be written is one line in the log and fails nothing.

The form is JSON: `client` (method, path, headers, body), `attempts` (deployment, wire, path, headers, body, status, response headers and
`pieces`: the body as it was read, piece by piece), `answer` (status, body), `outcome`. Bytes that are no UTF-8 stand as {"base64": …}.
Replay: give `client.body` to a proxy whose upstream answers with each attempt's pieces; `answer.body` must come out, but for ids.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from a2py.deployment import Deployment, telling
from a2py.errors import ApiError
from a2py.messages.lane import Lane
from a2py.messages.types import Decoder, Outcome, Prepared
from a2py.proxy.client import EventStream
from a2py.proxy.lean import BaseRequest, StreamResponse

#: Bytes of one body.
BODY_LIMIT = 16 * 1024 * 1024
REDACTED = "[redacted]"


class Capture:
    """One request on its way. `secrets`: strings that are taken out wherever they stand."""

    def __init__(self, directory: str, id: str, request: BaseRequest, body: bytes, secrets: Iterable[str]) -> None:
        self._path = os.path.join(directory, f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{id}.json")
        self._secrets = [secret.encode() for secret in secrets if len(secret) >= 4]
        self._client = {"method": request.method, "path": request.path, "headers": clean(request.headers), "body": self._body(body)}
        self._attempts: list[dict[str, Any]] = []
        self._got: list[bytes] = []
        self._size = 0

    def asked(self, deployment: Deployment, prepared: Prepared) -> None:
        self._secrets += [secret.encode() for secret in deployment.secrets]
        self._size = 0
        self._attempts.append(
            {
                "deployment": deployment.id,
                "model": deployment.model,
                "wire": deployment.wire,
                "path": "/" + prepared.url.partition("?")[0].partition("://")[2].partition("/")[2],
                "headers": clean(prepared.headers),
                "body": self._body(prepared.body),
                "pieces": [],
            }
        )

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        self._attempts[-1] |= {"status": status, "response_headers": clean(headers)}

    def came(self, data: bytes) -> None:
        """A piece of the upstream's body."""
        attempt = self._attempts[-1]
        self._size += len(data)
        if self._size <= BODY_LIMIT:
            attempt["pieces"].append(self._body(data))
        else:
            attempt["cut"] = True

    def got(self, data: bytes) -> None:
        """A piece of what the client gets."""
        if sum(map(len, self._got)) + len(data) <= BODY_LIMIT:
            self._got.append(data)

    @property
    def begun(self) -> bool:
        """Whether the client has got anything."""
        return bool(self._got)

    def save(self, status: int, error: ApiError | None) -> None:
        """Raises OSError."""
        whole = {
            "client": self._client,
            "attempts": self._attempts,
            "answer": {"status": status, "body": self._body(b"".join(self._got))},
            "outcome": f"{error.kind}: {error.message}" if error is not None else "ok",
        }
        data = orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(self._without(data))

    def _without(self, data: bytes) -> bytes:
        for secret in self._secrets:
            data = data.replace(secret, REDACTED.encode())
        return data

    def _body(self, data: bytes) -> Any:
        data = self._without(data[:BODY_LIMIT])
        try:
            return data.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(data).decode()}

    # -- where it listens --------------------------------------------------------------------------------------------

    def decoder(self, inner: Decoder) -> Decoder:
        return _Listening(inner, self)

    def stream(self, request: BaseRequest, request_id: str, limit: int, extra: Mapping[str, str] | None = None) -> EventStream:
        return _Recorded(request, request_id, limit, extra, self)


def clean(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): REDACTED if telling(name) else value for name, value in headers.items()}


class _Listening:
    lane: Lane | None = None  # nothing passes by unheard

    def __init__(self, inner: Decoder, capture: Capture) -> None:
        self._inner = inner
        self._capture = capture
        self.finished = inner.finished

    def feed(self, data: bytes) -> None:
        self._capture.came(data)
        self._inner.feed(data)
        self.finished = self._inner.finished

    def close(self) -> Outcome:
        return self._inner.close()


class _Recorded(EventStream):
    __slots__ = ("_capture",)

    def __init__(self, request: BaseRequest, request_id: str, limit: int, extra: Mapping[str, str] | None, capture: Capture) -> None:
        super().__init__(request, request_id, limit, extra)
        self._capture = capture

    def write(self, data: bytes) -> None:
        self._capture.got(data)
        super().write(data)

    def finish(self, data: bytes = b"") -> StreamResponse:
        self._capture.got(data)
        return super().finish(data)
