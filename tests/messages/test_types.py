"""Usage is added up and written as Anthropic writes it; the repr of a Call hides the client's headers."""

from __future__ import annotations

import pytest
from anthropic.types import Usage as SdkUsage

from a2py.errors import ApiError
from a2py.messages.request import parse
from a2py.messages.types import Call, Outcome, Prepared, Usage


def test_what_a_usage_says_of_itself() -> None:
    assert Usage(input=1, cache_read=20, cache_creation=300, output=5000).prompt == 321
    assert Usage(1, 2, 3, 4).by_direction() == [("input", 1), ("cached", 3), ("cache_write", 4), ("output", 2)]
    assert Usage(output=5).by_direction() == [("output", 5)]
    assert Usage().is_empty and Usage(thinking=1, web_searches=1).is_empty
    assert not any(Usage(**{name: 1}).is_empty for name in ("input", "output", "cache_read", "cache_creation"))


def test_usage_adds_field_by_field() -> None:
    assert Usage(1, 2, 3, 4, 5, 6, 7) + Usage(10, 20, 30, 40, 50, 60, 70) == Usage(11, 22, 33, 44, 55, 66, 77)
    assert Usage() + Usage() == Usage()


@pytest.mark.parametrize(
    ("usage", "extra"),
    [
        (Usage(7, 5), {}),
        (Usage(7, 5, 3, 2), {}),
        (Usage(7, 5, thinking=4), {"output_tokens_details": {"thinking_tokens": 4}}),
        (Usage(7, 5, web_searches=2), {"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0}}),
    ],
)
def test_the_sdk_takes_the_usage(usage: Usage, extra: dict[str, object]) -> None:
    body = usage.body()
    SdkUsage.model_validate(body, strict=True)
    assert body == {
        "input_tokens": 7,
        "cache_creation_input_tokens": usage.cache_creation,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": 5,
        **extra,
    }


@pytest.mark.parametrize("input", [0, -5])
def test_input_is_at_least_one(input: int) -> None:
    assert Usage(input, 5, cache_read=50_000).body()["input_tokens"] == 1


def test_outcomes_share_no_notes() -> None:
    Outcome().notes.append("x")
    assert Outcome().notes == []


def test_defaults_of_a_prepared_request() -> None:
    request = Prepared("http://x", {}, b"{}", True)
    assert (dict(request.names), request.stops, request.degraded, request.added_fields) == ({}, (), (), frozenset())


def test_a_call_does_not_show_headers() -> None:
    request = parse(b'{"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}')
    call = Call(request, "msg_1", 0.0, client_headers={"x-api-key": "sk-secret"})
    assert "sk-secret" not in repr(call)


@pytest.mark.parametrize(
    ("usage", "final"),
    [
        (None, Usage(input=40, output=9)),
        (Usage(output=5), Usage(input=40, output=5)),
        (Usage(output=5, thinking=2), Usage(input=40, output=5, thinking=2)),
        (Usage(7, 5), Usage(7, 5)),
        (Usage(0, 5, cache_read=3), Usage(0, 5, cache_read=3)),
        (Usage(0, 5, cache_creation=3), Usage(0, 5, cache_creation=3)),
    ],
)
def test_what_was_not_reported_is_estimated(usage: Usage | None, final: Usage) -> None:
    outcome = Outcome(usage=usage, output_estimate=9)
    assert outcome.final_usage(Usage(input=40, output=1)) == final
    assert outcome.usage == usage


def test_a_prepared_request_shows_no_query() -> None:
    assert repr(Prepared("https://host/v1?key=sk-1234", {"authorization": "sk-5678"}, b"body", True)) == (
        "Prepared('https://host/v1', 4 bytes, stream=True)"
    )


FULL = Usage(input=10, output=5, cache_read=3, cache_creation=2, thinking=1, web_searches=1, cache_hour=2)


@pytest.mark.parametrize(
    ("outcome", "is_complete", "usage", "is_estimated"),
    [
        (Outcome(usage=FULL, output_estimate=90), True, FULL, False),
        (Outcome(usage=FULL, is_estimated=True), True, FULL, True),
        (Outcome(output_estimate=90), True, Usage(input=700, output=90), True),
        (Outcome(usage=Usage(output=5), output_estimate=90), True, Usage(input=700, output=5), True),
        (Outcome(usage=Usage(input=10), output_estimate=0), True, Usage(input=10), False),
        (Outcome(output_estimate=90), False, Usage(input=700, output=90), True),
        (Outcome(output_estimate=1, error=ApiError("upstream", "cut")), False, Usage(), True),
        (Outcome(usage=Usage(input=10, output=1), output_estimate=90), False, Usage(input=10, output=90), True),
        (Outcome(usage=FULL, output_estimate=4), False, FULL, True),
    ],
)
def test_what_was_reported_stands_and_the_rest_is_estimated(
    outcome: Outcome, is_complete: bool, usage: Usage, is_estimated: bool
) -> None:
    assert outcome.measure(700, is_complete) == (usage, is_estimated)
