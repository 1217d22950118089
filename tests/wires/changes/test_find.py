"""Differences between a Messages request and what went upstream: by the table, and on every golden; every page and rule
that a difference names exists."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.quirks import Quirks
from a2py.wires import WIRES, wire
from a2py.wires.changes import Change, Question, find_changes
from a2py.wires.changes.same import LIMIT
from a2py.wires.changes.table import ADDED_FIELDS, BLOCKS, FIELDS, LOSS_RULES
from tests import golden

DOCS = Path(__file__).parents[3] / "docs"
#: Fields of the upstream's body that always say what a field of the client's became.
ALWAYS = {"messages", "input", "instructions", "tools"}


def ask(client: dict[str, Any], wire_name: str = "chat", **quirks: Any) -> dict[tuple[str, str], Change]:
    """What changes when `client` goes upstream, by kind and path (of what is added: where it goes)."""
    body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **client}
    dep = Deployment("n", "i", "custom", "m", "http://x/v1", wire=wire_name, quirks=Quirks(**quirks))
    upstream_request = wire(wire_name).prepare(golden.call(body, {}), dep, bool(body.get("stream")))
    question = Question(dep, orjson.loads(upstream_request.body), upstream_request.degraded, upstream_request.names)
    return {(change.kind, change.path or change.to): change for change in find_changes(body, question)}


@pytest.mark.parametrize("wire_name", ["chat", "responses"])
def test_fields(wire_name: str) -> None:
    client = {
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_k": 5,
        "metadata": {"user_id": "x"},
        "container": "c",
        "made_up": {"x": 1},
        "nothing": None,
    }
    changes = ask(client, wire_name, max_tokens_field="max_completion_tokens")
    limit = "max_completion_tokens" if wire_name == "chat" else "max_output_tokens"
    assert changes["renamed", "max_tokens"].to == limit
    assert "max_completion_tokens" in changes["renamed", "max_tokens"].because
    assert changes["dropped", "top_k"].doc == "translation.md#a12"
    assert changes["dropped", "metadata"].doc == "translation.md#a12"
    assert changes["dropped", "container"].doc == "translation.md#a11"
    assert changes["dropped", "made_up"].doc == "translation.md#a-the-request"
    assert not [key for key in changes if key[1] in ("temperature", "nothing", "model")]
    assert (("renamed" if wire_name == "chat" else "dropped"), "stop_sequences") in changes
    if wire_name == "responses":
        assert changes["added", "store"].doc == "translation.md#c1"


def test_changed_values_and_additions() -> None:
    changes = ask({"temperature": 2.0, "stream": True, "max_tokens": 500}, temperature_max=1.0, max_tokens_limit=50)
    assert (
        changes["changed", "temperature"].to_value == "1.0"
        and "temperature_max: 1.0" in changes["changed", "temperature"].because
    )
    assert changes["changed", "max_tokens"].to_value == "50"
    assert changes["added", "stream_options"].doc == "translation.md#a18"
    dep = Deployment("n", "i", "custom", "up", "http://x/v1", extra_body={"seed": 3}, params={"top_p": 0.5})
    body = {"model": "mine", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    upstream_request = wire("chat").prepare(golden.call(body, {}), dep, False)
    by_target = {c.to: c for c in find_changes(body, Question(dep, orjson.loads(upstream_request.body)))}
    assert "`extra_body`" in by_target["seed"].because and "`top_p`" in by_target["top_p"].because
    assert by_target["model"].from_value == "mine" and by_target["model"].to_value == "up"


@pytest.mark.parametrize(
    ("wire_name", "quirks", "key", "to"),
    [
        ("chat", {}, ("renamed", "system"), "messages[0] role system"),
        ("chat", {"system_role": "developer"}, ("renamed", "system"), "messages[0] role developer"),
        ("chat", {"system_as_user": True}, ("changed", "system"), "messages[0]"),
        ("responses", {}, ("renamed", "system"), "instructions"),
    ],
)
def test_system(wire_name: str, quirks: dict[str, Any], key: tuple[str, str], to: str) -> None:
    for system in ("Be brief", [{"type": "text", "text": "Be brief"}]):
        assert ask({"system": system}, wire_name, **quirks)[key].to == to
    assert not [key for key in ask({"system": []}, wire_name, **quirks) if key[1] == "system"]


IMAGE = {"type": "image", "source": {"type": "url", "url": "http://x/y.png"}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
TURNS = [
    {"role": "user", "content": [{"type": "text", "text": "Look"}, IMAGE, PDF]},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "foreign"},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
            {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [IMAGE], "cache_control": {"type": "ephemeral"}},
            {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]},
        ],
    },
    {"role": "system", "content": "Note"},
]


def test_turns_on_chat() -> None:
    changes = ask({"messages": TURNS, "tools": [{"name": "look", "input_schema": {"type": "object"}}]})
    assert changes["renamed", "messages[].content[tool_use]"].to == "messages[].tool_calls"
    assert changes["renamed", "messages[].content[tool_result]"].doc == "translation.md#a5"
    assert changes["renamed", "messages[].content[image]"].from_value == "2 blocks"
    assert changes["dropped", "messages[].content[document]"].because == "a line of text replaces it"
    assert changes["dropped", "messages[].content[thinking]"].doc == "translation.md#a14"
    assert ("dropped", "messages[].content[redacted_thinking]") in changes
    assert changes["changed", "messages[].content[server_tool_use]"].doc == "translation.md#a7"
    assert changes["renamed", "messages[].content[search_result]"].doc == "translation.md#a6"
    assert changes["changed", "messages[] role system"].doc == "translation.md#a2"
    assert changes["dropped", "cache_control"].from_value == "1 mark"


def test_turns_on_responses() -> None:
    changes = ask({"messages": TURNS, "tools": [{"name": "look", "input_schema": {"type": "object"}}]}, "responses")
    assert changes["renamed", "messages[].content[tool_use]"].to == "input[] function_call"
    assert changes["renamed", "messages[].content[tool_result]"].to == "input[] function_call_output"
    assert changes["renamed", "messages[].content[image]"].to == "input_image"
    assert changes["changed", "messages"].to == "input"


def test_cache_marks() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    turns = [{"role": "user", "content": [{"type": "text", "text": "a", **mark}] * 6}]
    assert ask({"messages": turns}, cache="breakpoint")["renamed", "cache_control"].to == "prompt_cache_breakpoint"
    assert ask({"messages": turns}, cache="blocks")["changed", "cache_control"].to_value == "4 marks"
    assert ("dropped", "cache_control") in ask({"messages": turns})
    assert not [key for key in ask({"messages": turns[:1]}, cache="blocks") if key == ("dropped", "cache_control")]
    few = [{"role": "user", "content": [{"type": "text", "text": "a", **mark}]}]
    assert not [key for key in ask({"messages": few}, cache="blocks") if key[1] == "cache_control"]


def test_tools() -> None:
    tools = [
        {"name": "bad name!", "input_schema": {"type": "object", "properties": {}}, "defer_loading": True, "odd": 1},
        {"name": "look", "input_schema": {}},
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "bash_20250124", "name": "bash"},
    ]
    changes = ask({"tools": tools, "tool_choice": {"type": "any", "disable_parallel_tool_use": True}})
    assert changes["renamed", "tools[bad name!].name"].doc == "translation.md#a8"
    assert changes["changed", "tools[look].input_schema"].to == "parameters"
    assert changes["dropped", "tools[].defer_loading"].doc == "translation.md#a9"
    assert changes["dropped", "tools[].odd"].doc == "translation.md#a8"
    assert changes["dropped", "tools[web_search]"].doc == "translation.md#a11"
    assert ("dropped", "tools[bash]") not in changes
    assert changes["renamed", "tool_choice"].to == "parallel_tool_calls"
    hosted_changes = ask({"tools": tools}, "responses", web_search="responses")
    assert hosted_changes["added", "tools[]"].because.startswith("the upstream's own tool")


def test_what_is_reported_as_lost_is_named_once() -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hm"}]
    changes = ask({"messages": messages}, prefill="instruct")
    assert changes["dropped", "prefill"].doc == "translation.md#a17"
    assert "x-a2py-degraded" in changes["dropped", "prefill"].because

    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    changes = ask({"messages": [{"role": "user", "content": [image]}]}, images=False)
    assert [key for key in changes if "image" in key[1]] == [("dropped", "messages[].content[image]")]


def test_thinking_that_goes_back() -> None:
    upstream = {"messages": [{"role": "assistant", "content": "x", "reasoning_content": "hm"}]}
    client = {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]}]}
    dep = Deployment("n", "i", "custom", "m", "http://x/v1", quirks=Quirks(reasoning_history="reasoning_content"))
    (change,) = find_changes(client, Question(dep, upstream))
    assert change.kind == "renamed" and "reasoning_history: reasoning_content" in change.because


def test_many_changes_have_a_bound() -> None:
    dep = Deployment("n", "i", "custom", "m", "http://x/v1")
    assert len(find_changes({f"f{n}": n for n in range(1, 2000)}, Question(dep, {}))) == LIMIT


# -- properties --------------------------------------------------------------------------------------------------------


@cache
def anchors(page: str) -> frozenset[str]:
    """The anchors of a page of docs/: those that are written, and those of its headings as GitHub makes them."""
    text = (DOCS / page).read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return frozenset({*re.findall(r'<a id="([^"]+)"', text), *slugs, ""})


def exists(doc: str) -> bool:
    page, _, anchor = doc.partition("#")
    return (DOCS / page).is_file() and anchor in anchors(page)


def test_every_rule_and_quirk_of_the_table_exists() -> None:
    rows = [*FIELDS.values(), *ADDED_FIELDS.values(), *(row for *_, row in BLOCKS.values())]
    assert all(
        exists(f"translation.md#{name}")
        for name in {*(row.rule for row in rows), *LOSS_RULES.values(), "a1", "a2", "a3"}
    )
    names = {quirk for row in rows for quirk in row.quirks}
    assert names and names <= set(Quirks.__dataclass_fields__)
    assert not exists("translation.md#a99") and not exists("nothing.md")


@pytest.mark.parametrize("name", sorted(WIRES))
def test_every_difference_of_every_golden_is_named(name: str) -> None:
    count = 0
    for case in golden.cases():
        for step in case.steps():
            body = step.blocks["request"].json() if "request" in step.blocks else golden.REQUEST
            body = {"model": "claude-test", **body}
            if "$reply" in str(body):
                continue
            dep = golden.deployment({**step.config, "wire": name})
            try:
                upstream_request = wire(name).prepare(golden.call(body, step.config), dep, bool(body.get("stream")))
            except ApiError:
                continue
            upstream = orjson.loads(upstream_request.body)
            changes = find_changes(body, Question(dep, upstream, upstream_request.degraded, upstream_request.names))
            from_fields = {change.path.partition("[")[0].partition(".")[0] for change in changes}
            to_fields = {change.to.partition("[")[0].partition(".")[0].partition(" ")[0] for change in changes}
            assert all(exists(change.doc) for change in changes), changes
            missing = {key for key, value in body.items() if key not in upstream and value not in (None, [], {}, "")}
            assert missing - {"messages", "system", "tools"} <= from_fields, (case.id, missing - from_fields)
            assert set(upstream) - set(body) - ALWAYS <= to_fields, (case.id, set(upstream) - set(body) - to_fields)
            assert set(upstream_request.degraded) <= {
                word for change in changes for word in (change.path, change.path.partition("[")[0], *LOSSES)
            } | {change.path.rpartition("[")[2].rstrip("]") for change in changes}, case.id
            count += 1
    assert count > 300


#: Words of `degraded` that are said by the change of the field in which they are.
LOSSES = ("effort", "thinking", "output_format", "tool_choice", "disable_parallel_tool_use")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*FIELDS, "type", "content"]), inner, max_size=4)
    ),
    max_leaves=20,
)
BODY = st.dictionaries(
    st.sampled_from([*FIELDS, "system", "messages", "tools", "input", "instructions"]), JSON, max_size=6
)


@given(BODY, BODY, st.sampled_from(["chat", "responses", "native"]), st.booleans())
def test_nothing_raises(client: dict[str, Any], upstream: dict[str, Any], name: str, is_passed: bool) -> None:
    dep = Deployment("n", "i", "custom", "m", "http://x/v1", wire=name)
    for change in find_changes(client, Question(dep, upstream, ("image", "\x00odd")), is_passed=is_passed):
        assert change.kind in ("renamed", "dropped", "added", "changed") and exists(change.doc)
