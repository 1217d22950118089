"""What a native upstream does not take, taken out of a body that stays the client's own."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from a2py.messages.types import JSON
from a2py.slices import at_once
from a2py.wires.common.paths import delete_at, map_list
from a2py.wires.common.text import NO_RESULT
from a2py.wires.native.strip import SPECIAL, join_user_turns, strip

TOOL = {"name": "f", "input_schema": {"type": "object"}}


def strip_body(body: JSON, *names: str) -> JSON:
    """`body` stripped, and the client's own object left as it was."""
    before = copy.deepcopy(body)
    out = dict(body)
    at_once(strip(out, frozenset(names)))
    assert body == before
    orjson.dumps(out)
    return out


@pytest.mark.parametrize(
    ("value", "path", "expected"),
    [
        ({"a": 1, "b": 2}, "a", {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, "a.b", {"a": {"c": 2}}),
        ({"a": [{"b": 1}, {"c": 2}, 7, "x"]}, "a.b", {"a": [{}, {"c": 2}, 7, "x"]}),
        ([[{"b": 1}]], "b", [[{}]]),
        ({"a": "text"}, "a.b", {"a": "text"}),
        (None, "a", None),
    ],
)
def test_paths(value: Any, path: str, expected: Any) -> None:
    assert at_once(delete_at(value, [*path.split(".")])) == expected


@pytest.mark.parametrize(
    ("value", "path"), [({"a": 1}, "b"), ({"a": [{"c": 1}]}, "a.b"), ([{"a": 1}], "b"), ({"a": {"c": {}}}, "a.c.b")]
)
def test_what_is_not_changed_is_the_same_object(value: Any, path: str) -> None:
    assert at_once(delete_at(value, [*path.split(".")])) is value


def test_mapped_copies_only_for_a_change() -> None:
    values = [1, 2, 3]
    assert map_list(values, lambda n: n) is values
    assert map_list(values, lambda n: n + 1) == [2, 3, 4]
    assert map_list([], lambda n: n + 1) == []


def test_names_of_the_top() -> None:
    assert strip_body({"a": 1, "b": {"c": 1, "d": 2}}, "a", "b.c", "x", "x.y") == {"b": {"d": 2}}


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("x-anthropic-billing-header: a;\nBe short.", "Be short."),
        ("x-anthropic-billing-header: a;", None),
        ("Be short.", "Be short."),
        ("", None),
        (
            [
                {"type": "text", "text": "x-anthropic-billing-header: a;"},
                {"type": "text", "text": "Be short.", "cache_control": {}},
            ],
            [{"type": "text", "text": "Be short.", "cache_control": {}}],
        ),
        (
            [{"type": "text", "text": "x-anthropic-billing-header: a;\nBe short."}],
            [{"type": "text", "text": "Be short."}],
        ),
        ([{"type": "text", "text": "x-anthropic-billing-header: a;"}], None),
        (
            [{"type": "text", "text": "mentions x-anthropic-billing-header: a"}],
            [{"type": "text", "text": "mentions x-anthropic-billing-header: a"}],
        ),
        ([], None),
        (None, None),
    ],
)
def test_the_billing_header(system: Any, expected: Any) -> None:
    assert strip_body({"system": system}, "system.billing_header").get("system") == expected
    assert strip_body({}, "system.billing_header") == {}


def test_deferred_tools_and_their_stand_in() -> None:
    placeholder = {"name": "DeferredToolPlaceholder", "input_schema": {}, "defer_loading": True}
    tools = [placeholder, {**TOOL, "defer_loading": True}, TOOL, {"type": "web_search_20250305"}]
    assert strip_body({"tools": tools}, "tools.defer_loading") == {
        "tools": [TOOL, TOOL, {"type": "web_search_20250305"}]
    }
    assert strip_body({}, "tools.defer_loading") == {}
    assert strip_body({"tools": None}, "tools.defer_loading") == {"tools": None}


