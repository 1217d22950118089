"""A Messages request → the same request for an upstream that speaks Anthropic.

Knows: what a2py sets itself (model name, credentials), and the deployment's defaults and limits. History, tools and
removals have a module each.
Must not know: which vendor rejects what (quirks).
Invariants: a field that is not named here keeps its value; the client's own objects are not changed; `extra_body` comes
last. A request without `max_tokens` is a count_tokens request: it gets no defaults and no extra_body.
"""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.messages.types import Call, Prepared
from a2py.quirks import EFFORTS as KNOWN_EFFORTS
from a2py.slices import Slices
from a2py.wires.common import headers as common
from a2py.wires.common import threads
from a2py.wires.common.draft import Draft, make_prepared
from a2py.wires.common.effort import always_reasons, nearest_effort
from a2py.wires.common.paths import change_at, parse_path, set_ttl
from a2py.wires.common.text import blocks, wants_citations
from a2py.wires.native import history, tools
from a2py.wires.native.strip import LEAST_BUDGET, strip

#: The `anthropic-version` that every vendor accepts. Only Anthropic itself gets the client's own.
VERSION = "2023-06-01"
#: `litellm_params` that are Messages fields: defaults for fields that the client left out.
DEFAULTS = ("temperature", "top_p", "top_k", "stop_sequences", "service_tier", "metadata", "thinking")
#: Anthropic's effort words, weakest first.
EFFORTS = ("low", "medium", "high", "xhigh", "max")
#: Fields that are reported in `degraded` when they are dropped. Dropping others changes nothing for the client.
REPORTED_FIELDS = (
    "container",
    "context_management",
    "fallbacks",
    "inference_geo",
    "mcp_servers",
    "service_tier",
    "speed",
    "task_budget",
    "thinking",
)
#: Path of the citations that a client wants, for `Quirks.native_drop`.
CITATIONS = "messages.content.citations"
#: Paths at which cache_control may be.
CACHE_MARKS = tuple(
    parse_path(path)
    for path in (
        "cache_control",
        "system.cache_control",
        "tools.cache_control",
        "messages.content.cache_control",
        "messages.content.content.cache_control",
    )
)


def url(dep: Deployment) -> str:
    """Return `base` + /v1/messages. A base that already ends in /v1 or /v1/messages gets only the rest."""
    base = dep.base.rstrip("/")
    endings = (("/v1/messages", ""), ("/v1", "/messages"))
    path = next((rest for ending, rest in endings if base.endswith(ending)), "/v1/messages")
    return common.build_url(dep, path)


def headers(call: Call, dep: Deployment, stream: bool) -> dict[str, str]:
    """Return the headers. Only Anthropic itself gets the client's betas: others reject those that they do not know."""
    out = common.build_headers(dep, stream)
    is_anthropic = dep.quirks.native_betas == "all"
    out.setdefault("anthropic-version", call.version if is_anthropic else VERSION)
    own = [beta.strip() for beta in out.get("anthropic-beta", "").split(",")]
    betas = list(dict.fromkeys(filter(None, [*own, *(call.betas if is_anthropic else ())])))
    if betas:
        out["anthropic-beta"] = ",".join(betas)
    return out


def _set_defaults(draft: Draft) -> None:
    """Set the fields of the configuration that the client left out."""
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


def _thinking_floor(draft: Draft) -> int:
    """Return the least `max_tokens` for a model that thinks although thinking is disabled; 0: no floor.

    Claude Code's check asks for 64 tokens without thinking (2.1.332). Such a model would spend them all on thinking."""
    thinking, floor = draft.body.get("thinking"), draft.quirks.min_tokens
    if not floor or not isinstance(thinking, dict) or thinking.get("type") != "disabled":
        return 0
    if always_reasons(draft.quirks):  # Kimi: 400 "only type=enabled is allowed" (2026-06)
        del draft.body["thinking"]
    return floor


