"""Tool calls in a chat stream: corners that no golden shows."""

from __future__ import annotations

from a2py.messages.reply import Reply
from a2py.messages.types import Outcome, Usage
from a2py.wires.chat.calls import Calls
from a2py.wires.common.names import CalledNames


def test_a_custom_call_without_text() -> None:
    reply = Reply("msg_1", "m")
    calls = Calls(reply, CalledNames({}, frozenset()))
    calls.add_fragments([{"id": "a", "custom": {"name": "f", "input": None}}])
    calls.close(False)
    assert reply.message(Outcome(), Usage())["content"][0]["input"] == {"input": ""}


def test_a_call_that_is_extended_without_parsing_is_the_one_that_fragments_without_an_index_continue() -> None:
    reply = Reply("msg_1", "m")
    calls = Calls(reply, CalledNames({}, frozenset()))
    calls.add_fragments([{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}])
    calls.add_fragments([{"index": 1, "function": {"name": "g", "arguments": ""}}])
    assert (calls.has_id(0), calls.has_id(1)) == (True, False)
    reply.args(calls.extend(0, 7), '{"x": 1')
    calls.add_fragments([{"function": {"arguments": "}"}}])
    assert calls.chars == 8
    content = reply.message(Outcome(), Usage())["content"]
    assert [(block["name"], block["input"]) for block in content] == [("f", {"x": 1}), ("g", {})]
