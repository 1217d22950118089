"""All client connections: how they are admitted, evicted, and drained.

Knows: aiohttp's low-level `Server` (public). Must not know: routes, upstreams.
Invariants: at most twice `max_connections` are open; a request is answered only if there is one way to read it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from a2py.errors import ApiError
from a2py.proxy.aiohttp_server import BaseRequest, RequestHandler, Server, StreamResponse
from a2py.proxy.connection import MALFORMED, Connection
from a2py.proxy.responses import SentResponse, error_response, new_id
from a2py.proxy.timeouts import Timeouts

#: Seconds between two looks at the bytes that clients have yet to read, during a drain. No event says that a buffer is
#: empty.
LOOK_SECONDS = 0.05
#: Bytes of one header line and of one header value; number of headers. Claude Code's longest (anthropic-beta) is some
#: 500.
HEADER_LINE, HEADER_FIELD, HEADER_COUNT = 16_384, 16_384, 128
#: Versions that are served. The parser takes 0.9 and 2.0 in a request line too, and a response would repeat them.
VERSIONS = ((1, 1), (1, 0))


class Connections(Server):
    """The server whose connections are `Connection`s.

    `buffer_limit`: bytes that a slow client may leave unread before its upstream is no longer read.

    `max_connections`: if there are more, the connection that has been silent for longest is closed. If all are busy, a
    new one is answered 529 (app.py). If there are twice as many, a new one is aborted.

    Each connection is in at most one of three collections. `fresh`: it may still ask (it is new, or the proxy drains
    and it asked a moment ago), the oldest first. `busy`: its answer is not written yet. `idle`: it waits for its next
    request, the longest first.

    `is_leaving`: every answer is the last of its connection; `is_closed_to_requests`: nobody may ask any more."""

    def __init__(
        self, handler: Any, *, buffer_limit: int, max_connections: int, timeouts: Timeouts | None = None
    ) -> None:
        self.buffer_limit = buffer_limit
        self.max_connections = max_connections
        self.timeouts = timeouts or Timeouts()
        self._options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": self.timeouts.idle,
            "lingering_time": self.timeouts.linger,
            "max_line_size": HEADER_LINE,
            "max_field_size": HEADER_FIELD,
            "max_headers": HEADER_COUNT,
        }
        self._handler = handler
        self._handlers: set[RequestHandler] = set()
        self.fresh: dict[RequestHandler, None] = {}
        self.idle: dict[RequestHandler, None] = {}
        self.busy: set[RequestHandler] = set()
        self.is_leaving = self.is_closed_to_requests = False
        self._quiet = asyncio.Event()
        super().__init__(self._answer, handler_cancellation=True, **self._options)

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection, for `loop.create_server`."""
        return Connection(self, loop=asyncio.get_running_loop(), **self._options)

    @property
    def open(self) -> int:
        """How many connections there are. (aiohttp's `connections` makes a list of them.)"""
        return len(self._handlers)

    def admit(self, connection: Connection) -> None:
        """Take a new connection. If there are too many, close another one, or this one."""
        if self.open >= self.max_connections:
            self._evict()
        self._handlers.add(connection)
        if not self.is_closed_to_requests:
            self.fresh[connection] = None
        if self.is_closed_to_requests or self.open > 2 * self.max_connections:
            _abort(connection)

    def forget(self, connection: RequestHandler) -> None:
        """Drop a connection that is closed, or about to be."""
        self._handlers.discard(connection)
        self.idle.pop(connection, None)
        self._settle(connection)

    def _evict(self) -> None:
        """Close the connection that has been silent for longest.

        Without this, clients that connect and send nothing would keep everybody out for `Timeouts.idle`. One that has
        not asked yet is closed first, then one that waits for its next request. Its client asks again on a new
        connection, as after any idle connection that a server closes."""
        idle = (one for one in self.idle if isinstance(one, Connection) and one.is_idle)
        victim = next(iter(self.fresh), None) or next(idle, None)
        if victim is not None:
            self.forget(victim)
            _abort(victim)

    async def _answer(self, request: BaseRequest) -> StreamResponse:
        connection = request.protocol
        self.fresh.pop(connection, None)
        self.idle.pop(connection, None)
        self.busy.add(connection)
        try:
            if request.version not in VERSIONS and request.transport is not None:
                response: StreamResponse = _refuse_version(request.transport)
            elif (error := _check(request)) is not None:
                response = error_response(error, new_id("req_"))
                response.force_close()
                connection.close()  # what follows may be read in two ways
            else:
                response = await self._handler(request)
        except BaseException:
            self._settle(connection)  # cancelled: its client has left
            raise
        return response

    def record_answer(self, connection: RequestHandler) -> None:
        """Note that an answer is written. The connection waits for its next request now."""
        self._settle(connection)
        if connection in self._handlers:
            self.idle[connection] = None

    def _settle(self, connection: RequestHandler) -> None:
        """Note that nothing is owed to `connection` now, except what it has yet to read."""
        self.fresh.pop(connection, None)
        self.busy.discard(connection)
        if not self.fresh and not self.busy:
            self._quiet.set()

    # -- drain ---------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Close idle connections. New ones, and those that were answered a moment ago, may ask once more within
        `Timeouts.fresh`."""
        self.is_leaving = True
        loop = asyncio.get_running_loop()
        recent = loop.time() - self.timeouts.fresh
        for connection in self.connections:
            if connection in self.fresh or connection in self.busy:
                continue
            if isinstance(connection, Connection) and connection.answer_time > recent:
                self.fresh[connection] = None
                self.idle.pop(connection, None)
            else:
                connection.force_close()
        loop.call_later(self.timeouts.fresh, self._close_to_requests)

    def _close_to_requests(self) -> None:
        self.is_closed_to_requests = True
        for connection in list(self.fresh):
            connection.force_close()
            self._settle(connection)

    def _is_anything_owed(self) -> bool:
        """Return whether any client has yet to ask, to be answered, or to read its answer."""
        if self.fresh or self.busy:
            return True
        return any(isinstance(one, Connection) and one.has_unsent() for one in self._connections)

    async def wait_until_quiet(self, has_tls: bool = False) -> None:
        """Return once no answer is owed to anybody.

        With TLS, connections may be in their handshake, of which nothing is known here until it has succeeded. They get
        `Timeouts.fresh` too."""
        while self._is_anything_owed() or (has_tls and not self.is_closed_to_requests):
            self._quiet.clear()
            try:
                await asyncio.wait_for(self._quiet.wait(), LOOK_SECONDS)
            except asyncio.TimeoutError:
                pass


def _abort(connection: RequestHandler) -> None:
    if connection.transport is not None:
        connection.transport.abort()


def _refuse_version(transport: asyncio.Transport) -> StreamResponse:
    """Answer a request of another HTTP version, in 1.1. A response of aiohttp's would have the version of the
    request."""
    request_id = new_id("req_")
    body = ApiError("invalid_request", MALFORMED[400]).body(request_id)
    head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    transport.write(f"{head}request-id: {request_id}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    return SentResponse(400, False)


def _check(request: BaseRequest) -> ApiError | None:
    """Return why a request that is valid HTTP is not served, whoever asks; None if it is.

    With a `Transfer-Encoding` other than `chunked` the body would have to be decoded once more, and proxies disagree
    about where it ends: that is how requests are smuggled (RFC 9112, 11.2)."""
    codings = request.headers.getall("transfer-encoding", ())
    if codings and (len(codings) > 1 or codings[0].lower() != "chunked" or request.version < (1, 1)):
        return ApiError("invalid_request", "The only Transfer-Encoding that is served is chunked, in HTTP/1.1")
    if request.method == "CONNECT":
        message = "This is not an HTTP proxy (CONNECT): set ANTHROPIC_BASE_URL to its address, not HTTPS_PROXY"
        return ApiError("method_not_allowed", message)
    return None
