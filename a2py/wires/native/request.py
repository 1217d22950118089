"""A Messages request → the same request for an upstream that speaks Anthropic.

Knows: what of a request is a2py's own (model name, credentials, signatures, tool ids), and the deployment's defaults and limits.
Must not know: which vendor refuses what (quirks say it).
Invariants: what is not named here goes through value-identical; nothing of the client's own objects is changed; `extra_body` comes last.
A request without `max_tokens` is a count: it gets no defaults and no extra_body.
"""

from __future__ import annotations

from typing import Any

from a2py import jsontext
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages import envelope, ids
from a2py.messages.types import JSON, Call, Prepared
from a2py.quirks import EFFORTS as KNOWN_EFFORTS
from a2py.wires.common import send
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import nearest
from a2py.wires.common.paths import changed, lasting, mapped, steps
from a2py.wires.native.strip import joined, strip

#: The version that every vendor knows; only Anthropic itself is told the client's own.
VERSION = "2023-06-01"
#: `litellm_params` that are Messages fields: defaults for what the client left out.
DEFAULTS = ("temperature", "top_p", "top_k", "stop_sequences", "service_tier", "metadata", "thinking")
#: Anthropic's effort words, weakest first.
EFFORTS = ("low", "medium", "high", "xhigh", "max")
#: Dropped fields whose loss the client should know.
LOST = ("container", "fallbacks", "inference_geo", "mcp_servers", "speed", "task_budget")
#: Where cache_control may stand.
MARKS = tuple(
    steps(path)
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
    return send.url(dep, path)


def headers(call: Call, dep: Deployment, stream: bool) -> dict[str, str]:
    out = send.headers(dep, stream)
    genuine = dep.quirks.native_betas == "all"
    out.setdefault("anthropic-version", call.version if genuine else VERSION)
    own = [beta.strip() for beta in out.get("anthropic-beta", "").split(",")]
    betas = list(dict.fromkeys(filter(None, [*own, *(call.betas if genuine else ())])))
    if betas:
        out["anthropic-beta"] = ",".join(betas)
    return out


def _block(block: Any, keep_ids: bool) -> Any:
    """A block of the history with the upstream's own tool id."""
    name = "id" if block["type"] == "tool_use" else "tool_use_id" if block["type"] == "tool_result" else ""
    if not name or keep_ids:
        return block
    id = ids.original(block[name])
    return block if id == block[name] else {**block, name: id}


def _ours(block: Any) -> bool:
    return bool(block["type"] == "thinking" and envelope.ours(block.get("signature")))


def _history(draft: Draft) -> None:
    """Thinking that another wire signed is left out whole, and a turn that held nothing else with it."""
    keep_ids = draft.quirks.tool_ids == "keep"
    out: list[JSON] = []
    emptied = False
    for message in draft.body["messages"]:
        content = message["content"]
        if not isinstance(content, list):
            out.append(message)
            continue
        rest = content
        if message["role"] == "assistant" and any(map(_ours, content)):
            rest = [block for block in content if not _ours(block)]
            if not rest:
                emptied = True
                continue
        rest = mapped(rest, lambda block: _block(block, keep_ids))
        out.append(message if rest is content else {**message, "content": rest})
    if not out:
        raise ApiError("invalid_request", "messages: nothing is left of them but thinking of another model")
    draft.body["messages"] = joined(out) if emptied else out
    _in_a_tool_loop(draft)


def _in_a_tool_loop(draft: Draft) -> None:
    """With `thinking: enabled` Anthropic wants the turn whose calls are being answered to begin with thinking. Where that was another
    model's, this one answers without."""
    thinking = draft.body.get("thinking")
    turns = [message for message in draft.body["messages"] if message["role"] == "assistant"]
    if not turns or not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return
    last = draft.body["messages"][-1]["content"]
    answers = isinstance(last, list) and any(block["type"] == "tool_result" for block in last)
    asked = [message for message in draft.request.messages if message["role"] == "assistant"][-1]["content"]
    blocks = turns[-1]["content"]
    begins = isinstance(blocks, list) and bool(blocks) and blocks[0]["type"] in ("thinking", "redacted_thinking")
    if answers and not begins and isinstance(asked, list) and any(map(_ours, asked)):
        draft.body["thinking"] = {"type": "disabled"}
        draft.lose("thinking")


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
        body["output_config"] = {**config, "effort": nearest(effort, EFFORTS)}


def _limits(draft: Draft) -> None:
    body, dep = draft.body, draft.dep
    presets = [dep.params.get(name) for name in ("max_tokens", "max_completion_tokens")]
    known = [n for n in (*presets, draft.quirks.max_tokens_limit, dep.max_output_tokens) if isinstance(n, int) and n > 0]
    limit = min([draft.request.max_tokens, *known])
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


def prepare(call: Call, dep: Deployment, stream: bool) -> Prepared:
    draft = Draft(call, dep)
    body = draft.body = {**call.request.body, "model": dep.model}
    stream = stream or dep.quirks.stream_only
    if stream:
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
    strip(body, drop)
    _history(draft)
    if not counting:
        _limits(draft)
        _sampling(draft)
    strip(body, dep.drop)
    if dep.cache_control_ttl:
        for path in MARKS:
            body = changed(body, path, lambda mark: lasting(mark, dep.cache_control_ttl))
    if not counting:
        body.update(dep.extra_body)
    return Prepared(
        url=url(dep),
        headers=headers(call, dep, stream),
        body=jsontext.packed(body),
        stream=stream,
        degraded=draft.degraded,
        added=frozenset(draft.added),
        provider=dep.provider,
    )
