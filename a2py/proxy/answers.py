"""The two forms of an answer: an event stream, and one JSON message.

Knows: Writer and Reply, the client's stream and its keep-alive. Must not know: attempts, retries (relay.py).
Invariants: exactly one answer; what a stream has delivered is ended by exactly one terminal event; nothing of an attempt that delivered
nothing reaches the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.reply import Reply
from a2py.messages.types import Call, Outcome, Prepared
from a2py.messages.writer import Writer
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.client import EventStream
from a2py.proxy.cors import grant
from a2py.proxy.flow import ToClient, ToReply
from a2py.proxy.keepalive import Pulse
from a2py.proxy.log import Record
from a2py.proxy.relay import Exchange
from a2py.proxy.responses import header_list, json_response
from a2py.upstream import Response
from a2py.wires import wire as wire_of

if TYPE_CHECKING:
    from a2py.proxy.app import Proxy
    from a2py.proxy.capture import Capture


class Streamed(Exchange):
    """An answer as an event stream."""

    streams = True

    def __init__(
        self, proxy: Proxy, request: BaseRequest, call: Call, record: Record, patience: float, capture: Capture | None = None
    ) -> None:
        super().__init__(proxy, request, call, record, patience, capture)
        settings = self.config.settings
        granted = grant(settings.allowed_origins, request.headers)
        self.client = (capture.stream if capture is not None else EventStream)(request, record.id, proxy.buffer_limit, granted)
        self.writer: Writer | None = None
        self.pulse = Pulse(self.client, self.begun + settings.commit_seconds, settings.keepalive_seconds, settings.delta_keepalive_seconds)

    @property
    def delivered(self) -> bool:
        return self.writer is not None and self.writer.has_delivered

    def _begin(self, deployment: Deployment, prepared: Prepared) -> None:
        super()._begin(deployment, prepared)
        pulse = self.pulse
        pulse.writer = None
        pulse.degraded = prepared.degraded
        pulse.interval = deployment.keepalive or self.config.settings.keepalive_seconds

    def _first(self) -> None:
        """The first content: nothing is asked again from here on."""
        loop = self.proxy.loop
        self.record.first = loop.time() - self.begun
        loop.call_soon(self._forget)
        self.client.commit(self.degraded)

    def _forget(self) -> None:
        """The conversation is not kept for as long as its answer streams (100 KB of JSON are some 300 KB of objects)."""
        self._count()
        if self.prepared is not None:
            self.prepared.sent.forget()
        request = self.call.request
        request.body, request.messages, request.system, request.tools = {}, [], [], []

    def _fresh(self, origin: str = "", model: str = "") -> Writer:
        call = self.call
        return Writer(call.message_id, call.request.model, self._usage(model), origin, self.thinking, call.request.tool_ids)

    async def _read(self, response: Response, deployment: Deployment, prepared: Prepared) -> Outcome:
        writer = self.writer = self.pulse.writer = self._fresh(deployment.origin, deployment.model)
        decoder = self._listened(wire_of(deployment.wire).decoder(prepared, writer))
        cause = await self._read_body(response, ToClient(decoder, writer, self.client, self._first))
        self.outcome = self._ended(cause, decoder.close(), deployment)
        return self.outcome

    def _settle(self, outcome: Outcome) -> ApiError | None:
        writer = self.writer
        assert writer is not None
        error = outcome.error = writer.problem or outcome.error
        if error is None:
            writer.close(outcome)
        return error

    async def answer(self) -> StreamResponse | ApiError:
        self.pulse.start()
        try:
            error = await self.run()
        finally:
            self.pulse.stop()
        client = self.client
        if error is not None and not client.committed:
            self.note(error, error.status)
            return error
        if not client.committed:
            self._first()
        writer = self.writer
        if error is not None:
            # Claude Code asks again as a stream after overloaded_error before content, any other type sends it to unary at once
            kind = "overloaded_error" if error.retryable and not self.delivered else ""
            if writer is None or not self.delivered:
                writer = self._fresh()
            writer.error(error, self.record.id, kind)
        assert writer is not None
        response = client.finish(writer.take())
        self.note(error, 200)
        return response


class Whole(Exchange):
    """An answer as one JSON message."""

    def __init__(
        self, proxy: Proxy, request: BaseRequest, call: Call, record: Record, patience: float, capture: Capture | None = None
    ) -> None:
        super().__init__(proxy, request, call, record, patience, capture)
        self.reply: Reply | None = None
        self.message: dict[str, object] | None = None

    async def _read(self, response: Response, deployment: Deployment, prepared: Prepared) -> Outcome:
        call = self.call
        sink = self.reply = Reply(call.message_id, call.request.model, deployment.origin, self.thinking, call.request.tool_ids)
        decoder = self._listened(wire_of(deployment.wire).decoder(prepared, sink))  # it reads a JSON body as well as a stream
        cause = await self._read_body(response, ToReply(decoder, sink))
        self.outcome = self._ended(cause, decoder.close(), deployment)
        return self.outcome

    def _settle(self, outcome: Outcome) -> ApiError | None:
        assert self.reply is not None
        try:
            self.message = self.reply.message(outcome, self._usage(self.asked.model if self.asked else ""))
        except ApiError as error:
            outcome.error = error.with_traceback(None)  # its frames hold this answer
            return error
        return None

    async def answer(self) -> StreamResponse | ApiError:
        error = await self.run()
        if error is not None:
            self.note(error, error.status)
            return error
        self.record.first = self.proxy.loop.time() - self.begun
        body = orjson.dumps(self.message)
        if self.capture is not None:
            self.capture.got(body)
        self.note(None, 200)
        headers = {"x-a2py-degraded": header_list(self.degraded)} if self.degraded else None
        return json_response(body, self.record.id, headers=headers)