def test_tool_references_are_spoken() -> None:
    reference = {"type": "tool_reference", "tool_name": "mcp__x"}
    text = {"type": "text", "text": "[tool loaded: mcp__x]"}
    result = {"type": "tool_result", "tool_use_id": "a"}
    messages = [
        {"role": "user", "content": "string"},
        {"role": "user", "content": [{**result, "content": [reference, {"type": "text", "text": "x"}]}, reference]},
        {
            "role": "user",
            "content": [{**result, "content": "x"}, {**result, "content": [{"type": "text", "text": "x"}]}, result],
        },
        {"role": "user", "content": [{"type": "tool_reference", "name": "f"}, {"type": "tool_reference"}]},
    ]
    out = strip_body({"messages": messages}, "messages.tool_reference")["messages"]
    assert out[1] == {"role": "user", "content": [{**result, "content": [text, {"type": "text", "text": "x"}]}, text]}
    assert [block["text"] for block in out[3]["content"]] == ["[tool loaded: f]", "[tool loaded: ]"]
    assert out[0] is messages[0]
    assert out[2] is messages[2]


def test_system_messages_become_text_of_the_user_turn_before() -> None:
    messages = [
        {"role": "system", "content": "first"},
        {"role": "user", "content": "Hi"},
        {
            "role": "system",
            "content": [{"type": "text", "text": "<system-reminder>x</system-reminder>", "cache_control": {}}],
        },
        {"role": "system", "content": []},
        {"role": "assistant", "content": "Yes?"},
        {"role": "system", "content": "late"},
        {"role": "user", "content": [{"type": "text", "text": "Go"}]},
    ]
    out = strip_body({"messages": messages}, "messages.system_role")["messages"]
    assert [message["role"] for message in out] == ["user", "assistant", "user"]
    assert [block["text"] for block in out[0]["content"]] == [
        "<system-reminder>\nfirst\n</system-reminder>",
        "Hi",
        "<system-reminder>x</system-reminder>",
    ]
    assert out[0]["content"][2]["cache_control"] == {}
    assert [block["text"] for block in out[2]["content"]] == ["<system-reminder>\nlate\n</system-reminder>", "Go"]


def test_without_system_messages_nothing_is_copied() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    body = {"messages": messages}
    at_once(strip(body, frozenset({"messages.system_role"})))
    assert body["messages"] is messages


def test_tool_changes_of_system_messages() -> None:
    def change(kind: str, **tool: Any) -> JSON:
        return {
            "role": "system",
            "content": [{"type": kind, "tool": tool}, {"type": kind}, {"type": "brand_new", "tool": {"name": "x"}}],
        }

    user = {"role": "user", "content": "Hi"}
    new = {"name": "new", "input_schema": {}}
    definition = {"name": "f", "input_schema": {"changed": True}}
    body = {
        "tools": [TOOL, {**TOOL, "name": "g"}, {"type": "mcp_toolset"}],
        "messages": [
            user,
            change("tool_addition", type="tool_definition", definition=new),
            change("tool_addition", type="tool_definition", definition=definition),
            change("tool_addition", type="tool_reference", name="g"),
            change("tool_removal", type="tool_reference", name="g"),
            change("tool_removal", type="tool_reference", tool_name="unknown"),
            change("tool_removal", type="tool_reference"),
            change("tool_addition", definition={"type": "mcp_toolset"}),
        ],
    }
    out = strip_body(body, "messages.system_role")
    assert out["tools"] == [{"type": "mcp_toolset"}, new, definition]
    assert out["messages"] == [user]
    bare = strip_body({"messages": [user, change("tool_removal", name="g")]}, "messages.system_role")
    assert "tools" not in bare
    result = strip_body({"messages": [user, change("tool_addition", definition=new)]}, "messages.system_role")
    assert result["tools"] == [new]


def test_joined() -> None:
    a, b, c = (
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": [{"type": "text", "text": "c"}]},
    )
    assert join_user_turns([a, b, c]) == [a, b, c]
    assert join_user_turns([a, c, b, b]) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "c"}]},
        b,
        b,
    ]
    assert join_user_turns([]) == []


