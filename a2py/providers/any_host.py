"""What a model family needs on a host that says nothing of itself: a relay of gpt-5, of Claude, of DeepSeek behind
`openai/` and an api_base.

A relay passes a request on to the vendor, so the vendor's rules hold although its address does not show. These rows are
the weakest knowledge there is besides the common subset: a host's row, the server's own word, a reply or a refusal
overrides each field.

Knows: request-side facts of families. Must not know: how rows are combined (choose.py), any single host.
Invariants: no row holds on gateways that translate (TRANSLATES) and on servers that run the weights themselves
(WEIGHTS): a model named gpt-5 on llama.cpp is not OpenAI's, and a limit that such a server ignores in silence is worse
than a refusal; `docs` names source and date.
"""

from __future__ import annotations

from functools import partial

from a2py.providers.families import NO_SAMPLING, OLLAMA, SELF_HOSTED, family
from a2py.providers.types import ModelRow

#: Servers that run weights themselves (`local_server`: one without a row). They know `max_tokens`, and no vendor's own
#: fields (their API pages and sources, table of 2026-11).
WEIGHTS = frozenset((*SELF_HOSTED, *OLLAMA, "local_server"))
#: Gateways that translate OpenAI's fields for the vendor behind, and so take `max_tokens` and `stop` of every
#: model (their pages, table of 2026-11).
TRANSLATES = frozenset(("openrouter", "vercel_ai_gateway", "litellm_proxy"))
_O_SERIES = "o[0-9]*"  # not olmo, not openchat


#: A row for hosts that no row of the provider table knows. Those of the table have rows of their own for how thinking
#: is asked for. `family` without `on` makes a row for every host but WEIGHTS and TRANSLATES.
_unknown = partial(family, on=("",))