def _raise_budget(draft: Draft) -> None:
    """Raise a thinking budget below what the API takes, unless `max_tokens` leaves no room for that.

    "budget_tokens: Input should be greater than or equal to 1024" (Anthropic and those that imitate it,
    maximhq/bifrost#1479, tingly-dev/tingly-box#569, 2026-03)."""
    thinking, limit = draft.body.get("thinking"), draft.request.max_tokens
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if (
        isinstance(thinking, dict)
        and isinstance(budget, int)
        and budget < LEAST_BUDGET
        and not 0 < limit <= LEAST_BUDGET
    ):
        draft.body["thinking"] = {**thinking, "budget_tokens": LEAST_BUDGET}


def _limit_tokens(draft: Draft, floor: int) -> None:
    """Lower `max_tokens` to the smallest limit that is known, or raise it to `floor`."""
    body = draft.body
    limit = draft.lower_to_maximum(max(draft.request.max_tokens, floor))
    draft.added_fields.add("max_tokens")
    if limit == draft.request.max_tokens:
        return
    body["max_tokens"] = limit
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if isinstance(thinking, dict) and isinstance(budget, int) and budget >= limit:  # Anthropic wants it below
        body["thinking"] = {**thinking, "budget_tokens": limit - 1} if limit > LEAST_BUDGET else {"type": "disabled"}


def _drop_sampling(draft: Draft) -> None:
    """Remove the sampling fields that this upstream has rejected (`Quirks.sampling`)."""
    for name in ("temperature", "top_p"):
        if name in draft.body and name not in draft.quirks.sampling:
            del draft.body[name]
            draft.lose(name)


def _dropped_names(dep: Deployment) -> frozenset[str]:
    """Return what is removed for this deployment: paths, and members of `SPECIAL` (strip.py)."""
    drop = dep.quirks.native_drop
    if dep.quirks.native_betas != "all":
        drop |= {"system.billing_header"}
    if dep.quirks.mid_system != "inline":
        drop |= {"messages.system_role"}
    return drop


def _report_losses(draft: Draft, drop: frozenset[str]) -> None:
    """Report the fields of the request that are dropped and change what the reply is."""
    body = draft.body
    if "output_config.effort" in drop and (body.get("output_config") or {}).get("effort"):
        draft.lose("effort")
    for name in REPORTED_FIELDS:
        if name in drop and body.get(name):
            draft.lose(name)
    if CITATIONS in drop and any(
        wants_citations(block) for message in body["messages"] for block in blocks(message["content"])
    ):
        draft.lose("citations")


def prepare_in_slices(call: Call, dep: Deployment, stream: bool) -> Slices[Prepared]:
    """Return the request that sends `call` to `dep`."""
    threads.check(call.request, dep)
    draft = Draft(call, dep, stream)
    body = draft.body = {**call.request.body, "model": dep.model}
    is_count = not call.request.max_tokens
    if draft.stream and not is_count:
        body["stream"] = True
    elif body.get("stream"):
        body["stream"] = False
    if not is_count:
        _set_defaults(draft)
    drop = _dropped_names(dep)
    _report_losses(draft, drop)
    tools.drop_unsupported(draft, drop)
    tools.resolve_forced_choice(draft)
    tools.rename_thinking_type(draft)
    yield
    yield from strip(body, drop - history.NAMES - tools.NAMES)
    floor = _thinking_floor(draft)
    yield from history.build(draft)
    yield
    _raise_budget(draft)
    if not is_count:
        _limit_tokens(draft, floor)
        _drop_sampling(draft)
    if "thinking" in body:
        draft.added_fields.add("thinking")
    yield from strip(body, dep.drop)
    if dep.cache_control_ttl:
        for path in CACHE_MARKS:
            body = yield from change_at(body, path, lambda mark: set_ttl(mark, dep.cache_control_ttl))
    if not is_count:
        body.update(dep.extra_body)
    draft.body = body
    return make_prepared(draft, url(dep), headers(call, dep, draft.stream))
