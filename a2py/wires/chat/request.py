"""Translate a Messages request into a chat-completions request.

Knows: the top-level fields, structured output, and the three ways to mark what a server should cache. Messages, tools
and reasoning have a module each. wires/openai has what the Responses wire needs, too.
Must not know: how the request is sent.
Invariants: the body holds only fields that this wire writes; `extra_body` comes last; what cannot be translated is
named in `Prepared.degraded`; cache_control goes only to servers that accept it, at most BREAKPOINTS times.
"""

from __future__ import annotations

from typing import Any

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call, Prepared
from a2py.slices import Slices
from a2py.wires.chat import messages, reasoning, tools
from a2py.wires.chat.messages import MARK_MODES
from a2py.wires.common import threads
from a2py.wires.common.draft import Draft, make_prepared
from a2py.wires.common.headers import build_headers, build_url
from a2py.wires.common.paths import set_ttl
from a2py.wires.common.text import system_texts
from a2py.wires.openai import fields
from a2py.wires.openai.fields import BREAKPOINTS
from a2py.wires.openai.turns import JOINT


def prepare_in_slices(call: Call, dep: Deployment, stream: bool) -> Slices[Prepared]:
    """Return the request that asks `dep` for `call`."""
    threads.check(call.request, dep)
    draft = Draft(call, dep, stream)
    q = dep.quirks
    draft.body["model"] = dep.model
    draft.body["messages"] = yield from messages.build(draft)
    yield from tools.add(draft)
    want = reasoning.ask(draft)
    fields.write_limit(draft, q.max_tokens_field, fields.output_limit(draft, want))
    fields.write_sampling(draft)
    _write_stop(draft)
    yield
    _write_format(draft)
    yield
    fields.write_cache_key(draft)
    if q.cache in MARK_MODES:
        _write_marks(draft)
        yield
    if draft.stream:
        draft.body["stream"] = True
        if q.stream_usage:
            draft.body["stream_options"] = {"include_usage": True}
            draft.added_fields.add("stream_options")
    yield from fields.finish(draft)
    yield
    return make_prepared(draft, build_url(dep, "/chat/completions"), build_headers(dep, draft.stream, call.session))


def _write_stop(draft: Draft) -> None:
    """Write as many stop sequences as the server accepts. The decoder applies all of them itself."""
    if draft.stops and draft.quirks.stop_limit:
        draft.body["stop"] = list(draft.stops[: draft.quirks.stop_limit])
        draft.added_fields.add("stop")


# -- structured output ------------------------------------------------------------------------------------------------


def _write_format(draft: Draft) -> None:
    """Write `response_format`, or a rule for the model into the system message."""
    form, rule = fields.build_format(draft)
    if form is not None and "schema" in form:
        schema = {name: value for name, value in form.items() if name != "type" and value is not False}
        draft.body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif form is not None:
        draft.body["response_format"] = form
    if rule:
        _write_rule(draft, rule)


def _write_rule(draft: Draft, rule: str) -> None:
    """Append `rule` to the system message, or put it before the first user message if the server takes no system
    message."""
    messages = draft.body["messages"]
    first = messages[0]
    if first["role"] == draft.quirks.system_role and isinstance(first["content"], str):
        messages[0] = {**first, "content": f"{first['content']}\n\n{rule}"}
    elif draft.quirks.system_as_user and first["role"] == "user":
        content = first["content"]
        new_content = f"{rule}\n\n{content}" if isinstance(content, str) else [{"type": "text", "text": rule}, *content]
        messages[0] = {**first, "content": new_content}
    elif draft.quirks.system_as_user:
        messages.insert(0, {"role": "user", "content": rule})
    else:
        messages.insert(0, {"role": draft.quirks.system_role, "content": rule})


# -- prompt caching ---------------------------------------------------------------------------------------------------


def _write_marks(draft: Draft) -> None:
    """Write the client's cache marks the way the server takes them.

    A mark says that everything before it is worth caching. The leading system message is split so that a part ends at
    each marked system block. A mark of the whole request (`cache_control` beside `messages`) goes to the end of the
    last message. Of all marks the last BREAKPOINTS are kept."""
    messages = draft.body["messages"]
    whole, last = draft.request.body.get("cache_control"), messages[-1]
    if isinstance(whole, dict) and last["content"]:
        content: list[JSON] = (
            [{"type": "text", "text": last["content"]}] if isinstance(last["content"], str) else last["content"]
        )
        content[-1].setdefault("cache_control", whole)
        messages[-1] = {**last, "content": content}
    if (
        draft.request.system
        and messages[0]["role"] == draft.quirks.system_role
        and isinstance(messages[0]["content"], str)
    ):
        messages[0] = {**messages[0], "content": _split_at_marks(draft.request.system, messages[0]["content"])}
    parts: list[JSON] = [
        part
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if "cache_control" in part
    ]
    for part in parts[:-BREAKPOINTS]:
        del part["cache_control"]
    for part in parts[-BREAKPOINTS:]:
        part["cache_control"] = set_ttl(part["cache_control"], draft.dep.cache_control_ttl)
    if draft.quirks.cache == "breakpoint":
        for part in parts[-BREAKPOINTS:]:
            del part["cache_control"]
            part["prompt_cache_breakpoint"] = {"mode": "explicit"}


def _split_at_marks(system: list[JSON], whole: str) -> Any:
    """Return `whole` as parts that end at the marked blocks of `system`; `whole` itself if no block is marked.

    `whole` is the joined texts of `system`, and what was added after them."""
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
