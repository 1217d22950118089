"""What is wrong with a Redis that can't be used, as a sentence with its cure.

For example: "Redis at 10.0.0.7:6379 refuses the password: correct `router_settings.redis_password`; until then each
process keeps to its part of the limits".

Knows: the errors of the `redis` package. Must not know: connections, when to connect again.
Invariants: no login and no password shows. So what Redis says while a client logs in is never repeated: an old server
answers "unknown command" with the arguments, which are the login.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from socket import gaierror
from typing import Protocol
from urllib.parse import unquote, urlsplit

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
)

#: Part of the address → the key that sets it, unless another one did.
KEYS = {part: f"router_settings.redis_{part}" for part in ("host", "port", "username", "password", "db", "ssl")}
CHECK_ADDRESS = "start it, or correct `{host}` and `{port}`"
CHECK_TLS = "if no TLS is spoken there, correct `{ssl}`"


class Reporter(Protocol):
    def info(self, event: str, **values: object) -> None: ...
    def warning(self, event: str, **values: object) -> None: ...


class LinkError(Exception):
    """A call has failed: in time, or with the connection.

    The text says what Redis does ("refuses the password"). `cure`: what to do about it, with the parts of the address
    in braces; "" if there is nothing to do."""

    def __init__(self, what: str, cure: str = "") -> None:
        super().__init__(what)
        self.cure = cure


class StrangeAnswer(LinkError):
    """What has answered is no Redis, or none that runs our scripts."""

    def __init__(self) -> None:
        super().__init__("gives an answer that no Redis gives", "correct `{host}` and `{port}`")


def describe(error: BaseException, seconds: float, is_tls: bool) -> LinkError:
    """Return what an error of the connection means. `seconds`: how long it may take."""
    cause = error.__cause__ or error.__context__
    if isinstance(error, asyncio.TimeoutError):
        cure = f"{CHECK_ADDRESS}; {CHECK_TLS}" if is_tls else CHECK_ADDRESS
        return LinkError(f"makes no connection within {seconds:g} s", cure)
    if isinstance(error, (ResponseError, AuthenticationError)):
        return _describe_answer(error)
    if isinstance(error, InvalidResponse):
        return StrangeAnswer()
    if isinstance(error, BusyLoadingError):
        return LinkError("is still loading its data")
    if isinstance(cause, OSError):
        return _describe_failure(cause, is_tls)
    if "closed" in str(error).lower():
        return _describe_end(is_tls)
    return LinkError(f"can't be used ({type(error).__name__})", "correct the address")


def _describe_answer(error: BaseException) -> LinkError:
    """Return what an error that Redis itself has answered means."""
    text = str(error).lower()
    if isinstance(error, (NoPermissionError, ReadOnlyError)):
        return describe_refusal(error)
    if "without any password" in text:
        return LinkError("has no password for this user", "remove `{password}`, or add `{username}`")
    if isinstance(error, AuthenticationError):
        if "required" in text or "noauth" in text:
            return LinkError("asks for a password", "set `{password}`")
        return LinkError("refuses the password", "correct `{password}` (or `{username}`)")
    if "db index" in text or "select" in text:
        return LinkError("does not have that database", "correct `{db}`")
    return LinkError(f"refuses the login ({type(error).__name__})", "correct `{username}` and `{password}`")


def describe_refusal(error: ResponseError) -> LinkError:
    """Return what Redis says of a call after the login. There is no secret in a call."""
    if isinstance(error, NoPermissionError):
        return LinkError("does not allow this user what a2py needs", "allow it scripts and the keys `{{a2py:1}}:*`")
    if isinstance(error, ReadOnlyError):
        return LinkError("is a replica, which can't be written", "name its primary by `{host}`")
    return LinkError(f"refuses a call ({str(error)[:200]})")


def _describe_failure(cause: OSError, is_tls: bool) -> LinkError:
    """Return what an error of the system means."""
    if isinstance(cause, gaierror):
        return LinkError(f"can't be found ({cause.strerror})", "correct `{host}`")
    if isinstance(cause, ssl.SSLCertVerificationError):
        cure = "name its CA by `ssl_ca_certs` in `router_settings.redis_url` (docs/redis.md)"
        return LinkError(f"has a certificate that can't be verified ({cause.verify_message})", cure)
    if isinstance(cause, ssl.SSLError):
        return LinkError(f"fails at TLS ({cause.reason or type(cause).__name__})", CHECK_TLS)
    if isinstance(cause, (ConnectionResetError, BrokenPipeError)):
        return _describe_end(is_tls)
    if isinstance(cause, FileNotFoundError) and is_tls:
        return LinkError("can't be asked: a file of its TLS options is missing", "correct `ssl_*` in `{ssl}`")
    return LinkError(f"can't be reached ({cause.strerror or type(cause).__name__})", CHECK_ADDRESS)


def _describe_end(is_tls: bool) -> LinkError:
    cure = CHECK_TLS if is_tls else "if TLS is spoken there, or another program listens, correct `{ssl}` or `{port}`"
    return LinkError("closed the connection", cure)


def find_place(url: str) -> str:
    """Return host and port, or the path of a socket, without a login."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return unquote(parts.path)
    host = parts.netloc.rpartition("@")[2]
    return host if host.rpartition("]")[2].count(":") else f"{host}:6379"


def compose(error: LinkError, place: str, keys: Mapping[str, str], count: int) -> str:
    """Return the line for the log. `keys`: part of the address → the key that set it; `count`: of processes."""
    effect = "each process keeps to its part of the limits" if count > 1 else "each process has the limits for itself"
    cure = error.cure.format_map({**KEYS, **keys})
    return f"Redis at {place} {error}: {cure + '; until then ' if cure else 'until it is back, '}{effect}"


class Announcer:
    """Says in the log what has become of Redis. `keys`: part of the address → the key that set it."""

    def __init__(self, log: Reporter, url: str, keys: Mapping[str, str] | None = None) -> None:
        self.log = log
        self._place = find_place(url)
        self._keys = keys or {}

    def tell_trouble(self, error: LinkError, count: int) -> None:
        self.log.warning(compose(error, self._place, self._keys, count), processes=count)

    def tell_answer(self) -> None:
        self.log.info("redis answers: limits are shared")

    def tell_eviction(self, policy: str) -> None:
        self.log.warning(
            "redis may drop what is counted when its memory is full: set maxmemory-policy noeviction",
            maxmemory_policy=policy,
        )
