"""A JSON schema and a user's words → sensible arguments.

Knows: JSON Schema as tool definitions use it, and where in a sentence a path, a URL, a place or a number stands.
Must not know: which tool is called, or why.
Invariants: `build` gives a value for every schema, of the type that it asks for, at any nesting (bounded by DEPTH).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]

#: Nesting at which a schema's objects and lists are left empty (a schema may refer to itself).
DEPTH = 6

_QUOTED = re.compile(r"[\"“]([^\"”]+)[\"”]|(?<!\w)'([^']+)'(?!\w)|`([^`]+)`")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")
ARITHMETIC = re.compile(r"[-+]?[\d(][\d\s.()]*(?:(?:\*\*|//|[-+*/%^×÷])[\d\s.()]+)+(?<=[\d)])")
_PATH = re.compile(r"(?<![\w:/])(?:~|\.{1,2})?/?[\w.@+-]*(?:/[\w.@+-]+)+/?|(?<![\w/.])[\w-]+\.[A-Za-z]\w{0,5}(?![\w/])")
_URL = re.compile(r"https?://[^\s<>\"'`)]*[^\s<>\"'`).,;!?]")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:?\d\d)?)?")
RUN = re.compile(r"(?i)(?:^|[.;:,]\s*|\b(?:please|you|to|and|then|now)\s+)(?:run|execute)(?:\s*:)?\s+")
_COMMAND = re.compile(
    RUN.pattern
    + r"(?:the\s+)?(?:(?:shell\s+)?command(?=[:\s]))?[:\s]*([^`\"\n]+?)(?:[.!?]?$|\s+and\s+(?:tell|show|explain|then)\b)"
)
_PLACE = re.compile(
    r"\b(?:in|for|at|near|of|from|to)\s+((?:[A-Z][\w.'’-]*)(?:(?:\s*,?\s+and\s+|,\s*|\s+)[A-Z][\w.'’-]*)*)"
)
_PLACE_LOW = re.compile(r"(?i)\b(?:in|near)\s+([^\W\d]{3,})")
_LIST_OF = re.compile(r"\s*,?\s+and\s+|,(?!\s*[A-Z]{2}\b)\s*")
_CONTENT = re.compile(r"(?i)\b(?:contents?|text|containing|contains)\b(?:\s*:)?\s+(?:of\s+)?([^\n]+?)[.!?]?$")
_TO = re.compile(r"(?is)^.*?\btools?\b[\s:,]*(?:to|and|for|with|on)?\s+(.+)$")

#: Requests that a shell can answer: pattern of the words → command line.
SHELL: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(?:list|show|what|which)\b.{0,30}\b(?:files|folders?|director(?:y|ies))\b"), "ls -la"),
    (re.compile(r"(?i)\b(?:current|working) directory\b|\bpwd\b"), "pwd"),
    (re.compile(r"(?i)\bgit (?:status|log|diff|branch)\b"), "git status"),
    (re.compile(r"(?i)\bwhat (?:time|day|date)\b"), "date"),
)


def _find(pattern: re.Pattern[str], text: str) -> list[str]:
    return [next(filter(None, m.groups()), m[0]).strip() for m in pattern.finditer(text)]


def quoted(text: str) -> list[str]:
    return _find(_QUOTED, text)


def _command(text: str) -> list[str]:
    return (
        re.findall(r"`([^`]+)`", text)
        or _find(_COMMAND, text)
        or [line for pattern, line in SHELL if pattern.search(text)][:1]
    )


def _place(text: str) -> list[str]:
    found = _PLACE.findall(text) or _PLACE_LOW.findall(text)
    return [place.strip(" .?!") for run in found for place in _LIST_OF.split(run)]


def _path(text: str) -> list[str]:
    return [
        path
        for path in re.findall(r"`([^`\s]+)`", text) + _find(_PATH, _URL.sub(" ", text))
        if not _NUMBER.fullmatch(path)
    ]


def _content(text: str) -> list[str]:
    return quoted(text) or _find(_CONTENT, text)


def task(text: str) -> list[str]:
    """The request without "use the … tool to"."""
    rest = _TO.match(text)
    return [rest[1] if rest else text] if text else []


#: Pattern of a property's name → where its values stand in the words. The first that matches the name decides.
FINDERS: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"(?i)url|uri|link|href|website"), lambda text: _find(_URL, text)),
    (re.compile(r"(?i)path|file|dir(ectory)?$|folder"), _path),
    (re.compile(r"(?i)^(command|cmd)$|shell"), _command),
    (re.compile(r"(?i)expression|formula|equation|calculation"), lambda text: _find(ARITHMETIC, text)),
    (re.compile(r"(?i)city|location|place|town|country|region|address"), _place),
    (re.compile(r"(?i)e-?mail"), lambda text: _find(_EMAIL, text)),
    (re.compile(r"(?i)date|^day$|^when$"), lambda text: _find(_DATE, text)),
    (re.compile(r"(?i)content"), _content),
    (re.compile(r"(?i)string|pattern|^name$|title"), quoted),
    (
        re.compile(
            r"(?i)prompt|query|question|description|task|topic|message|text|input|subject|reason|^q$|answer|summary"
        ),
        task,
    ),
)


@dataclass
class Found:
    """Arguments for one tool. `several`: property → all values that the words hold for it; `missing`: required, and not in the words."""

    arguments: JSON
    several: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def _resolve(schema: Any, root: JSON) -> JSON:
    """The schema that counts: references followed (within the document), the first branch that is not null."""
    for _ in range(DEPTH):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#"):
            target: Any = root
            for step in filter(None, reference[1:].split("/")):
                target = target.get(step) if isinstance(target, dict) else None
            schema = target
            continue
        branches = next(
            (
                schema[word]
                for word in ("anyOf", "oneOf", "allOf")
                if isinstance(schema.get(word), list) and schema[word]
            ),
            None,
        )
        if branches is None:
            return schema
        own = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf", "allOf")}
        if "allOf" in schema:
            branches = [dict(pair for branch in branches if isinstance(branch, dict) for pair in branch.items())]
        chosen = next((b for b in branches if isinstance(b, dict) and b.get("type") != "null"), {})
        schema = {**own, **chosen}
    return schema if isinstance(schema, dict) else {}


def _type(schema: JSON) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((word for word in kind if word != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _strings(name: str, schema: JSON, text: str) -> list[str]:
    """The values for a string property that stand in the words."""
    if schema.get("format") in ("uri", "url"):
        return _find(_URL, text)
    for pattern, find in FINDERS:
        if pattern.search(name):
            return list(dict.fromkeys(find(text)))
    return list(dict.fromkeys(quoted(text)))


def _bounded(value: float, schema: JSON) -> float:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if isinstance(low, (int, float)) and (value < low or (value == low and "minimum" not in schema)):
        value = low if "minimum" in schema else low + 1
    if isinstance(high, (int, float)) and (value > high or (value == high and "maximum" not in schema)):
        value = high if "maximum" in schema else high - 1
    return value


def _number(schema: JSON, text: str, whole: bool) -> tuple[float, bool]:
    numbers = [n for n in _find(_NUMBER, text) if not whole or "." not in n]
    value = _bounded(float(numbers[0]), schema) if numbers else _bounded(1.0, schema)
    return (int(value) if whole or value == int(value) else value), bool(numbers)


def _value(name: str, schema: Any, text: str, root: JSON, depth: int) -> tuple[Any, bool, list[str]]:
    """A value of the schema's type; whether the words hold it; all string values that they hold."""
    schema = _resolve(schema, root)
    if "const" in schema:
        return schema["const"], True, []
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        said = [
            v for v in schema["enum"] if isinstance(v, str) and re.search(rf"(?i)(?<!\w){re.escape(v)}(?!\w)", text)
        ]
        return (said[0] if said else schema.get("default", schema["enum"][0])), bool(said), []
    kind = _type(schema)
    if kind == "string":
        values = _strings(name, schema, text)
        if values:
            return values[0], True, values
        fallback = schema.get("default")
        return (fallback if isinstance(fallback, str) else (task(text) or [name])[0]), False, []
    if kind in ("integer", "number"):
        number, said_number = _number(schema, text, kind == "integer")
        default = schema.get("default")
        return (default if not said_number and isinstance(default, (int, float)) else number), said_number, []
    if kind == "boolean":
        return schema.get("default") is True, False, []
    if kind == "array":
        return _list(name, schema, text, root, depth)
    if kind == "object":
        found = _object(schema, text, root, depth)
        return found.arguments, not found.missing, []
    return None, False, []


