"""The HTTP border towards clients: ids, whole responses, the error envelope on everything, also on what is no HTTP.

Knows: aiohttp's low-level server (`Server`, `RequestHandler`: both public), the envelope's headers.
Must not know: routes, upstreams.
Invariants: every response carries `request-id`; no error leaves in another shape than the envelope.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Mapping
from typing import Any

import orjson

from a2py.errors import ApiError
from a2py.proxy.lean import BaseRequest, RequestHandler, Response, Server, StreamResponse
from a2py.upstream.transports import free, small_reads

#: Seconds a connection may be idle, or take to send its request line and headers.
IDLE_SECONDS = 75.0
#: Seconds that are spent on reading what is left of a refused body, so that the client can read the answer.
LINGER_SECONDS = 2.0
#: Once a drain has begun: seconds for a new connection to ask, and for one that was answered this recently to ask again. A client that asks
#: all the time hears `Connection: close` then; without these seconds its next request would meet a closed connection.
FRESH_SECONDS = 1.0
#: Seconds between two looks at the bytes that clients have yet to read, during a drain.
LOOK_SECONDS = 0.05
#: Seconds in which a client that is owed bytes may take none of them, before its connection is cut.
STALL_SECONDS = 300.0
#: Bytes of one header line and of one header value; number of headers. Claude Code's longest (anthropic-beta) is some 500.
HEADER_LINE, HEADER_FIELD, HEADER_COUNT = 16_384, 16_384, 128

_UNPRINTABLE = re.compile(r"[^ -~]+")


def new_id(prefix: str) -> str:
    """`prefix` and 24 url-safe random characters: `req_…`, `msg_…`."""
    return prefix + base64.urlsafe_b64encode(os.urandom(18)).decode()


def header_list(names: tuple[str, ...]) -> str:
    """A comma list that may stand in a header, whatever the names hold."""
    return ",".join(_UNPRINTABLE.sub("?", name)[:100] for name in names[:50])


class Sent(StreamResponse):
    """What aiohttp is told of a response whose bytes went straight to the transport: there is nothing left to write."""

    def __init__(self, status: int, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._open = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        return self._open

    async def prepare(self, request: BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


def json_response(body: Any, request_id: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body`: bytes of JSON, or what orjson takes."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return Response(body=data, status=status, headers={"content-type": "application/json", "request-id": request_id, **(headers or {})})


def error_response(error: ApiError, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    return json_response(error.body(request_id), request_id, error.status, {**error.headers(), **(headers or {})})


#: What is spoken here. The parser takes 0.9 and 2.0 in a request line too, and a response would repeat them.
VERSIONS = ((1, 1), (1, 0))
#: aiohttp's status of a request that is not HTTP, or too long, → what the client is told.
_MALFORMED = {
    400: "The request is not valid HTTP",
    413: "The request body is too large",
    414: "The request URL is too long",
    431: "The request headers are too large",
}


class Stall:
    """Cuts off a client that takes nothing of what is written for it, from the moment at which the buffer was full, or the connection was
    closed with bytes in it (`close` waits for them, for ever). Nothing is added to a full buffer: a size that does not fall is a stall."""

    __slots__ = ("_timer", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self.end()
        self._wait(self._transport.get_write_buffer_size())

    def unsent(self) -> bool:
        """Return whether bytes for the client still wait in this process."""
        transport: Any = self._transport
        below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)  # asyncio's TLS: encrypted bytes wait there
        try:
            return any(layer.get_write_buffer_size() for layer in (transport, below) if layer is not None)
        except AttributeError:  # a TLS transport that was closed twice has let go of its connection
            return False

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, size: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(STALL_SECONDS, self._look, size) if size else None

    def _look(self, before: int) -> None:
        size = self._transport.get_write_buffer_size()
        if size < before:
            self._wait(size)
        else:
            self._transport.abort()


def shed(error: BaseException | None) -> None:
    """Drop the frames that `error` and its causes came through. A frame that still refers to its error is a reference cycle, which keeps all
    that its callers hold (a connection, a request, its body) until the garbage collector runs."""
    link = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__


class Connection(RequestHandler):
    """One client connection. Overridden: what is answered to what is no HTTP; the write buffer's limit, and clients that leave it full; the
    ceiling of connections.

    `stalled`: its client leaves more unread than the limit; `answer_time`: loop time at the end of its latest answer, 0 before the first."""

    __slots__ = ("_stall", "_transport", "answer_time", "stalled")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.stalled = False
        self.answer_time = 0.0
        self._transport = transport  # also after aiohttp has closed it, and forgotten it
        self._stall = Stall(transport)  # type: ignore[arg-type]
        super().connection_made(transport)
        border = self._manager
        if isinstance(border, Border):
            small_reads(transport)
            transport.set_write_buffer_limits(high=border.buffer_limit)  # type: ignore[attr-defined]
            border.open += 1
            if border.open > 2 * border.max_connections:
                transport.abort()  # type: ignore[attr-defined]
            if border.is_stale:
                transport.abort()  # type: ignore[attr-defined]
            else:
                border.fresh.add(self)

    @property
    def is_leaving(self) -> bool:
        """Whether the answer that runs is this connection's last."""
        border = self._manager
        return isinstance(border, Border) and border.is_leaving

    def unsent(self) -> bool:
        """Return whether bytes for the client still wait in this process."""
        return self._stall.unsent()

    async def finish_response(self, request: BaseRequest, resp: StreamResponse, start_time: float | None) -> tuple[StreamResponse, bool]:
        """Write the response. Only then nothing more is owed to this client: aiohttp writes a body after the handler has returned it."""
        if self.is_leaving:
            resp.force_close()
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self.answer_time = asyncio.get_running_loop().time()
            if self.is_leaving:
                self.close()  # not earlier: aiohttp reads no more of a request's body after that
            border = self._manager
            if isinstance(border, Border):
                border.settled(self)

    def pause_writing(self) -> None:
        self.stalled = True
        super().pause_writing()
        self._stall.begin()

    def resume_writing(self) -> None:
        self.stalled = False
        super().resume_writing()
        self._stall.end()

    async def start(self) -> None:
        try:
            await super().start()
        except asyncio.CancelledError as error:
            shed(error)  # a cancelled task keeps it, and aiohttp's frame may refer to the task
            raise
        finally:
            if self._manager is not None:  # closed, but not lost yet
                self._stall.begin()

    def connection_lost(self, exc: BaseException | None) -> None:
        border = self._manager
        self._stall.end()
        shed(exc)  # a failed write's comes with the frames of who wrote, and aiohttp keeps it with the request
        super().connection_lost(exc)
        free(self._transport)
        unanswered = getattr(self, "_messages", None)  # pipelined behind the last request; each payload refers back to this connection
        if unanswered:
            for message, _ in unanswered:
                shed(getattr(message, "exc", None))
            unanswered.clear()
        if isinstance(border, Border):
            border.open -= 1
            border.settled(self)

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> StreamResponse:
        if type(exc).__name__ == "LineTooLong":
            status = 431
        shed(exc)
        known = _MALFORMED.get(status)
        error = (
            ApiError("invalid_request", known, status=status) if known else ApiError("api", "Internal error of the proxy", status=status)
        )
        response = error_response(error, new_id("req_"))
        response.force_close()
        return response


