"""/ui: its files, and what its data are asked for by.

Knows: paths below /ui, their parameters. Must not know: what an answer holds, upstreams.
Invariants: every answer has PAGE_HEADERS; only the page itself is text/html; without a bearer there are files and
nothing else; a path is matched as it is written, without escapes.
"""

from __future__ import annotations

import asyncio
import pkgutil
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from a2py.caller import ANYBODY, Caller
from a2py.errors import ApiError
from a2py.proxy.access import admit, require_admin
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.body import read_body
from a2py.proxy.log import Record
from a2py.proxy.openai_api import find_raw_path
from a2py.proxy.page.access import (
    BEARER_SECONDS,
    SECRET_HEADER,
    TOKEN_SECONDS,
    WRONG_SECRET,
    check_host,
    check_origin,
    has_keys,
    make_viewer,
    matches_secret,
    read_bearer,
)
from a2py.proxy.page.desk import Desk
from a2py.proxy.page.history import MAX_LIMIT, USUAL_LIMIT, History
from a2py.proxy.page.live import Pages
from a2py.proxy.page.reader import Reader
from a2py.proxy.page.runs import Runs
from a2py.proxy.responses import PAGE_HEADERS, NamelessResponse, json_response
from a2py.proxy.services import Services

#: Path → file of a2py/ui/, and its type.
FILES = {
    "/ui": ("index.html", "text/html; charset=utf-8"),
    "/ui/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/ui/app.css": ("app.css", "text/css; charset=utf-8"),
    "/ui/rules.json": ("rules.json", "application/json"),
}
#: Bytes of a request to the page itself.
BODY_LIMIT = 64 * 1024

JSON = dict[str, Any]
Handler = Callable[["Site", BaseRequest, Record, Caller, str], Awaitable[StreamResponse]]


