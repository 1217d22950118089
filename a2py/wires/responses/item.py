"""The records that the decoder keeps of a response: its output items and their parts.

Knows: item types, part types, which part belongs to which item, and how to read a value that an upstream sent.
Must not know: events, how mentions are matched to items (index.py), sinks.
"""

from __future__ import annotations

from typing import Any

#: Kinds of parts. INPUT is the free text that a custom tool takes, RAW is reasoning text that is not a summary.
TEXT, REFUSAL, SUMMARY, RAW, ARGS, INPUT = "text", "refusal", "summary", "raw", "args", "input"
#: Types of output items that become blocks. Items of any other type are listed in the log.
MESSAGE, REASONING, CALL, CUSTOM, SEARCH = (
    "message",
    "reasoning",
    "function_call",
    "custom_tool_call",
    "web_search_call",
)
#: Part type on the wire → kind of part.
PARTS = {"output_text": TEXT, "text": TEXT, "refusal": REFUSAL, "summary_text": SUMMARY, "reasoning_text": RAW}
#: Kind of part → type of the item that holds it.
OWNER = {TEXT: MESSAGE, REFUSAL: MESSAGE, SUMMARY: REASONING, RAW: REASONING, ARGS: CALL, INPUT: CUSTOM}
#: Fields of a reasoning item that only its vendor can read. Without one of them there is no state to send back.
VENDOR_FIELDS = ("encrypted_content", "signature")
#: Fields of a reasoning item that must come back with it (`format`, `signature`: OpenRouter, 2025-11).
STATE_FIELDS = ("id", *VENDOR_FIELDS, "format")
#: Characters of the longest phase of a message that is carried. The known ones are `commentary` and `final_answer`.
PHASE_LIMIT = 64


class Part:
    """One text of an item.

    `size`: its characters so far; `pieces`: the text itself, None once it is too long to keep; `cost`: what `pieces`
    counts for in the budget; `citations`: annotations that were passed on, as JSON."""

    __slots__ = ("citations", "cost", "key", "kind", "pieces", "size")

    def __init__(self, kind: str, key: str) -> None:
        self.kind = kind
        self.key = key
        self.pieces: list[str] | None = []
        self.size = self.cost = 0
        self.citations: set[str] = set()


class Item:
    """One output item.

    `key`: names a call in the sink, and is the root of the keys of the item's parts; `index`: the `output_index`, -1 if
    unknown; `shown_kind`: which of its two texts, SUMMARY or RAW, a reasoning item passes on; `phase`: of a message."""

    __slots__ = ("call_id", "id", "index", "is_closed", "key", "kind", "name", "parts", "phase", "shown_kind")

    def __init__(self, kind: str, key: int, index: int) -> None:
        self.kind = kind
        self.key = key
        self.index = index
        self.id = ""
        self.call_id = ""
        self.name = ""
        self.parts: dict[tuple[str, int], Part] = {}
        self.shown_kind = ""
        self.phase = ""
        self.is_closed = False


def as_text(value: Any) -> str:
    """Return `value` if it is a string, else ""."""
    return value if value.__class__ is str else ""


def as_index(value: Any) -> int:
    """Return `value` if it is an index, else -1."""
    return value if value.__class__ is int and value >= 0 else -1


def can_be(item: Item, kind: str, call_id: str) -> bool:
    """Return whether a mention with this type and call id can mean `item`."""
    return item.kind == kind and (not call_id or not item.call_id or item.call_id == call_id)


def summary_texts(summary: Any) -> list[str]:
    """Return the texts of a reasoning item's `summary`."""
    parts = summary if isinstance(summary, list) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
