"""The conversation: Anthropic's system and messages → chat-completions messages.

Knows: roles, the order that a call and its result must keep, and every knob of Quirks that moves text.
Must not know: tools, limits, sampling.
Invariants: the result always validates: every call has exactly one result directly behind it, every result its call; no text is
lost; equal turns give equal bytes, so that the upstream's prefix cache hits.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from a2py.messages import ids
from a2py.messages.types import JSON
from a2py.slices import ITEMS, Slices
from a2py.wires.chat.media import MEDIA
from a2py.wires.chat.reasoning import History
from a2py.wires.common.draft import Draft
from a2py.wires.common.text import arguments_text, as_text, blocks, reminder, system_texts, unfolded

#: Result of a call that the client's history has none for.
NO_RESULT = "(no result: the call was interrupted)"
#: Stands where a turn must not be empty.
EMPTY = "(no content)"
#: Between the texts of one message.
JOINT = "\n\n"
#: Values of Quirks.cache that keep the cache marks of texts and media.
MARKED = frozenset({"blocks", "keyed_blocks", "breakpoint"})
_MISTRAL = re.compile(r"[A-Za-z0-9]{9}\Z")


def _part(text: str) -> JSON:
    return {"type": "text", "text": text}


class Conversation:
    """Builds `out`, the list of messages, phase by phase: a run of the assistant's messages is one turn, all between two of them is another
    (the Messages API merges adjacent messages of one role, so a result may stand in the second of two user messages). A user's content is a
    list of parts until everything is there."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.q = draft.quirks
        self.out: list[JSON] = []
        self._open: list[tuple[str, str]] = []  # client's and upstream's ids of the calls that wait for their results
        self._waiting: dict[str, int] = {}  # client's ids among them → how often
        self._taken: dict[str, int] = {}  # upstream's ids among them → how often they were asked for
        self._images = 0
        self._marks = self.q.cache in MARKED

    def build(self) -> Slices[list[JSON]]:
        lead = JOINT.join(system_texts(self.draft.request.system))
        if lead and not self.q.system_as_user:
            self.out.append({"role": self.q.system_role, "content": lead})
        phases = yield from self._phases()
        prompts = (n for n in reversed(range(len(phases))) if not phases[n][0] and any(map(_speaks, phases[n][1])))
        last_prompt = next(prompts, -1)
        for n, (assistant, run) in enumerate(phases):
            if assistant:
                yield from self._assistant([blocks(message["content"]) for message in run], n > last_prompt)
            else:
                yield from self._others(run)
            if n % ITEMS == ITEMS - 1:
                yield
        yield from self._settle({})
        if lead and self.q.system_as_user:
            self._lead(lead)
        first = next((n for n, message in enumerate(self.out) if message["role"] != self.q.system_role), None)
        if self.q.alternation and first is not None and self.out[first]["role"] == "assistant":
            self.out.insert(first, {"role": "user", "content": [_part(EMPTY)]})
        if not any(message["role"] in ("user", "tool") for message in self.out):
            self.out.append({"role": "user", "content": [_part(EMPTY)]})
        if self.out[-1]["role"] == "assistant" and not self.out[-1].get("tool_calls"):
            self._prefill()
        for n, message in enumerate(self.out, 1):
            if message["role"] == "user":
                message["content"] = self._content(message["content"])
            if not n % ITEMS:
                yield
        return self.out

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
        start = len(self.out)
        results: dict[str, list[JSON]] = {}
        for n, message in enumerate(run, 1):
            if not n % ITEMS:
                yield
            for k, block in enumerate(blocks(message["content"]), 1):
                if not k % ITEMS:
                    yield
                if block["type"] == "tool_result":
                    given = results.setdefault(block["tool_use_id"], [])
                    if len(given) < self._waiting.get(block["tool_use_id"], 0):
                        given.append(block)
        answered = {id(block) for given in results.values() for block in given}
        parts = yield from self._settle(results)
        for n, message in enumerate(run, 1):
            if not n % ITEMS:
                yield
            content = blocks(message["content"])
            if message["role"] == "system":
                text = JOINT.join(self.draft.system_texts(message))
                inline = self.q.mid_system == "inline"
                part = self._marked(_part(text if inline else reminder(text)), content)
                if inline:
                    self._say(parts)
                    parts = []
                    self.out.append({"role": self.q.system_role, "content": self._content([part])})
                else:
                    parts.append(part)
                continue
            for k, block in enumerate(unfolded(content), 1):
                if block["type"] != "tool_result":
                    parts += self._parts(block)
                elif id(block) not in answered:
                    parts += self._orphan(block)
                if not k % ITEMS:
                    yield
        self._say(parts)
        turn = self.out[max(0, start - 1) :]  # with the message before it, which may be a user's if the assistant's turn between was empty
        if not any(message["role"] in ("user", "tool") for message in turn) and any(message["role"] == "user" for message in run):
            self._say([_part(EMPTY)])

    def _assistant(self, contents: list[list[JSON]], recent: bool) -> Slices[None]:
        """One turn, of one message or more. The texts of a message go on where they broke off (citations cut them in mid-sentence, reasoning
        came between): the upstream had said them in one piece."""
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
                    calls.append(self._call(block, history, not calls))
                elif kind == "thinking":
                    yield  # a signature may hold megabytes
                    history.see(block)
                elif goes_on and kind == "text":
                    texts[-1].append(block["text"])
                elif (text := self.draft.text(block)).strip():
                    texts.append([text])
                    goes_on = kind == "text"
        if not texts and not calls:
            return
        message: JSON = {"role": "assistant", "content": None}
        if texts:
            said = _part(JOINT.join(map("".join, texts)))
            if self._marks:
                self._marked(said, [block for content in contents for block in content])
            message["content"] = self._content([said])
        if calls:
            message["tool_calls"] = calls
        history.put(message, recent)
        self.out.append(message)

    # -- calls and results -------------------------------------------------------------------------------------------

    def _call(self, block: JSON, history: History, first: bool) -> JSON:
        arguments = arguments_text(block["input"], self.q.broken_arguments)
        given = ids.original(block["id"]) or "call"
        first_choice = id = self._upstream_id(given)
        n = self._taken.get(id, 0)
        while id in self._taken:  # two calls of one turn that came with the same id
            n += 1
            id = self._upstream_id(f"{given}_{n}")
        self._taken[id] = 0
        self._taken[first_choice] = n
        self._open.append((block["id"], id))
        self._waiting[block["id"]] = self._waiting.get(block["id"], 0) + 1
        return {
            "id": id,
            "type": "function",
            "function": {"name": self.draft.names.sent(block["name"]), "arguments": arguments},
            **history.call_extra(first),
        }

    def _upstream_id(self, id: str) -> str:
        if self.q.tool_ids == "mistral9" and not _MISTRAL.match(id):
            return hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[:9]
        limit = self.q.tool_id_limit
        if limit and len(id) > limit:
            return "call_" + hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[: limit - 5]
        return id

    def _settle(self, results: dict[str, list[JSON]]) -> Slices[list[JSON]]:
        """One tool message per open call, in the order of the calls; the media of their results, for the user message behind them."""
        if not self._open:
            return []
        lifted: list[JSON] = []
        answers = {id: iter(given) for id, given in results.items()}
        for n, (id, upstream_id) in enumerate(self._open, 1):
            if not n % ITEMS:
                yield
            block = next(answers.get(id, iter(())), None)
            content: Any = NO_RESULT if block is None else self._result(block, lifted)
            if block is not None and content and self._marks:
                inside = block.get("content")
                marked = [block] if "cache_control" in block else inside if isinstance(inside, list) else []
                parts = [_part(content)] if isinstance(content, str) else content
                self._marked(parts[-1], marked)
                content = self._content(parts)
            self.out.append({"role": "tool", "tool_call_id": upstream_id, "content": content})
        self._open = []
        self._waiting = {}
        self._taken = {}
        return lifted

    def _result(self, block: JSON, lifted: list[JSON]) -> Any:
        texts: list[str] = []
        media: list[JSON] = []
        for inner in unfolded(blocks(block.get("content") or [])):
            make = MEDIA.get(inner["type"])
            part = None if make is None else make(inner, self.draft)
            if part is None:
                text = self.draft.text(inner)
            elif part["type"] == "text":
                text = part["text"]
            elif self.q.media_in_tool:
                media.append(part)
                continue
            else:
                self._images += 1
                name = "image" if inner["type"] == "image" else "document"
                text = f"[{name} {self._images} below]"
                lifted += [_part(f"[{name} {self._images}]"), part]
            if text:
                texts.append(text)
        text = "\n".join(texts)
        if block.get("is_error") and not text.lower().startswith("error"):
            text = f"Error: {text}"
        if media:
            return [_part(text), *media] if text else media
        return text or self.q.empty_content

    def _orphan(self, block: JSON) -> list[JSON]:
        """A result without its call, as parts of the user's turn."""
        parts: list[JSON] = []
        text = self._result(block, parts)
        if isinstance(text, list):
            return [_part("[result of an earlier tool call]"), *text]
        return [_part(f"[result of an earlier tool call]\n{text}"), *parts]

    # -- text --------------------------------------------------------------------------------------------------------

    def _parts(self, block: JSON) -> list[JSON]:
        make = MEDIA.get(block["type"])
        if make is not None:
            return [self._marked(make(block, self.draft), [block])]
        text = self.draft.text(block)
        if not text.strip():
            return []
        return [self._marked(_part(text), [block])]

    def _marked(self, part: JSON, blocks: list[JSON]) -> JSON:
        """`part` with the last cache mark of the blocks that it stands for."""
        marks = [block["cache_control"] for block in blocks if isinstance(block.get("cache_control"), dict)] if self._marks else []
        if marks:
            part["cache_control"] = marks[-1]
        return part

    def _say(self, parts: list[JSON]) -> None:
        """`parts` as a user message, or as more of the one that stands last; `build` gives its content its form."""
        if not parts:
            return
        last = self.out[-1] if self.out else None
        if last is not None and last["role"] == "tool" and self.q.after_tool:
            self.out.append({"role": "assistant", "content": self.q.after_tool})
        if last is not None and last["role"] == "user":
            last["content"] += parts
        else:
            self.out.append({"role": "user", "content": parts})

    def _content(self, parts: list[JSON]) -> Any:
        plain = all(part["type"] == "text" and len(part) == 2 for part in parts)
        if plain and (self.q.string_content or len(parts) == 1):
            return JOINT.join([part["text"] for part in parts])
        return parts

    def _lead(self, text: str) -> None:
        """The system text at the head of the first user message."""
        for message in self.out:
            if message["role"] == "user":
                message["content"].insert(0, _part(text))
                return
        self.out.insert(0, {"role": "user", "content": [_part(text)]})

    def _prefill(self) -> None:
        last = self.out[-1]
        if self.q.prefill == "prefix":
            last["prefix"] = True
        elif self.q.prefill == "instruct":
            self.out.pop()
            self.draft.lose("prefill")
            text = last["content"]
            self._say([_part(f"Begin your reply with exactly this text, and go on from where it stops:\n\n{as_text(text)}")])


def _speaks(message: JSON) -> bool:
    """Whether a message is a user's and holds anything but tool results."""
    content = message["content"]
    if message["role"] != "user":
        return False
    return isinstance(content, str) or any(block["type"] != "tool_result" for block in content)


def build(draft: Draft) -> Slices[list[JSON]]:
    return Conversation(draft).build()
