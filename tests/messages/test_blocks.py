"""The order of blocks: keyed verbs in, one block after the other out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from a2py.errors import ApiError
from a2py.messages import blocks, sequence, signatures
from a2py.messages.blocks import Blocks
from a2py.messages.items import Item
from a2py.messages.output import Output
from a2py.messages.types import JSON, Outcome


class Notes(Output):
    """What is written, in short: `+text`, `'…` for deltas, `sign`, `cite`, `-`."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []
        self.signatures: list[str] = []

    def start(self, index: int, item: Item) -> None:
        assert index == sum(line[0] == "+" for line in self.log)
        words = [
            item.kind,
            *([item.id, item.name] if item.kind == "tool" else []),
            *([str(item.block)] if item.block else []),
        ]
        self.log.append("+" + " ".join(words))

    def add_text(self, text: str) -> None:
        self._add(text)

    def add_json(self, raw: bytes) -> None:
        self._add(f"json:{raw.decode()}")

    def _add(self, s: str) -> None:
        if self.log[-1][0] == "'":
            self.log[-1] += s
        else:
            self.log.append("'" + s)

    def sign(self, signature: str) -> None:
        self.signatures.append(signature)
        self.log.append("sign")

    def cite(self, citation: JSON) -> None:
        self.log.append(f"cite {citation}")

    def stop(self) -> None:
        self.log.append("-")

    def pass_event(self, type: str, event: JSON, data: bytes) -> None:
        self.log.append(f"{type} {event['index']}")


class Log(Blocks):
    """Blocks that are written as notes."""

    def __init__(self, **options: Any) -> None:
        self.notes = Notes()
        super().__init__(self.notes, **options)

    @property
    def log(self) -> list[str]:
        return self.notes.log

    @property
    def signatures(self) -> list[str]:
        return self.notes.signatures


Verbs = Callable[[Log], object]


def run(*verbs: Verbs, reason: str = "end_turn", **options: Any) -> list[str]:
    log = Log(**options)
    for verb in verbs:
        verb(log)
    final = log.finish(Outcome(reason=reason))
    return [*log.log, final]


def text(s: str, key: Any = "t") -> Verbs:
    return lambda log: log.text(key, s)


def think(s: str, key: Any = "r") -> Verbs:
    return lambda log: log.thinking(key, s)


def tool(key: Any, id: str = "", name: str = "") -> Verbs:
    return lambda log: log.tool(key, id, name)


def args(key: Any, s: str) -> Verbs:
    return lambda log: log.args(key, s)


def complete(key: Any) -> Verbs:
    return lambda log: log.complete(key)


def now(expected: list[str]) -> Verbs:
    """Checks what has been given out by then."""

    def check(log: Log) -> None:
        assert log.log == expected

    return check


# -- text and thinking -------------------------------------------------------------------------------------------------


def test_text() -> None:
    assert run(text("Hel"), now(["+text", "'Hel"]), text("lo"), text("")) == ["+text", "'Hello", "-", "end_turn"]


def test_text_json_is_passed_escaped() -> None:
    assert run(lambda log: log.text_json("t", b"a\\n"), lambda log: log.text_json("t", b"b")) == [
        "+text",
        "'json:a\\njson:b",
        "-",
        "end_turn",
    ]


def test_an_empty_reply_has_one_empty_text_block() -> None:
    empty: list[Verbs] = [
        text(""),
        think(""),
        args(0, ""),
        lambda log: log.text_json("t", b""),
        lambda log: log.thinking_json("r", b""),
    ]
    assert run(*empty, lambda log: log.args_json(0, b"")) == ["+text", "-", "end_turn"]


def test_thinking_before_text_is_signed_before_it_stops() -> None:
    assert run(think("hm"), lambda log: log.thinking_json("r", b"m"), text("Hi")) == [
        "+thinking",
        "'hmjson:m",
        "sign",
        "-",
        "+text",
        "'Hi",
        "-",
        "end_turn",
    ]


