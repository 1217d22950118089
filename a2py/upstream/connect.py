"""Open connections: resolve the host, connect, open a tunnel through a proxy, do the TLS handshake.

Knows: happy eyeballs (RFC 8305, by aiohappyeyeballs, which works on any event loop), CONNECT. Must not know: pools,
requests.
Invariants: a failure or cancellation leaves no socket open. Lookups of one host at the same time are one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeVar, cast

import aiohappyeyeballs

from a2py.http1 import BadResponse, ResponseReader, request_head
from a2py.printable import lower_first
from a2py.upstream.connection import Connection, Owner
from a2py.upstream.failure import Failure, cause_of
from a2py.upstream.origin import Origin, ProxyServer
from a2py.upstream.tls import context_of

#: Seconds for which a host's addresses are kept.
DNS_SECONDS = 60.0
#: Hosts whose addresses are kept at a time.
DNS_HOSTS = 256
#: Seconds before the next address of a host is tried as well (RFC 8305, section 5).
NEXT_ADDRESS_SECONDS = 0.25
#: Seconds of silence before TCP probes whether the server is still there, and between two probes.
KEEPALIVE_SECONDS = 60

AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.Protocol)
AddressInfo = tuple[int, int, int, str, Any]


class Route(NamedTuple):
    """How an origin is reached. Connections of equal routes are interchangeable."""

    origin: Origin
    proxy: ProxyServer | None
    verify: bool | str  #: `ssl_verify`


class Resolver:
    """Resolves host names and keeps the addresses. `family`: AF_INET, or AF_UNSPEC for any."""

    def __init__(self, loop: asyncio.AbstractEventLoop, family: int = socket.AF_UNSPEC) -> None:
        self._loop = loop
        self._family = family
        self._cache: dict[tuple[str, int], tuple[float, list[AddressInfo]]] = {}
        self._lookups: dict[tuple[str, int], asyncio.Task[list[AddressInfo]]] = {}

    async def addresses(self, host: str, port: int) -> list[AddressInfo]:
        """Return the addresses to connect to. Raises OSError (`socket.gaierror`)."""
        try:
            version = ip_address(host.partition("%")[0]).version
        except ValueError:
            pass
        else:
            if version == 4:
                return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
            if "%" not in host and self._family != socket.AF_INET:
                return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))]
        key = host, port
        until, addresses = self._cache.get(key, (0.0, []))
        if until > self._loop.time():
            return addresses
        task = self._lookups.get(key)
        if task is None:
            task = self._lookups[key] = self._loop.create_task(self._look_up(key))
            task.add_done_callback(lambda task: self._end_lookup(key, task))
        return await asyncio.shield(task)

    async def _look_up(self, key: tuple[str, int]) -> list[AddressInfo]:
        host, port = key
        addresses: list[Any] = await self._loop.getaddrinfo(host, port, family=self._family, type=socket.SOCK_STREAM)
        if len(self._cache) >= DNS_HOSTS:
            self._cache.clear()
        self._cache[key] = self._loop.time() + DNS_SECONDS, addresses
        return addresses

    def _end_lookup(self, key: tuple[str, int], task: asyncio.Task[list[AddressInfo]]) -> None:
        del self._lookups[key]
        if not task.cancelled():
            task.exception()  # asyncio logs an exception that nobody retrieves, and all waiters may be cancelled

    def forget(self, host: str, port: int) -> None:
        """Resolve the host again next time, because no connection could be made."""
        self._cache.pop((host, port), None)

    async def close(self) -> None:
        tasks = list(self._lookups.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def connect(route: Route, resolver: Resolver, owner: Owner, loop: asyncio.AbstractEventLoop) -> Connection:
    """Open a connection on which `route.origin` answers. Raises `Failure`, OSError, ssl.SSLError."""
    origin, proxy = route.origin, route.proxy
    tls = _context(route) if origin.scheme == "https" else None
    if proxy is None:
        sock = await _open_socket(origin, resolver, loop)
        return await _attach(loop, lambda: Connection(loop, owner, sock), sock, tls, origin.host)
    outer = _context(route, proxy.origin) if proxy.origin.scheme == "https" else None
    if tls is not None and outer is not None and sys.version_info < (3, 11):
        raise Failure("proxy", "https through an https proxy needs Python 3.11 or later; name an http proxy")
    try:
        sock = await _open_socket(proxy.origin, resolver, loop)
        if tls is None:
            return await _attach(loop, lambda: Connection(loop, owner, sock), sock, outer, proxy.origin.host)
        tunnel = await _attach(loop, lambda: _Tunnel(loop, proxy), sock, outer, proxy.origin.host)
    except OSError as error:  # ssl.SSLError is one
        reason = lower_first(cause_of(error).detail)
        raise Failure("proxy", f"{proxy.origin.authority} can't be reached ({reason})") from error
    try:
        await tunnel.open(origin)
    except BaseException:
        tunnel.close()
        raise
    assert tunnel.transport is not None
    return await _secure(loop, Connection(loop, owner, sock), tunnel.transport, tls, origin.host)


def _context(route: Route, proxy: Origin | None = None) -> ssl.SSLContext:
    """The TLS context for the origin, or for a proxy, to which `ssl_verify` does not apply."""
    if proxy is not None:
        return context_of(True)
    try:
        return context_of(route.verify)
    except (OSError, ssl.SSLError) as error:
        raise Failure(
            "ca",
            f"{route.verify!r} for {route.origin.authority} can't be loaded ({type(error).__name__})."
            " Name a file of PEM certificates, or a folder of them.",
        ) from None


async def _open_socket(origin: Origin, resolver: Resolver, loop: asyncio.AbstractEventLoop) -> socket.socket:
    """Return a connected socket. Raises OSError."""
    host, port = origin.host, origin.port
    addresses = await resolver.addresses(host, port)
    try:
        sock = await aiohappyeyeballs.start_connection(
            addresses,
            happy_eyeballs_delay=NEXT_ADDRESS_SECONDS if len(addresses) > 1 else None,
            interleave=1 if len(addresses) > 1 else None,
            loop=loop,
        )
    except OSError:
        resolver.forget(host, port)
        raise
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE", "TCP_KEEPINTVL"):  # Linux and Windows; macOS; all
        if hasattr(socket, name):
            try:
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), KEEPALIVE_SECONDS)
            except OSError:
                pass
    return sock


async def _attach(
    loop: asyncio.AbstractEventLoop,
    protocol: Callable[[], AnyProtocol],
    sock: socket.socket,
    tls: ssl.SSLContext | None,
    host: str,
) -> AnyProtocol:
    """Put a protocol on a connected socket, on top of TLS if `tls` is given.

    Not by `create_connection(ssl=...)`: if that is cancelled before the handshake has begun, it leaves its transport
    open, and the caller has no reference to close it by (CPython 3.11). To close the socket beneath it would make it
    act on the next connection that gets the same file descriptor."""
    try:
        transport, connection = await loop.create_connection(protocol if tls is None else asyncio.Protocol, sock=sock)
    except BaseException:
        sock.close()
        raise
    if tls is None:
        return cast(AnyProtocol, connection)
    return await _secure(loop, protocol(), transport, tls, host)


async def _secure(
    loop: asyncio.AbstractEventLoop, protocol: AnyProtocol, transport: asyncio.Transport, tls: ssl.SSLContext, host: str
) -> AnyProtocol:
    """Do the TLS handshake on `transport`, and put `protocol` on top."""
    try:
        secure = await loop.start_tls(transport, protocol, tls, server_hostname=host.rstrip("."))
    except BaseException:
        transport.abort()
        raise
    assert secure is not None
    protocol.connection_made(secure)
    return protocol


class Deadline:
    """`with Deadline(loop, seconds, failure):` raises `failure` in the current task if the block takes longer.

    Like asyncio.timeout, which Python 3.10 does not have: the timer cancels the task, and the end of the block turns
    the cancellation into `failure`. If the task was also cancelled from outside, that cancellation goes on."""

    __slots__ = ("_failure", "_loop", "_seconds", "_task", "_timer", "has_expired")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, failure: Failure) -> None:
        self._loop = loop
        self._seconds = seconds
        self._failure = failure
        self.has_expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = self._loop.call_later(max(0.0, self._seconds), self._expire)

    def _expire(self) -> None:
        self.has_expired = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self._timer.cancel()
        if self.has_expired:
            uncancel = getattr(self._task, "uncancel", None)  # since Python 3.11
            if (uncancel is None or uncancel() == 0) and kind is not None and issubclass(kind, asyncio.CancelledError):
                # A copy: a traceback on the one that is kept would refer to this frame, which is a reference cycle.
                raise type(self._failure)(*self._failure.args)


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel by CONNECT (RFC 9110, section 9.3.6)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, proxy: ProxyServer) -> None:
        self._proxy = proxy
        self._reader = ResponseReader(method="CONNECT")
        self._answer: asyncio.Future[None] = loop.create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._answer.done():
            return
        try:
            self._reader.receive(data)
        except BadResponse:
            self._fail("its answer is not valid HTTP")
            return
        head = self._reader.head
        if head is not None:
            if not 200 <= head.status < 300:
                self._fail(f"it answered HTTP {head.status}")
            elif self._reader.surplus:
                self._fail("it sent something before the tunnel was used")
            else:
                self._answer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answer.done():
            self._fail("it closed the connection")

    def _fail(self, reason: str) -> None:
        self._answer.set_exception(Failure("proxy", f"{self._proxy.origin.authority} refused: {reason}"))

    async def open(self, origin: Origin) -> None:
        """Ask for the tunnel and wait until it is open. Raises `Failure` if the proxy refuses."""
        assert self.transport is not None
        authority = f"{origin.bare_authority}:{origin.port}"
        headers = {"proxy-authorization": self._proxy.basic} if self._proxy.basic else {}
        self.transport.write(request_head("CONNECT", authority, authority, headers, None))
        await self._answer

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()
