"""Send requests to upstreams: one pool of connections, time limits, proxies and TLS as configured, failures as
`ApiError`s.

Knows: deployments, prepared requests. Must not know: what requests and answers mean (wires), which deployment is next
(router).
Invariants: only `ApiError` and cancellation leave `send` and `ask`; no key, URL query or client credential is ever in a
message; redirects are never followed, because the key would be sent along; a request is sent twice only if its idle
connection turned out to be closed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from a2py import __version__
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.http1 import CODINGS, Head, Inflater, request_head
from a2py.messages.types import Prepared
from a2py.upstream.connect import Deadline, Resolver, Route, connect
from a2py.upstream.connection import Connection
from a2py.upstream.failure import Cause, Failure, NoResponse, cause_of
from a2py.upstream.flow import Flow, Gather
from a2py.upstream.origin import ProxyServer, Target, environment_proxy, parse
from a2py.upstream.pool import Pool
from a2py.upstream.watch import Limits
from a2py.wires.failure import transport_error
from a2py.wires.refusal.peer import Peer

#: Seconds for DNS, TCP, a proxy's tunnel and TLS together.
CONNECT_SECONDS = 15.0
#: Bytes of an error body that are read, and the seconds that this may take.
ERROR_BODY, ERROR_SECONDS = 256 * 1024, 10.0
#: Bytes of a whole body that is no client's reply: the answer to a question of a2py's own.
REPLY_BODY = 64 * 1024 * 1024
#: An idle connection that ends within so many seconds of a request, without a byte of an answer, was closed by the
#: server before the request reached it. The request may be sent again (RFC 9110, section 9.2.2).
RESEND_SECONDS = 1.0

#: Header that lists the a2py proxies on a request's way. A proxy that finds itself in it is its own upstream.
HOP_HEADER = "x-a2py-hop"


class NoAnswer(ApiError):
    """The upstream got the request, and the connection ended without a byte of an answer. It may have worked on the
    request."""


class ConnectError(ApiError):
    """There was no connection to the upstream: nothing was sent."""


#: Kinds of `Cause` that end before a connection is there.
_BEFORE_CONNECTION = frozenset(("connect", "dns", "proxy", "tls", "not_tls", "timeout_connect"))


def api_error(cause: Cause, deployment: Deployment) -> ApiError:
    """Return the error for the client. Its message names host, port and model, and says what to do."""
    if cause.kind == "ca":
        return ApiError("api", f"ssl_verify: the CA file {cause.detail}", should_retry=False)
    error = transport_error(cause.kind, cause.detail, Peer.of(deployment))
    if cause.is_unanswered:
        return NoAnswer(error.kind, error.message)
    if cause.kind in _BEFORE_CONNECTION:
        return ConnectError(error.kind, error.message, should_retry=error.should_retry)
    return error


class Response:
    """A response whose head has come. Call `leave` or `close` in the end.

    `headers`: lower-case names; `resent`: the request was sent a second time, because the idle connection of the first
    was closed."""

    __slots__ = ("_connection", "headers", "resent", "status")

    def __init__(self, head: Head, connection: Connection, resent: bool) -> None:
        self.status = head.status
        self.headers = head.headers
        self.resent = resent
        self._connection: Connection | None = connection

    @property
    def content_type(self) -> str:
        """Lower case, without parameters; "" if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_whole(self) -> bool:
        """Whether all of the body has come, be it read or not."""
        return self._connection is not None and self._connection.has_whole_response

    async def read(self, flow: Flow) -> None:
        """Pass the body on to `flow` until either has ended. Raises `Failure`."""
        coding = self.headers.get("content-encoding", "").strip().lower()
        inflater = Inflater(coding) if coding in CODINGS else None
        if inflater is None and coding not in ("", "identity"):
            raise Failure(
                "broken", f"its body is compressed with {coding[:20]}, although a2py asked for an uncompressed one"
            )
        if self._connection is None:
            raise Failure("cut", "the connection was closed")
        await self._connection.read(flow, inflater)

    async def whole(self, limit: int) -> bytes:
        """Return the body, or its first `limit` bytes. Raises `Failure`."""
        body = Gather(limit)
        await self.read(body)
        return body.body()

    async def error_body(self) -> bytes:
        """Return as much of an error's body as is worth reading. If the rest of it fails, that does not matter."""
        body = Gather(ERROR_BODY)
        timer = asyncio.get_running_loop().call_later(ERROR_SECONDS, self.close)
        try:
            await self.read(body)
        except Failure:
            pass
        finally:
            timer.cancel()
        return body.body()

    def leave(self, *, is_complete: bool) -> None:
        """End the exchange. `is_complete`: the answer was complete, so the connection may be used again; otherwise it
        is closed."""
        if self._connection is not None:
            self._connection.leave(is_complete=is_complete)
            self._connection = None

    def close(self) -> None:
        """Close the connection at once, unless the body was read to its end."""
        self.leave(is_complete=False)


