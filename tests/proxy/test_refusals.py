"""No question that was refused is asked again."""

from __future__ import annotations

from dataclasses import replace

from a2py.errors import ApiError
from a2py.messages.sent import SentBody
from a2py.messages.types import Prepared
from a2py.proxy.refusals import Refusals
from tests.proxied import deployment

ONE = deployment("http://x/v1")
ERROR = ApiError("unsupported", "no")


def question(body: bytes = b"{}", url: str = "http://x/v1/chat/completions") -> Prepared:
    return Prepared(url, {}, body, False)


def sent_question(body: bytes = b"{}") -> Prepared:
    return question(body)._replace(body=b"", sent_body=SentBody(body))


def test_the_same_question_has_its_answer() -> None:
    refusals = Refusals()
    assert refusals.find(ONE, question()) is None and refusals.find(ONE, None) is None
    refusals.note(ONE, sent_question(), ERROR)
    assert refusals.find(ONE, question()) is ERROR
    assert refusals.find(replace(ONE, id="another"), question()) is ERROR, "it is the same server and the same key"


def test_another_question_has_none() -> None:
    refusals = Refusals()
    refusals.note(ONE, sent_question(), ERROR)
    assert refusals.find(ONE, question(b'{"a": 1}')) is None
    assert refusals.find(ONE, question(url="http://y/v1/chat/completions")) is None
    assert refusals.find(replace(ONE, key="sk-other"), question()) is None
    assert refusals.find(ONE, None) is None


def test_what_was_not_sent_was_not_refused() -> None:
    refusals = Refusals()
    refusals.note(ONE, question(), ERROR)
    refusals.note(ONE, None, ERROR)
    assert refusals.find(ONE, question()) is None
