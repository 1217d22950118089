"""The order of a conversation on both OpenAI wires: turns, calls and their results, ids, media of results.

Knows: which message follows which, and what must stand next to what. Must not know: how a wire writes a message (its `Shape` does).
Invariants: every call has exactly one result, directly after the calls of its turn, and every result its call; no text is lost; equal
turns give equal output, so that the upstream's prefix cache hits.

The Messages API merges neighbouring messages of one role, so a result may stand in the second of two user messages. The walk therefore goes
phase by phase: a run of the assistant's messages is one turn, and all messages between two of them are another. Example:

    assistant: call A, call B          one turn with both calls
    user:      "wait", result of B     results of A and B, in the order of the calls, then the text "wait"
    user:      result of A
    assistant: …                       the next turn
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.text import blocks, reminder, system_texts, unfolded
from a2py.wires.openai.media import MEDIA, Parts

#: Result of a call that the client's history has no result for.
NO_RESULT = "(no result: the call was interrupted)"
#: Text of a turn that must not be empty.
EMPTY = "(no content)"
#: Between the texts of one message.
JOINT = "\n\n"


class Shape(Parts, Protocol):
    """How a wire writes what `Turns` has put in order. Messages and items are dicts; a user's has `role` and a list `content`."""

    text_type: str  #: type of a text part
    media_in_result: bool  #: media may stay in a tool's result
    keeps_empty_turns: bool  #: a user's turn without content still separates two turns of the assistant

    def mark(self, part: JSON, block: JSON) -> JSON:
        """Return the `part` made of a user's `block`, with the block's cache mark."""

    def reminder(self, text: str, message: JSON) -> JSON:
        """A system message in mid-conversation as a part of the user's turn."""

    def system(self, text: str, message: JSON) -> JSON:
        """A system message in mid-conversation that keeps its place."""

    def user(self, parts: list[JSON]) -> JSON:
        """A user message. Its content, a list, may grow."""

    def assistant(self, contents: list[list[JSON]], recent: bool, call_id: Callable[[JSON], str]) -> Slices[list[JSON]]:
        """One turn of the assistant, made of the contents of its messages. `recent`: no user text has come since. `call_id`: must be called
        once for each call that goes out, in their order, and gives the id for it."""

    def call_id(self, id: str, n: int) -> str:
        """The upstream's id for the client's `id`; `n` above 0: another one, because of two calls with the same id."""

    def result(self, parts: list[JSON], block: JSON) -> Any:
        """The content of a tool's result: text, or a list of parts. `parts`: what the block holds, without empty texts."""

    def output(self, call_id: str, content: Any, block: JSON | None) -> JSON:
        """The message that answers a call. `block`: None if the client has no result."""


