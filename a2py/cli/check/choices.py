"""The probes of `a2py check` that force a tool, or forbid all.

A model that calls the tool of its own accord would make a server that ignores `tool_choice` look obedient. So the force
is asked for where nothing calls for a tool, and what worked is asked once more without the force.

Knows: the forms of `tool_choice`, and their quirks. Must not know: HTTP, how a result is printed.
Invariants: a quirk is found only if its force has changed what the model does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from a2py.cli.check.bench import Answer, Bench
from a2py.cli.check.finding import FOUND, NO, OK, REFUSING, Finding, Progress, first_that, make_failure, others, user


def tool(name: str, argument: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return {"name": name, "description": f"{name.replace('_', ' ')} of a {argument}", "input_schema": schema}


WEATHER, TIME = tool("get_weather", "city"), tool("get_time", "city")
ASK_WEATHER = "What is the weather in Paris? Use the get_weather tool."
#: A question that no tool helps with.
ASK_HELLO = "Say hello"


async def choice_any(bench: Bench, progress: Progress) -> Finding:
    body = user(ASK_HELLO, tools=[WEATHER], tool_choice={"type": "any"})
    return await _force(
        bench,
        body,
        lambda answer: bool(answer.calls),
        ("tool_choice_any", ("required", "any"), ""),
        "a client that forces a tool (structured output, some SDK programs) may get words",
    )


async def choice_named(bench: Bench, progress: Progress) -> Finding:
    body = user(ASK_HELLO, tools=[WEATHER, TIME], tool_choice={"type": "tool", "name": "get_time"})
    return await _force(
        bench,
        body,
        lambda answer: bool(answer.calls) and all(name == "get_time" for name, _ in answer.calls),
        ("tool_choice_named", ("object", "only"), "none"),
        "a client that names one tool may get another, or words",
    )


async def _force(
    bench: Bench,
    body: dict[str, Any],
    works: Callable[[Answer], bool],
    knob: tuple[str, tuple[str, ...], str],
    advice: str,
) -> Finding:
    """Force a call. `knob`: the quirk, its values that force, and the one that does not."""
    name, words, none = knob
    quirks, answer = await first_that(bench, body, works, *others(bench, name, *words))
    if quirks is not None:
        return await _compare(bench, body, works, name, quirks)
    if answer.error is None:
        return Finding(NO, "not obeyed", advice)
    if answer.error.kind not in REFUSING:
        return make_failure(answer.error)
    retry = await bench.ask(body, quirks={name: none})
    return Finding(NO, f"refused: {answer.error.message}", "", {} if retry.error else {name: none})


async def _compare(
    bench: Bench, body: dict[str, Any], works: Callable[[Answer], bool], name: str, quirks: Mapping[str, Any]
) -> Finding:
    """Ask again without the force. If the answer `works` as well, the force has shown nothing."""
    free = {field: value for field, value in body.items() if field != "tool_choice"}
    answer = await bench.ask(free, quirks=quirks)
    if answer.error is None and works(answer):
        return Finding(NO, "not known: the model calls the tool anyway", "a stronger model shows more")
    by = f" by {json.dumps(quirks[name])}" if quirks else ""
    return Finding(FOUND if quirks else OK, f"forced{by}", "", quirks)


async def choice_none(bench: Bench, progress: Progress) -> Finding:
    """Ask the question that the tools probe saw answered by a call."""
    body = user(ASK_WEATHER, tools=[WEATHER], tool_choice={"type": "none"})
    quirks, answer = await first_that(
        bench, body, lambda answer: not answer.calls, *others(bench, "tool_choice_none", False)
    )
    if quirks is not None and not quirks and progress.findings["tools"].state == NO:
        return Finding(NO, "not known: the model calls no tool anyway", "a stronger model shows more")
    if quirks is not None:
        return Finding(
            FOUND if quirks else OK, "no call, once the tools are left out" if quirks else "no call", "", quirks
        )
    return make_failure(answer.error) if answer.error else Finding(NO, "calls a tool nevertheless")
