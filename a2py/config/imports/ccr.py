"""claude-code-router's config.json → our configuration.

Source: its README and src/utils/router.ts, versions 1.x (read 2026-11-30). A model is called `provider,model` there, in
routes and in `/model provider,model`, and it keeps that name here.

Knows: Providers, Router and the settings beside them. Must not know: a transformer (transformers.py), how a route is
decided.
Invariants: pure; what is not carried has a note; a mistake of the source's author costs that part alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from a2py.config.imports.draft import Draft, Source, whole_number
from a2py.config.imports.endpoint import Endpoint, place
from a2py.config.imports.transformers import Changes, read_transformers
from a2py.config.tree import ENVIRON

PROGRAM = "claude-code-router"
#: Tokens at which `longContext` begins without `longContextThreshold`.
THRESHOLD = 60000
#: Routes in the order in which claude-code-router decides them → our condition.
_ROUTES = (
    ("image", "image"),
    ("longContext", "tokens_over"),
    ("background", "background"),
    ("webSearch", "web_search"),
    ("think", "think"),
)
#: Keys that change no answer.
_SILENT = frozenset(("log", "log_level", "non_interactive_mode", "claude_path", "port", "host", "$schema"))
#: Keys that are carried in another function.
_IMPORT_KEYS = frozenset(("providers", "router", "apikey", "proxy_url", "api_timeout_ms", "fallback", "transformers"))
#: Keys without a counterpart → what to do instead.
_WITHOUT = {
    "custom_router_path": "a2py runs no JavaScript. Write its rules into `a2py: routes`",
    "rewrite_system_prompt": "a2py does not rewrite the system prompt",
    "statusline": "`a2py statusline` draws one of its own for Claude Code",
    "plugins": "a2py runs no plugins",
    "presets": "a2py has no presets",
    "forceuseimageagent": "an image goes to the model of Router.image, by the route `image`",
}
_PROVIDER_KEYS = frozenset(
    ("name", "api_base_url", "baseurl", "base_url", "api_key", "apikey", "models", "transformer")
)
#: Keys of a provider that people write for themselves.
_NOTES = frozenset(("note", "notes", "comment", "_comment", "description", "type", "enabled", "website"))


class _Provider(NamedTuple):
    """A provider that can be asked. `number`: in the list; `models`: its models, as it calls them; `section`: its
    item."""

    number: int
    name: str
    models: tuple[str, ...]
    section: Mapping[str, Any]


def import_router(tree: Mapping[str, Any], source: Source) -> Draft:
    """Return the configuration that a config.json of claude-code-router means."""
    draft = Draft(Source(source.name, PROGRAM, source.env))
    keys = {key.lower(): value for key, value in tree.items()}
    providers = _read_providers(keys.get("providers"), draft)
    router = keys.get("router")
    _read_routes(router if isinstance(router, Mapping) else {}, providers, draft)
    _read_fallbacks(keys.get("fallback"), providers, draft)
    _read_settings(keys, draft)
    for key, value in tree.items():
        name = key.lower()
        if value in ("", None, False, [], {}) or name in _SILENT | _IMPORT_KEYS or _is_disabled(value):
            continue
        if name in _WITHOUT:
            draft.note(f"{key} is not carried: {_WITHOUT[name]}.")
        elif not isinstance(value, str) or not key.isupper():  # people keep their variables beside the settings
            draft.note(f"{key} is not carried: it is no key of claude-code-router 1.x that a2py knows.")
    return draft


def _is_disabled(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("enabled") is False


def _read_providers(section: Any, draft: Draft) -> list[_Provider]:
    items = list(section.values()) if isinstance(section, Mapping) else section
    providers = []
    for index, item in enumerate(items if isinstance(items, list) else []):
        provider = _read_provider(index, item, draft)
        if provider is not None:
            providers.append(provider)
            for model in provider.models:
                _add_model(provider, model, draft)
    if not providers:
        draft.note("Providers has no provider that can be asked. Write model_list.")
    return providers


def _read_provider(index: int, item: Any, draft: Draft) -> _Provider | None:
    if not isinstance(item, Mapping):
        draft.note(f"Providers[{index}] is not carried: it must be an object.")
        return None
    name = item.get("name")
    name = name.strip() if isinstance(name, str) and name.strip() else f"provider{index}"
    models = [
        model.get("name") or model.get("id") if isinstance(model, Mapping) else model
        for model in _list(item.get("models"))
    ]
    for key in item:
        if key.lower() not in _PROVIDER_KEYS | _NOTES:
            draft.note(
                f"Providers[{index}] ({name}): {key} is not carried: claude-code-router's own documents do not have it."
            )
    problem = _address(item, "", draft).problem
    if problem:
        draft.is_partial = True  # `/model name,model` must not be answered by the default model
        draft.note(f"Providers[{index}] ({name}) is not carried: its api_base_url {problem}.")
        return None
    names = tuple(dict.fromkeys(model for model in models if isinstance(model, str) and model))
    if not names:
        draft.note(f"Providers[{index}] ({name}): models has no names, so only a route can name one of its models.")
    return _Provider(index, name, names, item)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) and value else []


def _address(item: Mapping[str, Any], speaks: str, draft: Draft) -> Endpoint:
    url = next((item[key] for key in ("api_base_url", "baseUrl", "base_url", "baseURL") if item.get(key)), "")
    return place(draft.value(url, "api_base_url"), speaks)


def _add_model(provider: _Provider, model: str, draft: Draft) -> None:
    """Add one model of a provider, one entry for each of its keys."""
    label = f"Providers[{provider.number}] ({provider.name})"
    changes = read_transformers(provider.section.get("transformer"), model, draft, label)
    endpoint = _address(provider.section, changes.speaks, draft)
    if changes.speaks == "anthropic" and not endpoint.is_native:
        draft.note(
            f"{label}: its address is one of chat completions, so it is asked so, not by the transformer Anthropic."
        )
    info = {**endpoint.info(), **changes.info, **({"quirks": changes.quirks} if changes.quirks else {})}
    for key in _keys(provider, label, draft):
        draft.add(f"{provider.name},{model}", {**endpoint.params(model, key), **_wire(changes, endpoint)}, info)


def _wire(changes: Changes, endpoint: Endpoint) -> dict[str, Any]:
    """Return the parameters of the transformers that the endpoint's protocol has."""
    return {} if endpoint.is_native and "extra_body" in changes.params else changes.params


