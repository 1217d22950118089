"""Content that is no string → what it says, in its order.

Knows: typed parts (Mistral, 2025-09; Databricks' Claude, 2026-06), objects in place of text (Cloudflare's JSON mode).
Must not know: sinks, chunks.
Invariants: nothing that can be read is lost; what has no shape that is known goes on as JSON text.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from a2py.wires.common.text import dumps

#: Kinds of what is said; they are the keys of the sink's runs, too.
TEXT, REASONING, REFUSAL = "text", "reasoning", "refusal"
#: Part type → kind.
_KINDS = {"thinking": REASONING, "reasoning": REASONING, "refusal": REFUSAL}
#: Where a part has its words: a string, or parts again (Mistral's `thinking`, Databricks' `summary`).
_WORDS = ("text", "thinking", "summary", "refusal")
#: Parts without words: Mistral's references, images.
_SILENT = frozenset({"reference", "image_url"})


def pieces(content: Any) -> Iterator[tuple[str, str]]:
    """`(kind, text)` of each part of a list of parts; anything else is one piece of JSON text."""
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


def runs(content: Any) -> Iterator[tuple[str, str]]:
    """`pieces`, neighbours of one kind as one piece: a list of a million words is one delta."""
    for kind, run in groupby(pieces(content), itemgetter(0)):
        yield kind, "".join(text for _, text in run)


def _part(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and ("type" in value or "text" in value))


def said(parts: Any) -> str:
    """All that is said in `parts`, as one text."""
    return "".join(text for _, text in pieces(parts if isinstance(parts, list) else [parts]))
