"""The demo model's side of OpenAI's chat completions: what it refuses, and the shapes of a completion, a chunk, an error, a model.

Knows: the published API, and its wording of what is wrong with a request. Must not know: what is answered, sockets.
Invariants: `check` accepts every request that OpenAI accepts of the fields it reads, ignores all others, and raises nothing but `Refused`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from a2py.demo import tokens
from a2py.demo.conversation import IMAGE_TOKENS, images_of, text_of

JSON = dict[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Refused(Exception):
    """An error of the demo upstream, in OpenAI's own terms."""

    def __init__(
        self,
        message: str,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
        type: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": type, "param": param, "code": code}

    def body(self) -> bytes:
        return orjson.dumps({"error": self.error})


@dataclass
class Ask:
    """A request that may be answered. `choice`: `auto`, `required`, `none` or ":" and a tool's name; `limit`: tokens, 0 for none."""

    model: str
    messages: list[JSON]
    tools: list[JSON] = field(default_factory=list)
    choice: str = "auto"
    parallel: bool = True
    thinks: bool = False
    format: JSON = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)
    limit: int = 0
    stream: bool = False
    usage: bool = False
    prompt_tokens: int = 0


def thinks(body: JSON) -> bool:
    """Any vendor's way of asking for reasoning switches it on; none of them leaves it off."""
    reasoning, thinking, template = body.get("reasoning"), body.get("thinking"), body.get("chat_template_kwargs")
    effort = body.get("reasoning_effort") or (reasoning.get("effort") if isinstance(reasoning, dict) else None)
    if effort is not None:
        return effort not in ("none", "minimal")
    if isinstance(thinking, dict):
        return thinking.get("type") in ("enabled", "adaptive")
    if isinstance(template, dict):
        return template.get("enable_thinking") is True or template.get("thinking") is True
    if isinstance(reasoning, dict):
        return reasoning.get("enabled") is True
    return body.get("enable_thinking") is True or body.get("think") not in (None, False)


def _wrong(value: Any, param: str, wanted: str) -> Refused:
    return Refused(
        f"Invalid type for '{param}': expected {wanted}, but got {type(value).__name__} instead.", param, "invalid_type"
    )


def _tools(tools: Any) -> list[JSON]:
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise _wrong(tools, "tools", "an array of objects")
    if not tools:
        raise Refused(
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "tools",
            "empty_array",
        )
    out = []
    for n, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            raise Refused(
                f"Missing required parameter: 'tools[{n}].function'.",
                f"tools[{n}].function",
                "missing_required_parameter",
            )
        name = function.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Refused(
                f"Invalid 'tools[{n}].function.name': expected a string of at most 64 letters, digits, '_' and '-'.",
                f"tools[{n}].function.name",
                "invalid_value",
            )
        out.append(function)
    return out


def _choice(choice: Any, tools: list[JSON]) -> str:
    if choice is None:
        return "auto"
    if not tools:
        raise Refused(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.", "tool_choice"
        )
    if choice in ("auto", "none", "required"):
        return str(choice)
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if name not in [tool["name"] for tool in tools]:
        raise Refused(
            "Invalid value for 'tool_choice': the function it names is not among 'tools'.",
            "tool_choice",
            "invalid_value",
        )
    return f":{name}"