def test_thinking_between_two_pieces_of_a_text_does_not_tear_it() -> None:
    """It is kept before a call. Behind the text of a turn without calls it would be the result of `claude -p`."""
    pieces: list[Verbs] = [think("a"), text("b"), think("c"), text("d"), think("e")]
    thinking_log = ["+thinking", "'a", "sign", "-"]
    assert run(*pieces) == [*thinking_log, "+text", "'bd", "-", "end_turn"]
    assert run(*pieces, tool(0, "c", "f"), args(0, '{"a":1}')) == [
        *thinking_log,
        "+text",
        "'bd",
        "-",
        "+thinking",
        "'ce",
        "sign",
        "-",
        "+tool c f",
        '\'{"a":1}',
        "-",
        "tool_use",
    ]


def test_each_vendor_state_between_pieces_of_a_text_is_kept() -> None:
    def state(n: int) -> Verbs:
        return lambda log: log.signature("r", "details", {"d": [n]})

    lines = run(text("a"), state(1), text("b"), state(2), text("c"), tool(0, "c", "f"), args(0, '{"a":1}'))
    assert lines == [
        "+text",
        "'abc",
        "-",
        "+thinking",
        "sign",
        "-",
        "+thinking",
        "sign",
        "-",
        "+tool c f",
        '\'{"a":1}',
        "-",
        "tool_use",
    ]


def test_done_ends_a_run_and_the_next_text_opens_a_new_block() -> None:
    assert run(
        text("a"), complete("other"), text("b"), complete("t"), now(["+text", "'ab", "-"]), complete("t"), text("c")
    ) == [
        "+text",
        "'ab",
        "-",
        "+text",
        "'c",
        "-",
        "end_turn",
    ]


def test_no_thinking_where_it_is_not_wanted() -> None:
    verbs: list[Verbs] = [
        think("hm"),
        lambda log: log.thinking_json("r", b"m"),
        lambda log: log.signature("r", "details", {"d": []}),
    ]
    assert run(*verbs, text("Hi"), thinking="none") == ["+text", "'Hi", "-", "end_turn"]


def test_omitted_thinking_travels_in_the_signature() -> None:
    log = Log(thinking="omit", origin="chat:x:y")
    log.thinking("r", "secret ")
    log.thinking_json("r", b"\\u20ac")
    log.signature("r", "details", {"d": [1]})
    log.text("t", "Hi")
    log.thinking("r", "again")
    log.text("later", "Ho")
    log.finish(Outcome())
    assert [line for line in log.log if line[0] == "'"] == ["'Hi", "'Ho"]
    assert [signatures.read(signature) for signature in log.signatures] == [
        signatures.VendorState("details", "chat:x:y", {"d": [1], "text": "secret \u20ac"}),
        signatures.VendorState("t", "chat:x:y", {"text": "again"}),
    ]


def test_a_signature_without_text_opens_an_empty_block() -> None:
    log = Log(origin="o")
    log.signature("s", "gemini", {"s": "x"})
    log.signature("s", "gemini", {"s": "y"})
    log.tool(0, "c", "f")
    log.args(0, '{"a":1}')
    log.finish(Outcome())
    assert log.log == ["+thinking", "sign", "-", "+tool c f", '\'{"a":1}', "-"]
    assert signatures.read(log.signatures[0]) == signatures.VendorState("gemini", "o", {"s": "y"})


def test_a_signature_behind_an_open_call_waits_its_turn() -> None:
    log = Log()
    log.tool(0, "c", "f")
    log.args(0, '{"a"')
    log.signature("s", "gemini", {"s": "x"})
    log.tool(1, "d", "g")
    log.args(1, '{"b":2}')
    log.args(0, ":1}")
    log.finish(Outcome())
    assert log.log == ["+tool c f", '\'{"a":1}', "-", "+thinking", "sign", "-", "+tool d g", '\'{"b":2}', "-"]


# -- tool calls --------------------------------------------------------------------------------------------------------


def test_a_call_streams_from_its_first_brace() -> None:
    assert run(
        tool(0, "c", "f"),
        now([]),
        args(0, '{"a": '),
        now(["+tool c f", '\'{"a": ']),
        tool(0, "", ""),
        tool(0, "late", "late"),
        args(0, "1}"),
        lambda log: log.args_json(0, b" "),
    ) == ["+tool c f", '\'{"a": 1}json: ', "-", "tool_use"]


