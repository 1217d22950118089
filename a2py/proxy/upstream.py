"""The way to upstreams: one connection pool, timeouts, TLS, environment proxies, bounded bodies, and its failures as `ApiError`s.

Knows: aiohttp's client. Must not know: what is asked or answered (wires), who is asked next (router).
Invariants: only `ApiError` and cancellation leave this module; no client credential, key or URL query ever stands in a message;
redirects are never followed (a key would travel along); whatever ends a request early closes its connection.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import socket
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from yarl import URL

from a2py import __version__
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.types import Prepared
from a2py.proxy.lean import trusting
from a2py.proxy.pump import gather
from a2py.wires.failure import transport

#: Seconds for DNS, TCP and TLS together with a proxy's handshake.
CONNECT_SECONDS = 15.0
#: Seconds that an unused upstream connection is kept; most servers close theirs after 60 to 75.
POOL_SECONDS = 45.0
#: Bytes of an error body that are read, and the seconds that this may take.
ERROR_BODY, ERROR_SECONDS = 256 * 1024, 10.0
#: Bytes of a whole (unary) reply.
REPLY_BODY = 64 * 1024 * 1024
#: Seconds after the last event in which the upstream may end its body, so that the connection can be used again.
TAIL_SECONDS = 1.0
#: A larger body is sent in pieces (aiohttp warns that it would block the loop).
PIECES_ABOVE = 1024 * 1024

HOP_HEADER = "x-a2py-hop"
#: Hosts that are never reached through a proxy.
_NEAR = frozenset({"localhost", "127.0.0.1", "::1"})


@lru_cache(256)
def _url(text: str) -> URL:
    return URL(text, encoded=True)


@lru_cache(64)
def _timeout(total: float | None, silence: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total, connect=CONNECT_SECONDS, sock_read=silence)


def _tls(verify: bool | str, url: URL) -> bool | ssl.SSLContext:
    """What aiohttp takes for `ssl_verify`: True, False, or the path of a CA file or directory."""
    if verify is False or url.scheme != "https":
        return verify is not False
    try:
        if verify is True:
            return trusting()
        return trusting(capath=verify) if os.path.isdir(verify) else trusting(cafile=verify)
    except (OSError, ssl.SSLError) as error:
        raise ApiError("api", f"ssl_verify: the CA file {verify!r} can't be loaded ({type(error).__name__})", should_retry=False) from None


class Closed(ApiError):
    """The upstream closed the connection before a byte of its answer: most likely an idle one that was just timing out."""


def _closed(error: BaseException, deployment: Deployment) -> Closed:
    _shed(error)
    plain = transport("cut", "before it answered", deployment.provider)
    return Closed(plain.kind, plain.message)


class Upstream:
    """`hops`: value of the hop header; `force_ipv4`, `trust_env`: LiteLLM's settings."""

    def __init__(self, hops: str = "", force_ipv4: bool = False, trust_env: bool = True) -> None:
        self._trust_env = trust_env
        self._session: aiohttp.ClientSession | None = None
        self._hops = hops
        self._family = socket.AF_INET if force_ipv4 else socket.AF_UNSPEC
        self._proxies: dict[str, tuple[URL | None, dict[str, str] | None]] = {}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=POOL_SECONDS, ttl_dns_cache=60, family=self._family)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept", "User-Agent", "Content-Type"),
                max_line_size=65_536,
                max_field_size=65_536,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self, deployment: Deployment, prepared: Prepared, *, total: float | None, silence: float | None, hops: str = ""
    ) -> aiohttp.ClientResponse:
        """The response as soon as its headers are in; its body is still to be read, and `close` is the caller's. Raises `ApiError`.

        `total`: seconds for everything, body included; `silence`: seconds without a byte."""
        url, proxy, proxy_headers = self._target(prepared.url, deployment)
        headers = {
            **prepared.headers,
            "accept-encoding": "identity",
            "user-agent": f"a2py/{__version__}",
            HOP_HEADER: hops or self._hops,
        }
        if proxy_headers and url.scheme == "http":  # aiohttp sends proxy_headers with CONNECT alone
            headers |= proxy_headers
        body = prepared.body
        try:
            return await self._open().request(
                "POST",
                url,
                data=io.BytesIO(body) if len(body) > PIECES_ABOVE else body,
                headers=headers,
                allow_redirects=False,
                timeout=_timeout(total, silence),
                ssl=_tls(deployment.ssl_verify, url),
                proxy=proxy,
                proxy_headers=proxy_headers,
            )
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError) as error:
            raise _closed(error, deployment) from None
        except aiohttp.ClientOSError as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise failure(error, deployment) from None
            raise _closed(error, deployment) from None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            raise failure(error, deployment) from None

    async def ask(
        self, deployment: Deployment, address: str, question: Mapping[str, Any] | None, headers: Mapping[str, str], seconds: float
    ) -> dict[str, Any]:
        """A small question beside the main one: POST of JSON, or GET where `question` is None. Raises `ApiError`, or ValueError where the
        answer is no object."""
        url, proxy, proxy_headers = self._target(address, deployment)
        question_body = None if question is None else orjson.dumps(question)
        try:
            async with self._open().request(
                "GET" if question_body is None else "POST",
                url,
                data=io.BytesIO(question_body) if question_body and len(question_body) > PIECES_ABOVE else question_body,
                headers={**headers, "content-type": "application/json", "accept-encoding": "identity", HOP_HEADER: self._hops},
                allow_redirects=False,
                timeout=_timeout(seconds, None),
                ssl=_tls(deployment.ssl_verify, url),
                proxy=proxy,
                proxy_headers=proxy_headers,
            ) as response:
                if response.status != 200:
                    raise ApiError("upstream", f"{deployment.provider} answered HTTP {response.status}", status=response.status)
                answer = orjson.loads(await gather(response, REPLY_BODY))
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise failure(error, deployment) from None
        if not isinstance(answer, dict):
            raise ValueError("the answer is no object")
        return answer

    def _target(self, address: str, deployment: Deployment) -> tuple[URL, URL | None, dict[str, str] | None]:
        """`address` as a URL, and the environment's proxy for it (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), read once per host.

        Not aiohttp's trust_env: that asks for the proxy in a thread at each request, and reads ~/.netrc for credentials."""
        try:
            url = _url(address)
            key = f"{url.scheme}://{url.host}:{url.port}"
        except ValueError as error:
            raise failure(aiohttp.InvalidURL(""), deployment) from error
        found = self._proxies.get(key)
        if found is None:
            found = self._proxies[key] = _environment_proxy(url) if self._trust_env else (None, None)
        return url, *found


