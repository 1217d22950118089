"""Quirks of model families, as data, and which wire api.openai.com's models need.

Knows: names of model families and what they accept. Must not know: how a row is applied (choose.py).
Invariants: a row without providers states only the model's own nature, the same on every server; later rows win; `docs`
names source and date.
"""

from __future__ import annotations

from a2py.providers.families import LARGE_ROOM, OLLAMA, OPENAI, ROOM, SELF_HOSTED, TEMPLATE_SERVERS, family
from a2py.providers.served_models import SERVED_MODELS
from a2py.providers.types import ModelRow

#: Servers for which no way to switch a model's thinking off is known: none is in their rows' sources (table of
#: 2026-11). "" is any server that no row knows.
_NO_SWITCH = (
    *("", "lm_studio", "deepinfra", "venice", "huggingface", "novita", "nebius", "hyperbolic", "sambanova"),
    *("aihubmix", "chutes", "synthetic", "featherless_ai", "nscale", "friendliai", "baseten", "nano-gpt", "poe"),
    "lambda_ai",
)

#: Pattern of a model of api.openai.com → its wire. The first match wins. `responses`: chat completions rejects function
#: tools while the model reasons ("Function tools with reasoning_effort are not supported", gpt-5.2 and later, 2026-03
#: to 2026-09), or does not serve the model at all (codex, pro).
OPENAI_WIRES: tuple[tuple[str, str], ...] = (
    ("gpt-*-chat*", "chat"),
    ("*codex*", "responses"),
    ("*-pro*", "responses"),
    ("*-deep-research*", "responses"),
    ("computer-use-*", "responses"),
    ("gpt-5.[2-9]*", "responses"),
    ("gpt-[6-9]*", "responses"),
)


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
    # -- nature of the model, whoever serves it ------------------------------------------------------------------------
    family(*sum(_TEXT_ONLY, ()), images=False, docs="model cards, no image input (2025–2026)"),
    family(
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
    family("glm-5.3*", "glm-5p3*", min_tokens=ROOM, docs="docs.bigmodel.cn: thinking can't be disabled (2026-10)"),
    family("kimi-k3*", min_tokens=LARGE_ROOM, docs="platform.kimi.ai: never off (2026-10)"),
    family(
        "*-non-reasoning*",
        "gpt-*-chat*",
        min_tokens=0,
        docs="docs.x.ai, OpenAI model pages: don't reason (2025-08, 2026-06)",
    ),
    family(
        "sonar-reasoning*", think_tags=True, docs="docs.perplexity.ai: the reply begins with a <think> section (2026)"
    ),
    family(
        *("qwen3*", "qwen-3*", "glm-4.[5-9]*", "glm-5*", "kimi-k2.[5-9]*", "mimo-*"),
        on=_NO_SWITCH,
        min_tokens=ROOM,
        docs="hybrids that think unless they are told not to, where nothing tells them (model cards, 2025–2026)",
    ),
    family(
        "qwen3-coder*", "qwen3-*-instruct*", on=_NO_SWITCH, min_tokens=0, docs="Qwen model cards: no thinking (2025-07)"
    ),
    family(
        "deepseek-r1*",
        "*-r1-distill*",
        think_tags=True,
        docs="<think> in content: fireworks/stream-think-tags-text-01, groq/stream-think-tags-text-01, "
        "huggingface/nonstream-think-tags-text-01, read 2026-11",
    ),
    family(
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
        docs="its templates raise on user after tool, on roles that don't alternate, on ids not of nine characters "
        "(2025-07 to 2026-08)",
    ),
    family(
        "gemma-2*",
        "gemma2*",
        system_as_user=True,
        alternation=True,
        docs="its template raises on a system role (2024-06)",
    ),
    family("gemma-3*", "gemma3*", alternation=True, docs="its template raises where roles don't alternate (2025-03)"),
    family(
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
    # -- OpenAI --------------------------------------------------------------------------------------------------------
    family(
        *("o1*", "o3*", "o4*", "gpt-5*", "gpt-[6-9]*"),
        on=OPENAI,
        reasoning="effort",
        docs="OpenAI reasoning guide, 2025-08",
    ),
    family("o1*", "o3*", "o4*", on=OPENAI, system_role="developer", docs="OpenAI, 2025"),
    family(
        "gpt-5*",
        on=OPENAI,
        efforts=("minimal", "low", "medium", "high"),
        effort_off="minimal",
        min_tokens=0,
        docs="OpenAI reasoning guide, 2025-08",
    ),
    family(
        "gpt-5-pro*", on=OPENAI, efforts=("high",), effort_off="", min_tokens=LARGE_ROOM, docs="only high (2025-10)"
    ),
    family(
        "gpt-5.*",
        on=OPENAI,
        efforts=("low", "medium", "high"),
        effort_off="none",
        docs="gpt-5.1 has none, not minimal (2025-11)",
    ),
    family(
        *("gpt-5.[2-9]*", "gpt-[6-9]*"),
        on=OPENAI,
        efforts=("low", "medium", "high", "xhigh"),
        effort_off="none",
        reasoning_with_tools=False,
        docs="400 for tools with reasoning_effort on chat completions: openai-openapi 541 (2026-05), LiteLLM 34569 "
        "(2026-07)",
    ),
    family(
        *("gpt-5.[6-9]*", "gpt-[6-9]*"),
        on=OPENAI,
        efforts=("low", "medium", "high", "xhigh", "max"),
        cache="breakpoint",
        docs="openai 3.54.0 types: prompt_cache_breakpoint, max for gpt-5.6 and later (2026-07)",
    ),
    family(
        "gpt-*-chat*",
        on=OPENAI,
        reasoning="none",
        reasoning_with_tools=True,
        cache="key",
        docs="the chat models don't reason (OpenAI model pages, 2025-08)",
    ),
    # -- gpt-oss by host -----------------------------------------------------------------------------------------------
    family(
        "gpt-oss*",
        on=(
            *SELF_HOSTED,
            *OLLAMA,
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
    family(
        "gpt-oss*",
        "qwen3*",
        "qwen-3*",
        on=("groq",),
        reasoning_history="reasoning",
        docs="Groq's own field, both ways (2026)",
    ),
    family("compound*", on=("groq",), tools=False, docs="tool calling is not supported with this model: 2026-07"),
    family(
        *("qwen3-32b*", "qwen3.[5-7]*"),
        on=("groq",),
        reasoning="effort",
        efforts=("default",),
        effort_off="none",
        think_tags=True,
        docs="console.groq.com: none or default (2025-06)",
    ),
    family(
        "qwen3.8*",
        on=("groq",),
        reasoning="effort",
        effort_off="none",
        think_tags=True,
        docs="none, low, medium, high: 2026-08",
    ),
    family(
        "*glm-4*", on=("cerebras",), reasoning="effort", effort_off="none", docs="inference-docs.cerebras.ai (2026-08)"
    ),
    family("gemma-4*", on=("cerebras",), images=True, docs="inference-docs.cerebras.ai (2026-08)"),
    # -- DeepSeek ------------------------------------------------------------------------------------------------------
    family(
        "deepseek-chat",
        on=("deepseek",),
        reasoning="none",
        reasoning_history="none",
        reasoning_required=False,
        tool_choice_thinking=True,
        docs="the non-thinking mode's name until 2026-07-24",
    ),
    family(
        "deepseek-reasoner",
        on=("deepseek",),
        reasoning="none",
        min_tokens=ROOM,
        docs="the thinking mode's name until 2026-07-24",
    ),
    family(
        *("deepseek-v3.1*", "deepseek-v3.2*", "deepseek-v4*", "kimi-k2.5*", "kimi-k2.6*", "granite*"),
        on=TEMPLATE_SERVERS,
        reasoning="template",
        template_key="thinking",
        docs="docs.vllm.ai reasoning_outputs (0.26, 2026)",
    ),
    # -- Qwen, GLM, Gemma 4 where the template is one's own ------------------------------------------------------------
    family(
        *("qwen3*", "qwen-3*", "glm-4.[5-9]*", "glm-5*", "glm5*", "glm4*", "gemma-4*", "gemma4*"),
        on=TEMPLATE_SERVERS,
        reasoning="template",
        docs="docs.vllm.ai reasoning_outputs (0.26); build.nvidia.com glm5 (2026)",
    ),
    family(
        "qwen3-coder*",
        "qwen3-*-instruct*",
        on=TEMPLATE_SERVERS,
        reasoning="none",
        docs="Qwen model cards: no thinking (2025-07)",
    ),
    family("*-thinking*", on=TEMPLATE_SERVERS, reasoning="none", docs="Qwen model cards: thinks always (2025-07)"),
    family(
        "*",
        on=(*SELF_HOSTED, *OLLAMA, "local_server", "litellm_proxy"),
        think_tags=True,
        docs="no reasoning parser: vllm/stream-tool-think-tags-01, llamacpp/nonstream-tool-think-tags-01, read 2026-11",
    ),
    family(
        "*",
        on=("lm_studio", "local_server", "litellm_proxy"),
        reasoning_history="reply",
        docs="docs.vllm.ai interleaved thinking (2026-05): tool loops need the thoughts of earlier calls",
    ),
    # -- Ollama --------------------------------------------------------------------------------------------------------
    family(
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
        on=OLLAMA,
        reasoning="effort",
        effort_off="none",
        docs="docs.ollama.com openai-compatibility: reasoning_effort for thinking models (2026-10); a plain model "
        "answers 400 to it",
    ),
    *SERVED_MODELS,
)
