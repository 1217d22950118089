"""What more than one wire's request builder needs: the corners that no golden shows."""

from __future__ import annotations

import random

import pytest

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call, Request
from a2py.slices import at_once
from a2py.wires import wire
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import Want, nearest, wanted
from a2py.wires.common.filters import Stops, ThinkTags, held
from a2py.wires.common.headers import headers
from a2py.wires.common.intake import Intake
from a2py.wires.common.names import Names
from a2py.wires.common.text import as_text, block_text, without_billing
from a2py.wires.common.tools import ToolList, function
from a2py.wires.openai.tools import in_force, offered
from tests import streams


def draft(messages: list[JSON], tools: list[JSON]) -> Draft:
    return Draft(Call(Request({}, "m", messages, tools=tools), "msg_1", 0.0), Deployment("n", "i", "custom", "m", "http://x"))


def test_a_server_tool_as_the_definition_of_an_addition_and_nonsense() -> None:
    messages: list[JSON] = [
        {"role": "system", "content": "text"},
        {
            "role": "system",
            "content": [
                {"type": "tool_addition", "tool": "junk"},
                {"type": "tool_addition", "tool": {"name": 5}},
                {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "a"}},
                {"type": "tool_removal", "tool": {"tool_name": "b"}},
            ],
        },
    ]
    tools = [{"name": "a", "input_schema": {}}, {"name": "b", "input_schema": {}}]
    assert at_once(in_force(draft(messages, tools))) == tools[:1]


def test_a_tool_that_is_none() -> None:
    assert function({"type": "bash_20250124"}) is not None
    assert function({"type": "custom"}) is None
    assert at_once(offered(draft([], [{"type": "custom"}]), False)) == ([], None)


@pytest.mark.parametrize(
    ("changes", "left", "changed"),
    [
        ([], ["a1", "b1", "", "a2"], False),
        ([("tool_removal", {"name": "a"})], ["b1", ""], True),
        ([("tool_removal", {"name": "never"})], ["a1", "b1", "", "a2"], False),
        ([("tool_addition", {"definition": {"name": "a", "n": "a3"}})], ["b1", "", "a3"], True),
        ([("tool_removal", {"name": "b"}), ("tool_addition", {"name": "b"})], ["a1", "", "a2", "b1"], True),
        ([("tool_addition", {"name": "b"})], ["a1", "b1", "", "a2"], False),
        ([("tool_addition", {"definition": {"name": "c", "n": "c1"}}), ("tool_removal", {"tool_name": "c"})], ["a1", "b1", "", "a2"], True),
        ([("tool_addition", {"definition": {"n": "nameless"}}), ("other", {"name": "a"})], ["a1", "b1", "", "a2"], False),
    ],
)
def test_a_tool_list_and_its_changes(changes: list[tuple[str, JSON]], left: list[str], changed: bool) -> None:
    tools = ToolList([{"name": "a", "n": "a1"}, {"name": "b", "n": "b1"}, {"n": ""}, {"name": "a", "n": "a2"}])
    for kind, change in changes:
        tools.change({"type": kind, "tool": change})
    assert ([tool["n"] for tool in tools.left()], tools.changed) == (left, changed)


def test_auth_none_sends_no_key() -> None:
    dep = Deployment("n", "i", "custom", "m", "http://x", "k", "none")
    assert set(headers(dep, False)) == {"content-type", "accept", "accept-encoding"}


@pytest.mark.parametrize(
    ("body", "params", "want"),
    [
        ({"thinking": {"type": "enabled"}}, {}, Want("on")),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, {}, Want("on")),
        ({"output_config": {"effort": "odd"}}, {}, Want("absent")),
        ({}, {"reasoning_effort": 7, "thinking": "x"}, Want("absent")),
        ({"thinking": {"type": "between_tools"}, "output_config": {"effort": "low"}}, {}, Want("on", "low")),
    ],
)
def test_wanted(body: JSON, params: JSON, want: Want) -> None:
    assert wanted(Request(body, "m", []), Deployment("n", "i", "c", "m", "b", params=params)) == want


def test_nearest_without_words_or_with_foreign_ones() -> None:
    assert nearest("high", ()) == ""
    assert nearest("high", ("on", "medium")) == "medium"


def test_texts_of_blocks_that_no_wire_shows() -> None:
    assert without_billing("plain") == "plain"
    assert block_text({"type": "image", "source": {"type": "base64"}}) == "[image, not shown]"
    assert block_text({"type": "image", "source": 7}) == "[image, not shown]"
    assert block_text({"type": "document", "source": 7}) == "[document of type unknown, not shown]"
    assert as_text([{"type": "tool_result", "content": "a"}, {"type": "thinking"}, 7, {"type": "tool_use", "name": "f"}]) == (
        "[tool result: a]\n[tool call f: {}]"
    )
    assert as_text(None) == ""
    assert as_text([{"type": 5, "text": "a"}, {"type": {}}, {"text": "b"}]) == "a\nb"
    assert block_text({"type": "compaction", "content": "sum"}) == "sum"
    assert block_text({"type": "container_upload"}) == "[file, not shown]"


