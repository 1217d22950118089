"""The demo upstream's side of OpenAI's chat completions: parse a request, reject a wrong one, count its tokens.

Knows: the published API (developers.openai.com, API reference, chat). Must not know: what is answered, sockets.
Invariants: `parse_request` raises nothing but `RequestError`; fields that the demo does not read are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

JSON = dict[str, Any]

#: A word of up to six letters with the blank before it, a run of white space, or one sign.
_TOKEN = re.compile(r"\s?\w{1,6}|\s+|[^\w\s]")


class RequestError(Exception):
    """An error of the demo upstream in OpenAI's shape."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}

    def body(self) -> bytes:
        return orjson.dumps({"error": self.error})


@dataclass
class ChatRequest:
    """A valid request. `choice`: `auto`, `required`, `none` or a tool's name; `limit`: tokens of the answer, 0 for
    none."""

    messages: list[JSON]
    tools: dict[str, JSON]
    choice: str
    is_parallel: bool
    is_thinking: bool
    format: JSON
    stops: list[str]
    limit: int
    is_stream: bool
    has_usage: bool
    prompt_tokens: int


def split_tokens(text: str) -> list[str]:
    """Return the tokens of `text`. Joined, they are `text` again."""
    return _TOKEN.findall(text)


def content_text(content: Any) -> str:
    """Return the text of a message's content, which is a string or a list of parts."""
    parts = [{"text": content}] if isinstance(content, str) else content or ()
    return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def parse_request(raw: bytes, model: str, context: int) -> ChatRequest:
    """Return the request, or raise RequestError."""
    try:
        request = _parse(orjson.loads(raw), model)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise RequestError("The body must be a JSON object with the fields of a chat completion request.") from None
    if request.prompt_tokens > context:
        message = f"The context is {context} tokens. Your messages resulted in {request.prompt_tokens} tokens."
        raise RequestError(message, "messages", "context_length_exceeded")
    return request


def _parse(body: JSON, model: str) -> ChatRequest:
    """Return the request. A field of a wrong type raises one of Python's own errors."""
    if body["model"] != model:
        message = f"The model `{body['model']}` does not exist. This demo upstream serves {model}."
        raise RequestError(message, "model", "model_not_found", 404)
    messages = body["messages"]
    _check_pairs(messages)
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or ()}
    stops = body.get("stop") or []
    return ChatRequest(
        messages,
        tools,
        _parse_choice(body.get("tool_choice"), tools),
        body.get("parallel_tool_calls") is not False,
        is_thinking(body),
        body.get("response_format") or {},
        [stops] if isinstance(stops, str) else [str(stop) for stop in stops],
        int(body.get("max_completion_tokens") or body.get("max_tokens") or 0),
        body.get("stream") is True,
        (body.get("stream_options") or {}).get("include_usage") is True,
        _count_prompt(messages, tools),
    )


def is_thinking(body: dict[str, Any]) -> bool:
    """Return whether a request asks for reasoning, in one of the dialects that `a2py check` tries first."""
    effort, thinking, template = (body.get(key) for key in ("reasoning_effort", "thinking", "chat_template_kwargs"))
    if effort is not None:
        return bool(effort != "none")
    if isinstance(thinking, dict):
        return bool(thinking.get("type") != "disabled")
    return isinstance(template, dict) and template.get("enable_thinking") is True


def _check_pairs(messages: list[JSON]) -> None:
    """Raise RequestError unless the results of each turn's tool calls follow it, as OpenAI demands."""
    pending: set[str] = set()
    for n, message in enumerate([*messages, {"role": "user"}]):
        is_answer = message["role"] == "tool" and message["tool_call_id"] in pending
        if not is_answer and (pending or message["role"] == "tool"):
            text = "Messages with role 'tool' must answer the 'tool_calls' of the message before them."
            raise RequestError(text, f"messages[{n}].role")
        pending -= {message.get("tool_call_id", "")}
        pending |= {call["id"] for call in message.get("tool_calls") or ()}


def _parse_choice(choice: Any, tools: dict[str, JSON]) -> str:
    name = choice["function"]["name"] if isinstance(choice, dict) else choice or "auto"
    if name not in (tools if isinstance(choice, dict) else ("auto", "none", "required")):
        message = f"'tool_choice' must be auto, none, required or one of the tools, got {name}."
        raise RequestError(message, "tool_choice")
    return str(name)


def _count_prompt(messages: list[JSON], tools: dict[str, JSON]) -> int:
    """Return four tokens a message, its text and calls, and the tools as JSON. Images are free."""
    texts = [content_text(message.get("content")) for message in messages]
    calls = [message["tool_calls"] for message in messages if message.get("tool_calls")]
    json = orjson.dumps([*calls, *tools.values()]).decode() if calls or tools else ""
    return 4 * len(messages) + sum(len(split_tokens(text)) for text in (*texts, json))
