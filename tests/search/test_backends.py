"""What each search service is asked, and what is read of its answer.

Knows: a request and an answer of each, as its documentation shows them. Must not know: how bytes travel.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.search.backends import BACKENDS, Account, Question, read_pages
from a2py.search.page import Page, Query

ACCOUNT = Account("https://base.example", "KEY", "ENGINE")
PLAIN = Query("two words")
ALLOWLIST = Query("q", allowed_domains=("a.example", "b.example"), country="DE")
BLOCKLIST = Query("q", blocked_domains=("a.example",), country="DE")


def ask(name: str, query: Query) -> tuple[str, Any, dict[str, str]]:
    """Path; the query's parameters or the body; headers."""
    question: Question = BACKENDS[name].build(query, ACCOUNT)
    parts = urlsplit(question.url)
    assert f"{parts.scheme}://{parts.netloc}" == ACCOUNT.base
    body = question.body if question.body is not None else {k: v[0] for k, v in parse_qs(parts.query).items()}
    return parts.path, body, question.headers


def test_searxng() -> None:
    assert ask("searxng", PLAIN) == (
        "/search",
        {"q": "two words", "format": "json"},
        {"authorization": "Bearer KEY"},
    )
    assert ask("searxng", ALLOWLIST)[1]["q"] == "q (site:a.example OR site:b.example)"
    assert ask("searxng", BLOCKLIST)[1]["q"] == "q -site:a.example"
    assert BACKENDS["searxng"].build(PLAIN, Account("https://base.example")).headers == {}


def test_brave() -> None:
    path, body, headers = ask("brave", ALLOWLIST)
    assert path == "/web/search" and headers == {"x-subscription-token": "KEY"}
    assert body == {"q": "q (site:a.example OR site:b.example)", "count": "10", "country": "DE"}
    assert "country" not in ask("brave", PLAIN)[1]
    many = Query("q", blocked_domains=tuple(f"blocked-{n}.example" for n in range(100)))
    assert ask("brave", many)[1]["q"] == "q", "Brave refuses more than 400 characters; the answer is filtered"


def test_tavily() -> None:
    path, body, headers = ask("tavily", ALLOWLIST)
    assert path == "/search" and headers == {"authorization": "Bearer KEY"}
    assert body == {"query": "q", "max_results": 10, "include_domains": ["a.example", "b.example"]}
    assert ask("tavily", BLOCKLIST)[1]["exclude_domains"] == ["a.example"]


def test_exa() -> None:
    path, body, headers = ask("exa_ai", ALLOWLIST)
    assert path == "/search" and headers == {"x-api-key": "KEY"}
    assert (body["query"], body["numResults"], body["userLocation"]) == ("q", 10, "DE")
    assert body["includeDomains"] == ["a.example", "b.example"]
    assert body["contents"] == {"highlights": True, "text": {"maxCharacters": 1500}}
    assert ask("exa_ai", BLOCKLIST)[1]["excludeDomains"] == ["a.example"]
    assert "userLocation" not in ask("exa_ai", PLAIN)[1]


def test_perplexity() -> None:
    path, body, headers = ask("perplexity", ALLOWLIST)
    assert path == "/search" and headers == {"authorization": "Bearer KEY"}
    assert body == {
        "query": "q",
        "max_results": 10,
        "search_domain_filter": ["a.example", "b.example"],
        "country": "DE",
    }
    assert ask("perplexity", BLOCKLIST)[1]["search_domain_filter"] == ["-a.example"]
    assert ask("perplexity", PLAIN)[1] == {"query": "two words", "max_results": 10}


def test_google() -> None:
    path, body, headers = ask("google_pse", ALLOWLIST)
    assert path == "/customsearch/v1" and headers == {}
    assert body == {
        "key": "KEY",
        "cx": "ENGINE",
        "q": "q (site:a.example OR site:b.example)",
        "num": "10",
        "gl": "de",
    }
    assert "gl" not in ask("google_pse", PLAIN)[1]


ANSWERS: dict[str, Any] = {
    "searxng": {"results": [{"url": "https://a.example", "title": "T", "content": "S", "publishedDate": "2026"}]},
    "brave": {"web": {"results": [{"url": "https://a.example", "title": "T", "description": "S", "age": "2026"}]}},
    "tavily": {"results": [{"url": "https://a.example", "title": "T", "content": "S", "published_date": "2026"}]},
    "exa_ai": {"results": [{"url": "https://a.example", "title": "T", "highlights": ["S"], "publishedDate": "2026"}]},
    "perplexity": {"results": [{"url": "https://a.example", "title": "T", "snippet": "S", "date": "2026"}]},
    "google_pse": {"items": [{"link": "https://a.example", "title": "T", "snippet": "S"}]},
}


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_an_answer(name: str) -> None:
    age = "" if name == "google_pse" else "2026"
    assert read_pages(BACKENDS[name], ANSWERS[name], PLAIN) == [Page("https://a.example", "T", "S", age)]


def test_exa_without_highlights() -> None:
    answer = {"results": [{"url": "https://a.example", "title": "T", "text": "S"}]}
    assert read_pages(BACKENDS["exa_ai"], answer, PLAIN) == [Page("https://a.example", "T", "S")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["results", "web", "items", "url", "link", "title", "highlights"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_accepted(answer: Any) -> None:
    for backend in BACKENDS.values():
        assert isinstance(read_pages(backend, answer, PLAIN), list)


def test_a_key_shows_in_no_repr() -> None:
    for backend in BACKENDS.values():
        assert "KEY" not in repr(backend.build(PLAIN, ACCOUNT)) + repr(ACCOUNT)


def test_what_the_rows_say_is_what_the_functions_do() -> None:
    for name, backend in BACKENDS.items():
        _, body, _ = ask(name, ALLOWLIST)
        assert backend.locates == ("de" in str(body).lower().replace("include", "")), name
        assert backend.filters == ("site:" not in str(body)), name
