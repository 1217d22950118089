"""Rows of the vendors that serve their own models.

Knows: bases, keys, hosts, native endpoints, quirks. Must not know: the environment, sockets.
Invariants: a quirk stands here only if a recording or the vendor's documentation shows it; `docs` names both, with the
date it was seen.
"""

from __future__ import annotations

from a2py.providers.families import WITH_TOP_K
from a2py.providers.types import Provider, row

#: What needs an `anthropic-beta` that other vendors are never sent (Claude Code 2.1.332 sends all of it, 2026-11), so
#: it is left out there.
BETA_FIELDS = frozenset(
    {
        "context_management",
        "diagnostics",
        "fallbacks",
        "mcp_servers",
        "messages.clear_at",
        "messages.output_config",
        "messages.tool_reference",
        "safeguards",
        "speed",
        "thinking.display",
        "tools.defer_loading",
        "tools.eager_input_streaming",
    }
)
#: … and the tools that only Anthropic runs: others answer 400 or 422 to them ("function name or parameters is empty",
#: MiniMax, 2026-06).
BARE_FIELDS = BETA_FIELDS | {"messages.redacted_thinking", "tools.typed", "tools.web_search"}
#: … and documents: no such block is known (DeepSeek's, MiniMax's and Ollama's pages, vLLM
#: 0.26; 2026-11).
TEXT_FIELDS = BARE_FIELDS | {"messages.document"}
#: Endpoints of OpenAI's API for anything but text.
NO_TEXT = frozenset(
    (
        *("embeddings", "moderations", "rerank", "audio/transcriptions", "audio/translations", "audio/speech"),
        *("images/generations", "images/edits"),
    )
)
_MISTRAL = {
    "prefill": "prefix",
    "tool_choice_any": "any",
    "tool_ids": "mistral9",
    "alternation": True,
    "after_tool": "Done.",
    "stream_usage": False,
    "cache": "key",
}
_ZHIPU = {
    "reasoning": "thinking_type",
    "keep_thinking": True,
    "reasoning_history": "reasoning_content",
    "tool_choice_any": "",
    "tool_choice_named": "none",
    "tool_choice_none": False,
    "tool_stream": True,
    "stop_limit": 1,
    "temperature_max": 1.0,
    "structured": "json_object",
    "native_drop": BARE_FIELDS,
}

