"""What of a prompt decides whether a cache holds it."""

from __future__ import annotations

from typing import Any

import orjson

from a2py.messages.fingerprint import Fingerprint, fingerprint_in_slices
from a2py.messages.request import parse
from a2py.slices import ITEMS, at_once

MARK = {"cache_control": {"type": "ephemeral"}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def fingerprint(*messages: Any, **more: Any) -> Fingerprint:
    body = {"model": "m", "max_tokens": 1, "messages": list(messages), **more}
    return at_once(fingerprint_in_slices(parse(orjson.dumps(body))))


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def test_cache_marks_and_the_billing_line_count_for_nothing() -> None:
    billing = [text(f"x-anthropic-billing-header: cc_version={n};") for n in range(2)]
    result = {"type": "tool_result", "tool_use_id": "c", "content": [text("r")]}
    result_with_marks = {**result, "content": [text("r", **MARK)], **MARK}
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]}
    plain = fingerprint(user(text("Hi")), call, user(result), system=[billing[0], text("s")], tools=[TOOL])
    other = fingerprint(
        user(text("Hi", **MARK)),
        call,
        user(result_with_marks),
        system=[billing[1], text("s", **MARK)],
        tools=[{**TOOL, **MARK}],
    )
    assert plain == other and plain.turn == 2


def test_only_the_line_of_the_billing_block_counts_for_nothing() -> None:
    def prompt(line: str, words: str) -> int:
        return fingerprint(user(text("Hi")), system=[text(f"x-anthropic-billing-header: {line};{words}")]).system

    assert (
        prompt("cch=1", "\nBe short.")
        == prompt("cch=2", "\nBe short.")
        == fingerprint(user(text("Hi")), system="Be short.").system
    )
    assert prompt("cch=1", "\nBe short.") != prompt("cch=1", "\nBe long.")
    assert prompt("cch=1", "") == prompt("cch=2", "\n") == fingerprint(user(text("Hi"))).system


def test_a_string_is_a_text_block() -> None:
    assert fingerprint({"role": "user", "content": "Hi"}) == fingerprint(user(text("Hi", **MARK)))


def test_what_counts() -> None:
    base = fingerprint(user(text("Hi")), system="s", tools=[TOOL])
    assert fingerprint(user(text("Hi")), system="t", tools=[TOOL]).system != base.system
    assert fingerprint(user(text("Hi")), system="s", tools=[{**TOOL, "name": "g"}]).tools != base.tools
    assert fingerprint(user(text("Ho")), system="s", tools=[TOOL]).first != base.first
    assert fingerprint(user(text('"cache_control"'))).first != fingerprint(user(text("cache_control"))).first


def test_a_tools_input_may_hold_the_word() -> None:
    def call(value: int) -> dict[str, Any]:
        block = {"type": "tool_use", "id": "c", "name": "f", "input": {"cache_control": value}}
        return {"role": "assistant", "content": [block]}

    assert fingerprint(user(text("Hi")), call(1)) != fingerprint(user(text("Hi")), call(2))


def test_a_longer_history_has_the_shorter_one_as_its_prefix() -> None:
    first = fingerprint(user(text("Hi", **MARK)))
    later = fingerprint(user(text("Hi")), {"role": "assistant", "content": "Hello"}, user(text("More")))
    assert later.prefix(1) == first.prefix(1) and later.prefix(3) != first.prefix(1) and later.first == first.first
    assert Fingerprint(1, 2, ()).first == 0


def test_long_work_is_sliced() -> None:
    work = fingerprint_in_slices(
        parse(orjson.dumps({"model": "m", "max_tokens": 1, "messages": [user(text("x"))] * (3 * ITEMS)}))
    )
    slices = 0
    try:
        while True:
            next(work)
            slices += 1
    except StopIteration as stop:
        assert len(stop.value.messages) == 3 * ITEMS
    assert slices == 3


def test_odd_content_of_a_marked_block() -> None:
    odd = {"type": "odd_block", "content": ["odd", text("r")]}
    assert fingerprint(user(odd)) == fingerprint(user({**odd, "content": ["odd", text("r", **MARK)]}))
