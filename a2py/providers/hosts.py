"""Rows of hosts and gateways that serve other vendors' models.

Knows: bases, keys, hosts, quirks that hold for every model there. Must not know: model families (models.py), the
environment, sockets.
Invariants: a quirk stands here only if a recording or the host's documentation shows it; `docs` names both, with the
date it was seen.
"""

from __future__ import annotations

from a2py.providers.families import WITH_TOP_K
from a2py.providers.types import Provider, row
from a2py.providers.vendors import BETA_FIELDS, NO_TEXT

_LITELLM = "LiteLLM's provider page (2026-10)"

HOSTS: tuple[Provider, ...] = (
    row(
        "openrouter",
        "https://openrouter.ai/api/v1",
        keys=("OPENROUTER_API_KEY", "OR_API_KEY"),
        bases=("OPENROUTER_API_BASE", "OR_API_BASE"),
        env_headers={"HTTP-Referer": "OR_SITE_URL", "X-Title": "OR_APP_NAME"},
        native="https://openrouter.ai/api",
        native_models=("anthropic/*",),
        hosts=("openrouter.ai", "eu.openrouter.ai"),
        default_model="anthropic/claude-sonnet-5.5",
        quirks={
            "documents": "file",
            "sampling": WITH_TOP_K,
            "reasoning": "openrouter",
            "efforts": ("minimal", "low", "medium", "high", "xhigh", "max"),
            "effort_off": "none",
            "reasoning_history": "reasoning_details",
            "cache": "key",
            "web_search": "plugin",
            "native_drop": BETA_FIELDS,
        },
        docs="openrouter.ai/docs reasoning-tokens (what a model lacks is mapped), prompt-caching (the key pins the "
        "host), PDF inputs, web search "
        "plugin and server tool (2026-10); openrouter/stream-tool-reasoning-02",
    ),
    row(
        "vercel_ai_gateway",
        "https://ai-gateway.vercel.sh/v1",
        keys=("VERCEL_AI_GATEWAY_API_KEY", "AI_GATEWAY_API_KEY"),
        default_model="anthropic/claude-sonnet-4.5",
        quirks={
            "reasoning": "openrouter",
            "efforts": ("minimal", "low", "medium", "high", "xhigh"),
            "effort_off": "none",
            "reasoning_history": "reasoning_details",
            "empty_content": "(no output)",
        },
        docs="vercel.com/docs/ai-gateway reasoning (2026-09); vercel-gateway/stream-reasoning-text-01; 400 for an "
        "empty result: 2025-10",
    ),
    row(
        "groq",
        "https://api.groq.com/openai/v1",
        default_model="openai/gpt-oss-120b",
        quirks={"max_tokens_field": "max_completion_tokens", "structured_with_tools": False},
        docs="console.groq.com api-reference (2026-10); response_format with tools refused: 2026-08",
    ),
    row(
        "together_ai",
        "https://api.together.xyz/v1",
        keys=("TOGETHER_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY"),
        bases=("TOGETHER_AI_API_BASE", "TOGETHER_API_BASE"),
        hosts=("api.together.xyz", "api.together.ai"),
        default_model="zai-org/GLM-5.3",
        quirks={"sampling": WITH_TOP_K},
        docs="docs.together.ai reasoning-overview, glm-5.3-quickstart (2026-10)",
    ),
    row(
        "fireworks_ai",
        "https://api.fireworks.ai/inference/v1",
        keys=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
        hosts=("api.fireworks.ai", "us.api.fireworks.ai"),
        default_model="accounts/fireworks/models/glm-5p1",
        quirks={"sampling": WITH_TOP_K, "cache": "key"},
        docs="docs.fireworks.ai guides/reasoning (2026-10); langchain-fireworks (2026): prompt_cache_key is its "
        "session affinity; "
        "fireworks/stream-think-tags-text-01",
    ),
    row(
        "cerebras",
        "https://api.cerebras.ai/v1",
        default_model="gpt-oss-120b",
        lacks=NO_TEXT,
        quirks={
            "max_tokens_field": "max_completion_tokens",
            "temperature_max": 1.5,
            "parallel_tool_calls": False,
            "structured_with_tools": False,
            "images": False,
        },
        docs="inference-docs.cerebras.ai (2026-10): temperature to 1.5; tools with response_format refused: 2026-08; "
        "text only",
    ),
    row(
        "nvidia_nim",
        "https://integrate.api.nvidia.com/v1",
        keys=("NVIDIA_NIM_API_KEY", "NVIDIA_API_KEY"),
        default_model="openai/gpt-oss-120b",
        docs="build.nvidia.com model cards (2026): chat_template_kwargs; recordings",
    ),
    row(
        "deepinfra",
        "https://api.deepinfra.com/v1/openai",
        default_model="zai-org/GLM-5.2",
        docs="deepinfra.com model pages (2026-07)",
    ),
    row(
        "sambanova",
        "https://api.sambanova.ai/v1",
        default_model="gpt-oss-120b",
        docs="SambaNova's /v1/models as of 2026-06",
    ),
    row(
        "nebius",
        "https://api.studio.nebius.ai/v1",
        hosts=("api.studio.nebius.ai", "api.studio.nebius.com", "api.tokenfactory.nebius.com"),
        default_model="meta-llama/Meta-Llama-3.1-70B-Instruct",
        docs="nebius/nonstream-text-01, read 2026-11",
    ),
    row(
        "novita",
        "https://api.novita.ai/v3/openai",
        default_model="moonshotai/kimi-k2-thinking",
        docs="novita.ai model pages (2026); recordings name the v3 base",
    ),
    row(
        "hyperbolic",
        "https://api.hyperbolic.xyz/v1",
        default_model="Qwen/Qwen2.5-72B-Instruct",
        docs="hyperbolic/error-bad-model-01, read 2026-11",
    ),
    row(
        "siliconflow",
        "https://api.siliconflow.com/v1",
        hosts=("api.siliconflow.com", "api.siliconflow.cn"),
        docs="docs.siliconflow.com chat completions (2026): enable_thinking, thinking_budget",
    ),
    row(
        "github",
        "https://models.github.ai/inference",
        hosts=("models.github.ai", "models.inference.ai.azure.com"),
        default_model="openai/gpt-4.1",
        docs="docs.github.com/github-models (2026); LiteLLM still names the older Azure host",
    ),
    row(
        "friendliai",
        "https://api.friendli.ai/serverless/v1",
        keys=("FRIENDLIAI_API_KEY", "FRIENDLI_TOKEN"),
        bases=("FRIENDLIAI_API_BASE", "FRIENDLI_API_BASE"),
        docs=_LITELLM,
    ),
    row("featherless_ai", "https://api.featherless.ai/v1", docs=_LITELLM),
    row("nscale", "https://inference.api.nscale.com/v1", docs=_LITELLM),
    row("lambda_ai", "https://api.lambda.ai/v1", keys=("LAMBDA_AI_API_KEY", "LAMBDA_API_KEY"), docs=_LITELLM),
    row(
        "modelscope",
        "https://api-inference.modelscope.cn/v1",
        docs="modelscope.cn docs model-service (2026): enable_thinking",
    ),
    row("synthetic", "https://api.synthetic.new/openai/v1", docs=_LITELLM),
    row("chutes", "https://llm.chutes.ai/v1", docs=_LITELLM),
    row("nano-gpt", "https://nano-gpt.com/api/v1", keys=("NANO_GPT_API_KEY", "NANOGPT_API_KEY"), docs=_LITELLM),
    row("poe", "https://api.poe.com/v1", docs=_LITELLM),
    row(
        "aihubmix",
        "https://aihubmix.com/v1",
        default_model="kimi-k3.1-pro",
        docs="aihubmix.com guides (2026-10); recordings",
    ),
    row(
        "venice",
        "https://api.venice.ai/api/v1",
        keys=("VENICE_API_KEY", "VENICE_AI_API_KEY"),
        default_model="qwen3-5-9b",
        docs="venice/stream-text-01, read 2026-11",
    ),
    row("baseten", "https://inference.baseten.co/v1", docs=_LITELLM),
    row(
        "huggingface",
        "https://router.huggingface.co/v1",
        keys=("HUGGINGFACE_API_KEY", "HF_TOKEN"),
        default_model="openai/gpt-oss-20b:fireworks-ai",
        docs="huggingface/stream-tool-01, read 2026-11",
    ),
)
