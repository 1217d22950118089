"""Messages between the workers of one parent (`--num-workers`). A process without siblings is alone on its bus.

    bus = services.bus
    bus.subscribe("cooldown", take)      # take(payload: bytes, worker: int): called for what other workers publish
    bus.publish("cooldown", payload)     # to all other workers; alone: nothing happens
    bus.answer("health", report)         # report(payload: bytes, worker: int) -> bytes, None for no answer, or an
                                         # awaitable of these
    every = await bus.gather("health", b"", 1.0)
    every.answers                        # {0: b"…", 2: b"…"}: of every worker that serves, this one included
    every.missing                        # (1,): it is being replaced, did not answer in time, or could not
    await bus.ask(2, "part", b"…", 1.0)  # the answer of one worker, None if there is none

A payload has at most MAX_MESSAGE bytes. A topic is a short ASCII word and has one answerer. A message may be lost, if
a worker dies or reads too slowly. Nothing waits for an answer longer than the given time.

Knows: envelopes, pieces, who is there. Must not know: sockets and processes (cli/control.py, cli/relay.py), what a
payload means.
Invariants:
- `receive` takes any bytes without an exception, and so for what a callback or an answerer raises: it is logged.
- Messages of one worker arrive in the order in which they were sent, each complete or not at all.
- Bounds: MAX_MESSAGE bytes a message, one incomplete message of each worker, MAX_QUESTIONS questions that wait,
  MAX_ANSWERS answers that are being made.
- An envelope of an unknown kind is ignored, so that a later version may have more of them.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import count
from typing import NamedTuple, Union

#: Bytes of one payload. A captured request or reply fits (proxy/capture.py).
MAX_MESSAGE = 8 * 1024 * 1024
#: Bytes of a payload in one envelope. What the parent has to say does not wait for more than that.
PIECE = 60 * 1024
#: Questions of this worker that wait for answers. One more gets only this worker's own answer.
MAX_QUESTIONS = 64
#: Questions of other workers that are being answered. One more is declined.
MAX_ANSWERS = 64
MAX_TOPIC = 64

#: Kinds of envelopes. JOIN: this worker can be reached; MEMBERS: the parent's list of those that can. PUBLISH;
#: QUESTION, ANSWER, DECLINE: there is no answer.
JOIN, MEMBERS, PUBLISH, QUESTION, ANSWER, DECLINE = b"j", b"m", b"p", b"q", b"a", b"d"
#: Recipient: all other workers.
EVERYBODY = 0xFFFF
#: The head of an envelope: kind, worker (recipient on the way to the parent, sender on the way from it), number of the
#: message (ANSWER, DECLINE: of its question), position of the piece, 1 if it is the last one, length of the topic.
_HEAD = struct.Struct(">cHIHBB")
_NUMBERS = 1 << 32

#: Called with a payload and the number of the worker that has sent it.
Callback = Callable[[bytes, int], object]
Answer = Union[bytes, None]
Answerer = Callable[[bytes, int], Union[Answer, Awaitable[Answer]]]


class Envelope(NamedTuple):
    """One piece of a message."""

    kind: bytes
    worker: int
    number: int
    position: int
    is_last: bool
    topic: str
    payload: bytes


class Answers(NamedTuple):
    """`by_worker`: what each has answered; `missing`: the workers without an answer."""

    by_worker: dict[int, bytes]
    missing: tuple[int, ...]


def pack(kind: bytes, worker: int, number: int = 0, topic: str = "", payload: bytes = b"") -> Iterator[bytes]:
    """Yield the envelopes of one message."""
    name = topic.encode("ascii")
    starts = range(0, len(payload), PIECE) if payload else range(1)
    for index, start in enumerate(starts):
        is_last = start + PIECE >= len(payload)
        head = _HEAD.pack(kind, worker, number, index, is_last, len(name))
        yield head + name + payload[start : start + PIECE]


def unpack(data: bytes) -> Envelope | None:
    """Return the envelope that `data` is, None if it is none."""
    if len(data) < _HEAD.size:
        return None
    kind, worker, number, index, is_last, length = _HEAD.unpack_from(data)
    begin = _HEAD.size + length
    name = data[_HEAD.size : begin]
    if len(data) < begin or length > MAX_TOPIC or len(data) - begin > PIECE or not name.isascii():
        return None
    return Envelope(kind, worker, number, index, bool(is_last), name.decode("ascii"), data[begin:])


def encode_members(workers: Iterable[int]) -> bytes:
    """Return the parent's list of the workers that can be reached, as one envelope."""
    payload = b"".join(worker.to_bytes(2, "big") for worker in workers)
    return next(pack(MEMBERS, EVERYBODY, payload=payload))