def _keys(provider: _Provider, label: str, draft: Draft) -> list[str]:
    value = provider.section.get("api_key", provider.section.get("apiKey"))
    keys = [draft.value(key, f"{label}.api_key") for key in (value if isinstance(value, list) else [value])]
    return [key for key in dict.fromkeys(keys) if key] or [""]


def _find(target: Any, providers: list[_Provider], where: str, draft: Draft) -> str:
    """Return the name of a model that a route names, "" if it can't be one. A model that its provider does not list is
    added: claude-code-router asks for it, too."""
    text = next((one for one in _list(target) if isinstance(one, str)), "").strip()
    if not text:
        return ""
    name, comma, model = (part.strip() for part in text.partition(","))
    if not comma:
        return _find_owner(text, providers, where, draft)
    provider = next((one for one in providers if one.name.lower() == name.lower()), None)
    if provider is None or not model:
        draft.note(f"{where} is not carried: Providers has no {name} that can be asked.")
        return ""
    model = next((one for one in provider.models if one.lower() == model.lower()), model)
    if not draft.has(f"{provider.name},{model}"):
        _add_model(provider, model, draft)
    return f"{provider.name},{model}"


def _find_owner(model: str, providers: list[_Provider], where: str, draft: Draft) -> str:
    """Return the name of a model that a route names without its provider, "" if not exactly one provider has it."""
    owners = [provider for provider in providers if model in provider.models]
    if len(owners) == 1:
        return f"{owners[0].name},{model}"
    draft.note(f"{where} is not carried: {model} is not of the form provider,model.")
    return ""


def _read_routes(router: Mapping[str, Any], providers: list[_Provider], draft: Draft) -> None:
    draft.default = _find(router.get("default"), providers, "Router.default", draft)
    if not draft.default and draft.models:
        draft.default = draft.models[0]["model_name"]
        draft.note(f"Router.default names no model that can be asked, so {draft.default} is the default model now.")
    threshold = whole_number(router.get("longContextThreshold")) or THRESHOLD
    for key, condition in _ROUTES:
        name = _find(router.get(key), providers, f"Router.{key}", draft)
        if name:
            when: Any = {condition: threshold} if condition == "tokens_over" else condition
            draft.routes.append({"name": key, "when": when, "model": name})
    while draft.routes and draft.routes[-1]["model"] == draft.default:
        draft.routes.pop()  # it decides nothing
    if any(route["when"] == "think" for route in draft.routes):
        draft.note(
            "Router.think: claude-code-router used it for every request with `thinking`, and Claude Code asks for that "
            "nearly always; here it is for plan mode and for high effort."
        )
    route_keys = {"default", "longContextThreshold", *(key for key, _ in _ROUTES)}
    for key, value in router.items():
        if key not in route_keys and value not in ("", None, False, [], {}):
            draft.note(f"Router.{key} is not carried: only a custom router or a fork of claude-code-router reads it.")


def _read_fallbacks(section: Any, providers: list[_Provider], draft: Draft) -> None:
    """Read `fallback`: route → models to try if the model of that route fails."""
    if not isinstance(section, Mapping):
        return
    targets = {"default": draft.default, **{route["name"]: route["model"] for route in draft.routes}}
    for key, value in section.items():
        names = [_find(one, providers, f"fallback.{key}", draft) for one in _list(value)]
        names = [name for name in names if name]
        if names and targets.get(key):
            draft.fallbacks.setdefault(targets[key], names)


def _read_settings(keys: Mapping[str, Any], draft: Draft) -> None:
    if key := draft.value(keys.get("apikey"), "APIKEY"):
        draft.settings["general_settings.master_key"] = key
    if proxy := draft.value(keys.get("proxy_url"), "PROXY_URL"):
        proxy = proxy if "://" in proxy or proxy.startswith(ENVIRON) else f"http://{proxy}"
        if proxy.startswith((ENVIRON, "http://", "https://")):
            draft.settings["a2py.upstream_proxy"] = proxy.rstrip("/")
        else:
            draft.note("PROXY_URL is not carried: only http and https proxies are supported.")
    if milliseconds := whole_number(keys.get("api_timeout_ms")):
        draft.settings["litellm_settings.request_timeout"] = milliseconds // 1000 or 1
    host, port = keys.get("host"), whole_number(keys.get("port"))
    draft.host = host if isinstance(host, str) and host not in ("127.0.0.1", "localhost", "") else ""
    draft.port = str(port) if 0 < port < 65536 else ""
    for index, item in enumerate(_list(keys.get("transformers"))):
        if isinstance(item, Mapping) and item.get("path"):
            draft.note(f"transformers[{index}] is not carried: it is a plugin in JavaScript, and a2py runs none.")
