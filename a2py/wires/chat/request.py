"""A Messages request → a chat-completions request.

Knows: the top-level fields, structured output, and the three ways in which a server is told what to cache. Messages, tools and reasoning
have a module each; what Responses shares is in wires/openai.
Must not know: how the request is sent.
Invariants: the body is built from an allow-list, so nothing unknown leaks upstream; `extra_body` comes last; what could not be
carried is named in `Prepared.degraded`; cache_control goes only to rows that know it, at most BREAKPOINTS times.
"""

from __future__ import annotations

from typing import Any

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call, Prepared
from a2py.slices import Slices
from a2py.wires.chat import messages, reasoning, tools
from a2py.wires.chat.messages import MARKED
from a2py.wires.common.draft import Draft, prepared
from a2py.wires.common.headers import headers, url
from a2py.wires.common.paths import lasting
from a2py.wires.common.text import system_texts
from a2py.wires.openai import fields
from a2py.wires.openai.turns import JOINT

#: Cache marks of one request: Anthropic and OpenAI (gpt-5.6) take four.
BREAKPOINTS = 4


def prepare_in_slices(call: Call, dep: Deployment, stream: bool) -> Slices[Prepared]:
    """Make the request that asks `dep` for `call`."""
    draft = Draft(call, dep, stream)
    q = dep.quirks
    draft.body["model"] = dep.model
    draft.body["messages"] = yield from messages.build(draft)
    yield from tools.add(draft)
    want = reasoning.ask(draft)
    draft.body[q.max_tokens_field] = fields.output_limit(draft, want)
    draft.added.add("max_tokens")
    fields.sampling(draft)
    _stop(draft)
    yield
    _structured(draft)
    yield
    fields.cache_key(draft)
    if q.cache in MARKED:
        _marks(draft)
        yield
    if draft.stream:
        draft.body["stream"] = True
        if q.stream_usage:
            draft.body["stream_options"] = {"include_usage": True}
            draft.added.add("stream_options")
    yield from fields.finish(draft)
    yield
    return prepared(draft, url(dep, "/chat/completions"), headers(dep, draft.stream, call.session))


def _stop(draft: Draft) -> None:
    """Send as many stops as are taken. The decoder applies all of them, too."""
    if draft.stops and draft.quirks.stop_limit:
        draft.body["stop"] = list(draft.stops[: draft.quirks.stop_limit])
        draft.added.add("stop")


# -- structured output ---------------------------------------------------------------------------------------------------


def _structured(draft: Draft) -> None:
    """Write `response_format`, or the rule into the system message."""
    form, rule = fields.structured(draft)
    if form is not None and "schema" in form:
        spec = {name: value for name, value in form.items() if name != "type" and value is not False}
        draft.body["response_format"] = {"type": "json_schema", "json_schema": spec}
    elif form is not None:
        draft.body["response_format"] = form
    if rule:
        _rule(draft, rule)


def _rule(draft: Draft, rule: str) -> None:
    messages = draft.body["messages"]
    first = messages[0]
    if first["role"] == draft.quirks.system_role and isinstance(first["content"], str):
        messages[0] = {**first, "content": f"{first['content']}\n\n{rule}"}
    elif draft.quirks.system_as_user and first["role"] == "user":
        content = first["content"]
        joined = f"{rule}\n\n{content}" if isinstance(content, str) else [{"type": "text", "text": rule}, *content]
        messages[0] = {**first, "content": joined}
    elif draft.quirks.system_as_user:
        messages.insert(0, {"role": "user", "content": rule})
    else:
        messages.insert(0, {"role": draft.quirks.system_role, "content": rule})


# -- prompt caching ------------------------------------------------------------------------------------------------------


def _marks(draft: Draft) -> None:
    """Cut the leading system message into parts that end at the marks of the system blocks, then keep the last BREAKPOINTS.
    A mark of the whole request (`cache_control` beside `messages`) means its end."""
    messages = draft.body["messages"]
    whole, last = draft.request.body.get("cache_control"), messages[-1]
    if isinstance(whole, dict) and last["content"]:
        content: list[JSON] = [{"type": "text", "text": last["content"]}] if isinstance(last["content"], str) else last["content"]
        content[-1].setdefault("cache_control", whole)
        messages[-1] = {**last, "content": content}
    if draft.request.system and messages[0]["role"] == draft.quirks.system_role and isinstance(messages[0]["content"], str):
        messages[0] = {**messages[0], "content": _cut(draft.request.system, messages[0]["content"])}
    parts: list[JSON] = [
        part for message in messages if isinstance(message.get("content"), list) for part in message["content"] if "cache_control" in part
    ]
    for part in parts[:-BREAKPOINTS]:
        del part["cache_control"]
    for part in parts[-BREAKPOINTS:]:
        part["cache_control"] = lasting(part["cache_control"], draft.dep.cache_control_ttl)
    if draft.quirks.cache == "breakpoint":
        for part in parts[-BREAKPOINTS:]:
            del part["cache_control"]
            part["prompt_cache_breakpoint"] = {"mode": "explicit"}


def _cut(system: list[JSON], whole: str) -> Any:
    """Return `whole` (the joined texts of `system`, and whatever was added after them) as parts; `whole` itself if nothing is marked."""
    parts: list[JSON] = []
    at = end = 0
    for block in system:
        for text in system_texts([block]):
            end += len(text) + (len(JOINT) if end else 0)
            if isinstance(block.get("cache_control"), dict):
                parts.append({"type": "text", "text": whole[at:end], "cache_control": block["cache_control"]})
                at = end
    if parts and whole[at:]:
        parts.append({"type": "text", "text": whole[at:]})
    return parts or whole
