"""The table of paths, and the handlers that only look at the proxy itself.

Knows: paths, methods, LiteLLM's and Kubernetes' health paths. Must not know: sockets, upstreams, who may ask
(access.py).
Invariants: no page shows a secret or an upstream's address.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import parse_qs

from a2py import __version__
from a2py.errors import ApiError
from a2py.proxy import models, reports
from a2py.proxy.access import KEY_HEADERS, admit
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.log import Record
from a2py.proxy.messages_api import count_tokens, create_message
from a2py.proxy.metrics import CONTENT_TYPE as METRICS_TYPE
from a2py.proxy.openai_api import pass_on
from a2py.proxy.responses import NamelessResponse, json_response
from a2py.proxy.services import Services
from a2py.wires.passthrough.endpoints import PATHS as OPENAI_PATHS
from a2py.wires.passthrough.endpoints import is_openai_path

#: LiteLLM's liveness pages say so, and probes look for it (`curl … | grep -i alive`).
ALIVE = "I'm alive!"
#: A handler may raise an `ApiError` or return it.
Handler = Callable[[Services, BaseRequest, Record], Awaitable["StreamResponse | ApiError"]]


class Route(NamedTuple):
    """`open`: needs no key; `prefix`: also served below any other path (`/anthropic/v1/messages`); `admin`: only for
    the master key and the keys of admins."""

    methods: tuple[str, ...]
    handler: Handler
    open: bool = False
    prefix: bool = False
    admin: bool = False


async def greet(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    return json_response({"status": "ok", "name": "a2py", "message": ALIVE}, record.id)


async def discard(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    """Accept Claude Code's own telemetry without reading it. With an error it would try again."""
    return json_response({}, record.id)


