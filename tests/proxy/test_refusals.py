"""No question that was refused is asked again."""

from __future__ import annotations

from dataclasses import replace

from a2py.errors import ApiError
from a2py.messages.sent import Sent
from a2py.messages.types import Prepared
from a2py.proxy.refusals import Refusals
from tests.proxied import deployment

ONE = deployment("http://x/v1")
ERROR = ApiError("unsupported", "no")


def question(body: bytes = b"{}", url: str = "http://x/v1/chat/completions") -> Prepared:
    return Prepared(url, {}, body, False)


def asked(body: bytes = b"{}") -> Prepared:
    return question(body)._replace(body=b"", sent=Sent(body))


def test_the_same_question_has_its_answer() -> None:
    refused = Refusals()
    assert refused.find(ONE, question()) is None and refused.find(ONE, None) is None
    refused.note(ONE, asked(), ERROR)
    assert refused.find(ONE, question()) is ERROR
    assert refused.find(replace(ONE, id="another"), question()) is ERROR, "it is the same server and the same key"


def test_another_question_has_none() -> None:
    refused = Refusals()
    refused.note(ONE, asked(), ERROR)
    assert refused.find(ONE, question(b'{"a": 1}')) is None
    assert refused.find(ONE, question(url="http://y/v1/chat/completions")) is None
    assert refused.find(replace(ONE, key="sk-other"), question()) is None
    assert refused.find(ONE, None) is None


def test_what_was_not_sent_was_not_refused() -> None:
    refused = Refusals()
    refused.note(ONE, question(), ERROR)
    refused.note(ONE, None, ERROR)
    assert refused.find(ONE, question()) is None
