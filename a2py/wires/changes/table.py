"""What the fields of a Messages request become on the two OpenAI wires.

Knows: names of fields on both sides, the rules about them. Must not know: how they are translated.
Invariants: every rule and every quirk that is named exists (a test).
"""

from __future__ import annotations

from typing import NamedTuple

from a2py.wires.openai.fields import REASONING

#: Fields in which an assistant's message of chat completions carries thinking.
HISTORY = ("reasoning_content", "reasoning", "reasoning_details", "reasoning_opaque")


class Field(NamedTuple):
    """`targets`: what a field may become, on either wire; `rule`: of translation.md; `quirks`: that may be the cause;
    `note`: in words."""

    targets: tuple[str, ...]
    rule: str
    quirks: tuple[str, ...] = ()
    note: str = ""


#: Fields of a request, except for `system`, `messages` and `tools`.
FIELDS: dict[str, Field] = {
    "model": Field(("model",), "a19", (), "the deployment's model"),
    "max_tokens": Field(
        ("max_tokens", "max_completion_tokens", "max_output_tokens"),
        "a12",
        ("max_tokens_field", "max_tokens_limit", "min_tokens"),
    ),
    "temperature": Field(("temperature",), "a12", ("sampling", "temperature_max", "temperature_min")),
    "top_p": Field(("top_p",), "a12", ("sampling",)),
    "top_k": Field(("top_k",), "a12", ("sampling",)),
    "stop_sequences": Field(("stop",), "a12", ("stop_limit",), "a2py applies all of them itself"),
    "service_tier": Field(("service_tier",), "a12", ("service_tier",)),
    "metadata": Field(("prompt_cache_key",), "a12", ("cache",), "only the session goes on, where it is known"),
    "tool_choice": Field(
        ("tool_choice", "parallel_tool_calls"),
        "a10",
        (
            "tool_choice_named",
            "tool_choice_any",
            "tool_choice_none",
            "tool_choice_thinking",
            "parallel_tool_calls",
            "tools",
        ),
    ),
    "thinking": Field(REASONING, "a13", ("reasoning", "reasoning_unknown", "effort_off", "reasoning_with_tools")),
    "output_config": Field((*REASONING, "response_format", "text"), "a13", ("reasoning", "efforts", "structured")),
    "output_format": Field(("response_format", "text"), "a15", ("structured", "structured_with_tools")),
    "stream": Field(("stream",), "a18", ("stream_only", "whole_only")),
    "cache_control": Field((), "a16", ("cache",)),
    "mcp_servers": Field((), "a11"),
    "container": Field((), "a11"),
    "context_management": Field((), "a11"),
    "compaction": Field((), "a11"),
    "inference_geo": Field((), "a11"),
    "speed": Field((), "a11"),
    "task_budget": Field((), "a11"),
    "thread": Field((), "a11"),
}
#: Fields of the upstream's request that no field of the client's became.
ADDED_FIELDS: dict[str, Field] = {
    **{name: Field((), "a13", ("reasoning", "effort_off")) for name in REASONING},
    "stream": Field((), "a18", ("stream_only",)),
    "stream_options": Field((), "a18", (), "so that the upstream counts tokens"),
    "store": Field((), "c1", (), "nothing is stored at the vendor"),
    "include": Field((), "c1", (), "the reasoning goes to and fro encrypted"),
    "prompt_cache_key": Field((), "a12", ("cache",), "the session, so that it finds its cache again"),
    "tool_choice": Field((), "a10", ("tool_choice_none",)),
    "parallel_tool_calls": Field((), "a10", ("parallel_tool_calls",)),
    "tools": Field((), "a11", ("web_search",)),
    "plugins": Field((), "a11", ("web_search",)),
    "web_search_options": Field((), "a11", ("web_search",)),
    "max_tool_calls": Field((), "a11", ("max_tool_calls",)),
    "tool_stream": Field((), "a8", ("tool_stream",)),
    "response_format": Field((), "a15", ("structured",)),
    "text": Field((), "a15", ("structured",)),
    "max_tokens": Field((), "a12", ("max_tokens_limit", "min_tokens")),
    "max_completion_tokens": Field((), "a12", ("max_tokens_field", "max_tokens_limit", "min_tokens")),
    "max_output_tokens": Field((), "a12", ("max_tokens_limit", "min_tokens")),
}
#: Words of `x-a2py-degraded` → rule. Others are server tools and unknown blocks.
LOSS_RULES: dict[str, str] = {
    "image": "a6",
    "document": "a6",
    "citations": "a6",
    "prefill": "a17",
    "thinking": "a13",
    "effort": "a13",
    "tools": "a8",
    "tool_choice": "a10",
    "disable_parallel_tool_use": "a10",
    "output_format": "a15",
    "max_tokens": "a12",
}
#: Types of content blocks → what they become on chat completions and on Responses, with the rule and the quirks.
BLOCKS: dict[str, tuple[str, str, Field]] = {
    "tool_use": ("messages[].tool_calls", "input[] function_call", Field((), "a7", ("tool_ids", "broken_arguments"))),
    "tool_result": (
        "messages[] role tool",
        "input[] function_call_output",
        Field((), "a5", ("media_in_tool", "media_in_output", "empty_content")),
    ),
    "image": ("image_url", "input_image", Field((), "a6", ("images", "image_urls"))),
    "document": ("file", "input_file", Field((), "a6", ("documents",))),
    "thinking": (
        "messages[].reasoning",
        "input[] reasoning",
        Field((), "a14", ("reasoning_history", "reasoning_recent", "vendor_state")),
    ),
    "redacted_thinking": ("", "", Field((), "a14")),
    "search_result": ("text", "text", Field((), "a6", (), "as text with its source")),
}