VENDORS: tuple[Provider, ...] = (
    row(
        "openai",
        "https://api.openai.com/v1",
        bases=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        env_headers={"OpenAI-Organization": "OPENAI_ORGANIZATION"},
        hosts=("api.openai.com", ".api.openai.com"),  # eu., us. and others: data residency (2026)
        default_model="gpt-6.1-sol",
        quirks={
            "mid_system": "inline",
            "documents": "file",
            "max_tokens_field": "max_completion_tokens",
            "service_tier": True,
            "media_in_output": True,
            "tool_id_limit": 40,
            "cache": "key",
            "web_search": "responses",
        },
        docs="openai 3.54.0 types (2026-11); max_tokens refused by reasoning models: "
        "openai/error-unsupported-parameter-01",
    ),
    row(
        "azure",
        auth="api-key",
        hosts=(".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"),
        quirks={"mid_system": "inline", "media_in_output": True, "tool_id_limit": 40},
        docs="recordings of 2025–2026 send max_tokens with gpt-4o, gpt-4.1-mini; a deployment's own name tells no "
        "model family",
    ),
    row(
        "anthropic",
        "https://api.anthropic.com",
        auth="x-api-key",
        wire="native",
        native="https://api.anthropic.com",
        native_models=("*",),
        default_model="claude-opus-5-5",
        quirks={"mid_system": "inline", "native_betas": "all", "native_count": True, "tool_ids": "keep"},
        docs="the protocol itself; default model as Claude Code 2.1.332 asks for it (2026-11)",
    ),
    row(
        "deepseek",
        "https://api.deepseek.com",
        native="https://api.deepseek.com/anthropic",
        native_models=("deepseek-*",),
        default_model="deepseek-v4-pro",
        lacks=NO_TEXT,
        quirks={
            "reasoning": "thinking_effort",
            "efforts": ("low", "high", "max"),
            "reasoning_history": "reasoning_content",
            "reasoning_required": True,
            "tool_choice_thinking": False,
            "structured": "json_object",
            "native_drop": TEXT_FIELDS - {"tools.web_search"},  # it has one of its own
        },
        docs="api-docs.deepseek.com thinking_mode, anthropic_api (2026-10); deepseek/error-400-01 (only text parts), "
        "-02 (tool_choice)"
        "; its API reference: chat and FIM completions only (2026-06); its /anthropic: 400 without the thinking of "
        "earlier calls, web_search runs there: 2026-04 to 2026-09",
    ),
    row(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        keys=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        default_model="gemini-3.8-flash",
        quirks={
            "documents": "image_url",
            "schema": (
                "inline_refs",
                "drop_$schema",
                "drop_additional_properties",
                "const_to_enum",
                "any_of_from_type_list",
                "drop_exclusive_bounds",
                "drop_formats",
                "known_required",
                "no_empty_object",
            ),
        },
        docs="ai.google.dev openai compatibility (2026-10); thought signatures: "
        "gemini-compat/nonstream-tool-reasoning-01; 400 `property is not defined`: AIStudioToAPI issue 154 (2026-05)",
    ),
    row(
        "xai",
        "https://api.x.ai/v1",
        default_model="grok-4.7",
        quirks={"max_tokens_field": "max_completion_tokens", "session_header": "x-grok-conv-id"},
        docs="docs.x.ai reasoning, prompt-caching (2026-10); recordings with max_completion_tokens and with a "
        "tool_choice object (grok-3)",
    ),
    row(
        "mistral",
        "https://api.mistral.ai/v1",
        default_model="mistral-medium-latest",
        quirks={**_MISTRAL, "reasoning_history": "thinking_part"},
        docs="recordings (nine-character ids, tool_choice any, usage unasked for); code 3230 user after tool: "
        "2025-12, 2026-08; "
        "docs.mistral.ai prompt-caching: no cache without prompt_cache_key (2026-10)",
    ),
    row(
        "codestral",
        "https://codestral.mistral.ai/v1",
        default_model="codestral-latest",
        quirks=_MISTRAL,
        docs="the same server as Mistral's, by its own key (docs.mistral.ai, 2026-10)",
    ),
    row(
        "minimax",
        "https://api.minimax.io/v1",
        native="https://api.minimax.io/anthropic",
        native_models=("minimax-m*",),
        hosts=("api.minimax.io", "api.minimaxi.com"),
        default_model="MiniMax-M3",
        quirks={
            "reasoning": "minimax",
            "reasoning_history": "reasoning_details",
            "think_tags": True,
            "empty_content": "(no output)",
            "max_tokens_field": "max_completion_tokens",
            "temperature_max": 1.0,
            "temperature_min": 0.01,
            "structured": "none",
            "native_drop": TEXT_FIELDS,
            "native_thinking": "adaptive",
        },
        docs="platform.minimax.io text-openai-api (temperature above 0, to 1), text-anthropic-api (2026-10); "
        "minimax/stream-reasoning-details-no-done-01; 400 chat content is empty (2013): 2026-04, function name or "
        "parameters is empty, of a "
        "server tool: 2026-06; thinking only adaptive or disabled: 2026-06",
    ),
    row(
        "moonshot",
        "https://api.moonshot.ai/v1",
        native="https://api.moonshot.ai/anthropic",
        native_models=("kimi-*",),
        hosts=("api.moonshot.ai", "api.moonshot.cn"),
        default_model="kimi-k3",
        quirks={
            "empty_content": "(no output)",
            "max_tokens_field": "max_completion_tokens",
            "temperature_max": 1.0,
            "native_drop": BARE_FIELDS,
        },
        docs="platform.kimi.ai chat API (2026-10): temperature 0 to 1, max_completion_tokens; content must not be "
        "empty: 2025-10; "
        "400 unsupported content type tool_reference: 2026-03",
    ),
    row(
        "dashscope",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        native="https://dashscope.aliyuncs.com/apps/anthropic",
        native_models=("qwen*",),
        hosts=(
            "dashscope.aliyuncs.com",
            "dashscope-intl.aliyuncs.com",
            "dashscope-us.aliyuncs.com",
            ".maas.aliyuncs.com",
        ),
        default_model="qwen3.8-max",
        quirks={
            "sampling": WITH_TOP_K,
            "empty_content": "(no output)",
            "tool_choice_thinking": False,
            "structured": "json_object",
            "structured_thinking": False,
            "cache": "blocks",
            "native_drop": BARE_FIELDS,
        },
        docs="help.aliyun.com model-studio deep-thinking, qwen-structured-output (2026-10): JSON mode without "
        "thinking only; 400 tool_choice in thinking mode: 2026-04 to 2026-09; content must not be empty: 2025-10",
    ),
    row(
        "zai",
        "https://api.z.ai/api/paas/v4",
        native="https://api.z.ai/api/anthropic",
        native_models=("glm-*",),
        default_model="glm-5.3",
        quirks=_ZHIPU,
        docs="docs.z.ai thinking-mode, chat completion (2026-10): tool_choice only auto, one stop, temperature to 1; "
        "tool_stream: 2026-08",
    ),
    row(
        "bigmodel",
        "https://open.bigmodel.cn/api/paas/v4",
        native="https://open.bigmodel.cn/api/anthropic",
        native_models=("glm-*",),
        default_model="glm-5.3",
        quirks=_ZHIPU,
        docs="Z.ai's server in China: the same rules (docs.bigmodel.cn, 2026-10)",
    ),
    row(
        "volcengine",
        "https://ark.cn-beijing.volces.com/api/v3",
        keys=("ARK_API_KEY", "VOLCENGINE_API_KEY"),
        hosts=(".volces.com",),
        docs="volcengine/error-max-tokens-both-01: one output limit only; the developer role is refused (2026-10)",
    ),
    row(
        "xiaomi_mimo",
        "https://api.xiaomimimo.com/v1",
        keys=("XIAOMI_MIMO_API_KEY", "MIMO_API_KEY"),
        default_model="mimo-v2.5-pro",
        quirks={"reasoning": "thinking_type", "reasoning_history": "reasoning_content", "structured": "json_object"},
        docs="platform.xiaomimimo.com (2026-10): thinking on and off, JSON mode without a schema",
    ),
    row(
        "perplexity",
        "https://api.perplexity.ai",
        keys=("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"),
        default_model="sonar-pro",
        quirks={"tools": False, "alternation": True, "prefill": "instruct", "web_search": "always"},
        docs="docs.perplexity.ai (2026): no function calling in Sonar, which always searches, user and assistant "
        "alternate, the last message is the user's; recordings",
    ),
    row(
        "meta_llama",
        "https://api.llama.com/compat/v1",
        keys=("META_LLAMA_API_KEY", "LLAMA_API_KEY"),
        bases=("META_LLAMA_API_BASE", "LLAMA_API_BASE"),
        docs="LiteLLM's provider page (2026-10)",
    ),
)
