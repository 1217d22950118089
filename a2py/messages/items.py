"""One upstream item on its way to being a content block, and how its pieces are read.

Knows: parts (text, or the inside of a JSON string), the ways to say "no arguments", where a JSON object ends.
Must not know: which item goes first (blocks.py), any event.
Invariants: nothing here raises, whatever the upstream sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Union

import orjson

from a2py import jsonsize, jsontext

if TYPE_CHECKING:
    from a2py.messages.types import JSON, Key

TEXT, THINKING, TOOL, WHOLE = "text", "thinking", "tool", "whole"
#: Arguments that say "none": Groq sends null (2025-09), DeepSeek and Mistral "", others `{}` ahead of the object.
NO_ARGUMENTS = frozenset({"", "{}", "null", "[]", '""'})
#: Placeholders that may stand ahead of the real object.
_PLACEHOLDERS = ("{}", "null", '""')

Part = Union[str, bytes]  # bytes: the inside of a JSON string, still escaped


def plain(part: Part) -> str:
    """A part as text."""
    if isinstance(part, str):
        return part
    try:
        text: str = jsontext.loads(b'"' + part + b'"')
    except ValueError:
        text = part.decode("utf-8", "replace")
    return text


def without_placeholder(text: str) -> str:
    """Arguments without a `{}`, `null` or `""` that stands ahead of an object."""
    bare = text.lstrip()
    for placeholder in _PLACEHOLDERS:
        if bare.startswith(placeholder):
            rest = bare[len(placeholder) :].lstrip()
            if rest.startswith("{"):
                return rest
    return text


class Item:
    """`size`: characters that `parts` counts for; `sealed`, `state`: kind and content of the vendor state; `block`: a whole block."""

    __slots__ = ("block", "citations", "closed", "done", "id", "key", "kind", "name", "opened", "parts", "scan", "sealed", "size", "state")

    def __init__(self, kind: str, key: Key) -> None:
        self.kind = kind
        self.key = key
        self.id = ""
        self.name = ""
        self.parts: list[Part] = []
        self.size = 0
        self.opened = False
        self.done = False
        self.closed = False
        self.sealed = ""
        self.state: JSON = {}
        self.block: JSON = {}
        self.citations: list[JSON] = []
        self.scan: JsonScan | None = None

    def joined(self) -> str:
        return "".join(map(plain, self.parts))

    def scanned(self) -> bool:
        """Whether the fragments so far close the argument object. They are forgotten: an open call needs them for nothing else."""
        scan = self.scan = self.scan or JsonScan()
        for part in self.parts:
            scan.feed(plain(part))
        self.parts = []
        self.size = 0
        return scan.complete

    def torn(self) -> bool:
        """Whether an argument object began and has no end. What parses is only parsed: that is some 20 times faster than the scan."""
        if self.scan is None:
            text = self.joined()
            try:
                raw = text.encode()
                if jsonsize.exceeds(raw):
                    return True  # nobody parses that
                orjson.loads(raw)
                return False
            except ValueError:
                if not text.lstrip().startswith("{"):
                    return False
        return not self.scanned()


class JsonScan:
    """Tells, fragment by fragment and in linear time, whether a JSON object has been closed."""

    __slots__ = ("complete", "depth", "escaped", "quoted")
    _TOKEN = re.compile(r'["\\{}\[\]]')

    def __init__(self) -> None:
        self.depth = 0
        self.quoted = False
        self.escaped = -1  # offset of an escaped character, relative to the fragment
        self.complete = False

    def feed(self, s: str) -> None:
        for match in self._TOKEN.finditer(s):
            at = match.start()
            if at == self.escaped:
                continue
            c = s[at]
            if self.quoted:
                if c == "\\":
                    self.escaped = at + 1
                elif c == '"':
                    self.quoted = False
            elif c == '"':
                self.quoted = True
            elif c in "{[":
                self.depth += 1
            elif c in "}]":
                self.depth -= 1
                self.complete = self.complete or self.depth == 0
        self.escaped = 0 if self.escaped == len(s) else -1
