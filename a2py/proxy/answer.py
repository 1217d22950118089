"""The two forms of an answer to /v1/messages: an event stream, and one JSON message.

An exchange makes one answer and hands it to each of its attempts in turn. An attempt asks it for a sink, into which the
upstream's reply is decoded, and for the flow that carries the upstream's body there. If an attempt fails before
anything was delivered, the next one gets a new sink.

Knows: Writer and Reply, the client's stream and its keep-alive. Must not know: attempts, retries (exchange.py),
upstream formats.
Invariants: exactly one answer; what a stream has delivered is ended by exactly one terminal event; nothing of an
attempt that delivered nothing reaches the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol, TypeVar

import orjson

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.reply import Reply
from a2py.messages.sent import NOTHING
from a2py.messages.types import Decoder, Outcome, Prepared, Sink, Usage
from a2py.messages.writer import Writer
from a2py.proxy.aiohttp_server import StreamResponse
from a2py.proxy.client import EventStream
from a2py.proxy.cors import grant
from a2py.proxy.flow import ToClient, ToReply
from a2py.proxy.inbound import Inbound
from a2py.proxy.keepalive import KeepAlive
from a2py.proxy.responses import header_list, json_response
from a2py.proxy.rules import route_headers
from a2py.upstream import Flow
from a2py.wires.common.ratelimits import rate_limits


class Answer(Protocol):
    """What an exchange needs of its answer, whatever its form. (passed_answer.py has one that passes as it is.)

    `is_stream`: the client gets events; `degraded`: names of what the latest attempt could not carry upstream."""

    is_stream: bool
    degraded: tuple[str, ...]

    @property
    def is_delivered(self) -> bool:
        """Whether the client has got content, so that no other deployment may be asked any more."""

    def set_place(self, place: int) -> None:
        """Take over the place in the line at which the request began to wait."""

    def set_rate_limits(self, headers: Mapping[str, str]) -> None:
        """Take over what the upstream's `headers` say about rate limits. It reaches the client unless the answer is
        committed."""

    def complete(self, outcome: Outcome, model: str) -> ApiError | None:
        """End the reply of the latest attempt with `outcome`. Return the error if the reply is not a complete one.
        `model` is the upstream's id."""

    def start(self) -> None:
        """Begin to wait for content."""

    def stop(self) -> None:
        """Nothing more comes from upstreams."""

    def finish(self, error: ApiError | None) -> StreamResponse | ApiError:
        """Return the response; `error` itself if nothing was sent, so that it can still become an HTTP status."""


#: The form of an exchange's answer, which its attempts write into.
AnswerT = TypeVar("AnswerT", bound=Answer)


class DecodedAnswer(Answer, Protocol):
    """An answer to /v1/messages, into which replies are decoded."""

    def begin_attempt(self, deployment: Deployment, prepared: Prepared) -> None:
        """Take over what the client is told about an attempt that is about to be sent."""

    def open_sink(self, deployment: Deployment, prepared: Prepared) -> Sink:
        """Return a new sink for the reply of `deployment`."""

    def flow_of(self, decoder: Decoder) -> Flow:
        """Return the flow that feeds the upstream's body to `decoder`, which writes into the sink opened last."""

    async def flush(self) -> None:
        """Send what the sink has, between two bodies of upstreams. A client that does not read is waited for."""


def _initial_usage(inbound: Inbound, model: str) -> Usage:
    """Return the usage that the client is told before the upstream has counted. `model` "": none has been asked."""
    if not inbound.config.settings.estimate_initial_input_tokens:
        return Usage()
    return Usage(input=inbound.size.estimated_tokens(model))


