"""One deployment on the bench: small Messages requests through its own wire, and what came back.

Knows: wires, a2py.upstream. Must not know: which questions are asked (probes.py), what a finding means.
Invariants: an answer is always a `Told`, whatever fails; no request takes longer than SECONDS; a probe may change quirks for one request,
never the deployment.
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
from a2py.upstream import Failure, Gather, Patient, Response, Upstream
from a2py.upstream.client import ERROR_BODY, REPLY_BODY, api_error
from a2py.wires import reply, wire
from a2py.wires.failure import read
from a2py.wires.refusal.peer import Peer

JSON = dict[str, Any]

#: Seconds for one answer: a local model may have to be loaded first.
SECONDS = 90.0


@dataclass
class Told:
    """`pieces`: network reads of a stream that held content, in order, as seconds after the request; `usage_told`: the upstream itself
    counted the tokens; `reads`: bytes as they came."""

    error: ApiError | None = None
    content: list[JSON] = field(default_factory=list)
    stop_reason: str = ""
    usage: Usage | None = None
    usage_told: bool = False
    pieces: list[float] = field(default_factory=list)
    reads: list[bytes] = field(default_factory=list)
    took: float = 0.0
    sent: JSON = field(default_factory=dict)

    def joined(self, kind: str) -> str:
        """All text of the blocks of one kind (`text`, `thinking`)."""
        return "".join(block.get(kind, "") for block in self.content if block.get("type") == kind)

    @property
    def text(self) -> str:
        return self.joined("text")

    @property
    def calls(self) -> list[tuple[str, JSON]]:
        return [(block["name"], block["input"]) for block in self.content if block.get("type") == "tool_use"]


class _Noted(Patient):
    """A stream on its way to the decoder, with the time of each read."""

    def __init__(self, decoder: Decoder, told: Told, began: float) -> None:
        self._decoder = decoder
        self._told = told
        self._began = began

    @property
    def ended(self) -> bool:
        return self._decoder.finished

    def pass_on(self, data: bytes) -> None:
        self._decoder.feed(data)
        self._told.reads.append(data)
        if b"data:" in data:
            self._told.pieces.append(time.monotonic() - self._began)


async def _error_body(response: Response) -> bytes:
    """What can be read of it: an error whose body breaks off is that error still."""
    body = Gather(ERROR_BODY)
    try:
        await response.read(body)
    except Failure:
        pass
    return body.body()


class Bench:
    def __init__(self, dep: Deployment, upstream: Upstream, seconds: float = SECONDS) -> None:
        self.dep = dep
        self.upstream = upstream
        self.seconds = seconds
        self.asked = 0
        self.tokens = 0

    def with_quirks(self, quirks: Mapping[str, Any]) -> Deployment:
        return replace(self.dep, quirks=override(self.dep.quirks, dict(quirks)))

    async def ask(self, body: JSON, *, stream: bool = False, quirks: Mapping[str, Any] | None = None) -> Told:
        """One request, with `quirks` changed for it."""
        dep = self.with_quirks(quirks or {})
        speaks = wire(dep.wire)
        call = Call(parse(orjson.dumps({"model": dep.name, "max_tokens": 512, "stream": stream, **body})), "msg_check", time.time())
        told = Told()
        began = time.monotonic()
        self.asked += 1
        try:
            prepared = speaks.prepare(call, dep, stream)
            told.sent = _object(prepared.body)
            sink = Reply("msg_check", dep.name, dep.origin)
            outcome = await asyncio.wait_for(self._exchange(dep, prepared, sink, told, began), self.seconds)
            if outcome.error is not None:
                raise outcome.error
            message = sink.message(outcome, Usage())
            told.content, told.stop_reason, told.usage = message["content"], message["stop_reason"], outcome.usage
            told.usage_told = (dep.wire != "chat" and outcome.usage is not None) or _counted(told.reads, prepared.stream)
            self.tokens += sum((told.usage.input, told.usage.cache_read, told.usage.output)) if told.usage else 0
        except ApiError as error:
            told.error = error.hide(dep.secrets)
        except asyncio.TimeoutError:
            told.error = ApiError("timeout", f"no whole answer within {self.seconds:.0f} s")
        told.took = time.monotonic() - began
        return told

    async def _exchange(self, dep: Deployment, prepared: Prepared, sink: Reply, told: Told, began: float) -> Outcome:
        speaks = wire(dep.wire)
        response = await self.upstream.send(dep, prepared, total=self.seconds, silence=self.seconds)
        try:
            if response.status // 100 != 2:
                body = await _error_body(response)
                raise read(response.status, response.headers, body, Peer.of(dep))
            if not prepared.stream:
                data = await response.whole(REPLY_BODY)
                told.reads.append(data)
                return reply(speaks, prepared, data, sink)
            decoder = speaks.decoder(prepared, sink)
            await response.read(_Noted(decoder, told, began))
            return decoder.close()
        except Failure as failure:
            raise api_error(failure.cause, dep) from None
        finally:
            response.close()


def _object(body: bytes) -> JSON:
    try:
        value = orjson.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _counted(reads: list[bytes], stream: bool) -> bool:
    """Whether a body of the chat wire holds usage with a prompt in it."""
    data = b"".join(reads)
    if not stream:
        return _prompt(_object(data))
    parser = SSEParser()
    return any(_prompt(_object(raw)) for _, raw in parser.feed(data) + parser.close())


def _prompt(body: JSON) -> bool:
    places = [body.get("usage"), (body.get("x_groq") or {}).get("usage") if isinstance(body.get("x_groq"), dict) else None]
    places += [choice.get("usage") for choice in body.get("choices") or () if isinstance(choice, dict)]
    return any(isinstance(usage, dict) and bool(usage.get("prompt_tokens")) for usage in places)
