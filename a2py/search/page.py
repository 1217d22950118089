"""What a search is asked, and what it finds.

Knows: plain values and the bounds of each. Must not know: any backend, Anthropic's blocks.
Invariants: a `Page` has an http(s) URL, and no text in it is longer than its bound, whatever a backend sends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

#: Pages of one search. Anthropic's own search gives at most ten (2026-11).
PAGES = 10
#: Characters of a URL, of a title and a date, and of a snippet. A search of ten pages is some 20 KB at most.
URL, TITLE, SNIPPET = 2048, 300, 1500
#: Characters of a query, and those that every service takes. Brave takes 400, Tavily 400, Google and Exa about 2,000
#: (their documentation, 2026-11).
QUERY, SHORT_QUERY = 2000, 400


@dataclass(frozen=True, slots=True)
class Query:
    """`allowed_domains`, `blocked_domains`: domains, also with a path (`example.com/blog`); at most one of them has
    any. `country`: ISO 3166-1 code of two letters, "" for any."""

    text: str
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    country: str = ""

    @property
    def sites(self) -> list[str]:
        """The allowed domains for a service, which knows no `*`: what it finds too much is filtered out."""
        return [_bare(domain).partition("*")[0].rstrip("/") for domain in self.allowed_domains]

    @property
    def blocked_sites(self) -> list[str]:
        """The blocked domains for a service."""
        return [_bare(domain) for domain in self.blocked_domains if "*" not in domain]


@dataclass(frozen=True, slots=True)
class Page:
    """`age`: when it was published, as the backend writes it; "" if it does not say."""

    url: str
    title: str = ""
    snippet: str = ""
    age: str = ""


@dataclass(slots=True)
class Pages:
    """Collects the pages of an answer that match a query, each URL once and PAGES at most."""

    query: Query
    list: list[Page] = field(default_factory=list)

    def add(self, url: object, title: object, snippet: object, age: object = "") -> None:
        """Add a page if its URL is usable. Values of any type are accepted.

        `urlsplit` ignores a line break, and behind it the text for the model could go on as anything. Browsers read a
        backslash as the end of the host, `urlsplit` does not."""
        if len(self.list) >= PAGES or not isinstance(url, str) or not 0 < len(url) <= URL:
            return
        if not url.isprintable() or "\\" in url:
            return
        url = url.strip().replace(" ", "%20")
        if not is_wanted(url, self.query) or any(page.url == url for page in self.list):
            return
        self.list.append(Page(url, clean(title, TITLE), clean(snippet, SNIPPET), clean(age, TITLE)))


def clean(value: object, limit: int) -> str:
    """Return a text in one line, at most `limit` characters; "" for anything else.

    Half of a surrogate pair is replaced, because it can't be written as UTF-8."""
    if not isinstance(value, str):
        return ""
    text = " ".join(value[: 4 * limit].split())
    return text[:limit].encode("utf-8", "replace").decode()


def is_wanted(url: str, query: Query) -> bool:
    """Return whether `url` is a web page that the query's domains admit.

    Backends that filter by domain get the lists, too; this holds for those that can't, or don't."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower().rstrip(".")
    except ValueError:  # an IPv6 address without its closing bracket
        return False
    if parts.scheme not in ("http", "https") or not host:
        return False
    place = f"{host}{parts.path}"
    if query.allowed_domains:
        return any(_is_in(place, domain) for domain in query.allowed_domains)
    return not any(_is_in(place, domain) for domain in query.blocked_domains)


def _is_in(place: str, domain: str) -> bool:
    """Return whether `host/path` is in `domain` or in a subdomain of it, and below its path.

    The path may have one `*` (platform.claude.com, server tools, domain filtering, 2026-11)."""
    host, _, path = place.partition("/")
    own, _, below = _bare(domain).lower().partition("/")
    if not own or (host != own and not host.endswith("." + own)):
        return False
    path = path.lower() + "/"
    before, star, after = below.partition("*")
    if not star:
        return not below or path.startswith(below + "/")
    return path.startswith(before) and (not after or path.find(after + "/", len(before)) >= 0)


def _bare(domain: str) -> str:
    """Return a domain without the scheme and the slash that people write."""
    return domain.removeprefix("https://").removeprefix("http://").rstrip("/")


def text_list(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, at most 100 of them."""
    return tuple(item for item in value if isinstance(item, str) and item)[:100] if isinstance(value, list) else ()
