"""How an exchange with an upstream can fail below HTTP.

Knows: the exceptions of asyncio, sockets and TLS. Must not know: how an error is worded to the client
(wires/failure.py).
Invariants: no text of an exception is kept, because it may hold addresses; only our own words, errno's text and
OpenSSL's reason are.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import NamedTuple

#: OpenSSL's reasons for a server that answers a TLS handshake with something else, such as a plain HTTP error (3.0.19,
#: 2026-11). From 3.2 on it is the record layer that fails (urllib3#3271, 2024-01).
_NOT_TLS = frozenset(("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"))


class Cause(NamedTuple):
    """Why an exchange failed. It refers to no exception, so it keeps no frames alive.

    `kind`: `connect`, `proxy`, `dns`, `tls`, `not_tls`, `timeout_connect`, `timeout_first_byte`, `timeout_idle`,
    `timeout_contentless`, `timeout_total`, `broken` or `cut`, as `wires.failure.transport_error` takes it, or `ca` for
    a CA file that can't be loaded; `detail`: the cause in a few words; `is_unanswered`: see `NoResponse`."""

    kind: str
    detail: str
    is_unanswered: bool = False


class Failure(Exception):
    """An exchange failed. `kind`, `detail`: as in `Cause`."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.cause = Cause(kind, detail, isinstance(self, NoResponse))


class NoResponse(Failure):
    """The request was sent, and the connection ended before a byte of the answer. The server may have worked on the
    request."""


def cause_of(error: BaseException) -> Cause:
    """Return why a connection could not be made."""
    if isinstance(error, socket.gaierror):
        return Cause("dns", "the name does not resolve")
    if isinstance(error, ssl.SSLError) and getattr(error, "reason", None) in _NOT_TLS:
        return Cause("not_tls", "the server did not answer with TLS")
    if isinstance(error, ssl.SSLError):  # SSLCertVerificationError is one
        return Cause("tls", getattr(error, "verify_message", "") or "the handshake failed")
    if isinstance(error, OSError):
        return Cause("connect", os.strerror(error.errno) if error.errno else "the connection failed")
    return Cause("connect", "the address can't be used")


def reason_of(error: BaseException | None) -> str:
    """Return why a connection was lost, in a few words; "" if it was closed without an error."""
    if error is None:
        return ""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno:
        return os.strerror(error.errno)
    return "the connection was lost"
