"""A scripted model behind an OpenAI-shaped upstream: a function reads each request and says what the model does.

Knows: chat completions as a server speaks them. Must not know: Anthropic's protocol, a2py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Union

from tests import scripted

Body = dict[str, Any]


@dataclass
class Say:
    """An answer: reasoning, text, then calls `(name, arguments)`. `tail`: deltas after the text."""

    text: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    reasoning: str = ""
    prompt_tokens: int = 100
    tail: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Refuse:
    status: int
    message: str
    code: str = ""


Answer = Union[Say, Refuse]


class Story:
    """`model(body)` returns the answer to each request. `bodies` are the requests so far."""

    def __init__(self, model: Callable[[Body], Answer]) -> None:
        self.model = model
        self.bodies: list[Body] = []
        self.calls = 0

    async def __call__(self, peer: scripted.Peer) -> None:
        if peer.request.method == "GET":  # a2py asks what this server is; it does not say
            peer.reply({"error": {"message": "not found"}}, 404)
            return
        body = peer.request.json
        self.bodies.append(body)
        answer = self.model(body)
        if isinstance(answer, Refuse):
            peer.reply(
                {"error": {"message": answer.message, "type": "invalid_request_error", "code": answer.code}},
                answer.status,
            )
        elif body.get("stream"):
            peer.head(200, scripted.SSE)
            for chunk in self._chunks(answer):
                peer.events(chunk)
            peer.end()
        else:
            peer.reply(self._whole(answer))

    def _chunks(self, answer: Say) -> list[Any]:
        out: list[Any] = [scripted.chunk({"role": "assistant", "content": ""})]
        out += [scripted.chunk({"reasoning_content": word + " "}) for word in answer.reasoning.split()]
        out += [scripted.chunk({"content": piece}) for piece in _pieces(answer.text)]
        out += [scripted.chunk(delta) for delta in answer.tail]
        for n, (name, arguments) in enumerate(answer.calls):
            self.calls += 1
            function = {"name": name, "arguments": ""}
            out.append(
                scripted.chunk(
                    {"tool_calls": [{"index": n, "id": f"call_{self.calls}", "type": "function", "function": function}]}
                )
            )
            for piece in _pieces(json.dumps(arguments)):
                out.append(scripted.chunk({"tool_calls": [{"index": n, "function": {"arguments": piece}}]}))
        finish = "tool_calls" if answer.calls else "stop"
        usage = scripted.usage(answer.prompt_tokens, 20)
        return [*out, scripted.chunk({}, finish), scripted.chunk(usage=usage), scripted.DONE]

    def _whole(self, answer: Say) -> Any:
        calls = [
            {
                "id": f"call_whole_{n}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for n, (name, arguments) in enumerate(answer.calls)
        ]
        return scripted.completion(
            answer.text, "tool_calls" if calls else "stop", **({"tool_calls": calls} if calls else {})
        )


def _pieces(text: str, size: int = 7) -> list[str]:
    return [text[n : n + size] for n in range(0, len(text), size)]


# -- reading a request -------------------------------------------------------------------------------------------------


def text_of(message: Body) -> str:
    """All text of one upstream message."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [])


def results(body: Body) -> list[str]:
    """The texts of the tool results, in order."""
    return [text_of(message) for message in body["messages"] if message["role"] == "tool"]


def has_mark(body: Body, mark: str) -> bool:
    """Whether a user message holds `mark`."""
    return any(mark in text_of(message) for message in body["messages"] if message["role"] == "user")


def tools(body: Body) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools", [])]
