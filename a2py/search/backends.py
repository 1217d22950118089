"""The search services that a2py can ask: one row and two functions each.

Knows: each service's request and answer. Must not know: how bytes travel, when a search is made, Anthropic's blocks.
Invariants: `read` accepts any JSON; a key is in a header, or in the query where the service takes it nowhere else; the
address is made of the configured base only, never of an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from a2py.search.page import PAGES, SHORT_QUERY, SNIPPET, Page, Pages, Query


@dataclass(frozen=True, slots=True)
class Account:
    """How a service is asked. `engine`: Google's search engine id (`cx`)."""

    base: str
    key: str = field(default="", repr=False)
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A request to a search service. `body` None: a GET."""

    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Backend:
    """`name`: LiteLLM's `search_provider`; `base`: address if the configuration has none, "" if it must; `key`,
    `base_variable`, `engine_variable`: environment variables, as LiteLLM reads them; `is_keyless`: works without a key;
    `filters`: it takes the domains itself, otherwise only its answer is filtered; `locates`: it takes the country."""

    name: str
    base: str
    build: Callable[[Query, Account], Question]
    read: Callable[[Any, Pages], None]
    key: str = ""
    base_variable: str = ""
    engine_variable: str = ""
    is_keyless: bool = False
    filters: bool = False
    locates: bool = False


def _members(value: Any, *names: str) -> list[dict[str, Any]]:
    """Return the objects of the list that stands below `names`."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _with_sites(query: Query, limit: int = 0) -> str:
    """Return the query with `site:` operators, for services that know domains only there; without them if that makes
    it longer than `limit` characters (0: any length), because the service would refuse it."""
    alternatives = " OR ".join(f"site:{site}" for site in query.sites)
    exclusions = " ".join(f"-site:{site}" for site in query.blocked_sites)
    text = " ".join(filter(None, (query.text, f"({alternatives})" if alternatives else "", exclusions)))
    return query.text if 0 < limit < len(text) else text


# -- SearXNG: GET /search?format=json (docs.searxng.org, dev/search_api, 2026-11). JSON must be allowed in the server's
# settings (`search: formats: [html, json]`); without that it answers 403.


def _ask_searxng(query: Query, account: Account) -> Question:
    headers = {"authorization": f"Bearer {account.key}"} if account.key else {}
    return Question(f"{account.base}/search?{urlencode({'q': _with_sites(query), 'format': 'json'})}", headers)


def _read_searxng(answer: Any, pages: Pages) -> None:
    for item in _members(answer, "results"):
        pages.add(item.get("url"), item.get("title"), item.get("content"), item.get("publishedDate"))


# -- Brave: GET /res/v1/web/search (api-dashboard.search.brave.com, web search, 2026-11). `count` is at most 20.


def _ask_brave(query: Query, account: Account) -> Question:
    parameters = {"q": _with_sites(query, SHORT_QUERY), "count": str(PAGES)}
    if query.country:
        parameters["country"] = query.country
    return Question(f"{account.base}/web/search?{urlencode(parameters)}", {"x-subscription-token": account.key})


def _read_brave(answer: Any, pages: Pages) -> None:
    for item in _members(answer, "web", "results"):
        pages.add(item.get("url"), item.get("title"), item.get("description"), item.get("age") or item.get("page_age"))


# -- Tavily: POST /search (docs.tavily.com, search endpoint, 2026-11).


def _ask_tavily(query: Query, account: Account) -> Question:
    body: dict[str, Any] = {"query": query.text, "max_results": PAGES}
    if query.sites:
        body["include_domains"] = query.sites
    if query.blocked_sites:
        body["exclude_domains"] = query.blocked_sites
    return Question(f"{account.base}/search", {"authorization": f"Bearer {account.key}"}, body)


def _read_tavily(answer: Any, pages: Pages) -> None:
    for item in _members(answer, "results"):
        pages.add(item.get("url"), item.get("title"), item.get("content"), item.get("published_date"))


# -- Exa: POST /search (docs.exa.ai, search, 2026-11). Highlights are the sentences that answer the query.


