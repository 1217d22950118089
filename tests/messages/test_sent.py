"""A request that was sent, and what a search in it may cost."""

from __future__ import annotations

import orjson

from a2py.messages.sent import BUDGET, NOTHING, SEARCHES, SentBody
from a2py.wires.refusal.echo import without_echo

CAP = "max_tokens must be less than or equal to 1"


def make_request(*texts: str, **more: object) -> SentBody:
    """A request whose messages have these texts."""
    return SentBody(
        orjson.dumps(
            {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": text} for text in texts], **more}
        )
    )


class CountingBytes(bytes):
    """A body that counts how often, and how much of it, was searched."""

    searches = 0

    def find(self, *args: object) -> int:
        self.searches += 1
        return super().find(*args)  # type: ignore[arg-type]


def test_a_large_request_is_searched_once() -> None:
    """What can't be looked up any more counts as the client's: too little is believed rather than too much."""
    body = CountingBytes(b"x" * (32 * 1024 * 1024 - 100) + CAP.encode())
    request = SentBody(body)
    sentence = "; ".join(f"'number {n} of them'" for n in range(50))
    message = without_echo(sentence, request)
    assert body.searches == 1
    assert message.startswith("'number 0 of them'; '…'; ") and message.endswith("; '…'")
    assert SentBody(b"x" * (BUDGET + 1)).holds(b"y")


def test_a_long_error_asks_for_a_limited_number_of_searches() -> None:
    body = CountingBytes(orjson.dumps({"messages": [{"content": "word " * 100}]}))
    request = SentBody(body)
    without_echo("; ".join(f"'number {n} of them'" for n in range(1000)), request)
    assert body.searches == SEARCHES
    assert request.holds(b"anything")


def test_no_more_is_read_than_up_to_the_place() -> None:
    request = SentBody(CAP.encode() + b" " * (BUDGET // 2))
    for _ in range(SEARCHES):
        assert request.holds(CAP.encode())
    assert request.holds(b"not there"), "not searched any more"
    assert not request.holds(CAP.encode(), default=False)


def test_a_forgotten_request_holds_nothing() -> None:
    request = make_request(CAP)
    assert request and request.holds(CAP.encode())
    request.forget()
    assert not request and not request.holds(CAP.encode()) and without_echo(f"'{CAP}'", request) == f"'{CAP}'"
    NOTHING.forget()
    assert not NOTHING


def test_the_same_request_has_the_same_digest_and_another_one_has_another() -> None:
    assert make_request("a").digest() == make_request("a").digest() != make_request("b").digest()
