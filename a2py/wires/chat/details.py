"""OpenRouter's `reasoning_details`, put together from their pieces.

Knows: which piece continues the one before. Must not know: what becomes of the whole (stream.py).
Invariants: any JSON is accepted; a piece costs its own length; what is kept is bounded by LIMIT.
"""

from __future__ import annotations

from typing import Any

from a2py import jsonsize, jsontext
from a2py.messages.types import JSON

#: Characters that are kept of one reply (16 Mi), and what a piece counts for beside its own.
LIMIT, PIECE_COST = 16 * 1024 * 1024, 64
#: Fields that come in pieces.
_TEXTS = ("text", "summary")


class _Pieces(list[str]):
    """A text that may go on."""


class Details(list[JSON]):
    """The details so far; `take` gives them out. `full`: there were too many."""

    size = 0

    @property
    def full(self) -> bool:
        return self.size > LIMIT

    def see(self, detail: JSON) -> str:
        """One piece; gives the text that it says."""
        text = detail.get("text") or detail.get("summary")
        self.size += PIECE_COST + sum(len(value) if isinstance(value, str) else _size(value) for value in detail.values())
        last = self[-1] if self else None
        if last is None or last.get("type") != detail.get("type") or last.get("index") != detail.get("index") or "data" in detail:
            last = {}
            self.append(last)
        for name, value in detail.items():
            known = last.get(name)
            if name in _TEXTS and isinstance(value, str) and isinstance(known, _Pieces):
                known.append(value)
            elif name not in last or value not in (None, ""):  # Vercel: `"signature": ""` until the last piece (2026-03)
                last[name] = _Pieces([value]) if name in _TEXTS and isinstance(value, str) else value
        return text if isinstance(text, str) else ""

    def take(self) -> list[JSON]:
        """All of them; from here on a new list begins."""
        out = [{name: _whole(value) for name, value in detail.items()} for detail in self]
        self.clear()
        return out


def _size(value: Any) -> int:
    """What a value counts for that is no text."""
    return jsonsize.weight(jsontext.dumps(value)) if isinstance(value, (dict, list)) else 0


def _whole(value: Any) -> Any:
    return "".join(value) if isinstance(value, _Pieces) else value
