"""A Messages request → a chat-completions request.

Knows: the top-level fields and their limits. The rest has a module each: messages, media, tools, schema, reasoning, structured, cache.
Must not know: how the request is sent.
Invariants: the body is built from an allow-list, so nothing unknown leaks upstream; `extra_body` comes last; what could not be
carried stands in `Prepared.degraded`.
"""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.messages.types import Call, Prepared
from a2py.wires.chat import cache, messages, reasoning, structured, tools
from a2py.wires.common.draft import Draft, prepared
from a2py.wires.common.headers import headers, url
from a2py.wires.common.limits import finish, output_limit, sampling


def _stop(draft: Draft) -> None:
    """As many stops as are taken go upstream; all of them are applied here, too."""
    if draft.stops and draft.quirks.stop_limit:
        draft.body["stop"] = list(draft.stops[: draft.quirks.stop_limit])
        draft.added.add("stop")


def prepare(call: Call, dep: Deployment, stream: bool) -> Prepared:
    """Return the request that asks `dep` for `call`."""
    draft = Draft(call, dep, stream)
    q = dep.quirks
    draft.body["model"] = dep.model
    draft.body["messages"] = messages.build(draft)
    tools.add(draft)
    want = reasoning.ask(draft)
    draft.body[q.max_tokens_field] = output_limit(draft, want)
    draft.added.add("max_tokens")
    sampling(draft)
    _stop(draft)
    structured.add(draft)
    cache.add(draft)
    if draft.stream:
        draft.body["stream"] = True
        if q.stream_usage:
            draft.body["stream_options"] = {"include_usage": True}
            draft.added.add("stream_options")
    finish(draft)
    return prepared(draft, url(dep, "/chat/completions"), headers(dep, draft.stream, call.session))