def decode_members(payload: bytes) -> frozenset[int]:
    return frozenset(int.from_bytes(payload[at : at + 2], "big") for at in range(0, len(payload) - 1, 2))


def readdress(data: bytes, worker: int) -> bytes:
    """Return the envelope `data` with `worker` as its recipient or sender."""
    return data[:1] + worker.to_bytes(2, "big") + data[3:]


class _Question:
    """`waiting`: the workers whose answers are not here yet."""

    __slots__ = ("answers", "is_done", "waiting")

    def __init__(self, waiting: set[int]) -> None:
        self.waiting = waiting
        self.answers: dict[int, bytes] = {}
        self.is_done = asyncio.Event()
        self.settle(-1)

    def settle(self, worker: int) -> None:
        """Wait for `worker` no longer."""
        self.waiting.discard(worker)
        if not self.waiting:
            self.is_done.set()


class _Incomplete:
    """The pieces of a message that have arrived."""

    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[Envelope] = []
        self.size = 0

    def add(self, piece: Envelope) -> bytes | None:
        """Add `piece`. Return the payload if that completes a message. After a gap, the message is dropped."""
        if piece.position == 0:
            self.pieces, self.size = [], 0
        first = self.pieces[0] if self.pieces else piece
        is_next = piece.position == len(self.pieces) and piece[:1] + piece[2:3] == first[:1] + first[2:3]
        if not is_next or self.size + len(piece.payload) > MAX_MESSAGE:
            self.pieces, self.size = [], 0
            return None
        self.pieces.append(piece)
        self.size += len(piece.payload)
        if not piece.is_last:
            return None
        payload = b"".join(each.payload for each in self.pieces)
        self.pieces, self.size = [], 0
        return payload


