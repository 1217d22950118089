"""Whether a request asks for reasoning: what is reported where the model may not know it."""

from __future__ import annotations

import pytest

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call, Request
from a2py.quirks import Quirks
from a2py.wires.common.draft import Draft
from a2py.wires.openai import thinking

ENABLED = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
EFFORT = {"output_config": {"effort": "high"}}


@pytest.mark.parametrize(
    ("body", "degraded"),
    [
        ({}, ()),
        ({"thinking": {"type": "disabled"}}, ()),
        (ENABLED, ("thinking",)),
        ({**ENABLED, **EFFORT}, ("thinking", "effort")),
        ({**EFFORT, "thinking": {"type": "disabled"}}, ("effort",)),
        ({"output_config": {"format": None}}, ()),
    ],
)
def test_only_what_the_client_asked_for_is_lost_to_a_model_that_may_not_reason(
    body: JSON, degraded: tuple[str, ...]
) -> None:
    quirks = Quirks(reasoning="none", reasoning_unknown=True)
    draft = Draft(Call(Request(body, "m", []), "msg_1", 0.0), Deployment("n", "i", "c", "m", "http://x", quirks=quirks))
    thinking.ask(draft, can_switch_off=False)
    assert draft.degraded == degraded
