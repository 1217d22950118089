"""A Messages request → the same request for an upstream that speaks Anthropic.

Knows: what of a request is a2py's own (model name, credentials), and the deployment's defaults and limits. The rest has a module each:
history, tools, strip.
Must not know: which vendor refuses what (quirks say it).
Invariants: what is not named here goes through value-identical; nothing of the client's own objects is changed; `extra_body` comes last.
A request without `max_tokens` is a count: it gets no defaults and no extra_body.
"""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.messages.types import Call, Prepared
from a2py.quirks import EFFORTS as KNOWN_EFFORTS
from a2py.slices import Slices
from a2py.wires.common import headers as common
from a2py.wires.common.draft import Draft, make_prepared
from a2py.wires.common.effort import always_reasons, nearest_effort
from a2py.wires.common.paths import change_at, parse_path, set_ttl
from a2py.wires.native import history, tools
from a2py.wires.native.strip import strip

#: The version that every vendor knows; only Anthropic itself is told the client's own.
VERSION = "2023-06-01"
#: `litellm_params` that are Messages fields: defaults for what the client left out.
DEFAULTS = ("temperature", "top_p", "top_k", "stop_sequences", "service_tier", "metadata", "thinking")
#: Anthropic's effort words, weakest first.
EFFORTS = ("low", "medium", "high", "xhigh", "max")
#: Dropped fields whose loss the client should know.
LOST = ("container", "fallbacks", "inference_geo", "mcp_servers", "speed", "task_budget", "thinking")
#: Where cache_control may stand.
MARKS = tuple(
    parse_path(path)
    for path in (
        "cache_control",
        "system.cache_control",
        "tools.cache_control",
        "messages.content.cache_control",
        "messages.content.content.cache_control",
    )
)
#: Smallest thinking budget that Anthropic takes.
BUDGET = 1024


def url(dep: Deployment) -> str:
    """`base` + /v1/messages; a base that ends in /v1 or /v1/messages is taken as it is meant."""
    base = dep.base.rstrip("/")
    path = next((rest for end, rest in (("/v1/messages", ""), ("/v1", "/messages")) if base.endswith(end)), "/v1/messages")
    return common.build_url(dep, path)


def headers(call: Call, dep: Deployment, stream: bool) -> dict[str, str]:
    out = common.build_headers(dep, stream)
    genuine = dep.quirks.native_betas == "all"
    out.setdefault("anthropic-version", call.version if genuine else VERSION)
    own = [beta.strip() for beta in out.get("anthropic-beta", "").split(",")]
    betas = list(dict.fromkeys(filter(None, [*own, *(call.betas if genuine else ())])))
    if betas:
        out["anthropic-beta"] = ",".join(betas)
    return out


def _defaults(draft: Draft) -> None:
    """The configuration's own fields, where the client says nothing of them."""
    body, params = draft.body, draft.dep.params
    for name in DEFAULTS:
        if body.get(name) is None and params.get(name) is not None:
            body[name] = params[name]
    effort = params.get("reasoning_effort")
    config = body.get("output_config") or {}
    thinking = body.get("thinking") or {}
    if effort not in KNOWN_EFFORTS or config.get("effort") or thinking.get("type") == "disabled":
        return
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
    else:
        body["output_config"] = {**config, "effort": nearest_effort(effort, EFFORTS)}


def _floor(draft: Draft) -> int:
    """Tokens that a request without thinking needs all the same where the model thinks: Claude Code's check asks for 64 (2.1.330)."""
    thinking, floor = draft.body.get("thinking"), draft.quirks.min_tokens
    if not floor or not isinstance(thinking, dict) or thinking.get("type") != "disabled":
        return 0
    if always_reasons(draft.quirks):  # Kimi: 400 "only type=enabled is allowed" (2026-06)
        del draft.body["thinking"]
    return floor


def _limits(draft: Draft, floor: int) -> None:
    body, dep = draft.body, draft.dep
    presets = [dep.params.get(name) for name in ("max_tokens", "max_completion_tokens")]
    known = [n for n in (*presets, draft.quirks.max_tokens_limit, dep.max_output_tokens) if isinstance(n, int) and n > 0]
    limit = min([max(draft.request.max_tokens, floor), *known])
    draft.added.add("max_tokens")
    if limit == draft.request.max_tokens:
        return
    body["max_tokens"] = limit
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if isinstance(thinking, dict) and isinstance(budget, int) and budget >= limit:  # it must stay below
        body["thinking"] = {**thinking, "budget_tokens": limit - 1} if limit > BUDGET else {"type": "disabled"}


def _sampling(draft: Draft) -> None:
    """What a refusal has taught about sampling."""
    for name in ("temperature", "top_p"):
        if name in draft.body and name not in draft.quirks.sampling:
            del draft.body[name]
            draft.lose(name)


def prepare_in_slices(call: Call, dep: Deployment, stream: bool) -> Slices[Prepared]:
    draft = Draft(call, dep, stream)
    body = draft.body = {**call.request.body, "model": dep.model}
    if draft.stream:
        body["stream"] = True
    elif body.get("stream"):
        body["stream"] = False
    counting = not call.request.max_tokens
    if not counting:
        _defaults(draft)
    drop = dep.quirks.native_drop
    if dep.quirks.native_betas != "all":
        drop |= {"system.billing_header"}
    if dep.quirks.mid_system != "inline":
        drop |= {"messages.system_role"}
    for name in LOST:
        if name in drop and body.get(name):
            draft.lose(name)
    tools.trim(draft, drop)
    tools.choose(draft)
    tools.switch(draft)
    yield
    yield from strip(body, drop - history.NAMES - tools.NAMES)
    floor = _floor(draft)
    yield from history.build(draft)
    yield
    if not counting:
        _limits(draft, floor)
        _sampling(draft)
    if "thinking" in body:
        draft.added.add("thinking")
    yield from strip(body, dep.drop)
    if dep.cache_control_ttl:
        for path in MARKS:
            body = yield from change_at(body, path, lambda mark: set_ttl(mark, dep.cache_control_ttl))
    if not counting:
        body.update(dep.extra_body)
    draft.body = body
    return make_prepared(draft, url(dep), headers(call, dep, draft.stream))
