"""An entry of `model_list` → deployments.

Knows: how provider, key, base, wire and quirks are found, in which order. Must not know: files, YAML, how requests are routed.
Invariants: nothing here raises: what cannot work is a deployment with a `problem` that names place, key and cure; no problem and no warning
holds a key or a base's query; to an address that `.env` chose goes nothing that `.env` does not hold, unless it is this machine's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import urlsplit

from a2py.config import bases, pairs
from a2py.config.pairs import Outgoing, Pair, Use
from a2py.config.settings import Entry, Settings
from a2py.config.variables import NOWHERE, Origin, Variables, variables
from a2py.deployment import Deployment
from a2py.evidence.resolve import accepted, known
from a2py.providers import PROVIDERS, Provider, by_host, native_base, wire_for

#: Other prefixes (LiteLLM's and common ones) → rows.
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
#: Prefixes that are known and not served → the cure.
UNSERVED = {
    "bedrock": "use its OpenAI-compatible endpoint: openai/<model> with api_base https://bedrock-runtime.<region>.amazonaws.com/openai/v1",
    "bedrock_converse": "use its OpenAI-compatible endpoint: openai/<model> with api_base https://bedrock-runtime.<region>.amazonaws.com/openai/v1",
    "vertex_ai": "use gemini/<model> with GEMINI_API_KEY, or openai/<model> with the api_base of Vertex's OpenAI-compatible endpoint",
    "vertex_ai_beta": "use gemini/<model> with GEMINI_API_KEY, or openai/<model> with the api_base of Vertex's OpenAI-compatible endpoint",
    "sagemaker": "put an OpenAI-compatible server in front of it: openai/<model> with api_base",
    "sagemaker_chat": "put an OpenAI-compatible server in front of it: openai/<model> with api_base",
}
#: Model names without a prefix → provider, first match.
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
#: Rows of servers on the own machine or net: a bare host means its /v1.
_ADDS_V1 = frozenset(
    ("ollama", "ollama_chat", "hosted_vllm", "lm_studio", "llamafile", "llamacpp", "sglang", "litellm_proxy")
)
#: model_info.mode of models that do not chat.
_NO_CHAT = frozenset(
    (
        "embedding",
        "image_generation",
        "image_edit",
        "audio_transcription",
        "audio_speech",
        "moderation",
        "rerank",
        "video_generation",
        "ocr",
        "search",
    )
)
_PARAMS = (
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "reasoning_effort",
    "thinking",
    "verbosity",
)
#: Wire → further litellm_params that it takes as they are.
_BODY = {
    "chat": (
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "verbosity",
        "service_tier",
        "parallel_tool_calls",
    ),
    "responses": ("service_tier", "parallel_tool_calls"),
}
_SUPPORTS = (
    ("supports_vision", "images", {True: True, False: False}),
    ("supports_function_calling", "tools", {True: True, False: False}),
    ("supports_reasoning", "reasoning", {False: "none"}),
)

Warn = Callable[[str], None]


class Named(NamedTuple):
    """What a model string says: row, upstream model, the Responses wire asked for, and a problem."""

    row: Provider
    model: str
    responses: bool = False
    problem: str = ""


def named(entry: Entry, warn: Warn) -> Named:
    """Provider by custom_llm_provider, else the model's first segment, else its family, else (with an api_base) an OpenAI-compatible server."""
    model, wanted = entry.model, entry.custom_llm_provider
    head, slash, rest = model.partition("/")
    if wanted:
        model = model.removeprefix(wanted + "/")
    elif slash and any(head.lower() in known for known in (PROVIDERS, PREFIXES, UNSERVED)):
        wanted, model = head.lower(), rest
    elif not slash and not entry.api_base:
        wanted = next((provider for pattern, provider in FAMILIES if fnmatchcase(model.lower(), pattern)), "")
    responses = model.startswith("responses/")
    model = model.removeprefix("responses/")
    name = PREFIXES.get(wanted, wanted)
    if name in PROVIDERS:
        return Named(PROVIDERS[name], model, responses)
    if wanted in UNSERVED:
        return Named(Provider(wanted), model, responses, f"the provider {wanted} is not served; {UNSERVED[wanted]}")
    unknown = wanted or (head if slash else "")
    if entry.api_base:
        if unknown:
            warn(
                f"{entry.where}: unknown provider {unknown}{_near(unknown)}; served as an OpenAI-compatible server, model {model}"
            )
        return Named(PROVIDERS[by_host(entry.api_base) or "openai"], model, responses)
    if model == "*":
        return Named(
            Provider(""),
            model,
            problem="no provider has a key; set one (OPENAI_API_KEY, …), or write openai/* instead of *",
        )
    model = rest if slash and head == unknown else model
    told = f"unknown provider {unknown}{_near(unknown)}" if unknown else f"no provider is known for the model {model}"
    cure = "write provider/model (for example openai/gpt-5.4), or give api_base of an OpenAI-compatible server"
    return Named(Provider(unknown), model, responses, f"{told}; {cure}")


