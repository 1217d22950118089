"""The rows of the provider table (docs/providers.md is tested against them).

Knows: bases, key variables, hosts, native endpoints, default models, quirks. Must not know: the environment, sockets.
Invariants: each key is its row's name; a prefix's key variable is `<PREFIX>_API_KEY` and its base variable `<PREFIX>_API_BASE` unless said.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from a2py.providers.types import Provider


def _row(name: str, base: str = "", **more: Any) -> Provider:
    prefix = name.upper().replace("-", "_")
    more.setdefault("keys", (f"{prefix}_API_KEY",))
    more.setdefault("bases", (f"{prefix}_API_BASE",))
    more.setdefault("hosts", (urlsplit(base).netloc,) if base else ())
    return Provider(name=name, base=base, **more)


_ROWS = (
    _row(
        "openai",
        "https://api.openai.com/v1",
        bases=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        env_headers={"OpenAI-Organization": "OPENAI_ORGANIZATION"},
        default_model="gpt-5.4",
    ),
    _row(
        "deepseek",
        "https://api.deepseek.com",
        native="https://api.deepseek.com/anthropic",
        native_models=("*",),
        default_model="deepseek-v4-pro",
    ),
    _row("ollama", "http://localhost:11434/v1", key_optional=True, hosts=("localhost:11434", "127.0.0.1:11434", "ollama.com")),
    _row(
        "ollama_chat",
        "http://localhost:11434/v1",
        keys=("OLLAMA_API_KEY",),
        bases=("OLLAMA_API_BASE",),
        key_optional=True,
        hosts=(),
    ),
    _row(
        "openrouter",
        "https://openrouter.ai/api/v1",
        keys=("OPENROUTER_API_KEY", "OR_API_KEY"),
        env_headers={"HTTP-Referer": "OR_SITE_URL", "X-Title": "OR_APP_NAME"},
        native="https://openrouter.ai/api",
        native_models=("anthropic/*", "claude-*"),
        default_model="anthropic/claude-sonnet-4.5",
    ),
    _row("azure", auth="api-key", hosts=(".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")),
    _row(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        default_model="gemini-2.5-pro",
    ),
    _row("groq", "https://api.groq.com/openai/v1", default_model="openai/gpt-oss-120b"),
    _row("hosted_vllm", key_optional=True),
    _row("lm_studio", key_optional=True, hosts=("localhost:1234", "127.0.0.1:1234")),
    _row("llamafile", "http://127.0.0.1:8080/v1", key_optional=True, hosts=()),
    _row("llamacpp", "http://127.0.0.1:8080/v1", key_optional=True, hosts=()),
    _row("sglang", "http://localhost:30000/v1", key_optional=True, hosts=()),
    _row("docker_model_runner", "http://localhost:22088/engines/llama.cpp/v1", key_optional=True),
    _row("litellm_proxy", key_optional=True),
    _row(
        "together_ai",
        "https://api.together.xyz/v1",
        keys=("TOGETHER_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY"),
        hosts=("api.together.xyz", "api.together.ai"),
        default_model="openai/gpt-oss-120b",
    ),
    _row("mistral", "https://api.mistral.ai/v1", default_model="mistral-large-latest"),
    _row("codestral", "https://codestral.mistral.ai/v1", default_model="codestral-latest"),
    _row("xai", "https://api.x.ai/v1", default_model="grok-4.3"),
    _row(
        "minimax",
        "https://api.minimax.io/v1",
        native="https://api.minimax.io/anthropic",
        native_models=("minimax-m*",),
        hosts=("api.minimax.io", "api.minimaxi.com"),
        default_model="MiniMax-M2",
    ),
    _row(
        "moonshot",
        "https://api.moonshot.ai/v1",
        native="https://api.moonshot.ai/anthropic",
        native_models=("kimi-*",),
        hosts=("api.moonshot.ai", "api.moonshot.cn"),
        default_model="kimi-k2.5",
    ),
    _row(
        "dashscope",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        native="https://dashscope.aliyuncs.com/apps/anthropic",
        native_models=("qwen*",),
        hosts=("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"),
        default_model="qwen3-coder-plus",
    ),
    _row("zai", "https://api.z.ai/api/paas/v4", native="https://api.z.ai/api/anthropic", native_models=("glm-*",), default_model="glm-4.7"),
    _row(
        "bigmodel",
        "https://open.bigmodel.cn/api/paas/v4",
        native="https://open.bigmodel.cn/api/anthropic",
        native_models=("glm-*",),
        default_model="glm-4.7",
    ),
    _row("fireworks_ai", "https://api.fireworks.ai/inference/v1", keys=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY")),
    _row("deepinfra", "https://api.deepinfra.com/v1/openai"),
    _row("cerebras", "https://api.cerebras.ai/v1"),
    _row("nvidia_nim", "https://integrate.api.nvidia.com/v1"),
    _row("perplexity", "https://api.perplexity.ai", keys=("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY")),
    _row("sambanova", "https://api.sambanova.ai/v1"),
    _row("nebius", "https://api.studio.nebius.ai/v1"),
    _row("novita", "https://api.novita.ai/v3/openai"),
    _row("hyperbolic", "https://api.hyperbolic.xyz/v1"),
    _row("siliconflow", "https://api.siliconflow.com/v1", hosts=("api.siliconflow.com", "api.siliconflow.cn")),
    _row("volcengine", "https://ark.cn-beijing.volces.com/api/v3", keys=("ARK_API_KEY", "VOLCENGINE_API_KEY")),
    _row("github", "https://models.github.ai/inference", hosts=("models.github.ai", "models.inference.ai.azure.com")),
    _row("vercel_ai_gateway", "https://ai-gateway.vercel.sh/v1"),
    _row(
        "friendliai",
        "https://api.friendli.ai/serverless/v1",
        keys=("FRIENDLIAI_API_KEY", "FRIENDLI_TOKEN"),
        bases=("FRIENDLIAI_API_BASE", "FRIENDLI_API_BASE"),
    ),
    _row("featherless_ai", "https://api.featherless.ai/v1"),
    _row("nscale", "https://inference.api.nscale.com/v1"),
    _row("lambda_ai", "https://api.lambda.ai/v1", keys=("LAMBDA_AI_API_KEY", "LAMBDA_API_KEY")),
    _row(
        "meta_llama",
        "https://api.llama.com/compat/v1",
        keys=("META_LLAMA_API_KEY", "LLAMA_API_KEY"),
        bases=("META_LLAMA_API_BASE", "LLAMA_API_BASE"),
    ),
    _row("modelscope", "https://api-inference.modelscope.cn/v1"),
    _row("xiaomi_mimo", "https://api.xiaomimimo.com/v1"),
    _row("synthetic", "https://api.synthetic.new/openai/v1"),
    _row("chutes", "https://llm.chutes.ai/v1"),
    _row("nano-gpt", "https://nano-gpt.com/api/v1", keys=("NANO_GPT_API_KEY", "NANOGPT_API_KEY")),
    _row("poe", "https://api.poe.com/v1"),
    _row("aihubmix", "https://aihubmix.com/v1"),
    _row("venice", "https://api.venice.ai/api/v1", keys=("VENICE_API_KEY", "VENICE_AI_API_KEY")),
    _row("baseten", "https://inference.baseten.co/v1"),
    _row("huggingface", "https://router.huggingface.co/v1", keys=("HUGGINGFACE_API_KEY", "HF_TOKEN")),
    _row(
        "anthropic", "https://api.anthropic.com", wire="native", native="https://api.anthropic.com", native_models=("*",), auth="x-api-key"
    ),
)

PROVIDERS: dict[str, Provider] = {row.name: row for row in _ROWS}
