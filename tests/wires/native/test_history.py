"""The conversation of a native request: what other wires and servers left in it."""

from __future__ import annotations

from typing import Any

import pytest

from a2py.errors import ApiError
from a2py.messages.types import JSON
from tests.wires.native.test_request import (
    GO,
    HI,
    RESULT,
    TEXT,
    THINKING,
    USE,
    body_of,
    turn,
)


def search_result(*results: Any, id: Any = "srvtoolu_1") -> JSON:
    return {"type": "web_search_tool_result", "tool_use_id": id, "content": list(results)}


SEARCH_CALL = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
PLAIN = {"type": "web_search_result", "url": "https://a", "title": "A", "encrypted_content": ""}
SECRET = {**PLAIN, "encrypted_content": "Eq"}
SEARCH_ERROR = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": {"type": "web_search_tool_result_error"},
}
CITATION = {"type": "web_search_result_location", "url": "https://a", "encrypted_index": ""}


@pytest.mark.parametrize(
    "blocks",
    [
        [SEARCH_CALL, search_result(SECRET)],
        [SEARCH_CALL, search_result()],
        [SEARCH_CALL, SEARCH_ERROR],
        [SEARCH_CALL],
        [search_result(PLAIN, id=7)],
        [search_result("odd")],
        [{**TEXT, "citations": [{**CITATION, "encrypted_index": "Eo"}, {"type": "char_location"}, "odd"]}],
        [{**TEXT, "citations": "odd"}],
        [{**TEXT, "citations": []}],
    ],
)
def test_a_search_of_the_upstream_itself_stays(blocks: list[JSON]) -> None:
    messages = [HI, turn(*blocks, TEXT), GO]
    assert body_of({"messages": messages})["messages"] == messages


def test_nothing_but_foreign_thinking_is_refused() -> None:
    with pytest.raises(ApiError, match="nothing is left") as excinfo:
        body_of({"messages": [turn(THINKING)]})
    assert excinfo.value.kind == "invalid_request"


@pytest.mark.parametrize(("blocks", "kind"), [([THINKING], "disabled"), ([], "enabled")])
def test_thinking_ends_in_a_loop_whose_turn_lost_it_and_not_where_the_turn_had_none(
    blocks: list[JSON], kind: str
) -> None:
    """A client that sends no thinking of its own gets the upstream's opinion of that."""
    messages = [HI, turn(*blocks, USE), turn(RESULT, role="user")]
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert body_of({"messages": messages, "thinking": thinking, "max_tokens": 2000})["thinking"]["type"] == kind


WEBP = "UklGRiQAAABXRUJQVlA4IAAAAAAAAAAA"


def picture(kind: str, data: str = WEBP) -> JSON:
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def document(*content: JSON) -> JSON:
    return {"type": "document", "source": {"type": "content", "content": list(content)}}


def test_images_get_the_type_of_their_bytes() -> None:
    def user(image: JSON) -> JSON:
        result = {**RESULT, "content": [TEXT, image, document(image)]}
        return {"role": "user", "content": [result, image, document(TEXT, image)]}

    messages = [HI, turn(USE), user(picture("image/png"))]
    assert body_of({"messages": messages})["messages"] == [HI, turn(USE), user(picture("image/webp"))]


@pytest.mark.parametrize(
    "block",
    [
        picture("image/webp"),
        picture("image/tiff", "SUkqAA=="),
        {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        document(picture("image/webp")),
        {"type": "document", "source": {"type": "content", "content": "text"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": WEBP}},
        {**RESULT, "content": "text"},
        {**RESULT, "content": [TEXT]},
    ],
)
def test_blocks_without_a_wrong_image_stay(block: JSON) -> None:
    messages = [HI, turn(USE), {"role": "user", "content": [block, TEXT]}]
    assert body_of({"messages": messages})["messages"] == messages
