"""The arguments of a tool call as text: what means "none", where the object ends, what more than one object means.

Servers with a broken tool parser leave things around the one JSON object that arguments are: a placeholder before it,
a second encoding around it, a token of the chat template or the arguments of further calls behind it. Example:

    {"command": "ls"}}</s          a brace and half a token too many (vLLM, 2026-07): {"command": "ls"}
    {"path": "a"}{"path": "b"}     two calls on one index (Gemini through relays, 2026-05): {"path": "a"}, {"path": "b"}

Knows: JSON text. Must not know: blocks, events, when a reply has ended properly (only then anything is repaired).
Invariants: nothing here raises, whatever the upstream sent; what has two readings stays as it came.
"""

from __future__ import annotations

import json
import re

from a2py import jsonsize, jsontext

#: Arguments that mean "none". Groq sends null (2025-09), DeepSeek and Mistral an empty string, others `{}` before the
#: object.
NO_ARGUMENTS = frozenset({"", "{}", "null", "[]", '""'})
#: Values that some servers send before the real object.
_PLACEHOLDERS = ("{}", "null", '""')
#: Objects that are taken for the calls of one reply. More are a model in a loop.
OBJECTS_LIMIT = 32
_DECODER = json.JSONDecoder()
#: What may be between two objects.
_GAP = re.compile(r"\s*,?\s*")
#: What may belong to the arguments after all: another member of the object, or another object.
_CONTENT = re.compile(r'\A\s*,|\{|"\s*:')


def without_placeholder(text: str) -> str:
    """Return arguments without a `{}`, `null` or `""` before the object: `{}{"a": 1}` becomes `{"a": 1}`."""
    bare = text.lstrip()
    for placeholder in _PLACEHOLDERS:
        if bare.startswith(placeholder):
            rest = bare[len(placeholder) :].lstrip()
            if rest.startswith("{"):
                return rest
    return text


def decoded_twice(text: str) -> str:
    """Return the object in arguments that are JSON text inside a JSON string; other arguments as they are."""
    if not text.lstrip().startswith('"'):
        return text
    try:
        inner = jsontext.loads(text.encode())
        raw = inner.encode()
        return inner if not jsonsize.exceeds(raw) and isinstance(jsontext.loads(raw), dict) else text
    except (ValueError, AttributeError):
        return text


def begins_string(text: str) -> bool:
    """Return whether arguments seem to be JSON text inside a JSON string."""
    bare = text.lstrip()
    return bare[:1] == '"' and bare[:2] != '""'


def read_calls(root: str, rest: str) -> list[str] | None:
    """Return the arguments of each call that is meant by the object `root` with `rest` behind it; None if that has no
    reading, or two.

    Rubbish is dropped, unless it may be a part of the arguments. Objects that all say the same are one call that was
    repeated, objects that all differ are a call each: of 70 replies in LiteLLM's issue 40582 (2026-09) 48 were of the
    first kind, 22 of the second, none of both. An object that only adds members to another one may be either. An empty
    object with something behind it may have lost its members."""
    try:
        texts = [root, *_split_objects(rest)]
        members = [
            {name: json.dumps(value, sort_keys=True) for name, value in _load_object(text).items()} for text in texts
        ]
    except (ValueError, RecursionError):
        return None
    calls = [n for n, names in enumerate(members) if names]  # `{}` behind an object is a placeholder
    if not members[0]:
        return None
    if all(members[n] == members[0] for n in calls):
        return [root]
    for n in calls:
        if any(members[n].items() <= members[other].items() for other in calls if other != n):
            return None
    return [texts[n] for n in calls]


def _split_objects(rest: str) -> list[str]:
    """Return the texts of the objects at the start of `rest`. Raises ValueError if what follows them is content, or if
    they are too many."""
    if jsonsize.exceeds(rest.encode()):
        raise ValueError
    texts: list[str] = []
    at, end = _GAP.match(rest).end(), 0  # type: ignore[union-attr]
    while rest.startswith("{", at):
        if len(texts) + 1 >= OBJECTS_LIMIT:
            raise ValueError
        _, end = _DECODER.raw_decode(rest, at)
        texts.append(rest[at:end])
        at = _GAP.match(rest, end).end()  # type: ignore[union-attr]
    if _CONTENT.search(rest[end:]):
        raise ValueError
    return texts


def _load_object(text: str) -> dict[str, object]:
    """Return the object in `text`. Raises ValueError if there is none."""
    raw = text.encode()
    value: object = None if jsonsize.exceeds(raw) else jsontext.loads(raw)
    if not isinstance(value, dict):
        raise ValueError
    return value


class JsonScan:
    """Find, piece by piece and in linear time, the end of a JSON object.

    It counts brackets outside of strings: after `{"a": [1, "}"` the depth is 2, after `]}` it is 0 and `is_complete` is
    True. It does not check the syntax."""

    __slots__ = ("_depth", "_escaped_at", "_in_string", "is_complete")
    _TOKEN = re.compile(r'["\\{}\[\]]')

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped_at = -1  # where in the next piece, or in this one, a character follows a backslash; -1: nowhere
        self.is_complete = False

    def feed(self, s: str) -> int:
        """Scan the next piece. Return where in it the object ends; -1 if it does not end in this piece.

        Nothing is scanned after the end."""
        if self.is_complete:
            return -1
        for match in self._TOKEN.finditer(s):
            at = match.start()
            if at == self._escaped_at:
                continue
            c = s[at]
            if self._in_string:
                if c == "\\":
                    self._escaped_at = at + 1
                elif c == '"':
                    self._in_string = False
            elif c == '"':
                self._in_string = True
            elif c in "{[":
                self._depth += 1
            elif c in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self.is_complete = True
                    return at + 1
        # A backslash at the very end escapes the first character of the next piece.
        self._escaped_at = 0 if self._escaped_at == len(s) else -1
        return -1
