"""The proxy as an HTTP application: what outlives a request, and the frame around each: one response, one envelope for every error.

Knows: the body's limits, the parts that routes and relay work with. Must not know: paths, who may ask, upstreams, event streams.
Invariants: every request gets exactly one response with a `request-id`, and a line in the log once it had a status of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from aiohttp import StreamReader
from aiohttp.http import HttpProcessingError

from a2py.errors import ApiError
from a2py.messages.count import Calibration, count_in_slices
from a2py.messages.types import Request
from a2py.proxy.access import admit
from a2py.proxy.aiohttp_server import BaseRequest, RequestHandler, RequestPayloadError, StreamResponse
from a2py.proxy.connection import shed
from a2py.proxy.context import Contexts
from a2py.proxy.cors import grant, preflight
from a2py.proxy.count import Counter
from a2py.proxy.lessons import Lessons
from a2py.proxy.limits import Limits
from a2py.proxy.log import Log, Record
from a2py.proxy.metrics import Metrics
from a2py.proxy.pace import Pace
from a2py.proxy.relay import Exchange
from a2py.proxy.responses import NamelessResponse, error_response, new_id
from a2py.proxy.router import Router
from a2py.proxy.routes import find, hops
from a2py.upstream import Upstream, tls

if TYPE_CHECKING:
    from a2py.config import Config
    from a2py.proxy.connection import Connections

#: Seconds without a byte in which a request body may stall.
BODY_SECONDS = 30.0
#: Bytes a second that a body must have on average once these have passed: a byte now and then would hold its connection for ever.
BODY_RATE = 500
#: Seconds after the start at which the system's certificates are read, unless a request needs them before (35 ms, in which nothing else runs).
WARM_SECONDS = 0.2


class Proxy:
    """Everything that outlives a request. `handle` is the HTTP handler; `start` and `close` frame its life.

    `clock`: monotonic seconds (tests); `loop` and `upstream` exist between `start` and `close`."""

    def __init__(self, config: Config, *, clock: Callable[[], float] = time.monotonic, log: Log | None = None) -> None:
        self.config = config
        self.clock = clock
        self.log = log or Log(format="json" if config.settings.json_logs else "text")
        self.name = new_id("")[:8]
        self.limits = Limits(clock)
        self.router = Router(clock, self.limits)
        self.lessons = Lessons(clock)
        self.running: set[Exchange] = set()
        self.busy: set[RequestHandler] = set()  # connections with a request in work
        self.connections: Connections | None = None
        self._idle: asyncio.Event | None = None
        self.began = clock()
        self.metrics = Metrics()
        self.pace = Pace()
        self.counter = Counter(clock)
        #: What replies teach: of the estimate in message_start, and of the careful count (1.5 ms for 100 KB: not at every reply).
        self.estimates, self.counts = Calibration(), Calibration()
        self.contexts = Contexts(clock)
        self.draining = False
        self.leave: Callable[[], None] = lambda: None  # take the whole proxy out of rotation: set by who runs it
        self._warm: asyncio.TimerHandle | None = None
        self._unfinished: set[asyncio.Task[None]] = set()  # what goes on when an answer has ended
        self._sized(config)

    def _sized(self, config: Config) -> None:
        self.buffer_limit = config.settings.buffer_kb * 1024
        self.max_body = config.settings.max_body_mb * 1024 * 1024

    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        settings = self.config.settings
        self.upstream = Upstream(self.name, settings.force_ipv4, settings.trust_env, self.metrics.add)
        if any(deployment.base.startswith("https:") for deployment in self.config.deployments):
            self._warm = self.loop.call_later(WARM_SECONDS, tls.trusting)

    async def close(self) -> None:
        if self._warm is not None:
            self._warm.cancel()
        if self._unfinished:
            await asyncio.wait(self._unfinished)
        await self.upstream.close()

    def finish_later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`, which raises nothing, behind an answer; `close` waits for it."""
        task = self.loop.create_task(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)

    def reload(self, config: Config) -> None:
        """From now on `config`; requests that run keep theirs."""
        self.config = config
        self._sized(config)
        tls.forget()
        self.limits.keep(deployment.id for deployment in config.deployments)

    async def idle(self) -> None:
        """Until no answer runs."""
        while self.running:
            if self._idle is None or self._idle.is_set():
                self._idle = asyncio.Event()
            await self._idle.wait()

    def ended(self, exchange: Exchange) -> None:
        self.running.discard(exchange)
        if self._idle is not None and not self.running:
            self._idle.set()

    # -- HTTP --------------------------------------------------------------------------------------------------------

    async def handle(self, request: BaseRequest) -> StreamResponse:
        record = Record(id=new_id("req_"), path=request.path[:200])
        began = self.loop.time()
        connection = request.protocol
        self.busy.add(connection)
        origins = self.config.settings.allowed_origins
        granted = grant(origins, request.headers)
        try:
            hops(self, request)
            route = find(request.path)
            if route is None:
                raise ApiError("not_found", f"Not found: {request.method} {request.path[:200]}")
            allowed = preflight(origins, route.methods, request.headers) if request.method == "OPTIONS" else None
            if allowed is not None:
                return NamelessResponse(status=204, headers={**allowed, "request-id": record.id})
            if not route.open:
                admit(self.config, request.headers, request.raw_path)
            if request.method not in route.methods:
                raise ApiError("method_not_allowed", f"{request.method} is not allowed on {request.path[:200]}")
            if self.connections is not None and self.connections.open > self.connections.max_connections:
                raise ApiError(
                    "overloaded",
                    "The proxy has more connections than `a2py: max_connections` or its file descriptors allow; ask again",
                    retry_after=1,
                )
            answer = await route.handler(self, request, record)
            response = self._refuse(request, record, answer) if isinstance(answer, ApiError) else answer
        except ApiError as error:
            response = self._refuse(request, record, error)
        except asyncio.CancelledError:
            record.status = 499
            raise
        except Exception as error:
            self.log.crash(error, record.id)
            response = self._refuse(request, record, ApiError("api", "Internal error of the proxy"))
        finally:
            self.busy.discard(connection)
            record.took = self.loop.time() - began
            if record.model and record.attempts:
                self.measure(record)
            if record.status:
                self.log.request(record)
        response.headers.update(granted)  # of a stream they are sent already: see EventStream
        return response

    def _refuse(self, request: BaseRequest, record: Record, error: ApiError) -> StreamResponse:
        record.status = error.hide(()).status
        record.error = record.error or f"{error.kind}: {error.message}"
        route = find(request.path) if error.status == 405 else None
        headers = {"allow": ", ".join(route.methods)} if route is not None else None
        response = error_response(error, record.id, headers)
        content = request.content
        if content.exception() is not None:  # nothing after a broken body can be read; aiohttp would try, and log a traceback
            content.set_exception(None)  # type: ignore[arg-type]
            content.feed_eof()
            response.force_close()
        elif error.status in (408, 413, 529):
            response.force_close()
        return response

    async def body(self, request: BaseRequest) -> bytes:
        """The request's body, within the limit of size and time."""
        limit = self.max_body
        told = request.content_length
        if told is not None and told > limit:
            raise _too_large(limit)
        if request.headers.get("expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = request.content
        body = bytearray()  # not a list: pieces of a byte or two would take 40 bytes each
        due = self.loop.time() + BODY_SECONDS
        while not content.at_eof():
            try:
                data = content.read_nowait() if content.is_eof() else await self._some(content, due + len(body) / BODY_RATE)
            except asyncio.TimeoutError as error:
                shed(error)
                content.set_exception(None)  # type: ignore[arg-type]  # read on for LINGER_SECONDS: a reset would take the answer along
                what = f"The request body stalled for {BODY_SECONDS:.0f} s, or brought less than {BODY_RATE} bytes a second"
                raise ApiError("timeout", what, status=408) from None
            except (RequestPayloadError, HttpProcessingError, ConnectionError) as error:
                shed(error)
                raise ApiError("invalid_request", f"The request body is broken ({type(error).__name__})") from None
            body += data
            if len(body) > limit:
                raise _too_large(limit)
        return bytes(body)

    async def _some(self, content: StreamReader, due: float) -> bytes:
        """More of a body that has not arrived whole, until `due` (loop time) or BODY_SECONDS without a byte."""
        due = min(due, self.loop.time() + BODY_SECONDS)
        timer = self.loop.call_at(due, content.set_exception, asyncio.TimeoutError())
        try:
            return await content.readany()
        finally:
            timer.cancel()

    # -- what the relay asks -----------------------------------------------------------------------------------------

    async def counted(self, request: Request, model: str) -> int:
        """Tokens of the input, as well as they can be told without the upstream; `model`: its own id, or "" where none is known."""
        return self.counts.apply(model, await self.pace.run(count_in_slices(request)))

    def measure(self, record: Record) -> None:
        """Count a finished request to /v1/messages."""
        add, of = self.metrics.add, record.deployment or "none"
        add("a2py_requests_total", deployment=of, wire=record.wire or "none", status=str(record.status))
        add("a2py_request_seconds_sum", record.took, deployment=of)
        if record.first:
            add("a2py_first_byte_seconds_sum", record.first, deployment=of)
            add("a2py_first_byte_seconds_count", deployment=of)
        for direction, amount in (("input", record.input), ("cached", record.cached), ("output", record.output)):
            if amount:
                add("a2py_tokens_total", amount, deployment=of, direction=direction)
        for what in record.degraded:
            self.metrics.lost(what)


def _too_large(limit: int) -> ApiError:
    most = limit // (1024 * 1024)
    return ApiError("request_too_large", f"Request exceeds the maximum size: the body is larger than {most} MiB (`a2py: max_body_mb`)")