def _unspoken(transport: asyncio.Transport) -> StreamResponse:
    request_id = new_id("req_")
    body = ApiError("invalid_request", _MALFORMED[400]).body(request_id)
    head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    transport.write(f"{head}request-id: {request_id}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    return Sent(400, False)


class Border(Server):
    """The server whose connections are `Connection`s. `buffer_limit`: bytes that a slow client may leave unread before its upstream is
    no longer read; `max_connections`: more are answered 529, twice as many are cut off at once; `open`: how many there are (aiohttp's
    `connections` makes a list of them). `fresh`: connections that may still ask (new ones, and in a drain those that asked a moment ago);
    `busy`: those whose answer is not written yet. `is_leaving`: every answer is the last of its connection; `is_stale`: nobody may ask any more."""

    def __init__(self, handler: Any, *, buffer_limit: int, max_connections: int) -> None:
        self.buffer_limit = buffer_limit
        self.max_connections = max_connections
        self._options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": IDLE_SECONDS,
            "lingering_time": LINGER_SECONDS,
            "max_line_size": HEADER_LINE,
            "max_field_size": HEADER_FIELD,
            "max_headers": HEADER_COUNT,
        }
        self._answer = handler
        self.open = 0
        self.fresh: set[RequestHandler] = set()
        self.busy: set[RequestHandler] = set()
        self.is_leaving = self.is_stale = False
        self._quiet = asyncio.Event()
        super().__init__(self._spoken, handler_cancellation=True, **self._options)

    async def _spoken(self, request: BaseRequest) -> StreamResponse:
        connection = request.protocol
        self.fresh.discard(connection)
        self.busy.add(connection)
        try:
            if request.version in VERSIONS or request.transport is None:
                response: StreamResponse = await self._answer(request)
            else:
                response = _unspoken(request.transport)
        except BaseException:
            self.settled(connection)  # cancelled: its client has left
            raise
        return response

    def settled(self, connection: RequestHandler) -> None:
        """Record that nothing is owed to `connection` now, except what it has yet to read."""
        self.fresh.discard(connection)
        self.busy.discard(connection)
        if not self.fresh and not self.busy:
            self._quiet.set()

    def drain(self) -> None:
        """Close idle connections. New ones, and those that were answered less than FRESH_SECONDS ago, may ask once more for that long."""
        self.is_leaving = True
        loop = asyncio.get_running_loop()
        recent = loop.time() - FRESH_SECONDS
        for connection in self.connections:
            if connection in self.fresh or connection in self.busy:
                continue
            if isinstance(connection, Connection) and connection.answer_time > recent:
                self.fresh.add(connection)
            else:
                connection.force_close()
        loop.call_later(FRESH_SECONDS, self._stale)

    def _stale(self) -> None:
        self.is_stale = True
        for connection in list(self.fresh):
            connection.force_close()
            self.settled(connection)

    def _owes(self) -> bool:
        """Return whether any client has yet to ask, to be answered, or to read its answer."""
        return bool(self.fresh or self.busy) or any(isinstance(one, Connection) and one.unsent() for one in self._connections)

    async def quiet(self, handshakes: bool = False) -> None:
        """Return once no answer is owed to anybody. `handshakes`: connections may still be in TLS's handshake, of which nothing is known here
        until it has succeeded: wait until they have had FRESH_SECONDS too."""
        while self._owes() or (handshakes and not self.is_stale):
            self._quiet.clear()
            try:
                await asyncio.wait_for(self._quiet.wait(), LOOK_SECONDS)
            except asyncio.TimeoutError:
                pass

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=asyncio.get_running_loop(), **self._options)
