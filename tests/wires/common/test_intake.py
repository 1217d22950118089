"""Limits of an upstream's body and of one event, and how a decoder ends."""

from __future__ import annotations

import pytest

from a2py.messages.reply import Reply
from a2py.messages.types import JSON, Outcome, Prepared, Usage
from a2py.wires import wire
from a2py.wires.chat.stream import ChatDecoder
from a2py.wires.common import intake
from a2py.wires.common.intake import Intake
from tests import streams

REQUEST = Prepared("http://x", {}, b"", True)


def decode(data: bytes, request: Prepared = REQUEST) -> tuple[Outcome, JSON]:
    reply = Reply("msg_1", "m")
    decoder = ChatDecoder(request, reply)
    decoder.feed(data)
    outcome = decoder.close()
    assert decoder.close() is outcome
    return outcome, {} if outcome.error else reply.message(outcome, Usage())


def test_a_json_body_and_an_event_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BODY_LIMIT", 10)
    outcome, _ = decode(b'{"choices": [1, 2, 3]}')
    assert outcome.error is not None and "larger than" in outcome.error.message
    monkeypatch.setattr("a2py.sse.LINE_LIMIT", 10)
    outcome, _ = decode(b"data: " + b"x" * 20)
    assert outcome.error is not None and "larger than" in outcome.error.message


@pytest.mark.parametrize(
    "body", [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n', b'{"choices":[]}', b"<html>", b""]
)
def test_a_decoder_ends_once(body: bytes) -> None:
    decoder = wire("chat").decoder(streams.upstream_request(), streams.writer())
    decoder.feed(body)
    outcome = decoder.close()
    decoder.feed(body)
    assert decoder.close() is outcome


@pytest.mark.parametrize(("name", "arguments"), [("_events", [[]]), ("whole", [b""]), ("_end", [])])
def test_an_intake_means_nothing_by_itself(name: str, arguments: list[object]) -> None:
    with pytest.raises(NotImplementedError):
        getattr(Intake(streams.upstream_request()), name)(*arguments)