def _list(name: str, schema: JSON, text: str, root: JSON, depth: int) -> tuple[Any, bool, list[str]]:
    if depth >= DEPTH:
        return [], False, []
    item, said, values = _value(name, schema.get("items"), text, root, depth + 1)
    at_least = schema.get("minItems")
    count = at_least if isinstance(at_least, int) and at_least > 1 else 1
    return (values or [item] * min(count, DEPTH)), said, []


def _object(schema: JSON, text: str, root: JSON, depth: int, everything: bool = False) -> Found:
    found = Found({})
    properties = schema.get("properties")
    if depth >= DEPTH or not isinstance(properties, dict):
        return found
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    taken: list[Any] = []
    for name, part in properties.items():
        value, said, values = _value(name, part, text, root, depth + 1)
        if name not in needed and not everything and not (said and "enum" in _resolve(part, root)):
            continue  # an optional one is filled only where the words name one of its values
        if value in taken and values:
            value = next((v for v in values if v not in taken), value)
        taken.append(value)
        found.arguments[name] = value
        if len(values) > 1:
            found.several[name] = values
        if name in needed and not said:
            found.missing.append(name)
    return found


def fill(schema: Any, text: str) -> Found:
    """Arguments for a tool whose parameters are `schema`, from the user's words."""
    root = schema if isinstance(schema, dict) else {}
    return _object(_resolve(root, root), text, root, 0)


def build(schema: Any, text: str) -> Any:
    """One value that fits `schema`, with every property of its top object: structured output."""
    root = schema if isinstance(schema, dict) else {}
    resolved = _resolve(root, root)
    if _type(resolved) == "object":
        return _object(resolved, text, root, 0, everything=True).arguments
    return _value("answer", resolved, text, root, 0)[0]
