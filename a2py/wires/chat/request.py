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
from a2py.slices import Slices
from a2py.wires.chat import cache, messages, reasoning, structured, tools
from a2py.wires.common.draft import Draft
from a2py.wires.common.limits import finish, output_limit, sampling
from a2py.wires.common.send import headers, url


def _stop(draft: Draft) -> None:
    """As many stops as are taken go upstream; all of them are applied here, too."""
    if draft.stops and draft.quirks.stop_limit:
        draft.body["stop"] = list(draft.stops[: draft.quirks.stop_limit])
        draft.added.add("stop")


def draft_body(call: Call, dep: Deployment, stream: bool) -> Slices[Draft]:
    """The body as a dict, in its draft; `prepare_in_slices` makes bytes of it."""
    draft = Draft(call, dep)
    q = dep.quirks
    draft.stream = stream
    draft.body["model"] = dep.model
    draft.body["messages"] = yield from messages.build(draft)
    yield from tools.add(draft)
    want = reasoning.ask(draft)
    draft.body[q.max_tokens_field] = output_limit(draft, want)
    draft.added.add("max_tokens")
    sampling(draft)
    _stop(draft)
    yield
    structured.add(draft)
    yield
    cache.add(draft)
    yield
    if stream:
        draft.body["stream"] = True
        if q.stream_usage:
            draft.body["stream_options"] = {"include_usage": True}
            draft.added.add("stream_options")
    yield from finish(draft)
    return draft


def prepare_in_slices(call: Call, dep: Deployment, stream: bool) -> Slices[Prepared]:
    stream = stream or dep.quirks.stream_only
    draft = yield from draft_body(call, dep, stream)
    yield
    return Prepared(
        url=url(dep, "/chat/completions"),
        headers=headers(dep, stream, call.session),
        body=jsontext.packed(draft.body),
        stream=stream,
        names=draft.names.back,
        stops=draft.stops,
        degraded=draft.degraded,
        added=frozenset(draft.added),
        think_tags=dep.quirks.think_tags,
        think_open=dep.quirks.think_open,
        provider=dep.provider,
        search=draft.search,
    )
