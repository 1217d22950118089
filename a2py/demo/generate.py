"""An answer → the pieces that are sent: tokens of reasoning, of text, of calls, cut by stop sequences and the token limit.

Knows: tokens, deltas of a chat completion. Must not know: how deltas are framed and paced, sockets.
Invariants: the deltas, put together, are the message of the unary reply; nothing follows a stop sequence or the limit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from a2py.demo import tokens
from a2py.demo.answer import answer
from a2py.demo.conversation import JSON, read
from a2py.demo.protocol import Ask, usage


@dataclass
class Reply:
    """The finished parts: what a delta adds is added here too."""

    reasoning: str = ""
    content: str | None = None
    calls: list[JSON] | None = None
    finish: str = "stop"
    completion: int = 0
    thought: int = 0

    def message(self) -> JSON:
        out: JSON = {"role": "assistant", "content": self.content, "refusal": None}
        if self.reasoning:
            out["reasoning_content"] = self.reasoning
        if self.calls:
            out["tool_calls"] = self.calls
        return out

    def usage(self, ask: Ask) -> JSON:
        return usage(ask.prompt_tokens, self.completion, self.thought)


def cut(text: str, stops: list[str]) -> str:
    """`text` before the first stop sequence in it."""
    return text[: min((at for at in map(text.find, stops) if at >= 0), default=len(text))]


def deltas(ask: Ask, reply: Reply, new_id: Callable[[], str]) -> Iterator[JSON]:
    """One delta a token; `reply` is complete when the iterator ends. `new_id`: the id of the next call."""
    said = answer(read(ask.messages), ask.tools, ask.choice, ask.parallel, ask.format)

    def spend() -> bool:
        """Whether one more token may be made."""
        if ask.limit and reply.completion >= ask.limit:
            reply.finish = "length"
            return False
        reply.completion += 1
        return True

    for token in tokens.split(said.why) if ask.thinks else ():
        if not spend():
            return
        reply.thought += 1
        reply.reasoning += token
        yield {"reasoning_content": token}
    for token in tokens.split(cut(said.text, ask.stops)):
        if not spend():
            return
        reply.content = (reply.content or "") + token
        yield {"content": token}
    if said.text and reply.content is None:
        reply.content = ""  # a stop sequence stood at the very beginning
    for index, (name, arguments) in enumerate(said.calls):
        call: JSON = {"id": new_id(), "type": "function", "function": {"name": name, "arguments": ""}}
        if not spend():
            return
        reply.calls = [*(reply.calls or ()), call]
        yield {"tool_calls": [{"index": index, **call, "function": {"name": name, "arguments": ""}}]}
        for token in tokens.split(json.dumps(arguments, ensure_ascii=False)):
            if not spend():
                return
            call["function"]["arguments"] += token
            yield {"tool_calls": [{"index": index, "function": {"arguments": token}}]}
        reply.finish = "tool_calls"