def _near(word: str) -> str:
    found = get_close_matches(word, PROVIDERS, 1, 0.7)
    return f" (did you mean {found[0]}?)" if found else ""


def _first(names: tuple[str, ...], env: Mapping[str, str]) -> tuple[str, str]:
    """The first variable that is set, with its value."""
    return next(((name, value) for name in names if (value := env.get(name, "").strip())), ("", ""))


class Key(NamedTuple):
    """A deployment's key. `value`: "" for none; `problem`: why there is none; `origin`: where it comes from; `name`: its variable or parameter;
    `withheld`: the variable or parameter of a key that exists but may not go to the address."""

    value: str = ""
    problem: str = ""
    origin: Origin = NOWHERE
    name: str = ""
    withheld: str = ""


def find_key(entry: Entry, row: Provider, host: str, env: Variables, may_send: Callable[[Origin], bool]) -> Key:
    """Return the key for the base `host`, "" for the row's own. `may_send`: whether a key of this origin may go there."""
    if "api_key" in entry.unset:
        name = entry.unset["api_key"]
        problem = f"api_key is os.environ/{name}, but {name} is not set; set it in the environment or in .env"
        return Key("", "" if row.key_optional else problem, entry.origins.get("api_key", NOWHERE))
    for name in ("api_key", "azure_ad_token"):
        if value := getattr(entry, name):
            origin = entry.origins.get(name, NOWHERE)
            return (
                _legal(value, f"litellm_params.{name}", origin)
                if may_send(origin)
                else Key(withheld=f"litellm_params.{name}")
            )
    rows = [PROVIDERS[other]] if row.name == "openai" and host and (other := by_host(host)) else []
    withheld = ""
    for candidate in (*rows, row):
        for name in candidate.keys:
            value, origin = env.get(name, "").strip(), env.origin(name)
            if value and not may_send(origin):  # .env chose the address, so .env may give the key
                withheld, value, origin = withheld or name, env.dotenv.get(name, "").strip(), Origin(dotenv=True)
            if value:
                return _legal(value, name, origin)
    asked = (rows or [row])[0]
    if withheld or asked.key_optional or (row.name == "openai" and host and not rows):
        return Key(withheld=withheld)
    return Key(
        "",
        f"there is no key for {asked.name}; set {asked.keys[0]} in the environment or in .env, or litellm_params.api_key in the file",
    )


def _legal(key: str, source: str, origin: Origin) -> Key:
    if key.isascii() and key.isprintable():
        return Key(key, "", origin, source)
    return Key(
        "",
        f"the key in {source} holds characters that no key has (a line break, or letters outside ASCII); copy it again",
        origin,
    )


class Address(NamedTuple):
    """A deployment's base. `given`: somebody chose it, else it is the row's; `name`: the parameter or variable that gave it; `origin`: where it
    comes from."""

    base: bases.Base = bases.Base("")
    given: bool = False
    problem: str = ""
    name: str = ""
    origin: Origin = NOWHERE


def find_base(entry: Entry, row: Provider, env: Variables) -> Address:
    """Return the base that was given, else the row's."""
    if "api_base" in entry.unset:
        name = entry.unset["api_base"]
        return Address(
            bases.Base(row.base),
            problem=f"api_base is os.environ/{name}, but {name} is not set; set it in the environment or in .env",
        )
    source, text = ("litellm_params.api_base", entry.api_base) if entry.api_base else _first(row.bases, env)
    if not text:
        if row.base:
            return Address(bases.Base(row.base))
        variable = f", or {row.bases[0]} in the environment or in .env" if row.bases else ""
        return Address(problem=f"{row.name} has no base of its own; set litellm_params.api_base{variable}")
    base = bases.clean(text)
    origin = entry.origins.get("api_base", NOWHERE) if entry.api_base else env.origin(source)
    if base is None:
        return Address(given=True, problem=f"{source} is not an http:// or https:// URL", name=source, origin=origin)
    return Address(bases.with_v1(base) if row.name in _ADDS_V1 else base, True, "", source, origin)


