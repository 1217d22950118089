"""POST /v1/messages and /v1/messages/count_tokens: from a client's body to a `Call`, and from there to an answer.

Knows: what of a client's request a Call is made of, the hop header. Must not know: sockets, upstreams, who may ask
(access.py).
Invariants: nothing that a client sends is fetched; client credentials never enter a Call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from a2py.errors import ApiError
from a2py.messages.count import estimate_in_slices
from a2py.messages.fingerprint import fingerprint_in_slices
from a2py.messages.request import parse_in_slices
from a2py.messages.session import find_session
from a2py.messages.types import Call, Request
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.allowance import run_within
from a2py.proxy.answer import DecodedAnswer, JsonAnswer, StreamAnswer
from a2py.proxy.asker import asker_of
from a2py.proxy.body import MIB, read_body
from a2py.proxy.exchange import Conversation
from a2py.proxy.inbound import Inbound
from a2py.proxy.log import Record, Spent
from a2py.proxy.responses import json_response, new_id
from a2py.proxy.rules import choose_model
from a2py.proxy.services import Services
from a2py.proxy.sizes import PromptSize
from a2py.upstream import HOP_HEADER

if TYPE_CHECKING:
    from a2py.proxy.recording import Recording

NOTHING: Mapping[str, str] = {}
#: How many a2py proxies a request may pass.
MAX_HOPS = 5
#: Seconds that a client is taken to wait if it does not say so (Claude Code: API_TIMEOUT_MS 600,000).
CLIENT_SECONDS = 600.0
#: Client headers that a native wire may pass on. No credential is among them.
_PASSED_HEADERS = ("x-app", "x-claude-code-session-id", "x-claude-code-agent-id", "x-claude-code-request-class")


async def create_message(
    services: Services,
    request: BaseRequest,
    record: Record,
    body: bytes | None = None,
    extra: Mapping[str, str] = NOTHING,
) -> StreamResponse | ApiError:
    """Answer a request.

    `body`: to answer instead of its own (the page asks again what was asked before); `extra`: headers of a stream."""
    body = await read_request(services, request) if body is None else body
    recording = None
    if services.ui.watcher is not None or services.config.settings.capture_dir:
        recording = begin_recording(services, request, record, body)
    parsed = await services.pace.run(parse_in_slices(body), size=len(body))
    call = make_call(services, request, parsed)
    call.estimate = await services.pace.run(estimate_in_slices(parsed))
    record.model, record.stream, record.account.session = parsed.model, parsed.stream, call.session
    config = services.config
    model = await choose_model(config, services.pace, parsed, request.headers, call.estimate, record)
    inbound = Inbound(
        request,
        call,
        record,
        config,
        PromptSize(services.sizes, call),
        asyncio.get_running_loop().time(),
        model,
        asker_of(request.headers, call, record.account.caller.name),
        hops=extend_hops(services, request),
        recording=recording,
        extra=extra,
    )
    if config.settings.cache_health and call.session:
        inbound.prompt = await services.pace.run(fingerprint_in_slices(parsed))
        inbound.arrival = services.clock()
    del body, recording  # not kept for as long as the answer streams
    answer: DecodedAnswer
    if record.stream:
        answer = StreamAnswer(inbound, services.timeouts.stall)
    else:
        inbound.patience = parse_patience(request.headers.get("x-stainless-timeout"))
        answer = JsonAnswer(inbound)
    return await run_within(services, inbound, Conversation(services, inbound, answer))


async def count_tokens(services: Services, request: BaseRequest, record: Record) -> StreamResponse:
    body = await read_request(services, request)
    call = make_call(services, request, await services.pace.run(parse_in_slices(body, counting=True), size=len(body)))
    del body
    record.model, record.account.is_count = call.request.model, True
    tokens = await _count(services, call, await _choose_counter(services, request, call, record))
    record.status, record.spent = 200, Spent(tokens)
    return json_response({"input_tokens": tokens}, record.id)


async def _choose_counter(services: Services, request: BaseRequest, call: Call, record: Record) -> str:
    """Return the name of the model that would get the messages of `call`."""
    config = services.config
    estimate = await services.pace.run(estimate_in_slices(call.request)) if config.settings.routes else 0
    return await choose_model(config, services.pace, call.request, request.headers, estimate, record)


async def _count(services: Services, call: Call, name: str) -> int:
    """Return the input tokens of `call`, at least 1: by the tokenizer of the upstream of `name` if it has one,
    otherwise counted here."""
    model, tokens = "", None
    try:
        deployment = services.lessons.apply(services.config.resolve(name)[0])
    except ApiError:
        pass  # nobody serves this name: the count is still worth something to the client
    else:
        model = deployment.model
        tokens = await services.prompts.tokenizers.count(services.upstream, deployment, call)
    if tokens is None:
        tokens = await services.sizes.count(call.request, model)
    return max(1, tokens)


async def read_request(services: Services, request: BaseRequest) -> bytes:
    """Return the body of a request. Raise `ApiError` if it is too large, too slow or broken."""
    return await read_body(request, services.config.settings.max_body_mb * MIB, services.timeouts)


def begin_recording(services: Services, request: BaseRequest, record: Record, body: bytes) -> Recording:
    """Begin to record a request, for its capture or for the page."""
    from a2py.proxy.recording import Recording  # not loaded as long as nothing is recorded

    config, watcher, clock = services.config, services.ui.watcher, asyncio.get_running_loop().time
    start = clock()
    # A capture has all of the request; it takes what room there is for the page at its end.
    room = watcher.room if watcher is not None and not config.settings.capture_dir else None
    recording = Recording(request, body, config, lambda: clock() - start, room)
    if watcher is not None:
        watcher.begin(record.id, recording)
    return recording


def make_call(services: Services, request: BaseRequest, parsed: Request) -> Call:
    """Return `parsed` with everything impure that the core may need, read once."""
    headers = request.headers
    return Call(
        request=parsed,
        message_id=new_id("msg_"),
        now=time.time(),
        session=find_session(headers, parsed),
        betas=tuple(beta.strip() for beta in headers.get("anthropic-beta", "").split(",") if beta.strip()),
        version=headers.get("anthropic-version", "2023-06-01"),
        unasked_thinking=services.config.settings.unasked_thinking != "hide",
        client_headers={name: headers[name] for name in _PASSED_HEADERS if name in headers},
    )


def parse_patience(header: str | None) -> float:
    """Return the seconds that a client waits for a complete answer, by its SDK's `x-stainless-timeout`; between 1 and
    3600."""
    try:
        seconds = float(header or "")
    except ValueError:
        return CLIENT_SECONDS
    is_number = seconds == seconds  # NaN is not
    return min(max(seconds, 1.0), 3600.0) if is_number else CLIENT_SECONDS


def extend_hops(services: Services, request: BaseRequest) -> str:
    """Return the hop header for the upstream: the names of the proxies passed so far, and this one's.

    Raise `ApiError` if this proxy is its own upstream, or if the chain is too long. Without this a loop would double
    the request until connections run out."""
    header = request.headers.get(HOP_HEADER)
    if header is None:
        return services.name
    names = [name for name in header.replace(" ", "").split(",") if name]
    if services.name in names or len(names) >= MAX_HOPS:
        raise ApiError(
            "invalid_request",
            "Loop: this proxy is its own upstream; point api_base at the model's server, not at a2py",
            status=508,
            should_retry=False,
        )
    return ",".join([*(name[:16] for name in names), services.name])
