"""Reasoning details that come in pieces: how they merge, and how much is kept."""

from __future__ import annotations

import orjson
import pytest

from a2py.messages.reply import Reply
from a2py.messages.types import Prepared
from a2py.wires.chat import pieces
from a2py.wires.chat.stream import ChatDecoder

REQUEST = Prepared("http://x", {}, b"", True)


def test_details_merge_field_by_field() -> None:
    lines = [
        {"type": "reasoning.text", "index": 0, "text": "a", "signature": None},
        {"type": "reasoning.text", "index": 0, "text": "b", "signature": "s"},
        {"type": "reasoning.text", "index": 0, "text": None, "signature": None},
        {"type": "reasoning.text", "index": 1, "text": "c"},
    ]
    body = b"".join(
        b"data: " + orjson.dumps({"choices": [{"delta": {"reasoning_details": [line]}}]}) + b"\n\n" for line in lines
    )
    reply = Reply("msg_1", "m")
    decoder = ChatDecoder(REQUEST, reply)
    decoder.feed(body)
    assert decoder._output.details.take() == [
        {"type": "reasoning.text", "index": 0, "text": "ab", "signature": "s"},
        {"type": "reasoning.text", "index": 1, "text": "c"},
    ]


def test_details_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LIMIT", 1000)
    decoder = ChatDecoder(REQUEST, Reply("msg_1", "m"))
    decoder.feed(b'data: {"choices":[{"delta":{"reasoning_details":[{"text":"abc"}, 5]}}]}\n\n' * 14)
    assert not decoder.is_finished
    decoder.feed(b'data: {"choices":[{"delta":{"reasoning_details":[{"text":"abc"}]}}]}\n\n')
    error = decoder.close().error
    assert error is not None and "reasoning details" in error.message
