"""Citations of a web search, as Anthropic shows them."""

from __future__ import annotations

import pytest

from a2py.wires.common.search import convert_citation


@pytest.mark.parametrize("url", ["", None, 7])
def test_an_annotation_without_a_url_is_no_citation(url: object) -> None:
    assert convert_citation({"type": "url_citation", "url": url, "title": "T"}) is None
