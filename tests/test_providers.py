"""The provider table: every prefix, every quirk fact with its provider and date, the choice of wire and base, and docs/providers.md."""

from __future__ import annotations

from dataclasses import fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from a2py.providers import PROVIDERS, ModelRow, Provider, by_host, choose, native_base, quirks_for, wire_for
from a2py.providers.models import MODELS, OPENAI_WIRES
from a2py.providers.vendors import BETA_FIELDS
from a2py.quirks import EFFORTS, Quirks, override

DOC = (Path(__file__).parent.parent / "docs" / "providers.md").read_text(encoding="utf-8")

#: Every prefix that a LiteLLM file may name and that is promised to work.
PREFIXES = [
    *("openai", "deepseek", "ollama", "ollama_chat", "openrouter", "azure", "gemini", "groq", "hosted_vllm"),
    *("lm_studio", "llamafile", "docker_model_runner", "litellm_proxy", "together_ai", "mistral", "codestral", "xai", "minimax"),
    *("moonshot", "dashscope", "zai", "bigmodel", "fireworks_ai", "deepinfra", "cerebras", "nvidia_nim", "perplexity"),
    *("sambanova", "nebius", "novita", "hyperbolic", "siliconflow", "volcengine", "github", "vercel_ai_gateway", "friendliai"),
    *("featherless_ai", "nscale", "lambda_ai", "meta_llama", "modelscope", "xiaomi_mimo", "synthetic", "chutes", "nano-gpt"),
    *("poe", "aihubmix", "venice", "baseten", "huggingface", "anthropic"),
]

#: prefix → base, first key variable, first base variable.
BASES = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "deepseek": ("https://api.deepseek.com", "DEEPSEEK_API_KEY", "DEEPSEEK_API_BASE"),
    "ollama": ("http://localhost:11434/v1", "OLLAMA_API_KEY", "OLLAMA_API_BASE"),
    "ollama_chat": ("http://localhost:11434/v1", "OLLAMA_API_KEY", "OLLAMA_API_BASE"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "OPENROUTER_API_BASE"),
    "azure": ("", "AZURE_API_KEY", "AZURE_API_BASE"),
    "gemini": ("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", "GEMINI_API_BASE"),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY", "GROQ_API_BASE"),
    "hosted_vllm": ("", "HOSTED_VLLM_API_KEY", "HOSTED_VLLM_API_BASE"),
    "lm_studio": ("", "LM_STUDIO_API_KEY", "LM_STUDIO_API_BASE"),
    "llamafile": ("http://127.0.0.1:8080/v1", "LLAMAFILE_API_KEY", "LLAMAFILE_API_BASE"),
    "docker_model_runner": ("http://localhost:22088/engines/llama.cpp/v1", "DOCKER_MODEL_RUNNER_API_KEY", "DOCKER_MODEL_RUNNER_API_BASE"),
    "litellm_proxy": ("", "LITELLM_PROXY_API_KEY", "LITELLM_PROXY_API_BASE"),
    "together_ai": ("https://api.together.xyz/v1", "TOGETHER_API_KEY", "TOGETHER_AI_API_BASE"),
    "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY", "MISTRAL_API_BASE"),
    "codestral": ("https://codestral.mistral.ai/v1", "CODESTRAL_API_KEY", "CODESTRAL_API_BASE"),
    "xai": ("https://api.x.ai/v1", "XAI_API_KEY", "XAI_API_BASE"),
    "minimax": ("https://api.minimax.io/v1", "MINIMAX_API_KEY", "MINIMAX_API_BASE"),
    "moonshot": ("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", "MOONSHOT_API_BASE"),
    "dashscope": ("https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", "DASHSCOPE_API_BASE"),
    "zai": ("https://api.z.ai/api/paas/v4", "ZAI_API_KEY", "ZAI_API_BASE"),
    "bigmodel": ("https://open.bigmodel.cn/api/paas/v4", "BIGMODEL_API_KEY", "BIGMODEL_API_BASE"),
    "fireworks_ai": ("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", "FIREWORKS_AI_API_BASE"),
    "volcengine": ("https://ark.cn-beijing.volces.com/api/v3", "ARK_API_KEY", "VOLCENGINE_API_BASE"),
    "nano-gpt": ("https://nano-gpt.com/api/v1", "NANO_GPT_API_KEY", "NANO_GPT_API_BASE"),
    "anthropic": ("https://api.anthropic.com", "ANTHROPIC_API_KEY", "ANTHROPIC_API_BASE"),
}

