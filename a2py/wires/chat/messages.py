"""The conversation as chat-completions messages.

Knows: how messages, calls and results are written, and each quirk that decides where text goes.
Must not know: the order of turns (openai/turns.py), tools, limits, sampling.
Invariants: the messages are valid: each call has exactly one result, directly after it, and each result has its call;
no text is lost; equal turns give equal bytes, so that the upstream's prefix cache hits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from a2py.messages import ids
from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices
from a2py.wires.chat.reasoning import History
from a2py.wires.common.draft import Draft
from a2py.wires.common.text import NO_CONTENT, arguments_text, as_text, blocks
from a2py.wires.openai.turns import JOINT, Turns, with_error

#: Values of Quirks.cache with which the cache marks of texts and media are sent.
MARK_MODES = frozenset({"blocks", "keyed_blocks", "breakpoint"})
_MISTRAL = re.compile(r"[A-Za-z0-9]{9}\Z")


class ChatShape:
    """Writes messages. The content of a user's message is a list of parts, until `build` makes it a string if it
    can."""

    text_type = "text"
    keeps_empty_turns = True

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.q = draft.quirks
        self.media_in_result = draft.quirks.media_in_tool
        self._marks = draft.quirks.cache in MARK_MODES

    # -- parts -------------------------------------------------------------------------------------------------------

    def text(self, text: str) -> JSON:
        return {"type": "text", "text": text}

    def image(self, url: str) -> JSON:
        return {"type": "image_url", "image_url": {"url": url}}

    def file(self, name: str, url: str) -> JSON:
        return {"type": "file", "file": {"filename": name, "file_data": url}}

    def linked_file(self, url: str) -> None:
        return None

    def pdf_image(self, url: str) -> JSON:
        return self.image(url)

    def mark(self, part: JSON, block: JSON) -> JSON:
        return self._mark_from(part, [block]) if self._marks else part

    def _mark_from(self, part: JSON, blocks: list[JSON]) -> JSON:
        """Return `part` with the last cache mark of the blocks that it is made of."""
        marks = (
            [block["cache_control"] for block in blocks if isinstance(block.get("cache_control"), dict)]
            if self._marks
            else []
        )
        if marks:
            part["cache_control"] = marks[-1]
        return part

    def content(self, parts: list[JSON]) -> Any:
        """Return `parts` as the content of a message: one string if they are plain texts."""
        plain = all(part["type"] == "text" and len(part) == 2 for part in parts)
        if plain and (self.q.string_content or len(parts) == 1):
            return JOINT.join([part["text"] for part in parts])
        return parts

    # -- messages ----------------------------------------------------------------------------------------------------

    def reminder(self, text: str, message: JSON) -> JSON:
        return self._mark_from(self.text(text), blocks(message["content"]))

    def system(self, text: str, message: JSON) -> JSON:
        part = self._mark_from(self.text(text), blocks(message["content"]))
        return {"role": self.q.system_role, "content": self.content([part])}

    def user(self, parts: list[JSON]) -> JSON:
        return {"role": "user", "content": parts}

    def assistant(self, contents: list[list[JSON]], recent: bool, call_id: Callable[[JSON], str]) -> Slices[list[JSON]]:
        history = History(self.draft)
        texts: list[str] = []
        calls: list[JSON] = []
        for n, content in enumerate(contents, 1):
            if not n % ITEMS:
                yield
            yield from self._read_content(content, history, texts, calls, call_id)
        if not texts and not calls:
            return []
        message: JSON = {"role": "assistant", "content": None}
        if texts:
            part = self.text(JOINT.join(texts))
            if self._marks:
                self._mark_from(part, [block for content in contents for block in content])
            message["content"] = self.content([part])
        if calls:
            message["tool_calls"] = calls
        history.put(message, recent)
        return [message]

    def _read_content(
        self, content: list[JSON], history: History, texts: list[str], calls: list[JSON], call_id: Callable[[JSON], str]
    ) -> Slices[None]:
        """Sort the blocks of one message into `history`, `texts` and `calls`.

        Neighbouring text blocks are joined to one text without a gap, also if thinking or a call is between them:
        Anthropic splits a text where a citation begins, in the middle of a sentence, but the upstream wrote it in one
        piece."""
        pieces: list[str] = []  # of the text that is not complete yet
        for n, block in enumerate(content, 1):
            if not n % ITEMS:
                yield
            kind = block["type"]
            if kind == "tool_use" and self.q.tools:
                calls.append(self._call(block, call_id(block), history.call_extra(not calls)))
            elif kind == "thinking":
                history.see(block)
                yield  # a signature may hold megabytes
            elif kind == "text":
                if pieces or block["text"].strip():
                    pieces.append(block["text"])
            elif (text := self.draft.text(block)).strip():
                texts += ["".join(pieces), text] if pieces else [text]
                pieces = []
        if pieces:
            texts.append("".join(pieces))

    # -- calls and results -------------------------------------------------------------------------------------------

    def _call(self, block: JSON, id: str, extra: JSON) -> JSON:
        function = {
            "name": self.draft.names.to_upstream(block["name"]),
            "arguments": arguments_text(block["input"], self.q.broken_arguments),
        }
        return {"id": id, "type": "function", "function": function, **extra}

    def call_id(self, id: str, n: int) -> str:
        id = ids.original(id) or "call"
        if n:
            id = f"{id}_{n}"
        if self.q.tool_ids == "mistral9" and not _MISTRAL.match(id):
            return hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[:9]
        limit = self.q.tool_id_limit
        if limit and len(id) > limit:
            return "call_" + hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[: limit - 5]
        return id

    def result(self, parts: list[JSON], block: JSON) -> Any:
        texts = [part["text"] for part in parts if part["type"] == "text"]
        text = with_error(block, "\n".join(texts))
        if len(texts) == len(parts):
            return text or self.q.empty_content
        media = [part for part in parts if part["type"] != "text"]
        return [self.text(text), *media] if text else media

    def output(self, call_id: str, content: Any, block: JSON | None) -> JSON:
        if block is not None and content and self._marks:
            inside = block.get("content")
            sources = [block] if "cache_control" in block else inside if isinstance(inside, list) else []
            parts = [self.text(content)] if isinstance(content, str) else content
            self._mark_from(parts[-1], sources)
            content = self.content(parts)
        return {"role": "tool", "tool_call_id": call_id, "content": content}


def build(draft: Draft) -> Slices[list[JSON]]:
    """Return the messages of the request."""
    q = draft.quirks
    shape = ChatShape(draft)
    turns = Turns(draft, shape)
    messages = turns.out
    if turns.lead and not q.system_as_user:
        messages.append({"role": q.system_role, "content": turns.lead})
    yield from turns.walk()
    if q.system_as_user:
        turns.lead_user()
    if q.alternation:
        _begin_with_user(messages, shape)
    if not any(message["role"] in ("user", "tool") for message in messages):
        turns.say([shape.text(NO_CONTENT)])
    last = messages[-1]
    if last["role"] == "assistant" and q.prefill == "prefix":
        last["prefix"] = True
    elif last["role"] == "assistant" and q.prefill == "instruct":
        turns.instruct(as_text(last["content"]))
    for n, message in enumerate(messages, 1):
        if not n % ITEMS:
            yield
        if message["role"] == "user":
            message["content"] = shape.content(message["content"])
    return messages


def _begin_with_user(messages: list[JSON], shape: ChatShape) -> None:
    """Insert an empty user's turn if the first message after the system messages is the assistant's."""
    first = next((n for n, message in enumerate(messages) if message["role"] != shape.q.system_role), None)
    if first is not None and messages[first]["role"] == "assistant":
        messages.insert(first, shape.user([shape.text(NO_CONTENT)]))
