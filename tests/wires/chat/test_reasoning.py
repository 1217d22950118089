"""Reasoning on the chat wire: corners that no golden shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from a2py.deployment import Deployment
from a2py.messages import signatures
from a2py.messages.types import JSON
from a2py.wires.chat.reasoning import DIALECTS
from tests.wires.chat.test_request import body_of, deployment


def test_think_goes_ahead_of_typed_parts() -> None:
    from a2py.wires.chat.reasoning import _put_think

    message: JSON = {"content": [{"type": "text", "text": "x"}]}
    _put_think(message, "t", [])
    assert message["content"] == [{"type": "text", "text": "<think>\nt\n</think>\n\n"}, {"type": "text", "text": "x"}]


def test_every_dialect_is_named_in_the_quirk(request: pytest.FixtureRequest) -> None:
    assert set(DIALECTS) >= {"none", "effort", "openrouter", "thinking_type", "enable_thinking", "template", "think"}


def turn(dep: Deployment, kind: str, origin: str, state: JSON) -> JSON:
    """Return the assistant's turn as the upstream gets it back. `kind`, `origin`, `state`: what its thinking carries."""
    thinking = {"type": "thinking", "thinking": "hm", "signature": signatures.make(kind, origin, state)}
    reply = {"role": "assistant", "content": [thinking, {"type": "text", "text": "Yes?"}]}
    messages = [{"role": "user", "content": "Hi"}, reply, {"role": "user", "content": "Go"}]
    out: JSON = body_of({"messages": messages}, dep)["messages"][1]
    return out


DETAILS = {"d": [{"type": "reasoning.encrypted", "data": "Eq"}]}


def test_thinking_goes_nowhere_where_the_upstream_takes_none_back() -> None:
    dep = deployment(reasoning_history="none", vendor_state=True)
    assert turn(dep, "t", dep.origin, {}) == {"role": "assistant", "content": "Yes?"}
    dep = deployment(reasoning_history="none", vendor_state=False)
    assert turn(dep, "details", dep.origin, DETAILS) == {"role": "assistant", "content": "Yes?"}


def test_signed_details_go_back_though_the_text_does_not() -> None:
    dep = deployment(reasoning_history="none", vendor_state=True)
    assert turn(dep, "details", dep.origin, DETAILS)["reasoning_details"] == DETAILS["d"]
    assert "reasoning_details" not in turn(dep, "details", dep.origin, {"d": [{"type": "reasoning.text", "text": "a"}]})


def test_another_account_gets_the_text_and_not_the_state() -> None:
    dep = replace(deployment(reasoning_history="reasoning_content", vendor_state=True), account="mine")
    fields = {"f": {"reasoning_opaque": "Eq"}}
    own = turn(dep, "fields", dep.origin, fields)
    assert (own["reasoning_content"], own["reasoning_opaque"]) == ("hm", "Eq")
    foreign = turn(dep, "fields", replace(dep, account="theirs").origin, fields)
    assert foreign["reasoning_content"] == "hm" and "reasoning_opaque" not in foreign
