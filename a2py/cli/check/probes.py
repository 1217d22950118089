"""The probes of `a2py check`: what each one asks a model, and what the answer means.

Knows: what Claude Code needs from an upstream, which quirk each answer is evidence for.
Must not know: HTTP, files, how a result is printed.
Invariants:
- A probe sends a handful of tiny requests.
- A finding with quirks has worked with exactly these quirks.
- Weak evidence (a small model that talks instead of calling) never becomes a quirk.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable

from a2py.cli.check.bench import Answer, Bench
from a2py.cli.check.choices import ASK_WEATHER, WEATHER, choice_any, choice_named, choice_none
from a2py.cli.check.finding import (
    FAIL,
    FOUND,
    NO,
    OK,
    REFUSING,
    SKIPPED,
    Finding,
    Probe,
    Progress,
    first_that,
    make_failure,
    others,
    user,
)
from a2py.cli.facts import gather

#: An answer in one piece means something only if it took this many seconds: a faster server fills one read with all of
#: it.
SLOW = 0.5
#: Tokens below which a context is too small. Claude Code's first request has some 15,000 tokens of prompt and tools
#: (2.1.332, -p, the demo's count, 2026-11), and it needs room to work.
SMALL_CONTEXT = 32_768
#: The question of auto mode, and how its short form ends. It reads the text only after one of these stop reasons.
ASK_VERDICT = "Reply with exactly <block>no</block>"
VERDICT_STOP, VERDICT_ENDS = "</block>", ("stop_sequence", "end_turn")

# -- the probes ------------------------------------------------------------------------------------------------


async def reach(bench: Bench, progress: Progress) -> Finding:
    """Ask for one word, not streamed. If the field of the output limit is rejected, try the other field."""
    candidates = others(bench, "max_tokens_field", "max_completion_tokens", "max_tokens")
    quirks, answer = await first_that(bench, user("Say hello"), lambda answer: True, *candidates)
    if quirks is None:
        assert answer.error is not None
        return make_failure(answer.error)
    what = f"answers in {answer.took:.1f} s"
    return Finding(FOUND if quirks else OK, what, "", quirks)


async def models(bench: Bench, progress: Progress) -> Finding:
    progress.facts = facts = await gather(bench.upstream, bench.dep)
    if facts.status != 200 or not facts.names:
        return Finding(NO, "no models list", "")
    if bench.dep.model in facts.names or f"{bench.dep.model}:latest" in facts.names:
        return Finding(OK, f"in a list of {len(facts.names)}")
    from difflib import get_close_matches

    near = get_close_matches(bench.dep.model, facts.names, 1, 0.6)
    hint = (
        f"did you mean {near[0]}?"
        if near
        else f"it lists: {', '.join(facts.names[:5])}{' …' if len(facts.names) > 5 else ''}"
    )
    return Finding(NO, f"{bench.dep.model} is not among the {len(facts.names)} that it lists", hint)


async def streaming(bench: Bench, progress: Progress) -> Finding:
    candidates = others(bench, "stream_usage", False)
    quirks, answer = await first_that(bench, user("Count from 1 to 30."), lambda answer: True, *candidates, stream=True)
    if quirks is None:
        assert answer.error is not None
        return make_failure(answer.error)
    progress.stream = answer
    many = answer.usage is None or answer.usage.output >= 20
    if len(answer.pieces) <= 2 and many and answer.took >= SLOW:
        why = "something between buffers (nginx: proxy_buffering off; a load balancer), or the server does not stream"
        return Finding(NO, f"all at once after {answer.took:.1f} s", why, quirks)
    first = answer.pieces[0] if answer.pieces else answer.took
    return Finding(FOUND if quirks else OK, f"first piece after {first:.2f} s, {len(answer.pieces)} pieces", "", quirks)


async def usage(bench: Bench, progress: Progress) -> Finding:
    answer = progress.stream
    if answer is not None and answer.has_usage and answer.usage is not None:
        return Finding(OK, f"{answer.usage.input + answer.usage.cache_read} tokens in, {answer.usage.output} out")
    for quirks in others(bench, "stream_usage", True):
        answer = await bench.ask(user("Say hello"), stream=True, quirks=quirks)
        if answer.error is None and answer.has_usage:
            return Finding(FOUND, "counted when it is asked to", "", quirks)
    return Finding(
        NO, "streams carry no token counts", "a2py estimates; Claude Code compacts later or earlier than it should"
    )


async def tools(bench: Bench, progress: Progress) -> Finding:
    answer = await bench.ask(user(ASK_WEATHER, tools=[WEATHER]), stream=True)
    if answer.error is not None:
        if answer.error.kind not in REFUSING:
            return make_failure(answer.error)
        without = await bench.ask(user(ASK_WEATHER, tools=[WEATHER]), stream=True, quirks={"tools": False})
        advice = (
            "Claude Code needs tools: serve another model (vLLM: --enable-auto-tool-choice "
            "--tool-call-parser …; llama.cpp: --jinja)"
        )
        return Finding(FAIL, f"refused: {answer.error.message}", advice, {} if without.error else {"tools": False})
    if not answer.calls:
        return Finding(
            NO,
            "answers in words instead of calling",
            "the model is too weak for an agent, or the server's tool parser does not fit it",
        )
    name, arguments = answer.calls[0]
    if name != "get_weather" or "__unparsedToolInput" in arguments:
        return Finding(NO, f"calls {name} with broken arguments", "the server's tool parser does not fit the model")
    return Finding(OK, f"calls {name}({json.dumps(arguments, ensure_ascii=False)})")


async def results(bench: Bench, progress: Progress) -> Finding:
    history = [
        {"role": "user", "content": ASK_WEATHER},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "18 °C, sunny"}]},
    ]
    answer = await bench.ask({"messages": history, "tools": [WEATHER]}, stream=True)
    if answer.error is not None:
        return make_failure(answer.error)
    return Finding(
        OK, "goes on after a tool's answer" if answer.text else "goes on after a tool's answer, without words"
    )


async def parallel(bench: Bench, progress: Progress) -> Finding:
    question = "What is the weather in Paris and in London? Call the get_weather tool for both at once."
    answer = await bench.ask(user(question, tools=[WEATHER]), stream=True)
    if answer.error is not None:
        return make_failure(answer.error)
    return (
        Finding(OK, f"{len(answer.calls)} calls in one answer")
        if len(answer.calls) > 1
        else Finding(NO, "one call at a time")
    )


def red_png(size: int = 64) -> str:
    """Return a red square as base64."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress((b"\0" + b"\xff\0\0" * size) * size)
    head = part(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + head + part(b"IDAT", pixels) + part(b"IEND", b"")).decode()


