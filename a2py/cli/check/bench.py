"""Send small Messages requests to one deployment through its own wire, and return what came back.

Knows: wires, a2py.upstream. Must not know: which questions are asked (probes.py), what an answer means.
Invariants: `ask` returns an `Answer` even if the request fails. No request takes longer than SECONDS. A probe may
change quirks for one request, but not in the deployment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.reply import Reply
from a2py.messages.request import parse
from a2py.messages.types import Call, Decoder, Outcome, Prepared, Usage
from a2py.quirks import override
from a2py.sse import SSEParser
from a2py.upstream import Failure, Patient, Upstream
from a2py.upstream.client import REPLY_BODY, api_error
from a2py.wires import reply, wire
from a2py.wires.failure import read
from a2py.wires.refusal.peer import Peer

JSON = dict[str, Any]

#: Seconds for one answer. A local server may have to load the model first.
SECONDS = 90.0


@dataclass
class Answer:
    """`pieces`: for each network read with content, the seconds since the request. `has_usage`: the upstream counted
    the tokens.
    `reads`: the bytes of each read. `request`: the upstream request's body."""

    error: ApiError | None = None
    content: list[JSON] = field(default_factory=list)
    stop_reason: str = ""
    usage: Usage | None = None
    has_usage: bool = False
    pieces: list[float] = field(default_factory=list)
    reads: list[bytes] = field(default_factory=list)
    took: float = 0.0
    request: JSON = field(default_factory=dict)

    def join_blocks(self, kind: str) -> str:
        """Return the joined text of the blocks of one kind (`text`, `thinking`)."""
        return "".join(block.get(kind, "") for block in self.content if block.get("type") == kind)

    @property
    def text(self) -> str:
        return self.join_blocks("text")

    @property
    def calls(self) -> list[tuple[str, JSON]]:
        return [(block["name"], block["input"]) for block in self.content if block.get("type") == "tool_use"]


class _Recorder(Patient):
    """Pass a stream on to the decoder, and record the time of each read."""

    def __init__(self, decoder: Decoder, answer: Answer, began: float) -> None:
        self._decoder = decoder
        self._answer = answer
        self._began = began

    @property
    def is_over(self) -> bool:
        return self._decoder.is_finished

    def pass_on(self, data: bytes) -> None:
        self._decoder.feed(data)
        self._answer.reads.append(data)
        if b"data:" in data:
            self._answer.pieces.append(time.monotonic() - self._began)


class Bench:
    """`requests`, `tokens`: how many have been sent and used so far."""

    def __init__(self, dep: Deployment, upstream: Upstream, seconds: float = SECONDS) -> None:
        self.dep = dep
        self.upstream = upstream
        self.seconds = seconds
        self.requests = 0
        self.tokens = 0

    def with_quirks(self, quirks: Mapping[str, Any]) -> Deployment:
        return replace(self.dep, quirks=override(self.dep.quirks, dict(quirks)))

    async def ask(self, body: JSON, *, stream: bool = False, quirks: Mapping[str, Any] | None = None) -> Answer:
        """Send one request, with `quirks` changed for it."""
        dep = self.with_quirks(quirks or {})
        protocol = wire(dep.wire)
        call = Call(
            parse(orjson.dumps({"model": dep.name, "max_tokens": 512, "stream": stream, **body})),
            "msg_check",
            time.time(),
        )
        answer = Answer()
        began = time.monotonic()
        self.requests += 1
        try:
            request = protocol.prepare(call, dep, stream)
            answer.request = _parse_object(request.body)
            sink = Reply("msg_check", dep.name, dep.origin)
            outcome = await asyncio.wait_for(self._exchange(dep, request, sink, answer, began), self.seconds)
            if outcome.error is not None:
                raise outcome.error
            message = sink.message(outcome, Usage())
            answer.content, answer.stop_reason, answer.usage = message["content"], message["stop_reason"], outcome.usage
            answer.has_usage = (dep.wire != "chat" and outcome.usage is not None) or _has_usage(
                answer.reads, request.stream
            )
            self.tokens += (
                sum((answer.usage.input, answer.usage.cache_read, answer.usage.output)) if answer.usage else 0
            )
        except ApiError as error:
            answer.error = error.hide(dep.secrets)
        except asyncio.TimeoutError:
            answer.error = ApiError("timeout", f"no complete answer within {self.seconds:.0f} s")
        answer.took = time.monotonic() - began
        return answer

    async def _exchange(self, dep: Deployment, request: Prepared, sink: Reply, answer: Answer, began: float) -> Outcome:
        protocol = wire(dep.wire)
        response = await self.upstream.send(dep, request, total=self.seconds, silence=self.seconds)
        try:
            if response.status // 100 != 2:
                body = await response.error_body()
                raise read(response.status, response.headers, body, Peer.of(dep))
            if not request.stream:
                data = await response.whole(REPLY_BODY)
                answer.reads.append(data)
                return reply(protocol, request, data, sink)
            decoder = protocol.decoder(request, sink)
            await response.read(_Recorder(decoder, answer, began))
            return decoder.close()
        except Failure as failure:
            raise api_error(failure.cause, dep) from None
        finally:
            response.close()


def _parse_object(body: bytes) -> JSON:
    try:
        value = orjson.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _has_usage(reads: list[bytes], stream: bool) -> bool:
    """Return whether a response of the chat wire contains a usage with prompt tokens."""
    data = b"".join(reads)
    if not stream:
        return _has_prompt_tokens(_parse_object(data))
    parser = SSEParser()
    return any(_has_prompt_tokens(_parse_object(raw)) for _, raw in parser.feed(data) + parser.close())


def _has_prompt_tokens(body: JSON) -> bool:
    places = [
        body.get("usage"),
        (body.get("x_groq") or {}).get("usage") if isinstance(body.get("x_groq"), dict) else None,
    ]
    places += [choice.get("usage") for choice in body.get("choices") or () if isinstance(choice, dict)]
    return any(isinstance(usage, dict) and bool(usage.get("prompt_tokens")) for usage in places)
