"""What can be asked of the proxy: one table of paths, and their handlers.

Knows: paths, methods, what a Call is made of. Must not know: sockets, upstreams, who may ask (access).
Invariants: nothing that a client sends is fetched; client credentials never enter a Call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

import orjson

from a2py import __version__
from a2py.errors import ApiError
from a2py.messages.count import estimate_in_slices
from a2py.messages.request import parse_in_slices
from a2py.messages.types import Call, Request
from a2py.proxy import models
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.answers import Streamed, Whole
from a2py.proxy.log import Record
from a2py.proxy.metrics import CONTENT_TYPE as METRICS_TYPE
from a2py.proxy.relay import Exchange
from a2py.proxy.responses import NamelessResponse, json_response, new_id
from a2py.upstream import HOP_HEADER

if TYPE_CHECKING:
    from a2py.proxy.app import Proxy
    from a2py.proxy.capture import Capture

#: Proxies of this kind that a request may have passed.
HOPS = 5
#: Seconds that a client waits which does not tell (Claude Code: API_TIMEOUT_MS 600,000).
CLIENT_SECONDS = 600.0
#: An error may be raised, or given back: raised where it is still referred to, its traceback would be a cycle that holds the whole request.
Handler = Callable[["Proxy", BaseRequest, Record], Awaitable[StreamResponse | ApiError]]


class Route(NamedTuple):
    """`open`: asks for no key; `prefix`: served behind any path too (`/anthropic/v1/messages`)."""

    methods: tuple[str, ...]
    handler: Handler
    open: bool = False
    prefix: bool = False


async def messages(proxy: Proxy, request: BaseRequest, record: Record) -> StreamResponse | ApiError:
    body = await proxy.body(request)
    parsed = await proxy.pace.run(parse_in_slices(body), size=len(body))
    call = _call(proxy, request, parsed)
    call.estimate = await proxy.pace.run(estimate_in_slices(parsed))
    record.model, record.stream = call.request.model, call.request.stream
    settings = proxy.config.settings
    most = settings.global_max_parallel_requests
    if most and len(proxy.running) >= most:
        raise ApiError(
            "rate_limit",
            f"The proxy answers {most} requests at a time (global_max_parallel_requests). Ask again, or raise the limit in the configuration.",
            retry_after=1,
        )
    capture = _capture(proxy, request, record, body) if settings.capture_dir else None
    del body  # not kept for as long as the answer streams
    if record.stream:
        exchange: Exchange = Streamed(proxy, request, call, record, 0.0, capture)
    else:
        exchange = Whole(proxy, request, call, record, _seconds(request.headers.get("x-stainless-timeout")), capture)
    exchange.hops = hops(proxy, request)
    proxy.running.add(exchange)
    try:
        return await exchange.answer()
    finally:
        proxy.ended(exchange)


def _capture(proxy: Proxy, request: BaseRequest, record: Record, body: bytes) -> Capture:
    from a2py.proxy.capture import Capture, secrets_of, sent_by

    secrets = secrets_of(proxy.config) | sent_by(request.headers)
    return Capture(proxy.config.settings.capture_dir, record.id, request, body, secrets)


async def count_tokens(proxy: Proxy, request: BaseRequest, record: Record) -> StreamResponse:
    body = await proxy.body(request)
    call = _call(proxy, request, await proxy.pace.run(parse_in_slices(body, counting=True), size=len(body)))
    del body
    record.model = call.request.model
    tokens = await proxy.counter.count(proxy, call)
    record.status, record.input = 200, tokens
    return json_response({"input_tokens": tokens}, record.id)


def _call(proxy: Proxy, request: BaseRequest, parsed: Request) -> Call:
    """Everything impure that the core may need, read once."""
    headers = request.headers
    return Call(
        request=parsed,
        message_id=new_id("msg_"),
        now=time.time(),
        session=_session(request, parsed),
        betas=tuple(beta.strip() for beta in headers.get("anthropic-beta", "").split(",") if beta.strip()),
        version=headers.get("anthropic-version", "2023-06-01"),
        unasked_thinking=proxy.config.settings.unasked_thinking != "hide",
        client_headers={name: headers[name] for name in _PASSED if name in headers},
    )


#: Characters of `metadata.user_id` that may be JSON with the session in it: Claude Code's has some 200 (2.1.330), the API takes 256.
USER_LIMIT = 4096
#: Client headers that a native wire may pass on; never a credential.
_PASSED = ("x-app", "x-claude-code-session-id", "x-claude-code-agent-id", "x-claude-code-request-class")


def _seconds(told: str | None) -> float:
    try:
        seconds = float(told or "")
    except ValueError:
        return CLIENT_SECONDS
    return min(max(seconds, 1.0), 3600.0) if seconds == seconds else CLIENT_SECONDS


def _session(request: BaseRequest, parsed: Request) -> str:
    """The client's session: Claude Code's header, else the JSON in metadata.user_id, else none."""
    told = request.headers.get("x-claude-code-session-id")
    if told:
        return told[:128]
    user = (parsed.body.get("metadata") or {}).get("user_id")
    if isinstance(user, str) and user[:1] == "{" and len(user) <= USER_LIMIT:
        try:
            session = orjson.loads(user).get("session_id")
        except ValueError:
            return ""
        return session[:128] if isinstance(session, str) else ""
    return ""


def hops(proxy: Proxy, request: BaseRequest) -> str:
    """The hop header for the upstream; an error where this proxy is its own upstream."""
    told = request.headers.get(HOP_HEADER)
    if told is None:
        return proxy.name
    passed = [hop for hop in told.replace(" ", "").split(",") if hop]
    if proxy.name in passed or len(passed) >= HOPS:
        raise ApiError(
            "invalid_request",
            "Loop: this proxy is its own upstream; point api_base at the model's server, not at a2py",
            status=508,
            should_retry=False,
        )
    return ",".join([*(hop[:16] for hop in passed), proxy.name])


async def hello(proxy: Proxy, request: BaseRequest, record: Record) -> StreamResponse:
    return json_response({"status": "ok", "name": "a2py"}, record.id)


async def swallow(proxy: Proxy, request: BaseRequest, record: Record) -> StreamResponse:
    """Claude Code's own telemetry: taken, not read."""
    return json_response({}, record.id)


