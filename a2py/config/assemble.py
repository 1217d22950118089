"""Files and environment → a Config.

Knows: which files are read, in which order they and the environment count. Must not know: how a name is resolved, what a setting does.
Invariants: `os.environ` is never touched; a mistake in a file is a ConfigError, a deployment's own trouble is its `problem`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Any

from a2py.config import tree as t
from a2py.config import values
from a2py.config.build import FAMILIES, build, named
from a2py.config.dotenv import OWN_PREFIX, environment, locate, places, warn_readable, within
from a2py.config.error import ConfigError
from a2py.config.names import Binder, Config, home_of
from a2py.config.pairs import SHARED, Pair, Use, origin_of
from a2py.config.settings import Entry, Read, Settings, read
from a2py.config.tree import Node
from a2py.config.variables import Variables, variables
from a2py.deployment import Deployment
from a2py.providers import PROVIDERS, Provider

MAX_FILES = 50
#: Settings that a variable of the environment switches on as well.
SWITCHES = {
    "use_chat_completions_url": "LITELLM_USE_CHAT_COMPLETIONS_URL_FOR_ANTHROPIC_MESSAGES",
    "reasoning_auto_summary": "LITELLM_REASONING_AUTO_SUMMARY",
    "insecure": "A2PY_INSECURE",
}
#: Rows that no key in the environment selects: Claude Code's own token lies in ANTHROPIC_API_KEY; Ollama is asked whether it runs.
_NOT_BY_KEY = frozenset(("anthropic", "ollama", "ollama_chat"))

Warn = Callable[[str], None]


def load(path: str | None, env: Mapping[str, str], cwd: str, *, untrusted: bool = False) -> Config:
    """The configuration of `path`, else of the first file that `find` knows, with `.env` and what it includes. ConfigError where there is
    no file, or a mistake in one. A file without models is served with those of the environment.

    `untrusted`: the file was found in the working folder, nobody named it. Then, and if this function finds it there, `Config.pairs` lists
    what it would send to whom. Ask the user before you serve it."""
    warnings: list[str] = []
    whole = environment(env, cwd, warnings.append)
    located = locate(path, env, cwd)
    if located is None:
        looked = ", ".join(places(env, cwd))
        raise ConfigError("there is no configuration file", cure=f"give --config FILE, or write one of: {looked}")
    file = located.path
    files: dict[str, str] = {}
    tree = _read(file, _shown(file, cwd), None, whole, cwd, files, warnings.append)
    untrusted = untrusted or located.untrusted
    # Literal keys in an untrusted folder are the stranger's own. In any other file they are the user's secrets.
    folder = os.path.dirname(file)
    secret_files = {
        shown: os.path.realpath(path) for shown, path in files.items() if not untrusted or not within(path, folder)
    }
    config = _assemble(tree, whole, warnings, files, secret_files)
    return config if untrusted else replace(config, pairs={})


def from_environment(env: Mapping[str, str], ollama_models: Sequence[str] = ()) -> Config | None:
    """Without a file: each provider whose key (or, where none is needed, whose base variable) is set gives `prefix/*`; the first with a
    default model also `*` and the home of `claude-*`; `ollama_models` give their names, and a home where no key did. None: nothing is set.
    `env` holds what is to count: see `environment` for `.env`."""
    entries = _from_keys(env, ollama_models)
    if not entries:
        return None
    return replace(_assemble(t.node_of({"model_list": entries}, "environment"), variables(env), [], {}, {}), pairs={})


def single(
    *,
    model: str,
    api_base: str = "",
    api_key: str = "",
    alias: str = "",
    api_version: str = "",
    max_tokens: int = 0,
    temperature: float | None = None,
    request_timeout: float = 0.0,
    drop_params: bool = False,
    env: Mapping[str, str] | None = None,
) -> Config:
    """`--model openai/gpt-5.4 --api_base … --alias …`: one model, which every other name means as well."""
    given = {
        "api_base": api_base,
        "api_key": api_key,
        "api_version": api_version,
        "max_tokens": max_tokens,
        "timeout": request_timeout,
    }
    params: dict[str, Any] = {name: value for name, value in given.items() if value}
    params |= {"model": model} | ({} if temperature is None else {"temperature": temperature})
    name = model if "*" in model else alias or model
    tree: dict[str, Any] = {"model_list": [{"model_name": name, "litellm_params": params}]}
    tree["litellm_settings"] = {"drop_params": True} if drop_params else {}
    tree["router_settings"] = {} if "*" in model else {"model_group_alias": {"*": name}}
    typed = "command line"
    return replace(_assemble(t.node_of(tree, typed), variables(env or {}), [], {}, {typed: f"/{typed}"}), pairs={})


def _shown(file: str, cwd: str) -> str:
    inside = os.path.join(cwd, "")
    file = os.path.normpath(file)
    return file.removeprefix(inside) if file.startswith(inside) else file


def _read(file: str, shown: str, at: Node | None, env: Variables, cwd: str, files: dict[str, str], warn: Warn) -> Node:
    """The tree of `file` and of what it includes. `at`: the include that named it; `files`: shown name → file, of all that were read."""
    try:
        with open(file, "rb") as f:
            data = f.read(t.MAX_BYTES + 1)
    except OSError as e:
        place = at.at if at else t.Mark()
        said = f"{shown} cannot be read: {e.strerror or type(e).__name__}"
        cure = "" if at else "correct --config, or write a first file: a2py config init"
        raise ConfigError(
            said, file=place.file, line=place.line, column=place.column, path="include" if at else "", cure=cure
        ) from None
    files[shown] = file
    tree = t.parse(data, shown, warn)
    if not isinstance(tree.value, (dict, type(None))):
        raise values.wrong(tree, "", "a mapping", "begin with `model_list:`")
    included = tree.get("include")
    for path, child in values.items(t.resolve(included, env), "include") if included else ():
        for name in values.texts(child, path):
            below = os.path.normpath(os.path.join(os.path.dirname(file), name))
            if below in files.values() or len(files) >= MAX_FILES:
                warn(f"{child.at}: {name} is included twice, or more than {MAX_FILES} files are; left out")
            else:
                tree = t.merge(tree, _read(below, _shown(below, cwd), child, env, cwd, files, warn))
    return tree


def _assemble(
    tree: Node, env: Variables, warnings: list[str], files: Mapping[str, str], secret_files: Mapping[str, str]
) -> Config:
    """`secret_files`: shown name of a file → its path, if its literal keys are secrets."""
    warn = warnings.append
    section = tree.get("environment_variables")
    if section:
        env = _with_section(t.resolve(section, env), env, secret_files)
    found = read(_with_credentials(t.resolve(tree, env), warn), env, secret_files)
    warnings += found.warnings
    for shown in found.literal_keys:
        if shown in files:
            warn_readable(files[shown], shown, warn)
    has_models = bool(found.entries and files)
    if not found.entries and files:
        found.entries = read(t.node_of({"model_list": _from_keys(env, ())}, "environment")).entries
        warn(
            f"{next(iter(files))}: model_list is missing or empty; "
            + ("the keys of the environment count" if found.entries else "nothing is served")
        )
    settings = _switched(found, env)
    shared = {f"{SHARED}{attr}": origin for attr, origin in found.values_from.items()}
    for entry in found.entries:
        entry.origins = {**shared, **entry.origins}
    pairs: dict[Pair, Use] = {}
    deployments, binders = _deployments(found.entries, settings, env, warn, pairs)
    named: dict[str, tuple[str, bool]] = found.server.get("aliases", {})
    config = Config(
        deployments=deployments,
        aliases={name: target for name, (target, _) in named.items()},
        hidden=frozenset(name for name, (_, hidden) in named.items() if hidden),
        settings=settings,
        master_key=found.server.get("master_key") or env.get("LITELLM_MASTER_KEY", "").strip(),
        insecure=found.server.get("insecure", False),
        has_models=has_models,
        sources=tuple(files),
        origins=found.origins,
        binders=binders,
        pairs=pairs,
    )
    _check(config, warn)
    return replace(config, default_name=home_of(config), warnings=tuple(dict.fromkeys(warnings)))


def _with_section(section: Node, env: Variables, secret_files: Mapping[str, str]) -> Variables:
    """Return `env` with `environment_variables` below it, except the variables that steer a2py itself."""
    texts = values.text_map(section, "environment_variables")
    texts = {name: value for name, value in texts.items() if not name.upper().startswith(OWN_PREFIX)}
    return env.above(texts, {name: origin_of("api_key", section.value[name], env, secret_files) for name in texts})


def _with_credentials(tree: Node, warn: Warn) -> Node:
    """The tree with each `litellm_credential_name` replaced by what it stands for; the entry's own values win."""
    listed, sets = tree.get("model_list"), tree.get("credential_list")
    if listed is None or not isinstance(listed.value, list):
        return tree
    known = values.credentials(sets, "credential_list") if sets else {}
    out = []
    for index, item in enumerate(listed.value):
        params = item.get("litellm_params")
        name = params.get("litellm_credential_name") if params else None
        if params and name and name.raw in known:
            item = replace(item, value={**item.value, "litellm_params": t.merge(params, known[name.raw])})
        elif name and name.raw:
            near = get_close_matches(name.raw, known, 1, 0.7)
            hint = (
                f"did you mean {near[0]}?"
                if near
                else f"credential_list has: {', '.join(known)}"
                if known
                else "there is no credential_list"
            )
            warn(f"{item.at}, model_list[{index}]: no credential is called {name.raw}; {hint}")
        out.append(item)
    return replace(tree, value={**tree.value, "model_list": replace(listed, value=out)})