@pytest.mark.parametrize("name", SPECIAL)
def test_specials_leave_the_clients_body_alone(name: str) -> None:
    body = {
        "system": [{"type": "text", "text": "x-anthropic-billing-header: a"}],
        "tools": [{**TOOL, "defer_loading": True}],
        "messages": [
            {"role": "user", "content": [{"type": "tool_reference", "tool_name": "x"}, {"type": "text", "text": " "}]},
            {"role": "system", "content": "s"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
        ],
        "max_tokens": 2000,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
    }
    assert strip_body(body, name) != body


def text(value: str, **more: Any) -> JSON:
    return {"type": "text", "text": value, **more}


def test_blank_texts_go() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [text(""), text("x")]}
    full = {"role": "user", "content": [text("kept")]}
    body = {
        "system": [text("s"), text("\n", **mark)],
        "messages": [
            full,
            {"role": "user", "content": [text("", **mark), text("go on")]},
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "t"}, text("", **mark), call, text(" ", **mark)],
            },
            {"role": "user", "content": [result, text("")]},
            {"role": "assistant", "content": [text("")]},
            {"role": "user", "content": " "},
            {"role": "user", "content": "Hi"},
        ],
    }
    out = strip_body(body, "messages.blank_text")
    assert out["system"] == [text("s", **mark)]
    assert out["messages"][0] is full
    assert [message["content"] for message in out["messages"]] == [
        [text("kept")],
        [text("go on")],
        [{"type": "thinking", "thinking": "t"}, {**call, **mark}],
        [{**result, "content": [text("x")]}],
        "(no content)",
        "(no content)",
        "Hi",
    ]
    assert "system" not in strip_body({"system": [text(" ")], "messages": []}, "messages.blank_text")
    assert strip_body({"system": "s", "messages": [full]}, "messages.blank_text") == {"system": "s", "messages": [full]}


@pytest.mark.parametrize(
    ("limit", "budget", "thinking"),
    [
        (8000, 9000, {"type": "enabled", "budget_tokens": 7999}),
        (8000, 500, {"type": "enabled", "budget_tokens": 1024}),
        (8000, 4000, {"type": "enabled", "budget_tokens": 4000}),
        (1024, 500, {"type": "disabled"}),
    ],
)
def test_a_budget_is_fitted(limit: int, budget: int, thinking: JSON) -> None:
    body = {"messages": [], "max_tokens": limit, "thinking": {"type": "enabled", "budget_tokens": budget}}
    assert strip_body(body, "thinking.large_budget")["thinking"] == thinking


def test_no_budget_is_left_alone() -> None:
    bodies: tuple[JSON, ...] = (
        {"messages": []},
        {"messages": [], "max_tokens": 9, "thinking": {"type": "adaptive"}},
        {"messages": [], "thinking": {"type": "enabled", "budget_tokens": 9}},
    )
    for body in bodies:
        assert strip_body(body, "thinking.large_budget") == body


def test_calls_and_results_are_paired() -> None:
    def call(id: str) -> JSON:
        return {"type": "tool_use", "id": id, "name": "f", "input": {}}

    def result(id: str, content: str) -> JSON:
        return {"type": "tool_result", "tool_use_id": id, "content": content}

    def missing(id: str) -> JSON:
        return {**result(id, NO_RESULT), "is_error": True}

    hello = {"role": "user", "content": "Hello"}
    body = {
        "messages": [
            hello,
            {"role": "assistant", "content": [call("a"), call("b")]},
            {"role": "user", "content": [text("stop"), result("b", "B"), result("b", "again")]},
            {"role": "assistant", "content": [call("c")]},
            {"role": "assistant", "content": "So."},
            {"role": "user", "content": [result("c", "late")]},
            {"role": "assistant", "content": [call("d")]},
            {"role": "user", "content": "go on"},
            {"role": "assistant", "content": [call("e")]},
        ]
    }
    out = strip_body(body, "messages.unpaired")["messages"]
    assert out[0] is hello
    assert [message["content"] for message in out if message["role"] == "user"] == [
        "Hello",
        [missing("a"), result("b", "B"), text("stop"), text("[result of an earlier tool call]\nagain")],
        [missing("c")],
        [text("[result of an earlier tool call]\nlate")],
        [missing("d"), text("go on")],
        [missing("e")],
    ]
    assert strip_body({"messages": out}, "messages.unpaired")["messages"] == out


def test_a_tool_that_was_removed_comes_back_by_its_reference() -> None:
    f, g = {"name": "f", "input_schema": {}}, {"name": "g", "input_schema": {}}
    user = {"role": "user", "content": "Hi"}
    removal, addition = (
        {"role": "system", "content": [{"type": kind, "tool": {"type": "tool_reference", "name": "f"}}]}
        for kind in ("tool_removal", "tool_addition")
    )
    assert strip_body({"tools": [f, g], "messages": [user, removal, addition]}, "messages.system_role")["tools"] == [
        g,
        f,
    ]
    assert strip_body({"tools": [f, g], "messages": [user, addition]}, "messages.system_role")["tools"] == [f, g]