async def report_readiness(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    if services.running.is_draining:
        return json_response({"status": "draining"}, record.id, 503)
    return json_response({"status": "ready", "name": "a2py", "models": len(services.config.deployments)}, record.id)


async def drain(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    """Take the proxy out of rotation, for a preStop hook. Answer once its exchanges have ended, after `drain_seconds`
    at the latest.

    The proxy still accepts requests and goes on running: SIGTERM ends it. Path and fields are LiteLLM's.

    Without a master key any page in a browser on this machine could send this request (an <img> sends no Origin).
    Browsers say where a request comes from in Sec-Fetch-Site, so that such a page can be refused."""
    config, running = services.config, services.running
    if not config.settings.enable_drain_endpoint:
        reason = "general_settings.enable_drain_endpoint is not set"
        raise ApiError("not_found", f"Not found: {request.method} {DRAIN_PATH} ({reason})")
    if not services.needs_key and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise ApiError("permission", f"{DRAIN_PATH} is not for web pages: set a master_key", should_retry=False)
    services.running.leave()
    before = len(running.exchanges)
    try:
        await asyncio.wait_for(running.wait_until_idle(), config.settings.drain_seconds)
    except asyncio.TimeoutError:
        pass
    record.status, rest = 200, len(running.exchanges)
    return json_response(
        {"status": "draining" if rest else "drained", "drained_requests": max(0, before - rest), "running": rest},
        record.id,
    )


async def report_health(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    """Report how the proxy is; `?model=NAME` (LiteLLM's) reports only the deployments that NAME means, those of a
    wildcard with its model filled in.

    A probe that sends no key learns only whether it answers: charts of LiteLLM probe this path, too."""
    config, status = services.config, "draining" if services.running.is_draining else "healthy"
    if services.needs_key and not any(name in request.headers for name in KEY_HEADERS):
        return json_response({"status": status}, record.id)
    caller = admit(config, services.keys, request.headers, request.raw_path)
    if caller.name and not caller.is_admin:
        return json_response({"status": status}, record.id)
    health = await reports.gather_health(services)
    usage, running, sharing = health.usage, health.running, services.router.sharing
    names = parse_qs(request.query_string).get("model")
    deployments = services.config.resolve(names[-1]) if names else services.config.deployments
    workers = {"workers": {"count": services.bus.count, "missing": health.missing}} if services.bus.count > 1 else {}
    return json_response(
        {
            "status": status,
            "version": __version__,
            "uptime_seconds": round(health.uptime),
            **workers,
            "running": health.sum("running"),
            "waiting": health.sum("waiting"),
            "healthy_count": sum(not deployment.problem for deployment in deployments),
            "unhealthy_count": sum(bool(deployment.problem) for deployment in deployments),
            "deployments": [
                {
                    "name": deployment.name,
                    "id": deployment.id,
                    "provider": deployment.provider,
                    "model": deployment.model,
                    "wire": deployment.wire,
                    "running": running.get(deployment.id, 0),
                    **({"used": usage[deployment.id]} if deployment.id in usage else {}),
                    **({"problem": deployment.problem} if deployment.problem else services.explain(deployment)),
                }
                for deployment in deployments
            ],
            "cooldowns": health.merge("cooldowns"),
            "lessons": health.merge("lessons"),
            **({"sharing": sharing.report()} if sharing is not None else {}),
        },
        record.id,
    )


async def report_metrics(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    body = (await reports.gather_metrics(services)).encode()
    return NamelessResponse(body=body, headers={"content-type": METRICS_TYPE, "request-id": record.id})


async def report_usage(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    from a2py.proxy import usage_page  # not loaded where there is no ledger

    return await usage_page.report_usage(services, request, record)


async def serve_page(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    if services.config.settings.ui is False:
        reason = "this proxy has no page (`a2py: ui: false`)"
        raise ApiError("not_found", f"Not found: {request.path[:200]}: {reason}", should_retry=False)
    from a2py.proxy.page import site  # not loaded before somebody opens the page

    return await site.serve(services, request, record)


def join_page(services: Services) -> None:
    """Take part in the page that any worker serves, from the moment in which one is open."""

    def hear(payload: bytes, worker: int) -> None:
        from a2py.proxy.page import site

        site.site_of(services).desk.hear(payload)

    async def answer(payload: bytes, worker: int) -> bytes:
        from a2py.proxy.page import site

        return await site.site_of(services).desk.answer(payload)

    def adjust() -> None:
        if services.ui.desk is not None or services.config.settings.ui == "record":
            from a2py.proxy.page import site

            site.site_of(services).adjust()

    services.bus.subscribe(PAGE, hear)
    services.bus.answer(PAGE, answer)
    services.ui.adjust = adjust
    adjust()


async def list_models(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    return json_response(models.list_page(services.config, request.query_string, record.account.caller), record.id)


async def show_model(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    path = request.path
    id = path.partition(MODEL_PATH)[2] or path.removeprefix(BARE_MODEL_PATH)
    return json_response(models.show(services.config, id.strip("/"), record.account.caller), record.id)


async def list_for_litellm(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    return json_response(models.list_for_litellm(services.config, record.account.caller), record.id)


#: The topic of what the workers say of the page (page/desk.py).
PAGE = "page"
GET, POST = ("GET", "HEAD"), ("POST",)
ROUTES: dict[str, Route] = {
    "/": Route(GET, greet, open=True),
    "/api/hello": Route(GET, greet, open=True, prefix=True),
    "/api/event_logging/batch": Route(POST, discard, open=True, prefix=True),
    "/api/event_logging/v2/batch": Route(POST, discard, open=True, prefix=True),  # since 2.1.332
    "/api/claude_cli/bootstrap": Route(GET, discard, open=True, prefix=True),
    "/health/liveliness": Route(GET, greet, open=True),  # LiteLLM's spelling
    "/health/liveness": Route(GET, greet, open=True),
    "/health/readiness": Route(GET, report_readiness, open=True),
    "/health": Route(GET, report_health, open=True),  # it asks for the key itself
    "/metrics": Route(GET, report_metrics, admin=True),
    "/usage": Route(GET, report_usage),
    "/v1/messages": Route(POST, create_message, prefix=True),
    "/v1/messages/count_tokens": Route(POST, count_tokens, prefix=True),
    "/v1/models": Route(GET, list_models, prefix=True),
    "/models": Route(GET, list_models),
    "/v1/model/info": Route(GET, list_for_litellm, prefix=True),
    "/model/info": Route(GET, list_for_litellm),
}
#: Matched exactly, because they reach upstreams: without a prefix of any kind or a slash at the end.
OPENAI_ROUTES = {path: Route(POST, pass_on) for path in OPENAI_PATHS}
#: Matched exactly. With a prefix or a trailing slash it is another path: a front server may guard exactly this one.
DRAIN_PATH = "/health/drain"
DRAIN = Route(("GET", "POST"), drain, admin=True)
#: The page. Matched exactly, without a prefix or a slash at the end, so that a front server that guards /ui guards all
#: of it. It asks for its own keys.
PAGE_PATHS = {
    **dict.fromkeys(("/ui", "/ui/app.js", "/ui/app.css", "/ui/rules.json"), Route(GET, serve_page, open=True)),
    **dict.fromkeys(
        ("/ui/api/live", "/ui/api/requests", "/ui/api/usage", "/ui/api/models"), Route(("GET",), serve_page, open=True)
    ),
    **dict.fromkeys(
        ("/ui/api/token", "/ui/api/session", "/ui/api/try", "/ui/api/check"), Route(POST, serve_page, open=True)
    ),
}
#: What has a name in its path.
_PAGE_GET = re.compile(r"/ui/api/(?:requests/[^/]{1,100}(?:/parts/[^/]{1,100}|/export)?|sessions/.{1,1000})")
_PAGE_POST = re.compile(r"/ui/api/requests/[^/]{1,100}/replay")
#: What follows is a model's name, which may contain slashes.
MODEL_PATH, BARE_MODEL_PATH = "/v1/models/", "/models/"
ONE_MODEL = Route(GET, show_model, prefix=True)
#: Path segments that may come before a route.
PREFIX_LIMIT = 8


def is_page(path: str) -> bool:
    """Return whether a path is that of the page, or below it."""
    return path.startswith("/ui") and path[3:4] in ("", "/")


def wants_openai_errors(request: BaseRequest) -> bool:
    """Return whether errors of `request` must have OpenAI's shape.

    The list of models is at the same path in both APIs. Anthropic's clients send `anthropic-version`."""
    if is_openai_path(request.path):
        return True
    route = find_route(request.path)
    is_list = route is not None and route.handler in (list_models, show_model)
    return is_list and "anthropic-version" not in request.headers


def _find_page_route(path: str) -> Route | None:
    if _PAGE_GET.fullmatch(path):
        return PAGE_PATHS["/ui/api/requests"]
    return PAGE_PATHS["/ui/api/try"] if _PAGE_POST.fullmatch(path) else None


def find_route(path: str) -> Route | None:
    """Return the route of `path`, with or without a trailing slash; None if there is none.

    An API path may have a prefix (`/anthropic/v1/messages`, `/v1/v1/messages`), because clients add their path to
    whatever base URL they are given. Pages, health and metrics have none, so that a front server that guards `/metrics`
    guards all of it."""
    route = ROUTES.get(path) or OPENAI_ROUTES.get(path)
    if route is not None:
        return route
    if path == DRAIN_PATH:
        return DRAIN
    if is_page(path):
        return PAGE_PATHS.get(path) or _find_page_route(path)
    path = path.rstrip("/")
    if path.partition(MODEL_PATH)[2] or (path.startswith(BARE_MODEL_PATH) and len(path) > len(BARE_MODEL_PATH)):
        return ONE_MODEL
    route = ROUTES.get(path)
    start = 0
    for _ in range(PREFIX_LIMIT):
        if route is not None and (route.prefix or start == 0):
            return route
        start = path.find("/", start + 1)
        if start < 0:
            return None
        route = ROUTES.get(path[start:])
    return None
