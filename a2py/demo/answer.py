"""What the demo model answers: it greets, repeats, counts, multiplies, calls one tool and reports the result.

Knows: the messages and tools of a request, and what Claude Code puts around its user's words.
Must not know: tokens, the wire's JSON of an answer, sockets.
Invariants: pure; every request gets an answer.
"""

from __future__ import annotations

import json
import operator
import re
from dataclasses import dataclass, field
from typing import Any

from a2py.demo.protocol import JSON, ChatRequest, content_text

#: Largest number of tool calls in an answer, of numbers counted, and of characters of a tool's result in an answer.
MAX_CALLS, MAX_COUNT, MAX_RESULT = 8, 2000, 2000
#: Nesting at which objects and arrays are left empty.
_MAX_DEPTH = 6

#: What Claude Code 2.1.332 adds to the user's words: reminders, output of its own commands, and the summary after a
#: compaction.
_CLIENT_TEXT = re.compile(
    r"<(system-reminder|local-command-\w+|command-\w+)>.*?</\1>"
    r"|This session is being continued from a previous conversation\b.*?(?:as if the break never happened\.|\Z)",
    re.DOTALL,
)
_SAY = re.compile(
    r"(?is)^(?:please )?(?:say|(?:reply|respond|answer) with)\b[\s:]+(?:exactly\s+|only\s+|just\s+)?(.+?)\s*$"
)
_COUNT = re.compile(r"(?i)\bcount\s+(?:from\s+(\d{1,6})\s+)?to\s+(\d{1,6})\b")
_ARITHMETIC = re.compile(r"(?<![\w.-])(\d{1,9})\s*([-+*])\s*(\d{1,9})(?![\w.-])")
_OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_GREETING = re.compile(r"(?i)^\W*(?:hello|hi|hey)\b")
_PATH = re.compile(r"[\w~./-]*[./][\w./-]*\w")
_COMMAND = re.compile(r"`([^`]+)`|\brun\s+(.+?)[.!?]?$")
_QUOTED_OR_PLACE = re.compile(r"[\"“`]([^\"”`]+)[\"”`]|\b(?:in|for|at|of|and)\s+([A-Z][\w-]*(?:\s[A-Z][\w-]*)*)")
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")

WHO = "I am the demo model inside a2py: a few rules instead of a language model, reached over a real socket."
CURE = (
    "To get a real model, set a key such as OPENAI_API_KEY, DEEPSEEK_API_KEY or OPENROUTER_API_KEY, or start Ollama, "
    "or write a file with `a2py config init`; then start a2py again."
)


@dataclass
class Answer:
    """`calls`: tool name and arguments of each call."""

    reasoning: str
    text: str = ""
    calls: list[tuple[str, JSON]] = field(default_factory=list)


def answer(request: ChatRequest) -> Answer:
    """Return the answer: the results of tools, else a call, else JSON, else words."""
    text, results = _last_turn(request.messages)
    if results and request.choice in ("auto", "none"):
        return Answer("The tools have answered, so I report what they returned.", "\n\n".join(results))
    if calls := _pick_calls(request, text):
        return Answer(f"The tool {calls[0][0]} fits the request, so I call it.", calls=calls)
    if request.format.get("type") == "json_schema":
        schema = (request.format.get("json_schema") or {}).get("schema") or {}
        value = _value("answer", schema, text, 0, every=True)[0]
        return Answer("The answer must fit a JSON schema, so I fill it in.", json.dumps(value, ensure_ascii=False))
    return Answer("No tool fits the request, so I answer in words.", _words(text))


def _last_turn(messages: list[JSON]) -> tuple[str, list[str]]:
    """Return the user's words after the model's last answer, and one line for each tool result after them.

    Words before that answer do not count: a reminder alone must not repeat an earlier request."""
    text = ""
    results: list[str] = []
    names: dict[str, str] = {}
    for message in messages:
        role, content = message["role"], content_text(message.get("content"))
        if role == "assistant":
            results = []
            names = {call["id"]: call["function"]["name"] for call in message.get("tool_calls") or ()}
            text = text if names else ""
        elif role == "tool":
            output = content.strip() or "no output"
            more = " …" if len(output) > MAX_RESULT else ""
            results.append(f"`{names[message['tool_call_id']]}` returned: {output[:MAX_RESULT]}{more}")
        elif role == "user" and (words := _CLIENT_TEXT.sub("", content).strip()):
            text, results = words, []
    return text, results


