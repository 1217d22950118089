"""From what is known of a deployment to its quirks.

The layers, the weakest first: the common subset, the model family's rows, the host's row, the server's own word,
replies, refusals, the file. Replies and refusals come during the run (proxy/lessons.py) and respect `Deployment.fixed`;
the others are put together here.

Knows: the layers. Must not know: files, requests, time.
Invariants: total: any model at any address gets quirks; each quirk that is not the common subset has a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from a2py.deployment import Deployment
from a2py.evidence import fact
from a2py.evidence.fact import Facts
from a2py.evidence.server import ServerWord
from a2py.providers import layers_for, row_is_guess
from a2py.quirks import Quirks, override

#: Quirk → value, for each pattern of `a2py: quirks`.
Patterns = Mapping[str, Mapping[str, Any]]

#: allowed_openai_params → the quirks that send the field after all. A quirk that has a value of its own already (a
#: word, a limit) keeps it.
_CHANGES: dict[str, dict[str, Any]] = {
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


def resolve(deployment: Deployment, patterns: Patterns, word: ServerWord | None, date: str = "") -> Facts:
    """Return what is known of `deployment` before anything was asked. `patterns`: `a2py: quirks`, checked at load;
    `word`: what its server says of itself, learned on `date`."""
    model = deployment.base_model.rpartition("/")[2] or deployment.model
    is_needed = word is not None and bool(word.program) and row_is_guess(deployment.provider, deployment.base)
    server = word if is_needed else None
    facts: Facts = {}
    for layer in layers_for(deployment.provider, deployment.base, model, server.row if server else None):
        if server is not None and layer.source == "host":
            fact.add(facts, layer.quirks, "server", f"it is {server.program}: {server.reason}", date)
        else:
            fact.add(facts, layer.quirks, layer.source, layer.reason)
    if server is not None and not server.has_vision:
        fact.add(
            facts, {"images": False}, "server", f"it is {server.program}, and says that its model has no vision", date
        )
    _add_configuration(facts, deployment, patterns)
    if "reasoning" not in facts and row_is_guess(deployment.provider, deployment.base):
        fact.add(facts, {"reasoning_unknown": True}, "common", "nobody says whether this model reasons")
    return facts


def quirks_of(facts: Facts) -> Quirks:
    return override(Quirks(), fact.values(facts))


def apply_evidence(deployment: Deployment, patterns: Patterns, word: ServerWord | None) -> Deployment:
    """Return `deployment` with the quirks that `resolve` gives, with the context that its server names, unless the
    configuration has named one, and with the server's slots."""
    facts = resolve(deployment, patterns, word)
    context = deployment.max_input_tokens or (word.context(deployment.model) if word is not None else 0)
    slots = word.slots if word is not None else 0
    return replace(
        deployment,
        quirks=quirks_of(facts),
        fixed_quirks=fact.find_fixed_quirks(facts),
        max_input_tokens=context,
        slots=slots,
    )


def _add_configuration(facts: Facts, deployment: Deployment, patterns: Patterns) -> None:
    """Add what the configuration says: allowed_openai_params, then `a2py: quirks` by pattern, then the entry's own."""
    for name in sorted(deployment.allow):
        fact.add(facts, _find_changes(name, quirks_of(facts)), "file", f"allowed_openai_params of {deployment.name}")
    names = {deployment.name, deployment.id, f"{deployment.provider}/{deployment.model}", deployment.model}
    for pattern, changes in patterns.items():
        if any(name == pattern or fnmatchcase(name, pattern) for name in names):
            fact.add(facts, changes, "file", f"a2py.quirks.{pattern}")
    place = f"model_info of {deployment.name}" + (f", {deployment.source}" if deployment.source else "")
    fact.add(facts, deployment.overrides, "file", place)


def _find_changes(name: str, quirks: Quirks) -> dict[str, Any]:
    if name in ("temperature", "top_p", "top_k"):
        return {"sampling": quirks.sampling | {name}}
    changes = _CHANGES.get(name, {})
    return {quirk: value for quirk, value in changes.items() if getattr(quirks, quirk) in (False, 0, "none", "")}
