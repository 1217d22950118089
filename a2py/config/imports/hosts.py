"""free-claude-code's providers → ours, with the variables of their keys.

Source: its catalogue of providers and its example of a `.env` (2026-11-30), and the names of older versions and forks.

Knows: names, addresses, names of variables. Must not know: models.
"""

from __future__ import annotations

from typing import NamedTuple


class Host(NamedTuple):
    """`prefix`: our provider. `key`: the variable of its key. `base`: api_base, "" for the provider's own; `{account}`
    stands for the value of the variable `account`. `base_name`: the variable that has the address. `problem`: why it
    can't be asked."""

    prefix: str
    key: str = ""
    base: str = ""
    base_name: str = ""
    account: str = ""
    problem: str = ""


def _compatible(base: str, key: str, base_name: str = "") -> Host:
    return Host("openai", key, base, base_name)


def _login(what: str) -> Host:
    return Host("", problem=f"a2py has no login for {what}. Name another model")


HOSTS = {
    # -- rows of our provider table ----------------------------------------------------------------------------
    "nvidia_nim": Host("nvidia_nim", "NVIDIA_NIM_API_KEY"),
    "open_router": Host("openrouter", "OPENROUTER_API_KEY"),
    "openrouter": Host("openrouter", "OPENROUTER_API_KEY"),
    "deepseek": Host("deepseek", "DEEPSEEK_API_KEY"),
    "mistral": Host("mistral", "MISTRAL_API_KEY"),
    "mistral_codestral": Host("codestral", "CODESTRAL_API_KEY"),
    "gemini": Host("gemini", "GEMINI_API_KEY"),
    "groq": Host("groq", "GROQ_API_KEY"),
    "cerebras": Host("cerebras", "CEREBRAS_API_KEY"),
    "xai": Host("xai", "XAI_API_KEY"),
    "fireworks": Host("fireworks_ai", "FIREWORKS_API_KEY"),
    "together": Host("together_ai", "TOGETHER_API_KEY"),
    "deepinfra": Host("deepinfra", "DEEPINFRA_API_KEY"),
    "sambanova": Host("sambanova", "SAMBANOVA_API_KEY"),
    "huggingface": Host("huggingface", "HUGGINGFACE_API_KEY"),
    "siliconflow": Host("siliconflow", "SILICONFLOW_API_KEY"),
    "chutes": Host("chutes", "CHUTES_API_KEY"),
    "featherless": Host("featherless_ai", "FEATHERLESS_API_KEY", "https://api.featherless.ai/v1"),
    "minimax": Host("minimax", "MINIMAX_API_KEY"),
    "kimi": Host("moonshot", "KIMI_API_KEY"),
    "zai": Host("zai", "ZAI_API_KEY", "https://api.z.ai/api/coding/paas/v4"),
    "zai_api": Host("zai", "ZAI_API_KEY"),
    "nebius": Host("nebius", "NEBIUS_API_KEY", "https://api.tokenfactory.nebius.com/v1"),
    "novita": Host("novita", "NOVITA_API_KEY", "https://api.novita.ai/openai/v1"),
    "vercel": Host("vercel_ai_gateway", "AI_GATEWAY_API_KEY"),
    "alibaba_cloud": Host(
        "dashscope",
        "ALIBABA_CLOUD_API_KEY",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "ALIBABA_CLOUD_BASE_URL",
    ),
    "bailian": Host("dashscope", "BAILIAN_API_KEY"),
    "openai_api": Host("openai", "OPENAI_API_KEY"),
    "azure_openai": Host("azure", "AZURE_OPENAI_API_KEY", "", "AZURE_OPENAI_BASE_URL"),
    "ollama_cloud": Host("ollama", "OLLAMA_API_KEY", "https://ollama.com/v1"),
    # -- servers on this machine -------------------------------------------------------------------------------
    "lmstudio": Host("lm_studio", "", "http://localhost:1234/v1", "LM_STUDIO_BASE_URL"),
    "llamacpp": Host("llamacpp", "", "http://localhost:8080/v1", "LLAMACPP_BASE_URL"),
    "ollama": Host("ollama", "", "http://localhost:11434/v1", "OLLAMA_BASE_URL"),
    # -- other hosts that speak chat completions ---------------------------------------------------------------
    "kimi_code": _compatible("https://api.kimi.com/coding/v1", "KIMI_CODE_API_KEY"),
    "opencode": _compatible("https://opencode.ai/zen/v1", "OPENCODE_API_KEY"),
    "opencode_zen": _compatible("https://opencode.ai/zen/v1", "OPENCODE_API_KEY"),
    "opencode_go": _compatible("https://opencode.ai/zen/go/v1", "OPENCODE_API_KEY"),
    "wafer": _compatible("https://pass.wafer.ai/v1", "WAFER_API_KEY"),
    "cohere": _compatible("https://api.cohere.ai/compatibility/v1", "COHERE_API_KEY"),
    "bedrock": _compatible(
        "https://bedrock-mantle.us-east-1.api.aws/v1", "AWS_BEARER_TOKEN_BEDROCK", "BEDROCK_BASE_URL"
    ),
    "qwencloud": _compatible(
        "https://token-plan.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1", "QWENCLOUD_API_KEY"
    ),
    "qwencloud_coding": _compatible("https://coding-intl.dashscope.aliyuncs.com/v1", "QWENCLOUD_CODING_API_KEY"),
    "scaleway": _compatible("https://api.scaleway.ai/v1", "SCW_SECRET_KEY"),
    "agnes": _compatible("https://apihub.agnes-ai.com/v1", "AGNES_API_KEY"),
    "zenmux": _compatible("https://zenmux.ai/api/v1", "ZENMUX_API_KEY"),
    "wandb": _compatible("https://api.inference.wandb.ai/v1", "WANDB_API_KEY"),
    "kilo": _compatible("https://api.kilo.ai/api/gateway", "KILO_API_KEY"),
    "cline_pass": _compatible("https://api.cline.bot/api/v1", "CLINE_API_KEY"),
    "tokenrouter": _compatible("https://api.tokenrouter.com/v1", "TOKENROUTER_API_KEY", "TOKENROUTER_BASE_URL"),
    "nararoute": _compatible("https://router.bynara.id/v1", "NARAROUTE_API_KEY", "NARAROUTE_BASE_URL"),
    "poolside": _compatible("https://inference.poolside.ai/v1", "POOLSIDE_API_KEY"),
    "llm7": _compatible("https://api.llm7.io/v1", "LLM7_API_KEY"),
    "lightning": _compatible("https://lightning.ai/api/v1", "LIGHTNING_API_KEY", "LIGHTNING_BASE_URL"),
    "experiential": _compatible("https://api.experientiallabs.ai/v1", "EXPLABS_API_KEY", "EXPLABS_BASE_URL"),
    "cheaperinference": _compatible("https://api.cheaperinference.com/v1", "CHEAPER_INFERENCE_API_KEY"),
    "apiroute": _compatible("https://global.api-route.com/v1", "API_ROUTE_API_KEY"),
    "orcarouter": _compatible("https://api.orcarouter.ai/v1", "ORCAROUTER_API_KEY"),
    "cloudflare": Host(
        "openai",
        "CLOUDFLARE_API_TOKEN",
        "https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1",
        "",
        "CLOUDFLARE_ACCOUNT_ID",
    ),
    # -- accounts, which need a login --------------------------------------------------------------------------
    "openai": _login("a ChatGPT account"),
    "github_copilot": _login("GitHub Copilot"),
    "vertex": _login("Google Cloud"),
}