def _ask_exa(query: Query, account: Account) -> Question:
    contents = {"highlights": True, "text": {"maxCharacters": SNIPPET}}
    body: dict[str, Any] = {"query": query.text, "numResults": PAGES, "contents": contents}
    if query.sites:
        body["includeDomains"] = query.sites
    if query.blocked_sites:
        body["excludeDomains"] = query.blocked_sites
    if query.country:
        body["userLocation"] = query.country
    return Question(f"{account.base}/search", {"x-api-key": account.key}, body)


def _read_exa(answer: Any, pages: Pages) -> None:
    for item in _members(answer, "results"):
        highlights = item.get("highlights")
        texts = [text for text in highlights if isinstance(text, str)] if isinstance(highlights, list) else []
        pages.add(item.get("url"), item.get("title"), " … ".join(texts) or item.get("text"), item.get("publishedDate"))


# -- Perplexity: POST /search (docs.perplexity.ai, search API, 2026-11). A `-` before a domain excludes it; a list has
# at most 20 domains of one kind.


def _ask_perplexity(query: Query, account: Account) -> Question:
    body: dict[str, Any] = {"query": query.text, "max_results": PAGES}
    domains = [*query.sites, *(f"-{site}" for site in query.blocked_sites)][:20]
    if domains:
        body["search_domain_filter"] = domains
    if query.country:
        body["country"] = query.country
    return Question(f"{account.base}/search", {"authorization": f"Bearer {account.key}"}, body)


def _read_perplexity(answer: Any, pages: Pages) -> None:
    for item in _members(answer, "results"):
        pages.add(item.get("url"), item.get("title"), item.get("snippet"), item.get("date") or item.get("last_updated"))


# -- Google Programmable Search: GET /customsearch/v1 (developers.google.com, Custom Search JSON API, 2026-11). `num` is
# at most 10. The key travels in the query, because the API takes it in no documented header.


def _ask_google(query: Query, account: Account) -> Question:
    parameters = {"key": account.key, "cx": account.engine, "q": _with_sites(query), "num": str(PAGES)}
    if query.country:
        parameters["gl"] = query.country.lower()
    return Question(f"{account.base}/customsearch/v1?{urlencode(parameters)}", {})


def _read_google(answer: Any, pages: Pages) -> None:
    for item in _members(answer, "items"):
        pages.add(item.get("link"), item.get("title"), item.get("snippet"))


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            "searxng",
            "",
            _ask_searxng,
            _read_searxng,
            key="SEARXNG_API_KEY",
            base_variable="SEARXNG_API_BASE",
            is_keyless=True,
        ),
        Backend(
            "brave",
            "https://api.search.brave.com/res/v1",
            _ask_brave,
            _read_brave,
            key="BRAVE_API_KEY",
            base_variable="BRAVE_API_BASE",
            locates=True,
        ),
        Backend(
            "tavily",
            "https://api.tavily.com",
            _ask_tavily,
            _read_tavily,
            key="TAVILY_API_KEY",
            base_variable="TAVILY_API_BASE",
            filters=True,
        ),
        Backend(
            "exa_ai",
            "https://api.exa.ai",
            _ask_exa,
            _read_exa,
            key="EXA_API_KEY",
            base_variable="EXA_API_BASE",
            filters=True,
            locates=True,
        ),
        Backend(
            "perplexity",
            "https://api.perplexity.ai",
            _ask_perplexity,
            _read_perplexity,
            key="PERPLEXITYAI_API_KEY",
            base_variable="PERPLEXITY_API_BASE",
            filters=True,
            locates=True,
        ),
        Backend(
            "google_pse",
            "https://www.googleapis.com",
            _ask_google,
            _read_google,
            key="GOOGLE_PSE_API_KEY",
            base_variable="GOOGLE_PSE_API_BASE",
            engine_variable="GOOGLE_PSE_ENGINE_ID",
            locates=True,
        ),
    )
}


def read_pages(backend: Backend, answer: Any, query: Query) -> list[Page]:
    """Return the pages in a service's answer, a JSON value of any shape."""
    pages = Pages(query)
    backend.read(answer, pages)
    return pages.list
