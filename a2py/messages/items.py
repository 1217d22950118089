"""One item of the upstream on its way to being a content block.

An item is what the upstream sends under one key: a run of text, a run of thinking, a tool call, or a block that comes
as a whole. Its pieces may arrive while another item's block is open, so it keeps what can't be sent yet.

Knows: pieces of text (plain, or the inside of a JSON string), when a call's arguments are complete.
Must not know: which item goes first (blocks.py), what arguments mean (arguments.py), events.
Invariants: nothing here raises, whatever the upstream sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

import orjson

from a2py import jsonsize, jsontext
from a2py.messages.arguments import (
    NO_ARGUMENTS,
    JsonScan,
    begins_string,
    decoded_twice,
    read_calls,
    without_placeholder,
)

if TYPE_CHECKING:
    from a2py.messages.types import JSON, Key

#: Kinds of items.
TEXT, THINKING, TOOL, WHOLE = "text", "thinking", "tool", "whole"
#: Type of an Anthropic block → kind of its item; any other type is WHOLE.
KINDS = {"text": TEXT, "thinking": THINKING, "tool_use": TOOL}
#: White space of JSON.
_BLANK = " \t\n\r"
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


class Item:
    """One item. Its fields belong to `Blocks`.

    `parts`: pieces that it keeps, and `size`: characters that they count for. `rest`: pieces that came after the end of
    a call's object. Only the end of the reply shows what they are. `block`: the block of a WHOLE item.
    `state_kind`, `state`: vendor state for a thinking block's signature. `is_started`: its block was opened; `is_done`:
    the upstream said that it is complete; `is_closed`: its block was closed, or it is refused. Pieces for a closed call
    are dropped."""

    __slots__ = (
        "_is_forgotten",
        "_scan",
        "_scan_count",
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
        "rest",
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
        self.rest: list[str] = []
        self._scan = JsonScan()  # of a call's arguments
        self._scan_count = 0  # how many of the pieces it has read
        self._is_forgotten = False

    def opening(self) -> JSON:
        """Return the block as it starts: a new object, or the `block` of a WHOLE item."""
        if self.kind == TOOL:
            return {"type": "tool_use", "id": self.id, "name": self.name, "input": {}}
        if self.kind == THINKING:
            return {"type": "thinking", "thinking": "", "signature": ""}
        return {"type": "text", "text": ""} if self.kind == TEXT else self.block

    def join_parts(self) -> str:
        """Return all kept pieces as one text."""
        return "".join(map(as_text, self.parts))

    def begins_object(self) -> bool:
        """Return whether the arguments so far begin a JSON object. `{}` alone does not: it may be a placeholder."""
        text = without_placeholder(self.join_parts()).lstrip()
        return text[:1] == "{" and text.rstrip() != "{}"

    def settle_arguments(self, *, is_whole: bool, is_cut: bool) -> None:
        """Join the arguments to one piece without a placeholder. If they are all (`is_whole`) and mean none, they
        become `{}`. If the reply was not cut, those that are encoded twice are decoded."""
        text = self.join_parts()
        if is_whole and text.strip() in NO_ARGUMENTS:
            text = "{}"
        elif is_whole and not is_cut:
            text = decoded_twice(text)
        self.parts = [without_placeholder(text)]

    def is_encoded_twice(self) -> bool:
        """Return whether the arguments seem to be JSON text inside a JSON string. Only a reply that ends properly shows
        that they are."""
        return not self.is_started and begins_string(self.join_parts())

    def has_whole_object(self) -> bool:
        """Return whether the arguments so far close their JSON object."""
        for part in self.parts[self._scan_count :]:
            self._scan.feed(as_text(part))
        self._scan_count = len(self.parts)
        return self._scan.is_complete

    def forget_parts(self) -> None:
        """Forget the pieces of a call whose block is open. They are scanned before."""
        self.has_whole_object()
        self.parts = []
        self._scan_count = self.size = 0
        self._is_forgotten = True

    def take_piece(self, part: Part) -> Part:
        """Add a piece to an open call. Return what may be written of it: nothing after the end of the object, except
        white space."""
        text, end = as_text(part), 0
        if not self.has_whole_object():
            end = self._scan.feed(text)
        if end < 0 or not (self.rest or text[end:].strip(_BLANK)):
            end = len(text)
        else:
            self.rest.append(text[end:])
            part = text[:end]
        self.parts.append(part)
        self._scan_count = len(self.parts)
        self.size += len(part)
        return part

    def settle_rest(self, is_cut: bool) -> list[str]:
        """Decide what the `rest` is at the end of the reply. Return the arguments of further calls.

        Afterwards `rest` holds what belongs to this call after all: everything if the reply was cut (`is_cut`), or if
        nobody can know."""
        calls = None if is_cut or self._is_forgotten else read_calls(self.join_parts(), "".join(self.rest))
        if calls is None:
            return []
        self.rest = []
        return calls[1:]

    def describe_rest(self, size: int, calls: int) -> str:
        """Return the note on what became of the rest, of `size` characters: `calls` further calls, or nothing."""
        what = f"read as {calls} more call{'s' if calls > 1 else ''}" if calls else "left out"
        return f"{size} characters behind the arguments of {self.name[:100]} were {what}"

    def is_cut_off(self) -> bool:
        """Return whether the arguments begin a JSON object and do not end it."""
        if not self._is_forgotten:
            # Arguments that parse need no scan: orjson is some 20 times faster.
            text = self.join_parts()
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

    def may_close(self, queue: ItemQueue) -> bool:
        """Return whether the block may be closed because the items in `queue` wait.

        A call that has shown only `{}` may not: the object may still come. A text is not torn for thinking, because
        `claude -p` (2.1.332) prints only the last text of a reply."""
        if self.kind == TEXT:
            return not queue.has_only_thinking()
        if self.kind != TOOL:
            return True
        if not self.is_started:
            return self.is_done and bool(self.name) and not self.is_encoded_twice()
        return not self.rest and (self.is_done or self.has_whole_object())

    def is_lost(self, is_cut: bool) -> bool:
        """Return whether a call that has not started must be left out: it has no name, or the reply was cut (`is_cut`)
        before its arguments began. An empty object in their place would be run."""
        return not self.name or (is_cut and not self.is_done and self.join_parts().strip() in NO_ARGUMENTS)

    def is_only_state(self) -> bool:
        """Return whether a thinking item has vendor state and no text."""
        return self.kind == THINKING and not self.is_started and not self.parts


class ItemQueue:
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