def _messages(messages: Any) -> list[JSON]:
    if messages is None:
        raise Refused("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        raise _wrong(messages, "messages", "an array of objects")
    if not messages:
        raise Refused(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "messages",
            "empty_array",
        )
    waiting: list[str] = []
    for n, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("system", "developer", "user", "assistant", "tool"):
            raise Refused(
                f"Invalid value: '{role}'. Supported values are: 'system', 'developer', 'assistant', 'user' and 'tool'.",
                f"messages[{n}].role",
                "invalid_value",
            )
        content = message.get("content")
        if content is not None and not isinstance(content, (str, list)):
            raise _wrong(content, f"messages[{n}].content", "one of a string or array of objects")
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                raise Refused(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
                    f"messages[{n}].role",
                )
            waiting.remove(message["tool_call_id"])
            continue
        _answered(waiting, n)
        if role == "assistant":
            waiting = _calls(message.get("tool_calls"), n)
    _answered(waiting, len(messages))
    return messages


def _answered(waiting: list[str], n: int) -> None:
    if waiting:
        raise Refused(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
            f"The following tool_call_ids did not have response messages: {', '.join(waiting)}",
            f"messages[{n}].role",
        )


def _calls(calls: Any, n: int) -> list[str]:
    if calls is not None and not isinstance(calls, list):
        raise _wrong(calls, f"messages[{n}].tool_calls", "an array of objects")
    ids = []
    for i, call in enumerate(calls or ()):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not all(
            isinstance(v, str) for v in (call.get("id"), function.get("name"), function.get("arguments"))
        ):
            path = f"messages[{n}].tool_calls[{i}]"
            raise Refused(
                f"Invalid '{path}': expected an object with a string 'id' and a function with strings 'name' and 'arguments'.",
                path,
                "invalid_value",
            )
        ids.append(call["id"])
    return ids


def _limit(body: JSON) -> int:
    given = [name for name in ("max_tokens", "max_completion_tokens") if body.get(name) is not None]
    if len(given) == 2:
        raise Refused(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        )
    for name in given:
        value = body[name]
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(value, name, "an integer")
        if value < 1:
            raise Refused(
                f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead.",
                name,
                "integer_below_min_value",
            )
        return value
    return 0


def _stops(stop: Any) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or not all(isinstance(s, str) for s in stops):
        raise _wrong(stop, "stop", "one of a string or array of strings")
    if len(stops) > 4:
        raise Refused(
            f"Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length {len(stops)} instead.",
            "stop",
            "array_above_max_length",
        )
    return [s for s in stops if s]


def prompt_tokens(messages: list[JSON], tools: list[JSON]) -> int:
    """Four tokens a message for its frame, the words and calls, a flat figure an image, and the tools as JSON."""
    total = 3
    for message in messages:
        total += (
            4 + tokens.count(text_of(message.get("content"))) + IMAGE_TOKENS * len(images_of(message.get("content")))
        )
        for call in message.get("tool_calls") or ():
            total += 4 + tokens.count(call["function"]["name"]) + tokens.count(call["function"]["arguments"])
    return total + (tokens.count(orjson.dumps(tools).decode()) if tools else 0)


def check(raw: bytes, models: tuple[str, ...], context: int) -> Ask:
    """The request, or `Refused`."""
    try:
        body = orjson.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(
            "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload, but what was sent was not valid JSON."
        )
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Refused("you must provide a model parameter")
    if model not in models:
        raise Refused(
            f"The model `{model}` does not exist; this demo upstream serves {', '.join(models)}.",
            "model",
            "model_not_found",
            404,
        )
    if body.get("n") not in (None, 1):
        raise Refused("Invalid 'n': this model gives one choice.", "n", "unsupported_value")
    messages = _messages(body.get("messages"))
    tools = _tools(body.get("tools"))
    options, format = body.get("stream_options"), body.get("response_format")
    if options is not None and body.get("stream") is not True:
        raise Refused("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    ask = Ask(
        model,
        messages,
        tools,
        _choice(body.get("tool_choice"), tools),
        body.get("parallel_tool_calls") is not False,
        thinks(body),
        format if isinstance(format, dict) else {},
        _stops(body.get("stop")),
        _limit(body),
        body.get("stream") is True,
        isinstance(options, dict) and options.get("include_usage") is True,
        prompt_tokens(messages, tools),
    )
    if ask.prompt_tokens > context:
        raise Refused(
            f"This model's maximum context length is {context} tokens. However, your messages resulted in {ask.prompt_tokens} tokens. "
            "Please reduce the length of the messages.",
            "messages",
            "context_length_exceeded",
        )
    return ask


def usage(prompt: int, completion: int, reasoning: int) -> JSON:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def model_row(name: str, context: int, created: int) -> JSON:
    return {"id": name, "object": "model", "created": created, "owned_by": "a2py", "context_length": context}