def _environment_proxy(url: URL) -> tuple[URL | None, dict[str, str] | None]:
    host = url.host or ""
    table = getproxies()
    named = table.get(url.scheme) or table.get("all")
    if not named or host in _NEAR or host.startswith("127.") or proxy_bypass(host):
        return None, None
    proxy = URL(named if "://" in named else f"http://{named}")
    if proxy.scheme not in ("http", "https"):
        return None, None
    if proxy.user is None:
        return proxy, None
    login = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
    return proxy.with_user(None), {"Proxy-Authorization": f"Basic {login}"}


# -- failures ------------------------------------------------------------------------------------------------------------

#: aiohttp's exception → (kind of wires.failure.transport, the cause in words where errno does not tell); the first row that fits counts.
_FAILURES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...] = (
    (aiohttp.ClientConnectorDNSError, "dns", "the name does not resolve"),
    ((aiohttp.ClientConnectorSSLError, aiohttp.ClientConnectorCertificateError, ssl.SSLError), "tls", ""),
    ((aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError), "connect", "the environment's proxy (HTTPS_PROXY) refused"),
    (aiohttp.ConnectionTimeoutError, "timeout_connect", f"{CONNECT_SECONDS:.0f} s have passed"),
    (aiohttp.ClientConnectorError, "connect", ""),
    ((aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError), "cut", "before the end of its answer"),
    ((aiohttp.ClientOSError, ConnectionError, RuntimeError), "cut", "the connection was lost"),
    (aiohttp.InvalidURL, "connect", "its address is no valid URL"),
    (BaseException, "connect", "what answers there does not speak HTTP"),
)


def failure(error: BaseException, deployment: Deployment, *, reading: bool = False) -> ApiError:
    """A failed exchange as the client's error; of the exception's own text nothing gets out (it holds addresses). `reading`: headers were in."""
    _shed(error)
    if isinstance(error, asyncio.TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
        kind, detail = ("timeout_idle", "its limit has passed") if reading else ("timeout_first_byte", "its limit has passed")
    else:
        kind, detail = next((kind, words) for types, kind, words in _FAILURES if isinstance(error, types))
    cause = getattr(error, "certificate_error", error)
    if kind == "tls":
        detail = getattr(cause, "verify_message", "") or "the handshake failed"
    elif not detail and isinstance(error, OSError) and error.errno:
        detail = os.strerror(error.errno)
    return transport(kind, detail, deployment.provider)


def _shed(error: BaseException) -> None:
    """Drop the frames that `error` came through: aiohttp keeps it, and they would be a cycle that holds request and body."""
    link: BaseException | None = error
    while link is not None:
        link.with_traceback(None)
        link = link.__cause__ or link.__context__


# -- the end of a response ------------------------------------------------------------------------------------------------


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def part(response: aiohttp.ClientResponse, *, finished: bool) -> None:
    """Leave a response. One that was `finished` gets TAIL_SECONDS to end its body by itself, and its connection then goes back to the pool;
    any other is closed at once, so that the upstream stops working."""
    if response.closed:
        return
    if finished and response.connection is not None:
        asyncio.get_running_loop().call_later(TAIL_SECONDS, response.close)
    else:
        response.close()
