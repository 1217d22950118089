"""Files and environment → a Config.

Knows: which files are read, and in which order they and the environment count. Must not know: how a name is resolved,
what a setting does.
Invariants: `os.environ` is never read or changed; a mistake in a file is a ConfigError, a deployment that cannot work
has a `problem`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Any

from a2py.config import certificates, values
from a2py.config import tree as t
from a2py.config.build import build
from a2py.config.checks import (
    KEY_VARIABLE,
    check_routes,
    refuse_misspelt_models,
    warn_of_empty_key,
    warn_of_variables,
    warn_strategy,
    warn_unserved_names,
)
from a2py.config.collapse import collapse
from a2py.config.dotenv import OWN_PREFIX, environment, find_keys, locate, places, warn_readable, within
from a2py.config.error import ConfigError
from a2py.config.names import Binder, Config, find_default_name
from a2py.config.pairs import SETTINGS_PREFIX, Pair, Use, Way, origin_of
from a2py.config.prefixes import FAMILIES, Warn, parse_model
from a2py.config.quirk_changes import accept_changes
from a2py.config.reader import Contents, place_of, read
from a2py.config.redis import read_redis
from a2py.config.search import read_search
from a2py.config.settings import Entry, Settings
from a2py.config.tree import Node
from a2py.config.variables import NOWHERE, Variables, variables
from a2py.deployment import Deployment
from a2py.providers import PROVIDERS, Provider

MAX_FILES = 50
#: Settings that a variable of the environment can switch on, too.
SWITCHES = {
    "use_chat_completions_url": "LITELLM_USE_CHAT_COMPLETIONS_URL_FOR_ANTHROPIC_MESSAGES",
    "reasoning_auto_summary": "LITELLM_REASONING_AUTO_SUMMARY",
    "insecure": "A2PY_INSECURE",
}
#: Rows that no key in the environment selects: ANTHROPIC_API_KEY may be Claude Code's own token, and cli/ finds out
#: whether Ollama runs.
_NOT_BY_KEY = frozenset(("anthropic", "ollama", "ollama_chat"))


def load(path: str | None, env: Mapping[str, str], cwd: str, *, is_untrusted: bool = False) -> Config:
    """Return the configuration of `path`, else of the first file that `find` returns, with `.env` and its includes.

    A file without models gets those of the environment. Raise ConfigError if there is no file, or a mistake in one.
    `is_untrusted`: the file is in the working folder and nobody named it. In this case, and if this function finds it
    there, `Config.pairs` lists which secrets it would send to which hosts. Ask the user before you serve it."""
    warnings: list[str] = []
    whole = environment(env, cwd, warnings.append)
    config_file = locate(path, env, cwd)
    if config_file is None:
        cure = f"Give --config FILE, or write one of: {', '.join(places(env, cwd))}."
        raise ConfigError("there is no configuration file", cure=cure)
    file = config_file.path
    files: dict[str, str] = {}
    tree = _read(file, _display_name(file, cwd), None, whole, cwd, files, warnings.append)
    is_untrusted = is_untrusted or config_file.is_untrusted
    # Literal keys in an untrusted folder are the stranger's own. In any other file they are the user's secrets.
    folder = os.path.dirname(file)
    secret_files = {
        name: os.path.realpath(path) for name, path in files.items() if not is_untrusted or not within(path, folder)
    }
    config = replace(_assemble(tree, whole, warnings, files, secret_files), keys_path=find_keys(file, env))
    return config if is_untrusted else replace(config, pairs={})


def from_environment(env: Mapping[str, str], ollama_models: Sequence[str] = ()) -> Config | None:
    """Return a configuration without a file, None if the environment sets nothing.

    Each provider whose key is set (or whose base variable, if it needs no key) gets `prefix/*`. The first of them with
    a default model also gets `*` and unknown `claude-*` names; without any, the first of `ollama_models` does. `env`:
    see `environment` for `.env`. Variables of other proxies that name models (choice.py) win over that."""
    from a2py.config.choice import find_choice  # not loaded where a file is read

    whole = variables(env)
    choice = find_choice(whole)
    entries = _entries_from_keys(env, ollama_models)
    if choice is not None:
        tree = choice.tree()
        tree["model_list"] = [*tree["model_list"], *(entry for entry in entries if entry["model_name"] != "*")]
    elif entries:
        tree = {"model_list": entries}
    else:
        return None
    warnings = list(choice.notes) if choice is not None else []
    config = _assemble(t.node_of(tree, "environment"), whole, warnings, {}, {})
    return replace(config, pairs={}, has_choice=choice is not None)


def single(model: str, *, alias: str = "", env: Mapping[str, str] | None = None, **params: Any) -> Config:
    """Return the configuration of one model, which every other name means, too.

    `params`: litellm_params, as in `--model openai/gpt-5.4 --api_base …`; None, "" and 0 are unset, but a temperature
    may be 0."""
    params = {name: value for name, value in params.items() if value or (name == "temperature" and value is not None)}
    name = model if "*" in model else alias or model
    tree: dict[str, Any] = {"model_list": [{"model_name": name, "litellm_params": {"model": model, **params}}]}
    tree["router_settings"] = {} if "*" in model else {"model_group_alias": {"*": name}}
    place = "command line"
    return replace(_assemble(t.node_of(tree, place), variables(env or {}), [], {}, {place: f"/{place}"}), pairs={})


def _display_name(file: str, cwd: str) -> str:
    inside = os.path.join(cwd, "")
    file = os.path.normpath(file)
    return file.removeprefix(inside) if file.startswith(inside) else file


def _read(file: str, label: str, at: Node | None, env: Variables, cwd: str, files: dict[str, str], warn: Warn) -> Node:
    """Return the tree of `file` and its includes. `at`: the include that named it; `files`: name → file of all that
    were read."""
    try:
        with open(file, "rb") as f:
            data = f.read(t.MAX_BYTES + 1)
    except OSError as e:
        place = at.at if at else t.Mark()
        path, cure = (
            ("include", "Correct its name.")
            if at
            else ("", "Correct --config, or write a first file: a2py config init.")
        )
        message = (
            f"{'names ' if at else ''}{label}{', which' if at else ''} cannot be read: {e.strerror or type(e).__name__}"
        )
        raise values.fail(place, path, message, cure) from None
    files[label] = file
    tree = t.parse(data, label, warn)
    if not isinstance(tree.value, (dict, type(None))):
        raise values.wrong(tree, "", "a mapping", "Begin with `model_list:`.")
    includes = tree.get("include")
    for path, child in values.items(t.resolve(includes, env), "include") if includes else ():
        for name in values.texts(child, path):
            below = os.path.normpath(os.path.join(os.path.dirname(file), name))
            if below in files.values() or len(files) >= MAX_FILES:
                why = "is included twice" if below in files.values() else f"is one file more than {MAX_FILES}"
                warn(f"{child.at}: `{path}` is ignored: {name} {why}. Remove it.")
            else:
                tree = t.merge(tree, _read(below, _display_name(below, cwd), child, env, cwd, files, warn))
    return tree


def _assemble(
    tree: Node, env: Variables, warnings: list[str], files: Mapping[str, str], secret_files: Mapping[str, str]
) -> Config:
    """Return the Config of a tree. `secret_files`: name of a file → its path, if its literal keys are secrets."""
    warn = warnings.append
    section = tree.get("environment_variables")
    if section:
        warn_of_empty_key(section, warn)
        env = _with_section(t.resolve(section, env), env, secret_files)
    refuse_misspelt_models(tree)
    tree = t.resolve(tree, env)
    contents = read(_with_credentials(tree, warn), env, secret_files)
    warnings += contents.warnings
    for name in contents.literal_keys:
        if name in files:
            warn_readable(files[name], name, warn)
    has_models = bool(contents.entries and files)
    if not contents.entries and files:
        contents.entries = read(t.node_of({"model_list": _entries_from_keys(env, ())}, "environment")).entries
        effect, cure = "nothing is served", ", or set the key of a provider (OPENAI_API_KEY, …)"
        if contents.entries:
            effect, cure = "the models come from the keys of the environment", ""
        warn(
            f"{next(iter(files))}: `model_list` is missing or empty, so {effect}. "
            f"Write `model_list:` to name models{cure}."
        )
    settings = _accept_quirks(_apply_switches(contents, env), contents.origins.get("quirks", ""), warn)
    _share_origins(contents)
    pairs: dict[Pair, Use] = {}
    deployments, binders = _build_deployments(contents.entries, settings, env, warn, pairs)
    server = contents.server
    origins = contents.value_origins
    way = Way(
        settings.ssl_verify,
        settings.upstream_proxy,
        origins.get("ssl_verify", NOWHERE),
        origins.get("upstream_proxy", NOWHERE),
    )
    search = read_search(tree, env, secret_files, way, warn, pairs)
    config = Config(
        deployments=deployments,
        aliases={name: target for name, (target, _) in server.aliases.items()},
        hidden_names=frozenset(name for name, (_, is_hidden) in server.aliases.items() if is_hidden),
        settings=settings,
        master_key=server.master_key or env.get(KEY_VARIABLE, "").strip(),
        insecure=server.insecure or ("insecure" not in contents.origins and is_switched_on(env, "insecure")),
        has_models=has_models,
        sources=tuple(files),
        origins=contents.origins,
        binders=binders,
        pairs=pairs,
        search=search,
        redis=read_redis(tree, env, secret_files, pairs),
    )
    warn_unserved_names(config, contents.mistakes.append)
    check_routes(config)
    warn_strategy(config, warn)
    if files:
        warn_of_variables(config, env, warnings)
    return _with_messages(config, warnings, contents.mistakes)


def _with_messages(config: Config, warnings: list[str], mistakes: list[str]) -> Config:
    """Return `config` with its default name, and with its messages, each said once."""
    messages = tuple(collapse([*warnings, *mistakes]))
    return replace(
        config, default_name=find_default_name(config), warnings=messages, mistakes=tuple(collapse(mistakes))
    )


def _share_origins(contents: Contents) -> None:
    """Give each entry the origins of the settings that all entries share."""
    origins = {f"{SETTINGS_PREFIX}{attr}": origin for attr, origin in contents.value_origins.items()}
    for entry in contents.entries:
        entry.origins = {**origins, **entry.origins}


def _with_section(section: Node, env: Variables, secret_files: Mapping[str, str]) -> Variables:
    """Return `env` with `environment_variables` below it, except the variables that control a2py itself."""
    texts = values.variable_map(section, "environment_variables")
    texts = {name: value for name, value in texts.items() if not name.upper().startswith(OWN_PREFIX)}
    return env.above(texts, {name: origin_of("api_key", section.value[name], env, secret_files) for name in texts})


def _with_credentials(tree: Node, warn: Warn) -> Node:
    """Return the tree with the values of its credential for each `litellm_credential_name`. The entry's own values
    win."""
    models, sets = tree.get("model_list"), tree.get("credential_list")
    if models is None or not isinstance(models.value, list):
        return tree
    credentials = values.credentials(sets, "credential_list") if sets else {}
    out = []
    for index, item in enumerate(models.value):
        params = item.get("litellm_params")
        name = params.get("litellm_credential_name") if params else None
        if params and name and name.raw in credentials:
            item = replace(item, value={**item.value, "litellm_params": t.merge(params, credentials[name.raw])})
        elif name and name.raw:
            near = get_close_matches(name.raw, credentials, 1, 0.7)
            others = (
                f"`credential_list` has: {', '.join(credentials)}."
                if credentials
                else "Write it into `credential_list`."
            )
            hint = f"Did you mean {near[0]}?" if near else others
            place = place_of(name, f"model_list[{index}].litellm_params.litellm_credential_name")
            warn(f"{place} is ignored: there is no credential {name.raw}. {hint}")
        out.append(item)
    return replace(tree, value={**tree.value, "model_list": replace(models, value=out)})


def _apply_switches(contents: Contents, env: Mapping[str, str]) -> Settings:
    """Return the settings with those that variables switch on."""
    settings = contents.settings
    for attr in SWITCHES:
        if attr != "insecure" and attr not in contents.origins and is_switched_on(env, attr):
            changes: dict[str, Any] = {attr: True}
            settings = replace(settings, **changes)
    return settings


def _accept_quirks(settings: Settings, origin: str, warn: Warn) -> Settings:
    """Return the settings with those of `a2py: quirks` that exist and fit. Warn about the others."""
    place, _, key = origin.rpartition(" ")
    quirks = {
        pattern: accept_changes(changes, f"{place}: `{key}.{pattern}`", warn)
        for pattern, changes in settings.quirks.items()
    }
    return replace(settings, quirks=quirks)


def is_switched_on(env: Mapping[str, str], attr: str) -> bool:
    """Return whether the variable of the setting `attr` (see `SWITCHES`) switches it on."""
    return env.get(SWITCHES[attr], "").strip().lower() in ("1", "true", "yes", "on")


def _build_deployments(
    entries: list[Entry], settings: Settings, env: Variables, warn: Warn, pairs: dict[Pair, Use]
) -> tuple[tuple[Deployment, ...], dict[str, Binder]]:
    out: list[Deployment] = []
    weights: list[Entry] = []
    binders: dict[str, Binder] = {}
    counts: dict[str, int] = {}
    seats: dict[tuple[str, str], int] = {}
    for entry in _expand(entries, env, warn):
        parsed = parse_model(entry, _silent)
        own_id = entry.id
        id = entry.id or f"{parsed.row.name}/{parsed.model}"
        counts[id] = counts.get(id, 0) + 1
        if counts[id] > 1:
            id = f"{id}#{counts[id]}"
        entry = replace(entry, id=id)
        dep = _with_file_problem(build(entry, settings, env, warn, pairs), entry)
        out.append(replace(dep, seat=_make_seat(dep, own_id, seats)))
        weights.append(entry)
        if "*" in entry.model_name:
            binders[id] = partial(_bind, entry, out[-1], settings, env)
    return _with_weights(out, weights), binders


def _with_file_problem(dep: Deployment, entry: Entry) -> Deployment:
    """Return `dep` with the problem of a CA file of its own that can't be read."""
    if dep.problem or not isinstance(entry.ssl_verify, str) or not dep.base.startswith("https:"):
        return dep
    problem = certificates.find_file_problem(entry.ssl_verify)
    return replace(dep, problem=f"{entry.place('ssl_verify')} {problem}. {certificates.CURE}") if problem else dep