@pytest.mark.parametrize("nothing", ["", "{}", " {} ", "null", "[]", '""', "  "])
def test_no_arguments_are_an_empty_object(nothing: str) -> None:
    assert run(tool(0, "c", "f"), args(0, nothing), now([])) == ["+tool c f", "'{}", "-", "tool_use"]


@pytest.mark.parametrize("placeholder", ["{}", "null", '""', " {}\n"])
def test_a_placeholder_before_the_object(placeholder: str) -> None:
    assert run(tool(0, "c", "f"), args(0, placeholder), now([]), args(0, '{"a": "b '), args(0, 'c"}')) == [
        "+tool c f",
        '\'{"a": "b c"}',
        "-",
        "tool_use",
    ]


def test_interleaved_placeholders_do_not_run_a_call_without_its_arguments() -> None:
    assert run(
        tool(0, "c", "f"), args(0, "{}"), tool(1, "d", "g"), args(1, "{}"), args(1, '{"b":2}'), args(0, '{"a":1}')
    ) == [
        "+tool c f",
        '\'{"a":1}',
        "-",
        "+tool d g",
        '\'{"b":2}',
        "-",
        "tool_use",
    ]


def test_garbage_is_passed_as_it_came() -> None:
    assert run(tool(0, "c", "f"), args(0, "no"), args(0, " json")) == ["+tool c f", "'no json", "-", "tool_use"]
    assert run(tool(0, "c", "f"), args(0, "{}x")) == ["+tool c f", "'{}x", "-", "tool_use"]


def test_garbage_in_many_fragments_is_looked_at_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Item] = []
    real = Item.join_parts

    def record_join(item: Item) -> str:
        looks.append(item)
        return real(item)

    monkeypatch.setattr(Item, "join_parts", record_join)
    log = Log()
    log.tool(0, "c", "f")
    for _ in range(1000):
        log.args(0, " ")
    log.args(0, '{"a":1}')
    assert len(looks) <= sequence.TRIES
    log.finish(Outcome())
    assert log.log == ["+tool c f", "'" + " " * 1000 + '{"a":1}', "-"]


def test_late_name() -> None:
    assert run(
        tool(0, "c"),
        args(0, '{"a"'),
        now([]),
        tool(0, "", "f"),
        now(["+tool c f", '\'{"a"']),
        args(0, ":1}"),
        tool(0, "", "g"),
    ) == ["+tool c f", '\'{"a":1}', "-", "tool_use"]


def test_a_name_that_comes_after_everything() -> None:
    both = ["+tool a2py_1_ f", '\'{"a":1}', "-", "+tool d g", '\'{"b":2}']
    late: list[Verbs] = [
        args(0, '{"a":1}'),
        complete(0),
        tool(1, "d", "g"),
        args(1, '{"b":2}'),
        now([]),
        tool(0, "", "f"),
        now(both),
    ]
    assert run(*late) == [*both, "-", "tool_use"]


def test_a_name_for_a_call_that_is_done_and_alone() -> None:
    assert run(args(0, '{"a":1}'), complete(0), tool(0, "c", "f"), now(["+tool c f", '\'{"a":1}', "-"])) == [
        "+tool c f",
        '\'{"a":1}',
        "-",
        "tool_use",
    ]


def test_a_call_that_never_gets_a_name_is_left_out_and_noted() -> None:
    log = Log()
    log.args(0, '{"a":1}')
    log.tool(1, "d", "g")
    outcome = Outcome(reason="tool_use")
    assert log.finish(outcome) == "tool_use"
    assert log.log == ["+tool d g", "'{}", "-"]
    assert outcome.notes == ["a tool call was left out: it has no name"]


def test_ids_are_made_legal_and_unique() -> None:
    lines = run(
        tool(0, "call_0", "f"), tool(1, "call_0", "f"), tool(2, "functions.f:0", "f"), history_ids=frozenset({"call_0"})
    )
    assert [line for line in lines if line[0] == "+"] == [
        "+tool a2py_2_Y2FsbF8w f",
        "+tool a2py_3_Y2FsbF8w f",
        "+tool a2py_4_ZnVuY3Rpb25zLmY6MA f",
    ]


