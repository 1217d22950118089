"""Output limit, sampling, stops and the cache's key: what both OpenAI wires make of Anthropic's top-level fields.

Knows: the limits that a configuration, a row or a lesson may set. Must not know: what a wire calls its output limit.
Invariants: what is not taken is named as lost, never sent.
"""

from __future__ import annotations

from a2py.slices import Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import Want
from a2py.wires.common.paths import drop

#: Anthropic's service_tier → OpenAI's.
TIERS = {"auto": "auto", "standard_only": "default"}
#: Request fields that mean nothing on these wires, and whose loss the client should know.
LOST = ("compaction", "container", "inference_geo", "speed", "task_budget", "thread")
#: Values of Quirks.cache that know `prompt_cache_key`.
KEYED = frozenset({"key", "keyed_blocks", "breakpoint"})
#: Names under which a configuration sets an output limit.
PRESETS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def output_limit(draft: Draft, want: Want) -> int:
    """Output tokens to ask for. A limit too small for a model that always reasons is raised (`min_tokens`), every known maximum clamps."""
    q, dep = draft.quirks, draft.dep
    limit = draft.request.max_tokens
    if q.min_tokens and want.mode == "off":
        limit = max(limit, q.min_tokens)
    known = [q.max_tokens_limit, dep.max_output_tokens, *(dep.params.get(name) for name in PRESETS)]
    return min([limit, *(most for most in known if isinstance(most, int) and most > 0)])


def sampling(draft: Draft) -> None:
    """temperature, top_p, top_k and service_tier, each where it is taken; the stops that the decoder applies."""
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


def key(draft: Draft) -> None:
    """The client's session as `prompt_cache_key`, where that is known."""
    if draft.quirks.cache in KEYED and draft.call.session:
        draft.body["prompt_cache_key"] = draft.call.session[:64]
        draft.added.add("prompt_cache_key")


def finish(draft: Draft) -> Slices[None]:
    """The last touches of every body: losses named, fields that the configuration drops, its `extra_body`."""
    body = draft.request.body
    for name in LOST:
        if body.get(name) or (body.get("output_config") or {}).get(name):
            draft.lose(name)
    for name in draft.dep.drop:
        yield from drop(draft.body, name)
    draft.body.update(draft.dep.extra_body)