def _make_seat(dep: Deployment, own_id: str, seats: dict[tuple[str, str], int]) -> str:
    """Return what affinity tells `dep` by: the id that the file gives it, else server, account and model.

    The `#2` of an id is its number in the file, so that it moves to another deployment if an entry is removed. `seats`:
    how many deployments of a name have which."""
    seat = f"id:{own_id}" if own_id else f"{dep.account}/{dep.model}"
    number = seats[dep.name, seat] = seats.get((dep.name, seat), 0) + 1
    return seat if number == 1 else f"{seat}#{number}"


def _silent(_: str) -> None:
    pass


def _bind(
    entry: Entry, dep: Deployment, settings: Settings, env: Mapping[str, str], model: str, name: str
) -> Deployment:
    """Return a wildcard deployment for one model, with its own wire, base and quirks."""
    prefix = entry.model.removesuffix(dep.model) or ("" if entry.custom_llm_provider else f"{dep.provider}/")
    return build(replace(entry, model=prefix + model, model_name=name), settings, env, _silent)


def _expand(entries: list[Entry], env: Mapping[str, str], warn: Warn) -> list[Entry]:
    """Return the entries with a name, one for each organization, and `*` → `*` as one for each provider with a key."""
    out: list[Entry] = []
    for entry in entries:
        if not entry.model_name:
            warn(f"{entry.place()} has no model_name, so it is called {entry.model or 'nothing'}. Write `model_name:`.")
            entry = replace(entry, model_name=entry.model)
        if entry.model == "*" and entry.model_name == "*" and not entry.api_base and not entry.custom_llm_provider:
            out += _expand_any_provider(entry, {other.model_name for other in entries}, env)
            continue
        out += [
            replace(entry, organization=(), extra_headers=_organization_headers(entry, org))
            for org in entry.organization or ("",)
        ]
    return out


