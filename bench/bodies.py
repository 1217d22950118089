"""The requests of the benchmark: a short one and one like those of Claude Code, in both protocols.

Knows: the shape of Claude Code's requests (three system blocks, tools with nested schemas, tool_use and tool_result
turns). Must not know: who answers.
Invariants: the same bytes each time; the prose is filler.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

from bench.shapes import MODEL, TOOL_NAME

_FILLER = """amber basin cedar delta ember fjord grove heron inlet juniper kelp lagoon meadow nectar osprey prairie quartz ridge spruce tundra
 umber valley willow yarrow zephyr return value of the function when index is not found; see `src/module.py` and "config.yaml" item:\tindent"""
_VOCABULARY = re.split(" ", _FILLER)
#: Claude Code's request: 100 KB, 20 tools, 33 messages.
TOOLS, TURNS, LARGE = 20, 16, 100_000


def _prose(dice: random.Random, size: int) -> str:
    words: list[str] = []
    length = 0
    while length < size:
        words.append(dice.choice(_VOCABULARY))
        length += len(words[-1]) + 1
    return " ".join(words)


def _schema(dice: random.Random, n: int) -> dict[str, Any]:
    properties: dict[str, Any] = {
        f"{word}_{k}": {"type": dice.choice(["string", "integer", "boolean"]), "description": _prose(dice, 90)}
        for k, word in enumerate(dice.sample(_VOCABULARY[:25], 4))
    }
    properties["options"] = {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"mode": {"type": "string", "enum": ["a", "b", "c"]}, "limit": {"type": "number"}},
        },
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": properties,
        "required": [next(iter(properties))],
        "additionalProperties": False,
    }


def _tools(dice: random.Random) -> list[dict[str, Any]]:
    names = [TOOL_NAME, *(f"Tool{n}" for n in range(1, TOOLS))]
    return [
        {"name": name, "description": _prose(dice, 1500), "input_schema": _schema(dice, n)}
        for n, name in enumerate(names)
    ]


def _messages(dice: random.Random, size: int) -> list[dict[str, Any]]:
    start = f"<system-reminder>\n{_prose(dice, 2000)}\n</system-reminder>"
    out: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": start}, {"type": "text", "text": "Fix the build."}]}
    ]
    for n in range(TURNS):
        call = {
            "type": "tool_use",
            "id": f"toolu_{n:024d}",
            "name": f"Tool{1 + n % 9}",
            "input": {"path": f"/src/{n}.py", "limit": n},
        }
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": _prose(dice, size // TURNS)}
        out.append({"role": "assistant", "content": [{"type": "text", "text": _prose(dice, 120)}, call]})
        out.append({"role": "user", "content": [result]})
    return out


def small(stream: bool, kind: str = "text") -> dict[str, Any]:
    """Return a request of a few lines in Anthropic's format. It has a tool or thinking if the reply will have them."""
    body: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Say something about the weather."}],
        "stream": stream,
    }
    if kind == "args":
        schema = {"type": "object", "properties": {"content": {"type": "string"}}, "required": ["content"]}
        body["tools"] = [{"name": TOOL_NAME, "description": "Write a file", "input_schema": schema}]
    elif kind == "reasoning":
        body["thinking"] = {"type": "enabled", "budget_tokens": 2048}
    return body


def large(stream: bool = True) -> dict[str, Any]:
    """Return a request like those of Claude Code, some 100 KB."""
    dice = random.Random(7)
    tools = _tools(dice)
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.332.a1b; cc_entrypoint=cli;"},
        {"type": "text", "text": "You are a coding agent.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": _prose(dice, 12_000), "cache_control": {"type": "ephemeral"}},
    ]
    body: dict[str, Any] = {"model": MODEL, "max_tokens": 32_000, "stream": stream, "system": system, "tools": tools}
    body["messages"] = _messages(dice, LARGE - len(json.dumps(body)) - 6_500)
    body["messages"][-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
    body["metadata"] = {
        "user_id": json.dumps(
            {"device_id": "0" * 64, "account_uuid": "", "session_id": "11111111-2222-4333-8444-555555555555"}
        )
    }
    return body


# -- the same for OpenAI -----------------------------------------------------------------------------------------------


def openai(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request of this module as a chat-completions request, for systems that do not translate."""
    messages: list[dict[str, Any]] = []
    if "system" in body:
        messages.append({"role": "system", "content": "\n\n".join(block["text"] for block in body["system"])})
    for message in body["messages"]:
        messages += _turn(message)
    out: dict[str, Any] = {
        "model": body["model"],
        "max_tokens": body["max_tokens"],
        "stream": body["stream"],
        "messages": messages,
    }
    if body["stream"]:
        out["stream_options"] = {"include_usage": True}
    if "tools" in body:
        out["tools"] = [
            {
                "type": "function",
                "function": {"name": t["name"], "description": t["description"], "parameters": t["input_schema"]},
            }
            for t in body["tools"]
        ]
    return out


def _turn(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    if isinstance(content, str):
        return [message]
    text = "\n\n".join(block["text"] for block in content if block["type"] == "text")
    if message["role"] == "assistant":
        calls = [
            {"id": b["id"], "type": "function", "function": {"name": b["name"], "arguments": json.dumps(b["input"])}}
            for b in content
            if b["type"] == "tool_use"
        ]
        return [{"role": "assistant", "content": text, "tool_calls": calls}]
    results = [
        {"role": "tool", "tool_call_id": b["tool_use_id"], "content": b["content"]}
        for b in content
        if b["type"] == "tool_result"
    ]
    return results or [{"role": "user", "content": text}]


def encode(wire: str, body: dict[str, Any]) -> bytes:
    """Return a request as JSON bytes."""
    return json.dumps(openai(body) if wire == "openai" else body, ensure_ascii=False, separators=(",", ":")).encode()
