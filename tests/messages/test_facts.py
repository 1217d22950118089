"""The facts that rules ask for, read from requests as Claude Code sends them (2.1.332) and from others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from a2py.messages.facts import Facts, band_of, read_effort, read_facts_in_slices
from a2py.messages.request import parse
from a2py.messages.types import Request
from a2py.slices import ITEMS, at_once
from tests import recordings

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
PLAN = "# Environment\n\nPlan mode is active. The user indicated that they do not want you to execute yet."
STILL = "<system-reminder>\nPlan mode still active (see full instructions earlier in conversation).\n</system-reminder>"
END = "## Exited Plan Mode\nYou have exited plan mode. You can now make edits."


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def result(*content: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t", "content": list(content)}


def read(request: Request, headers: dict[str, str], names: tuple[str, ...] = (), tokens: int = 0) -> Facts:
    return at_once(read_facts_in_slices(request, headers, names, tokens))


def facts(*messages: Any, headers: dict[str, str] | None = None, **body: Any) -> Facts:
    raw = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": messages or ({"role": "user", "content": "Hi"},)}
    return read(parse(json.dumps({**raw, **body}).encode()), headers or {}, ("x-team",), 7)


def system(words: Any, effort: str = "") -> dict[str, Any]:
    return {"role": "system", "content": words, **({"output_config": {"effort": effort}} if effort else {})}


def test_a_plain_request_states_nothing() -> None:
    assert facts() == Facts(model="claude-opus-5-5", tokens=7)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-claude-code-agent-id": "a843b0493d5495432"},
        {"x-claude-code-request-class": "subagent"},
        {"x-claude-code-request-class": "workflow"},
        {"x-claude-code-agent-id": "", "x-claude-code-request-class": "workflow"},
    ],
)
def test_a_sub_agent_by_its_header(headers: dict[str, str]) -> None:
    assert facts(headers=headers).is_subagent


def test_a_sub_agent_by_its_billing_line() -> None:
    line = "x-anthropic-billing-header: cc_version=2.1.332.137; cc_entrypoint=sdk-cli; cc_is_subagent=true;"
    assert facts(system=[text(line), text("You are an agent.")]).is_subagent
    assert not facts(system=[text(line.replace(" cc_is_subagent=true;", ""))]).is_subagent
    assert not facts(system="Say cc_is_subagent=true;").is_subagent, "the user's own words"
    main = line.replace(" cc_is_subagent=true;", "\nSay cc_is_subagent=true;")
    assert not facts(system=main).is_subagent, "the user's own words below the line"
    assert not facts(headers={"x-claude-code-request-class": "main"}).is_subagent
    assert not facts(headers={"x-claude-code-agent-id": ""}).is_subagent


@pytest.mark.parametrize(
    ("body", "effort"),
    [
        ({}, ""),
        ({"output_config": {"effort": "xhigh"}, "thinking": {"type": "adaptive"}}, "xhigh"),
        ({"output_config": {"effort": "max"}, "thinking": {"type": "disabled"}}, ""),
        ({"output_config": {"effort": "enormous"}}, ""),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": "many"}}, ""),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, ""),
    ],
)
def test_the_effort(body: dict[str, Any], effort: str) -> None:
    assert read_effort(body) == effort and facts(**body).effort == effort


def test_budgets_have_the_bands_of_the_wires() -> None:
    assert [band_of(budget) for budget in (0, 1024, 4_096, 31_999, 64_000)] == ["", "low", "medium", "high", "max"]


def test_efforts_of_earlier_turns_are_in_the_history() -> None:
    request_facts = facts(
        user(text("Hard")), system([], "xhigh"), system("x", "nonsense"), output_config={"effort": "medium"}
    )
    assert request_facts.effort == "medium" and request_facts.efforts == {"xhigh", "medium"}


@pytest.mark.parametrize(
    ("messages", "now", "ever"),
    [
        ([user(text("Hi")), system([text(PLAN)])], True, True),
        ([user(text("Hi")), system(PLAN)], True, True),
        ([user(text(STILL), text("Go on"))], True, True),
        ([{"role": "user", "content": STILL}], True, True),
        ([user(text("Hi")), system(PLAN), user(text("Go")), system(END)], False, True),
        ([system(END), system(PLAN)], True, True),
        ([system(END)], False, False),
        ([user(text(PLAN))], False, False),
        ([user(result(text(PLAN)))], False, False),
        ([{"role": "assistant", "content": STILL}], False, False),
    ],
)
def test_plan_mode_is_what_the_last_note_of_claude_code_says(messages: list[Any], now: bool, ever: bool) -> None:
    request_facts = facts({"role": "user", "content": "Begin"}, *messages)
    assert (request_facts.is_planning, request_facts.has_planned) == (now, ever)


@pytest.mark.parametrize(
    ("messages", "now"),
    [
        ([user(IMAGE)], True),
        ([user(IMAGE), {"role": "assistant", "content": "A cat"}, user(result(text("x")), text("Tool loaded."))], True),
        ([user(text("Look")), user(result(IMAGE))], True),
        ([user({"type": "document", "source": {"type": "content", "content": [IMAGE]}})], True),
        ([user(IMAGE), {"role": "assistant", "content": "A cat"}, user(text("Thanks"))], False),
        ([user(IMAGE), {"role": "assistant", "content": "A cat"}, {"role": "user", "content": "Thanks"}], False),
    ],
)
def test_an_image_belongs_to_its_turn_and_to_the_conversation(messages: list[Any], now: bool) -> None:
    request_facts = facts(*messages)
    assert (request_facts.has_image, request_facts.has_any_image) == (now, True)


def test_what_is_no_image() -> None:
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
    plain = {"type": "document", "source": {"type": "content", "content": "text"}}
    request_facts = facts(user(text("an image"), pdf, plain, {"type": "tool_result", "tool_use_id": "t"}))
    assert not request_facts.has_any_image


def test_tools() -> None:
    own = {"name": "Read", "input_schema": {"type": "object"}}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    request_facts = facts(tools=[own, search])
    assert request_facts.searches_web and request_facts.tools == {"Read", "web_search"}
    assert not facts(tools=[{**own, "name": "web_search"}]).searches_web, "the client's own tool of that name"


def test_only_headers_that_rules_ask_for_are_kept() -> None:
    request_facts = facts(headers={"x-team": "blue", "authorization": "Bearer sk-secret"})
    assert request_facts.headers == {"x-team": "blue"} and "blue" not in repr(request_facts)


def test_long_requests_are_read_in_slices() -> None:
    messages = [{"role": "user", "content": "x"}] * (ITEMS + 1) + [user(*[text("x")] * ITEMS, IMAGE)]
    request = parse(json.dumps({"model": "m", "max_tokens": 1, "messages": messages}).encode())
    work = read_facts_in_slices(request, {})
    pauses = 0
    try:
        while True:
            next(work)
            pauses += 1
    except StopIteration as stop:
        assert stop.value.has_any_image
    assert pauses == 2


@pytest.mark.skipif(not recordings.CLIENTS.is_dir(), reason="needs recordings of clients")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("agent_subagent", {"is_subagent": True, "effort": "medium"}),
        ("text", {"is_subagent": False, "effort": "medium", "has_any_image": False, "is_planning": False}),
        ("websearch_inner", {"searches_web": True, "tools": frozenset({"web_search"})}),
        ("image_tool_result", {"has_image": True}),
        ("pdf_tool_result", {"has_image": False}),
        ("model_gpt_5_5", {"model": "gpt-5.5", "effort": "high"}),
        ("old_2_1_197_sonnet", {"is_subagent": False}),
        ("tools_loop_last", {"searches_web": False, "is_subagent": False}),
    ],
)
def test_recordings_of_claude_code(name: str, expected: dict[str, Any]) -> None:
    recording = json.loads(Path(recordings.CLIENTS / f"{name}.json").read_text("utf-8"))
    headers = {key.lower(): value for key, value in recording["headers"]}
    request_facts = read(parse(json.dumps(recording["body"]).encode()), headers)
    assert {key: getattr(request_facts, key) for key in expected} == expected
