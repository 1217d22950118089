"""An entry of `model_list` → a deployment.

Knows: how provider, base, wire, key and quirks are put together. Must not know: files, YAML, how requests are routed.
Invariants: nothing here raises: what cannot work is a deployment with a `problem` that names place, key and cure; no
problem and no warning shows a key or a base's query; to an address that `.env` chose, only values of `.env` are sent,
unless it is this machine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from a2py.config import bases, pairs
from a2py.config.endpoint import OLLAMA, Address, Key, find_base, find_key, unset_problem
from a2py.config.pairs import Outgoing, Pair, Use
from a2py.config.prefixes import ModelName, Warn, parse_model
from a2py.config.quirk_changes import entry_overrides, warn_unsent
from a2py.config.settings import SENT_UNCHANGED, Entry, Settings
from a2py.config.variables import NOWHERE, Origin, Variables, variables
from a2py.deployment import CHAT_MODES, OTHER_MODES, Deployment, digest_account
from a2py.evidence.resolve import apply_evidence
from a2py.prices import Price, read_price
from a2py.providers import PROVIDERS, Provider, find_host_row, find_native_base, find_wire

#: Values of model_info.mode that no endpoint of a2py is for.
_UNSERVED_MODES = frozenset(("video_generation", "ocr", "search", "realtime"))
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
#: Wire → further litellm_params that it sends unchanged.
_BODY = {
    "chat": SENT_UNCHANGED,
    "responses": ("service_tier", "parallel_tool_calls"),
}


def choose_wire(entry: Entry, name: ModelName, base: str, settings: Settings) -> tuple[str, bool]:
    """Return the wire, and whether the configuration chose it.

    In this order: `responses/` in the model, supported_endpoints, mode, use_chat_completions_api, then the tables.
    use_chat_completions_url_for_anthropic_messages replaces the Responses wire by the chat wire in every case."""
    endpoints = {endpoint.strip().rstrip("/") for endpoint in entry.supported_endpoints}
    choice = ""
    if name.has_responses:
        choice = "responses"
    elif "/v1/messages" in endpoints:
        choice = "native"
    elif entry.mode in ("chat", "responses"):
        choice = entry.mode
    elif entry.mode.lower() in OTHER_MODES:
        choice = "chat"  # not a vendor's Anthropic endpoint, which has no such models
    elif entry.use_chat_completions_api or endpoints == {"/v1/chat/completions"}:
        choice = "chat"
    elif endpoints == {"/v1/responses"}:
        choice = "responses"
    wire = choice or find_wire(name.row.name, base, entry.base_model.rpartition("/")[2] or name.model)
    if wire != "native" and settings.use_chat_completions_url:
        return "chat", True
    return wire, bool(choice)


def build(
    entry: Entry, settings: Settings, env: Mapping[str, str], warn: Warn, consent_pairs: dict[Pair, Use] | None = None
) -> Deployment:
    """Return one deployment (see the module's invariants).

    `consent_pairs` receives the pairs that need consent if the entry's file is untrusted."""
    env = variables(env)
    name = parse_model(entry, warn)
    entry = replace(entry, base_model=entry.base_model or name.series)
    address = find_base(entry, name.row, env) if not name.problem else Address()
    target = _find_target(entry, name, address, settings, env)
    key, problem = _find_key(entry, name.row, target, env, warn)
    for attr, variable in entry.unset.items():
        if attr not in ("api_key", "api_base", "model", "model_name"):
            warn(f"{entry.place(attr)} is ignored: the variable {variable} is not set. Set {variable}.")
    problem = _unusable(entry, name.model) or name.problem or target.problem or problem
    if consent_pairs is not None and target.base.url:
        outgoing = Outgoing(key.origin, pairs.join_rest(entry.origins), address.origin, entry.file)
        for secret in pairs.need_consent(outgoing, target.route):
            pair = Pair(secret, target.route.label)
            is_live = not problem and (pairs.is_file(secret) or bool(env.get(secret)))
            if pair not in consent_pairs or is_live:
                consent_pairs[pair] = Use(str(entry.at), is_live)
    dep = _make_deployment(entry, settings, target, key, _env_headers(name.row, env))
    dep = replace(dep, problem=problem, overrides=entry_overrides(entry, warn))
    dep = replace(dep, price=_find_price(entry, dep, settings.prices))
    dep = apply_evidence(dep, settings.quirks, None)
    warn_unsent(dep, entry, warn)
    _warn_of_meaning(entry, name.row, address, warn)
    return dep


def _warn_of_meaning(entry: Entry, row: Provider, address: Address, warn: Warn) -> None:
    """Warn about what LiteLLM would send and a2py does not: Ollama's and Gemini's own protocols."""
    if entry.num_ctx:
        cure = "Remove it."
        if row.name in OLLAMA:
            cure = (
                f"Start Ollama with OLLAMA_CONTEXT_LENGTH={entry.num_ctx}, or write `PARAMETER num_ctx` in a Modelfile."
            )
        warn(f"{entry.place('num_ctx')} is ignored: {row.name}'s OpenAI-compatible API has no such field. {cure}")
    if row.name == "gemini" and address.is_own and bases.is_gemini_only(address.base):
        warn(
            f"{entry.place('api_base')}: LiteLLM speaks Gemini's own API there, a2py speaks chat completions only. If "
            f"the server has them, give their base (Google's ends with /openai); if not, this model can't work."
        )


class _Target(NamedTuple):
    """What is requested where. `is_foreign`: the base is not the row's own host; `dotenv_choice`: what `.env` chose of
    it, "" for nothing; `is_wire_fixed`: the configuration chose the wire."""

    name: ModelName
    base: bases.Base
    wire: str
    is_wire_fixed: bool
    is_foreign: bool
    verify: bool | str
    route: pairs.Route
    dotenv_choice: str
    problem: str


def _find_target(entry: Entry, name: ModelName, address: Address, settings: Settings, env: Variables) -> _Target:
    row, base, problem = name.row, address.base, address.problem
    own_url = base.url if address.is_own else ""
    wire, is_fixed = choose_wire(entry, name, own_url, settings)
    if wire == "native" and not problem:
        # Ollama, vLLM and llama.cpp answer /v1/messages beside /v1, so their own base serves the native wire, too.
        local = base.url.removesuffix("/v1") if row.key_optional else ""
        base = base._replace(url=find_native_base(row.name, own_url) or local)
        if not base.url and not name.problem:
            cure = "Give api_base of one, or remove `/v1/messages` from supported_endpoints."
            problem = f"{entry.place('supported_endpoints')}: {row.name} has no Anthropic endpoint. {cure}"
    elif row.name == "azure" and base.url:
        base = bases.build_azure(base, name.model, entry.api_version or env.get("AZURE_API_VERSION", ""), wire)
    verify = settings.ssl_verify if entry.ssl_verify is None else entry.ssl_verify
    return _Target(
        name=name,
        base=base,
        wire=wire,
        is_wire_fixed=is_fixed,
        is_foreign=bool(base.url) and find_host_row(base.url) != row.name,
        verify=verify,
        route=pairs.find_route(base.url, verify, entry.extra_headers, settings.upstream_proxy),
        dotenv_choice=_find_dotenv_choice(entry, address),
        problem=problem,
    )


def _find_key(entry: Entry, row: Provider, target: _Target, env: Variables, warn: Warn) -> tuple[Key, str]:
    """Return the key, and the problem that it or the other secrets of the entry make."""
    base, route, choice = target.base, target.route, target.dotenv_choice
    host = urlsplit(base.url).netloc

    def may_send(origin: Origin) -> bool:
        return not choice or not pairs.withheld_from_key(origin, route)

    # A login in the base replaces the key, unless the entry has one.
    needs_key = not target.name.problem and (entry.api_key or not base.headers)
    key = find_key(entry, row, base.url if target.is_foreign else "", env, may_send) if needs_key else Key()
    if target.is_foreign and key.name in PROVIDERS["openai"].keys and not bases.is_local_or_ip(host):
        warn(f"{entry.place()} has no api_key, so {key.name} is sent to {host}. Write `api_key` to choose.")
    if key.withheld:
        warn(
            f"{entry.place()}: {choice} comes from .env and {key.withheld} does not, so requests to {route.label} "
            f"have no "
            f"key. Set both in .env, or {choice} in the environment."
        )
    secrets = sorted(pairs.withheld_from_rest(pairs.join_rest(entry.origins), route)) if choice else []
    if key.problem or not secrets:
        return key, key.problem
    cure = "Set the address in the environment or in the file."
    problem = f"{entry.place()}: {', '.join(secrets)} would be sent to {route.label}, which .env chose. {cure}"
    return key, problem


def _make_deployment(
    entry: Entry, settings: Settings, target: _Target, key: Key, env_headers: Mapping[str, str]
) -> Deployment:
    """Return the deployment without its problem and quirks."""
    row, base = target.name.row, target.base
    by_effort = ("reasoning_effort",) if entry.supports_reasoning and target.is_foreign else ()
    body = {name: value for name in _BODY.get(target.wire, ()) if (value := getattr(entry, name)) is not None}
    return Deployment(
        name=entry.model_name,
        id=entry.id,
        provider=row.name,
        model=target.name.model,
        base=base.url,
        key=key.value,
        account=digest_account(base.url, key.value),
        auth="bearer" if entry.azure_ad_token and not entry.api_key else row.auth,
        wire=target.wire,
        wire_fixed=target.is_wire_fixed,
        headers={
            **({} if target.is_foreign else env_headers),
            **({} if key.value else dict(base.headers)),
            **entry.extra_headers,
        },
        query=base.query,
        extra_body={**body, **entry.extra_body},
        params=_collect_params(entry, settings),
        drop=frozenset((*settings.drop_params, *entry.drop_params, *entry.additional_drop_params)),
        allow=frozenset((*entry.allowed_openai_params, *by_effort)),
        max_input_tokens=entry.max_input_tokens,
        max_output_tokens=entry.max_output_tokens,
        order=entry.order,
        rpm=entry.rpm if settings.enforce_limits else 0,
        tpm=entry.tpm if settings.enforce_limits else 0,
        max_parallel=entry.max_parallel_requests or settings.max_parallel_requests,
        name_parallel=settings.name_parallel_requests.get(entry.model_name, 0),
        timeout=entry.timeout,
        stream_timeout=entry.stream_timeout,
        retries=entry.retries,
        ssl_verify=target.verify,
        keepalive=entry.keepalive_seconds,
        cache_control_ttl=entry.cache_control_ttl,
        base_model=entry.base_model,
        mode=_find_mode(entry),
        source=str(entry.at),
    )


def _find_mode(entry: Entry) -> str:
    """Return the mode of a model; "" for a word that says nothing about endpoints."""
    mode = entry.mode.lower()
    return mode if mode in OTHER_MODES or mode in CHAT_MODES else ""


def _find_price(entry: Entry, dep: Deployment, prices: Mapping[str, Price]) -> Price | None:
    """Return the price that the entry has, else that of `a2py: prices`: of one of its names, else of the longest
    pattern that one matches; None if there is none."""
    own = read_price(entry.prices)
    if own is not None or not prices:
        return own
    names = (dep.name, dep.id, f"{dep.provider}/{dep.model}", dep.model)
    exact = next((prices[name] for name in names if name in prices), None)
    patterns = [pattern for pattern in prices if any(fnmatchcase(name, pattern) for name in names)]
    return exact or (prices[max(patterns, key=len)] if patterns else None)


def _collect_params(entry: Entry, settings: Settings) -> dict[str, Any]:
    """Return the request fields that the deployment sets. A limit of 0 means none."""
    params = {name: value for name in _PARAMS if (value := getattr(entry, name)) is not None}
    params = {name: value for name, value in params.items() if value or not name.startswith("max_")}
    if settings.reasoning_auto_summary is not None:
        params["reasoning_auto_summary"] = settings.reasoning_auto_summary
    return params


def _find_dotenv_choice(entry: Entry, address: Address) -> str:
    """Return what `.env` chose about where a request goes: the base's variable, `ssl_verify`, the proxy of an
    unencrypted request or the Host header, else ""."""
    verify = "ssl_verify" if entry.ssl_verify is not None else f"{pairs.SETTINGS_PREFIX}ssl_verify"
    if address.origin.dotenv:
        return address.name.removeprefix("litellm_params.")
    way = pairs.Way(
        verify_origin=entry.origins.get(verify, NOWHERE),
        proxy_origin=entry.origins.get(f"{pairs.SETTINGS_PREFIX}upstream_proxy", NOWHERE),
    )
    if choice := way.find_dotenv_choice(address.base.url):
        return choice
    has_host = any(header.lower() == "host" for header in entry.extra_headers)
    return "the header Host" if has_host and entry.origins.get("extra_headers", NOWHERE).dotenv else ""


def _env_headers(row: Provider, env: Mapping[str, str]) -> dict[str, str]:
    return {
        header: value
        for header, name in row.env_headers.items()
        if (value := env.get(name, "").strip()) and value.isprintable()
    }


def _unusable(entry: Entry, model: str) -> str:
    """Return the problem of a model that cannot be requested, "" for none."""
    if "model" in entry.unset:
        return unset_problem(entry, "model")
    if not model:
        return f"{entry.place()}: `model` is missing. Write it below litellm_params, for example openai/gpt-5.4."
    if "*" in model and "*" not in entry.model_name:
        return f"{entry.place('model')} has a * and model_name has none. Write the same wildcard in both."
    if entry.mode.lower() in _UNSERVED_MODES:
        return f"{entry.place('mode')} is {entry.mode}, for which a2py has no endpoint. Remove the model."
    return ""
