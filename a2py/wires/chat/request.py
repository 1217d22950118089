"""A Messages request → a chat-completions request.

Knows: the top-level fields and their limits. The rest has a module each: messages, media, tools, schema, reasoning, structured, cache.
Must not know: how the request is sent.
Invariants: the body is built from an allow-list, so nothing unknown leaks upstream; `extra_body` comes last; what could not be
carried stands in `Prepared.degraded`.
"""

from __future__ import annotations

from a2py import jsontext
from a2py.deployment import Deployment
from a2py.messages.types import Call, Prepared
from a2py.wires.chat import cache, messages, reasoning, structured, tools
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import Want
from a2py.wires.common.send import headers, url

#: Anthropic's service_tier → OpenAI's.
TIERS = {"auto": "auto", "standard_only": "default"}
#: Request fields that mean nothing on this wire, and whose loss the client should know.
LOST = ("container", "mcp_servers", "inference_geo", "speed", "task_budget")


def _limits(draft: Draft, want: Want) -> None:
    q, dep = draft.quirks, draft.dep
    limit = draft.request.max_tokens
    if q.min_tokens and want.mode == "off":
        limit = max(limit, q.min_tokens)
    for name in ("max_tokens", "max_completion_tokens"):
        preset = dep.params.get(name)
        if isinstance(preset, int) and preset > 0:
            limit = min(limit, preset)
    for known in (q.max_tokens_limit, dep.max_output_tokens):
        if known:
            limit = min(limit, known)
    draft.body[q.max_tokens_field] = limit
    draft.added.add("max_tokens")


def _sampling(draft: Draft) -> None:
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
        draft.body[name] = min(value, q.temperature_max) if name == "temperature" else value
        draft.added.add(name)
    stops = tuple(filter(None, body.get("stop_sequences") or ()))
    if stops:
        draft.stops = stops
        if q.stop_limit:
            draft.body["stop"] = list(stops[: q.stop_limit])
            draft.added.add("stop")
    tier = TIERS.get(body.get("service_tier") or "")
    if tier and q.service_tier:
        draft.body["service_tier"] = tier
        draft.added.add("service_tier")


def draft_body(call: Call, dep: Deployment, stream: bool) -> Draft:
    """The body as a dict, in its draft; `prepare` makes bytes of it."""
    draft = Draft(call, dep)
    q = dep.quirks
    draft.stream = stream
    draft.body["model"] = dep.model
    draft.body["messages"] = messages.build(draft)
    tools.add(draft)
    want = reasoning.ask(draft)
    _limits(draft, want)
    _sampling(draft)
    structured.add(draft)
    cache.add(draft)
    if stream:
        draft.body["stream"] = True
        if q.stream_usage:
            draft.body["stream_options"] = {"include_usage": True}
            draft.added.add("stream_options")
    for name in LOST:
        if call.request.body.get(name):
            draft.lose(name)
    for name in dep.drop:
        draft.body.pop(name, None)
    draft.body.update(dep.extra_body)
    return draft


def prepare(call: Call, dep: Deployment, stream: bool) -> Prepared:
    stream = stream or dep.quirks.stream_only
    draft = draft_body(call, dep, stream)
    return Prepared(
        url=url(dep, "/chat/completions"),
        headers=headers(dep, stream),
        body=jsontext.dumps(draft.body),
        stream=stream,
        names=draft.names.back,
        stops=draft.stops,
        degraded=draft.degraded,
        added=frozenset(draft.added),
        think_tags=dep.quirks.think_tags,
        think_open=dep.quirks.think_open,
        provider=dep.provider,
    )