class Turns:
    """Builds `out`, the list of messages or items."""

    def __init__(self, draft: Draft, shape: Shape) -> None:
        self.draft = draft
        self.q = draft.quirks
        self.shape = shape
        self.out: list[JSON] = []
        self.lead = JOINT.join(system_texts(draft.request.system))  # the text of the `system` field
        self._open: list[tuple[str, str]] = []  # client's and upstream's ids of the calls that wait for their results
        self._taken: dict[str, int] = {}  # upstream's ids among them → how often each was asked for
        self._lifted = 0  # media taken out of results

    def walk(self) -> Slices[None]:
        """Append all messages of the request."""
        phases = yield from self._phases()
        prompts = (n for n in reversed(range(len(phases))) if not phases[n][0] and any(map(_prompts, phases[n][1])))
        last_prompt = next(prompts, -1)
        for n, (assistant, run) in enumerate(phases):
            if assistant:
                contents = [blocks(message["content"]) for message in run]
                self.out += yield from self.shape.assistant(contents, n > last_prompt, self._call_id)
            else:
                yield from self._between(run)
            if n % ITEMS == ITEMS - 1:
                yield
        yield from self._settle([])

    def _phases(self) -> Slices[list[tuple[bool, list[JSON]]]]:
        """Return the runs of messages: whether they are the assistant's, and which they are."""
        phases: list[tuple[bool, list[JSON]]] = []
        for n, message in enumerate(self.draft.request.messages, 1):
            if not n % ITEMS:
                yield
            if self._speaks(message):
                assistant = message["role"] == "assistant"
                if not phases or phases[-1][0] != assistant:
                    phases.append((assistant, []))
                phases[-1][1].append(message)
        return phases

    # -- what a wire adds after the walk -----------------------------------------------------------------------------

    def say(self, parts: list[JSON]) -> None:
        """Append `parts` as a user message, or to the one that is last."""
        if not parts:
            return
        role = self.out[-1].get("role") if self.out else None
        if role == "user":
            self.out[-1]["content"] += parts
            return
        if role == "tool" and self.q.after_tool:
            self.out.append({"role": "assistant", "content": self.q.after_tool})
        self.out.append(self.shape.user(parts))

    def lead_user(self) -> None:
        """Put the lead at the head of the first user message, for a server that takes no system message."""
        if not self.lead:
            return
        part = self.shape.text(self.lead)
        for message in self.out:
            if message.get("role") == "user":
                message["content"].insert(0, part)
                return
        self.out.insert(0, self.shape.user([part]))

    def instruct(self, prefill: str) -> None:
        """Replace the assistant's last message, a prefill that the server refuses, by an instruction."""
        self.out.pop()
        self.draft.lose("prefill")
        self.say([self.shape.text(f"Begin your reply with exactly this text, and go on from where it stops:\n\n{prefill}")])

    # -- turns -------------------------------------------------------------------------------------------------------

    def _speaks(self, message: JSON) -> bool:
        """Whether a message is anything but an empty system message, which separates no turns."""
        return message["role"] != "system" or bool(self.draft.system_texts(message))

    def _between(self, run: list[JSON]) -> Slices[None]:
        """User and system messages up to the assistant's next turn: results first, then their media, then text in its order."""
        start = len(self.out)
        results = (yield from self._answers(run)) if self._open else []
        answers = {id(block) for block in results}
        parts = yield from self._settle(results)
        for n, message in enumerate(run, 1):
            if not n % ITEMS:
                yield
            if message["role"] == "system":
                text = JOINT.join(self.draft.system_texts(message))
                if self.q.mid_system == "inline":
                    self.say(parts)
                    parts = []
                    self.out.append(self.shape.system(text, message))
                else:
                    parts.append(self.shape.reminder(reminder(text), message))
                continue
            for k, block in enumerate(unfolded(blocks(message["content"])), 1):
                if not k % ITEMS:
                    yield
                if block["type"] != "tool_result":
                    parts += self._parts(block)
                elif id(block) not in answers:
                    parts += yield from self._orphan(block)
        self.say(parts)
        if not parts and not results and self.shape.keeps_empty_turns and any(message["role"] == "user" for message in run):
            turn = self.out[max(0, start - 1) :]  # with the message before it: a user's, if the assistant's turn between them was empty
            if not any(message["role"] in ("user", "tool") for message in turn):
                self.say([self.shape.text(EMPTY)])

    def _parts(self, block: JSON) -> list[JSON]:
        make = MEDIA.get(block["type"])
        if make is not None:
            return [self.shape.mark(make(block, self.draft, self.shape), block)]
        text = self.draft.text(block)
        return [self.shape.mark(self.shape.text(text), block)] if text.strip() else []

    # -- calls and results -------------------------------------------------------------------------------------------

    def _call_id(self, block: JSON) -> str:
        """Return the upstream's id for a call, which waits for its result from here on."""
        given = block["id"]
        first = id = self.shape.call_id(given, 0)
        n = self._taken.get(id, 0)
        while id in self._taken:  # two calls of one turn that came with the same id
            n += 1
            id = self.shape.call_id(given, n)
        self._taken[id] = 0
        self._taken[first] = n
        self._open.append((given, id))
        return id

    def _answers(self, run: list[JSON]) -> Slices[list[JSON | None]]:
        """Return the result of each open call, in the order of the calls; None for a call that has none."""
        found: dict[str, deque[JSON]] = {}
        for n, block in enumerate((block for message in run for block in blocks(message["content"])), 1):
            if not n % ITEMS:
                yield
            if block["type"] == "tool_result":
                found.setdefault(block["tool_use_id"], deque()).append(block)
        return [given.popleft() if (given := found.get(client_id)) else None for client_id, _ in self._open]

    def _settle(self, results: list[JSON | None]) -> Slices[list[JSON]]:
        """Append one result for each open call, in the order of the calls. Return the media of the results, for the next user message."""
        lifted: list[JSON] = []
        for n, (_, call_id) in enumerate(self._open):
            if n % ITEMS == ITEMS - 1:
                yield
            block = results[n] if results else None
            content = NO_RESULT if block is None else (yield from self._result(block, lifted))
            self.out.append(self.shape.output(call_id, content, block))
        self._open.clear()
        self._taken.clear()
        return lifted

    def _result(self, block: JSON, lifted: list[JSON]) -> Slices[Any]:
        """Return the content of a result. Media that it must not hold are appended to `lifted`."""
        shape = self.shape
        parts: list[JSON] = []
        for n, inner in enumerate(unfolded(blocks(block.get("content") or [])), 1):
            if not n % ITEMS:
                yield
            make = MEDIA.get(inner["type"])
            part = shape.text(self.draft.text(inner)) if make is None else make(inner, self.draft, shape)
            if part["type"] != shape.text_type and not shape.media_in_result:
                self._lifted += 1
                name = "image" if inner["type"] == "image" else "document"
                lifted += [shape.text(f"[{name} {self._lifted}]"), part]
                part = shape.text(f"[{name} {self._lifted} below]")
            if part.get("text") != "":
                parts.append(part)
        return shape.result(parts, block)

    def _orphan(self, block: JSON) -> Slices[list[JSON]]:
        """A result without its call, as parts of the user's turn."""
        lifted: list[JSON] = []
        content = yield from self._result(block, lifted)
        if isinstance(content, list):
            return [self.shape.text("[result of an earlier tool call]"), *content]
        return [self.shape.text(f"[result of an earlier tool call]\n{content}"), *lifted]


def with_error(block: JSON, text: str) -> str:
    """Return the text of a result, with the word `Error` if it is one and does not say so."""
    return f"Error: {text}" if block.get("is_error") and not text.lower().startswith("error") else text


def _prompts(message: JSON) -> bool:
    """Whether a message is a user's and holds anything but tool results."""
    content = message["content"]
    if message["role"] != "user":
        return False
    return isinstance(content, str) or any(block["type"] != "tool_result" for block in content)
