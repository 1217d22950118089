"""`--capture DIR`: one file a request, with what the client sent, what went upstream, what came back, and what the
client got.

The file is JSON: `client` (method, path, headers, body), `attempts` (deployment, wire, path, headers, body, status,
response headers and `pieces`: the body, one piece per read), `answer` (status, body), `outcome`. Bytes that are not
UTF-8 are written as {"base64": …}. To replay it, give `client.body` to a proxy whose upstream answers with each
attempt's pieces. The result is `answer.body`, except for ids.

Knows: the file's form, what must not be in it. Must not know: how requests are answered, how they are recorded
(recording.py), how a secret is found (redact.py).
Invariants: no key, cookie or URL query is ever written; a file is readable by its owner alone, and is complete or
absent; if a capture cannot be written, that is one line in the
log, and the request does not fail.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from a2py.deployment import is_secret_name
from a2py.errors import ApiError
from a2py.proxy.log import Log
from a2py.proxy.recording import RecordedAttempt, Recording
from a2py.proxy.redact import REDACTED, Redactor

if TYPE_CHECKING:
    from a2py.config import Config

#: Credentials of a client with fewer characters are not taken for keys. `a2py env` sets "a2py" if no key is needed, and
#: that word is in many texts.
MIN_CREDENTIAL = 8
_QUERY = re.compile(r"(://[^\s?#]*)[?#]\S*")


class Capture:
    """The file of one request, in `directory`."""

    def __init__(self, directory: str, id: str, recording: Recording) -> None:
        self._name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(recording.time))}-{id}.json"
        self._directory = directory
        self._recording = recording

    async def save_in_thread(self, status: int, error: ApiError | None, log: Log) -> None:
        """Save without blocking the loop: a capture may have some ten megabytes, and the disk may be slow. Raise
        nothing."""
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.save, status, error)
        except OSError as problem:
            log.warning("capture can't be written", error=problem.strerror or type(problem).__name__)

    def save(self, status: int, error: ApiError | None) -> None:
        """Write the file. Raise OSError, after removing what was written."""
        outcome = f"{error.kind}: {error.message}" if error is not None else "ok"
        self._write(render(self._recording, status, outcome, Redactor(secrets_in(self._recording))))

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


def render(recording: Recording, status: int, outcome: str, redactor: Redactor) -> bytes:
    """Return the file of a recording. `status`: of the client's answer; `outcome`: `ok`, or the error; `redactor`:
    knows at least its secrets (`secrets_in`)."""
    answer = {"status": status, "body": _plain(b"".join(recording.answer.redact(redactor)))}
    document = {
        "client": {
            "method": recording.method,
            "path": _valid(redactor.text(recording.path)),
            "headers": clean(dict(reversed(recording.headers)), redactor),
            "body": _plain(b"".join(recording.body.redact(redactor))),
            **({"cut": True} if recording.body.is_cut else {}),
        },
        "attempts": [_render_attempt(attempt, redactor) for attempt in recording.attempts],
        "answer": {**answer, "cut": True} if recording.answer.is_cut else answer,
        "outcome": _valid(redactor.text(outcome)),
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _render_attempt(attempt: RecordedAttempt, redactor: Redactor) -> dict[str, Any]:
    """Return what the file says about one attempt."""
    deployment = attempt.deployment
    out: dict[str, Any] = {
        "deployment": redactor.text(deployment.id),
        "model": redactor.text(deployment.model),
        "wire": deployment.wire,
        "path": redactor.text(path_of(attempt.url)),
        "headers": clean(attempt.headers, redactor),
        "body": _plain(b"".join(attempt.body.redact(redactor))),
        "pieces": [_plain(piece) for piece in attempt.reply.redact(redactor)],
    }
    if attempt.reply.is_cut or attempt.body.is_cut:
        out["cut"] = True
    if attempt.head is not None:
        out |= {"status": attempt.head[0], "response_headers": clean(attempt.head[1], redactor)}
    return out


def path_of(url: str) -> str:
    """Return the path of a URL: no scheme, host, login or query."""
    return "/" + url.partition("?")[0].partition("://")[2].partition("/")[2]


def clean(headers: Mapping[str, str], redactor: Redactor) -> dict[str, str]:
    """Return `headers` without secrets and URL queries, as JSON can have them: bytes that are no UTF-8 become `?`."""
    return {
        _valid(name.lower()): REDACTED.decode()
        if is_secret_name(name)
        else _valid(_QUERY.sub(r"\1", redactor.text(value)))
        for name, value in headers.items()
    }


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def secrets_in(recording: Recording) -> set[str]:
    """Return every secret that a recording may hold."""
    secrets = set(secrets_of(recording.config)) | credentials_in(recording.headers)
    for attempt in recording.attempts:
        secrets.update(attempt.deployment.secrets)
    return secrets


def secrets_of(config: Config) -> frozenset[str]:
    """Return every secret of a configuration, of all deployments: a client may send any of them, and a model may repeat
    it."""
    return frozenset(
        (config.master_key, *(secret for deployment in config.deployments for secret in deployment.secrets))
    )


def credentials_in(headers: Iterable[tuple[str, str]]) -> set[str]:
    """Return the credentials that a client sent: values of headers whose name says so, with and without "Bearer", and
    of each cookie. `headers`: with names in lower case."""
    headers = list(headers)
    values = {value for name, value in headers if is_secret_name(name)}
    values |= {value.partition(" ")[2].strip() for value in values}
    cookies = (pair for name, value in headers if name == "cookie" for pair in value.split(";"))
    values |= {pair.partition("=")[2].strip() for pair in cookies}
    return {value for value in values if len(value) >= MIN_CREDENTIAL}


def _plain(data: bytes) -> Any:
    """Return `data` as JSON can have it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
