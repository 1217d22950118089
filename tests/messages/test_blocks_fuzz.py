"""Any verbs in any order, where very little is kept: nothing raises, in neither sink."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2py.errors import ApiError
from a2py.messages.reply import Reply
from a2py.messages.types import Outcome, Usage
from a2py.messages.writer import Writer


def new(**options: Any) -> Reply:
    return Reply("msg_1", "claude-x", **options)


VERBS = st.lists(
    st.tuples(
        st.sampled_from(
            ["text", "thinking", "signature", "tool", "args", "complete", "server_tool", "server_result", "citation"]
        ),
        st.integers(0, 5),
        st.sampled_from(["", "x", "{}", '{"a":1}', "x" * 300]),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(VERBS, st.sampled_from(["show", "omit", "none"]), st.booleans())
def test_no_verb_raises_however_little_is_kept(
    verbs: list[tuple[str, int, str]], thinking: str, is_streamed: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for limit, value in (
            ("sequence.HELD_LIMIT", 3000),
            ("sequence.ITEM_COST", 500),
            ("blocks.CALLS_LIMIT", 3),
            ("reply.REPLY_LIMIT", 4000),
        ):
            patch.setattr(f"a2py.messages.{limit}", value)
        sink: Any = Writer("msg_1", "m", Usage(), thinking=thinking) if is_streamed else new(thinking=thinking)
        for verb, key, s in verbs:
            arguments: dict[str, tuple[Any, ...]] = {
                "signature": ("gemini", {"s": s}),
                "tool": (s, s),
                "complete": (),
                "server_tool": ("i", "n", {"q": s}),
                "server_result": ("r", "i", [s]),
                "citation": ({"x": s},),
            }
            getattr(sink, verb)(f"{verb[:4]} {key}" if verb != "args" else f"tool {key}", *arguments.get(verb, (s,)))
        if is_streamed:
            sink.close(Outcome("tool_use"))
            assert sink.take().count(b"event: error\n") == (sink.problem is not None)
            return
        try:
            assert sink.message(Outcome("tool_use"), Usage())["content"]
        except ApiError as error:
            assert error is sink.problem
