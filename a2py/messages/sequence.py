"""One block after the other: which item's block is open, which items wait for it.

Upstreams may mix the pieces of several items; Anthropic's clients take one block at a time. So the first item that
comes is the current one, and its pieces are written at once. The others are held until the current block can be closed.

Knows: block order, which items are held, when a tool call is complete. Must not know: verbs (blocks.py), how a reply
ends, bytes.
Invariants: at most one block is open. A closed block is never reopened. What is held is bounded by HELD_LIMIT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2py import jsonsize, jsontext
from a2py.errors import ApiError
from a2py.messages import ids, signatures
from a2py.messages.items import TEXT, THINKING, TOOL, WHOLE, Item, ItemQueue, Part

if TYPE_CHECKING:
    from a2py.messages.output import Output
    from a2py.messages.types import Key

#: Characters that may be held: items after an open tool call, arguments without a name, hidden thinking (16 Mi).
HELD_LIMIT = 16 * 1024 * 1024
#: What a held piece and a held item count for beside their characters. They are CPython objects, so endless empty ones
#: must count, too.
PART_COST, ITEM_COST = 64, 16 * 1024
#: A call is streamed only if its argument object begins within so many pieces. Others wait for the end of the call.
TRIES = 64
#: Characters of an open call after which its end is looked for, so that they need not all be kept.
SCAN_SIZE = 256 * 1024


class Sequence:
    """Items that become blocks of `output`.

    `origin`: who replies, for the signatures. `thinking`: `show`, `omit` (blocks with empty text, whose text is in the
    signature) or `none`. `history_ids`: tool ids of the request's history. `count`: blocks that were opened;
    `tools_emitted`: calls among them."""

    def __init__(
        self, output: Output, origin: str = "", thinking: str = "show", history_ids: frozenset[str] = frozenset()
    ) -> None:
        self._output = output
        self._origin = origin
        self._reasoning_field = ""  # where the upstream writes its reasoning
        self._thinking = thinking
        self._ids = ids.Allocator(history_ids)
        self._current: Item | None = None  # the item whose pieces are written, or will be when its block opens
        self._open_key: Key | None = None  # its key, while its block is open and its pieces need nothing but writing
        self._open_call: Key | None = None  # its key, while its block is open and is a call
        self._queue = ItemQueue()
        self._calls: dict[Key, Item] = {}
        self._is_cut = False  # the reply was
        self._is_call_cut = False  # a call was closed whose arguments have no end
        self.count = 0
        self.tools_emitted = 0
        self.called_tools: set[str] = set()  # names of the tools

    @property
    def problem(self) -> ApiError | None:
        """Why the reply can't be completed."""
        return self._output.problem

    # -- items: the current one, and those that are held ---------------------------------------------------------------

    def _add_item(self, item: Item) -> None:
        if self.problem is not None:
            return
        if self._current is None:
            self._current = item
            return
        self._queue.items.append(item)
        block = jsonsize.weight(jsontext.dumps(item.block)) + sum(map(len, item.parts)) if item.block else 0
        self._keep(item, "", ITEM_COST + block)
        self._advance()

    def _add(self, item: Item, part: Part) -> None:
        """Add a piece to a run of text or thinking."""
        if item is not self._current:
            self._keep(item, part)
            return
        if not item.is_started:
            self._open_block(item)
        if self._is_hidden(item):
            self._keep(item, part)
        else:
            self._write(part)

    def _is_hidden(self, item: Item) -> bool:
        """Return whether the text of `item` is not shown, but kept for the signature."""
        return item.kind == THINKING and self._thinking == "omit"

    def _add_arguments(self, item: Item, part: Part) -> None:
        """Add a piece to a call. Its block opens when an argument object begins, and pieces are written from then."""
        if item.is_closed:
            return
        if item is not self._current:
            self._keep(item, part)
        elif item.is_started:
            self._write_piece(item, part)
            self._check_open_call(item)
            return
        else:
            item.parts.append(part)
            if item.name and len(item.parts) <= TRIES and item.begins_object():
                self._write_kept(item)
            if not item.is_started:
                self._keep(item, item.parts.pop())
        if self._queue.items:
            self._advance()

    def _check_open_call(self, item: Item) -> None:
        """The open call `item` got more: scan much of it, and close the block if it is complete and others wait."""
        if item.size > SCAN_SIZE:
            item.forget_parts()
        if self._queue.items:
            self._advance()

    def _keep(self, item: Item, part: Part, cost: int = PART_COST) -> None:
        """Keep `part` until it can be written. Too much ends the reply: nothing with a gap is opened or closed."""
        if self.problem is not None:
            return
        self._queue.keep(item, part, cost)
        if self._queue.size > HELD_LIMIT:
            self._give_up(
                f"the upstream interleaved more than {HELD_LIMIT} characters of tool calls or hidden thinking"
            )

    def _give_up(self, reason: str) -> None:
        """End the reply with an error, because more of it can't be kept."""
        self._output.problem = self._output.problem or ApiError("upstream", reason)
        self._queue.items.clear()
        if self._current is not None and not self._current.is_started:
            self._current = None

    # -- blocks: opened, written, closed -------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Close the current block and take the next item, for as long as items wait and blocks are complete."""
        while self._queue.items and (self._current is None or self._current.may_close(self._queue)):
            if self._current is not None:
                self._close_block()
            self._take_next()

    def _take_next(self) -> None:
        """Make the next held item the current one, and write what it has."""
        item = self._current = self._queue.take_next()
        if item.kind == TOOL:
            self._continue_call(item)
        elif item.kind == WHOLE:
            self._close_block()
        elif item.parts or item.kind == TEXT:
            self._write_kept(item)

    def _continue_call(self, item: Item) -> bool:
        """Write what can be written of the current call. Return whether it is closed now."""
        if item.name and item.parts and not item.is_started and item.begins_object():
            self._write_kept(item)
        if item.name and item.is_done and not item.rest and not item.is_encoded_twice():
            self._close_block()
            return True
        return False

    def _write_kept(self, item: Item, *, is_whole: bool = False) -> None:
        """Open the block of `item` and write what it has kept. `is_whole`: there is no more of it."""
        if item.kind == TOOL:
            item.settle_arguments(is_whole=is_whole, is_cut=self._is_cut)
        self._open_block(item)
        if not self._is_hidden(item):
            self._queue.release(item)
            parts = item.parts
            if item.kind == TOOL and not is_whole:
                item.parts = []
                self._write_piece(item, parts[0])
            else:
                for part in parts:
                    self._write(part)
            for citation in item.citations:
                self._output.cite(citation)

    def _open_block(self, item: Item) -> None:
        item.is_started = True
        if item.kind == TOOL:
            item.id = self._ids.legal(item.id)
            self.tools_emitted += 1
            self.called_tools.add(item.name)
        index = self.count
        self.count += 1
        self._output.start(index, item)
        # The pieces of a call are kept as well, to find its end, and those of a hidden text are not written.
        self._open_key = None if item.kind == TOOL or self._is_hidden(item) else item.key
        self._open_call = item.key if item.kind == TOOL else None

    def _write_piece(self, item: Item, part: Part) -> None:
        """Write a piece of an open call up to the end of its object. What follows is kept until the reply ends."""
        piece = item.take_piece(part)
        if piece:
            self._write(piece)
        if item.rest:
            self._keep(item, "", PART_COST + len(part))
        if item.has_whole_object():
            self._open_call = None

    def _write(self, part: Part) -> None:
        if isinstance(part, str):
            self._output.add_text(part)
        else:
            self._output.add_json(part)

    def _close_block(self) -> None:
        """Close the block of the current item, which is complete. Open it first if it has not been opened yet."""
        item = self._current
        assert item is not None
        if not item.is_started:
            self._write_kept(item, is_whole=True)
        if item.kind == THINKING:
            self._output.sign(self._signature_of(item))
        elif item.kind == TOOL:
            self._is_call_cut = self._is_call_cut or item.is_cut_off()
        self._output.stop()
        if self._is_hidden(item):
            self._queue.release(item)
        item.parts = []
        item.is_closed = True
        self._current = None
        self._open_key = self._open_call = None

    def _signature_of(self, item: Item) -> str:
        state = dict(item.state)
        if self._reasoning_field:
            state["r"] = self._reasoning_field
        if self._thinking == "omit":
            state["text"] = item.join_parts()
        return signatures.make(item.state_kind or signatures.PLAIN, self._origin, state)
