"""The end of an Anthropic reply: what message_start and all message_delta events say about usage and the stop reason.

A server may send several message_delta events. Example: `{"delta": {"stop_reason": "end_turn"}}` and then
`{"usage": {"output_tokens": 5}}` are merged into one event with both.

Knows: how the events are merged. Must not know: blocks, sinks.
Invariants: the merged event is at most ENDING_LIMIT bytes, or `add` returns False.
"""

from __future__ import annotations

from a2py import jsonsize, jsontext
from a2py.messages.types import JSON, Usage
from a2py.wires.native import mend

#: Bytes of the merged message_delta events of one reply (512 KiB). The merged event is measured only once the bytes of
#: the single ones reach twice this limit, because measuring after each one would take quadratic time.
ENDING_LIMIT = 512 * 1024


class Ending:
    """`start_usage`: the usage of message_start; `event`: the merged message_delta, {} before the first."""

    __slots__ = ("_size", "event", "start_usage")

    def __init__(self) -> None:
        self.start_usage: JSON = {}
        self.event: JSON = {}
        self._size = 0  # bytes of `event`, at most

    @property
    def delta(self) -> JSON:
        """The merged `delta`: stop_reason and stop_sequence."""
        delta: JSON = self.event.get("delta", {})
        return delta

    @property
    def usage(self) -> Usage:
        """The usage of the whole reply."""
        return mend.read_usage(mend.merge_usage(self.start_usage, self.event.get("usage", {})))

    @property
    def has_output(self) -> bool:
        """Whether a message_delta has counted the output. The number of message_start is from before the reply."""
        return mend.read_usage(self.event.get("usage", {})).output > 0

    def add(self, event: JSON, data: bytes) -> bool:
        """Merge a message_delta. Return False if the result is too large. `data`: its JSON, b"" if it has to be
        written."""
        self.event = mend.merge_ending(self.event, event)
        self._size += jsonsize.weight(data or jsontext.dumps(event))
        if self._size > 2 * ENDING_LIMIT:  # the sum of all events: merged they may be far smaller
            self._size = jsonsize.weight(jsontext.dumps(self.event))
            return self._size <= ENDING_LIMIT
        return True

    def complete(self, has_call: bool) -> None:
        """Set a stop reason if the upstream sent none. `has_call`: a client's tool was called."""
        self.event = mend.merge_ending(self.event, {})
        if not isinstance(self.delta.get("stop_reason"), str):
            self.event["delta"] = {**self.delta, "stop_reason": "tool_use" if has_call else "end_turn"}
