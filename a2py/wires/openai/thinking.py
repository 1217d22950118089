"""When reasoning is asked for on the two OpenAI wires: the client's wish, and the fields that exclude reasoning.

Knows: which fields reasoning excludes, and the word that OpenAI's effort has for a wish. Must not know: in which field the wish goes out.
"""

from __future__ import annotations

from a2py.quirks import Quirks
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import Want, nearest, wanted
from a2py.wires.openai.fields import structured_form


def ask(draft: Draft, can_switch_off: bool, with_tools: bool = True) -> Want:
    """Return the client's wish as it can be met. `tools` must be in the body by now.

    `can_switch_off`: one request can do without reasoning. Then a forced tool or a schema that excludes reasoning wins over it; else the
    force is dropped. `with_tools`: the wire takes reasoning together with tools."""
    q = draft.quirks
    want = wanted(draft.request, draft.dep) if with_tools or not draft.body.get("tools") else Want("off")
    if q.reasoning == "none":
        return want
    if draft.forced and not q.tool_choice_thinking and want.mode != "off":
        if can_switch_off:
            want = Want("off")
        else:
            draft.body["tool_choice"] = "auto"
            draft.lose("tool_choice")
    if not q.structured_thinking and can_switch_off and structured_form(draft) in ("json_schema", "json_object"):
        want = Want("off")
    return want


def effort_word(quirks: Quirks, want: Want) -> str:
    """Return the model's word for the wish; "" if nothing is to be said. A model that can't switch off gets its weakest word."""
    if want.mode == "off":
        return quirks.effort_off or (quirks.efforts[0] if quirks.min_tokens and quirks.efforts else "")
    return nearest(want.effort, quirks.efforts) if want.effort else ""