FAMILIES: tuple[ModelRow, ...] = (
    # -- any model -----------------------------------------------------------------------------------------------------
    _unknown(
        "*",
        reasoning_history="reply",
        think_tags=True,
        docs="docs.vllm.ai interleaved thinking (2026-05): tool loops need the thoughts of earlier calls; "
        "<think> at the head of content: vllm/stream-tool-think-tags-01, "
        "llamacpp/nonstream-tool-think-tags-01 (no reasoning parser)",
    ),
    # -- OpenAI --------------------------------------------------------------------------------------------------------
    family(
        *(_O_SERIES, "gpt-5*", "gpt-[6-9]*"),
        max_tokens_field="max_completion_tokens",
        sampling=NO_SAMPLING,
        stop_limit=0,
        docs="openai/error-unsupported-parameter-01; openai 3.54.0 types: no stop for o3, o4-mini; "
        "temperature must be 1: 2026-09",
    ),
    family(_O_SERIES, parallel_tool_calls=False, max_tokens_limit=100_000, docs="OpenAI model pages (2025)"),
    _unknown(_O_SERIES, "gpt-5*", "gpt-[6-9]*", reasoning="effort", docs="OpenAI reasoning guide (2025-08)"),
    _unknown(
        "gpt-5*",
        efforts=("minimal", "low", "medium", "high"),
        effort_off="minimal",
        docs="OpenAI reasoning guide (2025-08)",
    ),
    _unknown("gpt-5-pro*", efforts=("high",), effort_off="", docs="only high (2025-10)"),
    _unknown(
        "gpt-5.*", efforts=("low", "medium", "high"), effort_off="none", docs="gpt-5.1 has none, not minimal (2025-11)"
    ),
    _unknown(
        *("gpt-5.[2-9]*", "gpt-[6-9]*"),
        efforts=("low", "medium", "high", "xhigh"),
        effort_off="none",
        docs="OpenAI reasoning guide (2026-03); where tools are refused beside an effort, the refusal teaches it",
    ),
    _unknown("gpt-*-chat*", reasoning="none", docs="the chat models don't reason (OpenAI model pages, 2025-08)"),
    _unknown(
        *("gpt-4o*", "chatgpt-4o*", "gpt-4.1*", "gpt-4-*", "gpt-3.5*"),
        reasoning="none",
        docs="OpenAI model pages (2025)",
    ),
    family("gpt-4o*", "chatgpt-4o*", max_tokens_limit=16_384, docs="OpenAI model pages (2025): 400 beyond"),
    family("gpt-4.1*", max_tokens_limit=32_768, docs="OpenAI model pages (2025): 400 beyond"),
    family("gpt-4-*", "gpt-3.5*", max_tokens_limit=4_096, docs="OpenAI model pages (2024): 400 beyond"),
    _unknown("gpt-oss*", reasoning="effort", docs="low, medium, high (model card, 2025-08)"),
    # -- Claude --------------------------------------------------------------------------------------------------------
    _unknown(
        "claude-*",
        reasoning="effort",
        cache="blocks",
        tool_choice_thinking=False,
        docs="relays map reasoning_effort to a budget, and pass cache_control: docs.litellm.ai (2026-10); "
        "no forced tool while it thinks",
    ),
    # -- DeepSeek, Qwen, GLM, Kimi, MiniMax ----------------------------------------------------------------------------
    _unknown(
        *("deepseek-v3.[1-9]*", "deepseek-v4*", "deepseek-chat*"),
        reasoning="thinking_type",
        reasoning_history="reasoning_content",
        reasoning_required=True,
        tool_choice_thinking=False,
        docs="api-docs.deepseek.com thinking_mode (2026-10): reasoning_content must return with tool calls",
    ),
    _unknown(
        *("deepseek-reasoner*", "deepseek-r1*"),
        reasoning_history="reasoning_content",
        docs="api-docs.deepseek.com: always reasons (2025-01)",
    ),
    _unknown(
        *("qwen3*", "qwen-3*", "qwen-plus*", "qwen-turbo*", "qwen-flash*", "qwen-max*"),
        reasoning="enable_thinking",
        reasoning_history="reasoning_content",
        docs="help.aliyun.com model-studio deep thinking (2026-10)",
    ),
    _unknown(
        "qwen3-coder*",
        "qwen3-*-instruct*",
        "qwen3-*-thinking*",
        reasoning="none",
        docs="Qwen model cards: one mode only (2025-07)",
    ),
    _unknown(
        *("glm-4.[5-9]*", "glm-[5-9]*"),
        reasoning="thinking_type",
        reasoning_history="reasoning_content",
        docs="docs.z.ai thinking-mode (2026-10)",
    ),
    _unknown(
        "kimi-k2*",
        reasoning_history="reasoning_content",
        reasoning_required=True,
        docs="platform.kimi.ai (2026-10): reasoning_content must return with tool calls",
    ),
    _unknown(
        "kimi-k2.[5-9]*", reasoning="thinking_type", tool_choice_thinking=False, docs="platform.kimi.ai (2026-10)"
    ),
    _unknown(
        "kimi-k2-thinking*", "kimi-k2.7-code*", reasoning="none", docs="platform.kimi.ai: thinks always (2026-06)"
    ),
    _unknown(
        *("kimi-k3*", "kimi-[4-9]*", "k3*"),
        reasoning="effort",
        efforts=("low", "high", "max"),
        reasoning_history="reasoning_content",
        reasoning_required=True,
        docs="platform.kimi.ai: low, high, max, never off (2026-10)",
    ),
    _unknown("minimax-m*", temperature_max=1.0, docs="MiniMax's text API: temperature up to 1 (2026-06)"),
    # -- Gemini, Grok, Mistral -----------------------------------------------------------------------------------------
    _unknown(
        *("gemini-2.5*", "gemini-[3-9]*", "gemini-flash*", "gemini-pro*"),
        reasoning="effort",
        efforts=("minimal", "low", "medium", "high"),
        effort_off="minimal",
        max_tokens_limit=65_536,
        docs="ai.google.dev openai compatibility, reasoning_effort table (2026-10)",
    ),
    _unknown("gemini-2.5-flash*", effort_off="none", docs="reasoning can be off in 2.5 Flash only (2025-06)"),
    family(
        *("grok-4*", "grok-[5-9]*", "grok-code*", "grok-build*", "grok-3-mini*", "grok-latest"),
        stop_limit=0,
        docs="400 Model does not support parameter stop: grok-4.3, grok-4.5, grok-build-0.1 (2026-07)",
    ),
    _unknown("grok-3-mini*", reasoning="effort", efforts=("low", "high"), docs="docs.x.ai reasoning (2025-07)"),
    _unknown("grok-4.3*", "grok-latest", reasoning="effort", effort_off="none", docs="@ai-sdk/xai 4.0 (2026-06)"),
    _unknown(
        "grok-4.[5-9]*", "grok-[5-9]*", reasoning="effort", docs="low, medium, high, never off: docs.x.ai (2026-07)"
    ),
    _unknown(
        *("mistral-medium-3-5*", "mistral-medium-3.5*", "mistral-medium-latest"),
        reasoning="effort",
        effort_off="none",
        docs="docs.mistral.ai reasoning (2026-06)",
    ),
    _unknown(
        "mistral-small*", reasoning="effort", efforts=("high",), effort_off="none", docs="@ai-sdk/mistral 3 (2026-03)"
    ),
    _unknown("magistral*", reasoning_history="thinking_part", docs="docs.mistral.ai reasoning (2025-06)"),
)