def _switched(found: Read, env: Mapping[str, str]) -> Settings:
    """Settings with what variables switch on; `insecure` goes to the server's values."""
    settings = found.settings
    for attr, name in SWITCHES.items():
        if attr not in found.origins and env.get(name, "").strip().lower() in ("1", "true", "yes", "on"):
            if attr == "insecure":
                found.server[attr] = True
            else:
                changes: dict[str, Any] = {attr: True}
                settings = replace(settings, **changes)
    return settings


def _deployments(
    entries: list[Entry], settings: Settings, env: Variables, warn: Warn, pairs: dict[Pair, Use]
) -> tuple[tuple[Deployment, ...], dict[str, Binder]]:
    out: list[Deployment] = []
    weights: list[Entry] = []
    binders: dict[str, Binder] = {}
    used: dict[str, int] = {}
    for entry in _expanded(entries, env, warn):
        what = named(entry, _silent)
        id = entry.id or f"{what.row.name}/{what.model}"
        used[id] = used.get(id, 0) + 1
        if used[id] > 1:
            id = f"{id}#{used[id]}"
        entry = replace(entry, id=id)
        out.append(build(entry, settings, env, warn, pairs))
        weights.append(entry)
        if "*" in entry.model_name:
            binders[id] = partial(_bound, entry, out[-1], settings, env)
    return _weighted(out, weights), binders