async def ready(proxy: Proxy, request: BaseRequest, record: Record) -> StreamResponse:
    if proxy.draining:
        return json_response({"status": "draining"}, record.id, 503)
    return json_response({"status": "ready", "name": "a2py", "models": len(proxy.config.deployments)}, record.id)


async def drain(proxy: Proxy, request: BaseRequest, record: Record) -> StreamResponse:
    """Take the proxy out of rotation, for a preStop hook, and answer once what runs here has ended, after `drain_seconds` at the latest. It
    still accepts requests and goes on running: SIGTERM ends it. LiteLLM's path and fields.

    Without a master key any page in a browser on this machine could ask (an <img> sends no Origin): browsers say so in Sec-Fetch-Site."""
    config = proxy.config
    if not config.settings.enable_drain_endpoint:
        raise ApiError("not_found", f"Not found: {request.method} {DRAIN_PATH} (general_settings.enable_drain_endpoint is not set)")
    if not config.master_key and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise ApiError("permission", f"{DRAIN_PATH} is not for web pages: set a master_key", should_retry=False)
    proxy.leave()
    before = len(proxy.running)
    try:
        await asyncio.wait_for(proxy.idle(), config.settings.drain_seconds)
    except asyncio.TimeoutError:
        pass
    record.status, left = 200, len(proxy.running)
    return json_response(
        {"status": "draining" if left else "drained", "drained_requests": max(0, before - left), "running": left}, record.id
    )


