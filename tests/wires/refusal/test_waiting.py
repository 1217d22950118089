"""How long an upstream asks to wait: headers, sentences, bodies."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.errors import ApiError
from a2py.wires import failure
from a2py.wires.refusal import waiting
from a2py.wires.refusal.body import ErrorBody
from a2py.wires.refusal.peer import Peer


def of(value: Any, status: int = 400, headers: dict[str, str] | None = None, **peer: Any) -> ApiError:
    return failure.read(status, headers or {}, orjson.dumps(value), Peer(**peer))


NOW = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "999999999"}, waiting.LONGEST),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "2s"}, 2),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT"}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT", "date": NOW}, 30),
        ({"retry-after": "Sun, 06 Nov 1994 08:00:00 GMT", "date": NOW}, 0),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 -0000", "date": NOW}, 30),
        ({"retry-after": "Sun, 06 Nov 9999999 08:50:07 GMT", "date": NOW}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT", "date": "yesterday"}, None),
        ({"x-ratelimit-reset": "1"}, 1),
        ({"ratelimit-reset": "12"}, 12),
        ({"x-ratelimit-reset": "1m30s"}, 90),
        ({"x-ratelimit-reset": "784111787"}, None),
        ({"x-ratelimit-reset": "1754667660000"}, None),
        ({"x-ratelimit-reset": "1754667660000", "date": "Fri, 08 Aug 2025 15:40:00 GMT"}, 60),
        ({"x-ratelimit-reset": "1754667660", "date": "Fri, 08 Aug 2025 15:40:00 GMT"}, 60),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s"}, None),
        ({"x-ratelimit-remaining-tokens": "0"}, None),
        (
            {
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "250ms",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "2s",
            },
            2,
        ),
    ],
)
def test_waiting_from_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert waiting.seconds(headers, ErrorBody()) == seconds
    error = failure.read(429, {name.title(): value for name, value in headers.items()}, b"")
    assert error.retry_after == seconds
    assert ("retry-after" in error.headers()) is (seconds is not None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 7m12.5s.", 432.5),
        ("Please try again in 350ms.", 0.35),
        ("Please retry after 20 seconds.", 20),
        ("Retry starting from ~1s (X-RateLimit-Reset header)", 1),
        ("retry-after: 5 s", 5),
        ("try your request again in 2 minutes", 120),
        ("try again in 1 hour", 3600),
        ("try again in 500 milliseconds", 0.5),
        ("try again in 1d", 86400),
        ("Please try again later.", None),
        ("limited to 10s of requests", None),
    ],
)
def test_waiting_from_sentences(text: str, seconds: float | None) -> None:
    error_body = ErrorBody()
    error_body.add_sentence(text)
    assert waiting.seconds({}, error_body) == pytest.approx(seconds)


def test_waiting_from_the_body() -> None:
    info = [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "34.07s"}]}}]
    assert of(info, 429).retry_after == 34.07
    reset = {
        "error": {"message": "Rate limit exceeded", "metadata": {"headers": {"X-RateLimit-Reset": "1754667660000"}}}
    }
    assert of(reset, 429).retry_after is None
    assert of(reset, 429, {"date": "Fri, 08 Aug 2025 15:40:00 GMT"}).retry_after == 60
    assert of({"error": {"metadata": {"headers": {"x": "y"}}}}, 429).retry_after is None
    assert of({"error": {"metadata": {"headers": ["x"]}}}, 429).retry_after is None


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"message": "cooling down", "code": "model_cooldown", "reset_seconds": 1768, "reset_time": "29m28s"}, 1768),
        ({"message": "cooling down", "reset_time": "29m28s"}, 1768),
        ({"message": "cooling down", "reset_time": "2026-11-29T21:00:00Z"}, None),
        ({"message": "Rate limited", "retry_after": 30}, 30),
        ({"message": "Rate limited", "retry_after": "2.5"}, 2.5),
        ({"message": "Rate limited", "retry_after": "20s"}, 20),
        ({"message": "Rate limited", "retry_after": "soon"}, None),
        ({"message": "Rate limited", "retry_after": True}, None),
        ({"message": "Rate limited", "retry_after": -1}, None),
        ({"message": "Rate limited", "retry_after": 1e30}, waiting.LONGEST),
        ({"message": "Rate limited", "retry_after_ms": 1500}, 1.5),
        ({"message": "Rate limited", "details": {"retryAfter": 3}}, 3),
        ({"message": "The usage limit has been reached", "resets_in_seconds": 90}, 90),
    ],
)
def test_waiting_from_members(error: dict[str, Any], seconds: float | None) -> None:
    assert of({"error": error}, 429).retry_after == seconds
    assert of({"error": error, "retry_after": 1}, 429, {"retry-after": "5"}).retry_after == 5
    inside = failure.find_error({"error": {**error, "code": 429}})
    assert inside is not None and inside.retry_after == seconds