def _silent(_: str) -> None:
    pass


def _bound(
    entry: Entry, dep: Deployment, settings: Settings, env: Mapping[str, str], model: str, asked: str
) -> Deployment:
    """A wildcard deployment made for one model: wire, base and quirks are chosen anew."""
    prefix = entry.model.removesuffix(dep.model) or ("" if entry.custom_llm_provider else f"{dep.provider}/")
    return build(replace(entry, model=prefix + model, model_name=asked), settings, env, _silent)


def _expanded(entries: list[Entry], env: Mapping[str, str], warn: Warn) -> list[Entry]:
    """Entries with a name, one for each organization, and `*` → `*` as one for each provider that has a key."""
    out: list[Entry] = []
    for entry in entries:
        if not entry.model_name:
            warn(f"{entry.where}: model_name is missing; {entry.model or 'the entry'} is served under its model's name")
            entry = replace(entry, model_name=entry.model)
        if entry.model == "*" and entry.model_name == "*" and not entry.api_base and not entry.custom_llm_provider:
            out += _any_provider(entry, {other.model_name for other in entries}, env)
            continue
        out += [
            replace(entry, organization=(), extra_headers=_organized(entry, org)) for org in entry.organization or ("",)
        ]
    return out


def _organized(entry: Entry, organization: str) -> Mapping[str, str]:
    return {"OpenAI-Organization": organization, **entry.extra_headers} if organization else entry.extra_headers