class Site:
    """The page of one process."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.desk = Desk(services)
        self.pages = Pages(self.desk)
        self.history = History(self.desk)
        self.reader = Reader(self.desk)
        self.runs = Runs(self.desk, self.reader)

    async def close(self) -> None:
        self.pages.end_all()
        await self.desk.close()

    def adjust(self) -> None:
        if self.services.config.settings.ui is False:
            self.pages.end_all()
        self.desk.adjust()


def site_of(services: Services) -> Site:
    """Return the page of this process, made with the first call."""
    site = services.ui.desk
    if not isinstance(site, Site):
        site = services.ui.desk = Site(services)
    return site


async def serve(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    """Answer a request at /ui or below. Raise `ApiError`."""
    response = await _answer(services, request, record)
    response.headers.update(PAGE_HEADERS)
    return response


async def _answer(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    path = find_raw_path(request)
    headers = request.headers
    if "%" in path and not path.startswith("/ui/api/sessions/"):
        raise ApiError("not_found", f"Not found: {path[:200]}. Write it without escapes.", should_retry=False)
    if path in FILES:
        check_host(services, headers, request.raw_path)
        return _serve_file(path, record)
    check_origin(services, headers, request.raw_path)
    site = site_of(services)
    if path == "/ui/api/token":
        return await _issue_token(site, request, record)
    if path == "/ui/api/session":
        return await _begin_session(site, request, record)
    bearer = read_bearer(headers)
    caller = await site.desk.find_caller(bearer)
    if caller is None:
        reason = "this one has ended" if bearer else "this request has no bearer"
        raise ApiError("authentication", f"Open the page by `a2py ui`: {reason}", should_retry=False)
    head, _, rest = path.removeprefix("/ui/api/").partition("/")
    handler = HANDLERS.get(head)
    if handler is None or (bool(rest) != (head in _WITH_NAME) and head != "requests"):
        raise ApiError("not_found", f"Not found: {path[:200]}", should_retry=False)
    return await handler(site, request, record, caller, rest)


def _serve_file(path: str, record: Record) -> StreamResponse:
    name, content_type = FILES[path]
    try:
        data = pkgutil.get_data("a2py", f"ui/{name}")  # works inside a zip file, too
    except OSError:
        data = None
    if data is None:
        raise ApiError("not_found", f"Not found: this a2py was installed without {name}", should_retry=False)
    return NamelessResponse(body=data, headers={"content-type": content_type, "request-id": record.id})


# -- who may read ------------------------------------------------------------------------------------------------------


async def _issue_token(site: Site, request: BaseRequest, record: Record) -> StreamResponse:
    """Return a token for whoever has the master key or an admin's, or without keys can read the secret of the state
    folder."""
    services = site.services
    await _read_json(site, request)
    caller = ANYBODY
    if has_keys(services):
        caller = admit(services.config, services.keys, request.headers, request.raw_path)
        require_admin(caller)
    else:
        secret = request.headers.get(SECRET_HEADER, "")
        if not await asyncio.to_thread(matches_secret, services.ui.secret_file, secret):
            raise ApiError("authentication", WRONG_SECRET, should_retry=False)
    viewer = make_viewer(services, caller)
    assert viewer is not None, "the key has just been found"
    token = site.desk.tokens.issue(viewer)
    return json_response({"token": token, "expires_in": int(TOKEN_SECONDS)}, record.id)


async def _begin_session(site: Site, request: BaseRequest, record: Record) -> StreamResponse:
    token = (await _read_json(site, request)).get("token")
    viewer = await site.desk.redeem(token) if isinstance(token, str) else None
    if viewer is None:
        reason = "The link is used up, or older than a minute: run `a2py ui` again"
        raise ApiError("authentication", reason, should_retry=False)
    site.services.log.info("page opened", by=viewer.name or "this machine")
    return json_response({"bearer": site.desk.issue_bearer(viewer), "expires_in": int(BEARER_SECONDS)}, record.id)


async def _read_json(site: Site, request: BaseRequest) -> JSON:
    """Return the object in a request's body, {} for none. Raise `ApiError` if it is anything else."""
    body = await read_body(request, BODY_LIMIT, site.services.timeouts)
    try:
        value = orjson.loads(body) if body else {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ApiError("invalid_request", "The body must be a JSON object", should_retry=False)
    return value


# -- data --------------------------------------------------------------------------------------------------------------


async def _serve_live(site: Site, request: BaseRequest, record: Record, caller: Caller, rest: str) -> StreamResponse:
    return await site.pages.serve(request, record, PAGE_HEADERS)


async def _list_models(site: Site, request: BaseRequest, record: Record, caller: Caller, rest: str) -> StreamResponse:
    return json_response({"models": list(site.services.config.list_chat_names())}, record.id)


async def _serve_requests(
    site: Site, request: BaseRequest, record: Record, caller: Caller, rest: str
) -> StreamResponse:
    """Answer for the list, for one request, and for what belongs to it."""
    if not rest:
        query = parse_qs(request.query_string)
        limit = _parse_limit(query.get("limit", [str(USUAL_LIMIT)])[-1])
        return json_response(await site.history.list_rows(limit, query.get("before", [""])[-1]), record.id)
    id, _, what = rest.partition("/")
    if not what:
        return json_response(await site.reader.detail(site.history, id), record.id)
    kind, _, name = what.partition("/")
    if kind == "parts" and name:
        return json_response((await site.reader.read(id, f"part {name}")).encode(), record.id)
    if what == "replay":
        return await site.runs.replay(request, record, caller, id)
    if what == "export":
        return await _export(site, request, record, id)
    raise ApiError("not_found", f"Not found: {request.path[:200]}", should_retry=False)


async def _export(site: Site, request: BaseRequest, record: Record, id: str) -> StreamResponse:
    form = parse_qs(request.query_string).get("as", [""])[-1]
    if form not in EXPORTS:
        raise ApiError("invalid_request", f"as: write one of {', '.join(EXPORTS)}", should_retry=False)
    host = request.headers.get("host", "localhost")
    scheme = "https" if request.secure else "http"
    text = await site.reader.read(id, f"export {form} {scheme}://{host}" if form == "curl" else f"export {form}")
    if text.startswith("!"):
        raise ApiError("invalid_request", f"There is no {form} of this request: {text[1:]}", should_retry=False)
    headers = {"content-type": "text/plain; charset=utf-8", "request-id": record.id}
    return NamelessResponse(body=text.encode("utf-8", "replace"), headers=headers)


async def _try(site: Site, request: BaseRequest, record: Record, caller: Caller, rest: str) -> StreamResponse:
    return await site.runs.ask(request, record, caller)


async def _check(site: Site, request: BaseRequest, record: Record, caller: Caller, rest: str) -> StreamResponse:
    return await site.runs.check(request, record, (await _read_json(site, request)).get("model"))


def _parse_limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= MAX_LIMIT):
        raise ApiError("invalid_request", f"limit: write a number from 1 to {MAX_LIMIT}", should_retry=False)
    return int(text)


async def _serve_usage(site: Site, request: BaseRequest, record: Record, caller: Caller, rest: str) -> StreamResponse:
    from a2py.proxy.usage_page import report_usage

    return await report_usage(site.services, request, record)


async def _serve_session(site: Site, request: BaseRequest, record: Record, caller: Caller, rest: str) -> StreamResponse:
    return json_response(await site.history.list_session(unquote(rest)), record.id)


HANDLERS: dict[str, Handler] = {
    "live": _serve_live,
    "requests": _serve_requests,
    "models": _list_models,
    "usage": _serve_usage,
    "sessions": _serve_session,
    "try": _try,
    "check": _check,
}
#: Forms in which a request may leave the page.
EXPORTS = ("curl", "capture", "golden", "report")
#: Those that need a name after a slash.
_WITH_NAME = frozenset({"sessions"})
