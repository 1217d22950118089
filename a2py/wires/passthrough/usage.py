"""Read from a reply that passes how many tokens it took, and which response it is.

Nothing is decoded while it passes. Only the beginning and the end of a body are kept: usage is in the last event of a
stream, and near the end of a JSON body, or (llama.cpp's embeddings) near its beginning.

Knows: `usage` as OpenAI-compatible servers report it, the deltas of their streams. Must not know: sockets, deployments.
Invariants: at most HEAD and 2 * TAIL bytes are kept; nothing raises on any body.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from a2py.messages.types import JSON, Outcome, Usage
from a2py.sse import SSEParser
from a2py.wires.common.usage import UsageTally, estimate_tokens

#: Bytes of the beginning and of the end of a body that are kept. A `response.completed` has up to 9 KB of metadata
#: after its usage (16 pairs of 64 and 512 characters: OpenAI's API reference, 2026-10).
HEAD, TAIL = 4 * 1024, 16 * 1024
_USAGE = b'"usage"'
#: Bytes of one usage object.
USAGE_LIMIT = 4 * 1024
#: Objects named usage that are looked at, the last ones of a body. A schema of a tool may have one, too.
USAGE_TRIES = 32
_OBJECT = re.compile(rb"\s*:\s*(?=\{)")
_STRING = re.compile(rb'\s*:\s*"([!#-\[\]-~]{1,256})"')
#: What ends a stream of the Responses API.
_LAST_EVENT = re.compile(rb"^event: ?response\.(?:completed|incomplete|failed)$", re.MULTILINE)
#: Types of such events on the Responses wire.
_FAILURES = ("error", "response.failed")
_BRACES = re.compile(rb"[{}]")
#: Levels of a stream's event in which text is looked for.
DEPTH = 8
_TEXTS = frozenset(
    ("content", "text", "reasoning", "reasoning_content", "arguments", "delta", "refusal", "partial_json")
)


class Watcher:
    """Keeps the beginning and the end of one body. `size`: bytes so far."""

    __slots__ = ("_dropped_size", "head", "tail")

    def __init__(self) -> None:
        self.head = b""
        self.tail = bytearray()
        self._dropped_size = 0

    @property
    def size(self) -> int:
        return self._dropped_size + len(self.tail)

    def see(self, data: bytes) -> None:
        """Take a piece of the body."""
        tail = self.tail
        tail += data
        if len(tail) > 2 * TAIL:
            self.trim()

    def trim(self) -> None:
        """Drop all but the beginning and the end."""
        if not self._dropped_size:
            self.head = bytes(self.tail[:HEAD])
        surplus = len(self.tail) - TAIL
        self._dropped_size += surplus
        del self.tail[:surplus]

    @property
    def is_between_events(self) -> bool:
        """Whether the last byte so far ends an event of a stream, so that another event may follow."""
        return not self.size or self.tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))

    @property
    def has_last_event(self) -> bool:
        """Whether a stream has said that it is complete, so that nothing is missing if its connection breaks now."""
        if not self.size or not self.is_between_events:
            return False
        last = bytes(self.tail).replace(b"\r\n", b"\n").rstrip(b"\n").rpartition(b"\n\n")[2]
        return last.removeprefix(b"data:").strip() == b"[DONE]" or _LAST_EVENT.search(last) is not None

    @property
    def has_failed(self) -> bool:
        """Whether a stream ends with an error of the upstream: its last event, or the one before [DONE]."""
        text = bytes(self.tail).replace(b"\r\n", b"\n").rstrip(b"\n")
        return any(map(_is_error, text.rsplit(b"\n\n", 2)[-2:]))

    def find_id(self) -> str:
        """Return the first `id` in the body: of the response itself, "" if there is none."""
        text = self.head or bytes(self.tail[:HEAD])
        at = text.find(b'"id"')
        match = _STRING.match(text, at + 4) if at >= 0 else None
        return match[1].decode() if match else ""

    def find_usage(self) -> Usage | None:
        """Return the usage that the body reports last; None if it reports none."""
        tries = USAGE_TRIES
        for text in (bytes(self.tail), self.head):
            at = text.rfind(_USAGE)
            while at >= 0 and tries:
                match = _OBJECT.match(text, at + len(_USAGE))
                # After a backslash it is in a string: text of the model that looks like usage.
                if match and text[at - 1 : at] != b"\\":
                    usage = read_usage(text, match.end())
                    if usage is not None:
                        return usage
                    tries -= 1
                at = text.rfind(_USAGE, 0, at)
        return None

    def estimate_output(self) -> int:
        """Return the output tokens of a stream that reports none, by the text in what is kept of it."""
        tail = bytes(self.tail)
        chars = sum(map(_count_text, _events(tail)))
        return estimate_tokens(int(chars * self.size / max(1, len(tail))))


def read_usage(text: bytes, start: int) -> Usage | None:
    """Return the usage object of `text` that begins at `start`; None if it is none, or counts nothing."""
    depth = 0
    for brace in _BRACES.finditer(text, start, start + USAGE_LIMIT):
        depth += 1 if brace[0] == b"{" else -1
        if not depth:
            break
    else:
        return None
    try:
        value = orjson.loads(text[start : brace.end()])
    except ValueError:
        return None
    tally = UsageTally()
    tally.see(value)
    usage = tally.usage()
    assert usage is not None
    if usage.is_empty:
        total = value.get("total_tokens")  # rerank
        return Usage(input=total) if type(total) is int and 0 < total < 1 << 53 else None
    return usage


def _events(stream: bytes) -> Iterator[JSON]:
    """Yield the whole events of a stream that are JSON objects."""
    for _, data in SSEParser().feed(stream):
        try:
            value = orjson.loads(data)
        except ValueError:
            continue
        if isinstance(value, dict) and not str(value.get("type", "")).endswith((".done", ".completed")):
            yield value


def _is_error(event: bytes) -> bool:
    """Return whether an event of a stream says that its reply has failed."""
    if b"error" not in event and b"failed" not in event:
        return False
    return any(value.get("type") in _FAILURES or value.get("error") for value in _events(event + b"\n\n"))


def _count_text(value: Any, name: str = "", depth: int = 0) -> int:
    """Count the characters of the text in an event of a stream."""
    if isinstance(value, str):
        return len(value) if name in _TEXTS else 0
    if depth > DEPTH:
        return 0
    if isinstance(value, dict):
        return sum(_count_text(inner, key, depth + 1) for key, inner in value.items())
    if isinstance(value, list):
        return sum(_count_text(inner, name, depth + 1) for inner in value)
    return 0


def outcome_of(watcher: Watcher, *, is_stream: bool, estimate: int) -> Outcome:
    """Return how a reply ended. A stream of text without a usage gets an estimate, and is marked. `estimate`: its input
    tokens; `is_stream`: it is a stream of text."""
    usage = watcher.find_usage()
    outcome = Outcome(reason="", usage=usage)
    if usage is None and is_stream and watcher.size:
        outcome.usage = Usage(input=estimate, output=watcher.estimate_output())
        outcome.is_estimated = True
    return outcome