def _words(text: str) -> str:
    if not text:
        return "Noted."
    if say := _SAY.search(text):
        return "Hello!" if say[1].lower().rstrip(".!") == "hello" else say[1].strip("\"'`")
    if count := _COUNT.search(text):
        first = int(count[1] or 1)
        return ", ".join(map(str, range(first, min(int(count[2]), first + MAX_COUNT) + 1))) + "."
    if terms := _ARITHMETIC.search(text):
        return f"{terms[0]} = {_OPERATORS[terms[2]](int(terms[1]), int(terms[3]))}"
    if _GREETING.search(text):
        return f"Hello! {WHO}\n\n{CURE}"
    return f"You asked: “{' '.join(text.split())[:200]}” {WHO}\n\n{CURE}"


def _pick_calls(request: ChatRequest, text: str) -> list[tuple[str, JSON]]:
    """Return the calls of the tool that the request forces, or that the words name and give all arguments for."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    for name, tool in request.tools.items():
        if (
            request.choice != "auto"
            or not {part.lower() for part in re.findall(r"[A-Z]?[a-z]+", name)} - {"get"} <= words
        ):
            continue
        arguments, several, is_complete = _arguments(tool.get("parameters"), text)
        if is_complete:
            many = next(iter(several.items()), None) if request.is_parallel else None
            return (
                [(name, {**arguments, many[0]: value}) for value in many[1][:MAX_CALLS]]
                if many
                else [(name, arguments)]
            )
    choice = next(iter(request.tools), "") if request.choice == "required" else request.choice
    return [(choice, _arguments(request.tools[choice].get("parameters"), text)[0])] if choice in request.tools else []


def _arguments(schema: Any, text: str) -> tuple[JSON, dict[str, list[str]], bool]:
    """Return the required arguments, the properties for which the words hold several values, and whether they hold
    all."""
    arguments, is_complete = _value("", {"type": "object", **(schema or {})}, text, 0)
    strings = {name: _strings(name, text) for name, value in arguments.items() if isinstance(value, str)}
    return arguments, {name: values for name, values in strings.items() if len(values) > 1}, is_complete


def _strings(name: str, text: str) -> list[str]:
    """Return the values for the property `name` in the words: ("file_path", "read notes.txt") gives ["notes.txt"]."""
    pattern = _PATH if re.search("(?i)path|file", name) else _COMMAND if "command" in name else _QUOTED_OR_PLACE
    return [next(filter(None, match.groups()), match[0]) for match in pattern.finditer(text)]


def _value(name: str, schema: JSON, text: str, depth: int, every: bool = False) -> tuple[Any, bool]:
    """Return a value of the schema's type, and whether the words hold it. `every`: fill optional properties, too."""
    schema = _pick_branch(schema)
    if schema.get("enum"):
        words = text.lower()
        return next(((word, True) for word in schema["enum"] if str(word).lower() in words), (schema["enum"][0], False))
    kind = _kind_of(schema)
    if kind == "object":
        return _object(schema, text, depth, every)
    if kind == "array":
        is_deep = depth >= _MAX_DEPTH
        value, is_found = ("", False) if is_deep else _value(name, schema.get("items") or {}, text, depth + 1, every)
        return [value], is_found
    if kind in ("integer", "number"):
        number = _NUMBER.search(text)
        return (int(number[0]) if number else 1), number is not None
    if kind in ("boolean", "null"):
        return (False if kind == "boolean" else None), False
    values = _strings(name, text)
    return (values[0] if values else text[:80] or name), bool(values)


def _pick_branch(schema: JSON) -> JSON:
    """Return the schema with its first alternative that is not null."""
    for key in ("anyOf", "oneOf"):
        for branch in schema.get(key) or ():
            if branch.get("type") != "null":
                return {**schema, **branch}
    return schema


def _kind_of(schema: JSON) -> str:
    """Return the type of a schema: the first that is not null, if it has several."""
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return next((word for word in kind if word != "null"), "null") if isinstance(kind, list) else str(kind)


def _object(schema: JSON, text: str, depth: int, every: bool) -> tuple[JSON, bool]:
    """Return an object with the required properties, or with `every` one, and whether the words hold all of them."""
    value: JSON = {}
    is_complete = True
    names = list(schema.get("properties") or {}) if every else schema.get("required") or []
    for name in names if depth < _MAX_DEPTH else ():
        value[name], is_found = _value(name, schema["properties"][name], text, depth + 1, every)
        is_complete = is_complete and is_found
    return value, is_complete
