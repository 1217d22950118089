"""What is said of a whole configuration once it is read: names that nothing serves, keys that were surely meant
otherwise, settings that mean something else here.

Knows: a tree, a Config. Must not know: files, how a Config is made.
Invariants: a check changes nothing; it raises ConfigError where the file would serve something else than what it says,
and warns otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from a2py.config.missing import describe_variables
from a2py.config.names import Config
from a2py.config.prefixes import Warn
from a2py.config.reader import describe_empty_key, is_blank
from a2py.config.tree import Mark, Node
from a2py.config.values import fail

#: The variable of the master key.
KEY_VARIABLE = "LITELLM_MASTER_KEY"


def refuse_misspelt_models(tree: Node) -> None:
    """Raise ConfigError if the models stand below a key that is not quite `model_list`.

    Without its models the file would serve what the environment has keys for, at somebody's cost."""
    keys = tree.value if isinstance(tree.value, dict) else {}
    near = [key for key in get_close_matches("model_list", keys, 3, 0.75) if isinstance(keys[key].value, list)]
    if "model_list" in keys or not near:
        return
    raise fail(keys[near[0]].key_at, near[0], "is unknown, and there is no `model_list`", "Write `model_list:`.")


def warn_of_empty_key(section: Node, warn: Warn) -> None:
    """Warn if `environment_variables` sets the master key to nothing."""
    node = section.value.get(KEY_VARIABLE) if isinstance(section.value, dict) else None
    if node is not None and is_blank(node):
        warn(describe_empty_key(node, f"environment_variables.{KEY_VARIABLE}"))


def warn_of_variables(config: Config, env: Mapping[str, str], warnings: list[str]) -> None:
    """Add what variables of LiteLLM's server ask for, unless the file asked for the same."""
    text = " ".join(warnings)
    lines = describe_variables(env, bool(config.master_key))
    warnings += [line for line in lines if line.partition(" ignored: ")[2] not in text]


def check_routes(config: Config) -> None:
    """Raise ConfigError for a rule of `a2py: routes:` whose model nothing serves, or one that writes no text."""
    for index, rule in enumerate(config.settings.routes):
        if config.can_chat(rule.model):
            continue
        message, cure = f"names {rule.model}, which writes no text", "Name a chat model."
        if not config.knows(rule.model):
            message = f"names {rule.model}, but no model is called so"
            cure = _suggest_model(config, rule.model)
        raise fail(Mark(*rule.at), f"a2py.routes[{index}].model", message, cure)


def warn_unserved_names(config: Config, warn: Warn) -> None:
    """Warn about names in settings that no model has."""
    settings, origins = config.settings, config.origins
    references = [
        ("default_model", (settings.default_model,) if settings.default_model else ()),
        ("aliases", tuple(config.aliases.values())),
    ]
    references += [("default_fallbacks", settings.default_fallbacks)]
    references += [("name_parallel_requests", tuple(settings.name_parallel_requests))]
    for attr in ("fallbacks", "context_window_fallbacks"):
        table: Mapping[str, tuple[str, ...]] = getattr(settings, attr)
        references.append(
            (
                attr,
                tuple(name for name in table if name != "*")
                + tuple(name for names in table.values() for name in names),
            )
        )
    model_names = [dep.name for dep in config.deployments]
    for attr, names in references:
        place, _, key = origins.get(attr, attr).rpartition(" ")
        for name in dict.fromkeys(names):
            if not config.knows(name) and not ("*" in name and name in model_names):
                hint = _suggest_model(config, name)
                warn(f"{place}: `{key}` names {name}, but no model is called so. {hint}")


def _suggest_model(config: Config, name: str) -> str:
    """Return what to do about a name that no model has."""
    near = get_close_matches(name, [dep.name for dep in config.deployments], 1, 0.7)
    return f"Did you mean {near[0]}?" if near else "Correct the name, or add it to `model_list`."


def warn_strategy(config: Config, warn: Warn) -> None:
    settings, origins = config.settings, config.origins
    if settings.routing_strategy != "simple-shuffle":
        place, _, key = origins["routing_strategy"].rpartition(" ")
        warn(
            f"{place}: `{key}` is ignored: a2py shares by weight, as simple-shuffle does, not by"
            f" {settings.routing_strategy}."
        )
