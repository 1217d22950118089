"""What a refusal teaches, from the upstream's own words to the quirks that are changed."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.errors import ApiError
from a2py.providers.families import ROOM
from a2py.quirks import Quirks, override
from a2py.wires import failure
from a2py.wires.lessons import AFTER_TOOL, EMPTY, LESSONS, find_lesson, is_lasting, join_lessons
from tests import golden

#: The names that the wires put into `Prepared.added_fields`.
ADDED_FIELDS = frozenset(
    {
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "service_tier",
        "stream_options",
        "prompt_cache_key",
        "parallel_tool_calls",
        "tool_choice",
        "reasoning",
        "response_format",
        "thinking",
        "phase",
    }
)
#: Never changed by a lesson: what they take away the client must know and take away itself.
FIXED_QUIRKS = {"images", "documents", "tools", "media_in_tool", "image_urls", "web_search", "schema"}


def refusal(message: str, status: int = 400, **more: Any) -> ApiError:
    return failure.read(status, {}, orjson.dumps({"error": {"message": message, **more}}))


STREAM_ONLY = {"stream_only": True, "whole_only": False}
WHOLE_ONLY = {"whole_only": True, "stream_only": False}
BLANK = {"empty_content": EMPTY, "native_drop": frozenset({"messages.blank_text"})}
#: The upstream's sentence, what the deployment's quirks were, what they become.
TAUGHT: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("Unknown parameter: 'stream_options'.", {}, {"stream_usage": False}),
    ("stream_options.include_usage: Extra inputs are not permitted", {}, {"stream_usage": False}),
    ("Unknown parameter: 'stream_options'.", {"stream_usage": False}, None),
    ("Model grok-4 does not support parameter reasoningEffort.", {"reasoning": "effort"}, {"reasoning": "none"}),
    ("Model grok-4 does not support parameter reasoningEffort.", {"reasoning": "none"}, None),
    (
        "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
        {"reasoning": "effort"},
        {"reasoning": "none"},
    ),
    ("Unsupported parameter: 'reasoning.summary' is not supported with this model.", {}, {"reasoning_summary": False}),
    ("Unsupported parameter: 'include[0]' is not supported with this model.", {}, {"encrypted_reasoning": False}),
    ("Unknown parameter: 'max_tool_calls'.", {}, {"max_tool_calls": False}),
    ("Unrecognized request argument supplied: thinking", {"reasoning": "thinking_type"}, {"reasoning": "none"}),
    ("enable_thinking is unknown here", {"reasoning": "enable_thinking"}, {"reasoning": "none"}),
    ("property 'chat_template_kwargs' is unsupported", {"reasoning": "template"}, {"reasoning": "none"}),
    (
        '"llama3.2" does not support thinking',
        {"reasoning": "think"},
        {"reasoning": "none", "native_drop": frozenset({"thinking"})},
    ),
    (
        "'claude-3-5-haiku-20241022' does not support thinking.",
        {},
        {"reasoning": "none", "native_drop": frozenset({"thinking"})},
    ),
    (
        "Reasoning is mandatory for this endpoint and cannot be disabled.",
        {"effort_off": "none"},
        {"effort_off": "", "min_tokens": ROOM},
    ),
    (
        "Reasoning is mandatory for this endpoint and cannot be disabled.",
        {"min_tokens": ROOM, "reasoning": "effort"},
        {"reasoning": "none"},
    ),
    (
        "Budget 0 is invalid. This model only works in thinking mode.",
        {"effort_off": "none"},
        {"effort_off": "", "min_tokens": ROOM},
    ),
    ("invalid thinking: only type=enabled is allowed for this model", {}, {"effort_off": "", "min_tokens": ROOM}),
    ("thinking.adaptive.keep: Extra inputs are not permitted", {}, {"native_drop": frozenset({"thinking"})}),
    (
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        {},
        {"native_drop": frozenset({"messages.thinking"}), "vendor_state": False, "reasoning_history": "none"},
    ),
    (
        "failed to convert tool result content: unsupported content type in ContentBlockParamUnion: tool_reference",
        {},
        {"native_drop": frozenset({"messages.tool_reference"})},
    ),
    (
        "'claude-haiku-4-5-20251001' does not support tool_reference blocks. This feature is only available on newer models.",
        {},
        {"native_drop": frozenset({"messages.tool_reference"})},
    ),
    (
        "messages.166.content.0.tool_result.content.0: Input tag 'tool_reference' found using 'type' does not match any of the expected tags",
        {},
        {"native_drop": frozenset({"messages.tool_reference"})},
    ),
    (
        "messages.11.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`.",
        {"native_drop": ["speed"]},
        {"native_drop": frozenset({"speed", "messages.thinking"}), "vendor_state": False, "reasoning_history": "none"},
    ),
    (
        "The `content[].thinking` in the thinking mode must be passed back to the API.",
        {},
        {"reasoning_history": "reasoning_content", "reasoning_required": True},
    ),
    ("The value of the enable_thinking parameter is restricted to True.", {}, {"effort_off": "", "min_tokens": ROOM}),
    ("parameter.enable_thinking must be set to false for non-streaming calls", {}, STREAM_ONLY),
    (
        "Unsupported value: 'reasoning_effort' does not support 'xhigh' with this model. Supported values are: 'low', 'medium', and 'high'.",
        {"reasoning": "effort", "efforts": ["low", "medium", "high", "xhigh"]},
        {"efforts": ("low", "medium", "high")},
    ),
    (
        "Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported values are: 'minimal', 'low', and 'high'.",
        {"reasoning": "effort", "efforts": ["low", "high"], "effort_off": "none"},
        {"efforts": ("minimal", "low", "high"), "effort_off": "minimal"},
    ),
    (
        "reasoning_effort must be one of none, low, high",
        {"reasoning": "effort", "efforts": ["minimal", "low"], "effort_off": "none"},
        {"efforts": ("low", "high")},
    ),
    ("`reasoning_effort` must be one of `none` or `default`", {"reasoning": "effort"}, {"reasoning": "none"}),
    (
        "reasoning_effort must be one of low, medium, high",
        {"reasoning": "effort"},
        {"reasoning": "none"},
    ),  # they were that already
    (
        "Function tools with reasoning_effort are not supported for gpt-5.2 in /v1/chat/completions.",
        {"reasoning": "effort"},
        {"reasoning_with_tools": False, "effort_off": "none"},
    ),
    (
        "Function tools with reasoning_effort are not supported for gpt-5.2 in /v1/chat/completions.",
        {"reasoning": "effort", "effort_off": "minimal"},
        {"reasoning_with_tools": False, "effort_off": "minimal"},
    ),
    ("parallel_tool_calls: Extra inputs are not permitted", {}, {"parallel_tool_calls": False}),
    ("This response_format type is unavailable now", {}, {"structured": "json_object"}),
    ("This response_format type is unavailable now", {"structured": "json_object"}, {"structured": "none"}),
    ("This response_format type is unavailable now", {"structured": "none"}, None),
    ("json mode cannot be combined with tool/function calling", {}, {"structured_with_tools": False}),
    ("Json mode response is not supported when enable_thinking is true", {}, {"structured_thinking": False}),
    (
        "Json mode response is not supported when enable_thinking is true",
        {"structured_thinking": False},
        {"structured": "none"},
    ),
    (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        {},
        {"max_tokens_field": "max_completion_tokens"},
    ),
    (
        "Unsupported parameter: 'max_completion_tokens' is not supported.",
        {"max_tokens_field": "max_completion_tokens"},
        {"max_tokens_field": "max_tokens"},
    ),
    (
        "Unsupported parameter: 'max_tokens' is not supported with this model.",
        {"max_tokens_field": "max_completion_tokens"},
        {"max_tokens_field": ""},
    ),
    ("Unsupported parameter: max_output_tokens", {}, {"max_tokens_field": ""}),
    ("Unsupported parameter: max_output_tokens", {"max_tokens_field": ""}, None),
    ("the valid range of max_tokens is [1, 8192]", {}, {"max_tokens_limit": 8192}),
    ("the valid range of max_tokens is [1, 8192]", {"max_tokens_limit": 16000}, {"max_tokens_limit": 8192}),
    ("the valid range of max_tokens is [1, 8192]", {"max_tokens_limit": 8192}, None),
    ("the valid range of max_tokens is [1, 8192]", {"max_tokens_limit": 4096}, None),
    ("input length and `max_tokens` exceed context limit: 100 + 9000 > 8192", {}, {"max_tokens_limit": 8092}),
    (
        "requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 10114.",
        {},
        {"max_tokens_limit": 10114},
    ),
    ("prompt is too long: 9000 tokens > 8192 maximum", {}, None),
    ("Invalid 'temperature': Expected a value <= 1, but got 1.5 instead.", {}, {"temperature_max": 1.0}),
    ("Invalid 'temperature': Expected a value <= 2, but got 99.0 instead.", {}, None),
    ("invalid temperature: only 1 is allowed for this model", {}, {"sampling": frozenset({"top_p"})}),
    (
        "`temperature` and `top_p` cannot both be specified for this model.",
        {},
        {"sampling": frozenset({"temperature"})},
    ),
    ("got an unexpected keyword argument 'top_k'", {"sampling": ["top_k"]}, {"sampling": frozenset()}),
    ("got an unexpected keyword argument 'top_k'", {}, None),
    ("Unsupported parameter: 'stop' is not supported with this model.", {}, {"stop_limit": 0}),
    ("Invalid 'stop': array too long. Expected an array with maximum length 2, but got 4.", {}, {"stop_limit": 2}),
    ("Invalid 'stop': array too long. Expected an array with maximum length 4, but got 4.", {}, {"stop_limit": 0}),
    ("Unsupported parameter: 'stop' is not supported with this model.", {"stop_limit": 0}, None),
    ("Unknown parameter: 'service_tier'", {"service_tier": True}, {"service_tier": False}),
    ("Unknown parameter: 'prompt_cache_key'", {"cache": "key"}, {"cache": "none"}),
    ("messages.0.content.0.cache_control: Extra inputs are not permitted", {"cache": "blocks"}, {"cache": "none"}),
    ("Unknown parameter: 'tool_stream'", {"tool_stream": True}, {"tool_stream": False}),
    ("Thinking mode does not support this tool_choice", {}, {"tool_choice_thinking": False}),
    (
        "Thinking mode does not support this tool_choice",
        {"tool_choice_thinking": False},
        {"tool_choice_named": "none", "tool_choice_any": ""},
    ),
    ("Tool choice must be 'auto' when tools are provided.", {}, {"tool_choice_any": ""}),
    (
        "Invalid tool_choice type: 'object'. Supported string values: none, auto, required",
        {},
        {"tool_choice_named": "only"},
    ),
    (
        "Unknown parameter: 'tool_choice'",
        {"tool_choice_named": "only"},
        {"tool_choice_named": "none", "tool_choice_any": ""},
    ),
    ("Unknown parameter: 'tool_choice'", {"tool_choice_named": "none", "tool_choice_any": ""}, None),
    ("This model only support stream mode", {}, STREAM_ONLY),
    ("This model only support stream mode", {"stream_only": True}, None),
    ("Stream must be set to true", {"whole_only": True}, STREAM_ONLY),
    ("Unknown parameter: 'stream'", {}, WHOLE_ONLY),
    ("Your organization must be verified to stream this model.", {"stream_only": True}, WHOLE_ONLY),
    ("Your organization must be verified to stream this model.", {"whole_only": True}, None),
    (
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        {},
        {"reasoning_history": "reasoning_content", "reasoning_required": True},
    ),
    (
        "'messages.1' : property 'reasoning_content' is unsupported",
        {"reasoning_history": "reasoning_content"},
        {"reasoning_history": "none", "reasoning_required": False},
    ),
    ("'messages.1' : property 'reasoning_details' is unsupported", {}, {"vendor_state": False}),
    ("'messages.1' : property 'reasoning_content' is unsupported", {"vendor_state": False}, None),
    ("property 'reasoning_opaque' is unsupported", {}, {"vendor_state": False}),
    ("messages.3.assistant.extra_content: Extra inputs are not permitted", {}, {"vendor_state": False}),
    ("Unknown parameter: 'input[1].phase'.", {}, {"phases": "none"}),
    ("Unknown parameter: 'input[1].phase'.", {"phases": "none"}, None),
    ("Invalid value: 'commentary'. Supported values are: 'final'.", {"phases": "all"}, {"phases": "none"}),
    ("input.1.phase: Extra inputs are not permitted", {}, {"phases": "none"}),
    ("1 validation error for Iterator 1.phase Extra inputs are not permitted", {}, {"phases": "none"}),
    ("input[1]: unknown field `phase`, expected one of `type`, `role`", {}, {"phases": "none"}),
    ("The `phase` field is not supported by this model.", {}, {"phases": "none"}),
    ("developer is not one of ['system', 'assistant']", {"system_role": "developer"}, {"system_role": "system"}),
    ("System message must be at the beginning.", {"mid_system": "inline"}, {"mid_system": "user"}),
    ("System message must be at the beginning.", {}, {"system_as_user": True}),
    ("System role not supported", {"system_role": "developer"}, {"system_role": "system"}),
    ("System role not supported", {"mid_system": "inline"}, {"mid_system": "user"}),
    ("System role not supported", {}, {"system_as_user": True}),
    ("System role not supported", {"system_as_user": True}, None),
    ("conversation roles must alternate user/assistant/user/assistant/...", {}, {"alternation": True}),
    ("Unexpected role 'user' after role 'tool'", {}, {"after_tool": AFTER_TOOL}),
    (
        "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
        {},
        {"prefill": "prefix"},
    ),
    ("This model does not support assistant message prefill.", {}, {"prefill": "instruct"}),
    ("message content must not be empty", {}, BLANK),
    ("messages: text content blocks must be non-empty", {}, BLANK),
    ("messages: text content blocks must contain non-whitespace text", {}, BLANK),
    ("messages.0.content.0.text: cache_control cannot be set for empty text blocks", {}, BLANK),
    *(
        (message, {}, {"vendor_state": False})
        for message in (
            "The encrypted content gAAA...old could not be verified.",
            "Encrypted content could not be decrypted or parsed.",
            "Item with id 'rs_68' not found. Items are not persisted when `store` is set to false.",
            "Item 'rs_68' of type 'reasoning' was provided without its required following item.",
            "Item 'fc_68' of type 'function_call' was provided without its required 'reasoning' item: 'rs_68'.",
            "Thought signature is not valid",
            "Corrupted thought signature.",
        )
    ),
    (
        "Function call is missing a thought_signature in functionCall parts.",
        {},
        {"reasoning_history": "thought_signature", "reasoning_required": True},
    ),
    *(
        (
            message,
            {},
            {"native_drop": frozenset({"messages.thinking"}), "vendor_state": False, "reasoning_history": "none"},
        )
        for message in (
            "messages.1.content.0.thinking.signature: Field required",
            "messages.1.content.0: If an assistant message contains any thinking blocks, the first block must be `thinking`"
            " or `redacted_thinking`. Found `text`.",
            "messages.3.content.0.thinking: each thinking block must contain thinking",
            "messages.1.content.1: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be"
            " modified. These blocks must remain as they were in the original response.",
        )
    ),
    (
        "Cannot pass both content and thinking in an assistant message with tool calls! Put the analysis message in one or"
        " the other, but not both. at row 290, column 178",
        {},
        {"reasoning_beside_content": False},
    ),
    (
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_A.",
        {},
        {"native_drop": frozenset({"messages.unpaired"})},
    ),
    (
        "messages.2.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_A.",
        {},
        {"native_drop": frozenset({"messages.unpaired"})},
    ),
    (
        "output_config.effort: Input should be 'low', 'medium', 'high' or 'max'",
        {},
        {"native_drop": frozenset({"output_config.effort"})},
    ),
    ("This model does not support the effort parameter", {}, {"native_drop": frozenset({"output_config.effort"})}),
    (
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
        {},
        {"native_drop": frozenset({"thinking.large_budget"})},
    ),
    (
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        {},
        {"native_drop": frozenset({"thinking.large_budget"})},
    ),
    ("messages[0].content must be a string", {"string_content": False}, {"string_content": True}),
    ("messages[0].content must be a string", {}, None),
    (
        "Invalid 'messages[2].tool_calls[0].id': string too long. Expected a string with maximum length 40",
        {},
        {"tool_id_limit": 40},
    ),
    (
        "Failed to parse tool call arguments as JSON: [json.exception.parse_error.101] parse error at line 1, column 9",
        {},
        {"broken_arguments": "object"},
    ),
    ("Expecting ',' delimiter: line 1 column 54 (char 53)", {}, {"broken_arguments": "object"}),
    ("Unterminated string starting at: line 1 column 1121 (char 1120)", {}, {"broken_arguments": "object"}),
    ("invalid tool call arguments", {}, {"broken_arguments": "object"}),
    ("invalid tool call arguments", {"broken_arguments": "object"}, None),
    ("Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.", {}, {"tool_ids": "mistral9"}),
    ("context_management: Extra inputs are not permitted", {}, {"native_drop": frozenset({"context_management"})}),
    ("thinking.adaptive.display: Extra inputs are not permitted", {}, {"native_drop": frozenset({"thinking.display"})}),
    (
        "tools.3.custom.defer_loading: Extra inputs are not permitted",
        {},
        {"native_drop": frozenset({"tools.defer_loading"})},
    ),
    ("tools.3.defer_loading: Extra inputs are not permitted", {"native_drop": ["tools.defer_loading"]}, None),
    # No limit that a request could keep.
    ("max_tokens: 100 > 0, which is the maximum allowed number of output tokens for m", {}, None),
    ("Invalid value for 'max_tokens': expected an integer", {}, None),
    ("Model does not support images. Please use a model that does.", {}, None),
    ("unsupported content[].type", {}, None),
    ("gemma3:4b does not support tools", {}, None),
    ("Unknown parameter: 'tools'", {}, None),
    ("Logprobs are not enabled for this model", {}, None),
    ("something else", {}, None),
]


@pytest.mark.parametrize(
    ("message", "before", "changes"), TAUGHT, ids=lambda value: value[:50] if isinstance(value, str) else ""
)
def test_a_sentence_teaches(message: str, before: dict[str, Any], changes: dict[str, Any] | None) -> None:
    assert find_lesson(refusal(message), override(Quirks(), before), ADDED_FIELDS) == changes


@pytest.mark.parametrize(
    ("message", "before", "changes"),
    [row for row in TAUGHT if row[2]],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_the_same_refusal_ends_after_a_few_lessons(
    message: str, before: dict[str, Any], changes: dict[str, Any]
) -> None:
    """Each lesson is new, all of them are valid quirks, and what a lesson may not touch stays."""
    quirks = override(Quirks(), before)
    history = [quirks]
    for _ in range(8):
        lesson = find_lesson(refusal(message), quirks, ADDED_FIELDS)
        if lesson is None:
            break
        quirks = override(quirks, lesson)
        assert quirks not in history, f"{message}: goes round in circles"
        history.append(quirks)
        assert not FIXED_QUIRKS & lesson.keys()
    assert lesson is None


@pytest.mark.parametrize(
    "message",
    [
        "Stream must be set to true",
        "'stream' must be true",
        "`stream` parameter should be true for this model",
        "Please set stream=true",
        "Please set 'stream' to true.",
        "stream=false is not supported",
        "Only streaming requests are supported",
        "This endpoint only supports streaming",
        "Streaming is required for this model",
        "Non-streaming requests are not supported by this channel",
        "non-streaming is unsupported",
        "model x does not support non-streaming mode",
    ],
)
def test_servers_that_only_stream(message: str) -> None:
    assert find_lesson(refusal(message), Quirks(), ADDED_FIELDS) == STREAM_ONLY


@pytest.mark.parametrize(
    ("message", "more"),
    [
        ("Your organization must be verified to stream this model. Please go to the settings.", {"param": "stream"}),
        (
            "Unsupported value: 'stream' does not support true with this model. Only the default (false) value is"
            " supported.",
            {"param": "stream", "code": "unsupported_value"},
        ),
        ("Streaming is not supported in Acme OpenAI Proxy", {}),
        ("Streaming responses are not yet available for this model", {}),
        ("streaming is unsupported", {}),
        ("This model does not support streaming.", {}),
        ("model x doesn't support the 'stream' parameter", {}),
        ("The model is unsupported for streaming", {}),
        ("stream must be set to false", {}),
        ("please set stream to false", {}),
        ("stream=true is not supported", {}),
        ("'stream' is not supported with this model", {}),
        ("stream: Extra inputs are not permitted", {}),
    ],
)
def test_servers_that_do_not_stream(message: str, more: dict[str, Any]) -> None:
    assert find_lesson(refusal(message, **more), Quirks(), ADDED_FIELDS) == WHOLE_ONLY


@pytest.mark.parametrize(
    "message",
    [
        "tool_choice 'specified' is incompatible with thinking enabled",
        "The tool_choice parameter does not support being set to required or object in thinking mode",
        "Thinking may not be enabled when tool_choice forces tool use.",
        "tool_choice 'required' is not supported when thinking is enabled",
        "Forcing a tool is not possible while reasoning",
    ],
)
def test_forces_that_thinking_forbids(message: str) -> None:
    assert find_lesson(refusal(message), Quirks(), ADDED_FIELDS) == {"tool_choice_thinking": False}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"),
        ("model x does not support stream_options", "stream_options"),
        ("Unknown parameter: 'tool_stream'", "tool_stream"),
        ("gemma does not support tools in streaming mode", "tools"),
    ],
)
def test_what_says_nothing_about_streams(message: str, field: str) -> None:
    assert refusal(message).field == field


@pytest.mark.parametrize(
    ("message", "first", "second"),
    [
        ("Unsupported parameter: 'max_completion_tokens'", {}, {"max_tokens_field": "max_completion_tokens"}),
        ("This model does not support streaming", {}, {"stream_only": True}),
        ("Stream must be set to true", {}, {"whole_only": True}),
    ],
)
def test_no_lesson_goes_back_to_how_the_request_was_asked_before(
    message: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    earlier, current = override(Quirks(), first), override(Quirks(), second)
    assert find_lesson(refusal(message), current, ADDED_FIELDS)
    onward = find_lesson(refusal(message), current, ADDED_FIELDS, earlier=[earlier])
    assert onward in (None, {"max_tokens_field": ""})


def test_each_row_is_proven() -> None:
    def row(error: ApiError) -> int | None:
        return next((n for n, row in enumerate(LESSONS) if row.field.fullmatch(error.field)), None)

    proven = {row(refusal(message)) for message, _, changes in TAUGHT if changes}
    assert [LESSONS[n].field.pattern for n in range(len(LESSONS)) if n not in proven] == []


@pytest.mark.parametrize("row", [row for row in LESSONS if row.optional_fields], ids=lambda row: row.field.pattern)
def test_what_was_not_sent_is_not_to_blame(row: Any) -> None:
    message, before, changes = next(
        (m, b, c) for m, b, c in TAUGHT if c and next(r for r in LESSONS if r.field.fullmatch(refusal(m).field)) is row
    )
    quirks = override(Quirks(), before)
    for field in row.optional_fields.split():
        assert find_lesson(refusal(message), quirks, frozenset({field})) == changes
    assert find_lesson(refusal(message), quirks, ADDED_FIELDS - set(row.optional_fields.split())) is None


def test_a_lesson_of_one_prompts_room_or_of_the_credit_left_does_not_last() -> None:
    assert is_lasting(refusal("the valid range of max_tokens is [1, 8192]"))
    assert not is_lasting(refusal("input length and `max_tokens` exceed context limit: 100 + 9000 > 8192"))
    assert not is_lasting(refusal("messages.1.content.0: Invalid `signature` in `thinking` block"))
    assert not is_lasting(
        refusal(
            "requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 10114."
        )
    )


def test_a_lesson_of_words_that_the_request_holds_does_not_last() -> None:
    error = refusal("the valid range of max_tokens is [1, 8192]")
    assert is_lasting(error)
    error.is_echo = True
    assert not is_lasting(error)
    assert find_lesson(error, Quirks(), ADDED_FIELDS) == {"max_tokens_limit": 8192}, "this request may try it"


def test_two_lessons_together() -> None:
    """What two requests learned at the same time: neither takes back what the other took away."""
    both = frozenset({"temperature", "top_p"})
    assert join_lessons("sampling", both - {"top_p"}, both - {"temperature"}) == frozenset()
    assert join_lessons("native_drop", frozenset({"thinking"}), frozenset({"speed"})) == {"thinking", "speed"}
    assert join_lessons("max_tokens_limit", 4096, 8192) == 4096
    assert join_lessons("structured", "none", "json_object") == "json_object"


def vllm(context: int, prompt: int, out: int) -> ApiError | None:
    """vLLM's answer (0.18, 2026-06): it counts no further than one token too many."""
    if out > context:
        message = f"max_tokens={out} cannot be greater than max_model_len=max_total_tokens={context}. Please request fewer output tokens."
    elif prompt > context - out:
        least = context - out + 1
        message = (
            f"This model's maximum context length is {context} tokens. However, you requested {out} output tokens and your prompt"
            f" contains at least {least} input tokens, for a total of at least {context + 1} tokens."
        )
    else:
        return None
    return failure.read(400, {}, orjson.dumps({"error": {"message": message}}))


