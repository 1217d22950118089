"""An answer that passes: an upstream's own status, headers and bytes, as they come.

Knows: the client's stream, what is kept of a body to read its usage. Must not know: attempts, retries, formats of
bodies.
Invariants: every byte of the upstream's body reaches the client once, in its order; nothing is added, except one event
after a stream that broke off between two events; what broke off anywhere else does not get a proper end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import orjson

from a2py.errors import ApiError
from a2py.http1 import CODINGS, content_length
from a2py.messages.splice import chunk_head
from a2py.messages.types import Outcome
from a2py.proxy.aiohttp_server import StreamResponse
from a2py.proxy.client import PassedStream
from a2py.proxy.cors import grant
from a2py.proxy.inbound import Inbound
from a2py.proxy.responses import NamelessResponse
from a2py.upstream import Response
from a2py.wires.passthrough.endpoints import Endpoint
from a2py.wires.passthrough.headers import client_headers
from a2py.wires.passthrough.usage import Watcher, outcome_of

EVENT_STREAM = "text/event-stream"
#: The error, for the log and the ledger, of a stream that passed whole. What the upstream said may hold anything.
STREAM_ERROR = "upstream: the stream ended with an error event of the upstream"


class PassingFlow:
    """The body of a response on its way to the client. `on_content` is called before the first write.

    It is its own splice: a read that is exactly one HTTP chunk goes to the client as it is. What comes with the last
    byte of the body is held back, so that it goes out together with the end of the answer: one system call less."""

    __slots__ = ("_client", "_has_content", "_on_content", "_response", "_see", "_tail", "watcher")

    is_over = False

    def __init__(
        self, response: Response, client: PassedStream, watcher: Watcher, on_content: Callable[[], None]
    ) -> None:
        self._response = response
        self._client = client
        self._tail = b""
        self._on_content = on_content
        self._has_content = False
        self.watcher = watcher
        self._see = watcher.see

    @property
    def progress(self) -> int:
        return self.watcher.size

    def pass_on(self, data: bytes) -> None:
        if not data:
            return
        if not self._has_content:
            self._has_content = True
            self._on_content()
        self._see(data)
        if self._tail:
            self._client.write(self._tail)
            self._tail = b""
        if self._response.is_whole:
            self._tail = data
        else:
            self._client.write(data)

    def take_tail(self) -> bytes:
        """Return what is still to be written."""
        tail, self._tail = self._tail, b""
        return tail

    def splice(self) -> PassingFlow | None:
        return self if self._has_content and self._client.chunked else None

    def chunk(self, data: bytes) -> bytes | None:
        """Return `data` if it is exactly one HTTP chunk, else None."""
        size = chunk_head(data)
        if not size:
            return None
        self._see(data[size:-2])
        return data

    def forward(self, data: bytes, now: float) -> None:
        self._client.send(data)

    def full(self) -> bool:
        return self._client.full()

    async def drain(self) -> None:
        await self._client.drain()


class _RecordingFlow(PassingFlow):
    """The same, recorded. It has no splice: every piece must pass through `pass_on`."""

    __slots__ = ("_record",)

    def __init__(
        self,
        response: Response,
        client: PassedStream,
        watcher: Watcher,
        on_content: Callable[[], None],
        record: Callable[[bytes], None],
    ) -> None:
        super().__init__(response, client, watcher, on_content)
        self._record = record

    def pass_on(self, data: bytes) -> None:
        self._record(data)
        super().pass_on(data)

    def splice(self) -> None:
        return None


class PassedAnswer:
    """See `answer.Answer`. `is_stream`: the client asked for a stream."""

    degraded: tuple[str, ...] = ()

    def __init__(self, inbound: Inbound, endpoint: Endpoint, stall_seconds: float, is_stream: bool) -> None:
        self._inbound = inbound
        self._endpoint = endpoint
        self.is_stream = is_stream
        request, settings = inbound.request, inbound.config.settings
        cors_headers = grant(settings.allowed_origins, request.headers)
        self.client = PassedStream(request, inbound.record.id, settings.buffer_kb * 1024, cors_headers, stall_seconds)
        self._cors_headers = cors_headers
        self._watcher = Watcher()
        self._flow: PassingFlow | None = None  # of the latest attempt that got a reply
        self._is_event_stream = False
        self._length: int | None = None  # of the body, if it is known
        self._refusal: tuple[ApiError, int, Mapping[str, str], bytes] | None = None

    @property
    def is_delivered(self) -> bool:
        return self.client.is_committed

    @property
    def is_complete(self) -> bool:
        """Whether the stream has had its last event, so that only the end of its framing can be missing.

        A body of a known length ends with its last byte: the client would take what comes next for the rest of it."""
        return self._is_event_stream and self._length is None and self._watcher.has_last_event

    @property
    def response_id(self) -> str:
        """The id of the response, as its body says."""
        return self._watcher.find_id()

    def begin_reply(self, response: Response, on_content: Callable[[], None]) -> PassingFlow:
        """Return the flow for the body of `response`, whose status is a success. `on_content`: called with its first
        byte."""
        watcher = self._watcher = Watcher()
        self._is_event_stream = response.content_type == EVENT_STREAM
        if self._is_event_stream:
            self._inbound.record.stream = True
        status, headers = response.status, response.headers
        length = self._length = find_length(headers)

        def begin_content() -> None:
            on_content()
            self._begin(status, headers, length)

        recording = self._inbound.recording
        if recording is None:
            self._flow = PassingFlow(response, self.client, watcher, begin_content)
            return self._flow

        def record(data: bytes) -> None:
            recording.add_reply(data)
            recording.add_answer(data)

        self._flow = _RecordingFlow(response, self.client, watcher, begin_content, record)
        return self._flow

    def _begin(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        """Commit to the upstream's status, because its first byte has come. Nothing is asked again from here on."""
        inbound = self._inbound
        inbound.record.first_content = asyncio.get_running_loop().time() - inbound.start_time
        self.client.commit(status, _add_request_id(client_headers(headers), inbound.record.id), length)

    def end_reply(self, response: Response) -> Outcome:
        """Return the outcome of a reply whose body has ended by itself."""
        if not self.client.is_committed:
            self._begin(response.status, response.headers, 0)
        if self._is_event_stream and self._watcher.has_failed:
            self._inbound.record.error = STREAM_ERROR
        return self.read_outcome()

    def read_outcome(self) -> Outcome:
        """Return the outcome of what has come so far."""
        writes = self._endpoint.writes and self._is_event_stream
        return outcome_of(self._watcher, is_stream=writes, estimate=self._inbound.call.estimate)

    def note_refusal(self, error: ApiError, response: Response, body: bytes) -> None:
        """Note that `error` stands for an answer of the upstream, which passes as it is if it is the last word."""
        self._refusal = (error, response.status, response.headers, body)

    def set_place(self, place: int) -> None:
        self.client.place = place

    def set_rate_limits(self, headers: Mapping[str, str]) -> None:
        """Nothing: they pass with the other headers of an answer."""

    def complete(self, outcome: Outcome, model: str) -> ApiError | None:
        return outcome.error

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def finish(self, error: ApiError | None) -> StreamResponse | ApiError:
        client = self.client
        tail = self._flow.take_tail() if self._flow is not None else b""
        if error is None or (client.is_committed and self.is_complete):
            return client.finish(tail)
        if client.is_committed:
            if tail:
                client.write(tail)
            if not (self._is_event_stream and self._watcher.is_between_events and client.chunked):
                return client.cut()
            data = b"event: error\ndata: " + orjson.dumps({"type": "error", **error.openai_envelope()}) + b"\n\n"
            if self._inbound.recording is not None:
                self._inbound.recording.add_answer(data)
            return client.finish(data)
        if self._refusal is None or self._refusal[0] is not error:
            return error
        _, status, headers, body = self._refusal
        id = self._inbound.record.id
        if self._inbound.recording is not None:
            self._inbound.recording.add_answer(body)
        answer_headers = {**_add_request_id(client_headers(headers), id), "request-id": id, **self._cors_headers}
        return NamelessResponse(body=body, status=status, headers=answer_headers)


def _add_request_id(headers: dict[str, str], id: str) -> dict[str, str]:
    """Return `headers` with an `x-request-id`, which OpenAI's SDKs show: the upstream's, else our own."""
    headers.setdefault("x-request-id", id)
    return headers


def find_length(headers: Mapping[str, str]) -> int | None:
    """Return the length of the body that the client gets; None if it is not known. A compressed body is inflated."""
    if "transfer-encoding" in headers or headers.get("content-encoding", "").strip().lower() in CODINGS:
        return None
    return content_length(headers)
