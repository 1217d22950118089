"""The proxy as an HTTP application: the frame around each request, with one response and one envelope for every error.

Knows: the order of the checks before a handler, what the log and the metrics say of a request. Must not know: what
handlers do, upstreams, event streams.
Invariants: every request gets exactly one response with a `request-id`, and a line in the log once it has a status of
its own.
"""

from __future__ import annotations

import asyncio

from a2py.errors import ApiError
from a2py.messages.session import AGENT_HEADER, SESSION_LENGTH, name_session
from a2py.proxy import reports
from a2py.proxy.access import admit, require_admin
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.cors import grant, preflight
from a2py.proxy.log import INTERNAL, Record
from a2py.proxy.messages_api import extend_hops
from a2py.proxy.metrics import Metrics
from a2py.proxy.openai_api import explain_missing, is_upgrade, refuse_method, refuse_upgrade
from a2py.proxy.responses import (
    PAGE_HEADERS,
    PLACE_HEADER,
    NamelessResponse,
    error_response,
    new_id,
    openai_error_response,
)
from a2py.proxy.routes import Route, find_route, is_page, join_page, wants_openai_errors
from a2py.proxy.rules import route_headers
from a2py.proxy.services import Services
from a2py.wires.passthrough.endpoints import is_openai_path


class Proxy:
    """`handle` is the handler for every path, for a2py's own server and for any other that is aiohttp's."""

    def __init__(self, services: Services) -> None:
        self.services = services
        join_page(services)
        reports.join(services)

    async def handle(self, request: BaseRequest) -> StreamResponse:
        services, loop = self.services, asyncio.get_running_loop()
        record = Record(id=new_id("req_"), path=request.path[:200])
        start_time = loop.time()
        cors_headers = grant(services.config.settings.allowed_origins, request.headers)
        try:
            route = self._check(request, record)
            if not isinstance(route, Route):
                return route
            answer = await route.handler(services, request, record)
            response = self._refuse(request, record, answer) if isinstance(answer, ApiError) else answer
        except ApiError as error:
            response = self._refuse(request, record, error)
        except asyncio.CancelledError:
            record.status = 499
            raise
        except Exception as error:
            services.log.crash(error, record.id)
            response = self._refuse(request, record, ApiError("api", INTERNAL))
        finally:
            record.duration = loop.time() - start_time
            if record.model and record.attempts:
                _count_request(services.metrics, record)
            if record.model and not record.account.is_count:
                _name_asker(request, record)
                services.books.keep(record)
            if services.ui.watcher is not None:
                services.ui.watcher.end(record)
            if record.status:
                services.log.request(record)
        response.headers.update(cors_headers)  # a stream has sent these and the next already: see StreamAnswer
        response.headers.update(route_headers(record))
        if record.queue[0]:
            response.headers[PLACE_HEADER] = str(record.queue[0])
        return response

    def _check(self, request: BaseRequest, record: Record) -> Route | StreamResponse:
        """Return the route of a request that may be answered, or the answer to a browser's preflight. Raise `ApiError`.

        This is not a coroutine, because each one costs a call whenever the request is resumed."""
        services = self.services
        config, connections = services.config, services.connections
        extend_hops(services, request)  # first: a loop must not get as far as the upstream
        path = request.path[:200]
        route = find_route(request.path)
        if route is None and is_upgrade(request) and is_openai_path(request.path):
            raise refuse_upgrade()
        if route is None:
            raise explain_missing(request.method, path)
        if request.method == "OPTIONS" and not is_page(path):
            headers = preflight(config.settings.allowed_origins, route.methods, request.headers)
            if headers is not None:
                return NamelessResponse(status=204, headers={**headers, "request-id": record.id})
        if not route.open:
            caller = record.account.caller = admit(config, services.keys, request.headers, request.raw_path)
            if route.admin:
                require_admin(caller)
        if request.method not in route.methods:
            raise refuse_method(request, path, route.methods)
        if connections is not None and connections.open > connections.max_connections:
            raise ApiError(
                "overloaded",
                "The proxy has more connections than `a2py: max_connections` or its file descriptors allow; ask again",
                retry_after=1,
            )
        return route

    def _refuse(self, request: BaseRequest, record: Record, error: ApiError) -> StreamResponse:
        """Return the response for `error`, and decide whether the connection can be used again after it."""
        record.status = error.hide(()).status
        record.error = record.error or f"{error.kind}: {error.message}"
        route = find_route(request.path) if error.status == 405 else None
        headers = {"allow": ", ".join(route.methods)} if route is not None else None
        if wants_openai_errors(request):
            response = openai_error_response(error, record.id, headers)
        else:
            response = error_response(error, record.id, headers)
        if is_page(request.path):
            response.headers.update(PAGE_HEADERS)
        elif self.services.ui.watcher is not None and isinstance(response.body, bytes):
            self.services.ui.watcher.add_refusal(record.id, response.body)
        content = request.content
        if content.exception() is not None:
            # Nothing after a broken body can be read. aiohttp would try to, and log a traceback.
            content.set_exception(None)  # type: ignore[arg-type]
            content.feed_eof()
            response.force_close()
        elif error.status in (408, 413, 529):
            response.force_close()
        return response


def _count_request(metrics: Metrics, record: Record) -> None:
    """Count a finished request to a model."""
    add, deployment = metrics.add, record.deployment or "none"
    add("a2py_requests_total", deployment=deployment, wire=record.wire or "none", status=str(record.status))
    add("a2py_request_seconds_sum", record.duration, deployment=deployment)
    if record.first_content:
        add("a2py_first_byte_seconds_sum", record.first_content, deployment=deployment)
        add("a2py_first_byte_seconds_count", deployment=deployment)
    if record.account.choice:
        add("a2py_routes_total", rule=record.account.choice.rule, model=record.account.choice.model or "as asked")
    tokens = "a2py_tokens_estimated_total" if record.account.is_estimated else "a2py_tokens_total"
    for source, usage in record.account.usages:
        for direction, amount in usage.by_direction():
            add(tokens, amount, deployment=source.id, direction=direction)
            if record.account.key:
                add("a2py_key_tokens_total", amount, key=record.account.key, direction=direction)
    if record.account.key:
        add("a2py_key_requests_total", key=record.account.key, status=str(record.status))
    for name in record.degraded:
        metrics.add_degraded(name)


def _name_asker(request: BaseRequest, record: Record) -> None:
    """Note the session and the agent that a client names in its headers. A session in the body is noted already."""
    headers = request.headers
    if not record.account.session:
        record.account.session = name_session(headers)
    record.account.agent = record.account.agent or headers.get(AGENT_HEADER, "")[:SESSION_LENGTH]
