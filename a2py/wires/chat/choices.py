"""The choices of a reply besides the first.

a2py asks for one choice. Copilot splits Claude's replies all the same: the text is in the first choice, the calls are
in the others, and each has the finish_reason tool_calls (HKUDS/nanobot pull request 1555, 2026-03). Servers that send
more choices because they ignore `n` send other answers to the same question, with text of their own.

Knows: which choices hold the calls that the first one announces. Must not know: calls (calls.py), sinks.
Invariants: what is kept is bounded by calls.KEPT_LIMIT; beyond that nothing is kept. Nothing is read before the end.
"""

from __future__ import annotations

from typing import Any

from a2py import jsonsize, jsontext
from a2py.messages.types import JSON
from a2py.wires.chat import calls
from a2py.wires.chat.delta import CALLS, LEGACY_CALL, REFUSAL, TEXT, fields_of
from a2py.wires.chat.finish import is_tool_use

_CALL_FIELDS = fields_of(CALLS, LEGACY_CALL)
_TEXT_FIELDS = fields_of(TEXT, REFUSAL)


def first_choice(choices: list[Any]) -> JSON | None:
    """Return the choice with index 0; None if there is none."""
    return next((choice for choice in choices if isinstance(choice, dict) and not choice.get("index")), None)


class _Choice:
    """`deltas`: the calls in its deltas. `is_answer`: it has text, so it is another answer. `word`: finish_reason."""

    __slots__ = ("deltas", "is_answer", "word")

    def __init__(self) -> None:
        self.deltas: list[JSON] = []
        self.is_answer = False
        self.word = ""


class OtherChoices:
    """Keeps the calls of all choices but the first. `size`: characters that are kept."""

    __slots__ = ("_choices", "size")

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}  # by index
        self.size = 0

    def add(self, choices: list[Any], first: JSON | None) -> None:
        """Add the choices of one chunk. One that has no index has its place in the list as index."""
        for place, raw in enumerate(choices):
            if self.size <= calls.KEPT_LIMIT and isinstance(raw, dict) and raw is not first:
                index = raw.get("index")
                self._add(raw, index if index and index.__class__ is int else place)
        if self.size > calls.KEPT_LIMIT:
            self._choices.clear()

    def _add(self, raw: JSON, index: int) -> None:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
            self.size += calls.CALL_COST
        word = raw.get("finish_reason")
        if word:
            choice.word = str(word)[:80]
        choice.is_answer = choice.is_answer or bool(raw.get("text"))
        for holder in (raw.get("delta"), raw.get("message")):
            if not isinstance(holder, dict):
                continue
            choice.is_answer = choice.is_answer or any(map(holder.get, _TEXT_FIELDS))
            delta = {name: holder[name] for name in _CALL_FIELDS if holder.get(name)}
            if delta:
                choice.deltas.append(delta)
                self.size += calls.PIECE_COST + jsonsize.weight(jsontext.dumps(delta))

    def read_calls(self) -> list[JSON]:
        """Return the deltas with the calls of this reply."""
        return [
            delta
            for _, choice in sorted(self._choices.items())
            if not choice.is_answer and (not choice.word or is_tool_use(choice.word))
            for delta in choice.deltas
        ]
