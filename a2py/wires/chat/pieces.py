"""Values of a delta that come in pieces: lists of typed parts, and OpenRouter's `reasoning_details`.

Knows: typed parts (Mistral, 2025-09; Databricks' Claude, 2026-06), objects in place of text (Cloudflare's JSON mode), and which detail
continues the one before it. Must not know: sinks, chunks, what becomes of the details (stream.py).
Invariants: any JSON is accepted; nothing that can be read is lost; a piece costs its own length, and the kept details are bounded by LIMIT.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from a2py import jsonsize, jsontext
from a2py.messages.types import JSON
from a2py.wires.chat.delta import REASONING, REFUSAL, TEXT
from a2py.wires.common.text import dumps

#: Part type → what it holds.
_KINDS = {"thinking": REASONING, "reasoning": REASONING, "refusal": REFUSAL}
#: Where a part has its words: a string, or parts again (Mistral's `thinking`, Databricks' `summary`).
_WORDS = ("text", "thinking", "summary", "refusal")
#: Parts without words: Mistral's references, images.
_SILENT = frozenset({"reference", "image_url"})
#: Characters that are kept of the details of one reply (16 Mi), and what a piece costs besides its own length.
LIMIT, PIECE_COST = 16 * 1024 * 1024, 64
#: Fields of a detail that come in pieces.
_TEXTS = ("text", "summary")


def pieces(content: Any) -> Iterator[tuple[str, str]]:
    """Yield `(kind, text)` for each part of a list of parts. Anything else is one piece of JSON text."""
    if not isinstance(content, list) or (content and not any(map(_part, content))):
        yield TEXT, dumps(content)
        return
    for part in content:
        if isinstance(part, str):
            yield TEXT, part
        elif not isinstance(part, dict):
            yield TEXT, dumps(part)
        elif part.get("type") not in _SILENT:
            kind = _KINDS.get(str(part.get("type")), TEXT)
            words = next((part[name] for name in _WORDS if isinstance(part.get(name), (str, list))), None)
            if words is not None:
                yield kind, words if isinstance(words, str) else said(words)
            elif kind == TEXT:
                yield TEXT, dumps(part)


def _part(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and ("type" in value or "text" in value))


def runs(content: Any) -> Iterator[tuple[str, str]]:
    """Yield what `pieces` yields, with neighbours of one kind as one piece: a list of a million words is one delta."""
    for kind, run in groupby(pieces(content), itemgetter(0)):
        yield kind, "".join(text for _, text in run)


def said(parts: Any) -> str:
    """Return the text of all `parts`, joined."""
    return "".join(text for _, text in pieces(parts if isinstance(parts, list) else [parts]))


class _Pieces(list[str]):
    """A text that may go on."""


class Details(list[JSON]):
    """The details of a reply so far. `full`: they are more than may be kept."""

    size = 0

    @property
    def full(self) -> bool:
        return self.size > LIMIT

    def see(self, detail: JSON) -> str:
        """Add one piece. Return its text."""
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
        """Return all details and begin a new list."""
        out = [{name: _whole(value) for name, value in detail.items()} for detail in self]
        self.clear()
        return out


def _size(value: Any) -> int:
    """Return what a value counts for that is no text."""
    return jsonsize.weight(jsontext.dumps(value)) if isinstance(value, (dict, list)) else 0


def _whole(value: Any) -> Any:
    return "".join(value) if isinstance(value, _Pieces) else value
