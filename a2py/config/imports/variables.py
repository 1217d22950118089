"""`.env` of claude-code-proxy and of free-claude-code → our configuration.

Sources, read 2026-11-30: the settings, the mapping of models and the example of a `.env` in
fuergaosi233/claude-code-proxy, 1rgs/claude-code-proxy and Alishahryar1/free-claude-code, and `.env` files in reports
about them.

Knows: their variables. Must not know: files, who may set which variable (dotenv.py).
Invariants: pure; the models that the variables name are the only ones that are added, none in their place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from a2py.config.imports.draft import Draft, Source, whole_number
from a2py.config.imports.endpoint import Endpoint, place
from a2py.config.imports.hosts import HOSTS, Host
from a2py.config.tree import ENVIRON
from a2py.providers import PROVIDERS

PROXY, FREE = "claude-code-proxy", "free-claude-code"
#: Variables that name a model, or whose models are meant. They are the ones that count without an import.
TIERS = {"opus": "BIG_MODEL", "sonnet": "MIDDLE_MODEL", "haiku": "SMALL_MODEL"}
FREE_TIERS = {"fable": "MODEL_FABLE", "opus": "MODEL_OPUS", "sonnet": "MODEL_SONNET", "haiku": "MODEL_HAIKU"}
CHOICES = frozenset(
    (*TIERS.values(), *FREE_TIERS.values(), "MODEL", "PREFERRED_PROVIDER", "PROVIDER_TYPE", "MODEL_FALLBACKS")
)
#: Variables of free-claude-code that no other program has.
_SIGNS = (
    *FREE_TIERS.values(),
    "NIM_ENABLE_THINKING",
    "ENABLE_NETWORK_PROBE_MOCK",
    "FCC_OPEN_BROWSER",
    "MESSAGING_PLATFORM",
)
#: The same of its first versions, which knew only Nvidia, and named models without a provider (README and .env.example
#: in the forks vcliment89/free-claude-code and rishiskhare/free-claude-code, read 2026-11-30).
_EARLY_SIGNS = (*_SIGNS, "CLAUDE_WORKSPACE", "FAST_PREFIX_DETECTION", "NVIDIA_NIM_TEMPERATURE")
#: Its names of providers that LiteLLM spells otherwise or lacks.
_OWN_NAMES = frozenset(
    (*(name for name in HOSTS if name not in PROVIDERS and name != "bedrock" and name != "vertex"), "nvidia_nim")
)
#: The models of 1rgs/claude-code-proxy if it is told only which provider it prefers.
_DEFAULTS = {"google": ("gemini-2.5-pro", "gemini-2.5-flash"), "openai": ("gpt-4.1", "gpt-4.1-mini")}
#: Variables of claude-code-proxy that ask for something a2py does not have → the reason.
_PROXY_WITHOUT = {
    "USE_VERTEX_AUTH": "a2py has no Google login. Set GEMINI_API_KEY",
    "OPENAI_HEADERS": "it must be an object of texts",
    "VISION_MODEL": "write a rule of `a2py: routes` for image, and the tiers as rules too",
    "SEARCH_PROVIDER": "name a search tool by `a2py: search` (docs/search.md)",
}
#: The same of free-claude-code.
_FREE_WITHOUT = {
    "MESSAGING_PLATFORM": "a2py has no bot for Telegram or Discord",
    "REASONING_POLICY": "the client's effort decides, as with `client`",
    "ENABLE_MODEL_THINKING": "thinking is switched by the client. "
    "`model_info: supports_reasoning: false` switches it off",
    "PROVIDER_RATE_LIMIT": "write rpm at the models, and `a2py: enforce_limits`",
}
#: Values with which those variables ask for nothing.
_OFF = frozenset(("", "0", "false", "none", "client", "no"))
#: How a value is written: itself by an import, by its variable without one.
Quote = Callable[[str], str]


def recognize(variables: Mapping[str, str], is_named: bool = False) -> str:
    """Return the program whose variables these are, "" for neither.

    `is_named`: the user says that they are one's. Else a lone MODEL needs a sign of free-claude-code: other programs
    have a variable of that name, too."""
    if _is_free(variables, is_named):
        return FREE
    has_provider = variables.get("PREFERRED_PROVIDER", "").strip().lower() in ("openai", "google", "anthropic")
    return PROXY if has_provider or any(variables.get(name, "").strip() for name in TIERS.values()) else ""


def _is_free(variables: Mapping[str, str], is_named: bool) -> bool:
    """Return whether these are free-claude-code's variables."""
    if variables.get("MODEL", "").strip() and _find_kind(variables) in HOSTS:
        is_stated = bool(variables.get("PROVIDER_TYPE", "").strip())
        return is_stated or is_named or any(name in variables for name in _EARLY_SIGNS)
    heads = _find_heads(variables)
    return bool(heads) and (is_named or bool(heads & _OWN_NAMES) or any(name in variables for name in _SIGNS))


