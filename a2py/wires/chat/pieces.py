"""Values of a delta that come in pieces: lists of typed parts, and OpenRouter's `reasoning_details`.

Knows: typed parts (Mistral, 2025-09; Databricks' Claude, 2026-06), objects in place of text (Cloudflare's JSON mode),
and which detail continues the one before it. Must not know: sinks, chunks, how the details go back (reasoning.py).
Invariants: any JSON is accepted; nothing that can be read is lost; a piece costs its own length, and the kept details
are bounded by LIMIT.
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
#: Fields of a part that may hold its text: a string, or parts again (Mistral's `thinking`, Databricks' `summary`).
_TEXT_FIELDS = ("text", "thinking", "summary", "refusal")
#: Types of parts without text: Mistral's references, images.
_TEXTLESS = frozenset({"reference", "image_url"})
#: Characters that are kept of the details of one reply (16 Mi), and what a piece costs besides its own length.
LIMIT, PIECE_COST = 16 * 1024 * 1024, 64
#: Fields of a detail that come in pieces.
_STREAMED_FIELDS = ("text", "summary")


def list_pieces(content: Any) -> Iterator[tuple[str, str]]:
    """Yield `(kind, text)` for each part of a list of parts. Anything else is one piece of JSON text."""
    if not isinstance(content, list) or (content and not any(map(_is_part, content))):
        yield TEXT, dumps(content)
        return
    for part in content:
        if isinstance(part, str):
            yield TEXT, part
        elif not isinstance(part, dict):
            yield TEXT, dumps(part)
        elif part.get("type") not in _TEXTLESS:
            kind = _KINDS.get(str(part.get("type")), TEXT)
            text = next((part[name] for name in _TEXT_FIELDS if isinstance(part.get(name), (str, list))), None)
            if text is not None:
                yield kind, text if isinstance(text, str) else join_text(text)
            elif kind == TEXT:
                yield TEXT, dumps(part)


def _is_part(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and ("type" in value or "text" in value))


def merge_pieces(content: Any) -> Iterator[tuple[str, str]]:
    """Yield what `list_pieces` yields, with neighbours of one kind as one piece: a list of a million words is one
    delta."""
    for kind, group in groupby(list_pieces(content), itemgetter(0)):
        yield kind, "".join(text for _, text in group)


def join_text(parts: Any) -> str:
    """Return the text of all `parts`, joined."""
    return "".join(text for _, text in list_pieces(parts if isinstance(parts, list) else [parts]))


class _Pieces(list[str]):
    """A text that may continue. It is joined once, at the end, so that a million pieces do not copy each other."""


class Details(list[JSON]):
    """The details of a reply so far. `size`: characters that they count for.

    A detail comes in pieces, which are merged. A piece continues the last detail if type and index are the same:

        {"type": "reasoning.text", "index": 0, "text": "a", "signature": null}
        {"type": "reasoning.text", "index": 0, "text": "b", "signature": "s"}
        → {"type": "reasoning.text", "index": 0, "text": "ab", "signature": "s"}
    """

    size = 0

    @property
    def is_full(self) -> bool:
        return self.size > LIMIT

    def add(self, piece: JSON) -> str:
        """Add one piece. Return its text."""
        self.size += PIECE_COST + sum(
            len(value) if isinstance(value, str) else _size(value) for value in piece.values()
        )
        detail = self[-1] if self else None
        if detail is None or not _continues(detail, piece):
            detail = {}
            self.append(detail)
        for name, value in piece.items():
            is_streamed = name in _STREAMED_FIELDS and isinstance(value, str)
            before = detail.get(name)
            if is_streamed and isinstance(before, _Pieces):
                before.append(value)
            elif name not in detail or value not in (
                None,
                "",
            ):  # Vercel: `"signature": ""` until the last piece (2026-03)
                detail[name] = _Pieces([value]) if is_streamed else value
        text = piece.get("text") or piece.get("summary")
        return text if isinstance(text, str) else ""

    def take(self) -> list[JSON]:
        """Return all details and begin a new list."""
        details = [{name: _complete(value) for name, value in detail.items()} for detail in self]
        self.clear()
        return details


def _continues(detail: JSON, piece: JSON) -> bool:
    """Return whether `piece` belongs to `detail`. Encrypted details, which have `data`, always come in one piece."""
    return detail.get("type") == piece.get("type") and detail.get("index") == piece.get("index") and "data" not in piece


def _size(value: Any) -> int:
    """Return how many characters a value that is not a string counts for."""
    return jsonsize.weight(jsontext.dumps(value)) if isinstance(value, (dict, list)) else 0


def _complete(value: Any) -> Any:
    return "".join(value) if isinstance(value, _Pieces) else value