def choose_wire(entry: Entry, named: Named, base: str, settings: Settings) -> tuple[str, bool]:
    """The wire, and whether the configuration chose it: `responses/`, supported_endpoints, mode, use_chat_completions_api, then the tables.
    use_chat_completions_url_for_anthropic_messages rules the Responses wire out, whoever asked for it."""
    endpoints = {endpoint.strip().rstrip("/") for endpoint in entry.supported_endpoints}
    asked = ""
    if named.responses:
        asked = "responses"
    elif "/v1/messages" in endpoints:
        asked = "native"
    elif entry.mode in ("chat", "responses"):
        asked = entry.mode
    elif entry.use_chat_completions_api or endpoints == {"/v1/chat/completions"}:
        asked = "chat"
    elif endpoints == {"/v1/responses"}:
        asked = "responses"
    wire = asked or wire_for(named.row.name, base, entry.base_model.rpartition("/")[2] or named.model)
    if wire != "native" and settings.use_chat_completions_url:
        return "chat", True
    return wire, bool(asked)


#: litellm_params that a row may leave out → the name under which allowed_openai_params lets them through.
_OFFERED = {
    "reasoning_effort": "reasoning_effort",
    "thinking": "reasoning_effort",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
}


def _tell_unsent(dep: Deployment, where: str, warn: Warn) -> None:
    """A default of the file that the tables keep from going upstream."""
    if dep.wire == "native" or "*" in dep.model:
        return
    for name, allowed in _OFFERED.items():
        taken = dep.quirks.reasoning != "none" if allowed == "reasoning_effort" else name in dep.quirks.sampling
        if name in dep.params and not taken:
            who = f"{dep.model} at {urlsplit(dep.base).netloc}"
            warn(
                f"{where}: {name} is not sent, {who} is not known to take it; allowed_openai_params: [{allowed}] sends it"
            )


