"""How much one response may make the decoder keep.

The decoder keeps texts to compare them with their repetition, and a record of each item, part, id and citation. A
broken or hostile upstream can send any number of them, so both are bounded.

Knows: the two limits, and what each record costs. Must not know: what the records mean.
Invariants: a text above the limit is forgotten, and the reply goes on; records above the limit end the reply with an
error.
"""

from __future__ import annotations

from a2py.wires.responses.item import Part

#: Characters of text that are kept of one reply (16 Mi).
KEPT_LIMIT = 16 * 1024 * 1024
#: What each piece of text costs besides its characters: the string object and its place in a list.
PIECE_COST = 64
#: Bytes that are kept of the items of one reply besides their text (16 MiB).
ITEMS_LIMIT = 16 * 1024 * 1024
#: What an item, a part and an id cost besides their characters, in bytes of Python objects.
ITEM_COST, PART_COST, ID_COST = 2048, 768, 128


class Budget:
    """What one response uses of the two limits.

    `records`: bytes of items, parts, ids and citations; `text`: characters of kept text and the cost of its
    pieces."""

    __slots__ = ("records", "text")

    def __init__(self) -> None:
        self.records = self.text = 0

    @property
    def is_full(self) -> bool:
        """Whether the items of this reply are more than may be kept."""
        return self.records > ITEMS_LIMIT

    def keep(self, part: Part, piece: str) -> None:
        """Append `piece` to the kept text of `part`, or forget that text if it is too much."""
        if part.pieces is None:
            return
        cost = len(piece) + PIECE_COST
        if self.text + cost > KEPT_LIMIT:
            self.text -= part.cost
            part.pieces = None
            return
        part.pieces.append(piece)
        part.cost += cost
        self.text += cost
