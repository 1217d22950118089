"""The text of a reply, after `<think>` tags are split off and stop sequences are applied.

Knows: when the filters (filters.py) must give out what they hold back. Must not know: chunks, items, events.
Invariants: text reaches the sink in the order in which it was written, under the key of the part that it came from.
"""

from __future__ import annotations

from a2py.messages.types import Prepared, Sink
from a2py.wires.common.filters import Stops, ThinkTags


class TextWriter:
    """`thinking_key`: under which thinking is written. `has_filters`: text must be searched for think tags or stop
    sequences. `has_output`: something was written that a client can see."""

    __slots__ = ("_key", "_sink", "_stops", "_tags", "_thinking_key", "has_filters", "has_output")

    def __init__(self, prepared: Prepared, sink: Sink, thinking_key: str) -> None:
        self._sink = sink
        self._tags = ThinkTags(prepared.think_open) if prepared.think_tags or prepared.think_open else None
        self._stops = Stops(prepared.stops) if prepared.stops else None
        self._key = ""  # of the part whose text the filters hold
        self._thinking_key = thinking_key
        self.has_filters = self._tags is not None or self._stops is not None
        self.has_output = False

    def write(self, key: str, text: str) -> None:
        """Pass on `text` of the part `key`."""
        if not self.has_filters:
            self.has_output = True
            self._sink.text(key, text)
            return
        if self._key != key:
            self.flush()
            self._key = key
        if self._tags is None:
            self._write_until_stop(text)
            return
        self._write_pieces(self._tags.feed(text))
        if self._tags.is_done:
            self._tags = None
            self.has_filters = self._stops is not None

    def flush(self) -> None:
        """Write what the filters hold back, because no text of the same part follows."""
        if self._tags is not None:
            self._write_pieces(self._tags.close())
        if self._stops is not None:
            rest = self._stops.close()
            if rest:
                self._sink.text(self._key, rest)

    @property
    def stop_sequence(self) -> str | None:
        """The stop sequence that the text ran into. What follows it is dropped."""
        return self._stops.match if self._stops is not None else None

    def _write_pieces(self, pieces: list[tuple[bool, str]]) -> None:
        for is_thinking, text in pieces:
            if is_thinking:
                self.has_output = True
                self._sink.thinking(self._thinking_key, text)
            else:
                self._write_until_stop(text)

    def _write_until_stop(self, text: str) -> None:
        if self._stops is not None:
            text = self._stops.feed(text)
        if text:
            self.has_output = True
            self._sink.text(self._key, text)
