"""Parse and check the body of a client's request.

Knows: which fields of the Messages API a2py reads, their types, and Anthropic's wording of each fault.
Must not know: any upstream.
Invariants: `parse` raises `ApiError` and nothing else; unknown fields and unknown block types are never an error; every
string, list and object that the wires read has the type that they expect; every schema is valid (schema.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from a2py import jsonsize
from a2py.errors import ApiError
from a2py.jsontext import explain, loads_in_slices
from a2py.messages.schema import Mender, make_valid
from a2py.messages.types import JSON, Request
from a2py.slices import ITEMS, Slices, at_once

#: Messages of one request, and characters of a model's name (docs.claude.com, Messages API, read 2026-11).
MESSAGES_LIMIT, MODEL_LIMIT = 100_000, 256
#: Characters of a tool's name. Anthropic accepts 128 in a definition and 200 in the history.
TOOL_NAME_LIMIT = 256
#: Stop sequences of one request, and characters of one: the decoder looks for each of them in each piece of the reply's
#: text.
STOPS_LIMIT, STOP_LIMIT = 256, 4096
#: A body with more values than this must not nest deeper than 254 levels, which is what orjson can write. Deeper ones
#: are written by jsontext.dumps, which takes 0.5 µs per value without a pause.
DEEP_VALUES = 250_000


def _fail(path: str, what: str) -> ApiError:
    return ApiError("invalid_request", f"{path}: {what}")


def _string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _fail(path, "Input should be a valid string")
    return value


def _member(block: JSON, name: str, path: str) -> Any:
    """Return the value of a required member. `path`: of the block."""
    if name not in block:
        raise _fail(f"{path}.{name}", "Field required")
    return block[name]


def _short(value: str, limit: int, path: str) -> str:
    if len(value) > limit:
        raise _fail(path, f"String should have at most {limit} characters")
    return value


def _few(values: list[Any], limit: int, path: str) -> None:
    if len(values) > limit:
        raise _fail(path, f"List should have at most {limit} items after validation, not {len(values)}")


def _text_member(block: JSON, name: str, path: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        _member(block, name, path)
        raise _fail(f"{path}.{name}", "Input should be a valid string")
    return value


def _dict_member(block: JSON, name: str, path: str) -> JSON:
    value = block.get(name)
    if not isinstance(value, dict):
        _member(block, name, path)
        raise _fail(f"{path}.{name}", "Input should be a valid dictionary")
    return value


class _Walk:
    """The state of one walk through the messages.

    `ids`: ids of the calls so far; `large`: lists of blocks that are too long for one slice, with their paths. They are
    checked after the message that holds them."""

    __slots__ = ("ids", "large")

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.large: list[tuple[list[Any], str]] = []


def _block_text(block: JSON, path: str, walk: _Walk) -> None:
    _text_member(block, "text", path)


def _block_source(block: JSON, path: str, walk: _Walk) -> None:
    """Check an image or a document."""
    source, at = _dict_member(block, "source", path), f"{path}.source"
    type_ = source.get("type")
    if type_ == "base64":
        if not _text_member(source, "data", f"{at}.base64"):
            raise _fail(f"{at}.base64", f"{block['type']} cannot be empty")
        _text_member(source, "media_type", f"{at}.base64")
    elif type_ == "url":
        _text_member(source, "url", f"{at}.url")
    elif type_ == "text":
        _text_member(source, "data", f"{at}.text")
    elif type_ == "content":
        _content(_member(source, "content", f"{at}.content"), f"{at}.content.content", walk)
    elif not isinstance(type_, str):
        raise _fail(f"{at}.type", "Field required")


def _block_tool_use(block: JSON, path: str, walk: _Walk) -> None:
    walk.ids.append(_text_member(block, "id", path))
    _short(_text_member(block, "name", path), TOOL_NAME_LIMIT, f"{path}.name")
    _dict_member(block, "input", path)


def _block_tool_result(block: JSON, path: str, walk: _Walk) -> None:
    _text_member(block, "tool_use_id", path)
    if block.get("content") is not None:
        _content(block["content"], f"{path}.content", walk)


def _block_thinking(block: JSON, path: str, walk: _Walk) -> None:
    _text_member(block, "thinking", path)


def _block_search_result(block: JSON, path: str, walk: _Walk) -> None:
    if block.get("content") is not None:
        _content(block["content"], f"{path}.content", walk)


def _block_tool_addition(block: JSON, path: str, walk: _Walk) -> None:
    change = block.get("tool")
    definition = change.get("definition") if isinstance(change, dict) else None
    if isinstance(definition, dict) and "input_schema" in definition:
        Mender().mend_tool(definition)


_CHECKS: dict[str, Callable[[JSON, str, _Walk], None]] = {
    "text": _block_text,
    "image": _block_source,
    "document": _block_source,
    "tool_use": _block_tool_use,
    "tool_result": _block_tool_result,
    "thinking": _block_thinking,
    "search_result": _block_search_result,
    "tool_addition": _block_tool_addition,
}


#: Characters of the path to a content list. It bounds content within content (a document in a tool result) to some 25
#: levels.
PATH_LIMIT = 1000


def _content(content: Any, path: str, walk: _Walk) -> None:
    if isinstance(content, str):
        return
    if len(path) > PATH_LIMIT:
        raise _fail(path, "nested too deeply")
    if not isinstance(content, list):
        raise _fail(path, "Input should be a valid string or a valid list")
    if len(content) > ITEMS:
        walk.large.append((content, path))
    else:
        _blocks(content, path, walk)


def _blocks(blocks: list[Any], path: str, walk: _Walk, first: int = 0) -> None:
    """Check blocks of one list. `path`: of the list; `first`: index of the first block in it."""
    for n, block in enumerate(blocks, first):
        if not isinstance(block, dict):
            raise _fail(f"{path}.{n}", "Input should be a valid dictionary")
        type_ = block.get("type")
        if not isinstance(type_, str):
            raise _fail(f"{path}.{n}.type", "Field required")
        check = _CHECKS.get(type_)
        if check is not None:
            check(block, f"{path}.{n}.{type_}", walk)


def _messages(messages: Any) -> Slices[list[str]]:
    if messages is None:
        raise _fail("messages", "Field required")
    if not isinstance(messages, list):
        raise _fail("messages", "Input should be a valid list")
    if not messages:
        raise _fail("messages", "at least one message is required")
    _few(messages, MESSAGES_LIMIT, "messages")
    walk = _Walk()
    for n, message in enumerate(messages):
        if n % ITEMS == ITEMS - 1:
            yield
        if not isinstance(message, dict):
            raise _fail(f"messages.{n}", "Input should be a valid dictionary")
        at = f"messages.{n}"
        if _member(message, "role", at) not in ("user", "assistant", "system"):
            raise _fail(f"{at}.role", "Input should be 'user', 'assistant' or 'system'")
        _content(_member(message, "content", at), f"{at}.content", walk)
        while walk.large:
            blocks, path = walk.large.pop()
            for first in range(0, len(blocks), ITEMS):
                _blocks(blocks[first : first + ITEMS], path, walk, first)
                yield
    return walk.ids


def _system(system: Any) -> list[JSON]:
    if system is None:
        return []
    if isinstance(system, str):
        return [{"type": "text", "text": system}] if system else []
    if not isinstance(system, list):
        raise _fail("system", "Input should be a valid string or a valid list")
    for n, block in enumerate(system):
        if not isinstance(block, dict):
            raise _fail(f"system.{n}", "Input should be a valid dictionary")
        _text_member(block, "text", f"system.{n}")
    return system


def _tools(tools: Any) -> Slices[list[JSON]]:
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise _fail("tools", "Input should be a valid list")
    mender, pause = Mender(), ITEMS
    for n, tool in enumerate(tools):
        if n % ITEMS == ITEMS - 1 or mender.node_count > pause:
            pause = mender.node_count + ITEMS
            yield
        if not isinstance(tool, dict):
            raise _fail(f"tools.{n}", "Input should be a valid dictionary")
        if tool.get("type") in (None, "custom"):
            name = _text_member(tool, "name", f"tools.{n}.custom")
            if not _short(name, TOOL_NAME_LIMIT, f"tools.{n}.custom.name"):
                raise _fail(f"tools.{n}.custom.name", "String should have at least 1 character")
            if tool.get("input_schema") not in (None, []):  # an empty object of PHP
                _dict_member(tool, "input_schema", f"tools.{n}.custom")
            _member(tool, "input_schema", f"tools.{n}.custom")
            mender.mend_tool(tool)
        elif not isinstance(tool["type"], str):
            raise _fail(f"tools.{n}.type", "Input should be a valid string")
    return tools


#: Optional top-level field → the types that the wires expect, and the message for another one. null means absent.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "temperature": ((int, float), "Input should be a valid number"),
    "top_p": ((int, float), "Input should be a valid number"),
    "top_k": ((int,), "Input should be a valid integer"),
    "stop_sequences": ((list,), "Input should be a valid list"),
    "stream": ((bool,), "Input should be a valid boolean"),
    "thinking": ((dict,), "Input should be a valid dictionary"),
    "tool_choice": ((dict,), "Input should be a valid dictionary"),
    "metadata": ((dict,), "Input should be a valid dictionary"),
    "output_config": ((dict,), "Input should be a valid dictionary"),
    "output_format": ((dict,), "Input should be a valid dictionary"),
    "service_tier": ((str,), "Input should be a valid string"),
}


def _load_in_slices(raw: bytes) -> Slices[Any]:
    """Return the parsed body, a value that can be written as JSON again."""
    most = jsonsize.upper_bound(raw) if len(raw) > DEEP_VALUES else len(raw)
    yield
    if most > jsonsize.VALUES_LIMIT and (yield from jsonsize.count_in_slices(raw)) > jsonsize.VALUES_LIMIT:
        raise ApiError(
            "request_too_large",
            f"Request exceeds the maximum size: it holds more than {jsonsize.VALUES_LIMIT:,} JSON values."
            " Send fewer and larger blocks.",
        )
    yield
    try:
        body = yield from loads_in_slices(raw)
        if most > DEEP_VALUES:
            yield
            orjson.dumps(body)
    except ValueError as error:
        raise ApiError("invalid_request", f"The request body {explain(error)}") from None
    except TypeError:
        raise ApiError("invalid_request", "The request body is nested too deeply: more than 254 levels") from None
    yield
    return body


def _model(body: JSON) -> str:
    if body.get("model") is None:
        raise _fail("model", "Field required")
    model = _short(_string(body["model"], "model"), MODEL_LIMIT, "model")
    if not model:
        raise _fail("model", "String should have at least 1 character")
    return model


def _check_options(body: JSON) -> None:
    """Check the optional top-level fields."""
    for name, (types, what) in _TYPES.items():
        value = body.get(name)
        # bool is a subclass of int
        if value is not None and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
            raise _fail(name, what)
    choice = body.get("tool_choice")
    if choice is not None and _text_member(choice, "type", "tool_choice") == "tool":
        _text_member(choice, "name", "tool_choice.tool")
    stops = body.get("stop_sequences") or []
    _few(stops, STOPS_LIMIT, "stop_sequences")
    for n, stop in enumerate(stops):
        _short(_string(stop, f"stop_sequences.{n}"), STOP_LIMIT, f"stop_sequences.{n}")


def _mend_format(body: JSON) -> None:
    """Make the schema of the reply's format valid."""
    for holder in (body.get("output_config"), body):
        for name in ("format", "output_format"):
            form = holder.get(name) if holder else None
            if isinstance(form, dict) and isinstance(form.get("schema"), dict):
                form["schema"] = make_valid(form["schema"])


