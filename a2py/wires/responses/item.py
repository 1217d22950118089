"""What is known of one output item and of its texts while a response comes.

Knows: nothing but the two records, and how a value from outside is read. Must not know: events, sinks.
"""

from __future__ import annotations

from typing import Any


class Part:
    """One text of an item. `said`: its pieces so far, None where they are too long to keep; `kept`: what they count for."""

    __slots__ = ("cited", "kept", "key", "kind", "said", "size")

    def __init__(self, kind: str, key: str) -> None:
        self.kind = kind
        self.key = key
        self.said: list[str] | None = []
        self.size = self.kept = 0
        self.cited: set[str] = set()


class Item:
    """One output item. `key`: a call's key in the sink, and the root of its parts' keys; `voice`: which of its two texts a reasoning item tells."""

    __slots__ = ("call_id", "closed", "id", "index", "key", "kind", "name", "parts", "voice")

    def __init__(self, kind: str, key: int, index: int) -> None:
        self.kind = kind
        self.key = key
        self.index = index
        self.id = ""
        self.call_id = ""
        self.name = ""
        self.parts: dict[tuple[str, int], Part] = {}
        self.voice = ""
        self.closed = False


def word(value: Any) -> str:
    return value if value.__class__ is str else ""


def number(value: Any) -> int:
    """An index; -1 for anything that is none."""
    return value if value.__class__ is int and value >= 0 else -1


def fits(item: Item, kind: str, call_id: str) -> bool:
    """Whether `item` may be the one that is shown as a `kind` with this call id."""
    return item.kind == kind and (not call_id or not item.call_id or item.call_id == call_id)


def texts(summary: Any) -> list[str]:
    parts = summary if isinstance(summary, list) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
