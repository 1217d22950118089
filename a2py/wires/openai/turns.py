"""The order of a conversation on both OpenAI wires: turns, calls and their results, ids, media of results.

Knows: which message follows which, and what must be next to what. Must not know: how a wire writes a message (its
`Shape` does).
Invariants: each call has exactly one result, directly after the calls of its turn, and each result has its call; no
text is lost; equal turns give equal output, so that the upstream's prefix cache hits.

The Messages API merges neighbouring messages of one role, so a result may be in the second of two user messages.
Therefore the walk goes from run to run: the assistant's messages in a row are one turn, and all messages between two
such turns are another. Example:

    assistant: call A, call B          one turn with both calls
    user:      "wait", result of B     results of A and B, in the order of the calls, then the text "wait"
    user:      result of A
    assistant: …                       the next turn
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices
from a2py.wires.common.draft import Draft
from a2py.wires.common.text import (
    CITABLE,
    EARLIER_RESULT,
    NO_CONTENT,
    NO_RESULT,
    blocks,
    system_texts,
    unfold_documents,
    wants_citations,
    wrap_reminder,
)
from a2py.wires.openai.media import MEDIA, Parts

#: Separator of the texts of one message.
JOINT = "\n\n"


class Shape(Parts, Protocol):
    """How a wire writes what `Turns` has put in order. Messages and items are dicts; a user's has `role` and a list
    `content`."""

    text_type: str  #: type of a text part
    media_in_result: bool  #: a tool's result may hold media
    keeps_empty_turns: bool  #: a user's turn without content still separates two turns of the assistant

    def mark(self, part: JSON, block: JSON) -> JSON:
        """Return the `part` made of a user's `block`, with the block's cache mark."""

    def reminder(self, text: str, message: JSON) -> JSON:
        """Return a system message in mid-conversation as a part of the user's turn."""

    def system(self, text: str, message: JSON) -> JSON:
        """Return a system message in mid-conversation that keeps its place."""

    def user(self, parts: list[JSON]) -> JSON:
        """Return a user message. Its content, a list, may grow."""

    def assistant(self, contents: list[list[JSON]], recent: bool, call_id: Callable[[JSON], str]) -> Slices[list[JSON]]:
        """Return one turn of the assistant, made of the contents of its messages. `recent`: there is no user text after
        it. `call_id` returns the id for a call; it must be called once for each call that is sent, in their order."""

    def call_id(self, id: str, n: int) -> str:
        """Return the upstream's id for the client's `id`. Each `n` gives another one; above 0 if an id is taken."""

    def result(self, parts: list[JSON], block: JSON) -> Any:
        """Return the content of a tool's result: text, or a list of parts. `parts`: what the block holds, without empty
        texts."""

    def output(self, call_id: str, content: Any, block: JSON | None) -> JSON:
        """Return the message that answers a call. `block`: None if the client has no result."""


