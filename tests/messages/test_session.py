"""Which conversation a request belongs to."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.messages.request import parse
from a2py.messages.session import (
    MAX_BLOCKS,
    MAX_TEXT,
    USER_LIMIT,
    digest_opening,
    find_session,
    is_subagent,
    name_session,
    strip_billing,
)
from a2py.messages.types import Request

ID = "11111111-2222-4333-8444-555555555555"
MARK = {"cache_control": {"type": "ephemeral"}}


def request(*messages: Any, **more: Any) -> Request:
    turns = [{"role": "user", "content": one} if not isinstance(one, dict) else one for one in messages or ("Hi",)]
    return parse(orjson.dumps({"model": "m", "max_tokens": 1, "messages": turns, **more}))


@pytest.mark.parametrize(
    ("user", "session"),
    [
        (orjson.dumps({"device_id": "d", "account_uuid": "", "session_id": ID}).decode(), ID),
        (f"user_{'0' * 64}_account__session_{ID}", ID),
        (f"user_{'0' * 64}_account_{ID[::-1]}_session_{ID}", ID),
        ("somebody", ""),
        ("a_session_b", ""),
        ('{"session_id": 7}', ""),
        ('{"session_id": "x"', ""),
        (orjson.dumps({"session_id": "s" * 300}).decode(), "s" * 128),
        (orjson.dumps({"session_id": "s", "more": "x" * USER_LIMIT}).decode(), ""),
    ],
)
def test_a_session_in_the_user_id(user: str, session: str) -> None:
    message = request(metadata={"user_id": user})
    assert find_session({}, message) == session
    assert find_session({"x-claude-code-session-id": "header"}, message) == "header"


@pytest.mark.parametrize("name", ["x-claude-code-session-id", "session_id", "session-id", "conversation_id"])
def test_a_session_in_a_header(name: str) -> None:
    """Of Claude Code, of Codex now and before, of other clients of OpenAI."""
    assert name_session({name: "s" * 200}) == "s" * 128 == find_session({name: "s" * 200}, request())
    assert name_session({name: ""}) == ""
    assert name_session({"x-claude-code-session-id": "a", name: "b"}) == ("b" if "claude" in name else "a")


@pytest.mark.parametrize("more", [{}, {"metadata": {}}, {"metadata": {"user_id": None}}])
def test_no_session(more: dict[str, Any]) -> None:
    assert find_session({}, request(**more)) == ""


@pytest.mark.parametrize(
    ("headers", "system", "expected"),
    [
        ({}, [], False),
        ({"x-claude-code-agent-id": "a1"}, [], True),
        ({"x-claude-code-request-class": "subagent"}, [], True),
        ({"x-claude-code-request-class": "workflow"}, [], True),
        ({"x-claude-code-request-class": "main"}, [], False),
        ({}, ["x-anthropic-billing-header: cc_version=2.1.330.cd5; cc_entrypoint=cli; cc_is_subagent=true;"], True),
        ({}, ["x-anthropic-billing-header: cc_version=2.1.330.cd5;\ncc_is_subagent=true"], False),
        ({}, ["They wrote cc_is_subagent=true"], False),
    ],
)
def test_who_is_a_sub_agent(headers: dict[str, str], system: list[str], expected: bool) -> None:
    assert is_subagent(headers, request(system=[{"type": "text", "text": text} for text in system])) is expected


def test_the_billing_line_is_taken_from_the_start_only() -> None:
    assert strip_billing("x-anthropic-billing-header: a\nb\nc") == "b\nc"
    assert strip_billing("x-anthropic-billing-header: a") == ""
    assert strip_billing("b\nx-anthropic-billing-header: a") == "b\nx-anthropic-billing-header: a"


def test_all_turns_of_a_conversation_have_one_opening() -> None:
    """The cache mark moves on, and the billing line changes after a compaction."""
    text = {"type": "text", "text": "Hi"}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    billing = [{"type": "text", "text": f"x-anthropic-billing-header: {n};\nBe short."} for n in range(2)]
    first = request([{**text, **MARK}, {**image, **MARK}], system=billing[:1])
    later = request([text, image], {"role": "assistant", "content": "Hello"}, "More", system=billing[1:])
    assert digest_opening(first) == digest_opening(later)
    assert digest_opening(request("Hi")) == digest_opening(request([text]))
    assert digest_opening(request("Hi", system="Be short.")) == digest_opening(
        request([text], system=[{"type": "text", "text": "Be short.", **MARK}])
    )


def test_other_conversations_have_another_opening() -> None:
    openings = [
        request("Hi"),
        request("Ho"),
        request("Hi", system="s"),
        request([{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]),
        request({"role": "assistant", "content": "Hi"}),
    ]
    assert len({digest_opening(one) for one in openings}) == len(openings)


def test_only_the_beginning_is_read() -> None:
    blocks = [{"type": "text", "text": "x" * MAX_TEXT}] * MAX_BLOCKS
    longer = [{"type": "text", "text": "x" * (MAX_TEXT + 1)}] * (MAX_BLOCKS + 1)
    assert digest_opening(request(blocks)) == digest_opening(request(longer))
