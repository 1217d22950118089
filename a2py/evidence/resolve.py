"""From what is known of a deployment to its quirks.

The layers, the weakest first: the common subset, the model family's rows, the host's row, the server's own word, replies, refusals, the file.
Replies and refusals come during the run (proxy/lessons.py) and respect `Deployment.fixed`; the others are put together here.

Knows: the layers. Must not know: files, requests, time.
Invariants: total: any model at any address gets quirks; each quirk that is not the common subset has a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from a2py.deployment import Deployment
from a2py.evidence import fact
from a2py.evidence.fact import Facts
from a2py.evidence.server import ServerWord
from a2py.providers import layers_for, row_is_guess
from a2py.quirks import Quirks, override

Warn = Callable[[str], None]
#: Quirk → value, for each pattern of `a2py: quirks`.
Patterns = Mapping[str, Mapping[str, Any]]

#: allowed_openai_params → the quirks that send the field after all. A quirk that has a value of its own already (a word, a limit) keeps it.
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


def resolve(deployment: Deployment, patterns: Patterns, word: ServerWord | None, warn: Warn, date: str = "") -> Facts:
    """Return what holds for `deployment` before anything was asked. `patterns`: `a2py: quirks`; `word`: what its server says of itself, learned
    on `date`; `warn` gets a line for each setting that can't be used."""
    model = deployment.base_model.rpartition("/")[2] or deployment.model
    said = word if word is not None and word.program and row_is_guess(deployment.provider, deployment.base) else None
    facts: Facts = {}
    for layer in layers_for(deployment.provider, deployment.base, model, said.row if said else None):
        if said is not None and layer.source == "host":
            fact.add(facts, layer.quirks, "server", f"it is {said.program}: {said.reason}", date)
        else:
            fact.add(facts, layer.quirks, layer.source, layer.reason)
    _add_file(facts, deployment, patterns, warn)
    return facts


def quirks_of(facts: Facts) -> Quirks:
    return override(Quirks(), fact.values(facts))


def known(deployment: Deployment, patterns: Patterns, word: ServerWord | None, warn: Warn) -> Deployment:
    """Return `deployment` with the quirks that `resolve` gives, and the context that its server names, unless the file has named one."""
    facts = resolve(deployment, patterns, word, warn)
    context = deployment.max_input_tokens or (word.context(deployment.model) if word is not None else 0)
    return replace(deployment, quirks=quirks_of(facts), fixed=fact.fixed(facts), max_input_tokens=context)


def _add_file(facts: Facts, deployment: Deployment, patterns: Patterns, warn: Warn) -> None:
    """Add what the configuration says: allowed_openai_params, then `a2py: quirks` by pattern, then the entry's own."""
    for name in sorted(deployment.allow):
        where = f"allowed_openai_params of {deployment.name}"
        fact.add(facts, accepted(_allowed(name, quirks_of(facts)), where, warn), "file", where)
    candidates = {deployment.name, deployment.id, f"{deployment.provider}/{deployment.model}", deployment.model}
    for pattern, changes in patterns.items():
        if any(name == pattern or fnmatchcase(name, pattern) for name in candidates):
            where = f"a2py.quirks.{pattern}"
            fact.add(facts, accepted(changes, where, warn), "file", where)
    where = f"model_info of {deployment.name}" + (f", {deployment.source}" if deployment.source else "")
    fact.add(facts, accepted(deployment.overrides, f"model_info.quirks of {deployment.name}", warn), "file", where)


def _allowed(name: str, quirks: Quirks) -> dict[str, Any]:
    if name in ("temperature", "top_p", "top_k"):
        return {"sampling": quirks.sampling | {name}}
    changes = _ALLOWED.get(name, {})
    return {quirk: value for quirk, value in changes.items() if getattr(quirks, quirk) in (False, 0, "none", "")}


def accepted(changes: Mapping[str, Any], where: str, warn: Warn) -> dict[str, Any]:
    """Return the changes that `override` takes. Warn about the others: a request must never meet them."""
    usable: dict[str, Any] = {}
    for name, value in changes.items():
        try:
            override(Quirks(), {name: value})
        except KeyError:
            near = get_close_matches(name, Quirks.__dataclass_fields__, 1, 0.7)
            warn(f"{where}: unknown quirk {name} is ignored" + (f"; did you mean {near[0]}?" if near else ""))
        except (TypeError, ValueError) as error:
            warn(f"{where}: ignored: {error}")
        else:
            usable[name] = value
    return usable
