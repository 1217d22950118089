"""Connections from clients: how they are admitted, fed to the parser, evicted, drained; the error envelope also for bytes that are not HTTP.

Knows: aiohttp's low-level server (`Server`, `RequestHandler`: both public). Must not know: routes, upstreams.
Invariants: no error leaves in another shape than the envelope; every byte that a client sends reaches the parser once, or its connection is
closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import StreamReader

from a2py.errors import ApiError
from a2py.proxy.aiohttp_server import BaseRequest, RequestHandler, RequestPayloadError, Server, StreamResponse
from a2py.proxy.responses import Sent, error_response, new_id
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

#: What ends a request's head, and a chunked body.
_EMPTY_LINE = b"\r\n\r\n"
#: aiohttp's attributes: whether the parser has gone over to another protocol, and the parser. Before 3.14 they had other names.
_UPGRADED, _PARSER = ("_upgraded", "_parser") if hasattr(RequestHandler, "_upgraded") else ("_upgrade", "_request_parser")
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
    """One client connection. Overridden: what is answered to what is no HTTP; how the parser is fed; the write buffer's limit, and clients
    that leave it full; the ceiling of connections.

    `stalled`: its client leaves more unread than the limit; `answer_time`: loop time at the end of its latest answer, 0 before the first."""

    __slots__ = ("_body", "_end", "_left", "_rest", "_stall", "_transport", "answer_time", "stalled")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.stalled = False
        self.answer_time = 0.0
        self._transport = transport  # also after aiohttp has closed it, and forgotten it
        self._stall = Stall(transport)  # type: ignore[arg-type]
        self._end = b""  # the last bytes that the parser was fed, where a head may end
        self._left = 0  # bytes to come of a body of known length
        self._rest = b""  # received, and to be parsed once the parser goes on
        self._body: StreamReader | None = None  # of the last request
        super().connection_made(transport)
        connections = self._manager
        if isinstance(connections, Connections):
            small_reads(transport)
            transport.set_write_buffer_limits(high=connections.buffer_limit)  # type: ignore[attr-defined]
            connections.admit(self)

    @property
    def is_leaving(self) -> bool:
        """Whether the answer that runs is this connection's last."""
        connections = self._manager
        return isinstance(connections, Connections) and connections.is_leaving

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
            connections = self._manager
            if isinstance(connections, Connections):
                connections.answered(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser one head or one body at a time.

        llhttp stops behind a request with `Upgrade`, for a protocol that this server never speaks, and aiohttp's C parser (3.14.5) drops what
        is left of its input: of `GET … Upgrade: h2c` and a request pipelined behind it only the first was answered. So the input is cut behind
        a body of known length, and everywhere else behind an empty line: there a head ends, and a chunked body."""
        if self._is_held():
            self._rest += data
            return
        if self._rest:
            super().data_received(b"")  # what the parser itself has held back comes first
            data, self._rest = self._rest + data, b""
            if self._is_held():
                self._rest = data
                return
        at, size = 0, len(data)
        while True:
            end = self._cut(data, at)
            piece = data if end - at == size else data[at:end]
            queued = len(self._messages)
            super().data_received(piece)
            if self._left:
                self._left -= len(piece)
            if len(self._messages) > queued and not self._is_request():
                return
            if getattr(self, _UPGRADED):
                getattr(self, _PARSER).set_upgraded(False)
                setattr(self, _UPGRADED, False)
            at = end
            if at >= size:
                self._end = (self._end + piece)[-3:] if len(piece) == size else piece[-3:]
                return
            self._end = b""
            if self._is_held():
                self._rest = data[at:]
                return

    def resume_reading(self, *args: Any, **kwargs: Any) -> None:
        super().resume_reading(*args, **kwargs)
        if self._rest:
            self._loop.call_soon(self._go_on)  # not now: the parser itself calls this at the end of a body

    def _go_on(self) -> None:
        """Parse what was held back. (Since 3.14 aiohttp calls `data_received` itself when a body is read on.)"""
        if self._rest and self._manager is not None and not self._is_held():
            self.data_received(b"")

    def _cut(self, data: bytes, at: int) -> int:
        """Return where the next piece of `data` from `at` ends."""
        if self._left:
            return min(at + self._left, len(data))
        if self._end and not at:  # the empty line may have begun in what was fed before
            end = (self._end + data[:3]).find(_EMPTY_LINE)
            if end >= 0:
                return end + len(_EMPTY_LINE) - len(self._end)
        end = data.find(_EMPTY_LINE, at)
        return len(data) if end < 0 else end + len(_EMPTY_LINE)

    def _is_held(self) -> bool:
        """Whether the parser takes no more for now: a body is read slower than it comes, or too many requests wait for their answers."""
        return self._reading_paused or (getattr(self, "_buffer_paused", False) and len(self._messages) >= self._max_msg_queue_size)

    def _is_request(self) -> bool:
        """Whether what was parsed last is a request, whose body is noted; else it is an error, with which the connection ends.

        An error within a body is that request's own: whoever reads the body must not wait for the rest of it."""
        message, body = self._messages[-1]
        headers = getattr(message, "headers", None)
        if headers is not None:
            self._left, self._body = int(headers.get("content-length", 0)), body
            return True
        shed(getattr(message, "exc", None))
        if self._body is not None and not self._body.is_eof():
            self._messages.pop()
            self._body.set_exception(RequestPayloadError("it is not framed as its head says"))
        return False

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log what nobody expects; a broken body that is read only to be skipped is nothing of that kind."""
        if not isinstance(kwargs.get("exc_info"), RequestPayloadError):
            super().log_exception(*args, **kwargs)

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
        connections = self._manager
        self._stall.end()
        shed(exc)  # a failed write's comes with the frames of who wrote, and aiohttp keeps it with the request
        self._body = None  # it refers to its connection: the garbage collector would have to find that
        super().connection_lost(exc)
        free(self._transport)
        unanswered = getattr(self, "_messages", None)  # pipelined behind the last request; each payload refers back to this connection
        if unanswered:
            for message, _ in unanswered:
                shed(getattr(message, "exc", None))
            unanswered.clear()
        if isinstance(connections, Connections):
            connections.forget(self)

    @property
    def is_idle(self) -> bool:
        """Whether it waits for its next request, and has sent all of the last answer."""
        waiting = self._waiter is not None and not self._messages
        return waiting and self.transport is not None and not self.transport.get_write_buffer_size()

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


def _unserved(request: BaseRequest) -> ApiError | None:
    """Return why a request that is valid HTTP is not served at all, whoever asks.

    A `Transfer-Encoding` other than `chunked`: the body would have to be decoded once more, and proxies disagree about where it ends."""
    codings = request.headers.getall("transfer-encoding", ())
    if codings and (len(codings) > 1 or codings[0].lower() != "chunked" or request.version < (1, 1)):
        return ApiError("invalid_request", "The only Transfer-Encoding that is served is chunked, in HTTP/1.1")
    if request.method == "CONNECT":
        told = "This is no HTTP proxy (CONNECT): set ANTHROPIC_BASE_URL to its address, not HTTPS_PROXY"
        return ApiError("method_not_allowed", told)
    return None


def _abort(connection: RequestHandler) -> None:
    if connection.transport is not None:
        connection.transport.abort()


class Connections(Server):
    """The server whose connections are `Connection`s.

    `buffer_limit`: bytes that a slow client may leave unread before its upstream is no longer read; `max_connections`: beyond them the
    connection that has been silent for longest is closed, and where all are busy, a new one is answered 529; twice as many are cut off at
    once. `open`: how many there are (aiohttp's `connections` makes a list of them). `fresh`: connections that may still ask (new ones, and in
    a drain those that asked a moment ago), the oldest first; `idle`: those that wait for their next request, the longest first; `busy`: those
    whose answer is not written yet. `is_leaving`: every answer is the last of its connection; `is_stale`: nobody may ask any more."""

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
        self._known: set[RequestHandler] = set()
        self.fresh: dict[RequestHandler, None] = {}
        self.idle: dict[RequestHandler, None] = {}
        self.busy: set[RequestHandler] = set()
        self.is_leaving = self.is_stale = False
        self._quiet = asyncio.Event()
        super().__init__(self._spoken, handler_cancellation=True, **self._options)

    @property
    def open(self) -> int:
        return len(self._known)

    def admit(self, connection: Connection) -> None:
        """Take a new connection; close another one, or it, if there are too many."""
        if self.open >= self.max_connections:
            self._evict()
        self._known.add(connection)
        if not self.is_stale:
            self.fresh[connection] = None
        if self.is_stale or self.open > 2 * self.max_connections:
            _abort(connection)

    def forget(self, connection: RequestHandler) -> None:
        """`connection` is closed, or about to be."""
        self._known.discard(connection)
        self.idle.pop(connection, None)
        self.settled(connection)

    def _evict(self) -> None:
        """Close the connection that has been silent for longest: else clients that connect and send nothing would keep everybody out until
        IDLE_SECONDS are over. One that has not asked yet comes first, then one that waits for its next request (its client asks again on a
        new one, as it must whenever a server closes an idle connection)."""
        victim = next(iter(self.fresh), None) or next((one for one in self.idle if isinstance(one, Connection) and one.is_idle), None)
        if victim is not None:
            self.forget(victim)
            _abort(victim)

    async def _spoken(self, request: BaseRequest) -> StreamResponse:
        connection = request.protocol
        self.fresh.pop(connection, None)
        self.idle.pop(connection, None)
        self.busy.add(connection)
        try:
            if request.version not in VERSIONS and request.transport is not None:
                response: StreamResponse = _unspoken(request.transport)
            elif (wrong := _unserved(request)) is not None:
                response = error_response(wrong, new_id("req_"))
                response.force_close()
                connection.close()  # what follows may be read in two ways
            else:
                response = await self._answer(request)
        except BaseException:
            self.settled(connection)  # cancelled: its client has left
            raise
        return response

    def answered(self, connection: RequestHandler) -> None:
        """Record that an answer is written. The connection waits for its next request now."""
        self.settled(connection)
        if connection in self._known:
            self.idle[connection] = None

    def settled(self, connection: RequestHandler) -> None:
        """Record that nothing is owed to `connection` now, except what it has yet to read."""
        self.fresh.pop(connection, None)
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
                self.fresh[connection] = None
                self.idle.pop(connection, None)
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
