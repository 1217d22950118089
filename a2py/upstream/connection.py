"""One HTTP/1.1 connection to an upstream: a request goes out, its response comes in, then the next.

Knows: asyncio's transports. Must not know: where a connection leads, TLS, proxies, what a body means.
Invariants: bytes that arrive while no response is expected close the connection, and so does all that ends an exchange
early. At most one read is held while the flow is full. At most one timer runs.

    IDLE ── ask() ──▶ WAITING ── final head ──▶ READING ── end of body ──▶ COMPLETE ── leave() ───▶ IDLE
                                                   │                                                 ▲
                                                   └── leave(is_complete=True) ──▶ TAIL ── its end ────┘
    any phase ── failure, cancellation, leave(is_complete=False), close() ──▶ CLOSED

`data_received` drives everything: it parses, passes pieces on to the flow, and the flow writes to the client, all in
one call of the event loop. The task that waits for the response wakes only when the head is complete, when the flow is
full, and at the end: to wake a task costs a further round of the event loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from enum import Enum
from typing import Protocol

from a2py.http1 import BadResponse, Head, Inflater, ResponseReader, State
from a2py.upstream.failure import Failure, NoResponse, reason_of
from a2py.upstream.flow import Flow, Splice
from a2py.upstream.sender import Sender
from a2py.upstream.sockets import is_quiet, read_rest
from a2py.upstream.transports import READ_SIZE, free, small_reads
from a2py.upstream.watch import Limits, Watch

#: Seconds and bytes that an upstream gets to end a body of which nothing more is wanted, so that the connection can be
#: used again.
TAIL_SECONDS, TAIL_SIZE = 1.0, 64 * 1024


class Phase(Enum):
    """The state of a connection; see the picture above."""

    IDLE = "no request"
    WAITING = "for the head of the response"
    READING = "the body"
    COMPLETE = "the whole response has come"
    TAIL = "the rest of a body that nobody wants"
    CLOSED = "closed"


class Owner(Protocol):
    """Keeps connections for the next request."""

    def take_back(self, connection: Connection) -> None:
        """Take a connection that can be used for another request."""

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""


class Connection(asyncio.Protocol):
    """`sock`: the socket below the transport.

    `idle_since`: loop time of its beginning, or of the end of its latest exchange; `idle_limit`: seconds that the
    server keeps it idle, None if it does not say."""

    __slots__ = (
        "_backlog",
        "_early",
        "_failure",
        "_flow",
        "_inflater",
        "_loop",
        "_owner",
        "_reader",
        "_sender",
        "_sock",
        "_splice",
        "_tail",
        "_transport",
        "_waiter",
        "_watch",
        "idle_limit",
        "idle_since",
        "phase",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner, sock: socket.socket | None = None) -> None:
        self._loop = loop
        self._owner = owner
        self._sock = sock
        self._transport: asyncio.Transport | None = None
        self._reader = ResponseReader()
        self._waiter: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self._watch = Watch(loop, self._expire)
        self._flow: Flow | None = None
        self._splice: Splice | None = None
        self._inflater: Inflater | None = None
        self._early: list[bytes] = []  # pieces of the body that came before somebody read it
        self._backlog: Iterator[bytes] | None = None  # the rest of a compressed read, while the flow is full
        self._sender = Sender()
        self._tail = 0  # bytes read in phase TAIL
        self.phase = Phase.IDLE
        self.idle_since = loop.time()
        self.idle_limit: int | None = None

    # -- called by the transport ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._sender.attach(self._transport)
        small_reads(transport)

    def data_received(self, data: bytes) -> None:
        self._watch.last = now = self._loop.time()
        try:
            splice, flow = self._splice, self._flow
            if splice is not None and flow is not None:
                out = splice.chunk(data)
                if out is not None:
                    flow.forward(out, now)
                    if flow.full():
                        self._stop_for(flow)
                    return
                self._splice = None
            self._receive(data)
        except BadResponse as error:
            self._early += error.pieces  # the task that reads passes them on before it raises the failure
            if self._reader.head is None:
                self._fail(Failure("connect", f"what answers there does not speak HTTP ({error})"))
            else:
                self._fail(Failure("broken", str(error)))
        except Exception as error:  # raised by the flow: `read` raises it in its task
            self._fail(error)

    def eof_received(self) -> bool:
        if self.phase in (Phase.WAITING, Phase.READING, Phase.TAIL):
            try:
                self._reader.end_of_input()
            except BadResponse:
                self._fail(self._explain_loss(None))
            else:
                self._complete()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self.phase in (Phase.WAITING, Phase.READING):
            for data in read_rest(self._sock, self._transport):
                self.data_received(data)
                if self.phase not in (Phase.WAITING, Phase.READING):
                    break
        if exc is None:
            self.eof_received()
        if self.phase in (Phase.WAITING, Phase.READING):
            self._fail(self._explain_loss(exc))
        self.close()
        self._watch.forget()
        free(self._transport)
        self._transport = self._sock = None  # a TLS transport refers to its protocol: this would be a reference cycle
        self._sender.attach(None)

    def pause_writing(self) -> None:
        self._sender.pause()

    def resume_writing(self) -> None:
        self._watch.last = self._loop.time()  # a server that takes the request is not silent
        self._sender.resume()

    # -- an exchange ---------------------------------------------------------------------------------------------------

    def is_usable(self, now: float, idle_seconds: float) -> bool:
        """Return whether the connection can take a request. `now`: loop time; `idle_seconds`: how long it may have been
        idle.

        A connection that was closed meanwhile, or on which something arrived, is not usable."""
        if self.idle_limit is not None:
            idle_seconds = min(idle_seconds, self.idle_limit - 1.0)
        return (
            self.phase is Phase.IDLE
            and self._transport is not None
            and not self._transport.is_closing()
            and now - self.idle_since < idle_seconds
            and is_quiet(self._sock)  # what has arrived would be taken for the answer to the next request
        )

    @property
    def has_whole_response(self) -> bool:
        """Whether the last byte of the response has come."""
        return self._reader.is_done

    async def ask(self, head: bytes, body: bytes, limits: Limits) -> Head:
        """Send a request and return the head of its response. Raises `Failure`: `NoResponse` if the connection ended
        before a byte of the response. If this raises, or is cancelled, the connection is closed."""
        self.phase = Phase.WAITING
        self._reader = reader = ResponseReader()
        self.idle_limit = None
        try:
            self._watch.start(limits)
            if self._failure is None:  # the time may be up already
                self._sender.send(head, body)
            while reader.head is None:
                await self._wait_for_news()
        except BaseException:
            self.close()
            raise
        return reader.head

    async def read(self, flow: Flow, inflater: Inflater | None = None) -> None:
        """Pass the body on to `flow` until either has ended. Raises `Failure`, and what the flow raises. If this
        raises, or is cancelled, the connection is closed."""
        self._flow = self._watch.flow = flow
        self._inflater = inflater
        try:
            while not flow.is_over:
                if flow.full():
                    await flow.drain()
                    self._watch.last = self._loop.time()
                elif self._backlog is not None:
                    self._pass_backlog()
                elif self._early:
                    early, self._early = b"".join(self._early), []
                    self._pass_on(early)
                elif self._reader.is_done and self._failure is None:
                    if inflater is None or self._is_whole(inflater):
                        return
                else:
                    self._pause_reading(False)
                    await self._wait_for_news()
        except BaseException:
            self.close()
            raise
        finally:
            self._flow = self._watch.flow = self._splice = self._inflater = self._backlog = None

    async def _wait_for_news(self) -> None:
        """Wait until `_wake` is called. Raises the failure of the connection, if there is one."""
        if self._failure is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        elif isinstance(self._failure, Failure):
            # A copy: a traceback on the one that is kept would refer to this frame, which is a reference cycle.
            raise type(self._failure)(*self._failure.args)
        else:
            raise self._failure

    def leave(self, *, is_complete: bool) -> None:
        """End the exchange. If its answer `is_complete`, the body gets TAIL_SECONDS to end, and the connection can be
        used again.

        Otherwise the connection is closed at once, which makes the upstream stop generating."""
        self._watch.stop()
        if self.phase is Phase.COMPLETE:
            self._release()
        elif self.phase is Phase.READING and is_complete:
            self.phase = Phase.TAIL
            self._tail = sum(map(len, self._early))
            self._early.clear()
            self._watch.start(Limits(due=self._loop.time() + TAIL_SECONDS))
            self._pause_reading(False)
        else:
            self.close()

    def close(self) -> None:
        """Close the connection in any phase. What is not sent yet is dropped."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self._watch.stop()
        self._splice = None
        self._sender.drop()
        if self._failure is None and not self._reader.is_done:
            self._failure = Failure("cut", "the connection was closed")
        if self._transport is not None:
            self._transport.abort()
        self._owner.remove(self)
        self._wake()

    def _complete(self) -> None:
        """The whole response has come."""
        self._watch.stop()
        self._splice = None
        if self.phase is Phase.TAIL:
            self._release()
        else:
            self.phase = Phase.COMPLETE
            self._wake()

    def _release(self) -> None:
        """Return the connection to its owner if it can take another request: both messages are complete, and the server
        keeps it open (RFC 9112, section 9.3)."""
        transport = self._transport
        if transport is None or transport.is_closing() or not self._sender.is_done or not self._reader.keeps_alive:
            self.close()
            return
        self.phase = Phase.IDLE
        self._early.clear()
        self.idle_limit = self._reader.idle_seconds
        self.idle_since = self._loop.time()
        self._pause_reading(False)
        self._owner.take_back(self)

    def _fail(self, error: BaseException) -> None:
        """Close the connection, and raise `error` in the task that waits."""
        if self._failure is None:
            self._failure = error
        self.close()

    def _explain_loss(self, exc: BaseException | None) -> Failure:
        if not self._reader.has_started:
            return NoResponse("cut", "before it answered")
        return Failure("cut", reason_of(exc) or "before the end of its answer")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pause_reading(self, pause: bool) -> None:
        """Stop or continue to read from the server."""
        transport = self._transport
        if pause is not self._watch.is_paused and transport is not None and not transport.is_closing():
            self._watch.is_paused = pause
            if pause:
                transport.pause_reading()
            else:
                transport.resume_reading()

    # -- receiving -----------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        phase = self.phase
        if phase is Phase.READING:
            self._receive_body(data)
        elif phase is Phase.WAITING:
            self._receive_head(data)
        elif phase is Phase.COMPLETE:
            self._receive_early(data)
        elif phase is Phase.TAIL:
            self._receive_tail(data)
        else:  # nothing was asked
            self.close()

    def _receive_body(self, data: bytes) -> None:
        """Pass a part of the body on, unless the flow is not there yet or something that came before it waits."""
        flow, reader = self._flow, self._reader
        if flow is None or self._watch.is_paused or self._backlog or self._early:
            self._receive_early(data)
            return
        pieces = reader.receive(data)
        if pieces:
            self._pass_on(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        state = reader.state
        if state is State.DONE:
            self._complete()
        elif state is State.BETWEEN_CHUNKS and self._inflater is None and self._is_awaited():
            self._splice = flow.splice()

    def _is_awaited(self) -> bool:
        """Return whether the task waits for news and has not been woken: it has nothing to do before the next read."""
        return self._waiter is not None and not self._waiter.done()

    def _receive_early(self, data: bytes) -> None:
        """Keep a part of the body for the task. Stop reading when that is more than one read."""
        self._early += self._reader.receive(data)
        if self.phase is Phase.READING and self._reader.is_done:
            self._complete()
        elif sum(map(len, self._early)) > READ_SIZE:
            self._pause_reading(True)

    def _receive_tail(self, data: bytes) -> None:
        """Drop a part of a body of which nothing more is wanted."""
        self._tail += len(data)
        self._reader.receive(data)
        if self._reader.is_done:
            self._complete()
        elif self._tail > TAIL_SIZE:
            self.close()

    def _receive_head(self, data: bytes) -> None:
        reader = self._reader
        pieces = reader.receive(data)
        if reader.head is None:
            return
        self._early += pieces
        self.phase = Phase.READING
        if self._sender.has_unsent and reader.head.status >= 300:
            # The server has answered without the rest of the body, which it may never read (RFC 9112, section 9.3):
            # stop sending. The request stays incomplete, so the connection can't take another one.
            self._sender.drop()
            reader.surplus = True
        if reader.is_done:
            self._complete()
        self._wake()

    def _pass_on(self, data: bytes) -> None:
        """Give the flow what came in one read: at once, or in steps if it is compressed."""
        flow = self._flow
        assert flow is not None
        if self._inflater is not None:
            self._backlog = self._inflater.pieces(data)
            self._pass_backlog()
            return
        flow.pass_on(data)
        if flow.is_over or flow.full():
            self._stop_for(flow)

    def _stop_for(self, flow: Flow) -> None:
        """Stop passing pieces on, because the flow has ended or is full, and wake the task, which finds out which."""
        self._splice = None
        self._pause_reading(not flow.is_over)
        self._wake()

    def _pass_backlog(self) -> None:
        flow, pieces, inflater = self._flow, self._backlog, self._inflater
        if pieces is None or flow is None or inflater is None:
            return
        try:
            for piece in pieces:
                flow.pass_on(piece)
                if flow.is_over or flow.full():
                    self._stop_for(flow)
                    return
        except BadResponse as error:
            self._fail(Failure("broken", str(error)))
        self._backlog = None

    def _is_whole(self, inflater: Inflater) -> bool:
        try:
            inflater.close()
        except BadResponse as error:
            self._fail(Failure("broken", str(error)))
            return False
        return True

    def _expire(self, kind: str, detail: str) -> None:
        """Fail, because a time limit has passed."""
        self._fail(Failure("timeout_first_byte" if self.phase is Phase.WAITING else kind, detail))
