"""Top-level fields of both OpenAI wires: output limit, sampling, structured output, the cache's key.

Knows: the limits that a configuration, a provider's row or a lesson may set, and which form of structured output a
server takes.
Must not know: what a wire calls its output limit, where it puts a rule.
Invariants: a field that the server does not take is reported as lost, never sent.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.slices import Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import Want
from a2py.wires.common.paths import delete_field
from a2py.wires.common.schema import apply_steps, find_schema, is_strict
from a2py.wires.common.text import dumps

#: Anthropic's service_tier → OpenAI's.
TIERS = {"auto": "auto", "standard_only": "default"}
#: Request fields that these wires cannot translate, and whose loss is reported to the client.
REPORTED_FIELDS = ("compaction", "container", "context_management", "inference_geo", "speed", "task_budget")
#: Fields in which a request asks for reasoning, in all dialects.
REASONING = (
    "reasoning_effort",
    "reasoning",
    "thinking",
    "enable_thinking",
    "thinking_budget",
    "chat_template_kwargs",
    "think",
    "reasoning_split",
)
#: Most cache marks in one request: Anthropic and OpenAI (gpt-5.6) accept four (2026-10).
BREAKPOINTS = 4
#: Values of Quirks.cache with which `prompt_cache_key` is sent.
KEY_MODES = frozenset({"key", "keyed_blocks", "breakpoint"})


def output_limit(draft: Draft, want: Want) -> int:
    """Return the output tokens to ask for: the client's number, raised if it is too small for a model that always
    reasons (`min_tokens`), and lowered to the smallest maximum that is known."""
    floor = draft.quirks.min_tokens if want.mode == "off" else 0
    return draft.lower_to_maximum(max(draft.request.max_tokens, floor))


def write_limit(draft: Draft, name: str, limit: int) -> None:
    """Write the output limit as the field `name`. "": the server takes no limit, and its loss is reported."""
    if not name:
        draft.lose("max_tokens")
        return
    draft.body[name] = limit
    draft.added_fields.add("max_tokens")


def write_sampling(draft: Draft) -> None:
    """Write temperature, top_p, top_k and service_tier if the server takes them. Note the stop sequences for the
    decoder."""
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
        draft.added_fields.add(name)
    draft.stops = tuple(filter(None, body.get("stop_sequences") or ()))
    tier = TIERS.get(body.get("service_tier") or "")
    if tier and q.service_tier:
        draft.body["service_tier"] = tier
        draft.added_fields.add("service_tier")
    elif body.get("service_tier"):
        draft.lose("service_tier")


def pick_format(draft: Draft) -> str:
    """Return how the reply's schema is sent, one of Quirks.structured; "" if the client gave no schema. `tools` must be
    in the body."""
    if find_schema(draft.request.body) is None:
        return ""
    q = draft.quirks
    return q.structured if q.structured_with_tools or not draft.body.get("tools") else "none"


def build_format(draft: Draft) -> tuple[JSON | None, str]:
    """Return the format of the reply as Responses writes it, and a rule for the prompt. None and "" mean that there is
    none.

    A server that takes a JSON schema enforces it. For others the rule tells the model what to write."""
    schema = find_schema(draft.request.body)
    if schema is None:
        return None, ""
    form = pick_format(draft)
    if form == "none":
        draft.lose("output_format")
    else:
        draft.added_fields.add("response_format")
    if form == "json_schema":
        schema = apply_steps(schema, draft.quirks.schema)
        return {"type": "json_schema", "name": "output", "schema": schema, "strict": is_strict(schema)}, ""
    rule = f"Reply with one JSON object and nothing else. It must be valid against this JSON schema:\n{dumps(schema)}"
    return ({"type": "json_object"} if form == "json_object" else None), rule


def write_cache_key(draft: Draft) -> None:
    """Write the client's session as `prompt_cache_key` if the server takes it."""
    if draft.quirks.cache in KEY_MODES and draft.call.session:
        draft.body["prompt_cache_key"] = draft.call.session[:64]
        draft.added_fields.add("prompt_cache_key")


def finish(draft: Draft) -> Slices[None]:
    """Report lost fields, then apply the configuration: delete the fields that it drops, and add its `extra_body`."""
    body = draft.request.body
    for name in REPORTED_FIELDS:
        if body.get(name) or (body.get("output_config") or {}).get(name):
            draft.lose(name)
    for name in draft.dep.drop:
        yield from delete_field(draft.body, name)
    draft.body.update(draft.dep.extra_body)