def _any_provider(entry: Entry, taken: set[str], env: Mapping[str, str]) -> list[Entry]:
    rows = [row for row in PROVIDERS.values() if _selected(row, env)]
    if any(env.get(name, "").strip() for name in PROVIDERS["anthropic"].keys):
        rows.append(PROVIDERS["anthropic"])
    patterns = [(f"{row.name}/*", f"{row.name}/*") for row in rows]
    patterns += [(pattern, f"{name}/{pattern}") for pattern, name in FAMILIES if name in {row.name for row in rows}]
    return [replace(entry, model_name=name, model=model) for name, model in patterns if name not in taken] or [entry]


def _selected(row: Provider, env: Mapping[str, str]) -> bool:
    based = any(env.get(name, "").strip() for name in row.bases)
    keyed = any(env.get(name, "").strip() for name in row.keys)
    return row.name not in _NOT_BY_KEY and (bool(row.base) or based) and (keyed or (row.key_optional and based))


def _from_keys(env: Mapping[str, str], ollama_models: Sequence[str]) -> list[dict[str, Any]]:
    rows = [row for row in PROVIDERS.values() if _selected(row, env)]
    rows.sort(key=lambda row: not row.default_model)
    pairs = [(f"{row.name}/*", f"{row.name}/*") for row in rows]
    pairs += [(model, f"ollama/{model}") for model in ollama_models]
    if ollama_models:
        pairs.append(("ollama/*", "ollama/*"))
    if pairs:
        first = rows[0].name if rows and (rows[0].default_model or not ollama_models) else "ollama"
        pairs.append(("*", f"{first}/*"))
    return [{"model_name": name, "litellm_params": {"model": model}} for name, model in pairs]


def _weighted(deployments: list[Deployment], entries: list[Entry]) -> tuple[Deployment, ...]:
    """Weights within each name: by `weight`, else rpm, else tpm; where one is missing the least of the others counts."""
    groups: dict[str, list[int]] = {}
    for i, dep in enumerate(deployments):
        groups.setdefault(dep.name, []).append(i)
    for group in groups.values():
        for attr in ("weight", "rpm", "tpm"):
            given = {
                i: float(value)
                for i in group
                if (value := getattr(entries[i], attr)) not in ((None,) if attr == "weight" else (0,))
            }
            if given:
                for i in group:
                    deployments[i] = replace(deployments[i], weight=given.get(i, min(given.values())))
                break
    return tuple(deployments)


def _check(config: Config, warn: Warn) -> None:
    """Names that settings mention and nobody serves."""
    settings, origins = config.settings, config.origins
    mentioned = [
        ("default_model", (settings.default_model,) if settings.default_model else ()),
        ("aliases", tuple(config.aliases.values())),
    ]
    mentioned += [("default_fallbacks", settings.default_fallbacks)]
    for attr in ("fallbacks", "context_window_fallbacks"):
        table: Mapping[str, tuple[str, ...]] = getattr(settings, attr)
        mentioned.append(
            (
                attr,
                tuple(name for name in table if name != "*")
                + tuple(name for names in table.values() for name in names),
            )
        )
    for attr, names in mentioned:
        for name in dict.fromkeys(names):
            if not config.knows(name) and not ("*" in name and any(dep.name == name for dep in config.deployments)):
                near = get_close_matches(name, [dep.name for dep in config.deployments], 1, 0.7)
                warn(
                    f"{origins.get(attr, attr)}: no model is called {name}"
                    + (f"; did you mean {near[0]}?" if near else "")
                )
    if settings.routing_strategy != "simple-shuffle":
        warn(f"{origins['routing_strategy']}: {settings.routing_strategy} is served as simple-shuffle, by weight")
