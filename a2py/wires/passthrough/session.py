"""Which conversation a request belongs to, so that it stays at the deployment that has its prompt in its cache.

Knows: where the beginning of a prompt is. Must not know: what a session is used for.
Invariants: nothing raises on any JSON object; at most MAX_BLOCKS texts are kept, and MAX_TEXT characters of each; they
are the same for every turn of a conversation that sends its history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any

from a2py.messages.session import MAX_BLOCKS, MAX_TEXT, add_texts, name_session


def read_opening(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the texts before the first user turn of a request and those of this turn; () if it has none.

    They are in `messages` (chat/completions), or in `instructions` and `input` (responses)."""
    return tuple(text[:MAX_TEXT] for text in islice(_texts(body), MAX_BLOCKS))


def _texts(body: Mapping[str, Any]) -> Iterator[str]:
    instructions, input = body.get("instructions"), body.get("input")
    messages = body.get("messages", input)
    if isinstance(instructions, str):
        yield instructions
    if isinstance(input, str) and messages is input:
        yield input
    for message in messages[:MAX_BLOCKS] if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        for block in content[:MAX_BLOCKS] if isinstance(content, list) else [{"text": content}]:
            text = block.get("text") if isinstance(block, dict) else None
            if isinstance(text, str):
                yield text
        if message.get("role") == "user":
            break


def find_session(headers: Mapping[str, str], opening: Sequence[str]) -> str:
    """Return the session that a header names, else a digest of `opening`; "" if there is neither."""
    session = name_session(headers)
    if session or not opening:
        return session
    digest = blake2b(digest_size=12)
    add_texts(digest, opening)
    return digest.hexdigest()