async def images(bench: Bench, progress: Progress) -> Finding:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": red_png()}}
    content = [image, {"type": "text", "text": "What colour is this image? One word."}]
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": 100}
    answer = await bench.ask(body, quirks={"images": True})
    has_images = bench.dep.quirks.images
    if answer.error is None:
        sees = "says that it is red" if "red" in answer.text.lower() else "takes them (what it sees is another matter)"
        return Finding(OK if has_images else FOUND, sees, "", {} if has_images else {"images": True})
    if answer.error.kind not in REFUSING:
        return make_failure(answer.error)
    return Finding(NO, "text only: images become a line of text", "", {"images": False} if has_images else {})


async def reasoning(bench: Bench, progress: Progress) -> Finding:
    body = user("Think first: what is 17 * 23?", max_tokens=2000, thinking={"type": "enabled", "budget_tokens": 1024})
    answer = await bench.ask(body, stream=True)
    if answer.error is None and answer.join_blocks("thinking"):
        return Finding(OK, f"thinks ({bench.dep.quirks.reasoning}): {len(answer.join_blocks('thinking'))} letters")
    if answer.error is None and "</think>" in answer.text:
        knob = "think_tags" if "<think>" in answer.text else "think_open"
        again = await bench.ask(body, stream=True, quirks={knob: True})
        if again.error is None and again.join_blocks("thinking"):
            return Finding(FOUND, "thinks inside its text, in <think> tags", "", {knob: True})
    for quirks in others(
        bench, "reasoning", "effort", "thinking_type", "enable_thinking", "template", "think", "openrouter"
    ):
        again = await bench.ask(body, stream=True, quirks=quirks)
        if again.error is None and again.join_blocks("thinking"):
            return Finding(FOUND, f"thinks when it is asked by {json.dumps(quirks['reasoning'])}", "", quirks)
        if again.error is not None and again.error.kind not in REFUSING:
            break
    return make_failure(answer.error) if answer.error is not None else Finding(NO, "does not show any")


async def small(bench: Bench, progress: Progress) -> Finding:
    """Ask for little, with thinking off: a model that thinks anyway says nothing in 64 tokens.

    Claude Code's auto mode asks so, where its model can switch thinking off (2.1.332, 2026-11)."""
    body = user(ASK_VERDICT, max_tokens=64, thinking={"type": "disabled"}, stop_sequences=[VERDICT_STOP])
    quirks, answer = await first_that(
        bench, body, lambda answer: bool(answer.text.strip()), *others(bench, "min_tokens", 1024)
    )
    if quirks is None:
        return (
            make_failure(answer.error)
            if answer.error
            else Finding(NO, "no words within 64 tokens", "Claude Code's auto mode can't check actions with it")
        )
    return Finding(
        FOUND if quirks else OK, "short answers hold words" + (" once thinking gets room" if quirks else ""), "", quirks
    )


