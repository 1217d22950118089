"""Providers that LiteLLM has and a2py has not, and what to write instead.

Source: LiteLLM's list of providers (docs.litellm.ai/docs/providers, read 2026-11); the addresses are those of the
vendors' own pages about an OpenAI-compatible API.

Knows: names, addresses. Must not know: the providers that are served.
"""

from __future__ import annotations

_LOGIN = "a2py has no login for it. Use a provider with a key"
_NOT_CHAT = "It serves no chat models. Remove the model"
_IN_FRONT = "Put an OpenAI-compatible server in front of it: openai/<model> with api_base"


def _compatible(base: str) -> str:
    return f"Use its OpenAI-compatible endpoint: openai/<model> with api_base {base}"


_GROUPS: tuple[tuple[str, str], ...] = (
    (
        "bedrock bedrock_converse bedrock_mantle amazon_nova",
        _compatible("https://bedrock-runtime.<region>.amazonaws.com/openai/v1"),
    ),
    (
        "vertex_ai vertex_ai_beta",
        "Use gemini/<model> with GEMINI_API_KEY, or openai/<model> with the api_base of Vertex's OpenAI-compatible "
        "endpoint",
    ),
    (
        "sagemaker sagemaker_chat sagemaker_nova",
        "Use an OpenAI-compatible server in front of it: openai/<model> with api_base",
    ),
    ("chatgpt github_copilot", _LOGIN),
    ("cohere cohere_chat", _compatible("https://api.cohere.ai/compatibility/v1")),
    ("databricks", _compatible("https://<workspace>/serving-endpoints")),
    ("snowflake", _compatible("https://<account>.snowflakecomputing.com/api/v2/cortex/v1")),
    ("cloudflare", _compatible("https://api.cloudflare.com/client/v4/accounts/<account>/ai/v1")),
    ("ai21 ai21_chat", _compatible("https://api.ai21.com/studio/v1")),
    ("clarifai", _compatible("https://api.clarifai.com/v2/ext/openai/v1")),
    ("scaleway", _compatible("https://api.scaleway.ai/v1")),
    ("ovhcloud", _compatible("https://oai.endpoints.kepler.ai.cloud.ovh.net/v1")),
    ("wandb", _compatible("https://api.inference.wandb.ai/v1")),
    ("inception", _compatible("https://api.inceptionlabs.ai/v1")),
    ("morph", _compatible("https://api.morphllm.com/v1")),
    ("v0", _compatible("https://api.v0.dev/v1")),
    ("gradient_ai", _compatible("https://inference.do-ai.run/v1")),
    ("heroku", _compatible("https://us.inference.heroku.com/v1")),
    ("aiml", _compatible("https://api.aimlapi.com/v1")),
    ("cometapi", _compatible("https://api.cometapi.com/v1")),
    ("galadriel", _compatible("https://api.galadriel.com/v1")),
    ("empower", _compatible("https://app.empower.dev/api/v1")),
    ("anyscale", _compatible("https://api.endpoints.anyscale.com/v1")),
    ("gigachat", _compatible("https://gigachat.devices.sberbank.ru/api/v1")),
    ("minimax_chat", "Write minimax/<model>"),
    (
        "replicate watsonx watsonx_text oci sap predibase nlp_cloud aleph_alpha petals maritalk bytez datarobot",
        _IN_FRONT,
    ),
    ("triton oobabooga lemonade xinference_local infinity custom langgraph", _IN_FRONT),
    ("anthropic_text palm", "Its API has ended. Write anthropic/<model> or gemini/<model>"),
    (
        "voyage jina_ai nvidia_rerank deepgram elevenlabs assemblyai aws_polly runwayml recraft topaz fal_ai stability",
        _NOT_CHAT,
    ),
    ("black_forest_labs milvus pg_vector s3_vectors ragflow", _NOT_CHAT),
)
#: Prefix → what to write instead, a sentence.
UNSERVED_CURES = {name: f"{cure}." for names, cure in _GROUPS for name in names.split()}
