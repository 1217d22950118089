"""The conversation: Anthropic's system and messages → `instructions` and `input` items.

Knows: messages, function calls and their outputs as items, and the order that they must keep.
Must not know: tools, limits, sampling.
Invariants: every call has exactly one output, behind the calls of its turn, every output its call; no text is lost; equal turns give
equal bytes, so that the upstream's prefix cache hits.
"""

from __future__ import annotations

import hashlib
from collections import deque
from itertools import zip_longest
from typing import Any

from a2py.messages import ids
from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.text import arguments_text, blocks, reminder, system_texts, unfolded
from a2py.wires.responses import reasoning
from a2py.wires.responses.media import MEDIA, text

#: Result of a call that the client's history has none for.
NO_RESULT = "(no result: the call was interrupted)"
#: Stands where there would be no input at all.
EMPTY = "(no content)"
JOINT = "\n\n"
#: Longest call_id (OpenAI, 2025-06).
CALL_ID_LIMIT = 64
#: Cache marks of one request (OpenAI, gpt-5.6).
BREAKPOINTS = 4


class Conversation:
    """Builds `out`, the list of items, phase by phase: a run of the assistant's messages is one turn, all between two of them is another."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.q = draft.quirks
        self.out: list[JSON] = []
        self._open: list[tuple[str, str]] = []  # client's and upstream's id of the calls that wait for their results
        self._taken: set[str] = set()  # these upstream's ids
        self._media = 0
        self._said = 0
        self._thoughts = 0
        self._marked: list[JSON] = []  # parts that carry a cache mark

    def build(self) -> Slices[None]:
        """`instructions` and `input` of the draft's body."""
        lead = JOINT.join(system_texts(self.draft.request.system))
        if lead and not self.q.system_as_user:
            self.draft.body["instructions"] = lead
        phases = yield from self._phases()
        prompts = (n for n in reversed(range(len(phases))) if not phases[n][0] and any(map(_speaks, phases[n][1])))
        last_prompt = next(prompts, -1)
        for n, (assistant, run) in enumerate(phases):
            if assistant:
                yield from self._assistant([block for message in run for block in blocks(message["content"])], n > last_prompt)
            else:
                yield from self._others(run)
            if n % ITEMS == ITEMS - 1:
                yield
        yield from self._settle([])
        if self.out and self.out[-1].get("role") == "assistant" and self.q.prefill == "instruct":
            self._instruct()
        if not any(item.get("role") == "user" or item["type"] == "function_call_output" for item in self.out):
            self._say([text(EMPTY)])
        if lead and self.q.system_as_user:
            self._lead(lead)
        for part in self._marked[:-BREAKPOINTS]:
            del part["prompt_cache_breakpoint"]
        self.draft.body["input"] = self.out

    # -- turns -------------------------------------------------------------------------------------------------------

    def _phases(self) -> Slices[list[tuple[bool, list[JSON]]]]:
        """Runs of messages: whether they are the assistant's, and which they are."""
        phases: list[tuple[bool, list[JSON]]] = []
        for n, message in enumerate(self.draft.request.messages, 1):
            if not n % ITEMS:
                yield
            if self._says(message):
                assistant = message["role"] == "assistant"
                if not phases or phases[-1][0] != assistant:
                    phases.append((assistant, []))
                phases[-1][1].append(message)
        return phases

    def _says(self, message: JSON) -> bool:
        """Whether a message is anything but an empty system message, which stands between no turns."""
        return message["role"] != "system" or bool(self.draft.system_texts(message))

    def _others(self, run: list[JSON]) -> Slices[None]:
        """User and system messages up to the assistant's next turn: results first, then media, then text in its order."""
        found: dict[str, deque[JSON]] = {}
        for n, block in enumerate((block for message in run for block in blocks(message["content"])), 1):
            if not n % ITEMS:
                yield
            if block["type"] == "tool_result":
                found.setdefault(block["tool_use_id"], deque()).append(block)
        results = [given.popleft() if (given := found.get(client_id)) else None for client_id, _ in self._open]
        answered = {id(block) for block in results}
        parts = yield from self._settle(results)
        for n, message in enumerate(run, 1):
            if not n % ITEMS:
                yield
            content = blocks(message["content"])
            if message["role"] == "system":
                said = JOINT.join(self.draft.system_texts(message))
                if said and self.q.mid_system == "inline":
                    self._say(parts)
                    parts = []
                    self.out.append({"type": "message", "role": self.q.system_role, "content": [text(said)]})
                elif said:
                    parts.append(text(reminder(said)))
                continue
            for k, block in enumerate(unfolded(content), 1):
                if block["type"] != "tool_result":
                    parts += self._parts(block)
                elif id(block) not in answered:
                    parts += self._orphan(block)
                if not k % ITEMS:
                    yield
        self._say(parts)

    def _assistant(self, content: list[JSON], recent: bool) -> Slices[None]:
        """Items in the order of the blocks, so that reasoning stands where it stood."""
        turn: list[JSON] = []
        for n, block in enumerate(content, 1):
            if not n % ITEMS:
                yield
            kind = block["type"]
            last = turn[-1] if turn else None
            if kind == "tool_use":
                turn.append(self._call(block))
            elif kind == "thinking":
                yield  # a signature may hold megabytes
                item = reasoning.item(block, self.draft, recent)
                if item is not None and (last is None or not reasoning.merge(last, item)):
                    turn.append(item)
            else:
                said = self.draft.text(block)
                if not said.strip():
                    continue
                if last is None or last["type"] != "message":
                    self._said += 1
                    # OpenAI's types and OpenRouter demand id and status; any id of this form is taken
                    last = {"type": "message", "id": f"msg_{self._said}", "role": "assistant", "status": "completed", "content": []}
                    turn.append(last)
                last["content"].append({"type": "output_text", "text": said, "annotations": []})
        # OpenAI refuses a reasoning item that nothing follows (2025-04); where the vendor itself puts it last (`format`: OpenRouter), it may stand
        while turn and turn[-1]["type"] == "reasoning" and ("format" not in turn[-1] or len(turn) == 1):
            turn.pop()
        kinds = {item["type"] for item in turn}
        if reasoning.demanded(self.draft, recent) and "function_call" in kinds and "reasoning" not in kinds:
            turn.insert(0, reasoning.placeholder())
        for item in turn:
            if item["type"] == "reasoning":
                self._thoughts += 1
                item.setdefault("id", f"rs_{self._thoughts}")
        self.out += turn

    # -- calls and results -------------------------------------------------------------------------------------------

    def _call(self, block: JSON) -> JSON:
        arguments = arguments_text(block["input"], self.q.broken_arguments)
        call_id, n = self._upstream_id(block["id"]), len(self._open)
        while call_id in self._taken:  # two calls of one turn that came with the same id
            call_id, n = self._hashed(f"{block['id']} {n}"), n + 1
        self._taken.add(call_id)
        self._open.append((block["id"], call_id))
        return {"type": "function_call", "call_id": call_id, "name": self.draft.names.sent(block["name"]), "arguments": arguments}

    def _upstream_id(self, id: str) -> str:
        id = ids.original(id)
        return self._hashed(id) if not 0 < len(id) <= (self.q.tool_id_limit or CALL_ID_LIMIT) else id

    def _hashed(self, id: str) -> str:
        limit = self.q.tool_id_limit or CALL_ID_LIMIT
        return "call_" + hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[: min(limit, 40) - 5]

    def _settle(self, results: list[JSON | None]) -> Slices[list[JSON]]:
        """One output per open call, in the order of the calls; the media of their results, for the user message behind them."""
        lifted: list[JSON] = []
        for n, ((_, call_id), block) in enumerate(zip_longest(self._open, results), 1):
            if not n % ITEMS:
                yield
            output: Any = NO_RESULT if block is None else self._result(block, lifted)
            if block is not None and isinstance(output, str) and output and self._is_marked(block):
                output = [self._mark(text(output))]
            self.out.append({"type": "function_call_output", "call_id": call_id, "output": output})
        self._open = []
        self._taken.clear()
        return lifted

    def _result(self, block: JSON, lifted: list[JSON]) -> Any:
        """Text, or a list of parts where the upstream takes media in an output."""
        parts: list[JSON] = []
        for inner in unfolded(blocks(block.get("content") or [])):
            make = MEDIA.get(inner["type"])
            part = text(self.draft.text(inner)) if make is None else make(inner, self.draft)
            if part["type"] != "input_text" and not self.q.media_in_output:
                self._media += 1
                name = "image" if inner["type"] == "image" else "document"
                lifted += [text(f"[{name} {self._media}]"), part]
                part = text(f"[{name} {self._media} below]")
            if part.get("text") != "":
                parts.append(part)
        if all(part["type"] == "input_text" for part in parts):
            said = "\n".join(part["text"] for part in parts)
            return self._error(block, said) or self.q.empty_content
        if block.get("is_error"):
            first = parts[0].get("text")
            parts = [text(self._error(block, first)), *parts[1:]] if first else [text("Error: "), *parts]
        return parts

    @staticmethod
    def _error(block: JSON, said: str) -> str:
        return f"Error: {said}" if block.get("is_error") and not said.lower().startswith("error") else said

    def _orphan(self, block: JSON) -> list[JSON]:
        """A result without its call, as parts of the user's turn."""
        parts: list[JSON] = []
        output = self._result(block, parts)
        if isinstance(output, list):
            return [text("[result of an earlier tool call]"), *output]
        return [text(f"[result of an earlier tool call]\n{output}"), *parts]

    # -- text --------------------------------------------------------------------------------------------------------

    def _parts(self, block: JSON) -> list[JSON]:
        make = MEDIA.get(block["type"])
        part = text(self.draft.text(block)) if make is None else make(block, self.draft)
        if make is None and not part["text"].strip():
            return []
        return [self._mark(part) if self._is_marked(block) else part]

    def _is_marked(self, block: JSON) -> bool:
        return self.q.cache == "breakpoint" and bool(block.get("cache_control"))

    def _mark(self, part: JSON) -> JSON:
        part["prompt_cache_breakpoint"] = {"mode": "explicit"}
        self._marked.append(part)
        return part

    def _say(self, parts: list[JSON]) -> None:
        """`parts` as a user message, or as more of the one that stands last."""
        if not parts:
            return
        last = self.out[-1] if self.out else None
        if last is not None and last.get("role") == "user":
            last["content"] += parts
        else:
            self.out.append({"type": "message", "role": "user", "content": list(parts)})

    def _lead(self, said: str) -> None:
        """The system text at the head of the first user message."""
        for item in self.out:
            if item.get("role") == "user":
                item["content"].insert(0, text(said))
                return
        self.out.insert(0, {"type": "message", "role": "user", "content": [text(said)]})

    def _instruct(self) -> None:
        """A prefill that is refused becomes an instruction."""
        said = JOINT.join(part["text"] for part in self.out.pop()["content"])
        self.draft.lose("prefill")
        self._say([text(f"Begin your reply with exactly this text, and go on from where it stops:\n\n{said}")])


def _speaks(message: JSON) -> bool:
    """Whether a message is a user's and holds anything but tool results."""
    content = message["content"]
    if message["role"] != "user":
        return False
    return isinstance(content, str) or any(block["type"] != "tool_result" for block in content)
