"""The message of an upstream that speaks Anthropic, whose events are passed on whole.

Knows: which fields of its events are not passed on as they are (index, usage). Must not know: broken upstream events
(wires/native mends them first), bytes on a socket.
Invariants: an event that needs no change keeps its bytes. Each of the four usage numbers has one meaning for the
client, whatever the upstream left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from a2py.messages.types import JSON, Usage

#: The three numbers that make up the input.
_INPUT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_NUMBERS = (*_INPUT, "output_tokens")
#: The index of a block that the client does not get.
NO_INDEX = -1


class RawMessage:
    """What the upstream's events say of the message as a whole.

    `opening`: the message of its message_start, None if there was none; `closing`: its latest message_delta. Both are
    written later than they come: message_start with the first block, because nothing that has begun can be taken back,
    and message_delta at the end, because there must be exactly one, and none before an error."""

    __slots__ = ("_indexes", "_is_estimated", "_opening_usage", "closing", "opening")

    def __init__(self) -> None:
        self.opening: JSON | None = None
        self.closing: JSON | None = None
        self._indexes: dict[int, int] = {}  # the upstream's index of an open block → the client's, or NO_INDEX
        self._is_estimated = False  # message_start had an estimate, because the upstream gave no number
        self._opening_usage: JSON = {}

    def begin(self, message: JSON) -> None:
        """Take the message of a message_start."""
        self.opening = message
        self.closing = None
        self._indexes = {}

    def add_block(self, upstream_index: int, index: int) -> None:
        """Give an upstream's block its index in the client's message; NO_INDEX if the client does not get it."""
        self._indexes[upstream_index] = index

    def remove_block(self, upstream_index: int) -> None:
        """Forget a block that has ended."""
        del self._indexes[upstream_index]

    def renumber(self, event: JSON, data: bytes) -> tuple[JSON, bytes]:
        """Return an event of a block with the client's index, and its bytes if they still hold. Return `{}` for a
        hidden block."""
        upstream_index = event["index"]
        index = self._indexes[upstream_index]
        if index == upstream_index:
            return event, data
        return ({}, b"") if index == NO_INDEX else ({**event, "index": index}, b"")

    def opening_usage(self, usage: JSON, estimate: Usage) -> JSON:
        """Return `usage` for message_start. An estimate takes the place of an input that the upstream does not know
        yet."""
        out = _fill_counts({"output_tokens": 1, **usage})
        self._is_estimated = not any(out[name] for name in _INPUT)
        out["input_tokens"] = max(1, estimate.input if self._is_estimated else out["input_tokens"])
        self._opening_usage = out
        return out

    def closing_usage(self, usage: JSON, reply_usage: Usage) -> JSON:
        """Return `usage` for message_delta. A number that it lacks is that of message_start.

        Claude Code merges the two field by field, and values above 0 win. So after an estimate of 40,000 an upstream's
        `input_tokens: 0, cache_read_input_tokens: 50000` would add up to 90,000: `input_tokens` becomes 1."""
        opening, closing = self._opening_usage, _fill_counts(usage)
        out = {**usage, **{name: closing[name] or opening[name] for name in _INPUT}}
        if self._is_estimated and not closing["input_tokens"] and any(closing[name] for name in _INPUT):
            out["input_tokens"] = 1
        out["output_tokens"] = (
            closing["output_tokens"] if usage.get("output_tokens").__class__ is int else reply_usage.output
        )
        return out


def _fill_counts(usage: JSON) -> JSON:
    """Return `usage` with all four numbers that clients add up; 0 for one that is missing or no count."""
    return {
        **usage,
        **{name: usage[name] if usage.get(name).__class__ is int and usage[name] > 0 else 0 for name in _NUMBERS},
    }
