"""Complete Anthropic events, so that the SDKs and Claude Code accept them.

Servers that imitate Anthropic's API leave out fields, or put the whole content into the start of a block. An example of
both:

    {"type": "text", "text": "Hi"}      in content_block_start

becomes the start `{"type": "text", "text": ""}` and the delta `{"type": "text_delta", "text": "Hi"}`. Without that,
Claude Code loses "Hi": it ignores text in content_block_start (2.1.332).

Knows: the fields that an SDK requires (anthropic 2.12.0, @anthropic-ai/sdk 1.12.0).
Must not know: streams, sinks.
Invariants: an event that needs no change comes back as the same object; a field that has the right type keeps its
value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from a2py import jsontext
from a2py.messages.types import JSON, Usage

#: Delta type → the field that holds its text.
FIELDS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
    "signature_delta": "signature",
}
#: Field → delta type, for deltas without a type.
_TYPES = {field: kind for kind, field in FIELDS.items()}
#: Types of blocks that call a tool.
CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
#: Block type → the field that is empty at the start, and the type of the deltas that fill it.
_STREAMED_FIELDS = {
    "text": ("text", "text_delta"),
    "thinking": ("thinking", "thinking_delta"),
    **dict.fromkeys(CALLS, ("input", "input_json_delta")),
}
#: Delta type → the block types that accept it.
_ACCEPTED_BY = {
    "text_delta": ("text",),
    "thinking_delta": ("thinking",),
    "signature_delta": ("thinking",),
    "input_json_delta": CALLS,
    "citations_delta": ("text",),
}
#: Delta type → the start of its block, if the server never sent one. A call has none: its name is lost.
_MISSING_STARTS: dict[str, JSON] = {
    "text_delta": {"type": "text", "text": ""},
    "thinking_delta": {"type": "thinking", "thinking": "", "signature": ""},
}
_ID = re.compile(r"msg_\w{1,120}\Z")


def _count(value: Any) -> int:
    """Return `value` if it is a positive number of tokens, else 0."""
    return value if value.__class__ is int and value > 0 else 0


def mend_message(message: Any) -> JSON:
    """Return the message of a message_start, without its content, which becomes blocks of its own."""
    fields = message if isinstance(message, dict) else {}
    id, usage = fields.get("id"), fields.get("usage")
    return {
        **fields,
        "id": id if isinstance(id, str) and _ID.match(id) else "",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage if isinstance(usage, dict) else {},
    }


def mend_block(block: JSON) -> tuple[JSON, list[JSON]]:
    """Return a block as it starts, and deltas with the content that was in it. `block["type"]` is a string."""
    kind = block["type"]
    start: JSON = {}  # fields that change
    deltas: list[JSON] = []
    if kind in _STREAMED_FIELDS:
        _move_content(block, start, deltas)
    if kind == "thinking":
        _move_signature(block, start, deltas)
    if kind in CALLS:
        start.update({name: "" for name in ("id", "name") if not isinstance(block.get(name), str)})
    result = {**block, **start} if start else block
    if kind == "text" and isinstance(block.get("citations"), list) and block["citations"]:
        result = {name: value for name, value in result.items() if name != "citations"}
        deltas += [{"type": "citations_delta", "citation": citation} for citation in block["citations"]]
    return result, deltas


def _move_content(block: JSON, start: JSON, deltas: list[JSON]) -> None:
    """Empty the field that deltas fill, and make a delta of what it held."""
    field, delta_type = _STREAMED_FIELDS[block["type"]]
    value = block.get(field)
    empty: Any = {} if field == "input" else ""
    if value != empty:
        start[field] = empty
    if value and field == "input":
        text = value if isinstance(value, str) else jsontext.dumps(value).decode()
        deltas.append({"type": delta_type, "partial_json": text})
    elif value and isinstance(value, str):
        deltas.append({"type": delta_type, field: value})


def _move_signature(block: JSON, start: JSON, deltas: list[JSON]) -> None:
    """Put the signature after the text that it signs. A block without text keeps it: no delta follows."""
    signature = block.get("signature")
    if not isinstance(signature, str):
        start["signature"] = ""
    elif signature and deltas:
        start["signature"] = ""
        deltas.append({"type": "signature_delta", "signature": signature})


def mend_delta(delta: Any) -> JSON | None:
    """Return a delta with its type and its text, None if it holds nothing."""
    if not isinstance(delta, dict):
        return None
    kind = delta.get("type")
    if not isinstance(kind, str):
        field = next((field for field in _TYPES if isinstance(delta.get(field), str)), "")
        return {**delta, "type": _TYPES[field]} if field else None
    name = FIELDS.get(kind)
    if name is None:
        return delta
    value = delta.get(name)
    if isinstance(value, str):
        return delta
    if isinstance(value, dict) and name == "partial_json":
        return {**delta, name: jsontext.dumps(value).decode()}
    return None


def accepts(block_type: str, delta_type: str) -> bool:
    """Return whether a block may get such a delta.

    Pairs of which one is unknown may: the server is newer than this table."""
    if delta_type not in _ACCEPTED_BY or block_type not in _STREAMED_FIELDS:
        return True
    return block_type in _ACCEPTED_BY[delta_type]


def missing_start(delta_type: str) -> JSON | None:
    """Return the block for a delta whose start the server never sent, None if it cannot be known."""
    return _MISSING_STARTS.get(delta_type)


def merge_ending(earlier: JSON, event: JSON) -> JSON:
    """Merge a message_delta into an earlier one, and return it.

    `earlier` is changed. A null does not replace a value."""
    out = earlier or {"type": "message_delta", "delta": {"stop_reason": None, "stop_sequence": None}, "usage": {}}
    for name, value in event.items():
        if name in ("delta", "usage"):
            if isinstance(value, dict):
                out[name].update({k: v for k, v in value.items() if v is not None or k not in out[name]})
        else:
            out[name] = value
    return out


def merge_usage(first: JSON, last: JSON) -> JSON:
    """Return the `usage` of message_start, updated by that of message_delta.

    A 0 does not replace a number, as in Claude Code."""
    return {**first, **{name: value for name, value in last.items() if value or name not in first}}


def read_usage(usage: JSON) -> Usage:
    """Return Anthropic's `usage` as numbers."""
    details, tools = usage.get("output_tokens_details"), usage.get("server_tool_use")
    cache_creation = usage.get("cache_creation")
    return Usage(
        input=_count(usage.get("input_tokens")),
        output=_count(usage.get("output_tokens")),
        cache_read=_count(usage.get("cache_read_input_tokens")),
        cache_creation=_count(usage.get("cache_creation_input_tokens")),
        thinking=_count(details.get("thinking_tokens")) if isinstance(details, dict) else 0,
        web_searches=_count(tools.get("web_search_requests")) if isinstance(tools, dict) else 0,
        cache_hour=_count(cache_creation.get("ephemeral_1h_input_tokens")) if isinstance(cache_creation, dict) else 0,
    )


def content_blocks(message: Any) -> Iterator[JSON]:
    """Yield the content of a whole message. A string is one text block."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if isinstance(content, list):
        yield from (block for block in content if isinstance(block, dict) and isinstance(block.get("type"), str))


def as_events(message: JSON) -> Iterator[JSON]:
    """Yield a whole message as events: message_start with all its content, and message_delta."""
    yield {"type": "message_start", "message": message}
    yield {
        "type": "message_delta",
        "delta": {name: message.get(name) for name in ("stop_reason", "stop_sequence")},
        "usage": message.get("usage"),
    }
