"""Which headers of an upstream reach a client."""

from __future__ import annotations

from a2py.wires.common.ratelimits import COUNT, LENGTH, rate_limits


def test_only_short_printable_headers_about_limits_are_passed() -> None:
    headers = {
        "Anthropic-RateLimit-Requests-Limit": "50",
        "x-ratelimit-remaining-tokens": "7",
        "ratelimit": "limit=10",
        "RateLimit-Reset": "3",
        "x-request-id": "secret",
        "x-ratelimit-long": "x" * LENGTH,
        "x-ratelimit-foreign": "\u20ac",
        "x-ratelimit-broken": "1\r\nset-cookie: a",
    }
    assert rate_limits(headers) == {
        "anthropic-ratelimit-requests-limit": "50",
        "x-ratelimit-remaining-tokens": "7",
        "ratelimit-reset": "3",
    }


def test_their_number_is_bounded() -> None:
    assert len(rate_limits({f"x-ratelimit-{n}": "1" for n in range(2 * COUNT)})) == COUNT
