"""The proxy as an HTTP application: who may ask, what is asked, one envelope for every error.

Knows: paths, methods, credentials, Host and Origin, the body's limit. Must not know: upstreams, event streams.
Invariants: every request gets exactly one response with a `request-id`; client credentials are compared in constant time and never go
upstream; nothing that a client sends is fetched.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from aiohttp import web

from a2py.errors import ApiError
from a2py.messages.request import Request, parse
from a2py.messages.types import Call
from a2py.proxy.border import error_response, json_response, new_id
from a2py.proxy.lessons import Lessons
from a2py.proxy.limits import Limits
from a2py.proxy.log import Log, Record
from a2py.proxy.relay import Exchange, Streamed, Whole
from a2py.proxy.router import Router
from a2py.proxy.upstream import HOP_HEADER, Upstream

if TYPE_CHECKING:
    from a2py.config import Config
    from a2py.proxy.border import Border

#: Seconds without a byte in which a request body may stall.
BODY_SECONDS = 30.0
#: Proxies of this kind that a request may have passed.
HOPS = 5
#: Seconds that a client waits which does not tell (Claude Code: API_TIMEOUT_MS 600,000).
CLIENT_SECONDS = 600.0
#: Hosts that need no listing where no key is asked for; any IP address is one too. A web page can't pretend to be one of them.
LOCAL_HOSTS = frozenset({"localhost", "host.docker.internal"})

Handler = Callable[["Proxy", web.BaseRequest, Record], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """`open`: asks for no key."""

    methods: tuple[str, ...]
    handler: Handler
    open: bool = False


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
        self.busy: set[web.RequestHandler] = set()  # connections with a request in work
        self.border: Border | None = None
        self._idle: asyncio.Event | None = None
        self.began = time.time()
        self.draining = False
        self._sized(config)

    def _sized(self, config: Config) -> None:
        self.buffer_limit = config.settings.buffer_kb * 1024
        self.max_body = config.settings.max_body_mb * 1024 * 1024

    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.upstream = Upstream(force_ipv4=self.config.settings.force_ipv4)

    async def close(self) -> None:
        await self.upstream.close()

    def reload(self, config: Config) -> None:
        """From now on `config`; requests that run keep theirs."""
        self.config = config
        self._sized(config)

    async def idle(self) -> None:
        """Until no answer runs."""
        while self.running:
            self._idle = asyncio.Event()
            await self._idle.wait()

    def ended(self, exchange: Exchange) -> None:
        self.running.discard(exchange)
        if self._idle is not None and not self.running:
            self._idle.set()

    # -- HTTP --------------------------------------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        record = Record(id=new_id("req_"), path=request.path[:200])
        began = self.loop.time()
        connection = request.protocol
        self.busy.add(connection)
        try:
            route, handler = self._route(request)
            if not route.open:
                self._admit(request)
            response = await handler(self, request, record)
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
            if record.status:
                self.log.request(record)
        return response

    def _refuse(self, request: web.BaseRequest, record: Record, error: ApiError) -> web.StreamResponse:
        record.status = error.status
        record.error = record.error or f"{error.kind}: {error.message}"
        headers = {"allow": ", ".join(self._allowed(request.path))} if error.status == 405 else None
        response = error_response(error, record.id, headers)
        if error.status in (408, 413):
            response.force_close()
        return response

    def _route(self, request: web.BaseRequest) -> tuple[Route, Handler]:
        route = find(request.path)
        if route is None:
            raise ApiError("not_found", f"Not found: {request.method} {request.path[:200]}")
        if request.method not in route.methods:
            raise ApiError("method_not_allowed", f"{request.method} is not allowed on {request.path[:200]}")
        return route, route.handler

    def _allowed(self, path: str) -> tuple[str, ...]:
        route = find(path)
        return route.methods if route is not None else ()

    def _admit(self, request: web.BaseRequest) -> None:
        """The key, or where none is set the Host and the Origin (a web page must not spend the user's keys)."""
        config = self.config
        headers = request.headers
        if config.master_key:
            given = headers.get("x-api-key", "")
            kind, _, token = headers.get("authorization", "").partition(" ")
            expected = config.master_key.encode()
            by_key = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected)
            by_token = hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), expected) and kind.lower() == "bearer"
            if not (by_key or by_token):
                raise ApiError(
                    "authentication",
                    "This proxy asks for its master_key: set ANTHROPIC_AUTH_TOKEN (or the SDK's api_key) to it",
                    should_retry=False,
                )
            return
        settings = config.settings
        host = headers.get("host", "")
        if host and not local_host(host) and bare(host) not in settings.allowed_hosts and host not in settings.allowed_hosts:
            raise ApiError(
                "permission",
                f"The Host {host[:100]!r} is not allowed: add it to `a2py: allowed_hosts`, or set a master_key",
                should_retry=False,
            )
        origin = headers.get("origin")
        if origin is not None and origin not in settings.allowed_origins:
            raise ApiError(
                "permission",
                f"The Origin {origin[:100]!r} is not allowed: add it to `a2py: allowed_origins`, or set a master_key",
                should_retry=False,
            )

    async def body(self, request: web.BaseRequest) -> bytes:
        """The request's body, within the limit of size and time."""
        limit = self.max_body
        told = request.content_length
        if told is not None and told > limit:
            raise _too_large(limit)
        if request.headers.get("expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = request.content
        parts: list[bytes] = []
        size = 0
        while not content.at_eof():
            timer = self.loop.call_later(BODY_SECONDS, content.set_exception, asyncio.TimeoutError())
            try:
                data = await content.readany()
            except asyncio.TimeoutError:
                raise ApiError("timeout", f"The request body stalled for {BODY_SECONDS:.0f} s", status=408) from None
            except (web.RequestPayloadError, ConnectionError) as error:
                raise ApiError("invalid_request", f"The request body is broken ({type(error).__name__})") from None
            finally:
                timer.cancel()
            parts.append(data)
            size += len(data)
            if size > limit:
                raise _too_large(limit)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # -- what the relay asks -----------------------------------------------------------------------------------------

    def estimate(self, request: Request) -> int:
        """Tokens of the input, cheaply."""
        try:
            from a2py.messages.count import estimate
        except ImportError:
            return request.size // 4
        return estimate(request)


# -- routes --------------------------------------------------------------------------------------------------------------


async def messages(proxy: Proxy, request: web.BaseRequest, record: Record) -> web.StreamResponse:
    hops = _hops(proxy, request)
    parsed = parse(await proxy.body(request))
    headers = request.headers
    call = Call(
        request=parsed,
        message_id=new_id("msg_"),
        now=time.time(),
        session=_session(request, parsed),
        betas=tuple(beta.strip() for beta in headers.get("anthropic-beta", "").split(",") if beta.strip()),
        version=headers.get("anthropic-version", "2023-06-01"),
        unasked_thinking=proxy.config.settings.unasked_thinking != "hide",
        client_headers={name: headers[name] for name in _PASSED if name in headers},
    )
    record.model, record.stream = parsed.model, parsed.stream
    if parsed.stream:
        exchange: Exchange = Streamed(proxy, request, call, record, 0.0)
    else:
        exchange = Whole(proxy, request, call, record, _seconds(headers.get("x-stainless-timeout")))
    exchange.hops = hops
    proxy.running.add(exchange)
    try:
        answer = await exchange.answer()
    finally:
        proxy.ended(exchange)
    if isinstance(answer, ApiError):
        raise answer
    return answer


#: Client headers that a native wire may pass on; never a credential.
_PASSED = ("x-app", "x-claude-code-session-id", "x-claude-code-agent-id", "x-claude-code-request-class")


def _seconds(told: str | None) -> float:
    try:
        return min(max(float(told or ""), 1.0), 3600.0)
    except ValueError:
        return CLIENT_SECONDS


def _session(request: web.BaseRequest, parsed: Request) -> str:
    """The client's session: Claude Code's header, else the JSON in metadata.user_id, else none."""
    told = request.headers.get("x-claude-code-session-id")
    if told:
        return told[:128]
    user = (parsed.body.get("metadata") or {}).get("user_id")
    if isinstance(user, str) and user[:1] == "{":
        try:
            session = orjson.loads(user).get("session_id")
        except ValueError:
            return ""
        return session[:128] if isinstance(session, str) else ""
    return ""


def _hops(proxy: Proxy, request: web.BaseRequest) -> str:
    """The hop header for the upstream; an error where this proxy is its own upstream."""
    passed = [hop for hop in request.headers.get(HOP_HEADER, "").replace(" ", "").split(",") if hop]
    if proxy.name in passed or len(passed) >= HOPS:
        raise ApiError(
            "invalid_request",
            "Loop: this proxy is its own upstream; point api_base at the model's server, not at a2py",
            status=508,
            should_retry=False,
        )
    return ",".join([*(hop[:16] for hop in passed), proxy.name])


async def hello(proxy: Proxy, request: web.BaseRequest, record: Record) -> web.StreamResponse:
    return json_response({"status": "ok", "name": "a2py"}, record.id)


async def swallow(proxy: Proxy, request: web.BaseRequest, record: Record) -> web.StreamResponse:
    """Claude Code's own telemetry: taken, not read."""
    return json_response({}, record.id)


ROUTES: dict[str, Route] = {
    "/": Route(("GET", "HEAD"), hello, open=True),
    "/api/hello": Route(("GET", "HEAD"), hello, open=True),
    "/api/event_logging/batch": Route(("POST",), swallow, open=True),
    "/health/liveliness": Route(("GET", "HEAD"), hello, open=True),
    "/health/liveness": Route(("GET", "HEAD"), hello, open=True),
    "/v1/messages": Route(("POST",), messages),
}


def find(path: str) -> Route | None:
    """The route of `path`, with any prefix before it (`/anthropic/v1/messages`, `/v1/v1/messages`) and a slash behind it."""
    route = ROUTES.get(path)
    if route is not None:
        return route
    path = "/" + path.strip("/")
    at = 0
    while at >= 0:
        route = ROUTES.get(path[at:])
        if route is not None and (at == 0 or len(path) - at > 1):
            return route
        at = path.find("/", at + 1)
    return None


def bare(host: str) -> str:
    """A Host without its port."""
    if host[:1] == "[":
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def local_host(host: str) -> bool:
    name = bare(host).lower().rstrip(".")
    if name in LOCAL_HOSTS:
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _too_large(limit: int) -> ApiError:
    return ApiError("request_too_large", f"The request body is larger than {limit // (1024 * 1024)} MiB (`a2py: max_body_mb`)")


def build_app(config: Config, *, clock: Callable[[], float] = time.monotonic, log: Log | None = None) -> web.Application:
    """The proxy as an `aiohttp.web.Application`, for embedding and tests; `serve` runs it on its own server. `app[PROXY]` is the `Proxy`."""
    proxy = Proxy(config, clock=clock, log=log)
    app = web.Application(client_max_size=0)
    app[PROXY] = proxy
    app.router.add_route("*", "/{path:.*}", proxy.handle)

    async def life(app: web.Application) -> Any:
        await proxy.start()
        yield
        await proxy.close()

    app.cleanup_ctx.append(life)
    return app


PROXY: web.AppKey[Proxy] = web.AppKey("proxy", Proxy)
