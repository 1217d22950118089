"""One client connection: how its bytes are fed to aiohttp's parser, and what it gets if they are not HTTP.

Knows: aiohttp's `RequestHandler` (public), the attributes of its parser that this depends on. Must not know: routes,
upstreams, how many connections there are (connections.py).
Invariants: no error leaves in another shape than the envelope; every byte that a client sends reaches the parser once,
or its connection is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from a2py.errors import ApiError
from a2py.proxy.aiohttp_server import (
    BaseRequest,
    LineTooLong,
    RequestHandler,
    RequestPayloadError,
    StreamReader,
    StreamResponse,
)
from a2py.proxy.responses import error_response, new_id
from a2py.proxy.stall import StallGuard
from a2py.proxy.timeouts import Timeouts
from a2py.upstream.transports import free, small_reads

#: What ends a request's head, and a chunked body (RFC 9112, 2.1 and 7.1).
_EMPTY_LINE = b"\r\n\r\n"
#: aiohttp's status of a request that is not HTTP, or too long → the message for the client.
MALFORMED = {
    400: "The request is not valid HTTP",
    413: "The request body is too large",
    414: "The request URL is too long",
    431: "The request headers are too large",
}


def drop_frames(error: BaseException | None) -> None:
    """Drop the frames that `error` and its causes came through.

    A frame that still refers to its error is a reference cycle. It keeps everything that its callers hold (a
    connection, a request, its body) until the garbage collector runs."""
    link = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__


class Keeper(Protocol):
    """What owns all connections, as one connection sees it. `is_leaving`: every answer is the last of its
    connection."""

    buffer_limit: int
    timeouts: Timeouts
    is_leaving: bool

    def admit(self, connection: Connection) -> None: ...

    def record_answer(self, connection: Connection) -> None: ...

    def forget(self, connection: Connection) -> None: ...


class Connection(RequestHandler):
    """One client connection. What it changes of aiohttp's: how the parser is fed, the answer to bytes that are not
    HTTP, the limit of the write buffer, what happens to a client that leaves it full.

    `is_paused`: the client has left more unread than the limit; `answer_time`: loop time at the end of its latest
    answer, 0 before the first.

    aiohttp's `_manager` is the `Keeper`, and becomes None once the connection is lost, or closed by force."""

    __slots__ = ("_backlog", "_body", "_body_left", "_stall_guard", "_tail", "_transport", "answer_time", "is_paused")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        keeper: Keeper | None = self._manager  # type: ignore[assignment]
        assert keeper is not None
        self.is_paused = False
        self.answer_time = 0.0
        self._transport = transport  # still needed after aiohttp has closed and forgotten it
        self._stall_guard = StallGuard(transport, keeper.timeouts.stall)  # type: ignore[arg-type]
        self._tail = b""  # the last three bytes that the parser was fed: a head may end in the next ones
        self._body_left = 0  # bytes to come of a body of known length
        self._backlog = b""  # received, but the parser takes no more for now
        self._body: StreamReader | None = None  # of the last request
        super().connection_made(transport)
        small_reads(transport)
        transport.set_write_buffer_limits(high=keeper.buffer_limit)  # type: ignore[attr-defined]
        keeper.admit(self)

    @property
    def is_leaving(self) -> bool:
        """Whether the answer that runs is this connection's last."""
        keeper: Keeper | None = self._manager  # type: ignore[assignment]
        return keeper is not None and keeper.is_leaving

    def has_unsent(self) -> bool:
        """Return whether bytes for the client still wait in this process."""
        return self._stall_guard.has_unsent()

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits for its next request, and all of the last answer is sent."""
        is_waiting = self._waiter is not None and not self._messages
        return is_waiting and self.transport is not None and not self.transport.get_write_buffer_size()

    async def finish_response(
        self, request: BaseRequest, resp: StreamResponse, start_time: float | None
    ) -> tuple[StreamResponse, bool]:
        """Write the response, and only then report it as given: aiohttp writes a body after the handler has returned
        it."""
        if self.is_leaving:
            resp.force_close()
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self.answer_time = asyncio.get_running_loop().time()
            if self.is_leaving:
                self.close()  # not earlier: aiohttp reads no more of a request's body after that
            keeper: Keeper | None = self._manager  # type: ignore[assignment]
            if keeper is not None:
                keeper.record_answer(self)

    # -- feeding the parser --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Feed the parser one head or one body at a time.

        llhttp, aiohttp's C parser, stops after a request with an `Upgrade` header, because the bytes that follow may be
        another protocol. aiohttp 3.14.5 then drops the rest of its input. This server never upgrades, so the rest is
        HTTP: of `GET …` with `Upgrade: h2c` and a request pipelined after it, only the first would be answered.

        The cure is to end the parser's input exactly where a request ends: after `content-length` bytes of a body,
        everywhere else after an empty line, which ends a head and a chunked body. Then nothing can be dropped, and
        aiohttp's `_upgraded` is reset. (A cut in the middle of a chunked body, where its data contains an empty line,
        does no harm: the parser goes on with the next piece.)"""
        if self._is_held():
            self._backlog += data
            return
        if self._backlog:
            super().data_received(b"")  # what the parser itself has held back comes first
            data, self._backlog = self._backlog + data, b""
            if self._is_held():
                self._backlog = data
                return
        start, size = 0, len(data)
        while True:
            end = self._find_end(data, start)
            piece = data if end - start == size else data[start:end]
            count = len(self._messages)
            super().data_received(piece)
            if self._body_left:
                self._body_left -= len(piece)
            if len(self._messages) > count and not self._note_request():
                return
            if self._upgraded and self._parser is not None:
                self._parser.set_upgraded(False)
                self._upgraded = False
            start = end
            if start >= size:
                self._tail = (self._tail + piece)[-3:] if len(piece) == size else piece[-3:]
                return
            self._tail = b""
            if self._is_held():
                self._backlog = data[start:]
                return

    def _find_end(self, data: bytes, start: int) -> int:
        """Return where the piece of `data` that begins at `start` ends."""
        if self._body_left:
            return min(start + self._body_left, len(data))
        if self._tail and not start:  # the empty line may have begun in what was fed before
            end = (self._tail + data[:3]).find(_EMPTY_LINE)
            if end >= 0:
                return end + len(_EMPTY_LINE) - len(self._tail)
        end = data.find(_EMPTY_LINE, start)
        return len(data) if end < 0 else end + len(_EMPTY_LINE)

    def _is_held(self) -> bool:
        """Return whether the parser takes no more for now: a body is read more slowly than it comes, or too many
        requests are queued."""
        if self._reading_paused:
            return True
        return getattr(self, "_buffer_paused", False) and len(self._messages) >= self._max_msg_queue_size

    def _note_request(self) -> bool:
        """Note the body of the message that was parsed last. Return False if it is an error, with which the connection
        ends.

        An error within a body belongs to the request of that body. It is passed on to whoever reads the body, who would
        wait for the rest of it otherwise."""
        message, body = self._messages[-1]
        headers = getattr(message, "headers", None)
        if headers is not None:
            self._body_left, self._body = int(headers.get("content-length", 0)), body
            return True
        drop_frames(getattr(message, "exc", None))
        if self._body is not None and not self._body.is_eof():
            self._messages.pop()
            self._body.set_exception(RequestPayloadError("it is not framed as its head says"))
        return False

    def resume_reading(self, *args: Any, **kwargs: Any) -> None:
        super().resume_reading(*args, **kwargs)
        if self._backlog:
            self._loop.call_soon(self._feed_backlog)  # not now: the parser itself calls this at the end of a body

    def _feed_backlog(self) -> None:
        """Feed what was held back. (Since 3.14 aiohttp calls `data_received` itself when a body is read on.)"""
        if self._backlog and self._manager is not None and not self._is_held():
            self.data_received(b"")

    # -- clients that do not read --------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self.is_paused = True
        super().pause_writing()
        self._stall_guard.start()

    def resume_writing(self) -> None:
        self.is_paused = False
        super().resume_writing()
        self._stall_guard.stop()

    # -- the end -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        try:
            await super().start()
        except asyncio.CancelledError as error:
            drop_frames(error)  # a cancelled task keeps it, and aiohttp's frame may refer to the task
            raise
        finally:
            if self._manager is not None:  # closed, but not lost yet: bytes may wait in the buffer
                self._stall_guard.start()

    def connection_lost(self, exc: BaseException | None) -> None:
        keeper: Keeper | None = self._manager  # type: ignore[assignment]
        self._stall_guard.stop()
        drop_frames(
            exc
        )  # the error of a failed write comes with the frames of the writer, and aiohttp keeps it with the request
        self._body = None  # it refers to this connection: a cycle
        super().connection_lost(exc)
        free(self._transport)
        requests = getattr(
            self, "_messages", None
        )  # requests that were not answered; the body of each refers to this connection
        if requests:
            for message, _ in requests:
                drop_frames(getattr(message, "exc", None))
            requests.clear()
        if keeper is not None:
            keeper.forget(self)

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log what nobody expects. A broken body that is read only to be skipped is expected."""
        if not isinstance(kwargs.get("exc_info"), RequestPayloadError):
            super().log_exception(*args, **kwargs)

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> StreamResponse:
        """Return the answer to bytes that are not HTTP, in the form of every other error."""
        if isinstance(exc, LineTooLong):  # aiohttp says 400
            status = 431
        drop_frames(exc)
        malformed = MALFORMED.get(status)
        kind, text = ("invalid_request", malformed) if malformed else ("api", "Internal error of the proxy")
        response = error_response(ApiError(kind, text, status=status), new_id("req_"))
        response.force_close()
        return response