def test_interleaved_calls_are_held_and_go_by_their_index() -> None:
    assert run(
        tool(5, "e", "five"),
        args(5, '{"n":'),
        tool(9, "i", "nine"),
        args(9, '{"n":9}'),
        tool(7, "g", "seven"),
        args(7, '{"n"'),
        now(["+tool e five", '\'{"n":']),
        args(5, "5}"),
        now(["+tool e five", '\'{"n":5}', "-", "+tool g seven", '\'{"n"']),
        args(7, ":7}"),
    ) == [
        "+tool e five",
        '\'{"n":5}',
        "-",
        "+tool g seven",
        '\'{"n":7}',
        "-",
        "+tool i nine",
        '\'{"n":9}',
        "-",
        "tool_use",
    ]


def test_only_neighbouring_calls_change_places_and_only_by_numbers() -> None:
    lines = run(
        tool(0, "a", "x"), tool(3, "b", "x"), tool("s", "c", "x"), text("between"), tool(1, "d", "x"), text("end", "u")
    )
    assert [line for line in lines if line[0] == "+"] == [
        "+tool a x",
        "+tool b x",
        "+tool c x",
        "+text",
        "+tool d x",
        "+text",
    ]


def test_held_calls_with_text_keys_keep_their_order() -> None:
    lines = run(tool("fc_9", "a", "x"), args("fc_9", "{"), tool("fc_5", "b", "x"), tool("fc_1", "c", "x"))
    assert [line for line in lines if line[0] == "+"] == ["+tool a x", "+tool b x", "+tool c x"]


def test_text_behind_an_incomplete_call_waits() -> None:
    assert run(
        tool(0, "c", "f"),
        args(0, '{"a": "}'),
        text("af"),
        text("ter"),
        think("hm"),
        lambda log: log.text_json("t", b"more"),
        now(["+tool c f", '\'{"a": "}']),
        args(0, '\\""}'),
    ) == [
        "+tool c f",
        '\'{"a": "}\\""}',
        "-",
        "+text",
        "'afterjson:more",
        "-",
        "+thinking",
        "'hm",
        "sign",
        "-",
        "tool_use",
    ]


def test_text_between_two_incomplete_calls() -> None:
    assert run(
        tool(1, "c", "f"),
        args(1, '{"a"'),
        text("x"),
        tool(0, "d", "g"),
        args(0, '{"b"'),
        text("y"),
        args(1, ":1}"),
        args(0, ":2}"),
    ) == [
        "+tool c f",
        '\'{"a":1}',
        "-",
        "+text",
        "'x",
        "-",
        "+tool d g",
        '\'{"b":2}',
        "-",
        "+text",
        "'y",
        "-",
        "tool_use",
    ]


def test_a_complete_call_ends_when_the_next_item_comes() -> None:
    assert run(
        tool(0, "c", "f"),
        args(0, '{"a":1}'),
        now(["+tool c f", '\'{"a":1}']),
        text("x"),
        args(0, "late"),
        tool(0, "x", "y"),
    ) == [
        "+tool c f",
        '\'{"a":1}',
        "-",
        "+text",
        "'x",
        "-",
        "tool_use",
    ]


def test_done() -> None:
    assert run(
        tool(0, "c", "f"),
        complete(0),
        now(["+tool c f", "'{}", "-"]),
        args(0, '{"late":1}'),
        complete(0),
        tool(1, "d", "g"),
        complete(1),
    ) == [
        "+tool c f",
        "'{}",
        "-",
        "+tool d g",
        "'{}",
        "-",
        "tool_use",
    ]


def test_done_of_held_calls() -> None:
    """All that is complete goes out together."""
    both = ["+tool c f", '\'{"a":1}', "-", "+tool d g", "'{}", "-", "+tool e h", '\'{"b"']
    assert run(
        tool(0, "c", "f"),
        args(0, '{"a"'),
        tool(1, "d", "g"),
        complete(1),
        tool(2, "e", "h"),
        args(2, '{"b"'),
        args(0, ":1}"),
        complete(0),
        now(both),
    ) == [*both, "-", "max_tokens"]