def _find_heads(variables: Mapping[str, str]) -> set[str]:
    """Return the providers before the models of free-claude-code."""
    tiers = [variables.get(name, "") for name in ("MODEL", *FREE_TIERS.values())]
    return {head for head, rest in map(_split, tiers) if rest and head in HOSTS}


def _find_kind(variables: Mapping[str, str]) -> str:
    """Return the provider of models that are named without one."""
    kind = variables.get("PROVIDER_TYPE", "").strip().lower()
    if kind or any(variables.get(name, "").strip() for name in TIERS.values()) or _find_heads(variables):
        return kind
    return "nvidia_nim" if variables.get("NVIDIA_NIM_API_KEY", "").strip() else ""


def choose_models(program: str, variables: Mapping[str, str], source: Source, quote: Quote | None = None) -> Draft:
    """Return the models that the variables name, and which names of Claude's go to which.

    `quote`: how the value of a variable is written, given its name; None: the value itself."""
    draft = Draft(Source(source.name, program, source.env))
    write = quote or (lambda name: variables.get(name, "").strip())
    if program == FREE:
        _choose_free(variables, draft, write)
    else:
        _choose_proxy(variables, draft, write)
    return draft


def import_variables(program: str, variables: Mapping[str, str], source: Source) -> Draft:
    """Return the configuration that a whole `.env` means."""
    draft = choose_models(program, variables, source)
    get = {name: value.strip() for name, value in variables.items()}
    if program == FREE:
        _read_free(get, draft)
    else:
        _read_proxy(get, draft)
    draft.host = "" if get.get("HOST") in (None, "", "127.0.0.1", "localhost") else get["HOST"]
    draft.port = get.get("PORT", "") if whole_number(get.get("PORT")) else ""
    without = _FREE_WITHOUT if program == FREE else _PROXY_WITHOUT
    for name, reason in without.items():
        if get.get(name, "").lower() not in _OFF and not (name == "OPENAI_HEADERS" and _headers(get)):
            draft.note(f"{name} is not carried: {reason}.")
    return draft


# -- claude-code-proxy -----------------------------------------------------------------------------------------


def _choose_proxy(variables: Mapping[str, str], draft: Draft, write: Quote) -> None:
    get = {name: value.strip() for name, value in variables.items()}
    provider = get.get("PREFERRED_PROVIDER", "").lower()
    if provider == "anthropic":
        key = write("ANTHROPIC_API_KEY") if get.get("ANTHROPIC_API_KEY") else ""
        draft.add("claude-*", {"model": "anthropic/claude-*", **({"api_key": key} if key else {})})
        return
    big, small = _DEFAULTS.get(provider, ("", ""))
    models = {tier: get.get(name, "") for tier, name in TIERS.items()}
    default = models["opus"] or models["sonnet"] or big or models["haiku"]
    models["haiku"] = models["haiku"] or small
    for tier, model in models.items():
        model = model or default
        draft.add(model, _proxy_params(TIERS[tier], model, provider, get, write))
        draft.names[f"*{tier}*"] = model
    draft.default = default
    draft.names = {pattern: name for pattern, name in draft.names.items() if name != default}


