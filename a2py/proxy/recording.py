"""What is kept of one request while it runs: what the client sent, what went upstream, what came back, and what the
client got, each with its times.

A capture (`--capture`, capture.py) writes it to a file; the page (page/recorder.py) keeps it in memory. Both use the
same recording, so that a request is recorded once.

Knows: where bytes pass. Must not know: who reads a recording, how a secret is found (redact.py).
Invariants: a body longer than BODY_LIMIT is cut, and marked as cut, and so is everything that a `Room` has no room for;
what is here still holds secrets, which are removed before anybody sees it (`capture.secrets_in`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from itertools import pairwise
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.splice import Splice
from a2py.messages.types import Decoder, Outcome, Prepared
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.client import EventStream
from a2py.proxy.redact import Redactor

if TYPE_CHECKING:
    from a2py.config import Config

#: Bytes of one body that are kept; bytes after them that are searched too, so that no secret is cut in two before it is
#: found.
BODY_LIMIT, BEYOND = 16 * 1024 * 1024, 4096
#: Bytes that each piece counts in addition to its own: the list and the object take memory too.
PIECE_COST = 128
#: Waits and searches of one request that are kept.
MAX_EVENTS = 200


class Room:
    """Bytes that all recordings together may take. `make_room`: called if there is none; returns whether there may be
    some now."""

    def __init__(self, limit: int, make_room: Callable[[], bool] = lambda: False) -> None:
        self.limit = limit
        self.used_bytes = 0
        self._make_room = make_room

    def take(self, size: int) -> bool:
        """Take `size` bytes. Return False if there is no room for them."""
        while self.used_bytes + size > self.limit:
            if not self._make_room():
                return False
        self.used_bytes += size
        return True

    def give_back(self, size: int) -> None:
        self.used_bytes -= size


class Body:
    """A body, recorded piece by piece up to BODY_LIMIT. `seconds`: returns how long the request has run; `room`: that
    all bodies share, None for no limit but their own."""

    __slots__ = ("_room", "_seconds", "is_cut", "pieces", "size", "times", "used_bytes")

    def __init__(self, data: bytes = b"", seconds: Callable[[], float] = float, room: Room | None = None) -> None:
        self.pieces: list[bytes] = []
        self.times = array("I")  # milliseconds, of each piece
        self.size = 0  # bytes of the whole body, the cost of its pieces included
        self.used_bytes = 0  # bytes of `room`
        self.is_cut = False  # the body was longer than what is kept
        self._seconds = seconds
        self._room = room
        if data:
            self.add(data)

    def add(self, data: bytes) -> None:
        space = BODY_LIMIT + BEYOND - self.size
        self.size += len(data) + (PIECE_COST if self.pieces else 0)
        self.is_cut = self.is_cut or self.size > BODY_LIMIT
        if space <= 0:
            return
        piece = bytes(memoryview(data)[:space])  # a copy: what orjson makes occupies 4 to 13 times its size
        if self._room is not None:
            if not self._room.take(len(piece) + PIECE_COST):
                self.is_cut = True
                self.size = BODY_LIMIT + BEYOND  # nothing is kept after a gap
                return
            self.used_bytes += len(piece) + PIECE_COST
        self.pieces.append(piece)
        self.times.append(min(int(self._seconds() * 1000), 0xFFFFFFFF))

    def redact(self, redactor: Redactor) -> list[bytes]:
        """Return the pieces without secrets, one for each of `times` that is still there."""
        cuts = [0]
        for piece in self.pieces:
            cuts.append(cuts[-1] + len(piece))
        data, cuts = redactor.body(b"".join(self.pieces), cuts)
        data = data[:BODY_LIMIT]
        return [data[start:end] for start, end in pairwise(cuts) if start < len(data)]

    def move_into(self, room: Room) -> bool:
        """Take the bytes of this body out of `room`. Return False if it has no room for them."""
        size = sum(map(len, self.pieces)) + PIECE_COST * len(self.pieces)
        if not room.take(size):
            return False
        self._room, self.used_bytes = room, size
        return True

    def release(self) -> None:
        """Give the room back that the pieces have taken."""
        if self._room is not None:
            self._room.give_back(self.used_bytes)
            self.used_bytes = 0


class Wait(NamedTuple):
    """Times are seconds since the request began; `place`: in the line."""

    start: float
    end: float
    place: int


class SearchNote(NamedTuple):
    """One web search. Times are seconds since the request began."""

    query: str
    start: float
    end: float
    results: int
    error: str


class RecordedAttempt:
    """One question to an upstream. `head`: status and headers, once they have come; `reply`: the body; times are
    seconds since the request began, 0 if it did not come so far; `retry`: why something was asked after it."""

    def __init__(self, deployment: Deployment, prepared: Prepared, start: float, body: Body, reply: Body) -> None:
        self.deployment = deployment
        self.url = prepared.url
        self.headers = dict(prepared.headers)
        self.degraded = prepared.degraded
        self.names = prepared.names
        self.body = body
        self.reply = reply
        self.head: tuple[int, dict[str, str]] | None = None
        self.start, self.head_time, self.end = start, 0.0, 0.0
        self.error = ""
        self.retry = ""


class Recording:
    """One request. `config`: in force when it came; `seconds`: returns how long it has run; `method`, `path`,
    `headers` (names in lower case): of the client; `time`: when it began, seconds since the epoch."""

    def __init__(
        self,
        request: BaseRequest,
        body: bytes,
        config: Config,
        seconds: Callable[[], float],
        room: Room | None = None,
    ) -> None:
        self._seconds = seconds
        self._room = room
        self.config = config
        self.time = time()
        self.method, self.path = request.method, request.path
        self.headers = [(name.lower(), value) for name, value in request.headers.items()]
        self.body = self._new_body(body)
        self.attempts: list[RecordedAttempt] = []
        self.answer = self._new_body()
        self.waits: list[Wait] = []
        self.searches: list[SearchNote] = []
        self._wait: tuple[float, int] | None = None  # that has not ended

    def _new_body(self, data: bytes = b"") -> Body:
        return Body(data, self._seconds, self._room)

    def begin_attempt(self, deployment: Deployment, prepared: Prepared) -> None:
        self._end_wait()
        self.end_attempt(None)
        body, reply = self._new_body(prepared.body), self._new_body()
        self.attempts.append(RecordedAttempt(deployment, prepared, self._seconds(), body, reply))

    def add_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Record the head of the upstream's response."""
        attempt = self.attempts[-1]
        attempt.head, attempt.head_time = (status, dict(headers)), self._seconds()

    def add_reply(self, data: bytes) -> None:
        """Record a piece of the upstream's body."""
        self.attempts[-1].reply.add(data)

    def end_attempt(self, error: ApiError | None) -> None:
        """Record that what was asked last has ended. It may be said twice; what is known first counts."""
        if not self.attempts:
            return
        attempt = self.attempts[-1]
        attempt.end = attempt.end or self._seconds()
        if error is not None and not attempt.error:
            attempt.error = f"{error.kind}: {error.message}"

    def note_retry(self, reason: str) -> None:
        """Record why something is asked after the latest attempt."""
        if self.attempts:
            self.attempts[-1].retry = reason

    def begin_wait(self, place: int) -> None:
        """Record that the request waits in the line."""
        self._end_wait()
        self._wait = (self._seconds(), place)

    def _end_wait(self) -> None:
        wait, self._wait = self._wait, None
        if wait is not None and len(self.waits) < MAX_EVENTS:
            self.waits.append(Wait(wait[0], self._seconds(), wait[1]))

    def begin_search(self) -> float:
        """Return the time at which a web search begins."""
        return self._seconds()

    def add_search(self, query: str, start: float, results: int, error: str) -> None:
        if len(self.searches) < MAX_EVENTS:
            self.searches.append(SearchNote(query[:1000], start, self._seconds(), results, error))

    def add_answer(self, data: bytes) -> None:
        """Record a piece of what the client gets."""
        self.answer.add(data)

    @property
    def has_answer(self) -> bool:
        """Whether the client has got anything."""
        return self.answer.size > 0

    def end(self) -> None:
        """Record that the request has ended."""
        self._end_wait()
        self.end_attempt(None)

    def bodies(self) -> dict[str, Body]:
        """Return all bodies by name, in the order in which they passed."""
        out = {"client_request": self.body}
        for number, attempt in enumerate(self.attempts, 1):
            out |= {f"upstream_request.{number}": attempt.body, f"upstream_reply.{number}": attempt.reply}
        return {**out, "client_reply": self.answer}

    def move_into(self, room: Room) -> bool:
        """Let all bodies take their bytes out of `room`. Return False if it has no room for them."""
        return self._room is room or all(body.move_into(room) for body in self.bodies().values())

    def release(self) -> None:
        """Give all room back. Whoever still reads the recording may go on."""
        for body in self.bodies().values():
            body.release()

    # -- where bytes are recorded --------------------------------------------------------------------------------------

    def decoder(self, inner: Decoder) -> Decoder:
        """Return a decoder that records what `inner` is fed."""
        return _RecordingDecoder(inner, self)

    def stream(
        self, request: BaseRequest, request_id: str, limit: int, extra: Mapping[str, str] | None, stall_seconds: float
    ) -> EventStream:
        """Return a stream that records what it sends."""
        return _RecordingStream(self, request, request_id, limit, extra, stall_seconds)


class _RecordingDecoder:
    """See `Recording.decoder`. It has no splice: every piece must pass through `feed`."""

    splice: Splice | None = None

    def __init__(self, inner: Decoder, recording: Recording) -> None:
        self._inner = inner
        self._recording = recording
        self.is_finished = inner.is_finished

    def feed(self, data: bytes) -> None:
        self._recording.add_reply(data)
        self._inner.feed(data)
        self.is_finished = self._inner.is_finished

    @property
    def progress(self) -> int:
        return self._inner.progress

    def close(self) -> Outcome:
        return self._inner.close()


class _RecordingStream(EventStream):
    """A client's stream that records what it sends."""

    __slots__ = ("_recording",)

    def __init__(self, recording: Recording, *args: Any) -> None:
        super().__init__(*args)
        self._recording = recording

    def write(self, data: bytes) -> None:
        self._recording.add_answer(data)
        super().write(data)

    def finish(self, data: bytes = b"") -> StreamResponse:
        self._recording.add_answer(data)
        return super().finish(data)
