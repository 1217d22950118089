"""The output side of a chat-completions decoder: what a reply gives to the sink.

Knows: text filters, which order of verbs the sink needs, vendor state that must come back with the next request.
Must not know: chunks (stream.py), tool calls (calls.py).
Invariants: vendor state is written before the text or the call that follows it; text never passes by a filter.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON, Prepared, Sink
from a2py.wires.chat.delta import REASONING, REFUSAL, TEXT
from a2py.wires.chat.pieces import Details, merge_pieces
from a2py.wires.common.filters import Stops, ThinkTags


class Output:
    """Writes to `sink`, and knows what was written so far.

    `chars`: characters of text and reasoning, for an estimate if the upstream reports no usage. `has_content`: the
    client can see something of the reply. `is_refusal`: a part was marked as a refusal. `has_filters`: text must be
    searched for think tags or stop sequences. `is_stopped`: it matched a stop sequence, and what follows is dropped.
    `details`, `fields`: vendor state that is not written yet. `has_state`: there is some."""

    __slots__ = (
        "_stops",
        "_tags",
        "chars",
        "details",
        "fields",
        "has_content",
        "has_filters",
        "has_state",
        "is_refusal",
        "is_stopped",
        "sink",
    )

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        self.sink = sink
        self.chars = 0
        self.has_content = False
        self.is_refusal = False
        self.is_stopped = False
        self.details = Details()
        self.fields: dict[str, str] = {}
        self.has_state = False
        self._tags = ThinkTags(prepared.think_open) if prepared.think_tags or prepared.think_open else None
        self._stops = Stops(prepared.stops) if prepared.stops else None
        self.has_filters = self._tags is not None or self._stops is not None

    @property
    def stop_sequence(self) -> str | None:
        """The stop sequence that matched the text."""
        return self._stops.matched if self._stops is not None else None

    # -- text, reasoning, refusals -----------------------------------------------------------------------------------

    def text(self, text: str) -> None:
        """Write text, which is not empty."""
        self.has_content = True
        self.chars += len(text)
        if self.has_state:
            self.write_state()
        if not self.has_filters:
            self.sink.text(TEXT, text)
        elif self._tags is None:
            self._cut(text)
        else:
            for is_thinking, piece in self._tags.feed(text):
                self._write(is_thinking, piece)
            if self._tags.is_done:
                self._tags = None
                self.has_filters = self._stops is not None

    def thinking(self, text: str) -> None:
        if text:
            self.has_content = True
            self.chars += len(text)
            self.sink.thinking(REASONING, text)

    def refusal(self, text: str) -> None:
        self.is_refusal = self.has_content = True
        self.chars += len(text)
        self.write_state()
        self.sink.text(REFUSAL, text)

    def parts(self, content: Any) -> None:
        """Write a content that is not a string: a list of typed parts, or any other JSON."""
        for kind, text in merge_pieces(content):
            if kind == REASONING:
                self.thinking(text)
            elif kind == REFUSAL:
                self.refusal(text)
            elif text:
                self.text(text)

    def _write(self, is_thinking: bool, text: str) -> None:
        if is_thinking:
            self.sink.thinking(REASONING, text)
        else:
            self._cut(text)

    def _cut(self, text: str) -> None:
        """Write text up to the first stop sequence. Once one has matched, nothing more is written."""
        if self._stops is not None:
            text = self._stops.feed(text)
            self.is_stopped = self._stops.matched is not None
        if text:
            self.sink.text(TEXT, text)

    # -- before a call, and at the end -------------------------------------------------------------------------------

    def begin_call(self) -> None:
        """Write what must come before a tool call."""
        self.has_content = True
        self.flush()

    def flush(self) -> None:
        """Write the text that the filters hold back, and the vendor state."""
        if self._tags is not None:
            for is_thinking, piece in self._tags.close():
                self._write(is_thinking, piece)
        if self._stops is not None:
            rest = self._stops.close()
            if rest:
                self.sink.text(TEXT, rest)
        self.write_state()

    # -- vendor state ------------------------------------------------------------------------------------------------

    def add_details(self, details: list[Any]) -> str:
        """Keep OpenRouter's reasoning details for the next request. Return their text. Check `details.is_full`
        afterwards."""
        texts = [
            self.details.add(detail) for detail in details if isinstance(detail, dict) and not self.details.is_full
        ]
        self.has_state = self.has_state or bool(texts)
        return "".join(texts)

    def add_field(self, name: str, value: str) -> None:
        """Keep a string that goes back in the field `name` of the next request."""
        self.fields[name] = value
        self.has_state = True

    def write_state(self) -> None:
        """Hand the vendor state to the sink, which puts it into the signature of the thinking block."""
        if not self.has_state:
            return
        details, fields = self.details.take(), self.fields
        self.fields = {}
        self.has_state = False
        state: JSON = {**({"d": details} if details else {}), **({"f": fields} if fields else {})}
        self.sink.signature(REASONING, "details" if details else "fields", state)