def test_vendor_state_behind_the_text() -> None:
    """It is kept before a call, and if the turn has nothing else. The last block of a turn without calls is its
    text."""
    state: Verbs = lambda log: log.signature("r", "details", {"d": [1]})  # noqa: E731
    assert run(text("a"), state) == ["+text", "'a", "-", "end_turn"]
    assert run(state, state) == ["+thinking", "sign", "-", "end_turn"]
    assert run(text("a"), state, text("b")) == ["+text", "'ab", "-", "end_turn"]
    assert run(text("a"), state, tool(0, "c", "f"), args(0, "{}"))[3:7] == ["+thinking", "sign", "-", "+tool c f"]
    assert run(tool(0, "c", "f"), args(0, '{"a":1}'), state)[-5:] == ["-", "+thinking", "sign", "-", "tool_use"]
    assert run(text("a"), think("b"), state) == ["+text", "'a", "-", "end_turn"]


def test_done_of_a_broken_call_leaves_it_broken() -> None:
    assert run(tool(0, "c", "f"), args(0, '{"a": '), complete(0), text("x"))[:3] == ["+tool c f", '\'{"a": ', "-"]


def test_a_call_that_comes_twice_is_one() -> None:
    call: list[Verbs] = [tool(0, "c", "f"), args(0, '{"a":1}'), complete(0)]
    assert len([line for line in run(*call, *call) if line == "-"]) == 1


def test_a_very_long_call_does_not_keep_its_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (blocks, sequence):
        monkeypatch.setattr(module, "SCAN_SIZE", 100)
    log = Log()
    log.tool(0, "c", "f")
    log.args(0, '{"a": "')
    for _ in range(100):
        log.args(0, '{}\\"')
        log.args_json(0, b"x")
        assert log._current is not None
        assert sum(map(len, log._current.parts)) <= 112
    log.text("t", "held")
    log.args(0, '"')
    assert log.count == 1
    log.args(0, "}")
    assert log.count == 2
    assert log.finish(Outcome()) == "tool_use"


# -- whole blocks and citations ----------------------------------------------------------------------------------------


def test_server_tools_are_whole_blocks_in_their_place() -> None:
    use = "{'type': 'server_tool_use', 'id': 'srv', 'name': 'web_search', 'input': {}}"
    result = "{'type': 'web_search_tool_result', 'tool_use_id': 'srv', 'content': []}"
    search: list[Verbs] = [
        lambda log: log.server_tool("s", "srv", "web_search", {"query": "x"}),
        lambda log: log.server_result("s2", "web_search_tool_result", "srv", []),
    ]
    whole = [f"+whole {use}", '\'{"query":"x"}', "-", f"+whole {result}", "-"]
    assert run(*search) == [*whole, "end_turn"]
    assert run(text("a"), *search, text("b")) == ["+text", "'a", "-", *whole, "+text", "'b", "-", "end_turn"]
    assert run(tool(0, "c", "f"), args(0, '{"a"'), *search, args(0, ":1}"), text("b")) == [
        "+tool c f",
        '\'{"a":1}',
        "-",
        *whole,
        "+text",
        "'b",
        "-",
        "tool_use",
    ]


def test_citations_belong_to_the_open_text() -> None:
    def cite(key: str) -> Verbs:
        return lambda log: log.citation(key, {"n": key})

    assert run(cite("t"), think("x"), cite("r"), text("a"), cite("t"), cite("u"), tool(0, "c", "f"), cite("t")) == [
        "+thinking",
        "'x",
        "sign",
        "-",
        "+text",
        "'a",
        "cite {'n': 't'}",
        "-",
        "+tool c f",
        "'{}",
        "-",
        "tool_use",
    ]


def test_citations_of_waiting_text_wait_with_it() -> None:
    def cite(key: str, n: int) -> Verbs:
        return lambda log: log.citation(key, {"n": n})

    assert run(
        tool(0, "c", "f"),
        args(0, '{"a"'),
        text("x", "a"),
        text("y", "b"),
        cite("a", 1),
        cite("b", 2),
        cite("a", 3),
        cite("z", 4),
        args(0, ":1}"),
    )[3:] == ["+text", "'x", "cite {'n': 1}", "cite {'n': 3}", "-", "+text", "'y", "cite {'n': 2}", "-", "tool_use"]


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "without", "with_call"),
    [
        ("end_turn", "end_turn", "tool_use"),
        ("tool_use", "end_turn", "tool_use"),
        ("stop_sequence", "stop_sequence", "tool_use"),
        ("max_tokens", "max_tokens", "max_tokens"),
        ("refusal", "refusal", "refusal"),
        ("pause_turn", "pause_turn", "pause_turn"),
        ("model_context_window_exceeded", "model_context_window_exceeded", "model_context_window_exceeded"),
    ],
)
def test_tool_use_if_and_only_if_a_call_was_given_out(reason: str, without: str, with_call: str) -> None:
    assert run(text("x"), reason=reason)[-1] == without
    assert run(tool(0, "c", "f"), args(0, '{"a":1}'), reason=reason)[-1] == with_call


