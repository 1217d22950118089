"""What each row of the provider table and each model family sends differently: one fact a row, and each quirk proven by
reverting it."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest

from a2py.providers import PROVIDERS, choose, find_host_row, find_quirks
from a2py.providers.models import MODELS
from a2py.providers.vendors import BARE_FIELDS, BETA_FIELDS, TEXT_FIELDS
from a2py.quirks import Quirks, override

#: What every host that no row knows gets besides the common subset.
_UNKNOWN_HOST: dict[str, Any] = {"reasoning_history": "reply", "think_tags": True}
TOP_K = frozenset({"temperature", "top_p", "top_k"})
GEMINI_SCHEMA = (
    *("inline_refs", "drop_$schema", "drop_additional_properties", "const_to_enum", "any_of_from_type_list"),
    *("drop_exclusive_bounds", "drop_formats", "known_required", "no_empty_object"),
)

#: provider, base, model, fields that must differ from the common subset in this way. One fact a row; its date stands in
#: the row's `docs`.
FACTS: list[tuple[str, str, str, dict[str, Any]]] = [
    # the common subset: unknown servers, and `openai` at a foreign host
    ("openai", "http://10.0.0.2:8000/v1", "my-model", _UNKNOWN_HOST),
    ("openai", "https://gateway.example/v1", "llama-4-scout", _UNKNOWN_HOST),
    ("nobody", "", "my-model", _UNKNOWN_HOST),
    ("nobody", "https://gateway.example", "", _UNKNOWN_HOST),
    # a host tells the row: openai/ with DeepSeek's base (2026-10)
    (
        "openai",
        "https://api.deepseek.com",
        "deepseek-v4-flash",
        {"reasoning": "thinking_effort", "tool_choice_thinking": False},
    ),
    ("openai", "http://localhost:11434/v1", "llama3.2", {"context_probe": "ollama"}),
    ("nobody", "https://api.groq.com/openai/v1", "llama-4", {"structured_with_tools": False}),
    # a name outweighs a port and an unknown host, not a known host
    ("hosted_vllm", "http://localhost:11434/v1", "m", {"tokenizer": "vllm", "context_probe": ""}),
    ("deepseek", "https://corporate.example/deepseek", "deepseek-v4-flash", {"reasoning": "thinking_effort"}),
    ("deepseek", "https://openrouter.ai/api/v1", "deepseek/deepseek-v4-flash", {"reasoning": "openrouter"}),
    ("anthropic", "https://api.z.ai/api/anthropic", "glm-4.7", {"native_betas": "none", "native_count": False}),
    # OpenAI (openai 3.54.0, 2026-11; recordings)
    ("openai", "", "gpt-4.1", {"media_in_output": True}),
    ("azure", "https://x.openai.azure.com", "my-deployment", {"media_in_output": True}),
    (
        "openai",
        "",
        "gpt-4.1",
        {"documents": "file", "mid_system": "inline", "cache": "key", "service_tier": True, "tool_id_limit": 40},
    ),
    (
        "openai",
        "",
        "gpt-4o",
        {"max_tokens_field": "max_completion_tokens", "reasoning": "none", "stop_limit": 4, "web_search": "responses"},
    ),
    (
        "openai",
        "",
        "gpt-5-mini",
        {"reasoning": "effort", "efforts": ("minimal", "low", "medium", "high"), "effort_off": "minimal"},
    ),
    (
        "openai",
        "",
        "gpt-5-mini",
        {"sampling": frozenset(), "stop_limit": 0, "reasoning_with_tools": True, "cache": "key"},
    ),
    ("openai", "", "gpt-5-pro", {"efforts": ("high",), "effort_off": "", "min_tokens": 8192}),
    (
        "openai",
        "",
        "gpt-5.1",
        {"efforts": ("low", "medium", "high"), "effort_off": "none", "reasoning_with_tools": True},
    ),
    (
        "openai",
        "",
        "gpt-5.4",
        {"efforts": ("low", "medium", "high", "xhigh"), "effort_off": "none", "reasoning_with_tools": False},
    ),
    ("openai", "", "gpt-5.6-sol", {"efforts": ("low", "medium", "high", "xhigh", "max"), "cache": "breakpoint"}),
    (
        "openai",
        "",
        "gpt-6.1-terra",
        {"efforts": ("low", "medium", "high", "xhigh", "max"), "reasoning_with_tools": False},
    ),
    ("openai", "", "gpt-5.2-chat-latest", {"reasoning": "none", "reasoning_with_tools": True, "cache": "key"}),
    (
        "openai",
        "",
        "o3-mini",
        {"reasoning": "effort", "system_role": "developer", "parallel_tool_calls": False, "min_tokens": 4096},
    ),
    (
        "openai",
        "",
        "O4-Mini",
        {"sampling": frozenset(), "stop_limit": 0, "efforts": ("low", "medium", "high"), "effort_off": ""},
    ),
    ("openai", "", "gpt-oss-120b", {"reasoning": "none", "images": False, "min_tokens": 4096}),
    # Azure: the same models, without files and cache keys (recordings, 2025–2026)
    (
        "azure",
        "https://x.openai.azure.com",
        "gpt-4o",
        {"max_tokens_field": "max_tokens", "documents": "none", "mid_system": "inline"},
    ),
    (
        "azure",
        "https://x.openai.azure.com",
        "gpt-5-nano",
        {"max_tokens_field": "max_completion_tokens", "effort_off": "minimal"},
    ),
    ("github", "", "openai/gpt-5-mini", {"reasoning": "effort", "max_tokens_field": "max_completion_tokens"}),
    # output limits (model pages, 2025): Claude Code asks for 32,000 to 128,000
    ("openai", "", "gpt-4o-mini", {"max_tokens_limit": 16384}),
    ("openai", "", "gpt-4.1-mini", {"max_tokens_limit": 32768}),
    ("openai", "", "gpt-4-turbo", {"max_tokens_limit": 4096}),
    ("azure", "https://x.openai.azure.com", "o4-mini", {"max_tokens_limit": 100000}),
    ("openai", "", "gpt-5-mini", {"max_tokens_limit": 0}),
    # DeepSeek (docs 2026-10; error-400-01, -02)
    ("deepseek", "", "deepseek-v4-pro", {"efforts": ("low", "high", "max"), "reasoning_history": "reasoning_content"}),
    (
        "deepseek",
        "",
        "deepseek-v4-pro",
        {"reasoning_required": True, "images": False, "structured": "json_object", "documents": "none"},
    ),
    ("deepseek", "", "deepseek-chat", {"reasoning": "none", "reasoning_required": False, "tool_choice_thinking": True}),
    ("deepseek", "", "deepseek-reasoner", {"reasoning": "none", "reasoning_required": True, "min_tokens": 4096}),
    # Gemini (docs 2026-10; recordings)
    (
        "gemini",
        "",
        "gemini-3.8-flash",
        {"reasoning": "gemini", "reasoning_history": "thought_signature", "reasoning_required": True},
    ),
    ("gemini", "", "gemini-3.8-flash", {"documents": "image_url", "effort_off": "minimal", "min_tokens": 4096}),
    ("gemini", "", "gemini-2.5-flash-lite", {"effort_off": "none", "min_tokens": 0, "reasoning_required": False}),
    ("gemini", "", "gemini-2.0-flash", {"reasoning": "none", "reasoning_history": "none", "max_tokens_limit": 8192}),
    ("gemini", "", "gemini-3.8-flash", {"max_tokens_limit": 65536}),
    ("gemini", "", "gemini-2.5-pro", {"max_tokens_limit": 65536}),
    ("gemini", "", "gemma-3-27b-it", {"alternation": True, "reasoning": "none"}),
    # xAI (400 for stop: 2026-07; efforts: 2026-06, 2026-07)
    ("xai", "", "grok-4.3", {"reasoning": "effort", "effort_off": "none", "stop_limit": 0, "min_tokens": 0}),
    ("xai", "", "grok-4.7", {"reasoning": "effort", "effort_off": "", "min_tokens": 4096}),
    ("xai", "", "grok-3-mini", {"efforts": ("low", "high"), "session_header": "x-grok-conv-id"}),
    ("xai", "", "grok-4-fast-reasoning", {"reasoning": "none", "stop_limit": 0}),
    ("xai", "", "grok-3", {"reasoning": "none", "stop_limit": 4, "max_tokens_field": "max_completion_tokens"}),
    # Mistral (recordings; 3230 user after tool: 2025-12, 2026-08)
    (
        "mistral",
        "",
        "mistral-large-latest",
        {"tool_ids": "mistral9", "tool_choice_any": "any", "prefill": "prefix", "after_tool": "Done."},
    ),
    (
        "mistral",
        "",
        "mistral-large-latest",
        {"alternation": True, "stream_usage": False, "reasoning": "none", "cache": "key"},
    ),
    ("mistral", "", "mistral-small-latest", {"reasoning": "effort", "efforts": ("high",), "effort_off": "none"}),
    (
        "mistral",
        "",
        "mistral-medium-latest",
        {"efforts": ("low", "medium", "high"), "reasoning_history": "thinking_part"},
    ),
    (
        "mistral",
        "",
        "magistral-medium-latest",
        {"reasoning": "none", "reasoning_history": "thinking_part", "min_tokens": 4096},
    ),
    (
        "codestral",
        "",
        "codestral-latest",
        {"tool_ids": "mistral9", "images": False, "reasoning_history": "none", "cache": "key"},
    ),
    # … and its models anywhere (2025-07 to 2026-08)
    (
        "nvidia_nim",
        "",
        "mistralai/mistral-small-4-119b-2603",
        {"after_tool": "Done.", "tool_ids": "mistral9", "reasoning": "none"},
    ),
    ("openai", "http://box:9/v1", "mistralai/Devstral-Small-2-24B", {"after_tool": "Done.", "alternation": True}),
    ("openai", "http://box:9/v1", "google/gemma-2-9b-it", {"system_as_user": True, "alternation": True}),
    # MiniMax (docs 2026-10)
    (
        "minimax",
        "",
        "MiniMax-M2.7",
        {"reasoning": "minimax", "reasoning_history": "reasoning_details", "temperature_max": 1.0},
    ),
    ("minimax", "", "MiniMax-M3", {"temperature_min": 0.01}),
    ("minimax", "", "MiniMax-M2.7", {"think_tags": True, "structured": "none", "images": False}),
    (
        "minimax",
        "",
        "MiniMax-M3",
        {"structured": "json_schema", "images": True, "max_tokens_field": "max_completion_tokens"},
    ),
    # Moonshot (400 temperature: 2026-07; K3: 2026-10)
    ("moonshot", "", "kimi-k2.6", {"reasoning": "thinking_type", "reasoning_required": True, "sampling": frozenset()}),
    (
        "moonshot",
        "",
        "kimi-k2.6",
        {"tool_choice_thinking": False, "reasoning_history": "reasoning_content", "tool_choice_any": "required"},
    ),
    (
        "moonshot",
        "",
        "kimi-k2.7-code",
        {"reasoning": "none", "tool_choice_any": "", "tool_choice_named": "none", "min_tokens": 4096},
    ),
    (
        "moonshot",
        "",
        "kimi-k3",
        {"reasoning": "effort", "efforts": ("low", "high", "max"), "tool_choice_named": "only"},
    ),
    ("moonshot", "", "kimi-k3", {"min_tokens": 8192, "effort_off": "", "tool_choice_thinking": True}),
    (
        "moonshot",
        "",
        "moonshot-v1-128k",
        {"temperature_max": 1.0, "sampling": frozenset({"temperature", "top_p"}), "reasoning": "none"},
    ),
    # DashScope (400 tool_choice in thinking mode: 2026-04 to 2026-09)
    (
        "dashscope",
        "",
        "qwen3.8-max",
        {"reasoning": "enable_thinking", "tool_choice_thinking": False, "cache": "blocks"},
    ),
    ("dashscope", "", "qwen3.8-max", {"structured_thinking": False}),
    ("dashscope", "", "qwen3-coder-plus", {"reasoning": "none", "images": False, "structured": "json_object"}),
    ("dashscope", "", "qwq-plus", {"stream_only": True, "reasoning": "none"}),
    ("dashscope", "", "qwen3-235b-a22b-thinking-2507", {"stream_only": True, "reasoning": "none"}),
    # Z.ai, BigModel (docs 2026-10)
    (
        "zai",
        "",
        "glm-4.6",
        {"reasoning": "thinking_type", "keep_thinking": True, "tool_stream": True, "max_tokens_limit": 131072},
    ),
    (
        "zai",
        "",
        "glm-4.6",
        {"tool_choice_any": "", "tool_choice_named": "none", "stop_limit": 1, "temperature_max": 1.0},
    ),
    ("zai", "", "glm-4.5-air", {"max_tokens_limit": 98304, "images": False}),
    ("zai", "", "glm-4.6v", {"images": True, "reasoning_history": "reasoning_content"}),
    ("bigmodel", "", "glm-5.2", {"reasoning": "thinking_effort", "efforts": ("high", "max"), "images": False}),
    (
        "bigmodel",
        "",
        "glm-5.3",
        {
            "reasoning": "thinking_effort",
            "keep_thinking": True,
            "efforts": ("low", "high", "max"),
            "min_tokens": 4096,
            "effort_off": "",
        },
    ),
    # further vendors
    ("volcengine", "", "doubao-seed-2-0-pro", {"reasoning": "thinking_type", "max_tokens_field": "max_tokens"}),
    (
        "xiaomi_mimo",
        "",
        "mimo-v2.5-pro",
        {"reasoning": "thinking_type", "reasoning_history": "reasoning_content", "structured": "json_object"},
    ),
    ("perplexity", "", "sonar", {"tools": False, "alternation": True, "web_search": "always"}),
    # OpenRouter, Vercel (docs 2026-09, 2026-10)
    (
        "openrouter",
        "",
        "z-ai/glm-4.6",
        {"reasoning": "openrouter", "reasoning_history": "reasoning_details", "cache": "key"},
    ),
    (
        "openrouter",
        "",
        "z-ai/glm-4.6",
        {"documents": "file", "web_search": "plugin", "effort_off": "none", "tool_stream": False},
    ),
    (
        "openrouter",
        "",
        "anthropic/claude-haiku-4.5",
        {"cache": "keyed_blocks", "sampling": frozenset({"temperature", "top_p", "top_k"})},
    ),
    ("openrouter", "", "anthropic/claude-opus-5.5", {"sampling": frozenset({"temperature"})}),
    ("openrouter", "", "anthropic/claude-sonnet-5", {"sampling": frozenset()}),
    ("openrouter", "", "qwen/qwen3-coder-plus", {"cache": "keyed_blocks"}),
    ("openrouter", "", "openai/gpt-5.6", {"cache": "keyed_blocks"}),
    ("openrouter", "", "openai/gpt-5.5", {"cache": "key"}),
    (
        "openrouter",
        "",
        "google/gemini-3.8-flash",
        {"cache": "keyed_blocks", "reasoning_history": "reasoning_details", "reasoning": "openrouter"},
    ),
    ("openrouter", "", "openai/gpt-5.5", {"sampling": frozenset(), "stop_limit": 0, "max_tokens_field": "max_tokens"}),
    ("openrouter", "", "openai/gpt-5.5-pro", {"min_tokens": 8192}),
    ("openrouter", "", "x-ai/grok-4.7", {"stop_limit": 0}),
    ("openrouter", "", "x-ai/grok-4.6", {"stop_limit": 4}),
    ("vercel_ai_gateway", "", "openai/gpt-5", {"reasoning": "openrouter", "reasoning_history": "reasoning_details"}),
    # hosts of others' models
    (
        "groq",
        "",
        "openai/gpt-oss-120b",
        {"reasoning": "effort", "effort_off": "", "min_tokens": 4096, "reasoning_history": "reasoning"},
    ),
    ("groq", "", "qwen/qwen3-32b", {"efforts": ("default",), "effort_off": "none", "think_tags": True}),
    ("groq", "", "qwen/qwen3.8-27b", {"efforts": ("low", "medium", "high"), "effort_off": "none"}),
    ("groq", "", "groq/compound-mini", {"tools": False}),
    ("groq", "", "deepseek-r1-distill-llama-70b", {"think_tags": True, "max_tokens_field": "max_completion_tokens"}),
    (
        "cerebras",
        "",
        "gpt-oss-120b",
        {"reasoning": "effort", "parallel_tool_calls": False, "structured_with_tools": False},
    ),
    (
        "cerebras",
        "",
        "zai-glm-4.7",
        {"reasoning": "effort", "effort_off": "none", "temperature_max": 1.5, "images": False},
    ),
    ("cerebras", "", "gemma-4-31b", {"images": True}),
    (
        "together_ai",
        "",
        "moonshotai/Kimi-K2.6",
        {"reasoning": "together", "sampling": frozenset({"temperature", "top_p", "top_k"})},
    ),
    ("together_ai", "", "zai-org/GLM-5.3", {"reasoning": "effort", "efforts": ("low", "medium", "high", "max")}),
    ("together_ai", "", "zai-org/GLM-5.2", {"reasoning": "together"}),
    ("together_ai", "", "openai/gpt-oss-20b", {"reasoning": "effort", "reasoning_history": "none"}),
    (
        "fireworks_ai",
        "",
        "accounts/fireworks/models/glm-5p1",
        {"efforts": ("high", "max"), "effort_off": "none", "cache": "key"},
    ),
    ("fireworks_ai", "", "accounts/fireworks/models/kimi-k2p6", {"effort_off": "", "min_tokens": 4096}),
    ("fireworks_ai", "", "accounts/fireworks/models/deepseek-v4-pro", {"efforts": ("low", "medium", "high", "xhigh")}),
    ("fireworks_ai", "", "accounts/fireworks/models/deepseek-r1", {"think_tags": True, "reasoning": "none"}),
    ("siliconflow", "", "Qwen/Qwen3-32B", {"reasoning": "enable_thinking"}),
    ("siliconflow", "", "Qwen/Qwen3-30B-A3B-Instruct-2507", {"reasoning": "none"}),
    ("nvidia_nim", "", "z-ai/glm5", {"reasoning": "template", "template_key": "enable_thinking"}),
    ("huggingface", "", "deepseek-ai/DeepSeek-R1", {"think_tags": True}),
    # servers of one's own
    (
        "hosted_vllm",
        "http://h:8000/v1",
        "Qwen/Qwen3-8B",
        {"reasoning": "template", "reasoning_history": "reasoning", "think_tags": True},
    ),
    (
        "hosted_vllm",
        "http://h:8000/v1",
        "deepseek-ai/DeepSeek-V3.1",
        {"reasoning": "template", "template_key": "thinking"},
    ),
    ("hosted_vllm", "http://h:8000/v1", "Qwen/Qwen3-Coder-30B", {"reasoning": "none"}),
    ("hosted_vllm", "http://h:8000/v1", "openai/gpt-oss-20b", {"reasoning": "effort", "tool_choice_named": "object"}),
    (
        "hosted_vllm",
        "http://h:8000/v1",
        "meta-llama/Llama-3.3-70B-Instruct",
        {"reasoning": "none", "tokenizer": "vllm", "images": False},
    ),
    ("llamacpp", "", "Qwen3-1.7B-Q4_K_M", {"tool_choice_named": "only", "tokenizer": "llamacpp", "think_tags": True}),
    ("llamafile", "", "whatever", {"tool_choice_named": "only", "reasoning_history": "reasoning_content"}),
    (
        "docker_model_runner",
        "",
        "ai/qwen3",
        {"tool_choice_named": "only", "tokenizer": "none", "reasoning": "template"},
    ),
    ("sglang", "", "zai-org/GLM-4.6", {"reasoning": "template", "reasoning_history": "reasoning_content"}),
    (
        "lm_studio",
        "http://127.0.0.1:1234/v1",
        "qwen3-30b-a3b",
        {"tool_choice_named": "only", "think_tags": True, "reasoning": "none"},
    ),
    (
        "ollama",
        "",
        "llama3.1",
        {"reasoning": "none", "tool_choice_named": "only", "image_urls": False, "context_probe": "ollama"},
    ),
    ("ollama_chat", "", "qwen3:8b", {"reasoning": "effort", "effort_off": "none", "reasoning_history": "reasoning"}),
    ("ollama", "", "gpt-oss:20b", {"reasoning": "effort", "effort_off": "", "min_tokens": 4096}),
    ("ollama", "", "qwen3-coder:30b", {"reasoning": "none"}),
    (
        "litellm_proxy",
        "http://proxy:4000",
        "llama-4",
        {"cache": "blocks", "documents": "file", "reasoning": "none", "reasoning_history": "reply"},
    ),
    (
        "litellm_proxy",
        "http://proxy:4000",
        "claude-sonnet-5.5",
        {"reasoning": "effort", "tool_choice_thinking": False, "think_tags": True},
    ),
    ("litellm_proxy", "http://proxy:4000", "gemini-3-flash", {"reasoning": "effort"}),
    ("litellm_proxy", "http://proxy:4000", "gpt-5.4", {"reasoning": "effort", "reasoning_with_tools": True}),
    # servers that run weights: what holds for any model there
    ("hosted_vllm", "http://h:8000/v1", "any", {"think_tags": True}),
    ("lm_studio", "http://h:1234/v1", "any", {"think_tags": True, "reasoning_history": "reply"}),
    ("ollama", "", "any", {"think_tags": True}),
    # facts of a row whatever the model is called
    ("azure", "https://x.openai.azure.com", "my-deployment", {"tool_id_limit": 40}),
    ("deepseek", "", "deepseek-v4-flash", {"native_drop": TEXT_FIELDS - {"tools.web_search"}}),
    ("hosted_vllm", "http://h:8000/v1", "qwen3", {"native_drop": TEXT_FIELDS, "native_count": True}),
    ("llamacpp", "", "qwen3", {"native_drop": TEXT_FIELDS}),
    ("ollama", "", "qwen3", {"native_drop": TEXT_FIELDS}),
    ("ollama_chat", "", "qwen3", {"native_drop": TEXT_FIELDS}),
    ("llamafile", "", "qwen3", {"native_drop": TEXT_FIELDS}),
    ("docker_model_runner", "", "ai/qwen3", {"native_drop": TEXT_FIELDS}),
    ("sglang", "", "qwen3", {"native_drop": TEXT_FIELDS}),
    ("lm_studio", "http://h:1234/v1", "qwen3", {"native_drop": TEXT_FIELDS}),
    ("openrouter", "", "anthropic/claude-sonnet-5.5", {"native_drop": BETA_FIELDS}),
    ("minimax", "", "MiniMax-M3", {"native_drop": TEXT_FIELDS, "native_thinking": "adaptive"}),
    ("moonshot", "", "kimi-k3", {"native_drop": BARE_FIELDS, "max_tokens_field": "max_completion_tokens"}),
    ("dashscope", "", "qwen3.8-max", {"native_drop": BARE_FIELDS, "sampling": TOP_K}),
    ("zai", "", "glm-5.3", {"native_drop": BARE_FIELDS, "structured": "json_object"}),
    (
        "bigmodel",
        "",
        "glm-4.6",
        {"native_drop": BARE_FIELDS, "structured": "json_object", "reasoning": "thinking_type"},
    ),
    (
        "bigmodel",
        "",
        "glm-4.6",
        {"keep_thinking": True, "reasoning_history": "reasoning_content", "tool_choice_any": ""},
    ),
    (
        "bigmodel",
        "",
        "glm-4.6",
        {"tool_choice_named": "none", "tool_stream": True, "stop_limit": 1, "temperature_max": 1.0},
    ),
    ("gemini", "", "gemini-3.8-flash", {"schema": GEMINI_SCHEMA, "efforts": ("minimal", "low", "medium", "high")}),
    ("mistral", "", "ft:of-mine", {"tool_ids": "mistral9", "alternation": True, "after_tool": "Done."}),
    ("codestral", "", "ft:of-mine", {"tool_ids": "mistral9", "alternation": True, "after_tool": "Done."}),
    ("codestral", "", "codestral-latest", {"prefill": "prefix", "tool_choice_any": "any", "stream_usage": False}),
    ("openrouter", "", "z-ai/glm-4.6", {"efforts": ("minimal", "low", "medium", "high", "xhigh", "max")}),
    (
        "vercel_ai_gateway",
        "",
        "openai/gpt-5.4",
        {"efforts": ("minimal", "low", "medium", "high", "xhigh"), "effort_off": "none"},
    ),
    (
        "vercel_ai_gateway",
        "",
        "openai/gpt-5",
        {"efforts": ("low", "medium", "high", "xhigh"), "effort_off": "", "min_tokens": 4096},
    ),
    *(
        (provider, "", "m", {"empty_content": "(no output)"})
        for provider in ("minimax", "moonshot", "dashscope", "vercel_ai_gateway")
    ),
    ("perplexity", "", "sonar-pro", {"prefill": "instruct"}),
    ("openrouter", "", "anthropic/claude-opus-5.5", {"prefill": "instruct"}),
    ("openrouter", "", "anthropic/claude-sonnet-5", {"prefill": "instruct"}),
    ("litellm_proxy", "http://proxy:4000", "claude-opus-4-6", {"prefill": "instruct"}),
    ("openrouter", "", "anthropic/claude-sonnet-4.5", {"prefill": "pass"}),
    ("openrouter", "", "anthropic/claude-opus-4-20250514", {"prefill": "pass"}),
    ("openrouter", "", "anthropic/claude-3.5-sonnet", {"prefill": "pass"}),
    # a small limit must hold the reasoning of models that can't be kept from it (Claude Code's check asks for 64
    # tokens)
    (
        "openrouter",
        "",
        "google/gemini-3.8-flash",
        {"efforts": ("low", "medium", "high", "xhigh"), "effort_off": "", "min_tokens": 4096},
    ),
    ("aihubmix", "", "gemini-3-pro", {"min_tokens": 4096}),
    ("together_ai", "", "moonshotai/Kimi-K3", {"min_tokens": 8192}),
    ("moonshot", "", "kimi-4-turbo", {"min_tokens": 8192}),
    ("minimax", "", "MiniMax-M2.7", {"min_tokens": 4096, "effort_off": ""}),
    ("minimax", "", "MiniMax-M3", {"min_tokens": 0, "effort_off": "disabled"}),
    ("fireworks_ai", "", "accounts/fireworks/models/glm-5p3", {"min_tokens": 4096, "effort_off": ""}),
    ("openai", "", "gpt-5-mini", {"min_tokens": 0}),
    ("nobody", "https://gateway.example", "grok-4-fast-non-reasoning", {"min_tokens": 0}),
    ("nobody", "https://gateway.example", "gpt-5-mini", {"min_tokens": 4096}),
    ("nobody", "https://gateway.example", "Qwen3-8B", {"min_tokens": 4096}),
    ("nobody", "https://gateway.example", "Qwen3-Coder-30B", {"min_tokens": 0}),
    ("lm_studio", "", "glm-4.6", {"min_tokens": 4096}),
    ("hosted_vllm", "http://h:8000/v1", "Qwen/Qwen3-14B", {"min_tokens": 0}),
    ("perplexity", "", "sonar-reasoning-pro", {"min_tokens": 4096, "think_tags": True}),
    ("litellm_proxy", "http://proxy:4000", "gpt-5.4", {"effort_off": "none", "min_tokens": 0}),
    ("litellm_proxy", "http://proxy:4000", "gpt-5-mini", {"effort_off": "", "min_tokens": 4096}),
    ("fireworks_ai", "", "accounts/fireworks/models/glm-5p1", {"sampling": TOP_K, "reasoning": "effort"}),
    ("fireworks_ai", "", "accounts/fireworks/models/glm-5p1", {"reasoning_history": "reasoning_content"}),
    ("fireworks_ai", "", "accounts/fireworks/models/qwen3-coder-480b-a35b-instruct", {"reasoning": "none"}),
    ("cerebras", "", "llama-4-scout", {"max_tokens_field": "max_completion_tokens", "images": False}),
    ("ollama", "", "llama3.1", {"reasoning_history": "reasoning"}),
    ("ollama_chat", "", "llama3.1", {"image_urls": False, "tool_choice_named": "only", "context_probe": "ollama"}),
    ("hosted_vllm", "http://h:8000/v1", "m", {"sampling": TOP_K}),
    ("sglang", "", "m", {"sampling": TOP_K}),
    *(
        (provider, "", "m", {"broken_arguments": "object"})
        for provider in ("hosted_vllm", "sglang", "llamacpp", "llamafile")
    ),
    *(
        (provider, "", "m", {"broken_arguments": "object"})
        for provider in ("docker_model_runner", "lm_studio", "ollama", "ollama_chat")
    ),
    *((provider, "", "m", {"tool_choice_none": False}) for provider in ("ollama", "ollama_chat", "zai", "bigmodel")),
    ("llamacpp", "", "m", {"sampling": TOP_K, "reasoning_history": "reasoning_content", "native_count": True}),
    ("llamafile", "", "m", {"sampling": TOP_K, "tokenizer": "llamacpp", "native_count": True}),
    (
        "docker_model_runner",
        "",
        "ai/m",
        {"sampling": TOP_K, "reasoning_history": "reasoning_content", "native_count": False},
    ),
    ("lm_studio", "http://127.0.0.1:1234/v1", "m", {"sampling": TOP_K}),
    ("openai", "", "gpt-6.1-terra", {"effort_off": "none"}),
    ("openai", "", "gpt-5.6-chat-latest", {"cache": "key"}),
    ("groq", "", "qwen/qwen3-32b", {"reasoning": "effort"}),
    ("groq", "", "qwen/qwen3.8-27b", {"reasoning": "effort", "think_tags": True}),
    ("deepseek", "", "deepseek-chat", {"reasoning_history": "none"}),
    ("hosted_vllm", "http://h:8000/v1", "Qwen/Qwen3-4B-Thinking-2507", {"reasoning": "none"}),
    ("xai", "", "grok-3-mini", {"reasoning": "effort"}),
    ("mistral", "", "mistral-medium-latest", {"reasoning": "effort", "effort_off": "none"}),
    ("together_ai", "", "zai-org/GLM-5.3", {"reasoning_history": "reasoning_content"}),
    (
        "anthropic",
        "",
        "claude-opus-5-5",
        {"native_betas": "all", "native_count": True, "mid_system": "inline", "native_drop": frozenset()},
    ),
    ("anthropic", "", "claude-opus-5-5", {"tool_ids": "keep"}),
]


@pytest.mark.parametrize(
    ("provider", "base", "model", "expected"), FACTS, ids=[f"{p}:{m}:{'+'.join(e) or 'common'}" for p, _, m, e in FACTS]
)
def test_quirk_facts(provider: str, base: str, model: str, expected: dict[str, Any]) -> None:
    quirks = find_quirks(provider, base, model)
    assert {name: getattr(quirks, name) for name in expected} == expected
    if expected is _UNKNOWN_HOST:
        assert quirks == override(Quirks(), expected)


def _fails(model: str) -> bool:
    """Whether a fact about `model` fails now."""
    return any(
        any(getattr(find_quirks(provider, base, name), field) != value for field, value in expected.items())
        for provider, base, name, expected in FACTS
        if name == model
    )


@pytest.mark.parametrize("at", range(len(MODELS)), ids=[" ".join(row.models) for row in MODELS])
def test_a_reverted_quirk_of_a_model_family_is_seen(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    row = MODELS[at]
    models = {name for *_, name, _ in FACTS if any(fnmatchcase(name.rpartition("/")[2].lower(), p) for p in row.models)}
    assert row.quirks
    for field in row.quirks:
        old = replace(row, quirks={name: value for name, value in row.quirks.items() if name != field})
        monkeypatch.setattr(choose, "MODELS", (*MODELS[:at], old, *MODELS[at + 1 :]))
        assert any(map(_fails, models)), f"no fact states {field}"


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_reverted_quirk_of_a_provider_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = PROVIDERS[name]
    models = {model for provider, base, model, _ in FACTS if name in (provider, find_host_row(base))}
    for field in row.quirks:
        old = replace(row, quirks={key: value for key, value in row.quirks.items() if key != field})
        monkeypatch.setitem(PROVIDERS, name, old)
        assert any(map(_fails, models)), f"no fact states {field}"
