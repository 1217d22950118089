"""Searches as content blocks, and the numbers that a text cites."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.messages import signatures
from a2py.search import blocks
from a2py.search.page import Page

PAGE = Page("https://a.example", "T", "s" * 500, "2026")


def test_a_result_carries_its_snippet_in_our_signature() -> None:
    (result,) = blocks.results([PAGE])
    signature = signatures.read(result["encrypted_content"])
    assert signature is not None and (signature.kind, signature.origin, signature.state) == (
        "search",
        "a2py",
        {"s": "s" * 500},
    )
    assert (result["title"], result["page_age"]) == ("T", "2026")
    (bare,) = blocks.results([Page("https://a.example")])
    assert bare["title"] == "https://a.example" and bare["page_age"] is None


def test_a_citation() -> None:
    citation = blocks.citation(PAGE, 3)
    assert citation["type"] == "web_search_result_location" and citation["cited_text"] == "s" * 150
    signature = signatures.read(citation["encrypted_index"])
    assert signature is not None and signature.state == {"n": 3}
    assert blocks.citation(Page("https://a.example"), 1)["title"] == "https://a.example"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It is so [1].", [1]),
        ("[1] first", [1]),
        ("a [1][2] b", [1, 2]),
        ("a [1, 3] b", [1, 3]),
        ("items[1] and f(x)[2]", []),
        ("[a] [ 1 ] [1234] []", []),
        ("see [12]", [12]),
        ("a [1](https://x) b", [1]),
        ("[[1]]", [1]),
        ("[ [2]", [2]),
    ],
)
def test_marks(text: str, numbers: list[int]) -> None:
    assert list(blocks.MarkReader().feed(text)) == numbers


@given(
    st.lists(st.sampled_from(["[1]", "[2, 3]", "a", "[", "]", " ", "x[4]", "(", ")", "1", ","]), max_size=12), st.data()
)
def test_marks_are_the_same_however_the_text_is_split(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    whole = list(blocks.MarkReader().feed(text))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    reader = blocks.MarkReader()
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert [number for piece in pieces for number in reader.feed(piece)] == whole


def test_little_is_kept_of_an_open_bracket() -> None:
    reader = blocks.MarkReader()
    for _ in range(100):
        assert list(reader.feed("[" + "1, " * 100)) == []
    assert len(reader._tail) < 100