@pytest.mark.parametrize(
    "context, prompt, max_tokens, limit, lessons",
    [
        (131072, 50_000, 64_000, 64_000, 0),
        (131072, 90_000, 64_000, 16_000, 1),
        (131072, 120_000, 64_000, 4_000, 2),
        (131072, 128_000, 128_000, 2_000, 3),
        (32768, 20_000, 128_000, 8_192, 2),
        (131072, 131_000, 128_000, 0, 3),
        (131072, 400_000, 32_000, 0, 2),
    ],
)
def test_a_count_that_stops_short_is_met_by_less_and_less_output(
    context: int, prompt: int, max_tokens: int, limit: int, lessons: int
) -> None:
    quirks, out, count = Quirks(), max_tokens, 0
    while (error := vllm(context, prompt, out)) is not None:
        changes = find_lesson(error, quirks, ADDED_FIELDS)
        if changes is None:
            break
        quirks, count = override(quirks, changes), count + 1
        out = quirks.max_tokens_limit
    assert count == lessons
    assert (out, error) == (limit, None) if limit else (error is not None and error.message == "prompt is too long")


def test_the_goldens_of_refused_fields_teach_something() -> None:
    """But those of fields that the proxy never sends, and of tools, which stay."""
    ready = replace(
        Quirks(),
        reasoning="effort",
        system_role="developer",
        service_tier=True,
        reasoning_history="reasoning_content",
        effort_off="none",
        sampling=frozenset({"temperature", "top_p", "top_k"}),
    )
    mute = []
    for case in golden.read(golden.FOLDER / "errors.md"):
        if re.search(r"Rule `(field|named|max_tokens|tools)\.", case.prose):
            block = next(b for b in case.blocks if b.name == "upstream")
            error = failure.read(int(block.options[0]), {}, golden.upstream_bytes(block))
            if find_lesson(error, ready, ADDED_FIELDS) is None:
                mute.append(error.field)
    assert mute == ["tools", "tools", "tools", "web_search_options"]


FIELDS = st.text(max_size=20) | st.sampled_from(
    [row.field.pattern for row in LESSONS] + [f.name for f in fields(Quirks)] + ["reasoning_effort=low,high"]
)


@given(FIELDS, st.integers(0, 10**9), st.sampled_from(["unsupported", "max_tokens", "image", "api"]))
def test_a_lesson_is_always_made_of_quirks(field: str, limit: int, kind: str) -> None:
    lesson = find_lesson(ApiError(kind, "m", field=field, limit=limit), Quirks(), ADDED_FIELDS)
    if lesson is not None:
        assert override(Quirks(), lesson) != Quirks()
        assert not FIXED_QUIRKS & lesson.keys()
