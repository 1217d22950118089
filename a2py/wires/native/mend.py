"""Anthropic events as the SDKs and Claude Code need them, made from what servers send.

Knows: the fields that an SDK demands (anthropic 2.12.0, @anthropic-ai/sdk 1.12.0), and that text in a block's start is lost in Claude Code
(2.1.330).
Must not know: streams, sinks.
Invariants: an event that lacks nothing comes back as the same object; whatever is there and has the right type stays.
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
#: Block type → the field that fills in deltas, and their type.
_FILLED = {
    "text": ("text", "text_delta"),
    "thinking": ("thinking", "thinking_delta"),
    "tool_use": ("input", "input_json_delta"),
    "server_tool_use": ("input", "input_json_delta"),
    "mcp_tool_use": ("input", "input_json_delta"),
}
_KINDS = {
    "text_delta": ("text",),
    "thinking_delta": ("thinking",),
    "signature_delta": ("thinking",),
    "input_json_delta": ("tool_use", "server_tool_use", "mcp_tool_use"),
    "citations_delta": ("text",),
}
#: Delta type → the block that it must belong to, where its start was never sent.
_BLOCKS: dict[str, JSON] = {
    "text_delta": {"type": "text", "text": ""},
    "thinking_delta": {"type": "thinking", "thinking": "", "signature": ""},
}
_ID = re.compile(r"msg_\w{1,120}\Z")
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")


def _number(value: Any) -> int:
    return value if value.__class__ is int and value > 0 else 0


def message(found: Any) -> JSON:
    """The message of message_start, its content left to blocks."""
    given = found if isinstance(found, dict) else {}
    id, used = given.get("id"), given.get("usage")
    legal = isinstance(id, str) and _ID.match(id)
    return {
        **given,
        "id": id if legal else "",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": used if isinstance(used, dict) else {},
    }


def block(found: JSON) -> tuple[JSON, list[JSON]]:
    """A block as it starts, and the deltas that carry what stood in it. `found["type"]` is a string."""
    kind = found["type"]
    start, deltas = found, []
    if kind in _FILLED:
        field, delta = _FILLED[kind]
        value = found.get(field)
        empty: Any = {} if field == "input" else ""
        if value != empty:
            start = {**start, field: empty}
        if value and field == "input":
            text = value if isinstance(value, str) else jsontext.dumps(value).decode()
            deltas.append({"type": delta, "partial_json": text})
        elif value and isinstance(value, str):
            deltas.append({"type": delta, field: value})
    if kind == "text" and isinstance(found.get("citations"), list) and found["citations"]:
        start = {name: value for name, value in start.items() if name != "citations"}
        deltas += [{"type": "citations_delta", "citation": citation} for citation in found["citations"]]
    if kind == "thinking":
        signature = found.get("signature")
        if not isinstance(signature, str) or (signature and deltas):
            start = {**start, "signature": ""}
        if isinstance(signature, str) and signature and deltas:
            deltas.append({"type": "signature_delta", "signature": signature})
    if kind in _CALLS:
        for name in ("id", "name"):
            if not isinstance(found.get(name), str):
                start = {**start, name: ""}
    return start, deltas


def delta(found: Any) -> JSON | None:
    """A delta with its type and its text; None where it holds nothing."""
    if not isinstance(found, dict):
        return None
    kind = found.get("type")
    if not isinstance(kind, str):
        field = next((field for field in _TYPES if isinstance(found.get(field), str)), "")
        return {**found, "type": _TYPES[field]} if field else None
    name = FIELDS.get(kind)
    if name is None:
        return found
    value = found.get(name)
    if isinstance(value, str):
        return found
    if isinstance(value, dict) and name == "partial_json":
        return {**found, name: jsontext.dumps(value).decode()}
    return None


def fits(kind: str, block: str) -> bool:
    """Whether a delta may fill a block; of a pair that is not known, the newer vendor knows more."""
    return kind not in _KINDS or block not in _FILLED or block in _KINDS[kind]


def missing_start(kind: str) -> JSON | None:
    """The block for a delta whose start was never sent; None for calls: their name is lost."""
    return _BLOCKS.get(kind)


def ending(before: JSON, event: JSON) -> JSON:
    """message_delta, laid over an earlier one (which is changed): what is null says nothing."""
    out = before or {"type": "message_delta", "delta": {"stop_reason": None, "stop_sequence": None}, "usage": {}}
    for name, value in event.items():
        if name in ("delta", "usage"):
            if isinstance(value, dict):
                out[name].update({k: v for k, v in value.items() if v is not None or k not in out[name]})
        else:
            out[name] = value
    return out


def merged(first: JSON, last: JSON) -> JSON:
    """`usage` of message_delta over that of message_start; numbers above 0 win, as in Claude Code."""
    return {**first, **{name: value for name, value in last.items() if value or name not in first}}


def usage(found: JSON) -> Usage:
    """Anthropic's `usage` as numbers."""
    details, tools = found.get("output_tokens_details"), found.get("server_tool_use")
    return Usage(
        input=_number(found.get("input_tokens")),
        output=_number(found.get("output_tokens")),
        cache_read=_number(found.get("cache_read_input_tokens")),
        cache_creation=_number(found.get("cache_creation_input_tokens")),
        thinking=_number(details.get("thinking_tokens")) if isinstance(details, dict) else 0,
        web_searches=_number(tools.get("web_search_requests")) if isinstance(tools, dict) else 0,
    )


def blocks(found: Any) -> Iterator[JSON]:
    """The content of a message that came whole."""
    content = found.get("content") if isinstance(found, dict) else None
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if isinstance(content, list):
        yield from (block for block in content if isinstance(block, dict) and isinstance(block.get("type"), str))


def events(whole: JSON) -> Iterator[JSON]:
    """A whole message as events: message_start with all its content, and message_delta."""
    yield {"type": "message_start", "message": whole}
    yield {
        "type": "message_delta",
        "delta": {name: whole.get(name) for name in ("stop_reason", "stop_sequence")},
        "usage": whole.get("usage"),
    }
