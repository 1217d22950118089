"""One item of the upstream on its way to being a content block.

An item is what the upstream sends under one key: a run of text, a run of thinking, a tool call, or a block that comes
as a whole. Its pieces may arrive while another item's block is open, so it keeps what can't be sent yet.

Knows: pieces of text (plain, or the inside of a JSON string), the ways to say "no arguments", where a JSON object ends.
Must not know: which item goes first (blocks.py), events.
Invariants: nothing here raises, whatever the upstream sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Union

import orjson

from a2py import jsonsize, jsontext

if TYPE_CHECKING:
    from a2py.messages.types import JSON, Key

#: Kinds of items.
TEXT, THINKING, TOOL, WHOLE = "text", "thinking", "tool", "whole"
#: Type of an Anthropic block → kind of its item; any other type is WHOLE.
KINDS = {"text": TEXT, "thinking": THINKING, "tool_use": TOOL}
#: Arguments that mean "none". Groq sends null (2025-09), DeepSeek and Mistral an empty string, others `{}` before the
#: object.
NO_ARGUMENTS = frozenset({"", "{}", "null", "[]", '""'})
#: Values that some servers send before the real object.
_PLACEHOLDERS = ("{}", "null", '""')

#: A piece of an item: text, or (bytes) the inside of a JSON string, still escaped.
Part = Union[str, bytes]


def as_text(part: Part) -> str:
    """Return a piece as text. Bytes that are no JSON string are decoded as UTF-8."""
    if isinstance(part, str):
        return part
    try:
        text: str = jsontext.loads(b'"' + part + b'"')
    except ValueError:
        text = part.decode("utf-8", "replace")
    return text


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


class Item:
    """One item. Its fields belong to `Blocks`.

    `parts`: pieces that it keeps, and `size`: characters that they count for. `block`: the block of a WHOLE item.
    `state_kind`, `state`: vendor state for a thinking block's signature. `is_started`: its block was opened; `is_done`:
    the upstream said that it is complete; `is_closed`: its block was closed, or it is refused. Pieces for a closed call
    are dropped."""

    __slots__ = (
        "_scan",
        "block",
        "citations",
        "id",
        "is_closed",
        "is_done",
        "is_started",
        "key",
        "kind",
        "name",
        "parts",
        "size",
        "state",
        "state_kind",
    )

    def __init__(self, kind: str, key: Key) -> None:
        self.kind = kind
        self.key = key
        self.id = ""
        self.name = ""
        self.parts: list[Part] = []
        self.size = 0
        self.is_started = False
        self.is_done = False
        self.is_closed = False
        self.state_kind = ""
        self.state: JSON = {}
        self.block: JSON = {}
        self.citations: list[JSON] = []
        self._scan: JsonScan | None = None

    def opening(self) -> JSON:
        """Return the block as it starts: a new object, or the `block` of a WHOLE item."""
        if self.kind == TOOL:
            return {"type": "tool_use", "id": self.id, "name": self.name, "input": {}}
        if self.kind == THINKING:
            return {"type": "thinking", "thinking": "", "signature": ""}
        return {"type": "text", "text": ""} if self.kind == TEXT else self.block

    def joined(self) -> str:
        """Return all kept pieces as one text."""
        return "".join(map(as_text, self.parts))

    def begins_object(self) -> bool:
        """Return whether the arguments so far begin a JSON object. `{}` alone does not: it may be a placeholder."""
        text = without_placeholder(self.joined()).lstrip()
        return text[:1] == "{" and text.rstrip() != "{}"

    def settle_arguments(self, *, is_whole: bool, is_cut: bool) -> None:
        """Join the arguments to one piece without a placeholder. If they are all (`is_whole`) and mean none, they
        become `{}`. If the reply was not cut, those that are encoded twice are decoded."""
        text = self.joined()
        if is_whole and text.strip() in NO_ARGUMENTS:
            text = "{}"
        elif is_whole and not is_cut:
            text = decoded_twice(text)
        self.parts = [without_placeholder(text)]

    def is_encoded_twice(self) -> bool:
        """Return whether the arguments seem to be JSON text inside a JSON string. Only a reply that ends properly shows
        that they are."""
        text = "" if self.is_started else self.joined().lstrip()
        return text[:1] == '"' and text[:2] != '""'

    def has_whole_object(self) -> bool:
        """Return whether the arguments so far close their JSON object.

        The pieces are forgotten: a call whose block is open needs them for nothing else."""
        scan = self._scan = self._scan or JsonScan()
        for part in self.parts:
            scan.feed(as_text(part))
        self.parts = []
        self.size = 0
        return scan.is_complete

    def is_cut_off(self) -> bool:
        """Return whether the arguments begin a JSON object and do not end it."""
        if self._scan is None:
            # Arguments that parse need no scan: orjson is some 20 times faster.
            text = self.joined()
            try:
                raw = text.encode()
                if jsonsize.exceeds(raw):
                    return True  # too many values: no client parses them
                orjson.loads(raw)
                return False
            except ValueError:
                if not text.lstrip().startswith("{"):
                    return False
        return not self.has_whole_object()

    def may_close(self, held: Held) -> bool:
        """Return whether the block may be closed because the items in `held` wait.

        A call that has shown only `{}` may not: the object may still come. A text is not torn for thinking, because
        `claude -p` (2.1.332) prints only the last text of a reply."""
        if self.kind == TEXT:
            return not held.has_only_thinking()
        if self.kind != TOOL:
            return True
        if not self.is_started:
            return self.is_done and bool(self.name) and not self.is_encoded_twice()
        return self.is_done or self.has_whole_object()

    def is_lost(self, is_cut: bool) -> bool:
        """Return whether a call that has not started must be left out: it has no name, or the reply was cut (`is_cut`)
        before its arguments began. An empty object in their place would be run."""
        return not self.name or (is_cut and not self.is_done and self.joined().strip() in NO_ARGUMENTS)

    def is_only_state(self) -> bool:
        """Return whether a thinking item has vendor state and no text."""
        return self.kind == THINKING and not self.is_started and not self.parts


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

    def feed(self, s: str) -> None:
        """Scan the next piece. `is_complete` stays True once it is."""
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
                self.is_complete = self.is_complete or self._depth == 0
        # A backslash at the very end escapes the first character of the next piece.
        self._escaped_at = 0 if self._escaped_at == len(s) else -1


class Held:
    """The items that wait until the open block is closed, oldest first.

    `size`: characters (or the like) that they hold, and that the current item holds; what too much is, `Blocks`
    decides."""

    __slots__ = ("items", "size")

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.size = 0

    def keep(self, item: Item, part: Part, cost: int) -> None:
        """Add `part` to `item`. It counts for its length and `cost`."""
        if part:
            item.parts.append(part)
        size = len(part) + cost
        item.size += size
        self.size += size

    def release(self, item: Item) -> None:
        """Count the pieces of `item` no longer: they have been sent."""
        self.size -= item.size
        item.size = 0

    def newest(self, key: Key, kind: str) -> Item | None:
        """Return the newest waiting item with this key and kind."""
        return next((item for item in reversed(self.items) if item.key == key and item.kind == kind), None)

    def newest_but(self, kind: str, default: Item | None) -> Item | None:
        """Return the newest waiting item of another kind, `default` if there is none."""
        return next((item for item in reversed(self.items) if item.kind != kind), default)

    def has_only_thinking(self) -> bool:
        """Return whether all waiting items are thinking."""
        return self.newest_but(THINKING, None) is None

    def take_next(self) -> Item:
        """Remove and return the item whose block comes next: the oldest one, but calls that wait together go by their
        index.

        Example: of the calls 2, 0 and 1, followed by a text and call 3, this is call 0. There must be an item."""
        at = 0
        if self.items[0].kind == TOOL:
            for n, other in enumerate(self.items):
                if other.kind != TOOL:
                    break
                first = self.items[at].key
                if isinstance(other.key, int) and isinstance(first, int) and other.key < first:
                    at = n
        return self.items.pop(at)
