"""Send a short HTTP request to a server nearby, such as an Ollama or an a2py on this machine.

Knows: the standard library's client. Must not know: aiohttp, what the answers mean.
Invariants: a request waits at most `timeout` seconds for a byte and reads at most BODY bytes. It follows no redirect
and uses no proxy of the environment. A failure is None, not an exception.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

#: Seconds without a byte. A server on this machine answers in milliseconds.
TIMEOUT = 2.0
#: How many bytes of an answer are read.
BODY = 8 * 1024 * 1024


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the parsed body, None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def error_message(self) -> str:
        """Return what an a2py says of an error, "" if this is none of its errors."""
        body = self.json()
        error = body.get("error") if isinstance(body, dict) else None
        message = error.get("message") if isinstance(error, dict) else None
        return message if isinstance(message, str) else ""


def authorization(key: str) -> dict[str, str]:
    """Return the header by which an a2py knows a client; none without a key."""
    return {"authorization": f"Bearer {key}"} if key else {}


def read_groups(answer: Answer | None) -> list[dict[str, Any]] | None:
    """Return the groups of an a2py's /usage; None if it did not tell them."""
    body = answer.json() if answer is not None and answer.status == 200 else None
    groups = body.get("groups") if isinstance(body, dict) else None
    return groups if isinstance(groups, list) else None


def ask(
    url: str, *, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT
) -> Answer | None:
    """Send a GET, or a POST with `body` as JSON. Return None if no HTTP server answers."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    except (http.client.InvalidURL, ValueError):
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    data = None if body is None else json.dumps(body).encode()
    all_headers = {**({"content-type": "application/json"} if data is not None else {}), **(headers or {})}
    try:
        connection.request("GET" if data is None else "POST", path, data, all_headers)
        with connection.getresponse() as response:  # a response without a length keeps the socket open
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read(BODY)
            )
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
