"""The output side of a chat-completions decoder: what a reply gives to the sink.

Knows: which order of verbs the sink needs, vendor state that must come back with the next request.
Must not know: chunks (stream.py), tool calls (calls.py).
Invariants: vendor state is written before the text or the call that follows it; text never passes by a filter.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON, Prepared, Sink
from a2py.wires.chat.choices import OtherChoices
from a2py.wires.chat.delta import REASONING, REFUSAL, TEXT
from a2py.wires.chat.pieces import Details, merge_pieces
from a2py.wires.common.textwriter import TextWriter


class Output:
    """Writes to `sink`, and knows what was written so far.

    `chars`: characters of text and reasoning, for an estimate if the upstream reports no usage. `has_content`: the
    client can see something of the reply. `is_refusal`: a part was marked as a refusal. `has_filters`: text must be
    searched for think tags or stop sequences. `others`: choices besides the first, if there are any; they are written
    at the end or not at all. `details`, `fields`: vendor state that is not written yet. `has_state`:
    there is some."""

    __slots__ = (
        "_writer",
        "chars",
        "details",
        "fields",
        "has_content",
        "has_filters",
        "has_state",
        "is_refusal",
        "others",
        "sink",
    )

    def __init__(self, prepared: Prepared, sink: Sink) -> None:
        self.sink = sink
        self.chars = 0
        self.has_content = False
        self.is_refusal = False
        self.details = Details()
        self.fields: dict[str, str] = {}
        self.has_state = False
        self.others: OtherChoices | None = None
        self._writer = TextWriter(prepared, sink, REASONING)
        self.has_filters = self._writer.has_filters

    @property
    def stop_sequence(self) -> str | None:
        """The stop sequence that the text ran into. What follows it is dropped."""
        return self._writer.stop_sequence

    # -- text, reasoning, refusals -----------------------------------------------------------------------------------

    def text(self, text: str) -> None:
        """Write text, which is not empty."""
        self.has_content = True
        self.chars += len(text)
        if self.has_state:
            self.write_state()
        if not self.has_filters:
            self.sink.text(TEXT, text)
        else:
            self._writer.write(TEXT, text)
            self.has_filters = self._writer.has_filters

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

    # -- before a call, and at the end -------------------------------------------------------------------------------

    def begin_call(self) -> None:
        """Write what must come before a tool call."""
        self.has_content = True
        self.flush()

    def flush(self) -> None:
        """Write the text that the filters hold back, and the vendor state."""
        self._writer.flush()
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
