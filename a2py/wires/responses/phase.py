"""Give the assistant's messages in the history the phases that the model gave them.

A phase says what a message is for: `commentary` before more work, or the `final_answer` of a turn. gpt-5.3-codex and
later models may take a preamble for the end of the turn if its phase is missing ("preserve and resend phase on all
assistant messages": openai 3.57.0 types, 2026-11). DeepSeek has phases, too
(deepseek/nonstream-responses-reasoning-web_search_call-01.json). Anthropic's text blocks have no field for it, so it
travels in the signature of an empty thinking block next to the text:

    {"phase": "commentary"}                    the message begins with the next text
    {"phase": "commentary", "behind": true}    the upstream named the phase after the text: the last message has it

Knows: that form, and which phase a message has by its position. Must not know: how a reply is read (output.py), other
state in signatures (reasoning.py).
Invariants: a phase goes only to the model that gave it; a phase that was given counts more than the position; state is
checked like any input from outside.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON
from a2py.wires.responses.item import PHASE_LIMIT

COMMENTARY, FINAL_ANSWER = "commentary", "final_answer"


def make_state(phase: str, *, is_behind: bool) -> JSON:
    """Return the state that carries `phase`. `is_behind`: the text came before it."""
    return {"phase": phase, "behind": True} if is_behind else {"phase": phase}


class TurnPhases:
    """The phases of one turn of the assistant, while its items are appended to `turn`. `has_phases`: a message got
    one."""

    __slots__ = ("_next", "_turn", "has_phases")

    def __init__(self, turn: list[JSON]) -> None:
        self._turn = turn
        self._next: str | None = None  # of the message that begins with the next text
        self.has_phases = False

    @property
    def begins_message(self) -> bool:
        """Whether the next text begins a message of its own."""
        return self._next is not None

    def read(self, state: JSON) -> None:
        """Take the phase in a signature's `state`, if there is one."""
        phase: Any = state.get("phase")
        if not isinstance(phase, str) or len(phase) > PHASE_LIMIT:
            return
        if state.get("behind") is not True:
            self._next = phase
            return
        for item in reversed(self._turn):
            if item["type"] == "message":
                self._set(item, phase)
                return

    def begin(self, message: JSON) -> None:
        """Give a new `message` the phase that was read before it."""
        if self._next:
            self._set(message, self._next)
        self._next = None

    def forget(self) -> None:
        """Forget a phase whose text did not come."""
        self._next = None

    def _set(self, message: JSON, phase: str) -> None:
        message["phase"] = phase
        self.has_phases = True


def add_by_position(items: list[JSON]) -> bool:
    """Give each message of the assistant that has no phase the one of its position, and return whether there was one.

    A message that a call of the same turn follows is commentary, any other a final answer. A prefill, the last item, is
    part of a message that does not exist yet."""
    has_added = is_before_call = False
    for n in reversed(range(len(items))):
        item = items[n]
        if item["type"] == "function_call":
            is_before_call = True
        elif item.get("role") == "assistant":
            if "phase" not in item and n + 1 < len(items):
                item["phase"] = COMMENTARY if is_before_call else FINAL_ANSWER
                has_added = True
        elif item["type"] != "reasoning":
            is_before_call = False
    return has_added