def build(
    entry: Entry, settings: Settings, env: Mapping[str, str], warn: Warn, collected: dict[Pair, Use] | None = None
) -> Deployment:
    """Return one deployment (see the module's invariants). `collected` receives the pairs that need consent if its file is untrusted."""
    env = variables(env)
    what = named(entry, warn)
    row, model = what.row, what.model
    address = find_base(entry, row, env) if not what.problem else Address()
    base, given, base_problem = address.base, address.given, address.problem
    wire, fixed = choose_wire(entry, what, base.url if given else "", settings)
    if wire == "native" and not base_problem:
        own = (
            base.url.removesuffix("/v1") if row.key_optional else ""
        )  # Ollama, vLLM and llama.cpp answer /v1/messages beside /v1
        base = base._replace(url=native_base(row.name, base.url if given else "") or own)
        if not base.url and not what.problem:
            base_problem = f"{row.name} has no Anthropic endpoint of its own; give api_base of one, or take `/v1/messages` out of supported_endpoints"
    elif row.name == "azure" and base.url:
        base = bases.azure(base, model, entry.api_version or env.get("AZURE_API_VERSION", ""), wire)
    foreign = bool(base.url) and by_host(base.url) != row.name
    verify = settings.ssl_verify if entry.ssl_verify is None else entry.ssl_verify
    route = pairs.find_route(base.url, verify, entry.extra_headers)
    from_dotenv = _choice_of_dotenv(entry, address)
    keyed = not what.problem and (
        entry.api_key or not base.headers
    )  # a login in the base stands for a key, unless one is given

    def may_send(origin: Origin) -> bool:
        return not from_dotenv or not pairs.withheld_from_key(origin, route)

    key = find_key(entry, row, base.url if foreign else "", env, may_send) if keyed else Key()
    if foreign and key.name in PROVIDERS["openai"].keys and not bases.local(urlsplit(base.url).netloc):
        warn(
            f"{entry.where}: no api_key is given, so {key.name} goes to {urlsplit(base.url).netloc}; give api_key to choose"
        )
    if key.withheld:
        warn(
            f"{entry.where}: {from_dotenv} comes from .env and {key.withheld} does not, so {route.label} is asked without a key; "
            f"set both in .env, or {from_dotenv} in the environment"
        )
    rest = pairs.join_rest(entry.origins)
    secrets = sorted(pairs.withheld_from_rest(rest, route)) if from_dotenv else []
    cure = (
        f"{', '.join(secrets)} would go to {route.label}, which .env chose; choose it in the environment or in the file"
    )
    rest_problem = cure if secrets else ""
    for name, variable in entry.unset.items():
        if name not in ("api_key", "api_base", "model", "model_name"):
            warn(f"{entry.where}: {name} is ignored: the variable {variable} is not set")
    problem = _unusable(entry, model) or what.problem or base_problem or key.problem or rest_problem
    if collected is not None and base.url:
        for secret in pairs.need_consent(Outgoing(key.origin, rest, address.origin, entry.file), route):
            pair, live = Pair(secret, route.label), not problem and (pairs.is_file(secret) or bool(env.get(secret)))
            if pair not in collected or live:
                collected[pair] = Use(str(entry.at), live)
    overrides = {quirk: words[said] for attr, quirk, words in _SUPPORTS if (said := getattr(entry, attr)) in words}
    overrides = accepted({**overrides, **entry.quirks}, f"{entry.where}: model_info.quirks", warn)
    params = {
        name: value
        for name in _PARAMS
        if (value := getattr(entry, name)) is not None and (value or not name.startswith("max_"))
    }
    if settings.reasoning_auto_summary is not None:
        params["reasoning_auto_summary"] = settings.reasoning_auto_summary
    dep = Deployment(
        name=entry.model_name,
        id=entry.id,
        provider=row.name,
        model=model,
        base=base.url,
        key=key.value,
        auth="bearer" if entry.azure_ad_token and not entry.api_key else row.auth,
        wire=wire,
        wire_fixed=fixed,
        headers={
            **row.headers,
            **({} if foreign else _env_headers(row, env)),
            **({} if key.value else dict(base.headers)),
            **entry.extra_headers,
        },
        query=base.query,
        extra_body={
            **{name: value for name in _BODY.get(wire, ()) if (value := getattr(entry, name)) is not None},
            **entry.extra_body,
        },
        params=params,
        drop=frozenset(entry.additional_drop_params),
        allow=frozenset(
            (*entry.allowed_openai_params, *(("reasoning_effort",) if entry.supports_reasoning and foreign else ()))
        ),
        drop_params=entry.drop_params,
        problem=f"{entry.where} ({entry.model_name or model}): {problem}" if problem else "",
        max_input_tokens=entry.max_input_tokens,
        max_output_tokens=entry.max_output_tokens,
        order=entry.order,
        rpm=entry.rpm,
        tpm=entry.tpm,
        max_parallel=entry.max_parallel_requests or settings.max_parallel_requests,
        timeout=entry.timeout,
        stream_timeout=entry.stream_timeout,
        retries=entry.retries,
        ssl_verify=verify,
        keepalive=entry.keepalive_seconds,
        cache_control_ttl=entry.cache_control_ttl,
        base_model=entry.base_model,
        overrides=overrides,
        source=str(entry.at),
    )
    dep = known(dep, settings.quirks, None, warn)
    _tell_unsent(dep, entry.where, warn)
    return dep


def _choice_of_dotenv(entry: Entry, address: Address) -> str:
    """Return what `.env` chose about where a request goes: the name of the base's variable, `ssl_verify` or the Host header; "" for nothing."""
    verify = "ssl_verify" if entry.ssl_verify is not None else f"{pairs.SHARED}ssl_verify"
    if address.origin.dotenv:
        return address.name.removeprefix("litellm_params.")
    if entry.origins.get(verify, NOWHERE).dotenv:
        return "ssl_verify"
    renamed = any(header.lower() == "host" for header in entry.extra_headers)
    return "the header Host" if renamed and entry.origins.get("extra_headers", NOWHERE).dotenv else ""


def _env_headers(row: Provider, env: Mapping[str, str]) -> dict[str, str]:
    return {
        header: value
        for header, name in row.env_headers.items()
        if (value := env.get(name, "").strip()) and value.isprintable()
    }


def _unusable(entry: Entry, model: str) -> str:
    if "model" in entry.unset:
        return f"model is os.environ/{entry.unset['model']}, but {entry.unset['model']} is not set; set it in the environment or in .env"
    if not model:
        return "litellm_params.model is missing; write provider/model, for example openai/gpt-5.4"
    if "*" in model and "*" not in entry.model_name:
        return "the model has a * but model_name has none; write the same wildcard in both"
    if entry.mode.lower() in _NO_CHAT:
        return f"mode {entry.mode}: not a chat model, and only chat is served here"
    return ""