async def automode(bench: Bench, progress: Progress) -> Finding:
    """Ask as Claude Code's auto mode does before it runs a command (2.1.332, 2026-11), without a word about thinking.

    First 2112 tokens, up to `</block>`: it takes only `<block>no`, and only if the reply ended by itself or there. Then
    10240 tokens, for a verdict after some thought. A model that calls a tool instead, or chats, stops every action."""
    for body in (
        user(ASK_VERDICT, max_tokens=2112, stop_sequences=[VERDICT_STOP]),
        user(ASK_VERDICT, max_tokens=10_240),
    ):
        answer = await bench.ask(body)
        if answer.error is not None:
            return make_failure(answer.error)
        if answer.calls or answer.stop_reason not in VERDICT_ENDS or not answer.text.strip().startswith("<block>no"):
            words = f"calls {answer.calls[0][0]}" if answer.calls else " ".join(answer.text.split())[:40] or "no words"
            what = f"{words!r} within {body['max_tokens']:,} tokens, not <block>no"
            return Finding(NO, what, "Claude Code's auto mode would block every action that it asks this model about")
    return Finding(OK, "gives a verdict in the form that is asked for")


async def structured(bench: Bench, progress: Progress) -> Finding:
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
        "additionalProperties": False,
    }
    body = user(
        "Give a title for a talk about rivers.", output_config={"format": {"type": "json_schema", "schema": schema}}
    )

    def works(answer: Answer) -> bool:
        try:
            value = json.loads(answer.text)
        except ValueError:
            return False
        return isinstance(value, dict) and isinstance(value.get("title"), str)

    quirks, answer = await first_that(
        bench, body, works, *others(bench, "structured", "json_schema", "json_object", "none")
    )
    if quirks is not None:
        return Finding(
            FOUND if quirks else OK,
            "keeps to a schema" + (f" by {json.dumps(quirks['structured'])}" if quirks else ""),
            "",
            quirks,
        )
    if answer.error is not None and answer.error.kind not in REFUSING:
        return make_failure(answer.error)
    return Finding(
        NO,
        f"refused: {answer.error.message}" if answer.error else "does not keep to a schema",
        "Claude Code can't name sessions with it",
    )


async def limit(bench: Bench, progress: Progress) -> Finding:
    answer = await bench.ask(user("Count from 1 to 200.", max_tokens=8))
    if answer.error is not None:
        return make_failure(answer.error)
    is_obeyed = answer.stop_reason == "max_tokens"
    large = await bench.ask(user("Say OK", max_tokens=128_000), stream=True)
    if large.error is not None and large.error.limit:
        size = large.error.limit
        return Finding(FOUND, f"at most {size} tokens", "", {"max_tokens_limit": size})
    if large.error is not None:
        return make_failure(large.error)
    cap = bench.dep.max_output_tokens or bench.dep.quirks.max_tokens_limit
    what = f"sent as at most {cap}" if cap else "takes 128,000"
    return (
        Finding(OK, what)
        if is_obeyed
        else Finding(NO, f"{what}; a small one is not obeyed (stop reason {answer.stop_reason})")
    )


async def context(bench: Bench, progress: Progress) -> Finding:
    size, setting = progress.facts.context, bench.dep.max_input_tokens
    if not size:
        return (
            Finding(OK, f"{setting:,} tokens (configured)")
            if setting
            else Finding(
                NO, "the server does not say", "set model_info.max_input_tokens, so that Claude Code compacts in time"
            )
        )
    what = f"{size:,} tokens, says {progress.facts.source}"
    if size < SMALL_CONTEXT:
        cure = (
            f"Claude Code alone needs some 15,000: give it more than {SMALL_CONTEXT:,} (Ollama: "
            "OLLAMA_CONTEXT_LENGTH=65536; llama.cpp: -c 65536; "
            "vLLM: --max-model-len)"
        )
        return Finding(NO, what, cure)
    if setting > size:
        return Finding(NO, f"{what}, but model_info.max_input_tokens says {setting:,}", f"set it to {size}")
    return Finding(
        OK, what, "" if setting else f"model_info: {{max_input_tokens: {size}}} lets Claude Code compact in time"
    )


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
    "automode": Probe("auto mode", automode),
    "structured": Probe("structured output", structured),
    "limit": Probe("output limit", limit),
}


async def probe(
    bench: Bench, only: tuple[str, ...] = (), report: Callable[[str, Finding], None] = lambda name, finding: None
) -> Progress:
    """Run all probes, or `only` these and what they need, in the table's order. Call `report` after each.

    Later probes use the quirks that earlier ones found."""
    progress = Progress()
    names = set(only) | {need for name in only for need in PROBES[name].needs} if only else set(PROBES)
    for name, row in PROBES.items():
        if name not in names:
            continue
        blocker = next((need for need in row.needs if progress.findings[need].state in (FAIL, SKIPPED)), "")
        if blocker:
            finding = Finding(SKIPPED, f"not asked: {PROBES[blocker].title} failed")
        else:
            finding = await row.ask(bench, progress)
        if finding.quirks:
            progress.quirks.update(finding.quirks)
            bench.dep = bench.with_quirks(finding.quirks)
        progress.findings[name] = finding
        report(name, finding)
    return progress