def test_what_max_tokens_cut_is_never_completed() -> None:
    assert run(text("x"), tool(0, "c", "f"), reason="max_tokens") == ["+text", "'x", "-", "max_tokens"]
    assert run(text("x"), tool(0, "c", "f"), args(0, "{}"), reason="max_tokens") == ["+text", "'x", "-", "max_tokens"]
    assert run(tool(0, "c", "f"), args(0, '{"a": '), reason="max_tokens") == [
        "+tool c f",
        '\'{"a": ',
        "-",
        "max_tokens",
    ]
    assert run(tool(0, "c", "f"), args(0, "{}"), complete(0), reason="max_tokens") == [
        "+tool c f",
        "'{}",
        "-",
        "max_tokens",
    ]
    assert run(
        tool(0, "c", "f"),
        args(0, '{"a"'),
        tool(1, "d", "g"),
        tool(2, "e", "h"),
        args(2, '{"b"'),
        complete(1),
        args(0, ":1}"),
        reason="max_tokens",
    ) == ["+tool c f", '\'{"a":1}', "-", "+tool d g", "'{}", "-", "+tool e h", '\'{"b"', "-", "max_tokens"]


@pytest.mark.parametrize("reason", sorted(blocks.CUT))
def test_a_cut_call_is_noted(reason: str) -> None:
    log = Log()
    log.tool(0, "c", "f")
    outcome = Outcome(reason=reason)
    log.finish(outcome)
    assert outcome.notes == ["a tool call was left out: f"]
    assert log.log == ["+text", "-"]


# -- bounds ------------------------------------------------------------------------------------------------------------


def flood(log: Log, n: int) -> None:
    for i in range(n):
        log.args(1, "xxxx")
        log.text(f"t{i % 2}", "yyyy")
        log.tool(2 + i, f"c{i}", "h")
        log.thinking(f"r{i}", "zzzz")
        log.signature(f"s{i}", "gemini", {"s": "x" * 100})
        log.server_result(f"w{i}", "x_tool_result", "id", ["y" * 100])


def count_held_chars(log: Log) -> int:
    """Characters that are really kept."""
    items = {
        id(item): item for item in [*log._queue.items, *log._calls.values(), *([log._current] if log._current else [])]
    }
    return sum(len(part) for item in items.values() for part in item.parts)


@pytest.mark.parametrize("live", ['{"a": "', ""])
def test_what_waits_is_bounded_and_nothing_with_a_gap_is_given_out(monkeypatch: pytest.MonkeyPatch, live: str) -> None:
    monkeypatch.setattr(sequence, "HELD_LIMIT", 200_000)
    log = Log()
    log.tool(0, "c", "f")
    log.args(0, live)
    log.tool(1, "d", "g")
    log.args(1, '{"b": "')
    flood(log, 200)
    assert isinstance(log.problem, ApiError)
    assert log.problem.kind == "upstream"
    problem, before = log.problem, list(log.log)
    assert len(log._queue.items) == 0
    flood(log, 200)
    log.args(0, '"}')
    log.args(1, '"}')
    log.tool(1, "", "")
    log.tool(99_999, "z", "new")
    log.complete(1)
    log.complete(99_999)
    log.complete("t0")
    log.text("new", "text")
    log.server_tool("w", "srv", "web_search", {})
    assert log.problem is problem
    assert before == (["+tool c f", '\'{"a": "'] if live else [])
    assert log.log == (["+tool c f", '\'{"a": ""}'] if live else [])
    assert count_held_chars(log) < 250_000
    log.complete(0)
    assert log.log.count("-") == bool(live), "the live call was whole"