def _proxy_params(tier: str, model: str, provider: str, get: Mapping[str, str], write: Quote) -> dict[str, Any]:
    """Return the litellm_params of one tier. `tier`: BIG_MODEL, MIDDLE_MODEL or SMALL_MODEL. It may have an address and
    a key of its own (forks of claude-code-proxy)."""
    short = tier.removesuffix("_MODEL")
    base_name = _first(
        get, f"{tier}_BASE_URL", f"{short}_ENDPOINT", "OPENAI_BASE_URL", "OPENAI_API_BASE_URL", "OPENAI_API_BASE"
    )
    key_name = _first(get, f"{tier}_API_KEY", f"{short}_API_KEY", "OPENAI_API_KEY")
    is_gemini = model.startswith("gemini-") and (provider == "google" or (get.get("GEMINI_API_KEY") and not base_name))
    if is_gemini:
        return {"model": f"gemini/{model}", **_key(write, get, "GEMINI_API_KEY")}
    if not base_name:
        return _vendor_params(model, key_name, get, write)
    endpoint = place(get[base_name])
    if endpoint.problem:
        return {"model": f"openai/{model}", "api_base": write(base_name), **_key(write, get, key_name)}
    base = write(base_name)
    params = endpoint.params(model, write(key_name) if key_name else "")
    if base.startswith(ENVIRON):  # not imported: the variable itself says where, and its origin decides about keys
        params["api_base"] = base
    if get.get("AZURE_API_VERSION") and endpoint.prefix == "azure/":
        params["api_version"] = get["AZURE_API_VERSION"]
    return params


def _vendor_params(model: str, key_name: str, get: Mapping[str, str], write: Quote) -> dict[str, Any]:
    """Return the litellm_params of a model without an address: its vendor's own. `key_name`: variable of its key."""
    head, _, rest = model.partition("/")
    if head in ("gemini", "anthropic") and rest:
        return {"model": model, **_key(write, get, f"{head.upper()}_API_KEY")}
    if rest and head != "openai" and not key_name and get.get("NVIDIA_NIM_API_KEY"):  # free-claude-code's very first
        return {"model": f"nvidia_nim/{model}", **_key(write, get, "NVIDIA_NIM_API_KEY")}
    return {"model": f"openai/{model.removeprefix('openai/')}", **_key(write, get, key_name)}


def _first(get: Mapping[str, str], *names: str) -> str:
    """Return the first variable that is set, "" for none."""
    return next((name for name in names if get.get(name)), "")


def _key(write: Quote, get: Mapping[str, str], name: str) -> dict[str, str]:
    return {"api_key": write(name)} if name and get.get(name) else {}


def _read_proxy(get: Mapping[str, str], draft: Draft) -> None:
    """Read what claude-code-proxy is told besides its models."""
    is_upstream_key = bool(get.get("PREFERRED_PROVIDER") or get.get("GEMINI_API_KEY"))
    if get.get("ANTHROPIC_API_KEY") and not is_upstream_key:
        draft.settings["general_settings.master_key"] = get["ANTHROPIC_API_KEY"]
        draft.note(
            "ANTHROPIC_API_KEY is what clients have to send, so it is the master_key: set ANTHROPIC_AUTH_TOKEN to it."
        )
    if seconds := whole_number(get.get("REQUEST_TIMEOUT")):
        draft.settings["litellm_settings.request_timeout"] = seconds
    if get.get("MAX_RETRIES", "").isdecimal():
        draft.settings["router_settings.num_retries"] = int(get["MAX_RETRIES"])
    limit, least, headers = (
        whole_number(get.get("MAX_TOKENS_LIMIT")),
        whole_number(get.get("MIN_TOKENS_LIMIT")),
        _headers(get),
    )
    for entry in draft.models:
        info = entry.setdefault("model_info", {})
        info.update({"max_output_tokens": limit} if limit else {})
        info.update({"quirks": {"min_tokens": least}} if least else {})
        if not info:
            del entry["model_info"]
        if headers:
            entry["litellm_params"]["extra_headers"] = headers
        if get.get("REASONING_EFFORT"):
            entry["litellm_params"]["reasoning_effort"] = get["REASONING_EFFORT"]


