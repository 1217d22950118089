"""Top-level fields of both OpenAI wires: output limit, sampling, structured output, the cache's key.

Knows: the limits that a configuration, a row or a lesson may set, and which form of structured output a server takes.
Must not know: what a wire calls its output limit, where it has room for a rule.
Invariants: a field that the server does not take is named as lost, never sent.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.slices import Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import Want
from a2py.wires.common.paths import drop
from a2py.wires.common.schema import schema_of, stepped, strict
from a2py.wires.common.text import dumps

#: Anthropic's service_tier → OpenAI's.
TIERS = {"auto": "auto", "standard_only": "default"}
#: Request fields that mean nothing on these wires, and whose loss the client should know.
LOST = ("compaction", "container", "inference_geo", "speed", "task_budget", "thread")
#: Values of Quirks.cache that know `prompt_cache_key`.
KEYED = frozenset({"key", "keyed_blocks", "breakpoint"})
#: Names under which a configuration sets an output limit.
PRESETS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def output_limit(draft: Draft, want: Want) -> int:
    """Return the output tokens to ask for. A limit too small for a model that always reasons is raised (`min_tokens`); every known maximum
    lowers it."""
    q, dep = draft.quirks, draft.dep
    limit = draft.request.max_tokens
    if q.min_tokens and want.mode == "off":
        limit = max(limit, q.min_tokens)
    known = [q.max_tokens_limit, dep.max_output_tokens, *(dep.params.get(name) for name in PRESETS)]
    return min([limit, *(most for most in known if isinstance(most, int) and most > 0)])


def sampling(draft: Draft) -> None:
    """Write temperature, top_p, top_k and service_tier where they are taken. Note the stops that the decoder applies."""
    q, body = draft.quirks, draft.request.body
    for name in ("temperature", "top_p", "top_k"):
        value = body.get(name)
        if value is None:
            value = draft.dep.params.get(name)
        if value is None:
            continue
        if name not in q.sampling:
            draft.lose(name)
            continue
        draft.body[name] = max(q.temperature_min, min(value, q.temperature_max)) if name == "temperature" else value
        draft.added.add(name)
    draft.stops = tuple(filter(None, body.get("stop_sequences") or ()))
    tier = TIERS.get(body.get("service_tier") or "")
    if tier and q.service_tier:
        draft.body["service_tier"] = tier
        draft.added.add("service_tier")


def structured_form(draft: Draft) -> str:
    """Return the form that the reply's schema will have, one of Quirks.structured; "" if the client gave no schema. `tools` must be in the
    body by now."""
    if schema_of(draft.request.body) is None:
        return ""
    q = draft.quirks
    return q.structured if q.structured_with_tools or not draft.body.get("tools") else "none"


def structured(draft: Draft) -> tuple[JSON | None, str]:
    """Return the format of the reply as Responses writes it, and a rule for the prompt. None and "" if there is none.

    A JSON schema constrains the reply by itself. For a server that has no schemas the rule says it in words."""
    schema = schema_of(draft.request.body)
    if schema is None:
        return None, ""
    form = structured_form(draft)
    if form == "none":
        draft.lose("output_format")
    else:
        draft.added.add("response_format")
    if form == "json_schema":
        schema = stepped(schema, draft.quirks.schema)
        return {"type": "json_schema", "name": "output", "schema": schema, "strict": strict(schema)}, ""
    rule = f"Reply with one JSON object and nothing else. It must be valid against this JSON schema:\n{dumps(schema)}"
    return ({"type": "json_object"} if form == "json_object" else None), rule


def cache_key(draft: Draft) -> None:
    """Write the client's session as `prompt_cache_key` where that is known."""
    if draft.quirks.cache in KEYED and draft.call.session:
        draft.body["prompt_cache_key"] = draft.call.session[:64]
        draft.added.add("prompt_cache_key")


def finish(draft: Draft) -> Slices[None]:
    """Give a body its last touches: name the losses, drop the fields that the configuration drops, add its `extra_body`."""
    body = draft.request.body
    for name in LOST:
        if body.get(name) or (body.get("output_config") or {}).get(name):
            draft.lose(name)
    for name in draft.dep.drop:
        yield from drop(draft.body, name)
    draft.body.update(draft.dep.extra_body)
