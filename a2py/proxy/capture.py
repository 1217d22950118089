"""`--capture DIR`: one file a request, with what the client sent, what went upstream, what came back, and what the client got.

Knows: the file's form, what must not stand in it. Must not know: how requests are relayed, how a secret is found (redact.py).
Invariants: no key, cookie or URL query is ever written; files are readable by their owner alone, and are whole or not there; a body is cut at
BODY_LIMIT, and says so; a capture that can't be written is one line in the log and fails nothing.

The form is JSON: `client` (method, path, headers, body), `attempts` (deployment, wire, path, headers, body, status, response headers and
`pieces`: the body as it was read, piece by piece), `answer` (status, body), `outcome`. Bytes that are no UTF-8 stand as {"base64": …}.
Replay: give `client.body` to a proxy whose upstream answers with each attempt's pieces; `answer.body` must come out, but for ids.
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

from a2py.deployment import Deployment, telling
from a2py.errors import ApiError
from a2py.messages.splice import Splice
from a2py.messages.types import Decoder, Outcome, Prepared
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.client import EventStream
from a2py.proxy.log import Log
from a2py.proxy.redact import REDACTED, Redactor

if TYPE_CHECKING:
    from a2py.config import Config

#: Bytes of one body; bytes beyond them that are looked at, so that no secret is cut in two before it is found.
BODY_LIMIT, BEYOND = 16 * 1024 * 1024, 4096
#: What a piece of a body counts for beside its bytes.
PIECE_COST = 128
#: Shorter credentials of a client are no keys ("a2py", which `a2py env` sets where no key is asked for), and would eat ordinary words.
SENT_SHORT = 8
_QUERY = re.compile(r"(://[^\s?#]*)[?#]\S*")


class Body:
    """A body as it comes, piece by piece, up to BODY_LIMIT."""

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
    def cut(self) -> bool:
        """Whether it was longer than what is kept."""
        return self.size > BODY_LIMIT

    def without(self, redactor: Redactor) -> list[bytes]:
        """Its pieces, without secrets."""
        cuts = [0]
        for piece in self.pieces:
            cuts.append(cuts[-1] + len(piece))
        data, cuts = redactor.body(b"".join(self.pieces), cuts)
        data = data[:BODY_LIMIT]
        return [data[start:end] for start, end in pairwise(cuts) if start < len(data)]


class Capture:
    """One request on its way. `secrets`: strings that are taken out wherever they stand."""

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
        """Save without blocking the loop: a capture may have some ten megabytes, and the disk may be slow. Raise nothing."""
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.save, status, error)
        except OSError as problem:
            log.warning("capture can't be written", error=problem.strerror or type(problem).__name__)

    def save(self, status: int, error: ApiError | None) -> None:
        """Write the file. Raises OSError, and leaves nothing behind then."""
        redactor = Redactor(self._secrets)
        method, path, headers, body = self._client
        answer = {"status": status, "body": _plain(b"".join(self._answer.without(redactor)))}
        whole = {
            "client": {
                "method": method,
                "path": redactor.text(path),
                "headers": clean(headers, redactor),
                "body": _plain(b"".join(body.without(redactor))),
                **({"cut": True} if body.cut else {}),
            },
            "attempts": [attempt.as_json(redactor) for attempt in self._attempts],
            "answer": {**answer, "cut": True} if self._answer.cut else answer,
            "outcome": redactor.text(f"{error.kind}: {error.message}") if error is not None else "ok",
        }
        self._write(orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    def _write(self, data: bytes) -> None:
        """Under another name first: a full disk leaves neither an empty file nor half of one."""
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

    # -- where it listens --------------------------------------------------------------------------------------------

    def decoder(self, inner: Decoder) -> Decoder:
        return _RecordingDecoder(inner, self)

    def stream(
        self, request: BaseRequest, request_id: str, limit: int, extra: Mapping[str, str] | None, stall_seconds: float
    ) -> EventStream:
        """Return a stream that records what it sends."""
        return _RecordingStream(self, request, request_id, limit, extra, stall_seconds)


class _Attempt:
    """One question to an upstream. `answer`: status and headers, once they have come."""

    def __init__(self, deployment: Deployment, prepared: Prepared) -> None:
        self._asked = {
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
        """Return what the file says of it."""
        out: dict[str, Any] = {name: redactor.text(value) for name, value in self._asked.items()}
        out |= {"headers": clean(self._headers, redactor), "body": _plain(b"".join(self._body.without(redactor)))}
        out["pieces"] = [_plain(piece) for piece in self.reply.without(redactor)]
        if self.reply.cut or self._body.cut:
            out["cut"] = True
        if self.head is not None:
            out |= {"status": self.head[0], "response_headers": clean(self.head[1], redactor)}
        return out


def clean(headers: Mapping[str, str], redactor: Redactor) -> dict[str, str]:
    """`headers` without secrets and URL queries."""
    return {
        name.lower(): REDACTED.decode() if telling(name) else _QUERY.sub(r"\1", redactor.text(value)) for name, value in headers.items()
    }


def secrets_of(config: Config) -> frozenset[str]:
    """Everything in a configuration that no capture may show, of all deployments: a client may send any of them, and a model repeat it."""
    return frozenset((config.master_key, *(secret for deployment in config.deployments for secret in deployment.secrets)))


def credentials_in(headers: Mapping[str, str]) -> set[str]:
    """The credentials that a client sent: of headers with a telling name, with and without the word before them, and each cookie's."""
    values = {value for name, value in headers.items() if telling(name)}
    values |= {value.partition(" ")[2].strip() for value in values}
    values |= {pair.partition("=")[2].strip() for pair in headers.get("cookie", "").split(";")}
    return {value for value in values if len(value) >= SENT_SHORT}


def _plain(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


class _RecordingDecoder:
    splice: Splice | None = None  # every piece is recorded

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