def test_names_are_a_function_of_the_name() -> None:
    names = Names()
    assert names.sent("plain-1_x") == "plain-1_x"
    short = names.sent("a.b")
    assert (short, names.back) == (Names().sent("a.b"), {short: "a.b"})
    assert names.sent("") == "_e3b0c442"
    assert names.sent("a/b") != short


@pytest.mark.parametrize("size", range(1, 9))
def test_filters_depend_on_the_concatenation(size: int) -> None:
    text = "\n<think>b</think>\n\nc</think><think>d<th"
    tags = ThinkTags()
    pieces = [p for n in range(0, len(text), size) for p in tags.feed(text[n : n + size])] + tags.close()
    assert ["".join(s for t, s in pieces if t is flag) for flag in (False, True)] == ["c</think><think>d<th", "b"]
    stops = Stops(["END", "EN!"])
    out = "".join(stops.feed(c) for c in "a E EN b END c") + stops.close()
    assert (out, stops.matched) == ("a E EN b ", "END")
    assert stops.feed("more") == ""


def first_stop(stops: list[str], text: str) -> tuple[str, str | None]:
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            stop = max(found, key=len)
            return text[: end - len(stop)], stop
    return text, None


@pytest.mark.parametrize(
    ("stops", "text", "out", "matched"),
    [
        (["ab", "abc"], "xabcd", "x", "ab"),  # the text was cut behind it, or not
        (["b", "ab"], "xab", "x", "ab"),
        (["cd", "abcde"], "abcde", "ab", "cd"),
        (["aab"], "aaab", "a", "aab"),
        (["abab", "babb"], "ababb", "", "abab"),
        (["aabaaac"], "aabaabaaac", "aab", "aabaaac"),
        (["END"], "the EN", "the EN", None),
        ([], "text", "text", None),
    ],
)
def test_the_stop_that_ends_first_wins_however_the_text_is_cut(stops: list[str], text: str, out: str, matched: str | None) -> None:
    assert first_stop(stops, text) == (out, matched)
    for size in range(1, len(text) + 1):
        cut = Stops(stops)
        assert "".join([cut.feed(text[n : n + size]) for n in range(0, len(text), size)]) + cut.close() == out
        assert cut.matched == matched


def test_any_stops_in_any_text() -> None:
    dice = random.Random(7)
    for _ in range(2000):
        stops = ["".join(dice.choices("ab", k=dice.randint(1, 7))) for _ in range(dice.randint(1, 3))]
        text = "".join(dice.choices("abc", k=25))
        cuts = sorted(dice.sample(range(26), 4))
        cut = Stops(stops)
        out = "".join([cut.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, 25], strict=True)]) + cut.close()
        assert (out, cut.matched) == first_stop(stops, text)


def test_text_goes_on_after_what_was_held_back() -> None:
    """A tool call in between: the two texts are two blocks."""
    stops = Stops(["END"])
    assert stops.feed("xEN") + stops.close() + stops.feed("D") + stops.close() == "xEND"
    assert stops.matched is None


def test_a_tag_behind_endless_white_space_is_none() -> None:
    for blank, pieces in ((4096, [(True, "a")]), (4097, [(False, " " * 4097 + "<think>a")])):
        for size in (1, 1000, 5000):
            text = " " * blank + "<think>a"
            tags = ThinkTags()
            found = [p for n in range(0, len(text), size) for p in tags.feed(text[n : n + size])] + tags.close()
            assert [(t, "".join(s for u, s in found if u is t)) for t in {t for t, _ in found}] == pieces


def test_held() -> None:
    assert [held(s, ("</t>",)) for s in ("", "x", "x<", "x</t", "x</t>")] == [0, 0, 1, 3, 0]


@pytest.mark.parametrize("body", [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n', b'{"choices":[]}', b"<html>", b""])
def test_a_decoder_ends_once(body: bytes) -> None:
    decoder = wire("chat").decoder(streams.prepared(), streams.writer())
    decoder.feed(body)
    outcome = decoder.close()
    decoder.feed(body)
    assert decoder.close() is outcome


def test_lost_names_and_unchecked_results_are_bounded() -> None:
    losing = draft([], [])
    for n in range(99):
        losing.lose(f"{n}" * 200)
    assert len(losing.degraded) == 50 and max(map(len, losing.degraded)) == 100
    nest: JSON = {"data": 1}
    for _ in range(99):
        nest = {"x": nest}
    assert block_text({"type": "later_tool_result", "content": nest}).count("x") == 32


@pytest.mark.parametrize(("name", "given"), [("_events", [[]]), ("whole", [b""]), ("_end", [])])
def test_an_intake_means_nothing_by_itself(name: str, given: list[object]) -> None:
    with pytest.raises(NotImplementedError):
        getattr(Intake(streams.prepared()), name)(*given)
