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
