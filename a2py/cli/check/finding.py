"""What a probe of `a2py check` returns, and how probes ask.

Knows: which errors reject the form of a request. Must not know: any single probe, HTTP, how a result is printed.
Invariants: the deployment's own quirks are tried first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from a2py.cli.check.bench import Answer, Bench
from a2py.cli.facts import Facts
from a2py.errors import ApiError

#: States of a finding. OK: it works. FOUND: it works with other quirks than the deployment has. NO: it does not work,
#: which is harmless. FAIL: it is broken. SKIPPED: it was not asked.
OK, FOUND, NO, FAIL, SKIPPED = "ok", "found", "no", "fail", "-"
#: Error kinds that reject this form of the request, so that another form is worth a try. Any other error ends the
#: probe.
REFUSING = frozenset(
    ("invalid_request", "unsupported", "image", "document", "max_tokens", "not_found", "api", "upstream")
)


class Finding(NamedTuple):
    state: str
    what: str
    advice: str = ""
    quirks: Mapping[str, Any] = {}


@dataclass
class Progress:
    """What the probes of a deployment have learned so far."""

    findings: dict[str, Finding] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    stream: Answer | None = None
    quirks: dict[str, Any] = field(default_factory=dict)


Ask = Callable[[Bench, Progress], Awaitable[Finding]]


class Probe(NamedTuple):
    """`title`: what it asks, for the report. `needs`: probes that must have worked before."""

    title: str
    ask: Ask
    needs: tuple[str, ...] = ("reach",)


#: Error kind → what to do about it.
ADVICE = {
    "authentication": "a2py config show says whether a key is set",
    "billing": "the account has no credit: top it up, or serve another provider",
    "permission": "the key may not use this model: choose another key or model",
    "not_found": (
        "the server has no such model, or another path: compare the name with its models list, and "
        "api_base with its documentation"
    ),
    "rate_limit": "the provider's limit is used up: wait, or spread the load over several deployments of one name",
    "timeout": "the server is too slow or hangs: look at its log; a local model may just have been loading, ask again",
    "upstream": "no HTTP server answers there: is it running, and is api_base right (host, port, /v1)?",
    "overloaded": "the server has no room: ask again later",
}


def make_failure(error: ApiError, quirks: Mapping[str, Any] | None = None) -> Finding:
    has_advice = "api_base" in error.message  # a failed connection already says what to check
    return Finding(
        FAIL, f"{error.status}: {error.message}", "" if has_advice else ADVICE.get(error.kind, ""), quirks or {}
    )


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 300, **more}


async def first_that(
    bench: Bench,
    body: dict[str, Any],
    works: Callable[[Answer], bool],
    *candidates: Mapping[str, Any],
    stream: bool = False,
) -> tuple[Mapping[str, Any] | None, Answer]:
    """Return the first set of quirks with which the answer `works`, and that answer; else None and the first answer.

    The deployment's own quirks come first."""
    first: Answer | None = None
    for quirks in ({}, *candidates):
        answer = await bench.ask(body, stream=stream, quirks=quirks)
        if answer.error is None and works(answer):
            return quirks, answer
        first = first or answer
        if answer.error is not None and answer.error.kind not in REFUSING:
            break
    assert first is not None
    return None, first


def others(bench: Bench, knob: str, *values: Any) -> tuple[dict[str, Any], ...]:
    return tuple({knob: value} for value in values if value != getattr(bench.dep.quirks, knob))