class Turns:
    """Builds `out`, the list of messages or items. `lead`: the text of the `system` field."""

    def __init__(self, draft: Draft, shape: Shape) -> None:
        self.draft = draft
        self.q = draft.quirks
        self.shape = shape
        self.out: list[JSON] = []
        self.lead = JOINT.join(system_texts(draft.request.system))
        self._open: list[tuple[str, str]] = []  # client's and upstream's ids of the calls that wait for their results
        self._open_ids: dict[str, int] = {}  # the upstream's ids among them → how many more calls wanted the same
        self._moved_media = 0  # media taken out of results

    def walk(self) -> Slices[None]:
        """Append all messages of the request."""
        runs = yield from self._runs()
        prompts = (n for n in reversed(range(len(runs))) if not runs[n][0] and any(map(_is_prompt, runs[n][1])))
        last_prompt = next(prompts, -1)
        for n, (is_assistant, messages) in enumerate(runs):
            if is_assistant:
                contents = [blocks(message["content"]) for message in messages]
                self.out += yield from self.shape.assistant(contents, n > last_prompt, self._call_id)
            else:
                yield from self._add_user_turn(messages)
            if n % ITEMS == ITEMS - 1:
                yield
        yield from self._add_results([])

    def _runs(self) -> Slices[list[tuple[bool, list[JSON]]]]:
        """Return the runs of messages: whether they are the assistant's, and the messages."""
        runs: list[tuple[bool, list[JSON]]] = []
        for n, message in enumerate(self.draft.request.messages, 1):
            if not n % ITEMS:
                yield
            if message["role"] == "system" and not self.draft.system_texts(message):
                continue  # an empty one separates no turns
            is_assistant = message["role"] == "assistant"
            if not runs or runs[-1][0] != is_assistant:
                runs.append((is_assistant, []))
            runs[-1][1].append(message)
        return runs

    # -- what a wire adds after the walk -----------------------------------------------------------------------------

    def say(self, parts: list[JSON]) -> None:
        """Append `parts` to the last message if it is a user's, otherwise as a new user message."""
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
        """Put `lead` before the content of the first user message, for a server that takes no system message."""
        if not self.lead:
            return
        part = self.shape.text(self.lead)
        for message in self.out:
            if message.get("role") == "user":
                message["content"].insert(0, part)
                return
        self.out.insert(0, self.shape.user([part]))

    def instruct(self, prefill: str) -> None:
        """Replace the last message, a prefill of the assistant that the server rejects, by an instruction."""
        self.out.pop()
        self.draft.lose("prefill")
        self.say(
            [self.shape.text(f"Begin your reply with exactly this text, and go on from where it stops:\n\n{prefill}")]
        )

    # -- turns -------------------------------------------------------------------------------------------------------

    def _add_user_turn(self, messages: list[JSON]) -> Slices[None]:
        """Append the user and system messages before the assistant's next turn: results first, then their media, then
        text in its order."""
        start = len(self.out)
        results = (yield from self._match_results(messages)) if self._open else []
        result_ids = {id(block) for block in results}
        parts = yield from self._add_results(results)
        for n, message in enumerate(messages, 1):
            if not n % ITEMS:
                yield
            if message["role"] == "system":
                parts = self._add_system(message, parts)
            else:
                parts += yield from self._content(message, result_ids)
        self.say(parts)
        if (
            not parts
            and not results
            and self.shape.keeps_empty_turns
            and any(message["role"] == "user" for message in messages)
        ):
            self._separate(start)

    def _add_system(self, message: JSON, parts: list[JSON]) -> list[JSON]:
        """Add a system message to the `parts` of the user's turn, or append both to `out`. Return the parts that are
        still to be appended."""
        text = JOINT.join(self.draft.system_texts(message))
        if self.q.mid_system != "inline":
            parts.append(self.shape.reminder(wrap_reminder(text), message))
            return parts
        self.say(parts)
        self.out.append(self.shape.system(text, message))
        return []

    def _content(self, message: JSON, result_ids: set[int]) -> Slices[list[JSON]]:
        """Return the parts of a user message. `result_ids`: identities of the blocks that are the results of calls."""
        parts: list[JSON] = []
        for n, block in enumerate(self._unfold(message["content"]), 1):
            if not n % ITEMS:
                yield
            if block["type"] != "tool_result":
                parts += self._parts(block)
            elif id(block) not in result_ids:
                parts += yield from self._orphan(block)
        return parts

    def _unfold(self, content: Any) -> Iterable[JSON]:
        """Return `content` as blocks, each of which is one part. Citations that the client wants are reported as lost:
        no OpenAI API can be asked to cite a document of the prompt."""
        own = blocks(content)
        if CITABLE.isdisjoint([block["type"] for block in own]):
            return own
        if any(map(wants_citations, own)):
            self.draft.lose("citations")
        return unfold_documents(own)

    def _separate(self, start: int) -> None:
        """Append an empty user message, unless `out` has a user's or a result since `start`.

        The message before `start` counts, too. If it is a user's, the assistant's turn after it was empty, and nothing
        has to be separated.
        """
        turn = self.out[max(0, start - 1) :]
        if not any(message["role"] in ("user", "tool") for message in turn):
            self.say([self.shape.text(NO_CONTENT)])

    def _parts(self, block: JSON) -> list[JSON]:
        make = MEDIA.get(block["type"])
        if make is not None:
            return [self.shape.mark(make(block, self.draft, self.shape), block)]
        text = self.draft.text(block)
        return [self.shape.mark(self.shape.text(text), block)] if text.strip() else []

    # -- calls and results -------------------------------------------------------------------------------------------

    def _call_id(self, block: JSON) -> str:
        """Return the upstream's id for a call, which waits for its result from now on."""
        client_id = block["id"]
        first = id = self.shape.call_id(client_id, 0)
        n = self._open_ids.get(id, 0)
        while id in self._open_ids:  # two calls of one turn have the same id
            n += 1
            id = self.shape.call_id(client_id, n)
        self._open_ids[id] = 0
        self._open_ids[first] = n
        self._open.append((client_id, id))
        return id

    def _match_results(self, messages: list[JSON]) -> Slices[list[JSON | None]]:
        """Return the result of each open call, in the order of the calls; None for a call without one."""
        by_id: dict[str, deque[JSON]] = {}
        for n, block in enumerate((block for message in messages for block in blocks(message["content"])), 1):
            if not n % ITEMS:
                yield
            if block["type"] == "tool_result":
                by_id.setdefault(block["tool_use_id"], deque()).append(block)
        return [results.popleft() if (results := by_id.get(client_id)) else None for client_id, _ in self._open]

    def _add_results(self, results: list[JSON | None]) -> Slices[list[JSON]]:
        """Append one result for each open call, in the order of the calls. Return the media of the results, for the
        next user message."""
        media: list[JSON] = []
        for n, (_, call_id) in enumerate(self._open):
            if n % ITEMS == ITEMS - 1:
                yield
            block = results[n] if results else None
            content = NO_RESULT if block is None else (yield from self._result(block, media))
            self.out.append(self.shape.output(call_id, content, block))
        self._open.clear()
        self._open_ids.clear()
        return media

    def _result(self, block: JSON, media: list[JSON]) -> Slices[Any]:
        """Return the content of a result. Media that it must not hold are appended to `media`, and a text refers to
        them."""
        shape = self.shape
        parts: list[JSON] = []
        for n, inner in enumerate(self._unfold(block.get("content") or []), 1):
            if not n % ITEMS:
                yield
            make = MEDIA.get(inner["type"])
            part = shape.text(self.draft.text(inner)) if make is None else make(inner, self.draft, shape)
            if part["type"] != shape.text_type and not shape.media_in_result:
                self._moved_media += 1
                name = "image" if inner["type"] == "image" else "document"
                media += [shape.text(f"[{name} {self._moved_media}]"), part]
                part = shape.text(f"[{name} {self._moved_media} below]")
            if part.get("text") != "":
                parts.append(part)
        return shape.result(parts, block)

    def _orphan(self, block: JSON) -> Slices[list[JSON]]:
        """Return a result without a call as parts of the user's turn."""
        media: list[JSON] = []
        content = yield from self._result(block, media)
        if isinstance(content, list):
            return [self.shape.text(EARLIER_RESULT), *content]
        return [self.shape.text(f"{EARLIER_RESULT}\n{content}"), *media]


def with_error(block: JSON, text: str) -> str:
    """Return the text of a result. If it is an error and does not begin with that word, `Error: ` is put before it."""
    return f"Error: {text}" if block.get("is_error") and not text.lower().startswith("error") else text


def _is_prompt(message: JSON) -> bool:
    """Return whether a message is a user's and holds anything but tool results."""
    content = message["content"]
    if message["role"] != "user":
        return False
    return isinstance(content, str) or any(block["type"] != "tool_result" for block in content)