async def health(proxy: Proxy, request: BaseRequest, record: Record) -> StreamResponse:
    """What the proxy knows of its deployments: no secrets, no addresses."""
    used = proxy.limits.used()
    return json_response(
        {
            "status": "draining" if proxy.draining else "healthy",
            "version": __version__,
            "uptime_seconds": round(proxy.clock() - proxy.began),
            "running": len(proxy.running),
            "deployments": [
                {
                    "name": deployment.name,
                    "id": deployment.id,
                    "provider": deployment.provider,
                    "model": deployment.model,
                    "wire": deployment.wire,
                    "running": proxy.limits.running.get(deployment.id, 0),
                    **({"used": used[deployment.id]._asdict()} if deployment.id in used else {}),
                    **({"problem": deployment.problem} if deployment.problem else {}),
                }
                for deployment in proxy.config.deployments
            ],
            "cooldowns": proxy.router.shown(),
            "lessons": proxy.lessons.shown(),
        },
        record.id,
    )


async def metrics(proxy: Proxy, request: BaseRequest, record: Record) -> StreamResponse:
    gauges = {
        "a2py_running": len(proxy.running),
        "a2py_upstream_connections": proxy.upstream.connections,
        "a2py_upstream_idle": proxy.upstream.idle,
        "a2py_connections": proxy.connections.open if proxy.connections is not None else 0,
        "a2py_uptime_seconds": proxy.clock() - proxy.began,
    }
    body = proxy.metrics.text(gauges).encode()
    return NamelessResponse(body=body, headers={"content-type": METRICS_TYPE, "request-id": record.id})


async def list_models(proxy: Proxy, request: BaseRequest, record: Record) -> StreamResponse:
    return json_response(models.page(proxy.config, request.query_string), record.id)


async def one_model(proxy: Proxy, request: BaseRequest, record: Record) -> StreamResponse:
    return json_response(models.one(proxy.config, request.path.partition(MODEL_PATH)[2].strip("/")), record.id)


async def model_info(proxy: Proxy, request: BaseRequest, record: Record) -> StreamResponse:
    return json_response(models.litellm_info(proxy.config), record.id)


GET, POST = ("GET", "HEAD"), ("POST",)
ROUTES: dict[str, Route] = {
    "/": Route(GET, hello, open=True),
    "/api/hello": Route(GET, hello, open=True, prefix=True),
    "/api/event_logging/batch": Route(POST, swallow, open=True, prefix=True),
    "/health/liveliness": Route(GET, hello, open=True),
    "/health/liveness": Route(GET, hello, open=True),
    "/health/readiness": Route(GET, ready, open=True),
    "/health": Route(GET, health),
    "/metrics": Route(GET, metrics),
    "/v1/messages": Route(POST, messages, prefix=True),
    "/v1/messages/count_tokens": Route(POST, count_tokens, prefix=True),
    "/v1/models": Route(GET, list_models, prefix=True),
    "/v1/model/info": Route(GET, model_info, prefix=True),
}
#: Matched exactly: a prefix or a slash behind it is another path.
DRAIN_PATH = "/health/drain"
DRAIN = Route(("GET", "POST"), drain)
#: What follows is a model's name, with whatever slashes it has.
MODEL_PATH = "/v1/models/"
ONE_MODEL = Route(GET, one_model, prefix=True)
#: Path segments ahead of a route that are tolerated.
PREFIX_LIMIT = 8


def find(path: str) -> Route | None:
    """Return the route of `path`, with or without a slash behind it; None if there is none.

    An API path may have a prefix (`/anthropic/v1/messages`, `/v1/v1/messages`): a client adds its path to whatever base URL it was given.
    Pages, health and metrics have none, so that a front server that guards `/metrics` guards all of it."""
    route = ROUTES.get(path)
    if route is not None:
        return route
    if path == DRAIN_PATH:
        return DRAIN
    path = path.rstrip("/")
    if path.partition(MODEL_PATH)[2]:
        return ONE_MODEL
    route = ROUTES.get(path)
    at = 0
    for _ in range(PREFIX_LIMIT):
        if route is not None and (route.prefix or not at):
            return route
        at = path.find("/", at + 1)
        if at < 0:
            return None
        route = ROUTES.get(path[at:])
    return None
