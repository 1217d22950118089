"""What of a prompt decides whether an upstream's cache holds it: the system prompt, the tools, the history so far.

Knows: the request. Must not know: caches, upstreams.
Invariants: nothing raises on a parsed request; cache marks and Claude Code's billing line count for nothing, because
they change from turn to turn and do not reach the model; a fingerprint holds numbers only, no content. The numbers are
those of Python's `hash`: they differ from process to process and are compared within one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from a2py import jsontext
from a2py.messages.session import strip_billing
from a2py.messages.types import JSON, Request
from a2py.slices import BYTES, ITEMS, Slices

#: The mark as JSON text. Inside a string its quotes would be escaped.
_MARK = b'"cache_control"'
#: Levels of blocks in blocks in which marks are looked for.
_DEPTH = 8


class Fingerprint(NamedTuple):
    """`messages`: a number for each message of the history; `turn`: 1 is the first of the conversation."""

    system: int
    tools: int
    messages: tuple[int, ...]
    turn: int = 1

    @property
    def first(self) -> int:
        """The number of the first message: the turns of one conversation share it."""
        return self.messages[0] if self.messages else 0

    def prefix(self, count: int) -> int:
        """Return a number for the first `count` messages."""
        return hash(self.messages[:count])


def fingerprint_in_slices(request: Request) -> Slices[Fingerprint]:
    """Return the fingerprint of `request`."""
    texts = ((block, strip_billing(block["text"])) for block in request.system)
    system = [block if text is block["text"] else {**block, "text": text} for block, text in texts if text]
    numbers = []
    size = 0
    parts: tuple[Any, ...] = (system, request.tools, *request.messages)
    for n, part in enumerate(parts, 1):
        if isinstance(part, dict) and isinstance(part.get("content"), str):
            # A client that marks its last message writes the text as a block, and as a string in the next turn.
            part = {**part, "content": [{"type": "text", "text": part["content"]}]}
        data = jsontext.dumps(part)
        if _MARK in data:
            data = jsontext.dumps(_without_marks(part, _DEPTH))
        numbers.append(hash(data))
        size += len(data)
        if size > BYTES or not n % ITEMS:
            size = 0
            yield
    turn = 1 + sum(message.get("role") == "assistant" for message in request.messages)
    return Fingerprint(numbers[0], numbers[1], tuple(numbers[2:]), turn)


def _without_marks(value: Any, depth: int) -> Any:
    """Return `value` without the cache marks of its blocks. What a tool's input holds under that name stays."""
    if isinstance(value, list) and depth:
        return [_without_marks(one, depth) for one in value]
    if not isinstance(value, dict):
        return value
    out: JSON = {name: inner for name, inner in value.items() if name != "cache_control"}
    if depth and isinstance(out.get("content"), list):
        out["content"] = _without_marks(out["content"], depth - 1)
    return out