class Upstream:
    """`hops`: value of the hop header; `force_ipv4`, `trust_env`: LiteLLM's settings; `count`: called with the name of
    a metric; `proxy`: the URL of a proxy, used in place of the environment's."""

    def __init__(
        self,
        hops: str = "",
        force_ipv4: bool = False,
        trust_env: bool = True,
        count: Callable[[str], None] = lambda name: None,
        proxy: str = "",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._hops = hops
        self._trust_env = trust_env
        self._own_proxy = proxy
        self._count = count
        self._resolver = Resolver(self._loop, socket.AF_INET if force_ipv4 else socket.AF_UNSPEC)
        self._pool = Pool(self._loop)
        self._proxies: dict[tuple[str, str, int], ProxyServer | None] = {}

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return len(self._pool.connections)

    @property
    def idle(self) -> int:
        """Open connections that no request uses."""
        return self._pool.idle

    async def close(self) -> None:
        self._pool.close()
        await self._resolver.close()

    async def send(
        self,
        deployment: Deployment,
        prepared: Prepared,
        *,
        total: float | None,
        silence: float | None,
        contentless: float | None = None,
        hops: str = "",
    ) -> Response:
        """Send a request and return the response when its head has come. Raises `ApiError`.

        Limits in seconds, None for no limit: `total` for everything, body included; `silence` without a byte;
        `contentless` with nothing but comments and empty events."""
        headers = {
            **prepared.headers,
            "accept-encoding": "identity",
            "user-agent": f"a2py/{__version__}",
            HOP_HEADER: hops or self._hops,
        }
        try:
            return await self._exchange(deployment, prepared.url, headers, prepared.body, total, silence, contentless)
        except Failure as failure:
            cause = failure.cause
        raise api_error(cause, deployment)  # out here: inside, the error would keep the failure's frames alive

    async def ask(
        self,
        deployment: Deployment,
        address: str,
        question: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        seconds: float,
    ) -> dict[str, Any]:
        """Send a small request beside the main one, such as a count of tokens, and return its answer, a JSON object.

        POST of `question`, or GET if that is None. Raises `ApiError`, or ValueError if the answer is no object."""
        try:
            status, _, data = await self.fetch(deployment, address, headers, question, seconds, REPLY_BODY)
        except Failure as failure:
            cause = failure.cause
        else:
            if status != 200:
                raise ApiError("upstream", f"{deployment.address} answered HTTP {status}", status=status)
            answer = orjson.loads(data)
            if not isinstance(answer, dict):
                raise ValueError("the answer is no object")
            return answer
        raise api_error(cause, deployment)

    async def fetch(
        self,
        deployment: Deployment,
        address: str,
        headers: Mapping[str, str],
        question: Mapping[str, Any] | None,
        seconds: float,
        limit: int,
    ) -> tuple[int, dict[str, str], bytes]:
        """POST `question` as JSON, or GET if it is None. Return the status, the headers (lower-case names) and at most
        `limit` bytes of the body. Raises `Failure`, also if that takes more than `seconds`. A redirect is an answer,
        too."""
        all_headers = {**headers, "accept": "application/json", "accept-encoding": "identity", HOP_HEADER: self._hops}
        body = None
        if question is not None:
            all_headers["content-type"] = "application/json"
            body = orjson.dumps(question)
        response = await self._exchange(deployment, address, all_headers, body, seconds, None, None)
        try:
            return response.status, response.headers, await response.whole(limit)
        finally:
            response.leave(is_complete=True)

    async def _exchange(
        self,
        deployment: Deployment,
        url: str,
        headers: dict[str, str],
        body: bytes | None,
        total: float | None,
        silence: float | None,
        contentless: float | None,
    ) -> Response:
        """Send a request on an idle connection or a new one. `body` None: a GET. Raises `Failure`."""
        target = parse(url)
        proxy = self._proxy(target)
        head = _request(target, proxy, headers, body)
        route = Route(target.origin, proxy, deployment.ssl_verify)
        due = None if total is None else self._loop.time() + total
        limits = Limits(silence, due, contentless)
        idle = self._pool.take(route)
        if idle is not None:
            start = self._loop.time()
            try:
                answer = await idle.ask(head, body or b"", limits)
                if not _is_late_timeout(answer) or self._loop.time() - start > RESEND_SECONDS:
                    return Response(answer, idle, False)
                idle.close()
            except NoResponse:
                if self._loop.time() - start > RESEND_SECONDS:
                    raise
            self._count("a2py_resent_total")
        connection = await self._connect(route, due)
        return Response(await connection.ask(head, body or b"", limits), connection, idle is not None)

    async def _connect(self, route: Route, due: float | None) -> Connection:
        seconds = CONNECT_SECONDS if due is None else min(CONNECT_SECONDS, due - self._loop.time())
        peer = route.proxy.origin if route.proxy is not None else route.origin
        try:
            with Deadline(self._loop, seconds, Failure("timeout_connect", f"{max(seconds, 0):.2g} s have passed")):
                connection = await connect(route, self._resolver, self._pool, self._loop)
        except Failure as failure:
            self._resolver.forget(peer.host, peer.port)  # the host may have moved
            cause = failure.cause
        except (OSError, ValueError, UnicodeError) as error:
            cause = cause_of(error)
        else:
            self._pool.add(connection, route)
            return connection
        raise Failure(cause.kind, cause.detail)

    def _proxy(self, target: Target) -> ProxyServer | None:
        """Return the proxy for a server, looked up once for each. Raises `Failure`."""
        if not self._trust_env and not self._own_proxy:
            return None
        try:
            return self._proxies[target.origin]
        except KeyError:
            proxy = self._proxies[target.origin] = environment_proxy(target.origin, self._own_proxy)
            return proxy


def _request(target: Target, proxy: ProxyServer | None, headers: dict[str, str], body: bytes | None) -> bytes:
    """Return the head of a request. Raises `Failure`."""
    origin = target.origin
    if target.basic and not any(name.lower() == "authorization" for name in headers):
        headers = {**headers, "authorization": target.basic}
    path = target.path
    if proxy is not None and origin.scheme == "http":  # in absolute form to the proxy (RFC 9112, section 3.2.2)
        path = f"http://{origin.authority}{path}"
        if proxy.basic:
            headers = {**headers, "proxy-authorization": proxy.basic}
    try:
        return request_head(
            "GET" if body is None else "POST", path, origin.authority, headers, None if body is None else len(body)
        )
    except ValueError:
        raise Failure("connect", "a header or the address has a line break or a NUL byte in it") from None


def _is_late_timeout(head: Head) -> bool:
    """Return whether a server reports an idle timeout in answer to a request that crossed it (RFC 9110, section
    15.5.9)."""
    return head.status == 408 and "close" in head.tokens("connection")
