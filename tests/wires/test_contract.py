"""The decoder contract and the facts: every wire over every recording of ../shared/wire, and stream against unary.

Knows: how FACTS.json (an independent script's reading of each chat recording) maps to Anthropic's message. Where our
reading differs from it on purpose, the table DIFFERENT says so with the reason; a row that no longer differs fails."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.errors import ApiError
from a2py.messages import ids
from a2py.messages.types import JSON
from a2py.wires import wire
from a2py.wires.failure import read
from tests import streams
from tests.recordings import Recording, recordings

#: (file, what) → why our answer is not what FACTS.json says.
DIFFERENT: dict[tuple[str, str], str] = {
    **{
        (f"copilot/stream-snapshot-{name}.sse", "usage"): "0 output tokens of a reply that has content: estimated"
        for name in ("tool-01", "tool-annotations-01")
    },
    **{
        (file, what): "FACTS.json does not read the legacy function_call; we make it a call"
        for file in (
            "copilot/stream-snapshot-legacy-function-call-01.sse",
            "openai/nonstream-legacy-function-call-01.json",
        )
        for what in ("tools", "stop")
    },
    **{
        (file, what): "FACTS.json does not read `refusal`; its text is shown, and the stop reason is refusal"
        for file in (
            "openai/stream-refusal-01.sse",
            "openrouter/stream-refusal-01.sse",
            "openai/nonstream-refusal-01.json",
            "openrouter/nonstream-refusal-01.json",
        )
        for what in ("text", "stop")
    },
    (
        "openrouter/nonstream-refusal-content-filter-01.json",
        "text",
    ): "FACTS.json does not read `refusal`; its text is shown",
    **{
        (
            file,
            "tools",
        ): "the limit cut a call before its arguments: an empty object would be run, so it is left out (B2)"
        for file in ("deepseek/nonstream-tool-length-01.json", "mistral/nonstream-tool-length-01.json")
    },
    **{
        (file, "usage"): "reasoning tokens stand outside completion_tokens: output is total - prompt (B5)"
        for file in (
            "xai/stream-parallel-tools-01.sse",
            "xai/stream-parallel-tools-reasoning-01.sse",
            "xai/nonstream-parallel-tools-01.json",
            "xai/nonstream-parallel-tools-reasoning-01.json",
            "xai/nonstream-tool-reasoning-01.json",
            "gemini-compat/nonstream-tool-reasoning-01.json",
        )
    },
    (
        "inception/nonstream-text-01.json",
        "usage",
    ): "reasoning tokens stand outside completion_tokens, cached ones in cached_input_tokens",
    ("mistral/nonstream-tool-02.json", "usage"): "cached tokens stand in num_cached_tokens",
    (
        "mistral/nonstream-text-01.json",
        "usage",
    ): "prompt_tokens leaves out 375 tokens of audio, which a2py never sends: they are counted with the output",
    **{
        (file, "usage"): "more cached tokens than prompt tokens: capped at the prompt, so that the sum stays true"
        for file in ("azure-ai/nonstream-parallel-tools-01.json", "azure-ai/nonstream-tool-01.json")
    },
    (
        "openrouter/stream-error-reasoning-length-01.sse",
        "stop",
    ): "its error says 'Token limit reached', and its finish_reason is length",
    ("snowflake/stream-reasoning-text-logprobs-01.sse", "stop"): "no finish_reason, but [DONE] behind content",
    **{
        (file, "stop"): "a whole body with content and without a finish_reason is an end"
        for file in (
            "openai/nonstream-text-01.json",
            "snowflake/nonstream-tool-logprobs-audio-01.json",
            "snowflake/nonstream-tool-reasoning-logprobs-audio-01.json",
            "writer/nonstream-other-01.json",
        )
    },
    **{
        (file, "text"): "FACTS.json does not read `choices[].text`"
        for file in ("together/nonstream-length-01.json", "writer/nonstream-other-01.json")
    },
}


def facts_of(recording: Recording) -> JSON:
    """FACTS.json's reading of a recording as the fields that a message must show."""
    facts = recording.facts
    finish = [word for word in facts["finish"] if word]
    has_calls = bool(facts["tools"])
    words = {"length": "max_tokens", "content_filter": "refusal"}
    torn = any(not tool["arguments_valid"] and str(tool["arguments"]).startswith("{") for tool in facts["tools"])
    reason = words.get(finish[-1] if finish else "", "max_tokens" if torn else "tool_use" if has_calls else "end_turn")
    return {
        "text": facts["text"],
        "reasoning": facts["reasoning"],
        "tools": [tool_of(tool) for tool in facts["tools"]],
        "stop": reason if finish and not facts["error"] else "error",
        "usage": usage_of(facts["usage"]),
    }


def tool_of(tool: JSON) -> tuple[str, str, Any]:
    raw = tool["arguments"] or ""
    if tool["arguments_valid"] and raw:
        value = orjson.loads(raw) if isinstance(raw, str) else raw
        return tool["id"] or "", tool["name"], value if isinstance(value, dict) else {}
    return tool["id"] or "", tool["name"], {} if raw in ("", "null") else raw


def usage_of(usage: JSON | None) -> tuple[int, int, int] | None:
    """(input, cached, output) Anthropic's way; None where the recording has no usage."""
    if not usage:
        return None
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens") or 0
    cache_writes = details.get("cache_write_tokens") or 0
    prompt = usage.get("prompt_tokens") or 0
    return max(prompt - cached - cache_writes, 1), cached, usage.get("completion_tokens") or 0


def seen_of(message: JSON) -> JSON:
    """The same fields of an accumulated message."""
    usage = message["usage"]
    return {
        "text": streams.text_of(message),
        "reasoning": streams.text_of(message, "thinking"),
        "tools": [(ids.original(block["id"]), block["name"], raw_input(block)) for block in streams.tools_of(message)],
        "stop": "error" if "error" in message else message["stop_reason"],
        "usage": (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]),
    }


