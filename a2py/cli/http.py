"""Short HTTP questions to servers nearby: is an Ollama there, is that port an a2py, what does it serve.

Knows: the standard library's client. Must not know: aiohttp, what the answers mean.
Invariants: at most TIMEOUT seconds without a byte and BODY bytes; no redirects, no environment proxies; a failure is None, never an exception.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

#: Seconds without a byte; a server on this machine answers in milliseconds.
TIMEOUT = 2.0
#: Bytes of an answer that are read.
BODY = 8 * 1024 * 1024


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON, None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def ask(url: str, *, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> Answer | None:
    """GET, or POST of `body` as JSON. None: nobody answered, or not in HTTP."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    except (http.client.InvalidURL, ValueError):
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    data = None if body is None else json.dumps(body).encode()
    sent = {**({"content-type": "application/json"} if data is not None else {}), **(headers or {})}
    try:
        connection.request("GET" if data is None else "POST", path, data, sent)
        with connection.getresponse() as response:  # it holds the socket where its body has no length
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read(BODY))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
