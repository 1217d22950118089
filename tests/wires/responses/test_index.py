"""Which output item an event means, when ids and indexes agree, change, repeat or are missing."""

from __future__ import annotations

import pytest

from a2py.messages.types import JSON
from a2py.wires.responses.budget import ID_COST, ITEM_COST, Budget
from a2py.wires.responses.index import ItemIndex
from a2py.wires.responses.item import CALL, MESSAGE, REASONING, Item


@pytest.fixture
def index() -> ItemIndex:
    return ItemIndex(Budget())


def add(index: ItemIndex, raw: JSON, at: object = None) -> Item:
    """What the decoder does with `output_item.added`."""
    item = index.for_item(raw, at)
    index.add_ids(item, raw)
    return item


def message(id: str = "") -> JSON:
    return {"type": MESSAGE, **({"id": id} if id else {})}


def call(id: str = "", call_id: str = "") -> JSON:
    return {"type": CALL, "id": id, "call_id": call_id}


def test_a_delta_with_a_known_id_means_its_item_wherever_it_says_it_is(index: ItemIndex) -> None:
    item = add(index, message("msg_1"), 0)
    assert index.for_delta(MESSAGE, "msg_1", 7) is item


def test_a_delta_with_an_unknown_id_means_the_item_at_its_index(index: ItemIndex) -> None:
    item = add(index, message("msg_1"), 0)
    assert index.for_delta(MESSAGE, "msg_9", 0) is item


def test_a_delta_without_id_and_index_means_the_newest_of_its_type(index: ItemIndex) -> None:
    add(index, message(), 0)
    newest = add(index, message(), 1)
    add(index, call("fc_1"), 2)
    assert index.for_delta(MESSAGE, None, None) is newest


@pytest.mark.parametrize("at", [0, -1, "0", None, True])
def test_a_delta_of_another_type_gets_an_item_of_its_own(index: ItemIndex, at: object) -> None:
    item = add(index, message("a"), 0)
    other = index.for_delta(REASONING, "a", at)
    assert other is not item and other.kind == REASONING
    assert index.for_delta(REASONING, "a", at) is other, "the id means the newer item from now on"


def test_a_delta_after_the_end_of_its_item_begins_another_if_it_has_an_id(index: ItemIndex) -> None:
    item = add(index, message("a"), 0)
    item.is_closed = True
    assert index.for_delta(MESSAGE, "", 0) is item
    other = index.for_delta(MESSAGE, "b", 0)
    assert other is not item and other.id == "b" and other.key != item.key


def test_an_item_is_found_by_its_id_by_its_call_id_and_by_its_index(index: ItemIndex) -> None:
    item = add(index, call("fc_1", "call_1"), 0)
    assert index.for_item(call("fc_1"), 5) is item
    assert index.for_item(call("fc_other", "call_1"), None) is item
    assert index.for_item(call("fc_other"), 0) is item


def test_two_calls_with_one_call_id_are_told_apart_by_their_indexes(index: ItemIndex) -> None:
    item = add(index, call("", "call_1"), 0)
    other = add(index, call("", "call_1"), 1)
    assert other is not item and (item.key, other.key) == (0, 1)


def test_an_item_at_the_index_of_a_closed_one_or_of_another_call_is_new(index: ItemIndex) -> None:
    item = add(index, call("a", "call_1"), 0)
    other = index.for_item(call("b", "call_2"), 0)
    assert other is not item and other.key == 1, "an index that repeats gives no key"
    other.is_closed = True
    assert index.for_item(call("c", ""), 0) not in (item, other)


def test_the_first_ids_of_an_item_stay_and_later_ones_find_it(index: ItemIndex) -> None:
    item = add(index, call("a", "call_1"), 0)
    index.add_ids(item, call("b", "call_2"))
    index.add_ids(item, {"type": CALL, "id": 5})
    assert (item.id, item.call_id) == ("a", "call_1")
    assert index.for_delta(CALL, "b", None) is item


def test_items_and_ids_count_in_the_budget() -> None:
    budget = Budget()
    index = ItemIndex(budget)
    item = add(index, message("abc"), 0)
    assert budget.records == ITEM_COST + len(MESSAGE) + ID_COST + 3
    index.add_ids(item, message("abc"))
    assert budget.records == ITEM_COST + len(MESSAGE) + ID_COST + 3, "the same id again costs nothing"


def test_the_final_response_repeats_items_by_id_or_in_their_order(index: ItemIndex) -> None:
    first, second, third = (add(index, message(id), n) for n, id in enumerate("abc"))
    candidates = index.by_kind()[MESSAGE]
    assert candidates == [third, second, first], "the oldest last"
    keys: set[int] = set()
    items = []
    for raw in (message("b"), message("new"), message("b"), message("more")):
        item = index.for_final(raw, candidates, keys)
        items.append(item)
        if item is not None:
            keys.add(item.key)
    assert items == [second, first, third, None]


def test_the_final_response_does_not_match_another_call(index: ItemIndex) -> None:
    add(index, call("a", "call_1"), 0)
    second = add(index, call("b", "call_2"), 1)
    assert index.for_final(call("x", "call_2"), index.by_kind()[CALL], set()) is second
    assert index.for_final(call("x", "call_3"), index.by_kind()[CALL], set()) is None
