"""Messages between workers: several buses, and a parent that passes envelopes on as it likes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.proxy import bus
from a2py.proxy.bus import EVERYBODY, JOIN, MAX_MESSAGE, PIECE, PUBLISH, Answers, Bus
from tests.commands import LIMIT
from tests.proxied import settle


def fail(error: Exception) -> None:
    raise AssertionError from error


class Parent:
    """`loses`: whether an envelope on its way from one worker to another gets lost; `crashes`: of the workers."""

    def __init__(self, count: int) -> None:
        self.crashes: list[Exception] = []
        self.members: dict[int, Bus] = {}
        self.loses: Callable[[bus.Envelope], bool] = lambda envelope: False
        self.workers = [Bus(self.crashes.append) for _ in range(count)]
        for number, worker in enumerate(self.workers):
            worker.connect(number, count, lambda envelopes, number=number: self.carry(number, envelopes))  # type: ignore[misc]

    def carry(self, sender: int, envelopes: list[bytes]) -> bool:
        for data in envelopes:
            envelope = bus.unpack(data)
            assert envelope is not None
            if envelope.kind == JOIN:
                self.members[sender] = self.workers[sender]
                self.announce()
                continue
            for number, worker in self.members.items():
                is_for = envelope.worker in (EVERYBODY, number) and number != sender
                if is_for and not self.loses(envelope):
                    worker.receive(bus.readdress(data, sender))
        return True

    def announce(self) -> None:
        for worker in self.members.values():
            worker.receive(bus.encode_members(self.members))

    def bury(self, number: int) -> None:
        del self.members[number]
        self.announce()


async def gather(worker: Bus, topic: str = "t", payload: bytes = b"", timeout: float = LIMIT) -> Answers:
    return await asyncio.wait_for(worker.gather(topic, payload, timeout), LIMIT + 1)


async def test_what_one_publishes_all_others_get() -> None:
    parent = Parent(3)
    messages: list[tuple[int, bytes, int]] = []
    for number, worker in enumerate(parent.workers):
        worker.subscribe("t", lambda payload, sender, number=number: messages.append((number, payload, sender)))  # type: ignore[misc]
    large = os.urandom(3 * PIECE + 1)
    parent.workers[1].publish("t", b"small")
    parent.workers[1].publish("other", b"nobody wants this")
    parent.workers[2].publish("t", large)
    parent.workers[0].publish("t", b"")
    assert messages == [
        (0, b"small", 1),
        (2, b"small", 1),
        (0, large, 2),
        (1, large, 2),
        (1, b"", 0),
        (2, b"", 0),
    ]


async def test_one_that_is_alone_answers_itself() -> None:
    alone = Bus(fail)
    alone.subscribe("t", lambda payload, worker: pytest.fail("its own message"))
    alone.publish("t", b"x")
    assert await gather(alone) == Answers({}, (0,)) and await alone.ask(0, "t", b"", 1.0) is None
    alone.answer("t", lambda payload, worker: payload + b"%d" % worker)
    assert await gather(alone, "t", b"q") == Answers({0: b"q0"}, ())
    assert await alone.ask(0, "t", b"a", 1.0) == b"a0" and await alone.ask(1, "t", b"", 1.0) is None
    await alone.close()


async def test_all_answers_are_gathered() -> None:
    """Also those that take a while; the largest fit."""
    parent = Parent(3)
    go = asyncio.Event()
    large = os.urandom(MAX_MESSAGE)

    async def slow(payload: bytes, worker: int) -> bytes:
        await go.wait()
        return payload + b" from %d" % worker

    parent.workers[0].answer("t", lambda payload, worker: b"own")
    parent.workers[1].answer("t", slow)
    parent.workers[2].answer("t", lambda payload, worker: large)
    asking = asyncio.ensure_future(gather(parent.workers[0], "t", b"q"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asking.done()
    go.set()
    assert await asking == Answers({0: b"own", 1: b"q from 0", 2: large}, ())
    assert await parent.workers[1].ask(2, "t", b"", LIMIT) == large
    assert await parent.workers[2].ask(1, "t", b"Q", LIMIT) == b"Q from 2"


async def test_the_own_answer_is_asked_for_at_once_and_has_the_same_time() -> None:
    parent, ends = Parent(2), list[int]()

    async def hang(payload: bytes, worker: int) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append(worker)
        return b""

    parent.workers[0].answer("t", hang)
    parent.workers[1].answer("t", lambda payload, worker: b"here")
    assert await gather(parent.workers[0], timeout=0.01) == Answers({1: b"here"}, (0,))
    assert await parent.workers[0].ask(0, "t", b"", 0.01) is None
    assert ends == [0, 0], "nothing runs on"


async def test_who_can_not_answer_is_missing() -> None:
    """At once: it says so, or its death does. One that says nothing is waited for as long as the question says."""
    parent = Parent(4)
    for number in (0, 3):
        parent.workers[number].answer("t", lambda payload, worker: b"here")

    def fail(payload: bytes, worker: int) -> bytes:
        raise RuntimeError

    parent.workers[1].answer("t", fail)
    assert await gather(parent.workers[0]) == Answers({0: b"here", 3: b"here"}, (1, 2))
    assert [type(error) for error in parent.crashes] == [RuntimeError]
    parent.loses = lambda envelope: envelope.kind == bus.ANSWER
    asking = asyncio.ensure_future(gather(parent.workers[0]))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asking.done()
    parent.bury(3)
    assert await asking == Answers({0: b"here"}, (1, 2, 3))
    assert await gather(parent.workers[0]) == Answers({0: b"here"}, (1, 2, 3)), "it is not even asked"
    parent.workers[2].answer("t", lambda payload, worker: b"lost on its way")
    assert await gather(parent.workers[0], timeout=0.01) == Answers({0: b"here"}, (1, 2, 3))
    assert not parent.workers[0]._questions


async def test_a_question_waits_until_it_is_known_who_is_there() -> None:
    """It takes a moment after the start. One that hears of nobody asks itself."""
    posts: list[bytes] = []
    late = Bus(fail)
    late.connect(1, 2, lambda envelopes: not posts.extend(envelopes))  # type: ignore[func-returns-value]
    late.answer("t", lambda payload, worker: b"late")
    asking = asyncio.ensure_future(gather(late))
    assert await gather(late, timeout=0.01) == Answers({1: b"late"}, (0,))
    assert not asking.done() and len(posts) == 1
    late.receive(bus.encode_members([0, 1]))
    await settle(lambda: len(posts) == 2)
    question = bus.unpack(posts[1])
    assert question is not None and question.kind == bus.QUESTION
    for data in bus.pack(bus.ANSWER, 0, question.number, "t", b"first"):
        late.receive(data)
    assert await asking == Answers({0: b"first", 1: b"late"}, ())


async def test_an_answerer_may_have_no_answer() -> None:
    parent = Parent(2)
    for worker in parent.workers:
        worker.answer("t", lambda payload, worker: None)
    assert await gather(parent.workers[0]) == Answers({}, (0, 1)) and not parent.crashes


async def test_a_message_with_a_gap_is_dropped() -> None:
    parent = Parent(2)
    payloads: list[bytes] = []
    parent.workers[1].subscribe("t", lambda payload, worker: payloads.append(payload))
    for gap in range(3):
        parent.loses = lambda envelope, gap=gap: envelope.position == gap  # type: ignore[misc]
        parent.workers[0].publish("t", bytes(3 * PIECE))
        parent.loses = lambda envelope: False
        parent.workers[0].publish("t", b"whole %d" % gap)
    assert payloads == [b"whole 0", b"whole 1", b"whole 2"]
    assert all(not incomplete.pieces for incomplete in parent.workers[1]._incomplete.values())


async def test_what_is_too_large_is_not_sent() -> None:
    parent = Parent(2)
    envelopes: list[bus.Envelope] = []

    def note(envelope: bus.Envelope) -> bool:
        envelopes.append(envelope)
        return False

    parent.loses = note
    parent.workers[0].publish("t", bytes(MAX_MESSAGE + 1))
    parent.workers[0].answer("t", lambda payload, worker: bytes(MAX_MESSAGE + 1))
    assert not envelopes
    assert await gather(parent.workers[1]) == Answers({}, (0, 1)), "it declines"
    receiver = parent.workers[1]
    receiver.subscribe("t", lambda payload, worker: pytest.fail("longer than any message"))
    for data in bus.pack(PUBLISH, 0, 1, "t", bytes(MAX_MESSAGE + 1)):
        receiver.receive(data)
        assert receiver._incomplete[0].size <= MAX_MESSAGE


async def test_questions_and_answers_have_limits() -> None:
    """One question too many gets its own answer; one too many to answer is declined."""
    parent = Parent(2)
    asks, answers = parent.workers
    never = asyncio.Event()

    async def hang(payload: bytes, worker: int) -> bytes:
        await never.wait()
        return b""

    answers.answer("t", hang)
    asks.answer("t", lambda payload, worker: b"own")
    waiting = [asyncio.ensure_future(asks.gather("t", b"", LIMIT)) for _ in range(bus.MAX_QUESTIONS)]
    await settle(lambda: len(answers._answering) == bus.MAX_QUESTIONS)
    assert await gather(asks) == Answers({0: b"own"}, (1,)) and len(asks._questions) == bus.MAX_QUESTIONS
    third = Bus(fail)
    third.connect(2, 3, lambda envelopes: parent.carry(2, envelopes) if 2 in parent.members else True)
    parent.workers.append(third)
    parent.members[2] = third
    parent.announce()
    assert await third.ask(1, "t", b"", LIMIT) is None and len(answers._answering) == bus.MAX_ANSWERS
    await answers.close()
    parent.bury(1)
    assert [await each for each in waiting] == [Answers({0: b"own"}, (1,))] * bus.MAX_QUESTIONS
    assert not asks._questions and not answers._answering


async def test_a_callback_that_fails_stops_nothing() -> None:
    parent = Parent(2)
    payloads: list[bytes] = []

    def fail(payload: bytes, worker: int) -> None:
        raise ValueError

    parent.workers[1].subscribe("t", fail)
    parent.workers[1].subscribe("t", lambda payload, worker: payloads.append(payload))
    parent.workers[0].publish("t", b"1")
    assert payloads == [b"1"] and [type(error) for error in parent.crashes] == [ValueError]


async def test_no_room_is_no_failure() -> None:
    """The parent takes nothing any more, or runs another version."""
    lonely = Bus(fail)
    lonely.connect(1, 2, lambda envelopes: False)
    assert await gather(lonely) == Answers({}, (0, 1))
    lonely.receive(bus.encode_members([0, 1]))
    lonely.publish("t", b"")
    lonely.answer("t", lambda payload, worker: b"own")
    assert await gather(lonely) == Answers({1: b"own"}, (0,))
    lonely.receive(next(bus.pack(bus.QUESTION, 0, 7, "t")))
    await asyncio.gather(*lonely._answering)


async def test_who_is_there_is_told() -> None:
    changes: list[frozenset[int]] = []
    parent = Parent(3)
    first = parent.workers[0]
    first.on_peers.append(lambda: changes.append(first.peers))
    parent.bury(2)
    parent.bury(1)
    assert changes == [{1}, frozenset()] and first.count == 3 and not first._incomplete.keys() - {EVERYBODY}


@given(st.binary(max_size=200))
def test_any_bytes_are_taken(data: bytes) -> None:
    worker = Bus(fail)
    for kind in (b"", b"j", b"m", b"p", b"a", b"d", b"?"):
        worker.receive(kind + data)


@given(
    st.sampled_from([b"p", b"q", b"z"]),
    st.integers(0, 0xFFFF),
    st.integers(0, 2**32 - 1),
    st.text(st.characters(max_codepoint=127), max_size=bus.MAX_TOPIC),
    st.integers(0, 2 * PIECE),
)
def test_an_envelope_is_read_as_it_was_written(kind: bytes, worker: int, number: int, topic: str, size: int) -> None:
    payload = os.urandom(size)
    pieces = [bus.unpack(data) for data in bus.pack(kind, worker, number, topic, payload)]
    assert b"".join(piece.payload for piece in pieces if piece) == payload
    for index, piece in enumerate(pieces):
        assert piece is not None and piece[:4] == (kind, worker, number, index) and piece.topic == topic
        assert piece.is_last == (index == len(pieces) - 1) and len(piece.payload) <= PIECE
    first = next(bus.pack(kind, worker, number, topic, payload))
    copy = bus.unpack(bus.readdress(first, 9))
    assert copy is not None and pieces[0] is not None and copy == pieces[0]._replace(worker=9)