class StreamAnswer:
    """An answer as an event stream.

    Pivots: `client.is_committed` (the status line is out: from then on an error is an event) and `is_delivered`
    (content is out: from then on nothing is asked again). Keep-alives can commit before anything was delivered."""

    is_stream = True

    def __init__(self, inbound: Inbound, stall_seconds: float) -> None:
        self._inbound = inbound
        request, settings = inbound.request, inbound.config.settings
        extra = {**grant(settings.allowed_origins, request.headers), **route_headers(inbound.record), **inbound.extra}
        make_stream = EventStream if inbound.recording is None else inbound.recording.stream
        self.client = make_stream(request, inbound.record.id, settings.buffer_kb * 1024, extra, stall_seconds)
        self._writer: Writer | None = None
        self._keepalive = KeepAlive(
            self.client,
            commit_time=inbound.start_time + settings.commit_seconds,
            ping_interval=settings.keepalive_seconds,
            delta_interval=settings.delta_keepalive_seconds,
        )
        self.degraded: tuple[str, ...] = ()
        self._model = ""  # of the latest attempt
        self._request_body = NOTHING  # of the latest attempt
        self._has_content = False

    @property
    def is_delivered(self) -> bool:
        return self._writer is not None and self._writer.has_delivered

    def begin_attempt(self, deployment: Deployment, prepared: Prepared) -> None:
        self.degraded = prepared.degraded
        self._model = deployment.model
        keepalive = self._keepalive
        keepalive.writer = None
        keepalive.degraded = prepared.degraded
        keepalive.ping_interval = deployment.keepalive or self._inbound.config.settings.keepalive_seconds

    def set_place(self, place: int) -> None:
        self.client.place = place

    def set_rate_limits(self, headers: Mapping[str, str]) -> None:
        self.client.rate_limits = rate_limits(headers)

    def open_sink(self, deployment: Deployment, prepared: Prepared) -> Writer:
        self._request_body = prepared.sent_body
        writer = self._writer = self._keepalive.writer = self._new_writer(deployment.origin, deployment.model)
        return writer

    def flow_of(self, decoder: Decoder) -> Flow:
        assert self._writer is not None
        return ToClient(decoder, self._writer, self.client, self._begin_content)

    def complete(self, outcome: Outcome, model: str) -> ApiError | None:
        writer = self._writer
        assert writer is not None
        error = outcome.error = writer.problem or outcome.error
        if error is None:
            writer.close(outcome)
        return error

    async def flush(self) -> None:
        writer = self._writer
        assert writer is not None
        if not writer.has_output:
            return
        if not self._has_content:
            self._begin_content()
        self.client.write(writer.take())
        if self.client.full():
            await self.client.drain()

    def start(self) -> None:
        self._keepalive.start()

    def stop(self) -> None:
        self._keepalive.stop()

    def finish(self, error: ApiError | None) -> StreamResponse | ApiError:
        client = self.client
        if error is not None and not client.is_committed:
            return error
        if not client.is_committed:
            self._begin_content()
        writer = self._writer
        if error is not None:
            # Claude Code (2.1.332) asks again as a stream if it gets overloaded_error before content. With any other
            # type it falls back to a request without streaming at once.
            kind = "overloaded_error" if error.retryable and not self.is_delivered else ""
            if writer is None or not self.is_delivered:
                writer = self._new_writer("", "")
            writer.error(error, self._inbound.record.id, kind)
        assert writer is not None
        return client.finish(writer.take())

    def _new_writer(self, origin: str, model: str) -> Writer:
        inbound, request = self._inbound, self._inbound.call.request
        usage = _initial_usage(inbound, model)
        return Writer(inbound.call.message_id, request.model, usage, origin, inbound.thinking_mode, request.tool_ids)

    def _begin_content(self) -> None:
        """Commit to a 200, because content has come. Nothing is asked again from here on."""
        if self._has_content:  # of an earlier hop of a reply with searches
            return
        self._has_content = True
        loop = asyncio.get_running_loop()
        self._inbound.record.first_content = loop.time() - self._inbound.start_time
        loop.call_soon(self._release_conversation)  # after the content is out
        self.client.commit(self.degraded)

    def _release_conversation(self) -> None:
        """Free the request's messages. 100 KB of JSON are some 300 KB of objects, and the stream may last for
        minutes."""
        self._inbound.size.sample(self._model)
        self._request_body.forget()
        request = self._inbound.call.request
        request.body, request.messages, request.system, request.tools = {}, [], [], []


class JsonAnswer:
    """An answer as one JSON message, which is sent once it is complete."""

    is_stream = False
    is_delivered = False

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self._reply: Reply | None = None
        self._message: dict[str, object] | None = None
        self.degraded: tuple[str, ...] = ()
        self._rate_limits: Mapping[str, str] = {}

    def begin_attempt(self, deployment: Deployment, prepared: Prepared) -> None:
        self.degraded = prepared.degraded

    def set_place(self, place: int) -> None:
        pass  # the frame sends it with each answer that is not a stream

    def set_rate_limits(self, headers: Mapping[str, str]) -> None:
        self._rate_limits = rate_limits(headers)

    def open_sink(self, deployment: Deployment, prepared: Prepared) -> Reply:
        inbound, request = self._inbound, self._inbound.call.request
        reply = self._reply = Reply(
            inbound.call.message_id, request.model, deployment.origin, inbound.thinking_mode, request.tool_ids
        )
        return reply

    def flow_of(self, decoder: Decoder) -> Flow:
        assert self._reply is not None
        return ToReply(decoder, self._reply)

    def complete(self, outcome: Outcome, model: str) -> ApiError | None:
        assert self._reply is not None
        try:
            self._message = self._reply.message(outcome, _initial_usage(self._inbound, model))
        except ApiError as error:
            outcome.error = error.with_traceback(None)  # its frames refer to this answer: a reference cycle
            return error
        return None

    async def flush(self) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def finish(self, error: ApiError | None) -> StreamResponse | ApiError:
        if error is not None:
            return error
        inbound = self._inbound
        inbound.record.first_content = asyncio.get_running_loop().time() - inbound.start_time
        body = orjson.dumps(self._message)
        if inbound.recording is not None:
            inbound.recording.add_answer(body)
        headers = {"x-a2py-degraded": header_list(self.degraded)} if self.degraded else {}
        return json_response(body, inbound.record.id, headers={**self._rate_limits, **headers})
