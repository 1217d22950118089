"""Blocks as text: corners that no golden shows."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.errors import ApiError
from a2py.messages.types import JSON
from a2py.wires.common.text import arguments_text, as_text, block_text, list_omitted


def test_texts_of_blocks_that_no_wire_shows() -> None:
    assert block_text({"type": "image", "source": {"type": "base64"}}) == "[image, not shown]"
    assert block_text({"type": "image", "source": 7}) == "[image, not shown]"
    assert block_text({"type": "document", "source": 7}) == "[document of type unknown, not shown]"
    assert as_text(
        [{"type": "tool_result", "content": "a"}, {"type": "thinking"}, 7, {"type": "tool_use", "name": "f"}]
    ) == ("[tool result: a]\n[tool call f: {}]")
    assert as_text(None) == ""
    assert as_text([{"type": 5, "text": "a"}, {"type": {}}, {"text": "b"}]) == "a\nb"
    assert block_text({"type": "compaction", "content": "sum"}) == "sum"
    assert block_text({"type": "container_upload"}) == "[file, not shown]"


def test_unchecked_results_are_shown_to_a_bounded_depth() -> None:
    nest: JSON = {"data": 1}
    for _ in range(99):
        nest = {"x": nest}
    assert block_text({"type": "later_tool_result", "content": nest}).count("x") == 32


def test_a_file_of_the_code_execution_container_is_reported_as_omitted() -> None:
    upload: JSON = {"type": "container_upload", "file_id": "file_1"}
    assert list(list_omitted(upload)) == ["file"]
    assert list(list_omitted({"type": "tool_result", "content": [{"type": "text", "text": "a"}, upload]})) == ["file"]


def test_arguments_that_nest_too_deep_are_refused() -> None:
    value: Any = 1
    for _ in range(300):
        value = [value]
    with pytest.raises(ApiError, match="The request nests too deep to be translated: more than 200 levels") as excinfo:
        arguments_text({"x": value}, "")
    assert excinfo.value.status == 400