class Bus:
    """One worker's end. `number`: of this worker; `count`: how many workers there are; `peers`: the other workers that
    can be reached now; `crash`: gets what a callback raises; `on_peers`: each is called when `peers` has changed."""

    def __init__(self, crash: Callable[[Exception], object]) -> None:
        self.number, self.count = 0, 1
        self.peers: frozenset[int] = frozenset()
        self.on_peers: list[Callable[[], object]] = []
        self._crash = crash
        self._send: Callable[[list[bytes]], bool] | None = None
        self._has_met: asyncio.Event | None = None  # set once the parent has said who is there; None: it never will
        self._callbacks: dict[str, list[Callback]] = {}
        self._answerers: dict[str, Answerer] = {}
        self._questions: dict[int, _Question] = {}
        self._incomplete: dict[int, _Incomplete] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._numbers = count(1)

    def connect(self, number: int, count: int, send: Callable[[list[bytes]], bool]) -> None:
        """Join the other workers. `send`: give the envelopes of one message to the parent; returns False if there is no
        room for all of them, and then sends none."""
        self.number, self.count, self._send = number, count, send
        self._has_met = asyncio.Event()
        if not self._post(JOIN, EVERYBODY):
            self._has_met = None

    def subscribe(self, topic: str, callback: Callback) -> None:
        """Call `callback` for each message of `topic` that another worker publishes."""
        self._callbacks.setdefault(topic, []).append(callback)

    def answer(self, topic: str, answerer: Answerer) -> None:
        """Answer the questions of `topic`, also this worker's own ones."""
        self._answerers[topic] = answerer

    def publish(self, topic: str, payload: bytes) -> None:
        """Send `payload` to all other workers."""
        if self.peers:
            self._post(PUBLISH, EVERYBODY, next(self._numbers), topic, payload)

    async def gather(self, topic: str, payload: bytes, timeout: float) -> Answers:
        """Ask all workers, this one included, and return what has come after `timeout` seconds at the latest. (Within
        the first seconds of a worker it may take as long again to learn who is there.)"""
        await self.meet(timeout)
        everybody = {*range(self.count), self.number}
        answers, own = await asyncio.gather(
            self._question(EVERYBODY, everybody & self.peers, topic, payload, timeout),
            self._ask_itself(topic, payload, timeout),
        )
        if own is not None:
            answers[self.number] = own
        return Answers(dict(sorted(answers.items())), tuple(sorted(everybody - answers.keys())))

    async def ask(self, worker: int, topic: str, payload: bytes, timeout: float) -> bytes | None:
        """Ask one worker, which may be this one. Return its answer, None if there is none within `timeout` seconds."""
        if worker == self.number:
            return await self._ask_itself(topic, payload, timeout)
        answers = await self._question(worker, {worker} & self.peers, topic, payload, timeout)
        return answers.get(worker)

    async def meet(self, timeout: float) -> None:
        """Wait until it is known who is there, at most `timeout` seconds. It takes a moment after the start."""
        if self._has_met is not None and not self._has_met.is_set():
            try:
                await asyncio.wait_for(self._has_met.wait(), timeout)
            except asyncio.TimeoutError:
                pass

    def receive(self, data: bytes) -> None:
        """Take an envelope from the parent."""
        piece = unpack(data)
        if piece is None:
            return
        payload = self._incomplete.setdefault(piece.worker, _Incomplete()).add(piece)
        if payload is None:
            return
        if piece.kind == MEMBERS:
            self._meet(decode_members(payload))
        elif piece.kind == PUBLISH:
            for callback in self._callbacks.get(piece.topic, ()):
                try:
                    callback(payload, piece.worker)
                except Exception as error:  # the next one must still be called
                    self._crash(error)
        elif piece.kind == QUESTION:
            self._begin_answer(piece, payload)
        elif piece.kind in (ANSWER, DECLINE):
            self._end_question(piece, payload)

    async def close(self) -> None:
        """Stop answering."""
        tasks = list(self._answering)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _post(self, kind: bytes, worker: int, number: int = 0, topic: str = "", payload: bytes = b"") -> bool:
        """Send a message. Return whether it is on its way."""
        if self._send is None or len(payload) > MAX_MESSAGE:
            return False
        return self._send(list(pack(kind, worker, number % _NUMBERS, topic, payload)))

    def _meet(self, members: frozenset[int]) -> None:
        """Note who can be reached. Those who have gone answer nothing any more."""
        self.peers = members - {self.number}
        for worker in self._incomplete.keys() - self.peers - {EVERYBODY}:
            del self._incomplete[worker]
        for question in self._questions.values():
            for worker in question.waiting - self.peers:
                question.settle(worker)
        if self._has_met is not None:
            self._has_met.set()
        for callback in self.on_peers:
            callback()

    async def _question(
        self, recipient: int, workers: set[int], topic: str, payload: bytes, timeout: float
    ) -> dict[int, bytes]:
        """Return the answers of the `workers`. They are asked at once, and waited for later."""
        number = next(self._numbers) % _NUMBERS
        if not workers or len(self._questions) >= MAX_QUESTIONS:
            return {}
        question = self._questions[number] = _Question(workers)
        try:
            if self._post(QUESTION, recipient, number, topic, payload):
                await asyncio.wait_for(question.is_done.wait(), timeout)
        except asyncio.TimeoutError:
            pass
        finally:
            del self._questions[number]
        return question.answers

    async def _ask_itself(self, topic: str, payload: bytes, timeout: float) -> bytes | None:
        """Return this worker's answer, None if there is none within `timeout` seconds."""
        try:
            return await asyncio.wait_for(self._make_answer(topic, payload, self.number), timeout)
        except asyncio.TimeoutError:
            return None

    def _end_question(self, piece: Envelope, payload: bytes) -> None:
        question = self._questions.get(piece.number)
        if question is not None and piece.worker in question.waiting:
            if piece.kind == ANSWER:
                question.answers[piece.worker] = payload
            question.settle(piece.worker)

    def _begin_answer(self, question: Envelope, payload: bytes) -> None:
        if question.topic not in self._answerers or len(self._answering) >= MAX_ANSWERS:
            self._post(DECLINE, question.worker, question.number)
            return
        task = asyncio.get_running_loop().create_task(self._send_answer(question, payload))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _send_answer(self, question: Envelope, payload: bytes) -> None:
        answer = await self._make_answer(question.topic, payload, question.worker)
        if answer is None or not self._post(ANSWER, question.worker, question.number, question.topic, answer):
            self._post(DECLINE, question.worker, question.number)

    async def _make_answer(self, topic: str, payload: bytes, worker: int) -> bytes | None:
        """Return this worker's answer, None if it has none."""
        answerer = self._answerers.get(topic)
        if answerer is None:
            return None
        try:
            answer = answerer(payload, worker)
            return answer if answer is None or isinstance(answer, bytes) else await answer
        except Exception as error:
            self._crash(error)
            return None
