"""The headers by which an upstream tells how much of its limits is left.

Knows: their names. Must not know: what a client does with them.
Invariants: no other header of an upstream reaches a client; number and size are bounded.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Starts of the names: Anthropic's, OpenAI's, the IETF's.
PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-", "ratelimit-")
#: How many headers are passed, and characters of a name or a value.
COUNT, LENGTH = 32, 200


def rate_limits(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers about rate limits, with names in lower case."""
    matches = {
        name.lower(): value
        for name, value in headers.items()
        if name.lower().startswith(PREFIXES) and len(name) + len(value) <= LENGTH and (name + value).isascii()
    }
    return {name: matches[name] for name in list(matches)[:COUNT] if matches[name].isprintable()}