#: What each field may hold (the docstrings of a2py/quirks.py).
VALUES: dict[str, set[Any]] = {
    "system_role": {"system", "developer"},
    "mid_system": {"user", "inline"},
    "prefill": {"pass", "prefix", "instruct"},
    "documents": {"file", "image_url", "none"},
    "max_tokens_field": {"max_tokens", "max_completion_tokens"},
    "tool_choice_named": {"object", "only", "none"},
    "tool_choice_any": {"required", "any", ""},
    "tool_ids": {"any", "mistral9"},
    "reasoning": {"none", "effort", "openrouter", "thinking_type", "thinking_effort", "enable_thinking"}
    | {"template", "think", "gemini", "minimax", "together"},
    "template_key": {"enable_thinking", "thinking"},
    "reasoning_history": {"none", "reasoning_content", "reasoning", "reasoning_details", "think", "thinking_part", "thought_signature"},
    "cache": {"none", "blocks", "key", "breakpoint"},
    "structured": {"json_schema", "json_object", "none"},
    "context_probe": {"", "ollama"},
    "web_search": {"none", "responses", "plugin"},
    "tokenizer": {"none", "vllm", "llamacpp"},
    "native_betas": {"all", "none"},
}
STEPS = {"drop_$schema", "drop_additional_properties", "drop_formats", "inline_refs", "drop_defaults", "any_of_from_type_list"} | {
    "const_to_enum",
    "drop_exclusive_bounds",
    "no_empty_object",
    "drop_pattern",
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix_has_its_row(prefix: str) -> None:
    row = PROVIDERS[prefix]
    assert row.name == prefix
    assert row.keys and row.bases and row.docs
    assert not row.base.endswith("/") and row.base.startswith(("http://", "https://", ""))
    base, key, variable = BASES.get(
        prefix,
        (row.base, row.keys[0], f"{prefix.upper()}_API_BASE" if prefix not in ("friendliai", "meta_llama") else row.bases[0]),
    )
    assert (row.base, row.keys[0], row.bases[0]) == (base, key, variable)
    assert row.base or prefix in ("azure", "hosted_vllm", "lm_studio", "litellm_proxy")


def test_second_names_of_keys() -> None:
    second = {name: row.keys[1:] for name, row in PROVIDERS.items() if row.keys[1:]}
    assert second["openrouter"] == ("OR_API_KEY",)
    assert second["gemini"] == ("GOOGLE_API_KEY",)
    assert second["together_ai"][0] == "TOGETHERAI_API_KEY"
    assert second["fireworks_ai"] == ("FIREWORKS_AI_API_KEY",)
    assert PROVIDERS["openai"].bases == ("OPENAI_BASE_URL", "OPENAI_API_BASE")
    assert PROVIDERS["openai"].env_headers == {"OpenAI-Organization": "OPENAI_ORGANIZATION"}
    assert PROVIDERS["openrouter"].env_headers == {"HTTP-Referer": "OR_SITE_URL", "X-Title": "OR_APP_NAME"}


def test_the_clients_own_token_is_of_no_other_row() -> None:
    """ANTHROPIC_API_KEY is set where Claude Code runs: no other provider may be found by it."""
    assert [name for name, row in PROVIDERS.items() if "ANTHROPIC_API_KEY" in row.keys] == ["anthropic"]


def test_keys_are_optional_where_people_run_the_server_themselves() -> None:
    assert {name for name, row in PROVIDERS.items() if row.key_optional} == {
        *("ollama", "ollama_chat", "hosted_vllm", "sglang", "llamacpp", "llamafile", "docker_model_runner", "lm_studio", "litellm_proxy")
    }


def test_how_the_key_travels() -> None:
    assert {name: row.auth for name, row in PROVIDERS.items() if row.auth != "bearer"} == {"azure": "api-key", "anthropic": "x-api-key"}


def _entries() -> list[tuple[str, Any]]:
    return [(row.name, row) for row in PROVIDERS.values()] + [(" ".join(row.models), row) for row in MODELS]


@pytest.mark.parametrize(("name", "row"), _entries(), ids=[name for name, _ in _entries()])
def test_rows_are_of_the_vocabulary(name: str, row: Provider | ModelRow) -> None:
    quirks = override(Quirks(), dict(row.quirks))
    assert row.docs
    for field, allowed in VALUES.items():
        assert getattr(quirks, field) in allowed, field
    assert set(quirks.schema) <= STEPS
    assert set(quirks.efforts) <= {*EFFORTS, "default"} and quirks.effort_off in {"", *EFFORTS}
    assert quirks.sampling <= {"temperature", "top_p", "top_k"}
    default = Quirks()
    if isinstance(row, Provider):
        assert all(getattr(quirks, field) != getattr(default, field) for field in row.quirks), "a field that says the default says nothing"
    else:
        assert row.providers <= PROVIDERS.keys()
        assert all(pattern == pattern.lower() and "/" not in pattern for pattern in row.models)


@pytest.mark.parametrize(
    ("base", "row"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://API.OpenAI.com:443/v1/", "openai"),
        ("api.openai.com/v1", "openai"),
        ("https://user:secret@api.deepseek.com/v1", "deepseek"),
        ("https://my-thing.openai.azure.com", "azure"),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://w1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://api.minimaxi.com/v1", "minimax"),
        ("https://api.moonshot.cn/v1", "moonshot"),
        ("https://api.together.ai/v1", "together_ai"),
        ("https://ollama.com/v1", "ollama"),
        ("http://192.168.1.5:11434/v1", "ollama"),
        ("http://[::1]:11434", "ollama"),
        ("http://127.0.0.1:1234/v1", "lm_studio"),
        ("http://host.docker.internal:12434/engines/v1", "docker_model_runner"),
        ("http://127.0.0.1:30000/v1", "sglang"),
        ("http://localhost:8000/v1", ""),
        ("http://localhost:8080/v1", ""),
        ("https://openai.com.example.org/v1", ""),
        ("https://notopenai.azure.example", ""),
        ("http://localhost:99999999/v1", ""),
        ("http://[bad", ""),
        ("", ""),
    ],
)
def test_by_host(base: str, row: str) -> None:
    assert by_host(base) == row


_COMMON: dict[str, Any] = {}
TOP_K = frozenset({"temperature", "top_p", "top_k"})
GEMINI_SCHEMA = (
    *("inline_refs", "drop_$schema", "drop_additional_properties", "const_to_enum", "any_of_from_type_list"),
    *("drop_exclusive_bounds", "drop_formats", "no_empty_object"),
)

#: provider, base, model, fields that must differ from the common subset in this way. One fact a row; its date stands in the row's `docs`.
FACTS: list[tuple[str, str, str, dict[str, Any]]] = [
    # the common subset: unknown servers, and `openai` at a foreign host
    ("openai", "http://10.0.0.2:8000/v1", "my-model", _COMMON),
    ("openai", "https://gateway.example/v1", "gpt-5.4", _COMMON),
    ("nobody", "", "my-model", _COMMON),
    ("nobody", "https://gateway.example", "", _COMMON),
    # a host tells the row: openai/ with DeepSeek's base (2026-10)
    ("openai", "https://api.deepseek.com", "deepseek-v4-flash", {"reasoning": "thinking_effort", "tool_choice_thinking": False}),
    ("openai", "http://localhost:11434/v1", "llama3.2", {"context_probe": "ollama"}),
    ("nobody", "https://api.groq.com/openai/v1", "llama-4", {"structured_with_tools": False}),
    # a name outweighs a port and an unknown host, not a known host
    ("hosted_vllm", "http://localhost:11434/v1", "m", {"tokenizer": "vllm", "context_probe": ""}),
    ("deepseek", "https://corporate.example/deepseek", "deepseek-v4-flash", {"reasoning": "thinking_effort"}),
    ("deepseek", "https://openrouter.ai/api/v1", "deepseek/deepseek-v4-flash", {"reasoning": "openrouter"}),
    ("anthropic", "https://api.z.ai/api/anthropic", "glm-4.7", {"native_betas": "none", "native_count": False}),
    # OpenAI (openai 3.54.0, 2026-11; recordings)
    ("openai", "", "gpt-4.1", {"documents": "file", "mid_system": "inline", "cache": "key", "service_tier": True, "tool_id_limit": 40}),
    (
        "openai",
        "",
        "gpt-4o",
        {"max_tokens_field": "max_completion_tokens", "reasoning": "none", "stop_limit": 4, "web_search": "responses"},
    ),
    ("openai", "", "gpt-5-mini", {"reasoning": "effort", "efforts": ("minimal", "low", "medium", "high"), "effort_off": "minimal"}),
    ("openai", "", "gpt-5-mini", {"sampling": frozenset(), "stop_limit": 0, "reasoning_with_tools": True, "cache": "key"}),
    ("openai", "", "gpt-5-pro", {"efforts": ("high",), "effort_off": "", "min_tokens": 8192}),
    ("openai", "", "gpt-5.1", {"efforts": ("low", "medium", "high"), "effort_off": "none", "reasoning_with_tools": True}),
    ("openai", "", "gpt-5.4", {"efforts": ("low", "medium", "high", "xhigh"), "effort_off": "none", "reasoning_with_tools": False}),
    ("openai", "", "gpt-5.6-sol", {"efforts": ("low", "medium", "high", "xhigh", "max"), "cache": "breakpoint"}),
    ("openai", "", "gpt-6.1-terra", {"efforts": ("low", "medium", "high", "xhigh", "max"), "reasoning_with_tools": False}),
    ("openai", "", "gpt-5.2-chat-latest", {"reasoning": "none", "reasoning_with_tools": True, "cache": "key"}),
    ("openai", "", "o3-mini", {"reasoning": "effort", "system_role": "developer", "parallel_tool_calls": False, "min_tokens": 4096}),
    ("openai", "", "O4-Mini", {"sampling": frozenset(), "stop_limit": 0, "efforts": ("low", "medium", "high"), "effort_off": ""}),
    ("openai", "", "gpt-oss-120b", {"reasoning": "none", "images": False, "min_tokens": 4096}),
    # Azure: the same models, without files and cache keys (recordings, 2025–2026)
    ("azure", "https://x.openai.azure.com", "gpt-4o", {"max_tokens_field": "max_tokens", "documents": "none", "mid_system": "inline"}),
    ("azure", "https://x.openai.azure.com", "gpt-5-nano", {"max_tokens_field": "max_completion_tokens", "effort_off": "minimal"}),
    ("github", "", "openai/gpt-5-mini", {"reasoning": "effort", "max_tokens_field": "max_completion_tokens"}),
    # DeepSeek (docs 2026-10; error-400-01, -02)
    ("deepseek", "", "deepseek-v4-pro", {"efforts": ("low", "high", "max"), "reasoning_history": "reasoning_content"}),
    ("deepseek", "", "deepseek-v4-pro", {"reasoning_required": True, "images": False, "structured": "json_object", "documents": "none"}),
    ("deepseek", "", "deepseek-chat", {"reasoning": "none", "reasoning_required": False, "tool_choice_thinking": True}),
    ("deepseek", "", "deepseek-reasoner", {"reasoning": "none", "reasoning_required": True, "min_tokens": 4096}),
    # Gemini (docs 2026-10; recordings)
    ("gemini", "", "gemini-3.8-flash", {"reasoning": "gemini", "reasoning_history": "thought_signature", "reasoning_required": True}),
    ("gemini", "", "gemini-3.8-flash", {"documents": "image_url", "effort_off": "minimal", "min_tokens": 4096}),
    ("gemini", "", "gemini-2.5-flash-lite", {"effort_off": "none", "min_tokens": 0, "reasoning_required": False}),
    ("gemini", "", "gemini-2.0-flash", {"reasoning": "none", "reasoning_history": "none"}),
    ("gemini", "", "gemma-3-27b-it", {"alternation": True, "reasoning": "none"}),
    # xAI (400 for stop: 2026-07; efforts: 2026-06, 2026-07)
    ("xai", "", "grok-4.3", {"reasoning": "effort", "effort_off": "none", "stop_limit": 0, "min_tokens": 0}),
    ("xai", "", "grok-4.7", {"reasoning": "effort", "effort_off": "", "min_tokens": 4096}),
    ("xai", "", "grok-3-mini", {"efforts": ("low", "high")}),
    ("xai", "", "grok-4-fast-reasoning", {"reasoning": "none", "stop_limit": 0}),
    ("xai", "", "grok-3", {"reasoning": "none", "stop_limit": 4, "max_tokens_field": "max_completion_tokens"}),
    # Mistral (recordings; 3230 user after tool: 2025-12, 2026-08)
    ("mistral", "", "mistral-large-latest", {"tool_ids": "mistral9", "tool_choice_any": "any", "prefill": "prefix", "after_tool": "Done."}),
    ("mistral", "", "mistral-large-latest", {"alternation": True, "stream_usage": False, "reasoning": "none"}),
    ("mistral", "", "mistral-small-latest", {"reasoning": "effort", "efforts": ("high",), "effort_off": "none"}),
    ("mistral", "", "mistral-medium-latest", {"efforts": ("low", "medium", "high"), "reasoning_history": "thinking_part"}),
    ("mistral", "", "magistral-medium-latest", {"reasoning": "none", "reasoning_history": "thinking_part", "min_tokens": 4096}),
    ("codestral", "", "codestral-latest", {"tool_ids": "mistral9", "images": False, "reasoning_history": "none"}),
    # … and its models anywhere (2025-07 to 2026-08)
    ("nvidia_nim", "", "mistralai/mistral-small-4-119b-2603", {"after_tool": "Done.", "tool_ids": "mistral9", "reasoning": "none"}),
    ("openai", "http://box:9/v1", "mistralai/Devstral-Small-2-24B", {"after_tool": "Done.", "alternation": True}),
    ("openai", "http://box:9/v1", "google/gemma-2-9b-it", {"system_as_user": True, "alternation": True}),
    # MiniMax (docs 2026-10)
    ("minimax", "", "MiniMax-M2.7", {"reasoning": "minimax", "reasoning_history": "reasoning_details", "temperature_max": 1.0}),
    ("minimax", "", "MiniMax-M2.7", {"think_tags": True, "structured": "none", "images": False}),
    ("minimax", "", "MiniMax-M3", {"structured": "json_schema", "images": True, "max_tokens_field": "max_completion_tokens"}),
    # Moonshot (400 temperature: 2026-07; K3: 2026-10)
    ("moonshot", "", "kimi-k2.6", {"reasoning": "thinking_type", "reasoning_required": True, "sampling": frozenset()}),
    ("moonshot", "", "kimi-k2.6", {"tool_choice_thinking": False, "reasoning_history": "reasoning_content", "tool_choice_any": "required"}),
    ("moonshot", "", "kimi-k2.7-code", {"reasoning": "none", "tool_choice_any": "", "tool_choice_named": "none", "min_tokens": 4096}),
    ("moonshot", "", "kimi-k3", {"reasoning": "effort", "efforts": ("low", "high", "max"), "tool_choice_named": "only"}),
    ("moonshot", "", "kimi-k3", {"min_tokens": 8192, "effort_off": "", "tool_choice_thinking": True}),
    ("moonshot", "", "moonshot-v1-128k", {"temperature_max": 1.0, "sampling": frozenset({"temperature", "top_p"}), "reasoning": "none"}),
    # DashScope (400 tool_choice in thinking mode: 2026-04 to 2026-09)
    ("dashscope", "", "qwen3.8-max", {"reasoning": "enable_thinking", "tool_choice_thinking": False, "cache": "blocks"}),
    ("dashscope", "", "qwen3-coder-plus", {"reasoning": "none", "images": False, "structured": "json_object"}),
    ("dashscope", "", "qwq-plus", {"stream_only": True, "reasoning": "none"}),
    ("dashscope", "", "qwen3-235b-a22b-thinking-2507", {"stream_only": True, "reasoning": "none"}),
    # Z.ai, BigModel (docs 2026-10)
    ("zai", "", "glm-4.6", {"reasoning": "thinking_type", "keep_thinking": True, "tool_stream": True, "max_tokens_limit": 131072}),
    ("zai", "", "glm-4.6", {"tool_choice_any": "", "tool_choice_named": "none", "stop_limit": 1, "temperature_max": 1.0}),
    ("zai", "", "glm-4.5-air", {"max_tokens_limit": 98304, "images": False}),
    ("zai", "", "glm-4.6v", {"images": True, "reasoning_history": "reasoning_content"}),
    ("bigmodel", "", "glm-5.2", {"reasoning": "thinking_effort", "efforts": ("high", "max"), "images": False}),
    ("bigmodel", "", "glm-5.3", {"reasoning": "effort", "efforts": ("low", "high", "max"), "min_tokens": 4096, "effort_off": ""}),
    # further vendors
    ("volcengine", "", "doubao-seed-2-0-pro", {"reasoning": "thinking_type", "max_tokens_field": "max_tokens"}),
    (
        "xiaomi_mimo",
        "",
        "mimo-v2.5-pro",
        {"reasoning": "thinking_type", "reasoning_history": "reasoning_content", "structured": "json_object"},
    ),
    ("perplexity", "", "sonar", {"tools": False, "alternation": True}),
    # OpenRouter, Vercel (docs 2026-09, 2026-10)
    ("openrouter", "", "z-ai/glm-4.6", {"reasoning": "openrouter", "reasoning_history": "reasoning_details", "cache": "none"}),
    ("openrouter", "", "z-ai/glm-4.6", {"documents": "file", "web_search": "plugin", "effort_off": "none", "tool_stream": False}),
    ("openrouter", "", "anthropic/claude-haiku-4.5", {"cache": "blocks", "sampling": frozenset({"temperature", "top_p", "top_k"})}),
    ("openrouter", "", "anthropic/claude-opus-5.5", {"sampling": frozenset({"temperature"})}),
    ("openrouter", "", "anthropic/claude-sonnet-5", {"sampling": frozenset()}),
    ("openrouter", "", "google/gemini-3.8-flash", {"cache": "blocks", "reasoning_history": "reasoning_details", "reasoning": "openrouter"}),
    ("openrouter", "", "openai/gpt-5.5", {"sampling": frozenset(), "stop_limit": 0, "max_tokens_field": "max_tokens"}),
    ("openrouter", "", "openai/gpt-5.5-pro", {"min_tokens": 8192}),
    ("openrouter", "", "x-ai/grok-4.7", {"stop_limit": 0}),
    ("openrouter", "", "x-ai/grok-4.6", {"stop_limit": 4}),
    ("vercel_ai_gateway", "", "openai/gpt-5", {"reasoning": "openrouter", "reasoning_history": "reasoning_details"}),
    # hosts of others' models
    ("groq", "", "openai/gpt-oss-120b", {"reasoning": "effort", "effort_off": "", "min_tokens": 4096, "reasoning_history": "reasoning"}),
    ("groq", "", "qwen/qwen3-32b", {"efforts": ("default",), "effort_off": "none", "think_tags": True}),
    ("groq", "", "qwen/qwen3.8-27b", {"efforts": ("low", "medium", "high"), "effort_off": "none"}),
    ("groq", "", "groq/compound-mini", {"tools": False}),
    ("groq", "", "deepseek-r1-distill-llama-70b", {"think_tags": True, "max_tokens_field": "max_completion_tokens"}),
    ("cerebras", "", "gpt-oss-120b", {"reasoning": "effort", "parallel_tool_calls": False, "structured_with_tools": False}),
    ("cerebras", "", "zai-glm-4.7", {"reasoning": "effort", "effort_off": "none", "temperature_max": 1.5, "images": False}),
    ("cerebras", "", "gemma-4-31b", {"images": True}),
    ("together_ai", "", "moonshotai/Kimi-K2.6", {"reasoning": "together", "sampling": frozenset({"temperature", "top_p", "top_k"})}),
    ("together_ai", "", "zai-org/GLM-5.3", {"reasoning": "effort", "efforts": ("low", "medium", "high", "max")}),
    ("together_ai", "", "zai-org/GLM-5.2", {"reasoning": "together"}),
    ("together_ai", "", "openai/gpt-oss-20b", {"reasoning": "effort", "reasoning_history": "none"}),
    ("fireworks_ai", "", "accounts/fireworks/models/glm-5p1", {"efforts": ("high", "max"), "effort_off": "none"}),
    ("fireworks_ai", "", "accounts/fireworks/models/kimi-k2p6", {"effort_off": "", "min_tokens": 4096}),
    ("fireworks_ai", "", "accounts/fireworks/models/deepseek-v4-pro", {"efforts": ("low", "medium", "high", "xhigh")}),
    ("fireworks_ai", "", "accounts/fireworks/models/deepseek-r1", {"think_tags": True, "reasoning": "none"}),
    ("siliconflow", "", "Qwen/Qwen3-32B", {"reasoning": "enable_thinking"}),
    ("siliconflow", "", "Qwen/Qwen3-30B-A3B-Instruct-2507", {"reasoning": "none"}),
    ("nvidia_nim", "", "z-ai/glm5", {"reasoning": "template", "template_key": "enable_thinking"}),
    ("huggingface", "", "deepseek-ai/DeepSeek-R1", {"think_tags": True}),
    # servers of one's own
    ("hosted_vllm", "http://h:8000/v1", "Qwen/Qwen3-8B", {"reasoning": "template", "reasoning_history": "reasoning", "think_tags": True}),
    ("hosted_vllm", "http://h:8000/v1", "deepseek-ai/DeepSeek-V3.1", {"reasoning": "template", "template_key": "thinking"}),
    ("hosted_vllm", "http://h:8000/v1", "Qwen/Qwen3-Coder-30B", {"reasoning": "none"}),
    ("hosted_vllm", "http://h:8000/v1", "openai/gpt-oss-20b", {"reasoning": "effort", "tool_choice_named": "object"}),
    ("hosted_vllm", "http://h:8000/v1", "meta-llama/Llama-3.3-70B-Instruct", {"reasoning": "none", "tokenizer": "vllm", "images": False}),
    ("llamacpp", "", "Qwen3-1.7B-Q4_K_M", {"tool_choice_named": "only", "tokenizer": "llamacpp", "think_tags": True}),
    ("llamafile", "", "whatever", {"tool_choice_named": "only", "reasoning_history": "reasoning_content"}),
    ("docker_model_runner", "", "ai/qwen3", {"tool_choice_named": "only", "tokenizer": "none", "reasoning": "template"}),
    ("sglang", "", "zai-org/GLM-4.6", {"reasoning": "template", "reasoning_history": "reasoning_content"}),
    ("lm_studio", "http://127.0.0.1:1234/v1", "qwen3-30b-a3b", {"tool_choice_named": "only", "think_tags": True, "reasoning": "none"}),
    ("ollama", "", "llama3.1", {"reasoning": "none", "tool_choice_named": "only", "image_urls": False, "context_probe": "ollama"}),
    ("ollama_chat", "", "qwen3:8b", {"reasoning": "effort", "effort_off": "none", "reasoning_history": "reasoning"}),
    ("ollama", "", "gpt-oss:20b", {"reasoning": "effort", "effort_off": "", "min_tokens": 4096}),
    ("ollama", "", "qwen3-coder:30b", {"reasoning": "none"}),
    ("litellm_proxy", "http://proxy:4000", "claude-sonnet", {"cache": "blocks", "documents": "file", "reasoning": "none"}),
    ("litellm_proxy", "http://proxy:4000", "gpt-5.4", {"reasoning": "effort", "reasoning_with_tools": True}),
    # facts of a row whatever the model is called
    ("azure", "https://x.openai.azure.com", "my-deployment", {"tool_id_limit": 40}),
    ("deepseek", "", "deepseek-v4-flash", {"native_drop": BETA_FIELDS}),
    ("minimax", "", "MiniMax-M3", {"native_drop": BETA_FIELDS}),
    ("moonshot", "", "kimi-k3", {"native_drop": BETA_FIELDS, "max_tokens_field": "max_completion_tokens"}),
    ("dashscope", "", "qwen3.8-max", {"native_drop": BETA_FIELDS, "sampling": TOP_K}),
    ("zai", "", "glm-5.3", {"native_drop": BETA_FIELDS, "structured": "json_object"}),
    ("bigmodel", "", "glm-4.6", {"native_drop": BETA_FIELDS, "structured": "json_object", "reasoning": "thinking_type"}),
    ("bigmodel", "", "glm-4.6", {"keep_thinking": True, "reasoning_history": "reasoning_content", "tool_choice_any": ""}),
    ("bigmodel", "", "glm-4.6", {"tool_choice_named": "none", "tool_stream": True, "stop_limit": 1, "temperature_max": 1.0}),
    ("gemini", "", "gemini-3.8-flash", {"schema": GEMINI_SCHEMA, "efforts": ("minimal", "low", "medium", "high")}),
    ("mistral", "", "ft:of-mine", {"tool_ids": "mistral9", "alternation": True, "after_tool": "Done."}),
    ("codestral", "", "ft:of-mine", {"tool_ids": "mistral9", "alternation": True, "after_tool": "Done."}),
    ("codestral", "", "codestral-latest", {"prefill": "prefix", "tool_choice_any": "any", "stream_usage": False}),
    ("openrouter", "", "z-ai/glm-4.6", {"efforts": ("minimal", "low", "medium", "high", "xhigh")}),
    ("vercel_ai_gateway", "", "openai/gpt-5", {"efforts": ("minimal", "low", "medium", "high", "xhigh"), "effort_off": "none"}),
    ("fireworks_ai", "", "accounts/fireworks/models/glm-5p1", {"sampling": TOP_K, "reasoning": "effort"}),
    ("fireworks_ai", "", "accounts/fireworks/models/glm-5p1", {"reasoning_history": "reasoning_content"}),
    ("fireworks_ai", "", "accounts/fireworks/models/qwen3-coder-480b-a35b-instruct", {"reasoning": "none"}),
    ("cerebras", "", "llama-4-scout", {"max_tokens_field": "max_completion_tokens", "images": False}),
    ("ollama", "", "llama3.1", {"reasoning_history": "reasoning"}),
    ("ollama_chat", "", "llama3.1", {"image_urls": False, "tool_choice_named": "only", "context_probe": "ollama"}),
    ("hosted_vllm", "http://h:8000/v1", "m", {"sampling": TOP_K}),
    ("sglang", "", "m", {"sampling": TOP_K}),
    ("llamacpp", "", "m", {"sampling": TOP_K, "reasoning_history": "reasoning_content"}),
    ("llamafile", "", "m", {"sampling": TOP_K, "tokenizer": "llamacpp"}),
    ("docker_model_runner", "", "ai/m", {"sampling": TOP_K, "reasoning_history": "reasoning_content"}),
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
    ("anthropic", "", "claude-opus-5-5", {"native_betas": "all", "native_count": True, "mid_system": "inline", "native_drop": frozenset()}),
]


@pytest.mark.parametrize(
    ("provider", "base", "model", "expected"), FACTS, ids=[f"{p}:{m}:{'+'.join(e) or 'common'}" for p, _, m, e in FACTS]
)
def test_quirk_facts(provider: str, base: str, model: str, expected: dict[str, Any]) -> None:
    quirks = quirks_for(provider, base, model)
    assert {name: getattr(quirks, name) for name in expected} == expected
    if expected is _COMMON:
        assert quirks == Quirks()


def _seen(model: str) -> bool:
    """Whether a fact about `model` fails now."""
    return any(
        any(getattr(quirks_for(provider, base, name), field) != value for field, value in expected.items())
        for provider, base, name, expected in FACTS
        if name == model
    )


@pytest.mark.parametrize("at", range(len(MODELS)), ids=[" ".join(row.models) for row in MODELS])
def test_a_reverted_quirk_of_a_model_family_is_seen(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    row = MODELS[at]
    models = {name for *_, name, _ in FACTS if any(fnmatchcase(name.rpartition("/")[2].lower(), p) for p in row.models)}
    assert row.quirks
    for field in row.quirks:
        reverted = replace(row, quirks={name: value for name, value in row.quirks.items() if name != field})
        monkeypatch.setattr(choose, "MODELS", (*MODELS[:at], reverted, *MODELS[at + 1 :]))
        assert any(map(_seen, models)), f"no fact states {field}"


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_reverted_quirk_of_a_provider_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = PROVIDERS[name]
    models = {model for provider, base, model, _ in FACTS if name in (provider, by_host(base))}
    for field in row.quirks:
        reverted = replace(row, quirks={key: value for key, value in row.quirks.items() if key != field})
        monkeypatch.setitem(PROVIDERS, name, reverted)
        assert any(map(_seen, models)), f"no fact states {field}"


#: provider, base, model → wire. Issue 3 of the project's plan asks for some fifty.
WIRES = [
    # api.openai.com: responses where chat completions refuses reasoning with tools, or has not got the model
    ("openai", "", "gpt-4o", "chat"),
    ("openai", "", "gpt-4.1-mini", "chat"),
    ("openai", "", "gpt-5", "chat"),
    ("openai", "", "gpt-5-mini-2025-08-07", "chat"),
    ("openai", "", "gpt-5.1", "chat"),
    ("openai", "", "o3", "chat"),
    ("openai", "", "o4-mini", "chat"),
    ("openai", "", "gpt-5.2", "responses"),
    ("openai", "", "gpt-5.4-nano", "responses"),
    ("openai", "", "GPT-5.6-Sol", "responses"),
    ("openai", "", "gpt-6.2-astra", "responses"),
    ("openai", "", "gpt-5-codex", "responses"),
    ("openai", "", "gpt-5.1-codex-max", "responses"),
    ("openai", "", "codex-mini-latest", "responses"),
    ("openai", "", "gpt-5-pro", "responses"),
    ("openai", "", "o3-pro", "responses"),
    ("openai", "", "o4-mini-deep-research", "responses"),
    ("openai", "", "gpt-5.2-chat-latest", "chat"),
    ("openai", "https://api.openai.com/v1/", "gpt-5.5", "responses"),
    ("openai", "https://api.openai.com/v1", "gpt-3.5-turbo", "chat"),
    # … and nowhere else
    ("openai", "http://localhost:8000/v1", "gpt-5.5", "chat"),
    ("openai", "https://gateway.example/v1", "gpt-5.6-sol", "chat"),
    ("azure", "https://x.openai.azure.com", "gpt-5.5", "chat"),
    ("openrouter", "", "openai/gpt-5.5", "chat"),
    ("github", "", "openai/gpt-5.5", "chat"),
    ("litellm_proxy", "http://proxy:4000", "gpt-5.5", "chat"),
    # native: the vendor's own endpoint, its own models, its own base
    ("anthropic", "", "claude-opus-5-5", "native"),
    ("anthropic", "https://gateway.example", "claude-opus-5-5", "native"),
    ("anthropic", "https://api.deepseek.com/anthropic", "deepseek-v4-pro", "native"),
    ("deepseek", "", "deepseek-v4-pro", "native"),
    ("deepseek", "https://api.deepseek.com", "deepseek-v4-flash", "native"),
    ("moonshot", "", "kimi-k3", "native"),
    ("moonshot", "", "moonshot-v1-128k", "chat"),
    ("minimax", "", "MiniMax-M3", "native"),
    ("minimax", "", "abab6.5s-chat", "chat"),
    ("zai", "", "glm-5.3", "native"),
    ("bigmodel", "", "glm-4.6", "native"),
    ("dashscope", "", "qwen3.8-max", "native"),
    ("dashscope", "", "deepseek-v4-pro", "chat"),
    ("openrouter", "", "anthropic/claude-sonnet-5.5", "native"),
    ("openrouter", "", "deepseek/deepseek-v4-pro", "chat"),
    ("openrouter", "https://openrouter.ai/api/v1", "anthropic/claude-haiku-4.5", "native"),
    # a base of the user's own is asked by chat …
    ("openai", "https://api.deepseek.com", "deepseek-v4-pro", "chat"),
    ("deepseek", "https://api.deepseek.com/beta", "deepseek-v4-pro", "chat"),
    ("deepseek", "https://corporate.example/v1", "deepseek-v4-pro", "chat"),
    ("zai", "https://api.z.ai/api/coding/paas/v4", "glm-5.3", "chat"),
    ("moonshot", "https://api.moonshot.cn/v1", "kimi-k3", "chat"),
    ("openrouter", "https://eu.openrouter.ai/api/v1", "anthropic/claude-sonnet-5.5", "chat"),
    # … unless it names the vendor's Anthropic endpoint
    ("openai", "https://api.z.ai/api/anthropic", "glm-5.3", "native"),
    ("zai", "https://api.z.ai/api/anthropic/", "glm-5.3", "native"),
    ("minimax", "https://api.minimaxi.com/anthropic", "MiniMax-M3", "native"),
    ("minimax", "https://api.minimax.io/anthropic/v1/messages", "MiniMax-M3", "native"),
    ("openrouter", "https://openrouter.ai/api", "z-ai/glm-5.3", "native"),
    # everybody else
    ("gemini", "", "gemini-3.8-flash", "chat"),
    ("groq", "", "openai/gpt-oss-120b", "chat"),
    ("mistral", "", "mistral-large-latest", "chat"),
    ("xai", "", "grok-4.7", "chat"),
    ("hosted_vllm", "http://h:8000/v1", "qwen3", "chat"),
    ("ollama", "", "qwen3", "chat"),
    ("nobody", "", "", "chat"),
    ("", "", "", "chat"),
]


@pytest.mark.parametrize(("provider", "base", "model", "wire"), WIRES, ids=[f"{p}:{b}:{m}" for p, b, m, _ in WIRES])
def test_wire_for(provider: str, base: str, model: str, wire: str) -> None:
    assert wire_for(provider, base, model) == wire


@pytest.mark.parametrize(
    ("provider", "base", "expected"),
    [
        ("deepseek", "", "https://api.deepseek.com/anthropic"),
        ("deepseek", "https://api.deepseek.com/", "https://api.deepseek.com/anthropic"),
        ("openrouter", "https://openrouter.ai/api/v1", "https://openrouter.ai/api"),
        ("anthropic", "", "https://api.anthropic.com"),
        ("anthropic", "https://api.anthropic.com/v1", "https://api.anthropic.com"),
        ("anthropic", "https://gateway.example/v1/messages", "https://gateway.example"),
        ("anthropic", "https://gateway.example/anthropic", "https://gateway.example/anthropic"),
        ("minimax", "https://api.minimaxi.com/anthropic", "https://api.minimaxi.com/anthropic"),
        ("hosted_vllm", "http://h:8000/v1", "http://h:8000"),
        ("groq", "", ""),
    ],
)
def test_native_base(provider: str, base: str, expected: str) -> None:
    assert native_base(provider, base) == expected


def test_openai_wires_name_wires() -> None:
    assert {wire for _, wire in OPENAI_WIRES} == {"chat", "responses"}
    assert {row.wire for row in PROVIDERS.values()} == {"chat", "native"}


# -- docs/providers.md -------------------------------------------------------------------------------------------------------


def _code(items: Any) -> str:
    return ", ".join(f"`{item}`" for item in items) or "–"


def test_docs_name_each_provider_with_its_base_key_and_wire() -> None:
    for row in PROVIDERS.values():
        native = f"{row.native} {_code(row.native_models)}" if row.native else "–"
        cells = [row.name + "*" * row.key_optional, row.base or "required", _code(row.keys), _code(row.bases), row.wire, native]
        line = f"| {' | '.join([*cells, row.default_model or '–'])} |"
        assert line in DOC, f"docs/providers.md lacks the line\n{line}"
        line = f"| {row.name} | {_code(sorted(row.quirks))} | {row.docs} |"
        assert line in DOC, f"docs/providers.md lacks the line\n{line}"


def test_docs_name_each_model_family() -> None:
    for row in MODELS:
        line = f"| {_code(row.models)} | {', '.join(sorted(row.providers)) or 'every server'} | {_code(sorted(row.quirks))} | {row.docs} |"
        assert line in DOC, f"docs/providers.md lacks the line\n{line}"


def test_docs_name_each_quirk() -> None:
    lines = {line.split("`")[1] for line in DOC.partition("## Every quirk")[2].splitlines() if line.startswith("| `")}
    assert lines == {field.name for field in fields(Quirks)}


def test_docs_name_no_provider_that_is_not_there() -> None:
    table = DOC.partition("## The table")[2].partition("\n## ")[0]
    named = [line.split("|")[1].strip().rstrip("*") for line in table.splitlines() if line.startswith("| ") and "prefix" not in line]
    assert named == sorted(PROVIDERS)
