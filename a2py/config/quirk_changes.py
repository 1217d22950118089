"""The quirks of a deployment: those of the provider tables, changed by the configuration.

Knows: which settings change which quirk. Must not know: files, how a quirk is used.
Invariants: a wrong quirk is a warning, so no request ever meets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from a2py.config.prefixes import Warn
from a2py.config.settings import Entry
from a2py.deployment import Deployment
from a2py.providers import find_quirks
from a2py.quirks import Quirks, override

#: Attribute of an entry → quirk, and what each value of the attribute sets.
_SUPPORTS: tuple[tuple[str, str, dict[bool, Any]], ...] = (
    ("supports_vision", "images", {True: True, False: False}),
    ("supports_function_calling", "tools", {True: True, False: False}),
    ("supports_reasoning", "reasoning", {False: "none"}),
)

#: allowed_openai_params → the quirks that send the field. A quirk that already has a value (a word, a limit) keeps it.
_ALLOWED: dict[str, dict[str, Any]] = {
    "tools": {"tools": True},
    "parallel_tool_calls": {"parallel_tool_calls": True},
    "tool_choice": {"tool_choice_named": "object", "tool_choice_any": "required"},
    "response_format": {"structured": "json_schema", "structured_with_tools": True},
    "reasoning_effort": {"reasoning": "effort"},
    "thinking": {"reasoning": "thinking_type"},
    "stream_options": {"stream_usage": True},
    "service_tier": {"service_tier": True},
    "stop": {"stop_limit": 4},
    "prompt_cache_key": {"cache": "key"},
}


#: litellm_params that a row may leave out → the name in allowed_openai_params that sends them.
_ALLOWED_BY = {
    "reasoning_effort": "reasoning_effort",
    "thinking": "reasoning_effort",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
}


def warn_unsent(dep: Deployment, entry: Entry, warn: Warn) -> None:
    """Warn about defaults of the file that the provider tables leave out of requests."""
    if dep.wire == "native" or "*" in dep.model:
        return
    for name, allowed in _ALLOWED_BY.items():
        is_sent = dep.quirks.reasoning != "none" if allowed == "reasoning_effort" else name in dep.quirks.sampling
        if name in dep.params and not is_sent:
            host = urlsplit(dep.base).netloc
            warn(
                f"{entry.place(name)} is not sent, because {dep.model} at {host} is not known to accept it. "
                f"Write `allowed_openai_params: [{allowed}]` to send it."
            )


def _allowed(name: str, quirks: Quirks) -> dict[str, Any]:
    if name in ("temperature", "top_p", "top_k"):
        return {"sampling": quirks.sampling | {name}}
    return {
        quirk: value
        for quirk, value in _ALLOWED.get(name, {}).items()
        if getattr(quirks, quirk) in (False, 0, "none", "")
    }


def choose_quirks(dep: Deployment, patterns: Mapping[str, Mapping[str, Any]]) -> Quirks:
    """Return the quirks of a deployment.

    Later ones win: the provider tables, allowed_openai_params, `a2py: quirks` whose pattern matches the name, the id,
    `provider/model` or the model, then those of the entry itself."""
    model = dep.base_model.rpartition("/")[2] or dep.model
    quirks = find_quirks(dep.provider, dep.base, model)
    for name in sorted(dep.allow):
        quirks = override(quirks, _allowed(name, quirks))
    names = {dep.name, dep.id, f"{dep.provider}/{dep.model}", dep.model}
    for pattern, changes in patterns.items():
        if any(name == pattern or fnmatchcase(name, pattern) for name in names):
            quirks = override(quirks, changes)
    return override(quirks, dep.overrides)


def accept_changes(changes: Mapping[str, Any], place: str, warn: Warn) -> dict[str, Any]:
    """Return the changes that `override` accepts. Warn about the others. `place`: of the mapping, for messages."""
    accepted: dict[str, Any] = {}
    for name, value in changes.items():
        key = f"{place.removesuffix('`')}.{name}`"
        try:
            override(Quirks(), {name: value})
        except KeyError:
            near = get_close_matches(name, Quirks.__dataclass_fields__, 1, 0.7)
            warn(f"{key} is unknown and ignored." + (f" Did you mean `{near[0]}`?" if near else ""))
        except (TypeError, ValueError) as error:
            problem = f"{key} {str(error).removeprefix(name + ' ')}"
            warn(problem if problem.endswith("?") else f"{problem}. It is ignored.")
        else:
            accepted[name] = value
    return accepted


def entry_overrides(entry: Entry, warn: Warn) -> dict[str, Any]:
    """Return the quirks of `model_info`: those of supports_… and of `quirks`."""
    pairs = ((quirk, words, getattr(entry, attr)) for attr, quirk, words in _SUPPORTS)
    supported = {quirk: words[value] for quirk, words, value in pairs if value in words}
    return accept_changes({**supported, **entry.quirks}, entry.place("quirks"), warn)
