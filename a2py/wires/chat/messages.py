"""The conversation as chat-completions messages.

Knows: how messages, calls and results are written, and every knob of Quirks that moves text.
Must not know: the order of turns (openai/turns.py), tools, limits, sampling.
Invariants: the result always validates: every call has exactly one result directly after it, every result its call; no text is
lost; equal turns give equal bytes, so that the upstream's prefix cache hits.
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
from a2py.wires.common.text import arguments_text, as_text, blocks
from a2py.wires.openai.turns import EMPTY, JOINT, Turns, with_error

#: Values of Quirks.cache that keep the cache marks of texts and media.
MARKED = frozenset({"blocks", "keyed_blocks", "breakpoint"})
_MISTRAL = re.compile(r"[A-Za-z0-9]{9}\Z")


class ChatShape:
    """Writes messages. A user's content is a list of parts until `build` gives it its form."""

    text_type = "text"
    keeps_empty_turns = True

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.q = draft.quirks
        self.media_in_result = draft.quirks.media_in_tool
        self._marks = draft.quirks.cache in MARKED

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
        return self._marked(part, [block]) if self._marks else part

    def _marked(self, part: JSON, blocks: list[JSON]) -> JSON:
        """Return `part` with the last cache mark of the blocks that it was made of."""
        marks = [block["cache_control"] for block in blocks if isinstance(block.get("cache_control"), dict)] if self._marks else []
        if marks:
            part["cache_control"] = marks[-1]
        return part

    def content(self, parts: list[JSON]) -> Any:
        """Return `parts` as a message's content: one string if they are plain texts."""
        plain = all(part["type"] == "text" and len(part) == 2 for part in parts)
        if plain and (self.q.string_content or len(parts) == 1):
            return JOINT.join([part["text"] for part in parts])
        return parts

    # -- messages ----------------------------------------------------------------------------------------------------

    def reminder(self, text: str, message: JSON) -> JSON:
        return self._marked(self.text(text), blocks(message["content"]))

    def system(self, text: str, message: JSON) -> JSON:
        part = self._marked(self.text(text), blocks(message["content"]))
        return {"role": self.q.system_role, "content": self.content([part])}

    def user(self, parts: list[JSON]) -> JSON:
        return {"role": "user", "content": parts}

    def assistant(self, contents: list[list[JSON]], recent: bool, call_id: Callable[[JSON], str]) -> Slices[list[JSON]]:
        """The texts of a message are joined where they broke off (citations cut them in mid-sentence, reasoning came between): the upstream
        had said them in one piece."""
        history = History(self.draft)
        texts: list[list[str]] = []
        calls: list[JSON] = []
        for n, content in enumerate(contents, 1):
            if not n % ITEMS:
                yield
            goes_on = False
            for k, block in enumerate(content, 1):
                if not k % ITEMS:
                    yield
                kind = block["type"]
                if kind == "tool_use" and self.q.tools:
                    calls.append(self._call(block, call_id(block), history.call_extra(not calls)))
                elif kind == "thinking":
                    history.see(block)
                    yield  # a signature may hold megabytes
                elif goes_on and kind == "text":
                    texts[-1].append(block["text"])
                elif (text := self.draft.text(block)).strip():
                    texts.append([text])
                    goes_on = kind == "text"
        if not texts and not calls:
            return []
        message: JSON = {"role": "assistant", "content": None}
        if texts:
            said = self.text(JOINT.join(map("".join, texts)))
            if self._marks:
                self._marked(said, [block for content in contents for block in content])
            message["content"] = self.content([said])
        if calls:
            message["tool_calls"] = calls
        history.put(message, recent)
        return [message]

    # -- calls and results -------------------------------------------------------------------------------------------

    def _call(self, block: JSON, id: str, extra: JSON) -> JSON:
        function = {"name": self.draft.names.sent(block["name"]), "arguments": arguments_text(block["input"], self.q.broken_arguments)}
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
            marked = [block] if "cache_control" in block else inside if isinstance(inside, list) else []
            parts = [self.text(content)] if isinstance(content, str) else content
            self._marked(parts[-1], marked)
            content = self.content(parts)
        return {"role": "tool", "tool_call_id": call_id, "content": content}


def build(draft: Draft) -> Slices[list[JSON]]:
    """Return the messages of the request."""
    q = draft.quirks
    shape = ChatShape(draft)
    turns = Turns(draft, shape)
    out = turns.out
    if turns.lead and not q.system_as_user:
        out.append({"role": q.system_role, "content": turns.lead})
    yield from turns.walk()
    if q.system_as_user:
        turns.lead_user()
    first = next((n for n, message in enumerate(out) if message["role"] != q.system_role), None)
    if q.alternation and first is not None and out[first]["role"] == "assistant":
        out.insert(first, shape.user([shape.text(EMPTY)]))
    if not any(message["role"] in ("user", "tool") for message in out):
        turns.say([shape.text(EMPTY)])
    last = out[-1]
    if last["role"] == "assistant" and q.prefill == "prefix":
        last["prefix"] = True
    elif last["role"] == "assistant" and q.prefill == "instruct":
        turns.instruct(as_text(last["content"]))
    for n, message in enumerate(out, 1):
        if not n % ITEMS:
            yield
        if message["role"] == "user":
            message["content"] = shape.content(message["content"])
    return out
