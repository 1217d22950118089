"""Quirks of model families, as data, and which wire api.openai.com's models need.

Knows: names of model families and what they take, where. Must not know: how a row is applied (choose.py).
Invariants: a row without providers holds only what is the model's own nature, whoever serves it; later rows win; `docs` names source and date.
"""

from __future__ import annotations

from typing import Any

from a2py.providers.types import ModelRow

#: Servers that run a model's own chat template.
SELF_HOSTED = ("hosted_vllm", "sglang", "llamacpp", "llamafile", "docker_model_runner", "lm_studio")
_TEMPLATED = ("hosted_vllm", "sglang", "llamacpp", "llamafile", "docker_model_runner", "nvidia_nim")
_OLLAMA = ("ollama", "ollama_chat")
_OPENAI = ("openai", "azure", "github")
_ZHIPU = ("zai", "bigmodel")
#: A small output limit must hold the reasoning of a model that always reasons (Claude Code's check asks for 64 tokens): output under `low`
#: effort was 1,000 to 3,000 tokens with gpt-oss and o-series, 3,000 to 7,400 with Kimi K3 (2026-10).
ROOM, LARGE_ROOM = 4_096, 8_192
_NO_SAMPLING: frozenset[str] = frozenset()

#: Servers whose way to switch a model's thinking off is not known; "": any that no row knows.
_NO_SWITCH = (
    *(
        "",
        "lm_studio",
        "deepinfra",
        "venice",
        "huggingface",
        "novita",
        "nebius",
        "hyperbolic",
        "sambanova",
        "aihubmix",
        "chutes",
        "synthetic",
    ),
    *("featherless_ai", "nscale", "friendliai", "baseten", "nano-gpt", "poe", "lambda_ai"),
)

#: First match wins; models of api.openai.com only. `responses`: chat completions refuses function tools while the model reasons ("Function tools
#: with reasoning_effort are not supported", gpt-5.2 and later, 2026-03 to 2026-09), or does not serve the model at all (codex, pro).
OPENAI_WIRES: tuple[tuple[str, str], ...] = (
    ("gpt-*-chat*", "chat"),
    ("*codex*", "responses"),
    ("*-pro*", "responses"),
    ("*-deep-research*", "responses"),
    ("computer-use-*", "responses"),
    ("gpt-5.[2-9]*", "responses"),
    ("gpt-[6-9]*", "responses"),
)


def _for(*models: str, on: tuple[str, ...] = (), docs: str, **quirks: Any) -> ModelRow:
    return ModelRow(models, quirks, frozenset(on), docs)


_TEXT_ONLY = (
    (
        "gpt-oss*",
        "deepseek-r1*",
        "deepseek-v3*",
        "deepseek-v4-pro*",
        "deepseek-chat",
        "deepseek-reasoner",
        "codestral*",
        "qwen3-coder*",
    ),
    ("glm-4.5", "glm-4.5-*", "glm-4.6", "glm-4.6-*", "glm-4.7*", "glm-5", "glm-5.*", "glm-5-*", "glm-5p*"),
    ("kimi-k2-*", "minimax-m2*", "llama-3.1*", "llama-3.3*", "qwq*"),
)

