"""`--capture DIR`: one file a request, with what the client sent, what went upstream, what came back, and what the
client got.

The file is JSON: `client` (method, path, headers, body), `attempts` (deployment, wire, path, headers, body, status,
response headers and `pieces`: the body, one piece per read), `answer` (status, body), `outcome`. Bytes that are not
UTF-8 are written as {"base64": …}. To replay it, give `client.body` to a proxy whose upstream answers with each
attempt's pieces. The result is `answer.body`, except for ids.

Knows: the file's form, what must not be in it. Must not know: how requests are answered, how a secret is found
(redact.py).
Invariants: no key, cookie or URL query is ever written; a file is readable by its owner alone, and is complete or
absent; a body longer than BODY_LIMIT is cut, and marked as cut; if a capture cannot be written, that is one line in the
log, and the request does not fail.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import time
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson

from a2py.deployment import Deployment, is_secret_name
from a2py.errors import ApiError
from a2py.messages.splice import Splice
from a2py.messages.types import Decoder, Outcome, Prepared
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.client import EventStream
from a2py.proxy.log import Log
from a2py.proxy.redact import REDACTED, Redactor

if TYPE_CHECKING:
    from a2py.config import Config

#: Bytes of one body that are kept; bytes after them that are searched too, so that no secret is cut in two before it is
#: found.
BODY_LIMIT, BEYOND = 16 * 1024 * 1024, 4096
#: Bytes that each piece counts in addition to its own: the list and the object take memory too.
PIECE_COST = 128
#: Credentials of a client with fewer characters are not taken for keys. `a2py env` sets "a2py" if no key is needed, and
#: that word is in many texts.
MIN_CREDENTIAL = 8
_QUERY = re.compile(r"(://[^\s?#]*)[?#]\S*")


class Body:
    """A body, recorded piece by piece up to BODY_LIMIT."""

    def __init__(self, data: bytes = b"") -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        if data:
            self.add(data)

    def add(self, data: bytes) -> None:
        room = BODY_LIMIT + BEYOND - self.size
        self.size += len(data) + (PIECE_COST if self.pieces else 0)
        if room > 0:
            self.pieces.append(data[:room])

    @property
    def is_cut(self) -> bool:
        """Whether the body was longer than what is kept."""
        return self.size > BODY_LIMIT

    def redact(self, redactor: Redactor) -> list[bytes]:
        """Return the pieces without secrets."""
        cuts = [0]
        for piece in self.pieces:
            cuts.append(cuts[-1] + len(piece))
        data, cuts = redactor.body(b"".join(self.pieces), cuts)
        data = data[:BODY_LIMIT]
        return [data[start:end] for start, end in pairwise(cuts) if start < len(data)]


class Capture:
    """The capture of one request. `secrets`: strings that are replaced wherever they are."""

    def __init__(self, directory: str, id: str, request: BaseRequest, body: bytes, secrets: Iterable[str]) -> None:
        self._name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{id}.json"
        self._directory = directory
        self._secrets = set(secrets)
        self._client = (request.method, request.path, dict(request.headers), Body(body))
        self._attempts: list[_Attempt] = []
        self._answer = Body()

    def begin_attempt(self, deployment: Deployment, prepared: Prepared) -> None:
        self._secrets.update(deployment.secrets)
        self._attempts.append(_Attempt(deployment, prepared))

    def add_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Record the head of the upstream's response."""
        self._attempts[-1].head = (status, dict(headers))

    def add_reply(self, data: bytes) -> None:
        """Record a piece of the upstream's body."""
        self._attempts[-1].reply.add(data)

    def add_answer(self, data: bytes) -> None:
        """Record a piece of what the client gets."""
        self._answer.add(data)

    @property
    def has_answer(self) -> bool:
        """Whether the client has got anything."""
        return self._answer.size > 0

    async def save_in_thread(self, status: int, error: ApiError | None, log: Log) -> None:
        """Save without blocking the loop: a capture may have some ten megabytes, and the disk may be slow. Raise
        nothing."""
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.save, status, error)
        except OSError as problem:
            log.warning("capture can't be written", error=problem.strerror or type(problem).__name__)

    def save(self, status: int, error: ApiError | None) -> None:
        """Write the file. Raise OSError, after removing what was written."""
        redactor = Redactor(self._secrets)
        method, path, headers, body = self._client
        answer = {"status": status, "body": _plain(b"".join(self._answer.redact(redactor)))}
        document = {
            "client": {
                "method": method,
                "path": redactor.text(path),
                "headers": clean(headers, redactor),
                "body": _plain(b"".join(body.redact(redactor))),
                **({"cut": True} if body.is_cut else {}),
            },
            "attempts": [attempt.as_json(redactor) for attempt in self._attempts],
            "answer": {**answer, "cut": True} if self._answer.is_cut else answer,
            "outcome": redactor.text(f"{error.kind}: {error.message}") if error is not None else "ok",
        }
        self._write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    def _write(self, data: bytes) -> None:
        """Write under another name first, so that a full disk leaves neither an empty file nor half of one."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        path = os.path.join(self._directory, self._name)
        part = os.path.join(self._directory, f".{self._name}.part")
        file = os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        try:
            with file:
                file.write(data)
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise

    # -- where bytes are recorded --------------------------------------------------------------------------------------

    def decoder(self, inner: Decoder) -> Decoder:
        """Return a decoder that records what `inner` is fed."""
        return _RecordingDecoder(inner, self)

    def stream(
        self, request: BaseRequest, request_id: str, limit: int, extra: Mapping[str, str] | None, stall_seconds: float
    ) -> EventStream:
        """Return a stream that records what it sends."""
        return _RecordingStream(self, request, request_id, limit, extra, stall_seconds)


class _Attempt:
    """One question to an upstream. `head`: status and headers, once they have come; `reply`: the body."""

    def __init__(self, deployment: Deployment, prepared: Prepared) -> None:
        self._question = {
            "deployment": deployment.id,
            "model": deployment.model,
            "wire": deployment.wire,
            "path": "/" + prepared.url.partition("?")[0].partition("://")[2].partition("/")[2],
        }
        self._headers = dict(prepared.headers)
        self._body = Body(prepared.body)
        self.reply = Body()
        self.head: tuple[int, dict[str, str]] | None = None

    def as_json(self, redactor: Redactor) -> dict[str, Any]:
        """Return what the file says about this attempt."""
        out: dict[str, Any] = {name: redactor.text(value) for name, value in self._question.items()}
        out |= {"headers": clean(self._headers, redactor), "body": _plain(b"".join(self._body.redact(redactor)))}
        out["pieces"] = [_plain(piece) for piece in self.reply.redact(redactor)]
        if self.reply.is_cut or self._body.is_cut:
            out["cut"] = True
        if self.head is not None:
            out |= {"status": self.head[0], "response_headers": clean(self.head[1], redactor)}
        return out


def clean(headers: Mapping[str, str], redactor: Redactor) -> dict[str, str]:
    """Return `headers` without secrets and URL queries."""
    return {
        name.lower(): REDACTED.decode() if is_secret_name(name) else _QUERY.sub(r"\1", redactor.text(value))
        for name, value in headers.items()
    }


def secrets_of(config: Config) -> frozenset[str]:
    """Return every secret of a configuration, of all deployments: a client may send any of them, and a model may repeat
    it."""
    return frozenset(
        (config.master_key, *(secret for deployment in config.deployments for secret in deployment.secrets))
    )


def credentials_in(headers: Mapping[str, str]) -> set[str]:
    """Return the credentials that a client sent: values of headers whose name says so, with and without "Bearer", and
    of each cookie."""
    values = {value for name, value in headers.items() if is_secret_name(name)}
    values |= {value.partition(" ")[2].strip() for value in values}
    values |= {pair.partition("=")[2].strip() for pair in headers.get("cookie", "").split(";")}
    return {value for value in values if len(value) >= MIN_CREDENTIAL}


def _plain(data: bytes) -> Any:
    """Return `data` as JSON can have it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


class _RecordingDecoder:
    """See `Capture.decoder`. It has no splice: every piece must pass through `feed`."""

    splice: Splice | None = None

    def __init__(self, inner: Decoder, capture: Capture) -> None:
        self._inner = inner
        self._capture = capture
        self.finished = inner.finished

    def feed(self, data: bytes) -> None:
        self._capture.add_reply(data)
        self._inner.feed(data)
        self.finished = self._inner.finished

    @property
    def progress(self) -> int:
        return self._inner.progress

    def close(self) -> Outcome:
        return self._inner.close()


class _RecordingStream(EventStream):
    """A client's stream that records what it sends."""

    __slots__ = ("_capture",)

    def __init__(self, capture: Capture, *args: Any) -> None:
        super().__init__(*args)
        self._capture = capture

    def write(self, data: bytes) -> None:
        self._capture.add_answer(data)
        super().write(data)

    def finish(self, data: bytes = b"") -> StreamResponse:
        self._capture.add_answer(data)
        return super().finish(data)
