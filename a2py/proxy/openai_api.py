"""OpenAI's endpoints: from a client's request to a passage, and what is said about paths that are not served.

Knows: the table of endpoints, what of a request decides routing. Must not know: sockets, upstreams, who may ask
(access.py).
Invariants: only an exact path of the table reaches an upstream: one that is written with `%2F`, `..` or anything else
that servers read in different ways does not.
"""

from __future__ import annotations

import asyncio
import re
import time

from a2py.errors import ApiError
from a2py.messages.types import Call, Request
from a2py.proxy.access import require_model
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.allowance import run_within
from a2py.proxy.asker import Asker
from a2py.proxy.inbound import Inbound
from a2py.proxy.log import Record
from a2py.proxy.messages_api import begin_recording, extend_hops, parse_patience, read_request
from a2py.proxy.passage import Passage
from a2py.proxy.passed_answer import PassedAnswer
from a2py.proxy.services import Services
from a2py.proxy.sizes import PassedSize
from a2py.wires.passthrough.endpoints import PATHS, explain_unserved, is_openai_path
from a2py.wires.passthrough.request import Question, parse_in_slices
from a2py.wires.passthrough.session import find_session

#: What a client that asks for another path gets to read.
API = (
    "a2py serves the Anthropic Messages API: POST /v1/messages, POST /v1/messages/count_tokens, GET /v1/models;"
    " and OpenAI's: POST /v1/chat/completions, /v1/responses, /v1/embeddings …"
)
_KEYS = "make, list, revoke and rotate keys with the command `a2py keys` (docs/keys.md)"
_USAGE = "`a2py usage --by key` shows what was spent, and GET /usage has it as JSON (docs/usage.md)"
#: First segments of the paths by which LiteLLM manages keys and shows what they spend (its proxy's API, 2026-11) → what
#: a2py has instead.
LITELLM = {
    **dict.fromkeys(("key", "user", "team", "customer", "end_user", "budget"), _KEYS),
    **dict.fromkeys(("spend", "global"), _USAGE),
}
#: Scheme and host of a request target in absolute form.
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


async def pass_on(services: Services, request: BaseRequest, record: Record) -> StreamResponse | ApiError:
    """Answer a request to an endpoint of the table."""
    raw_path = find_raw_path(request)
    endpoint = PATHS.get(raw_path)
    if endpoint is None:
        problem = f"Not found: {request.method} {raw_path[:200]}. Write the path as it is: {request.path}"
        raise ApiError("not_found", problem, should_retry=False)
    body = await read_request(services, request)
    recording = None
    if services.ui.watcher is not None or services.config.settings.capture_dir:
        recording = begin_recording(services, request, record, body)
    content_type = request.headers.get("content-type", "")
    question = await services.pace.run(parse_in_slices(body, content_type, endpoint), size=len(body))
    record.model, record.stream = question.model, question.wants_stream
    require_model(services.config, record.account.caller, question.model)
    if question.is_background and record.account.caller.budget is not None:
        raise ApiError(
            "permission",
            f"The key {record.account.caller.name} has a budget, and what a response with `background: true` costs is"
            " not known at its end. Ask without `background`.",
            field="background",
            should_retry=False,
        )
    inbound = _make_inbound(services, request, record, question, has_output=endpoint.has_output)
    inbound.recording = recording
    del body, recording  # the question has the body
    answer = PassedAnswer(inbound, endpoint, services.timeouts.stall, question.wants_stream)
    return await run_within(services, inbound, Passage(services, inbound, answer, endpoint, question))


def _make_inbound(
    services: Services, request: BaseRequest, record: Record, question: Question, *, has_output: bool
) -> Inbound:
    call = Call(
        Request({}, question.model, [], stream=question.wants_stream, max_tokens=question.max_tokens),
        message_id="",
        now=time.time(),
        estimate=question.estimate,
    )
    headers = request.headers
    patience = 0.0
    if not question.wants_stream:
        patience = parse_patience(headers.get("x-stainless-read-timeout") or headers.get("x-stainless-timeout"))
    return Inbound(
        request,
        call,
        record,
        services.config,
        PassedSize(question.estimate, question.max_tokens, has_output),
        asyncio.get_running_loop().time(),
        question.model,
        Asker(headers, lambda: find_session(headers, question.opening), name=record.account.caller.name),
        hops=extend_hops(services, request),
        patience=patience,
    )


def find_raw_path(request: BaseRequest) -> str:
    """Return the path as the client wrote it, without its query."""
    target = request.raw_path
    absolute = _ABSOLUTE.match(target)
    return (target[absolute.end() :] if absolute else target).partition("?")[0]


def is_upgrade(request: BaseRequest) -> bool:
    """Return whether a client asks for another protocol on its connection."""
    return "upgrade" in request.headers


def refuse_upgrade() -> ApiError:
    """Return the error for a WebSocket. Codex goes on over HTTP after a 426 (openai/codex 43353, 2026-09)."""
    return ApiError(
        "invalid_request",
        "a2py does not serve WebSockets: POST to the same path, with `stream: true` for events",
        status=426,
        should_retry=False,
    )


def refuse_method(request: BaseRequest, path: str, methods: tuple[str, ...]) -> ApiError:
    """Return the error for a method that a route does not have."""
    if is_openai_path(request.path) and is_upgrade(request):
        return refuse_upgrade()
    return ApiError("method_not_allowed", f"{request.method} is not allowed on {path}. Use {' or '.join(methods)}.")


def explain_missing(method: str, path: str) -> ApiError:
    """Return the error for a path that is not served."""
    if is_openai_path(path):
        return ApiError("not_found", explain_unserved(method, path))
    if path.startswith("/ui/"):
        return ApiError("not_found", f"Not found: {method} {path}. The page is at /ui, without a slash at its end.")
    instead = LITELLM.get(path.strip("/").partition("/")[0])
    if instead is not None:
        return ApiError("not_found", f"a2py does not serve LiteLLM's {path}: {instead}", should_retry=False)
    return ApiError("not_found", f"Not found: {method} {path}. {API}")