@pytest.mark.parametrize(
    "verb",
    [
        lambda log, n: log.args(1, "x" * 100),
        lambda log, n: log.args(1, "x"),
        lambda log, n: log.tool(n, "", ""),
        lambda log, n: log.text(f"t{n}", "x"),
        lambda log, n: log.text("t", "x"),
        lambda log, n: log.signature("s", "details", {"d": "x" * 1000}),
        lambda log, n: log.server_result(n, "x", "y", "z" * 1000),
    ],
    ids=["long parts", "short parts", "many calls", "many runs", "short text", "states", "whole blocks"],
)
def test_everything_that_can_wait_counts(monkeypatch: pytest.MonkeyPatch, verb: Callable[[Log, int], None]) -> None:
    monkeypatch.setattr(sequence, "HELD_LIMIT", 100_000)
    log = Log()
    log.tool(0, "c", "f")
    log.args(0, '{"a": "')
    n = 1
    while log.problem is None and n < 10_000:
        verb(log, n)
        n += 1
    assert log.problem is not None


def test_arguments_before_their_name_and_hidden_thinking_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_LIMIT", 10_000)
    nameless = Log()
    for _ in range(1000):
        nameless.args(0, '{"a')
    assert nameless.problem is not None
    nameless.tool(0, "c", "f")
    assert nameless.log == []
    quiet_log = Log(thinking="omit")
    for _ in range(1000):
        quiet_log.thinking("r", "x")
    assert quiet_log.problem is not None


def test_what_was_given_out_no_longer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_LIMIT", 50_000)
    log = Log(thinking="omit")
    for n in range(100):
        log.thinking("r", "x" * 1000)
        log.tool(2 * n, f"c{n}", "f")
        log.args(2 * n, '{"a": "' + "y" * 1000)
        log.tool(2 * n + 1, f"d{n}", "f")
        log.args(2 * n + 1, '{"b": "' + "y" * 1000 + '"}')
        log.args(2 * n, '"}')
        log.text("t", "z")
    assert log.problem is None
    assert log._queue.size == 0


def test_one_huge_fragment_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "HELD_LIMIT", 1000)
    log = Log()
    log.tool(0, "c", "f")
    log.args(0, '{"a": "' + "x" * 100_000 + '"}')
    assert log.problem is None
    assert log.count == 1


def test_the_first_name_counts_an_empty_one_is_none_and_nothing_follows_what_is_done() -> None:
    verbs = [
        tool(0, "a", "f"),
        tool(0, "b", "g"),
        tool(0, "", ""),
        args(0, '{"x":1}'),
        lambda log: log.args_json(0, b""),
    ]
    after: list[Verbs] = [
        lambda log: log.complete(0),
        args(0, "late"),
        lambda log: log.args_json(0, b"late"),
        tool(0, "c", "h"),
    ]
    assert run(*verbs, *after) == ["+tool a f", '\'{"x":1}', "-", "tool_use"]


def test_what_waited_behind_a_call_is_what_it_would_have_been_without() -> None:
    behind = [tool(0, "a", "f"), args(0, '{"x":')]
    call = ["+tool a f", '\'{"x":1}', "-"]
    assert run(*behind, think("secret"), args(0, "1}"), thinking="omit") == [
        *call,
        "+thinking",
        "sign",
        "-",
        "tool_use",
    ]
    assert run(*behind, text('{"half'), args(0, "1}")) == [*call, "+text", "'{\"half", "-", "tool_use"]
    late = [args(1, '{"y":2}'), args(0, "1}"), tool(1, "b", "g")]
    assert run(*behind, *late) == [*call, "+tool b g", '\'{"y":2}', "-", "tool_use"]


# -- whole events ------------------------------------------------------------------------------------------------------


def test_the_end_of_an_older_block_does_not_end_the_newest() -> None:
    """An upstream that speaks Anthropic interleaves two blocks. A keep-alive still knows the block that is open."""
    log = Log()
    log.raw("message_start", {"message": {}}, b"")
    for index in (0, 1):
        log.raw("content_block_start", {"index": index, "content_block": {"type": "text", "text": ""}}, b"")
    newest = log._current
    log.raw("content_block_stop", {"index": 0}, b"")
    assert newest is not None and log._current is newest
    log.raw("content_block_stop", {"index": 1}, b"")
    assert log._current is None
    assert log.log == ["content_block_start 0", "content_block_start 1", "content_block_stop 0", "content_block_stop 1"]