MODELS: tuple[ModelRow, ...] = (
    # -- nature of the model, whoever serves it --------------------------------------------------------------------------
    _for(*sum(_TEXT_ONLY, ()), images=False, docs="model cards, no image input (2025–2026)"),
    _for(
        *(
            "gpt-oss*",
            "qwq*",
            "deepseek-r1*",
            "*-thinking",
            "*-thinking-*",
            "magistral*",
            "minimax-m2*",
            "sonar-reasoning*",
            "sonar-deep-*",
        ),
        *(
            "o1*",
            "o3*",
            "o4*",
            "gpt-5",
            "gpt-5-*",
            "gemini-2.5-pro*",
            "gemini-[3-9]*",
            "grok-4*",
            "grok-[5-9]*",
            "grok-code*",
            "grok-build*",
        ),
        *("gemini-flash*", "gemini-pro*", "grok-3-mini*", "grok-latest", "step-3.5*"),
        min_tokens=ROOM,
        docs="model cards: always reasons; openrouter.ai /models: reasoning.mandatory (2026-07)",
    ),
    _for("glm-5.3*", "glm-5p3*", min_tokens=ROOM, docs="docs.bigmodel.cn: thinking can't be disabled (2026-10)"),
    _for("kimi-k3*", min_tokens=LARGE_ROOM, docs="platform.kimi.ai: never off (2026-10)"),
    _for(
        "*-non-reasoning*",
        "gpt-*-chat*",
        min_tokens=0,
        docs="docs.x.ai, OpenAI model pages: don't reason (2025-08, 2026-06)",
    ),
    _for(
        "sonar-reasoning*", think_tags=True, docs="docs.perplexity.ai: the reply begins with a <think> section (2026)"
    ),
    _for(
        *("qwen3*", "qwen-3*", "glm-4.[5-9]*", "glm-5*", "kimi-k2.[5-9]*", "mimo-*"),
        on=_NO_SWITCH,
        min_tokens=ROOM,
        docs="hybrids that think unless they are told not to, where nothing tells them (model cards, 2025–2026)",
    ),
    _for(
        "qwen3-coder*", "qwen3-*-instruct*", on=_NO_SWITCH, min_tokens=0, docs="Qwen model cards: no thinking (2025-07)"
    ),
    _for(
        "deepseek-r1*",
        "*-r1-distill*",
        think_tags=True,
        docs="fireworks, huggingface, groq recordings: <think> in content",
    ),
    _for(
        *(
            "mistral-*",
            "ministral*",
            "magistral*",
            "devstral*",
            "codestral*",
            "mixtral*",
            "pixtral*",
            "voxtral*",
            "open-mi*tral*",
        ),
        alternation=True,
        after_tool="Done.",
        tool_ids="mistral9",
        docs="its templates raise on user after tool, on roles that don't alternate, on ids not of nine characters (2025-07 to 2026-08)",
    ),
    _for(
        "gemma-2*",
        "gemma2*",
        system_as_user=True,
        alternation=True,
        docs="its template raises on a system role (2024-06)",
    ),
    _for("gemma-3*", "gemma3*", alternation=True, docs="its template raises where roles don't alternate (2025-03)"),
    _for(
        *(
            "claude-opus-4[.-][6-9]*",
            "claude-sonnet-4[.-][6-9]*",
            "claude-opus-[5-9]*",
            "claude-sonnet-[5-9]*",
            "claude-fable-*",
        ),
        prefill="instruct",
        docs="400 This model does not support assistant message prefill: 2026-02",
    ),
    # -- OpenAI ----------------------------------------------------------------------------------------------------------
    _for(
        *("o1*", "o3*", "o4*", "gpt-5*", "gpt-[6-9]*"),
        on=_OPENAI,
        reasoning="effort",
        docs="OpenAI reasoning guide, 2025-08",
    ),
    _for("o1*", "o3*", "o4*", on=_OPENAI, system_role="developer", docs="OpenAI, 2025"),
    _for(
        "gpt-5*",
        on=_OPENAI,
        efforts=("minimal", "low", "medium", "high"),
        effort_off="minimal",
        min_tokens=0,
        docs="OpenAI reasoning guide, 2025-08",
    ),
    _for("gpt-5-pro*", on=_OPENAI, efforts=("high",), effort_off="", min_tokens=LARGE_ROOM, docs="only high (2025-10)"),
    _for(
        "gpt-5.*",
        on=_OPENAI,
        efforts=("low", "medium", "high"),
        effort_off="none",
        docs="gpt-5.1 has none, not minimal (2025-11)",
    ),
    _for(
        *("gpt-5.[2-9]*", "gpt-[6-9]*"),
        on=_OPENAI,
        efforts=("low", "medium", "high", "xhigh"),
        effort_off="none",
        reasoning_with_tools=False,
        docs="400 for tools with reasoning_effort on chat completions: openai-openapi 541 (2026-05), LiteLLM 34569 (2026-07)",
    ),
    _for(
        *("gpt-5.[6-9]*", "gpt-[6-9]*"),
        on=_OPENAI,
        efforts=("low", "medium", "high", "xhigh", "max"),
        cache="breakpoint",
        docs="openai 3.54.0 types: prompt_cache_breakpoint, max for gpt-5.6 and later (2026-07)",
    ),
    _for(
        "gpt-*-chat*",
        on=_OPENAI,
        reasoning="none",
        reasoning_with_tools=True,
        cache="key",
        docs="the chat models don't reason (OpenAI model pages, 2025-08)",
    ),
    # -- gpt-oss by host -------------------------------------------------------------------------------------------------
    _for(
        "gpt-oss*",
        on=(
            *SELF_HOSTED,
            *_OLLAMA,
            "groq",
            "cerebras",
            "together_ai",
            "fireworks_ai",
            "deepinfra",
            "nvidia_nim",
            "sambanova",
        ),
        reasoning="effort",
        docs="low, medium, high; none refused: groq, cerebras 2026-06; llamacpp/stream-tool-reasoning-01",
    ),
    _for(
        "gpt-oss*",
        "qwen3*",
        "qwen-3*",
        on=("groq",),
        reasoning_history="reasoning",
        docs="Groq's own field, both ways (2026)",
    ),
    _for("compound*", on=("groq",), tools=False, docs="tool calling is not supported with this model: 2026-07"),
    _for(
        *("qwen3-32b*", "qwen3.[5-7]*"),
        on=("groq",),
        reasoning="effort",
        efforts=("default",),
        effort_off="none",
        think_tags=True,
        docs="console.groq.com: none or default (2025-06)",
    ),
    _for(
        "qwen3.8*",
        on=("groq",),
        reasoning="effort",
        effort_off="none",
        think_tags=True,
        docs="none, low, medium, high: 2026-08",
    ),
    _for(
        "*glm-4*", on=("cerebras",), reasoning="effort", effort_off="none", docs="inference-docs.cerebras.ai (2026-08)"
    ),
    _for("gemma-4*", on=("cerebras",), images=True, docs="inference-docs.cerebras.ai (2026-08)"),
    # -- DeepSeek --------------------------------------------------------------------------------------------------------
    _for(
        "deepseek-chat",
        on=("deepseek",),
        reasoning="none",
        reasoning_history="none",
        reasoning_required=False,
        tool_choice_thinking=True,
        docs="the non-thinking mode's name until 2026-07-24",
    ),
    _for(
        "deepseek-reasoner",
        on=("deepseek",),
        reasoning="none",
        min_tokens=ROOM,
        docs="the thinking mode's name until 2026-07-24",
    ),
    _for(
        *("deepseek-v3.1*", "deepseek-v3.2*", "deepseek-v4*", "kimi-k2.5*", "kimi-k2.6*", "granite*"),
        on=_TEMPLATED,
        reasoning="template",
        template_key="thinking",
        docs="docs.vllm.ai reasoning_outputs (0.26, 2026)",
    ),
    # -- Qwen, GLM, Gemma 4 where the template is one's own --------------------------------------------------------------
    _for(
        *("qwen3*", "qwen-3*", "glm-4.[5-9]*", "glm-5*", "glm5*", "glm4*", "gemma-4*", "gemma4*"),
        on=_TEMPLATED,
        reasoning="template",
        docs="docs.vllm.ai reasoning_outputs (0.26); build.nvidia.com glm5 (2026)",
    ),
    _for(
        "qwen3-coder*",
        "qwen3-*-instruct*",
        on=_TEMPLATED,
        reasoning="none",
        docs="Qwen model cards: no thinking (2025-07)",
    ),
    _for("*-thinking*", on=_TEMPLATED, reasoning="none", docs="Qwen model cards: thinks always (2025-07)"),
    _for(
        "*",
        on=(*SELF_HOSTED, *_OLLAMA, "local_server", "litellm_proxy"),
        think_tags=True,
        docs="vllm/stream-tool-think-tags-01, llamacpp/nonstream-tool-think-tags-01 (no reasoning parser)",
    ),
    _for(
        "*",
        on=("lm_studio", "local_server", "litellm_proxy"),
        reasoning_history="reply",
        docs="docs.vllm.ai interleaved thinking (2026-05): tool loops need the thoughts of earlier calls",
    ),
    # -- Ollama ----------------------------------------------------------------------------------------------------------
    _for(
        *(
            "qwen3",
            "qwen3:*",
            "qwen3.*",
            "qwen3-vl*",
            "qwen3-next*",
            "deepseek-r1*",
            "deepseek-v3*",
            "deepseek-v4*",
            "glm-*",
            "kimi-k2*",
        ),
        *("minimax-m*", "magistral*", "gemma4*", "nemotron*"),
        on=_OLLAMA,
        reasoning="effort",
        effort_off="none",
        docs="docs.ollama.com openai-compatibility: reasoning_effort for thinking models (2026-10); a plain model answers 400 to it",
    ),
    # -- vendors' own models at the vendor -------------------------------------------------------------------------------
    _for(
        "gemini-2.5*",
        *("gemini-[3-9]*", "gemini-flash*", "gemini-pro*"),
        on=("gemini",),
        reasoning="gemini",
        efforts=("minimal", "low", "medium", "high"),
        effort_off="minimal",
        reasoning_history="thought_signature",
        docs="ai.google.dev openai compatibility, reasoning_effort table (2026-10)",
    ),
    _for(
        *("gemini-2.5*", "gemini-[3-9]*", "gemini-flash*", "gemini-pro*"),
        on=("gemini",),
        max_tokens_limit=65_536,
        docs="ai.google.dev model pages: output token limit (2026)",
    ),
    _for("gemini-2.0*", "gemini-1.5*", on=("gemini",), max_tokens_limit=8_192, docs="ai.google.dev model pages (2025)"),
    _for(
        "gemini-2.5-flash*", on=("gemini",), effort_off="none", docs="reasoning can be off in 2.5 Flash only (2025-06)"
    ),
    _for(
        "gemini-[3-9]*",
        on=("gemini",),
        reasoning_required=True,
        docs="400 without a thought signature: gemini-compat (2025-11)",
    ),
    _for(
        "grok-3-mini*", on=("xai",), reasoning="effort", efforts=("low", "high"), docs="docs.x.ai reasoning (2025-07)"
    ),
    _for(
        *("grok-4.3*", "grok-latest"),
        on=("xai",),
        reasoning="effort",
        effort_off="none",
        min_tokens=0,
        docs="none, low, medium, high: @ai-sdk/xai 4.0 (2026-06)",
    ),
    _for(
        "grok-4.[5-9]*",
        "grok-[5-9]*",
        on=("xai",),
        reasoning="effort",
        docs="low, medium, high, never off: docs.x.ai (2026-07)",
    ),
    _for(
        "mistral-small*",
        on=("mistral",),
        reasoning="effort",
        efforts=("high",),
        effort_off="none",
        docs="@ai-sdk/mistral 3 (2026-03)",
    ),
    _for(
        *("mistral-medium-3-5*", "mistral-medium-3.5*", "mistral-medium-latest"),
        on=("mistral",),
        reasoning="effort",
        effort_off="none",
        docs="docs.mistral.ai reasoning: low, medium, high (2026-06)",
    ),
    _for(
        "minimax-m3*",
        on=("minimax",),
        structured="json_schema",
        effort_off="disabled",
        docs="response_format, and thinking.type disabled, are taken since M3; M2 goes on thinking (2026-06)",
    ),
    _for(
        "kimi-*",
        on=("moonshot",),
        sampling=_NO_SAMPLING,
        reasoning="thinking_type",
        reasoning_history="reasoning_content",
        reasoning_required=True,
        tool_choice_thinking=False,
        docs="400 invalid temperature: only 1 is allowed: 2026-07, 2026-10; reasoning_content must return with tool calls",
    ),
    _for(
        *("kimi-k2-thinking*", "kimi-k2.7-code*"),
        on=("moonshot",),
        reasoning="none",
        tool_choice_any="",
        tool_choice_named="none",
        min_tokens=ROOM,
        docs="thinks always; tool_choice only auto or none (2026-06)",
    ),
    _for(
        *("kimi-k3*", "kimi-[4-9]*", "k3*"),
        on=("moonshot",),
        reasoning="effort",
        efforts=("low", "high", "max"),
        tool_choice_thinking=True,
        tool_choice_named="only",
        min_tokens=LARGE_ROOM,
        docs="platform.kimi.ai: low, high, max, never off; auto, required, none (2026-10)",
    ),
    _for(
        *(
            "qwen3*",
            "qwen-plus*",
            "qwen-turbo*",
            "qwen-flash*",
            "qwen-max*",
            "glm-*",
            "deepseek-v3.[1-9]*",
            "deepseek-v4*",
            "kimi-k2.[5-9]*",
        ),
        *("mimo-*",),
        on=("dashscope",),
        reasoning="enable_thinking",
        docs="help.aliyun.com model-studio deep thinking (2026-10)",
    ),
    _for(
        "qwen3-coder*",
        "qwen3-*-instruct*",
        "qwen3-*-thinking*",
        on=("dashscope",),
        reasoning="none",
        docs="one mode only (2025-07)",
    ),
    _for(
        "qwq*",
        "qvq*",
        "qwen3-*-thinking*",
        on=("dashscope",),
        stream_only=True,
        docs="help.aliyun.com: only streams (2025-07)",
    ),
    _for(
        *("glm-5.[2-9]*", "glm-[6-9]*"),
        on=_ZHIPU,
        reasoning="thinking_effort",
        efforts=("low", "high", "max"),
        docs="docs.bigmodel.cn: reasoning_effort since GLM-5.2, default max (2026-10)",
    ),
    _for("glm-5.2*", on=_ZHIPU, efforts=("high", "max"), docs="GLM-5.2 takes low and medium as high (2026-10)"),
    _for(
        "glm-4.[6-9]*", "glm-5*", on=_ZHIPU, max_tokens_limit=131_072, docs="400 beyond [1,131072]: GLM-5.3 (2026-08)"
    ),
    _for("glm-4.5*", on=_ZHIPU, max_tokens_limit=98_304, docs="docs.z.ai (2025-08)"),
    _for(
        *("doubao-seed*", "doubao-*-thinking*", "deepseek-v3.[1-9]*", "deepseek-v4*", "glm-*", "kimi-*"),
        *("deepseek-v3-[1-9]*",),
        on=("volcengine",),
        reasoning="thinking_type",
        docs="Ark deep thinking: thinking.type (2025-10)",
    ),
    # -- others' models by host ------------------------------------------------------------------------------------------
    _for(
        *("claude-*", "gemini-*", "gpt-5.[6-9]*", "gpt-[6-9]*"),
        *("qwen3-max*", "qwen-plus*", "qwen3.6-plus*", "qwen3-coder-plus*", "qwen3-coder-flash*"),
        on=("openrouter",),
        cache="keyed_blocks",
        docs="openrouter.ai/docs prompt-caching: cache_control, and what it becomes at OpenAI and Alibaba (2026-10)",
    ),
    _for(
        *("claude-opus-4.8*", "claude-opus-5*", "claude-sonnet-5.5*"),
        on=("openrouter",),
        sampling=frozenset({"temperature"}),
        docs="/models supported_parameters (2026-10)",
    ),
    _for(
        "claude-fable-5*",
        "claude-sonnet-5",
        on=("openrouter",),
        sampling=_NO_SAMPLING,
        docs="/models supported_parameters (2026-10)",
    ),
    _for(
        "gpt-5.4*",
        "gpt-5.5*",
        "gpt-5.6*",
        "gpt-6*",
        on=("openrouter",),
        sampling=_NO_SAMPLING,
        stop_limit=0,
        docs="as above (2026-10)",
    ),
    _for("grok-4.5*", "grok-4.7*", on=("openrouter",), stop_limit=0, docs="/models supported_parameters (2026-10)"),
    _for(
        *(
            "gpt-oss*",
            "qwq*",
            "deepseek-r1*",
            "*-thinking",
            "*-thinking-*",
            "magistral*",
            "minimax-m2*",
            "o1*",
            "o3*",
            "o4*",
            "gpt-5",
            "gpt-5-*",
        ),
        *(
            "gemini-2.5-pro*",
            "gemini-[3-9]*",
            "grok-4",
            "grok-4-*",
            "grok-4.[5-9]*",
            "grok-[5-9]*",
            "grok-code*",
            "glm-5.3*",
            "kimi-k3*",
        ),
        *("gpt-5.4-pro*", "gpt-5.5-pro*", "step-3.5*"),
        on=("openrouter", "vercel_ai_gateway"),
        effort_off="",
        efforts=("low", "medium", "high", "xhigh"),
        docs="400 Reasoning is mandatory for this endpoint and cannot be disabled, low is taken: 2026-02 to 2026-09",
    ),
    _for(
        "gpt-5.4-pro*",
        "gpt-5.5-pro*",
        on=("openrouter",),
        min_tokens=LARGE_ROOM,
        docs="reasoning is mandatory: 2026-10",
    ),
    _for(
        "gpt-5*",
        "gpt-[6-9]*",
        "o1*",
        "o3*",
        "o4*",
        on=("litellm_proxy",),
        reasoning="effort",
        docs="docs.litellm.ai (2026-10)",
    ),
    _for(
        *(
            "claude-*",
            "gemini-2.5*",
            "gemini-[3-9]*",
            "gemini-flash*",
            "gemini-pro*",
            "grok-3-mini*",
            "grok-4.[3-9]*",
            "grok-[5-9]*",
        ),
        on=("litellm_proxy",),
        reasoning="effort",
        docs="docs.litellm.ai reasoning_content (2026-10): reasoning_effort becomes the vendor's own field",
    ),
    _for(
        "claude-*",
        on=("litellm_proxy",),
        tool_choice_thinking=False,
        docs="Anthropic: no forced tool while it thinks (2026-09)",
    ),
    _for(
        "gpt-5.*",
        "gpt-[6-9]*",
        on=("litellm_proxy",),
        effort_off="none",
        docs="OpenAI reasoning guide: none since gpt-5.1 (2025-11)",
    ),
    _for(
        *(
            "deepseek-v3.1*",
            "deepseek-v4*",
            "kimi-k2.[5-9]*",
            "glm-5",
            "glm-5.[0-2]*",
            "qwen3.[5-9]*",
            "gemma-4*",
            "minimax-m3*",
        ),
        on=("together_ai",),
        reasoning="together",
        docs="docs.together.ai reasoning-overview: reasoning.enabled (2026-10)",
    ),
    _for(
        *("glm-5.3*", "kimi-k3*"),
        on=("together_ai",),
        reasoning="effort",
        efforts=("low", "medium", "high", "max"),
        reasoning_history="reasoning_content",
        docs="docs.together.ai glm-5.3-quickstart (2026-10)",
    ),
    _for(
        *("deepseek-v4*", "glm-5*", "kimi-k2*", "qwen3*", "minimax-m*"),
        on=("fireworks_ai",),
        reasoning="effort",
        effort_off="none",
        reasoning_history="reasoning_content",
        docs="docs.fireworks.ai guides/reasoning (2026-10)",
    ),
    _for(
        "qwen3-coder*",
        "qwen3-*-instruct*",
        on=("fireworks_ai",),
        reasoning="none",
        docs="Qwen model cards: no thinking (2025-07)",
    ),
    _for("glm-5*", on=("fireworks_ai",), efforts=("high", "max"), docs="docs.fireworks.ai guides/reasoning (2026-10)"),
    _for("kimi-k2*", on=("fireworks_ai",), effort_off="", min_tokens=ROOM, docs="low, medium, high only (2026-10)"),
    _for("minimax-m2*", "glm-5p3*", on=("fireworks_ai",), effort_off="", docs="model cards: always reasons (2026)"),
    _for("deepseek-v4*", on=("fireworks_ai",), efforts=("low", "medium", "high", "xhigh"), docs="as above (2026-10)"),
    _for(
        *("qwen3*", "glm-4.[5-9]*", "glm-5*", "deepseek-v3.[1-9]*", "hunyuan*"),
        on=("siliconflow", "modelscope"),
        reasoning="enable_thinking",
        docs="docs.siliconflow.com chat completions: enable_thinking (2025-10)",
    ),
    _for(
        *("qwen3-coder*", "qwen3-*-instruct*", "qwen3-*-thinking*"),
        on=("siliconflow", "modelscope"),
        reasoning="none",
        docs="one mode only: enable_thinking is refused (2025-07)",
    ),
)
