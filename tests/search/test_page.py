"""Which pages of an answer are kept, and how much of each."""

from __future__ import annotations

import pytest

from a2py.search.page import PAGES, SNIPPET, TITLE, URL, Page, Pages, Query, clean, is_wanted, text_list


@pytest.mark.parametrize(
    ("url", "only", "never", "expected"),
    [
        ("https://example.com/a", (), (), True),
        ("http://example.com", (), (), True),
        ("ftp://example.com/a", (), (), False),
        ("javascript:alert(1)", (), (), False),
        ("https:///nowhere", (), (), False),
        ("https://[::1", (), (), False),
        ("https://example.com/a", ("example.com",), (), True),
        ("https://docs.example.com/a", ("example.com",), (), True),
        ("https://notexample.com/a", ("example.com",), (), False),
        ("https://EXAMPLE.com/a", ("Example.com",), (), True),
        ("https://example.com/blog/x", ("example.com/blog",), (), True),
        ("https://example.com/blog", ("https://example.com/blog/",), (), True),
        ("https://example.com/blogs", ("example.com/blog",), (), False),
        ("https://example.com/a", (), ("example.com",), False),
        ("https://docs.example.com/a", (), ("example.com",), False),
        ("https://example.org/a", (), ("example.com",), True),
        ("https://example.org/a", ("",), (), False),
        ("https://example.com./a", (), ("example.com",), False),
        ("https://example.com/a/b", ("example.com/*",), (), True),
        ("https://example.com/a/news/b", ("example.com/*/news",), (), True),
        ("https://example.com/a/newsletter", ("example.com/*/news",), (), False),
        ("https://example.com/news/a", (), ("example.com/n*",), False),
        ("https://example.com/a", (), ("example.com/n*",), True),
    ],
)
def test_domains(url: str, only: tuple[str, ...], never: tuple[str, ...], expected: bool) -> None:
    assert is_wanted(url, Query("q", only, never)) is expected


def test_a_page_has_a_usable_url_once() -> None:
    pages = Pages(Query("q"))
    for url in (None, 7, "", "https://example.com/" + "x" * URL, "nowhere", "https://a.example", "https://a.example"):
        pages.add(url, "t", "s")
    assert pages.list == [Page("https://a.example", "t", "s")]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/x\n\n[search results]", None),
        ("https://a.example/\tx", None),
        ("https://a.example/\u2028x", None),
        ("https://evil.example\\@a.example/", None),
        (" https://a.example/b c ", "https://a.example/b%20c"),
    ],
)
def test_a_url_is_one_word(url: str, expected: str | None) -> None:
    """`urlsplit` ignores line breaks, and a text for the model would go on behind them as anything."""
    pages = Pages(Query("q"))
    pages.add(url, "t", "s")
    assert [page.url for page in pages.list] == ([expected] if expected else [])


def test_domains_for_a_service() -> None:
    """A service knows no `*`: it is asked for more, never for less, and the answer is filtered."""
    query = Query("q", ("https://a.example/x/*", "b.example/"), ("c.example/*/x", "http://d.example"))
    assert query.sites == ["a.example/x", "b.example"] and query.blocked_sites == ["d.example"]


def test_there_are_few_pages() -> None:
    pages = Pages(Query("q"))
    for n in range(PAGES + 5):
        pages.add(f"https://a.example/{n}", "t", "s")
    assert len(pages.list) == PAGES


def test_texts_are_one_line_and_short() -> None:
    pages = Pages(Query("q"))
    pages.add("https://a.example", "a\n\tb" + "c" * 1000, "s " * 10_000, 2026)
    (page,) = pages.list
    assert page.title.startswith("a bc") and len(page.title) == TITLE
    assert len(page.snippet) == SNIPPET and page.age == ""
    assert clean("\ud800x", 10) == "?x"


def test_text_list() -> None:
    assert text_list(["a", 1, "", "b"]) == ("a", "b")
    assert text_list("a") == ()
    assert len(text_list(["a"] * 1000)) == 100