def raw_input(block: JSON) -> Any:
    if "open" in block:
        return block["partial_json"]
    value = block["input"]
    return value["__unparsedToolInput"]["raw"] if "__unparsedToolInput" in value else value


def compare(recording: Recording, message: JSON) -> None:
    expected, actual = facts_of(recording), seen_of(message)
    wrong = []
    for what, value in expected.items():
        if what == "usage" and (value is None or actual["stop"] == "error"):
            continue
        same = actual[what] == value
        if what == "tools":
            same = len(actual[what]) == len(value) and all(
                a[1:] == b[1:] and (not b[0] or a[0] == b[0]) for a, b in zip(actual[what], value, strict=True)
            )
        is_excused = (recording.file, what) in DIFFERENT
        if same and is_excused:
            wrong.append(f"{what}: no longer differs: take the row out of DIFFERENT")
        if not same and not is_excused:
            wrong.append(f"{what}: FACTS.json has {value!r}, we have {actual[what]!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("recording", recordings("chat", "stream"))
def test_chat_stream(recording: Recording) -> None:
    data = recording.data
    message = streams.check_contract(wire("chat"), streams.upstream_request(), data)
    if "content" in message:
        compare(recording, message)
    else:
        assert facts_of(recording)["stop"] == "error", message


@pytest.mark.parametrize("recording", recordings("chat", "nonstream"))
def test_chat_unary(recording: Recording) -> None:
    try:
        message = streams.unary(wire("chat"), streams.upstream_request(stream=False), recording.data)
    except ApiError as error:
        message = {
            "usage": {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0},
            "error": error.message,
        }
    compare(recording, message)


@pytest.mark.parametrize("recording", recordings("chat", "stream"))
def test_the_sdk_reads_the_same_message(recording: Recording) -> None:
    data = streams.run(wire("chat"), streams.upstream_request(), [recording.data])
    ours = streams.accumulate(streams.events(data))
    if "error" in ours:
        return
    cut = {n for n, block in enumerate(ours["content"]) if "__unparsedToolInput" in block.get("input", ())}
    try:
        theirs = streams.sdk_message(data)
    except ValueError as error:
        assert cut and "tool parameter JSON from model" in str(error), (
            error
        )  # what the model wrote is no JSON, and no beginning of one
        return
    assert comparable(theirs, cut) == comparable(ours, cut)
    assert (theirs["stop_reason"], theirs["usage"]["output_tokens"]) == (
        ours["stop_reason"],
        ours["usage"]["output_tokens"],
    )


def comparable(message: JSON, cut: set[int]) -> list[JSON]:
    """Content without the nulls that the SDK adds, and without cut arguments, which it reads as far as they go."""
    return [
        {k: v for k, v in block.items() if v is not None and (k, n in cut) != ("input", True)}
        for n, block in enumerate(message["content"])
    ]


@pytest.mark.parametrize("recording", recordings("responses", "stream"))
def test_responses_stream(recording: Recording) -> None:
    """The stream's message is the one of the whole response that its last event carries."""
    message = streams.check_contract(wire("responses"), streams.upstream_request(), recording.data)
    whole = next(body["response"] for body in reversed(bodies_of(recording.data)) if body.get("response"))
    if whole["status"] not in ("completed", "incomplete"):
        assert "error" in message
        return
    if not whole["output"]:  # ChatGPT's own backend leaves it empty at the end
        whole["output"] = [
            body["item"] for body in bodies_of(recording.data) if body.get("type") == "response.output_item.done"
        ]
    unary = streams.unary(wire("responses"), streams.upstream_request(stream=False), orjson.dumps(whole))
    assert message == unary


def bodies_of(stream: bytes) -> list[JSON]:
    return [orjson.loads(line[5:]) for line in stream.splitlines() if line.startswith(b"data:") and b"{" in line]


@pytest.mark.parametrize("recording", recordings("responses", "nonstream"))
def test_responses_unary(recording: Recording) -> None:
    """Text and calls as the body has them; a job in the background is not an answer."""
    body = orjson.loads(recording.data)
    if body["status"] not in ("completed", "incomplete"):
        with pytest.raises(ApiError):
            streams.unary(wire("responses"), streams.upstream_request(stream=False), recording.data)
        return
    message = streams.unary(wire("responses"), streams.upstream_request(stream=False), recording.data)
    output = body["output"]
    text = "".join(part.get("text", "") for item in output if item["type"] == "message" for part in item["content"])
    calls = [(item["name"], orjson.loads(item["arguments"])) for item in output if item["type"] == "function_call"]
    assert streams.text_of(message) == text
    assert [(tool["name"], tool["input"]) for tool in streams.tools_of(message)] == calls
    assert message["usage"]["output_tokens"] == body["usage"]["output_tokens"]
    assert message["stop_reason"] == (
        "max_tokens" if body["status"] == "incomplete" else "tool_use" if calls else "end_turn"
    )


@pytest.mark.parametrize("recording", [*recordings("chat", "error"), *recordings("responses", "error")])
def test_error_bodies(recording: Recording) -> None:
    """Each recorded refusal becomes an ApiError with a message of its own; so does an error inside a 200."""
    if recording.status == 200:
        with pytest.raises(ApiError):
            streams.unary(wire(recording.api), streams.upstream_request(stream=False), recording.data)
        return
    error = read(recording.status or 400, recording.headers, recording.data)
    assert 400 <= error.status < 600
    assert error.message
    assert orjson.loads(error.body("req_1"))["error"]["type"] in streams.ERROR_TYPES
