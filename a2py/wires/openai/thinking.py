"""Whether a request asks for reasoning on the two OpenAI wires: what the client wants, and which fields exclude it.

Knows: which fields exclude reasoning, and which word of OpenAI's effort to send. Must not know: the field that a wire
sends it in.
"""

from __future__ import annotations

from a2py.quirks import Quirks
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import Want, nearest_effort, read_want
from a2py.wires.openai.fields import pick_format


def ask(draft: Draft, can_switch_off: bool, with_tools: bool = True) -> Want:
    """Return what to ask for: what the client wants, if the other fields permit it. `tools` must be in the body.

    `can_switch_off`: reasoning can be switched off for one request. If so, a forced tool or a schema that excludes
    reasoning wins over it; if not, the tool is no longer forced. `with_tools`: the wire accepts reasoning together with
    tools."""
    q = draft.quirks
    want = read_want(draft.request, draft.dep) if with_tools or not draft.body.get("tools") else Want("off")
    if q.reasoning == "none":
        if q.reasoning_unknown:
            _report_loss(draft, want)
        return want
    if draft.forces_tool and not q.tool_choice_thinking and want.mode != "off":
        if can_switch_off:
            want = Want("off")
        else:
            draft.body["tool_choice"] = "auto"
            draft.lose("tool_choice")
    if not q.structured_thinking and can_switch_off and pick_format(draft) in ("json_schema", "json_object"):
        want = Want("off")
    return want


def _report_loss(draft: Draft, want: Want) -> None:
    """Report that thinking and effort are not sent to a model that may not know them."""
    if want.mode in ("on", "default"):
        draft.lose("thinking")
    settings = draft.request.body.get("output_config")
    if isinstance(settings, dict) and settings.get("effort"):
        draft.lose("effort")


def pick_effort_word(quirks: Quirks, want: Want) -> str:
    """Return the effort word to send; "" to send none. If reasoning is unwanted but cannot be switched off, it is the
    weakest word."""
    if want.mode == "off":
        return quirks.effort_off or (quirks.efforts[0] if quirks.min_tokens and quirks.efforts else "")
    return nearest_effort(want.effort, quirks.efforts) if want.effort else ""
