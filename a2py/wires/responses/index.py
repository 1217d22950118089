"""Find the output item that an event means.

A response mentions each item many times: in `output_item.added`, in every delta, in `output_item.done`, and in the
`output` of the final response. OpenAI gives all mentions the same `id` and `output_index`. Other servers do not:

- Copilot's ids change with every event, so the index decides;
- OpenRouter's ids in the final response differ from the streamed ones (2025-11), so the order within one type decides;
- some servers leave out ids or indexes, so the newest item of the type decides.

Example: `delta(id="msg_9", output_index=0)` after `added(id="msg_1", output_index=0)` means the item with index 0,
although no item has the id `msg_9`.

Knows: ids, indexes, types and their order. Must not know: texts, sinks.
Invariants: every item has its own key; an item that does not exist yet is added; any JSON is accepted.
"""

from __future__ import annotations

from typing import Any

from a2py.messages.types import JSON
from a2py.wires.responses.budget import ID_COST, ITEM_COST, Budget
from a2py.wires.responses.item import Item, as_index, as_text, can_be


class ItemIndex:
    """All items of one response, in the order in which they appeared (`items`)."""

    __slots__ = ("_budget", "_by_id", "_by_index", "_keys", "_newest", "_next_key", "items")

    def __init__(self, budget: Budget) -> None:
        self.items: list[Item] = []
        self._budget = budget
        self._by_id: dict[str, Item] = {}
        self._by_index: dict[int, Item] = {}
        self._newest: dict[str, Item] = {}
        self._keys: set[int] = set()
        self._next_key = 0

    def for_delta(self, kind: str, id: Any, index: Any) -> Item:
        """Return the item of type `kind` that a delta belongs to."""
        id, index = as_text(id), as_index(index)
        item = self._by_id.get(id)
        if item is not None and item.kind == kind:
            return item
        item = self._by_index.get(index) if index >= 0 else self._newest.get(kind)
        if item is None or item.kind != kind or (item.is_closed and id):
            item = self.add(kind, index)
            if id:
                item.id = id
                self._remember(item, id)
        return item

    def for_item(self, raw: JSON, index: Any) -> Item:
        """Return the item that `raw`, of `output_item.added` or `output_item.done`, describes."""
        kind, id, call_id = as_text(raw.get("type")), as_text(raw.get("id")), as_text(raw.get("call_id"))
        index = as_index(index)
        item = self._by_id.get(id)
        if item is None:
            item = self._by_id.get(call_id)
            if item is not None and item.index != index and item.index >= 0 <= index:
                item = None  # two calls that have the same call_id
        if item is None or not can_be(item, kind, call_id):
            item = self._by_index.get(index)
            if item is None or item.is_closed or not can_be(item, kind, call_id):
                item = self.add(kind, index)
        return item

    def for_final(self, raw: JSON, candidates: list[Item], matched_keys: set[int]) -> Item | None:
        """Return the item that `raw`, of the final response, repeats. None if it was not mentioned before.

        `candidates`: items of the same type, the oldest last; those that are tried are removed from it."""
        kind, call_id = as_text(raw.get("type")), as_text(raw.get("call_id"))
        for id in (as_text(raw.get("id")), call_id):
            item = self._by_id.get(id)
            if item is not None and item.key not in matched_keys and can_be(item, kind, call_id):
                return item
        while candidates:
            item = candidates.pop()
            if item.key not in matched_keys and can_be(item, kind, call_id):
                return item
        return None

    def by_kind(self) -> dict[str, list[Item]]:
        """Return the items of each type, the oldest last, as `for_final` takes them."""
        kinds: dict[str, list[Item]] = {}
        for item in reversed(self.items):
            kinds.setdefault(item.kind, []).append(item)
        return kinds

    def add(self, kind: str, index: int = -1) -> Item:
        """Return a new item.

        Its key is its index, unless another item has that key (indexes may repeat or be missing)."""
        key = index if index >= 0 and index not in self._keys else self._next_key
        self._keys.add(key)
        self._next_key = max(self._next_key, key + 1)
        self._budget.records += ITEM_COST + len(kind)
        item = Item(kind, key, index)
        self.items.append(item)
        self._newest[kind] = item
        if index >= 0:
            self._by_index[index] = item
        return item

    def add_ids(self, item: Item, raw: JSON) -> None:
        """Remember the ids in `raw` for `item`. The item keeps the first id of each sort; later ones only find it."""
        id, call_id = as_text(raw.get("id")), as_text(raw.get("call_id"))
        item.id = item.id or id
        item.call_id = item.call_id or call_id
        for alias in (id, call_id):
            if alias:
                self._remember(item, alias)

    def _remember(self, item: Item, id: str) -> None:
        if self._by_id.get(id) is not item:
            self._by_id[id] = item
            self._budget.records += ID_COST + len(id)
