"""Write the conversation as `instructions` and `input` items.

Knows: messages, function calls and their outputs as items, and where reasoning items go back.
Must not know: the order of turns (openai/turns.py), tools, limits, sampling.
Invariants: every call has exactly one output, after the calls of its turn, and every output has its call; no text is
lost; equal turns give equal bytes, so that the upstream's prefix cache hits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from a2py.messages import ids
from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.text import NO_CONTENT, arguments_text
from a2py.wires.openai.fields import BREAKPOINTS
from a2py.wires.openai.turns import JOINT, Turns, with_error
from a2py.wires.responses import reasoning
from a2py.wires.responses.phase import TurnPhases, add_by_position

#: Longest call_id (OpenAI, 2025-06).
CALL_ID_LIMIT = 64


class ItemShape:
    """Writes items. `marked_parts`: the parts that carry a cache mark, in their order."""

    text_type = "input_text"
    keeps_empty_turns = False

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.q = draft.quirks
        self.media_in_result = draft.quirks.media_in_output
        self.marked_parts: list[JSON] = []
        self._has_marks = draft.quirks.cache == "breakpoint"
        self._message_count = 0  # of the assistant, for their ids
        self._reasoning_count = 0  # of reasoning items, for their ids

    # -- parts -------------------------------------------------------------------------------------------------------

    def text(self, text: str) -> JSON:
        return {"type": "input_text", "text": text}

    def image(self, url: str) -> JSON:
        return {"type": "input_image", "detail": "auto", "image_url": url}

    def file(self, name: str, url: str) -> JSON:
        return {"type": "input_file", "filename": name, "file_data": url}

    def linked_file(self, url: str) -> JSON:
        return {"type": "input_file", "file_url": url}

    def pdf_image(self, url: str) -> None:
        return None

    def mark(self, part: JSON, block: JSON) -> JSON:
        if self._has_marks and block.get("cache_control"):
            part["prompt_cache_breakpoint"] = {"mode": "explicit"}
            self.marked_parts.append(part)
        return part

    # -- messages ----------------------------------------------------------------------------------------------------

    def reminder(self, text: str, message: JSON) -> JSON:
        return self.text(text)

    def system(self, text: str, message: JSON) -> JSON:
        return {"type": "message", "role": self.q.system_role, "content": [self.text(text)]}

    def user(self, parts: list[JSON]) -> JSON:
        return {"type": "message", "role": "user", "content": parts}

    def assistant(self, contents: list[list[JSON]], recent: bool, call_id: Callable[[JSON], str]) -> Slices[list[JSON]]:
        """Return the items of one turn, in the order of the blocks, so that each reasoning item is where it was."""
        turn: list[JSON] = []
        phases = TurnPhases(turn)
        for n, block in enumerate((block for content in contents for block in content), 1):
            if not n % ITEMS:
                yield
            kind = block["type"]
            last = turn[-1] if turn else None
            if kind == "tool_use":
                phases.forget()
                turn.append(self._call(block, call_id(block)))
            elif kind == "thinking":
                self._add_thinking(turn, phases, block, recent)
                yield  # parsing a signature takes long: it may hold megabytes
            elif (text := self.draft.text(block)).strip():
                if last is None or last["type"] != "message" or phases.begins_message:
                    last = self._message()
                    phases.begin(last)
                    turn.append(last)
                last["content"].append({"type": "output_text", "text": text, "annotations": []})
        if phases.has_phases:
            self.draft.added_fields.add("phase")
        self._finish_turn(turn, recent)
        return turn

    def _add_thinking(self, turn: list[JSON], phases: TurnPhases, block: JSON, recent: bool) -> None:
        """Add what a thinking block carries for this model: a reasoning item, or the phase of a message."""
        vendor = reasoning.read_state(block, self.draft)
        if vendor is None:
            return
        if self.q.phases != "none":
            phases.read(vendor.state)
        item = reasoning.item(vendor, block, self.draft, recent)
        if item is not None and not (turn and reasoning.merge(turn[-1], item)):
            turn.append(item)

    def _finish_turn(self, turn: list[JSON], recent: bool) -> None:
        """Make the reasoning items of a turn acceptable: none at the end, one if it is required, all with an id."""
        # OpenAI rejects a reasoning item that nothing follows (2025-04). OpenRouter itself puts items last (it sets
        # `format`), so those stay, unless nothing else is in the turn.
        while turn and turn[-1]["type"] == "reasoning" and ("format" not in turn[-1] or len(turn) == 1):
            turn.pop()
        thoughts = [item for item in turn if item["type"] == "reasoning"]
        if (
            not thoughts
            and reasoning.is_required(self.draft, recent)
            and any(item["type"] == "function_call" for item in turn)
        ):
            thoughts.append(reasoning.placeholder())
            turn.insert(0, thoughts[0])
        for item in thoughts:
            self._reasoning_count += 1
            item.setdefault("id", f"rs_{self._reasoning_count}")

    def _message(self) -> JSON:
        """Return an empty message of the assistant.

        OpenAI's types and OpenRouter require `id` and `status`. Any id works."""
        self._message_count += 1
        id = f"msg_{self._message_count}"
        return {"type": "message", "id": id, "role": "assistant", "status": "completed", "content": []}

    # -- calls and results -------------------------------------------------------------------------------------------

    def _call(self, block: JSON, call_id: str) -> JSON:
        arguments = arguments_text(block["input"], self.q.broken_arguments)
        name = self.draft.names.to_upstream(block["name"])
        return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}

    def call_id(self, id: str, n: int) -> str:
        """Return the call_id for the tool id `id`. `n`: how many earlier calls have the same id."""
        limit = self.q.tool_id_limit or CALL_ID_LIMIT
        name = f"{id} {n}" if n else ids.original(id)
        if not n and 0 < len(name) <= limit:
            return name
        # a hash, not a counter: the next request must use the same id for the same call, or the upstream's prefix cache
        # misses
        return "call_" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[: min(limit, 40) - 5]

    def result(self, parts: list[JSON], block: JSON) -> Any:
        if all(part["type"] == "input_text" for part in parts):
            return with_error(block, "\n".join(part["text"] for part in parts)) or self.q.empty_content
        if block.get("is_error"):
            first = parts[0].get("text")
            return [self.text(with_error(block, first)), *parts[1:]] if first else [self.text("Error: "), *parts]
        return parts

    def output(self, call_id: str, content: Any, block: JSON | None) -> JSON:
        if (
            block is not None
            and isinstance(content, str)
            and content
            and self._has_marks
            and block.get("cache_control")
        ):
            content = [self.mark(self.text(content), block)]
        return {"type": "function_call_output", "call_id": call_id, "output": content}


def build(draft: Draft) -> Slices[None]:
    """Write `instructions` and `input` of the draft's body."""
    q = draft.quirks
    shape = ItemShape(draft)
    turns = Turns(draft, shape)
    out = turns.out
    if turns.lead and not q.system_as_user:
        draft.body["instructions"] = turns.lead
    yield from turns.walk()
    if out and out[-1].get("role") == "assistant" and q.prefill == "instruct":
        turns.instruct(JOINT.join(part["text"] for part in out[-1]["content"]))
    if not any(item.get("role") == "user" or item["type"] == "function_call_output" for item in out):
        turns.say([shape.text(NO_CONTENT)])
    if q.system_as_user:
        turns.lead_user()
    if q.phases == "all" and add_by_position(out):
        draft.added_fields.add("phase")
    for part in shape.marked_parts[:-BREAKPOINTS]:
        del part["prompt_cache_breakpoint"]
    draft.body["input"] = out
