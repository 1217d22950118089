"""A model string (`deepseek/deepseek-v4-pro`) → provider row and upstream model.

Knows: prefixes and model families. Must not know: files, keys, bases.
Invariants: pure but for `warn`; a string that cannot be served has a `problem`.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple

from a2py.config.settings import Entry
from a2py.config.unserved_providers import UNSERVED_CURES
from a2py.providers import PROVIDERS, Provider, find_host_row

#: Other prefixes, LiteLLM's and common ones → row of the provider table.
PREFIXES = {
    "custom_openai": "openai",
    "openai_like": "openai",
    "text-completion-openai": "openai",
    "xinference": "openai",
    "azure_ai": "azure",
    "azure_text": "azure",
    "vllm": "hosted_vllm",
    "lmstudio": "lm_studio",
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "text-completion-codestral": "codestral",
}
#: LiteLLM's word before an Azure deployment's name that says what kind of model it is → a model of that kind
#: (docs.litellm.ai, azure, 2026-11).
SERIES = {"o_series": "o3", "gpt5_series": "gpt-5"}
#: Pattern of model names without a prefix → provider. The first match wins.
FAMILIES = (
    *((pattern, "openai") for pattern in ("gpt-*", "chatgpt-*", "o1*", "o3*", "o4*", "codex-*")),
    ("claude-*", "anthropic"),
    ("deepseek-*", "deepseek"),
    ("gemini-*", "gemini"),
    ("grok-*", "xai"),
    ("codestral-*", "codestral"),
    *((pattern, "mistral") for pattern in ("mistral-*", "magistral-*", "devstral-*", "ministral-*")),
    *((pattern, "moonshot") for pattern in ("kimi-*", "moonshot-*")),
    ("glm-*", "zai"),
    ("minimax-*", "minimax"),
    *((pattern, "dashscope") for pattern in ("qwen*", "qwq-*")),
)

Warn = Callable[[str], None]


class ModelName(NamedTuple):
    """The meaning of a model string. `has_responses`: it asks for the Responses wire; `problem`: why it cannot be
    served; `series`: a model of the series that it names, "" for none."""

    row: Provider
    model: str
    has_responses: bool = False
    problem: str = ""
    series: str = ""


def parse_model(entry: Entry, warn: Warn) -> ModelName:
    """Return the provider and the upstream model of an entry.

    The provider is custom_llm_provider, else the model's first segment, else its family, else (with an api_base) an
    OpenAI-compatible server. Example: `groq/openai/gpt-oss-120b` is the model `openai/gpt-oss-120b` of groq."""
    provider, model = _split_provider(entry)
    head, slash, rest = entry.model.partition("/")
    has_responses = model.startswith("responses/")
    model = model.removeprefix("responses/")
    name = PREFIXES.get(provider, provider)
    if name in PROVIDERS:
        series, slash, deployment = model.partition("/")
        if name == "azure" and slash and series in SERIES:
            return ModelName(PROVIDERS[name], deployment, has_responses, series=SERIES[series])
        return ModelName(PROVIDERS[name], model, has_responses)
    place = entry.place("custom_llm_provider" if entry.custom_llm_provider else "model")
    if provider in UNSERVED_CURES:
        problem = (
            f"{place}: the provider {provider} is LiteLLM's, and a2py does not have it. {UNSERVED_CURES[provider]}"
        )
        return ModelName(Provider(provider), model, has_responses, problem)
    unknown = provider or (head if slash else "")
    if entry.api_base:
        if unknown:
            warn(
                f"{place}: the provider {unknown} is unknown{_suggestion(unknown)}, so its model is requested from an "
                "OpenAI-compatible server at api_base. Write openai/ before it."
            )
        return ModelName(PROVIDERS[find_host_row(entry.api_base) or "openai"], model, has_responses)
    if model == "*":
        problem = f"{place}: no provider has a key. Set one (OPENAI_API_KEY, …), or write openai/* instead of *."
        return ModelName(Provider(""), model, problem=problem)
    model = rest if slash and head == unknown else model
    return ModelName(Provider(unknown), model, has_responses, f"{place}: {_describe_unknown(unknown, model)}")


def _split_provider(entry: Entry) -> tuple[str, str]:
    """Return the provider that an entry names or that its model's family has, "" for none, and the rest of the
    model."""
    model, provider = entry.model, entry.custom_llm_provider
    head, slash, rest = model.partition("/")
    if provider:
        return provider, model.removeprefix(provider + "/")
    if slash:
        is_known = any(head.lower() in table for table in (PROVIDERS, PREFIXES, UNSERVED_CURES))
        return (head.lower(), rest) if is_known else ("", model)
    if entry.api_base:
        return "", model
    return next((provider for pattern, provider in FAMILIES if fnmatchcase(model.lower(), pattern)), ""), model


def _describe_unknown(unknown: str, model: str) -> str:
    """Return the problem of a model whose provider is not known, and the cure. `unknown`: "" if it names none."""
    what = (
        f"the provider {unknown} is unknown{_suggestion(unknown)}" if unknown else f"the model {model} has no provider"
    )
    cure = "Write provider/model (for example openai/gpt-5.4), or give api_base of an OpenAI-compatible server."
    return f"{what}. {cure}"


def _suggestion(word: str) -> str:
    near = get_close_matches(word, PROVIDERS, 1, 0.7)
    return f" (did you mean {near[0]}?)" if near else ""
