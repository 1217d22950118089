"""Requests to upstreams that speak Anthropic without being Anthropic: what they refuse, and what other wires left in a
conversation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from a2py.messages.types import JSON
from a2py.quirks import Quirks
from tests.wires.native.test_request import (
    BODY,
    ENABLED,
    GENUINE,
    GO,
    HI,
    OWN,
    REDACTED,
    RESULT,
    TEXT,
    THINKING,
    USE,
    body_of,
    deployment,
    prepare,
    turn,
)

BARE = Quirks(native_drop=frozenset({"tools.typed", "tools.web_search"}))
CUSTOM = {"name": "f", "input_schema": {"type": "object"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    ("tools", "choice", "expected_tools", "expected_choice", "degraded"),
    [
        (None, None, None, None, ()),
        ([CUSTOM], {"type": "any"}, [CUSTOM], {"type": "any"}, ()),
        ([CUSTOM, SEARCH], {"type": "any"}, [CUSTOM], {"type": "any"}, ("web_search",)),
        ([CUSTOM, SEARCH], {"type": "tool", "name": "f"}, [CUSTOM], {"type": "tool", "name": "f"}, ("web_search",)),
        ([CUSTOM, SEARCH], {"type": "tool", "name": "web_search"}, [CUSTOM], None, ("web_search", "tool_choice")),
        ([SEARCH], {"type": "auto"}, None, None, ("web_search",)),
        ([SEARCH], {"type": "any"}, None, None, ("web_search", "tool_choice")),
        ([SEARCH], None, None, None, ("web_search",)),
    ],
)
def test_tools_that_only_anthropic_runs(
    tools: Any, choice: Any, expected_tools: Any, expected_choice: Any, degraded: tuple[str, ...]
) -> None:
    body = {**BODY, **({"tools": tools} if tools else {}), **({"tool_choice": choice} if choice else {})}
    upstream_request = prepare(body, deployment(quirks=BARE))
    upstream = orjson.loads(upstream_request.body)
    assert (upstream.get("tools"), upstream.get("tool_choice"), upstream_request.degraded) == (
        expected_tools,
        expected_choice,
        degraded,
    )
    assert orjson.loads(prepare(body).body) == {**body, "model": "up-1"}


def test_the_web_search_of_an_upstream_that_has_one() -> None:
    quirks = Quirks(native_drop=frozenset({"tools.typed"}))
    assert body_of({"tools": [SEARCH, {"type": "web_fetch_20250910", "name": "web_fetch"}]}, quirks=quirks)[
        "tools"
    ] == [SEARCH]


def test_a_client_side_tool_becomes_a_plain_one() -> None:
    bash = {"type": "bash_20250124", "name": "bash"}
    tools = body_of({"tools": [bash, {**bash, "name": "DeferredToolPlaceholder"}, CUSTOM]}, quirks=BARE)["tools"]
    assert [(tool["name"], tool["input_schema"]["type"]) for tool in tools] == [("bash", "object"), ("f", "object")]
    assert body_of({"tools": [bash]})["tools"] == [bash]


@pytest.mark.parametrize(
    ("changes", "thinking", "choice", "sent_thinking", "sent_choice"),
    [
        ({"tool_choice_thinking": False}, None, {"type": "any"}, {"type": "disabled"}, {"type": "any"}),
        ({"tool_choice_thinking": False}, None, {"type": "auto"}, None, {"type": "auto"}),
        ({"tool_choice_thinking": False}, {"type": "disabled"}, {"type": "any"}, {"type": "disabled"}, {"type": "any"}),
        ({"tool_choice_thinking": False, "min_tokens": 9}, None, {"type": "tool", "name": "f"}, None, {"type": "auto"}),
        (
            {"tool_choice_thinking": False, "min_tokens": 9, "effort_off": "none"},
            None,
            {"type": "any"},
            {"type": "disabled"},
            {"type": "any"},
        ),
        ({"tool_choice_thinking": False}, {"type": "adaptive"}, {"type": "any"}, {"type": "disabled"}, {"type": "any"}),
        ({}, {"type": "adaptive"}, {"type": "any"}, {"type": "adaptive"}, {"type": "any"}),
    ],
)
def test_a_forced_tool_and_thinking(
    changes: JSON, thinking: Any, choice: JSON, sent_thinking: Any, sent_choice: JSON
) -> None:
    body = body_of(
        {"tools": [CUSTOM], "tool_choice": choice, **({"thinking": thinking} if thinking else {})},
        quirks=replace(GENUINE, **changes),
    )
    assert (body.get("thinking"), body["tool_choice"]) == (sent_thinking, sent_choice)


@pytest.mark.parametrize(
    ("quirks", "thinking", "limit", "has_thinking"),
    [
        (Quirks(min_tokens=4096), {"type": "disabled"}, 4096, False),
        (Quirks(min_tokens=4096, effort_off="none"), {"type": "disabled"}, 4096, True),
        (Quirks(min_tokens=4096, max_tokens_limit=2000), {"type": "disabled"}, 2000, False),
        (Quirks(min_tokens=4096), {"type": "adaptive"}, 100, True),
        (Quirks(), {"type": "disabled"}, 100, True),
    ],
)
def test_a_small_limit_where_the_model_always_thinks(
    quirks: Quirks, thinking: JSON, limit: int, has_thinking: bool
) -> None:
    upstream_request = prepare({**BODY, "thinking": thinking}, deployment(quirks=quirks))
    body = orjson.loads(upstream_request.body)
    assert (body["max_tokens"], body.get("thinking")) == (limit, thinking if has_thinking else None)
    assert ("thinking" in upstream_request.added_fields) is has_thinking


def test_thinking_by_the_upstreams_own_word() -> None:
    quirks = Quirks(native_thinking="adaptive")
    assert body_of({"thinking": {**ENABLED, "display": "omitted"}}, quirks=quirks)["thinking"] == {
        "type": "adaptive",
        "display": "omitted",
    }
    for thinking in ({"type": "adaptive"}, {"type": "disabled"}):
        assert body_of({"thinking": thinking}, quirks=quirks)["thinking"] == thinking


DEMANDING = Quirks(reasoning_required=True)
HOLDER = {"type": "thinking", "thinking": "(reasoning not kept)", "signature": ""}


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([TEXT, USE], [HOLDER, TEXT, USE]),
        ([THINKING, USE], [HOLDER, USE]),
        ([OWN, USE], [OWN, USE]),
        ([REDACTED, USE], [REDACTED, USE]),
        ([TEXT], [TEXT]),
    ],
)
def test_a_turn_with_calls_carries_thinking_where_that_is_demanded(blocks: list[JSON], expected: list[JSON]) -> None:
    messages = [HI, turn(*blocks), turn(RESULT, role="user")]
    assert body_of({"messages": messages}, quirks=DEMANDING)["messages"][1]["content"] == expected
    off = body_of({"messages": messages, "thinking": {"type": "disabled"}}, quirks=DEMANDING)["messages"][1]["content"]
    assert off == [block for block in expected if block is not HOLDER]
    always = replace(DEMANDING, min_tokens=9)  # which then thinks all the same
    assert (
        body_of({"messages": messages, "thinking": {"type": "disabled"}}, quirks=always)["messages"][1]["content"]
        == expected
    )


def search_result(*results: Any, id: Any = "srvtoolu_1") -> JSON:
    return {"type": "web_search_tool_result", "tool_use_id": id, "content": list(results)}


SEARCH_CALL = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
PLAIN = {"type": "web_search_result", "url": "https://a", "title": "A", "encrypted_content": ""}
SECRET = {**PLAIN, "encrypted_content": "Eq"}
CITATION = {"type": "web_search_result_location", "url": "https://a", "encrypted_index": ""}


def test_a_search_of_another_upstream_becomes_text() -> None:
    messages = [HI, turn(SEARCH_CALL, search_result(SECRET, PLAIN), {**TEXT, "citations": [CITATION]}), GO]
    texts = [
        {"type": "text", "text": '[web_search: {"query":"x"}]'},
        {"type": "text", "text": "[search results]\n- A: https://a\n- A: https://a"},
    ]
    assert body_of({"messages": messages})["messages"][1]["content"] == [*texts, TEXT]


def test_thinking_that_was_refused_is_left_out_whatever_it_is() -> None:
    """What the lesson of an invalid signature does."""
    quirks = replace(GENUINE, native_drop=frozenset({"messages.thinking"}))
    messages = [HI, turn(OWN, REDACTED, TEXT), GO, turn(OWN, USE), turn(RESULT, role="user")]
    body = body_of({"max_tokens": 4096, "thinking": ENABLED, "messages": messages}, quirks=quirks)
    assert [message["content"] for message in body["messages"]] == ["Hi", [TEXT], "Go", [USE], [RESULT]]
    assert body["thinking"] == {"type": "disabled"}


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
PDF = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
    "title": "a.pdf",
}
NOTE = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "so"},
    "cache_control": {"type": "ephemeral"},
}


def test_media_that_the_upstream_does_not_take() -> None:
    quirks = Quirks(images=False, native_drop=frozenset({"messages.document"}))
    inside = {**RESULT, "content": [TEXT, IMAGE, PDF]}
    messages = [turn(IMAGE, PDF, NOTE, role="user"), turn(USE), turn(inside, RESULT, role="user")]
    upstream_request = prepare({**BODY, "messages": messages}, deployment(quirks=quirks))
    first, _, last = orjson.loads(upstream_request.body)["messages"]
    image, pdf = (
        {"type": "text", "text": "[image, not shown]"},
        {"type": "text", "text": "[a.pdf]\n[document of type application/pdf, not shown]"},
    )
    assert first["content"] == [image, pdf, {"type": "text", "text": "so", "cache_control": {"type": "ephemeral"}}]
    assert last["content"] == [{**RESULT, "content": [TEXT, image, pdf]}, RESULT]
    assert upstream_request.degraded == ("image", "document")
    assert body_of({"messages": messages})["messages"] == messages


def test_thinking_that_only_anthropic_can_read() -> None:
    quirks = Quirks(native_drop=frozenset({"messages.redacted_thinking"}))
    messages = [HI, turn(REDACTED, OWN, TEXT), GO]
    assert body_of({"messages": messages}, quirks=quirks)["messages"][1]["content"] == [OWN, TEXT]