def _organization_headers(entry: Entry, organization: str) -> Mapping[str, str]:
    return {"OpenAI-Organization": organization, **entry.extra_headers} if organization else entry.extra_headers


def _expand_any_provider(entry: Entry, names: set[str], env: Mapping[str, str]) -> list[Entry]:
    rows = [row for row in PROVIDERS.values() if _is_selected(row, env)]
    if any(env.get(name, "").strip() for name in PROVIDERS["anthropic"].keys):
        rows.append(PROVIDERS["anthropic"])
    patterns = [(f"{row.name}/*", f"{row.name}/*") for row in rows]
    patterns += [(pattern, f"{name}/{pattern}") for pattern, name in FAMILIES if name in {row.name for row in rows}]
    return [replace(entry, model_name=name, model=model) for name, model in patterns if name not in names] or [entry]


def _is_selected(row: Provider, env: Mapping[str, str]) -> bool:
    has_base = any(env.get(name, "").strip() for name in row.bases)
    has_key = any(env.get(name, "").strip() for name in row.keys)
    return row.name not in _NOT_BY_KEY and (bool(row.base) or has_base) and (has_key or (row.key_optional and has_base))


def _entries_from_keys(env: Mapping[str, str], ollama_models: Sequence[str]) -> list[dict[str, Any]]:
    rows = [row for row in PROVIDERS.values() if _is_selected(row, env)]
    rows.sort(key=lambda row: not row.default_model)
    pairs = [(f"{row.name}/*", f"{row.name}/*") for row in rows]
    pairs += [(model, f"ollama/{model}") for model in ollama_models]
    if ollama_models:
        pairs.append(("ollama/*", "ollama/*"))
    if pairs:
        first = rows[0].name if rows and (rows[0].default_model or not ollama_models) else "ollama"
        pairs.append(("*", f"{first}/*"))
    return [{"model_name": name, "litellm_params": {"model": model}} for name, model in pairs]


def _with_weights(deployments: list[Deployment], entries: list[Entry]) -> tuple[Deployment, ...]:
    """Return the deployments with their weights: `weight`, else rpm, else tpm. A missing one is the least of the
    others."""
    groups: dict[str, list[int]] = {}
    for i, dep in enumerate(deployments):
        groups.setdefault(dep.name, []).append(i)
    for group in groups.values():
        for attr in ("weight", "rpm", "tpm"):
            shares = {
                i: float(value)
                for i in group
                if (value := getattr(entries[i], attr)) not in ((None,) if attr == "weight" else (0,))
            }
            if shares:
                for i in group:
                    deployments[i] = replace(deployments[i], weight=shares.get(i, min(shares.values())))
                break
    return tuple(deployments)
