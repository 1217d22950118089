"""The questions that `a2py check` asks of a model, one row each, and what an answer means.

Knows: what Claude Code needs of an upstream, and which quirk each answer speaks of. Must not know: HTTP, files, how a result is shown.
Invariants: a probe asks at most a handful of tiny requests; a finding with quirks was seen to work with exactly these quirks; an answer
that is only unlikely (a small model that talks instead of calling) never becomes a quirk.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from a2py.cli.check.bench import Bench, Told
from a2py.cli.check.facts import Facts, gather
from a2py.errors import ApiError

#: States of a finding: works; works, but with other quirks than it has; does not, and that is no harm; is broken; was not asked.
OK, FOUND, NO, FAIL, SKIPPED = "ok", "found", "no", "fail", "-"
#: Kinds that say "not this", so that another way may be tried; any other failure ends the probe.
REFUSING = frozenset(("invalid_request", "unsupported", "image", "document", "max_tokens", "not_found", "api", "upstream"))
#: Seconds from which an answer in one piece says something: a faster server fills a read with all of it.
SLOW = 0.5
#: Claude Code's first request has some 15,000 tokens of prompt and tools (2.1.330, -p, the demo's count, 2026-11); room to work comes on top.
SMALL_CONTEXT = 32_768


class Finding(NamedTuple):
    state: str
    what: str
    advice: str = ""
    quirks: Mapping[str, Any] = {}


@dataclass
class Seen:
    """What earlier probes of this deployment have learned."""

    findings: dict[str, Finding] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    stream: Told | None = None
    quirks: dict[str, Any] = field(default_factory=dict)


Ask = Callable[[Bench, Seen], Awaitable[Finding]]


class Probe(NamedTuple):
    """`needs`: probes that must have worked before; `title`: what it asks, for the report."""

    title: str
    ask: Ask
    needs: tuple[str, ...] = ("reach",)


#: Error kind → what to do.
ADVICE = {
    "authentication": "set the right key in the variable that the configuration names (a2py config show says whether one is set)",
    "billing": "the account has no credit: top it up, or serve another provider",
    "permission": "the key may not use this model: choose another key or model",
    "not_found": "the server has no such model, or another path: compare the name with its models list, and api_base with its documentation",
    "rate_limit": "the provider's limit is used up: wait, or spread the load over several deployments of one name",
    "timeout": "the server is too slow or hangs: look at its log; a local model may just have been loading, ask again",
    "upstream": "nobody answers in HTTP there: is the server running, and is api_base right (host, port, /v1)?",
    "overloaded": "the server has no room: ask again later",
}


def refused(error: ApiError, quirks: Mapping[str, Any] | None = None) -> Finding:
    return Finding(FAIL, f"{error.status}: {error.message}", ADVICE.get(error.kind, ""), quirks or {})


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 300, **more}


def tool(name: str, argument: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return {"name": name, "description": f"{name.replace('_', ' ')} of a {argument}", "input_schema": schema}


WEATHER, TIME = tool("get_weather", "city"), tool("get_time", "city")
ASK_WEATHER = "What is the weather in Paris? Use the get_weather tool."


async def first_that(
    bench: Bench, body: dict[str, Any], works: Callable[[Told], bool], *candidates: Mapping[str, Any], stream: bool = False
) -> tuple[Mapping[str, Any] | None, Told]:
    """The first set of quirks with which the answer is right (the deployment's own come first), with that answer; else None, and the first
    answer."""
    first: Told | None = None
    for quirks in ({}, *candidates):
        told = await bench.ask(body, stream=stream, quirks=quirks)
        if told.error is None and works(told):
            return quirks, told
        first = first or told
        if told.error is not None and told.error.kind not in REFUSING:
            break
    assert first is not None
    return None, first


def others(bench: Bench, knob: str, *values: Any) -> tuple[dict[str, Any], ...]:
    return tuple({knob: value} for value in values if value != getattr(bench.dep.quirks, knob))


# -- the probes ----------------------------------------------------------------------------------------------------------


async def reach(bench: Bench, seen: Seen) -> Finding:
    """One word, not streamed; where the field of the output limit is refused, the other one."""
    candidates = others(bench, "max_tokens_field", "max_completion_tokens", "max_tokens")
    quirks, told = await first_that(bench, user("Say hello"), lambda told: True, *candidates)
    if quirks is None:
        assert told.error is not None
        return refused(told.error)
    what = f"answers in {told.took:.1f} s"
    return Finding(FOUND if quirks else OK, what, "", quirks)


async def models(bench: Bench, seen: Seen) -> Finding:
    seen.facts = facts = await gather(bench.upstream, bench.dep)
    if facts.status != 200 or not facts.names:
        return Finding(NO, "no models list", "")
    if bench.dep.model in facts.names or f"{bench.dep.model}:latest" in facts.names:
        return Finding(OK, f"in a list of {len(facts.names)}")
    from difflib import get_close_matches

    near = get_close_matches(bench.dep.model, facts.names, 1, 0.6)
    hint = f"did you mean {near[0]}?" if near else f"it lists: {', '.join(facts.names[:5])}{' …' if len(facts.names) > 5 else ''}"
    return Finding(NO, f"{bench.dep.model} is not among the {len(facts.names)} that it lists", hint)


async def streaming(bench: Bench, seen: Seen) -> Finding:
    candidates = others(bench, "stream_usage", False)
    quirks, told = await first_that(bench, user("Count from 1 to 30."), lambda told: True, *candidates, stream=True)
    if quirks is None:
        assert told.error is not None
        return refused(told.error)
    seen.stream = told
    many = told.usage is None or told.usage.output >= 20
    if len(told.pieces) <= 2 and many and told.took >= SLOW:
        why = "something between buffers (nginx: proxy_buffering off; a load balancer), or the server does not stream"
        return Finding(NO, f"all at once after {told.took:.1f} s", why, quirks)
    first = told.pieces[0] if told.pieces else told.took
    return Finding(FOUND if quirks else OK, f"first piece after {first:.2f} s, {len(told.pieces)} pieces", "", quirks)


async def usage(bench: Bench, seen: Seen) -> Finding:
    told = seen.stream
    if told is not None and told.usage_told and told.usage is not None:
        return Finding(OK, f"{told.usage.input + told.usage.cache_read} tokens in, {told.usage.output} out")
    for quirks in others(bench, "stream_usage", True):
        told = await bench.ask(user("Say hello"), stream=True, quirks=quirks)
        if told.error is None and told.usage_told:
            return Finding(FOUND, "counted when it is asked to", "", quirks)
    return Finding(NO, "streams carry no token counts", "a2py estimates; Claude Code compacts later or earlier than it should")


async def tools(bench: Bench, seen: Seen) -> Finding:
    told = await bench.ask(user(ASK_WEATHER, tools=[WEATHER]), stream=True)
    if told.error is not None:
        if told.error.kind not in REFUSING:
            return refused(told.error)
        without = await bench.ask(user(ASK_WEATHER, tools=[WEATHER]), stream=True, quirks={"tools": False})
        advice = "Claude Code needs tools: serve another model (vLLM: --enable-auto-tool-choice --tool-call-parser …; llama.cpp: --jinja)"
        return Finding(FAIL, f"refused: {told.error.message}", advice, {} if without.error else {"tools": False})
    if not told.calls:
        return Finding(
            NO, "answers in words instead of calling", "the model is too weak for an agent, or the server's tool parser does not fit it"
        )
    name, given = told.calls[0]
    if name != "get_weather" or "__unparsedToolInput" in given:
        return Finding(NO, f"calls {name} with broken arguments", "the server's tool parser does not fit the model")
    return Finding(OK, f"calls {name}({json.dumps(given, ensure_ascii=False)})")


async def results(bench: Bench, seen: Seen) -> Finding:
    history = [
        {"role": "user", "content": ASK_WEATHER},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "18 °C, sunny"}]},
    ]
    told = await bench.ask({"messages": history, "tools": [WEATHER]}, stream=True)
    if told.error is not None:
        return refused(told.error)
    return Finding(OK, "goes on after a tool's answer" if told.text else "goes on after a tool's answer, without words")


async def parallel(bench: Bench, seen: Seen) -> Finding:
    question = "What is the weather in Paris and in London? Call the get_weather tool for both at once."
    told = await bench.ask(user(question, tools=[WEATHER]), stream=True)
    if told.error is not None:
        return refused(told.error)
    return Finding(OK, f"{len(told.calls)} calls in one answer") if len(told.calls) > 1 else Finding(NO, "one call at a time")


async def choice_any(bench: Bench, seen: Seen) -> Finding:
    body = user("Say hello", tools=[WEATHER], tool_choice={"type": "any"})
    candidates = others(bench, "tool_choice_any", "required", "any")
    quirks, told = await first_that(bench, body, lambda told: bool(told.calls), *candidates)
    if quirks is not None:
        return Finding(FOUND if quirks else OK, "forced" + (f" by {json.dumps(quirks['tool_choice_any'])}" if quirks else ""), "", quirks)
    if told.error is None:
        return Finding(NO, "not obeyed", "a client that forces a tool (structured output, some SDK programs) may get words")
    if told.error.kind not in REFUSING:
        return refused(told.error)
    dropped = await bench.ask(body, quirks={"tool_choice_any": ""})
    return Finding(NO, f"refused: {told.error.message}", "", {} if dropped.error else {"tool_choice_any": ""})


async def choice_named(bench: Bench, seen: Seen) -> Finding:
    body = user(ASK_WEATHER, tools=[WEATHER, TIME], tool_choice={"type": "tool", "name": "get_time"})

    def works(told: Told) -> bool:
        return bool(told.calls) and all(name == "get_time" for name, _ in told.calls)

    quirks, told = await first_that(bench, body, works, *others(bench, "tool_choice_named", "object", "only"))
    if quirks is not None:
        return Finding(FOUND if quirks else OK, "forced" + (f" by {json.dumps(quirks['tool_choice_named'])}" if quirks else ""), "", quirks)
    if told.error is None:
        return Finding(NO, "not obeyed", "a client that names one tool may get another, or words")
    if told.error.kind not in REFUSING:
        return refused(told.error)
    dropped = await bench.ask(body, quirks={"tool_choice_named": "none"})
    return Finding(NO, f"refused: {told.error.message}", "", {} if dropped.error else {"tool_choice_named": "none"})


async def choice_none(bench: Bench, seen: Seen) -> Finding:
    """The very question that the tools probe has seen answered by a call."""
    body = user(ASK_WEATHER, tools=[WEATHER], tool_choice={"type": "none"})
    quirks, told = await first_that(bench, body, lambda told: not told.calls, *others(bench, "tool_choice_none", False))
    if quirks is not None:
        return Finding(FOUND if quirks else OK, "no call, once the tools are left out" if quirks else "no call", "", quirks)
    return refused(told.error) if told.error else Finding(NO, "calls a tool nevertheless")


def red_png(size: int = 64) -> str:
    """A red square as base64."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress((b"\0" + b"\xff\0\0" * size) * size)
    head = part(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + head + part(b"IDAT", pixels) + part(b"IEND", b"")).decode()


async def images(bench: Bench, seen: Seen) -> Finding:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": red_png()}}
    content = [image, {"type": "text", "text": "What colour is this image? One word."}]
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": 100}
    told = await bench.ask(body, quirks={"images": True})
    configured = bench.dep.quirks.images
    if told.error is None:
        sees = "says that it is red" if "red" in told.text.lower() else "takes them (what it sees is another matter)"
        return Finding(OK if configured else FOUND, sees, "", {} if configured else {"images": True})
    if told.error.kind not in REFUSING:
        return refused(told.error)
    return Finding(NO, "text only: images become a line of text", "", {"images": False} if configured else {})


async def reasoning(bench: Bench, seen: Seen) -> Finding:
    body = user("Think first: what is 17 * 23?", max_tokens=2000, thinking={"type": "enabled", "budget_tokens": 1024})
    told = await bench.ask(body, stream=True)
    if told.error is None and told.joined("thinking"):
        return Finding(OK, f"thinks ({bench.dep.quirks.reasoning}): {len(told.joined('thinking'))} letters")
    if told.error is None and "</think>" in told.text:
        knob = "think_tags" if "<think>" in told.text else "think_open"
        again = await bench.ask(body, stream=True, quirks={knob: True})
        if again.error is None and again.joined("thinking"):
            return Finding(FOUND, "thinks inside its text, in <think> tags", "", {knob: True})
    for quirks in others(bench, "reasoning", "effort", "thinking_type", "enable_thinking", "template", "think", "openrouter"):
        again = await bench.ask(body, stream=True, quirks=quirks)
        if again.error is None and again.joined("thinking"):
            return Finding(FOUND, f"thinks when it is asked by {json.dumps(quirks['reasoning'])}", "", quirks)
        if again.error is not None and again.error.kind not in REFUSING:
            break
    return refused(told.error) if told.error is not None else Finding(NO, "does not show any")


async def small(bench: Bench, seen: Seen) -> Finding:
    """Claude Code's auto-mode check: 64 tokens, thinking off; a model that thinks nevertheless says nothing within them."""
    body = user("Reply with exactly <severity>1</severity>", max_tokens=64, thinking={"type": "disabled"}, stop_sequences=["</severity>"])
    quirks, told = await first_that(bench, body, lambda told: bool(told.text.strip()), *others(bench, "min_tokens", 1024))
    if quirks is None:
        return (
            refused(told.error)
            if told.error
            else Finding(NO, "no words within 64 tokens", "Claude Code's auto mode can't check actions with it")
        )
    return Finding(FOUND if quirks else OK, "short answers hold words" + (" once thinking gets room" if quirks else ""), "", quirks)


async def structured(bench: Bench, seen: Seen) -> Finding:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"], "additionalProperties": False}
    body = user("Give a title for a talk about rivers.", output_config={"format": {"type": "json_schema", "schema": schema}})

    def works(told: Told) -> bool:
        try:
            value = json.loads(told.text)
        except ValueError:
            return False
        return isinstance(value, dict) and isinstance(value.get("title"), str)

    quirks, told = await first_that(bench, body, works, *others(bench, "structured", "json_schema", "json_object", "none"))
    if quirks is not None:
        return Finding(
            FOUND if quirks else OK, "keeps to a schema" + (f" by {json.dumps(quirks['structured'])}" if quirks else ""), "", quirks
        )
    if told.error is not None and told.error.kind not in REFUSING:
        return refused(told.error)
    return Finding(
        NO, f"refused: {told.error.message}" if told.error else "does not keep to a schema", "Claude Code can't name sessions with it"
    )


async def limit(bench: Bench, seen: Seen) -> Finding:
    told = await bench.ask(user("Count from 1 to 200.", max_tokens=8))
    if told.error is not None:
        return refused(told.error)
    obeyed = told.stop_reason == "max_tokens"
    large = await bench.ask(user("Say OK", max_tokens=128_000), stream=True)
    if large.error is not None and large.error.limit:
        size = large.error.limit
        return Finding(FOUND, f"at most {size} tokens", "", {"max_tokens_limit": size})
    if large.error is not None:
        return refused(large.error)
    clamped = bench.dep.max_output_tokens or bench.dep.quirks.max_tokens_limit
    what = f"sent as at most {clamped}" if clamped else "takes 128,000"
    return Finding(OK, what) if obeyed else Finding(NO, f"{what}; a small one is not obeyed (stop reason {told.stop_reason})")


async def context(bench: Bench, seen: Seen) -> Finding:
    size, known = seen.facts.context, bench.dep.max_input_tokens
    if not size:
        return (
            Finding(OK, f"{known:,} tokens (configured)")
            if known
            else Finding(NO, "the server does not tell", "say it in model_info.max_input_tokens, so that Claude Code compacts in time")
        )
    what = f"{size:,} tokens, says {seen.facts.source}"
    if size < SMALL_CONTEXT:
        cure = (
            f"Claude Code alone needs some 15,000: give it more than {SMALL_CONTEXT:,} (Ollama: OLLAMA_CONTEXT_LENGTH=65536; llama.cpp: -c 65536; "
            "vLLM: --max-model-len)"
        )
        return Finding(NO, what, cure)
    if known > size:
        return Finding(NO, f"{what}, but model_info.max_input_tokens says {known:,}", f"set it to {size}")
    return Finding(OK, what, "" if known else f"model_info: {{max_input_tokens: {size}}} lets Claude Code compact in time")


PROBES: dict[str, Probe] = {
    "reach": Probe("answers", reach, ()),
    "models": Probe("models list", models),
    "context": Probe("context", context, ("reach", "models")),
    "streaming": Probe("streaming", streaming),
    "usage": Probe("usage in streams", usage, ("reach", "streaming")),
    "tools": Probe("tools", tools),
    "results": Probe("tool results", results),
    "parallel": Probe("parallel tools", parallel, ("reach", "tools")),
    "any": Probe("tool_choice any", choice_any, ("reach", "tools")),
    "named": Probe("tool_choice by name", choice_named, ("reach", "tools")),
    "none": Probe("tool_choice none", choice_none, ("reach", "tools")),
    "images": Probe("images", images),
    "reasoning": Probe("reasoning", reasoning),
    "small": Probe("short answers", small),
    "structured": Probe("structured output", structured),
    "limit": Probe("output limit", limit),
}


async def probe(bench: Bench, only: tuple[str, ...] = (), told: Callable[[str, Finding], None] = lambda name, finding: None) -> Seen:
    """All probes, or `only` these and what they need, in the table's order; `told` hears of each at once. Later probes ask with the quirks
    that earlier ones found."""
    seen = Seen()
    wanted = set(only) | {need for name in only for need in PROBES[name].needs} if only else set(PROBES)
    for name, row in PROBES.items():
        if name not in wanted:
            continue
        lacking = next((need for need in row.needs if seen.findings[need].state in (FAIL, SKIPPED)), "")
        if lacking:
            finding = Finding(SKIPPED, f"not asked: {PROBES[lacking].title} failed")
        else:
            finding = await row.ask(bench, seen)
        if finding.quirks:
            seen.quirks.update(finding.quirks)
            bench.dep = bench.with_quirks(finding.quirks)
        seen.findings[name] = finding
        told(name, finding)
    return seen
