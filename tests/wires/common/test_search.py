"""Citations of a web search, as Anthropic shows them."""

from __future__ import annotations

import pytest

from a2py.quirks import Quirks
from a2py.wires.common.search import can_search, convert_citation, failure, is_search, make_citation, make_result


@pytest.mark.parametrize("url", ["", None, 7])
def test_an_annotation_without_a_url_is_no_citation(url: object) -> None:
    assert convert_citation({"type": "url_citation", "url": url, "title": "T"}) is None


def test_a_page_without_a_title_has_its_address() -> None:
    assert make_result("https://a", "")["title"] == make_citation("https://a", "")["title"] == "https://a"
    assert failure("x") == {"type": "web_search_tool_result_error", "error_code": "x"}


@pytest.mark.parametrize(("kind", "expected"), [("web_search_20250305", True), ("web_search", False), (7, False)])
def test_which_tool_is_a_search(kind: object, expected: bool) -> None:
    assert is_search({"type": kind}) is expected and not is_search({})


@pytest.mark.parametrize(
    ("wire", "quirks", "expected"),
    [
        ("chat", Quirks(), False),
        ("chat", Quirks(web_search="plugin"), True),
        ("chat", Quirks(web_search="always"), True),
        ("chat", Quirks(web_search="responses"), False),
        ("responses", Quirks(web_search="responses"), True),
        ("responses", Quirks(web_search="plugin"), False),
        ("native", Quirks(), True),
        ("native", Quirks(native_drop=frozenset({"tools.web_search"})), False),
    ],
)
def test_which_upstreams_search_by_themselves(wire: str, quirks: Quirks, expected: bool) -> None:
    assert can_search(wire, quirks) is expected