def _check_max_tokens(max_tokens: Any) -> None:
    if max_tokens is None:
        raise _fail("max_tokens", "Field required")
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool):
        raise _fail("max_tokens", "Input should be a valid integer")
    if max_tokens < 1:
        raise _fail("max_tokens", "Input should be greater than or equal to 1")


def parse_in_slices(raw: bytes, *, counting: bool = False) -> Slices[Request]:
    """Parse and check the body of `/v1/messages`, or with `counting` of `/v1/messages/count_tokens`, which needs no
    max_tokens.

    Raises `ApiError`: invalid_request, or request_too_large. The first fault in a fixed order of fields is reported."""
    body = yield from _load_in_slices(raw)
    if not isinstance(body, dict):
        raise ApiError("invalid_request", "The request body is not a JSON object")
    model = _model(body)
    _check_options(body)
    _mend_format(body)
    tool_ids = yield from _messages(body.get("messages"))
    tools = yield from _tools(body.get("tools"))
    max_tokens = body.get("max_tokens")
    if not counting:
        _check_max_tokens(max_tokens)
    return Request(
        body=body,
        model=model,
        messages=body["messages"],
        system=_system(body.get("system")),
        tools=tools,
        max_tokens=max_tokens if isinstance(max_tokens, int) else 0,
        stream=body.get("stream") is True,
        size=len(raw),
        tool_ids=frozenset(tool_ids),
    )


def parse(raw: bytes, *, counting: bool = False) -> Request:
    """Run `parse_in_slices` at once."""
    return at_once(parse_in_slices(raw, counting=counting))