def _headers(get: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of OPENAI_HEADERS (an object) and of CUSTOM_HEADER_<NAME>."""
    try:
        value = json.loads(get.get("OPENAI_HEADERS") or "{}")
    except (ValueError, RecursionError):
        value = {}
    headers = (
        {str(name): text for name, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}
    )
    prefix = "CUSTOM_HEADER_"
    custom = {
        name.removeprefix(prefix).replace("_", "-").lower(): text
        for name, text in get.items()
        if name.startswith(prefix)
    }
    return {**headers, **{name: text for name, text in custom.items() if text}}


# -- free-claude-code ------------------------------------------------------------------------------------------


def _split(value: str) -> tuple[str, str]:
    """Return provider and model of `provider_type/model`."""
    head, _, rest = value.strip().partition("/")
    return head.lower(), rest


def _choose_free(variables: Mapping[str, str], draft: Draft, write: Quote) -> None:
    get = {name: value.strip() for name, value in variables.items()}
    kind = _find_kind(variables)

    def add(value: str) -> str:
        """Add the model of a variable. Return its name."""
        head, rest = _split(value)
        if not (head in HOSTS and rest) and kind in HOSTS:
            head, rest = kind, value
        host = HOSTS.get(head)
        params = _free_params(host, rest, get, write) if host is not None and rest else {"model": value}
        if host is not None and host.problem:
            draft.note(f"{value} can't be asked: {host.problem}.")
            params = {"model": value}
        draft.add(value, params)
        return value

    models = {tier: get[name] for tier, name in FREE_TIERS.items() if get.get(name)}
    default = get.get("MODEL", "") or next(iter(models.values()))
    draft.default = add(default)
    draft.names = {f"*{tier}*": add(value) for tier, value in models.items() if value != default}
    names = [add(value.strip()) for value in get.get("MODEL_FALLBACKS", "").split(",") if "/" in value]
    if names:
        draft.fallbacks = {
            name: [one for one in names if one != name] for name in dict.fromkeys((default, *models.values()))
        }


def _free_params(host: Host, model: str, get: Mapping[str, str], write: Quote) -> dict[str, Any]:
    params: dict[str, Any] = {"model": f"{host.prefix}/{model}"}
    account = get.get(host.account, "")
    base = host.base.replace("{account}", account) if account.isalnum() else host.base
    if host.base_name and get.get(host.base_name):
        url = write(host.base_name)
        params["api_base"] = url if url.startswith(ENVIRON) else _local(url, host)
    elif base:
        params["api_base"] = base
    if host.key and get.get(host.key):
        params["api_key"] = write(host.key)
    elif host.key and host.prefix == "openai":
        params["api_key"] = f"{ENVIRON}{host.key}"  # without it OPENAI_API_KEY would be sent there
    return params


def _local(url: str, host: Host) -> str:
    endpoint: Endpoint = place(url)
    return url if endpoint.problem or not endpoint.base else endpoint.base


def _read_free(get: Mapping[str, str], draft: Draft) -> None:
    """Read what free-claude-code is told besides its models."""
    is_asked = get.get("PROXY_AUTH_ENABLED", "true").lower() not in ("false", "0", "no")
    if get.get("ANTHROPIC_AUTH_TOKEN") and is_asked:
        draft.settings["general_settings.master_key"] = get["ANTHROPIC_AUTH_TOKEN"]
    if limit := whole_number(get.get("PROVIDER_MAX_CONCURRENCY")):
        draft.settings["general_settings.max_parallel_requests"] = limit
    proxies = {
        name: get[name]
        for name in get
        if name.endswith("_PROXY") and get[name] and name[:-6] not in ("HTTP", "HTTPS", "NO", "ALL")
    }
    values = set(proxies.values())
    if len(values) == 1 and next(iter(values)).startswith(("http://", "https://")):
        draft.settings["a2py.upstream_proxy"] = values.pop()
        draft.note(f"{', '.join(sorted(proxies))}: the proxy is used for every provider.")
    elif values:
        draft.note(
            f"{', '.join(sorted(proxies))} is not carried: a2py has one HTTP proxy for all (`a2py: upstream_proxy`)."
        )
    if not get.get("NVIDIA_NIM_API_KEY") and any("nvidia_nim/" in entry["model_name"] for entry in draft.models):
        draft.note("NVIDIA_NIM_API_KEY is empty: the models of nvidia_nim need it.")
