"""What an upstream's refusal teaches: the quirk changes that make the request go through when it is asked once more.

Knows: which quirk stands behind a request field that an error names (`ApiError.field`, `limit`). Must not know: wordings (refusal/),
how long a lesson is kept (proxy/lessons.py).
Invariants: images, tools and messages are never taken away; a change that the quirks hold already is never given again, so a lesson that
did not help is not tried twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from a2py.errors import ApiError
from a2py.providers.models import ROOM
from a2py.quirks import EFFORTS, Quirks
from a2py.wires.failure import PASSING

Changes = dict[str, Any]
Candidates = Callable[[ApiError, Quirks, str], Iterator[Changes]]

#: Where an empty string is refused (Claude Code says the same to an empty turn).
EMPTY = "(no content)"
#: An assistant turn between a tool's result and the user, where that order is refused.
AFTER_TOOL = "(continued)"


class Row(NamedTuple):
    """`field`: of the error; `sent`: fields of `Prepared.added`, one of which must have gone out ("": no matter); `changes`: best first."""

    field: re.Pattern[str]
    sent: str
    changes: Candidates


def _fixed(*candidates: Changes) -> Candidates:
    return lambda error, quirks, name: iter(candidates)


def _sampling(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"sampling": quirks.sampling - {name}}


def _structured(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """json_schema → json_object with the schema in the prompt → the prompt alone."""
    yield {"structured": "json_object" if quirks.structured == "json_schema" else "none"}


def _limit(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """A limit that the upstream named, or the other name of the field."""
    if error.limit > 0:
        if not quirks.max_tokens_limit or error.limit < quirks.max_tokens_limit:
            yield {"max_tokens_limit": error.limit}
    elif error.kind == "unsupported" and name == quirks.max_tokens_field:
        yield {"max_tokens_field": _OTHER[name]}


_OTHER = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


def _efforts(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """The effort words that the upstream listed; reasoning goes unasked where it has none of ours."""
    told = error.field.partition("=")[2].split(",")
    words = tuple(word for word in EFFORTS if word in told)
    graded = tuple(word for word in words if word != "none")
    if graded:
        changes: Changes = {"efforts": graded}
        if quirks.effort_off and quirks.effort_off not in words:
            changes["effort_off"] = words[0]
        yield changes
    yield {"reasoning": "none"}


def _with_tools(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"reasoning_with_tools": False, "effort_off": quirks.effort_off or "none"}


def _choice(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """The object form → the named tool alone, and `required` → no force at all."""
    if quirks.tool_choice_named == "object":
        yield {"tool_choice_named": "only"}
    yield {"tool_choice_named": "none", "tool_choice_any": ""}


def _stops(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"stop_limit": error.limit if 0 < error.limit < quirks.stop_limit else 0}


def _temperature(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    if error.limit < quirks.temperature_max:
        yield {"temperature_max": float(error.limit)}


def _history(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"reasoning_history": "none", "reasoning_required": False}
    yield {"vendor_state": False}


def _role(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """A role was refused without saying which: the unusual ones go first."""
    yield {"system_role": "system"}
    yield {"mid_system": "user"}
    yield {"system_as_user": True}


def _id_limit(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"tool_id_limit": error.limit}


def _native(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """A field of Anthropic's own that a native upstream refuses."""
    yield {"native_drop": quirks.native_drop | {name}}


def _row(field: str, sent: str, changes: Candidates) -> Row:
    return Row(re.compile(field), sent, changes)


#: The first row that matches the error's field counts; its groups, where it has some, are the name that `changes` gets, joined by dots.
LESSONS: tuple[Row, ...] = (
    _row(r"stream_options(?:\..*)?|include_usage", "stream_options", _fixed({"stream_usage": False})),
    _row(r"reasoning_effort=.*", "reasoning", _efforts),
    _row(r"reasoning\.tools", "reasoning", _with_tools),
    _row(r"reasoning\.off", "reasoning thinking", _fixed({"effort_off": "", "min_tokens": ROOM}, {"reasoning": "none"})),
    _row(r"reasoning\.summary", "reasoning", _fixed({"reasoning_summary": False})),
    _row(r"include(?:\.\d+)?", "", _fixed({"encrypted_reasoning": False})),
    _row(r"max_tool_calls", "", _fixed({"max_tool_calls": False})),
    _row(
        r"reasoning(?:_effort|_split|\.\w+)?|thinking(?:_budget|\.type|\.budget_tokens)?|enable_thinking|chat_template_kwargs(?:\..*)?|think",
        "reasoning",
        _fixed({"reasoning": "none"}),
    ),
    _row(r"parallel_tool_calls", "parallel_tool_calls", _fixed({"parallel_tool_calls": False})),
    _row(r"response_format\.tools", "response_format", _fixed({"structured_with_tools": False})),
    _row(r"response_format\.thinking", "response_format", _fixed({"structured_thinking": False}, {"structured": "none"})),
    _row(r"response_format(?:\..*)?|text\.format(?:\..*)?", "response_format", _structured),
    _row(r"(max_tokens|max_completion_tokens)|room|credit|max_output_tokens", "max_tokens", _limit),
    _row(r"temperature\.max", "temperature", _temperature),
    _row(r"(temperature|top_p|top_k)", "", _sampling),
    _row(r"stop", "stop", _stops),
    _row(r"service_tier", "service_tier", _fixed({"service_tier": False})),
    _row(r"prompt_cache_(?:key|retention|options)|prompt_cache_breakpoint|.*\bcache_control", "", _fixed({"cache": "none"})),
    _row(r"tool_stream", "", _fixed({"tool_stream": False})),
    _row(r"tool_choice\.thinking", "tool_choice", _fixed({"tool_choice_thinking": False})),
    _row(r"tool_choice\.required", "tool_choice", _fixed({"tool_choice_any": ""})),
    _row(r"tool_choice(?:\..*)?", "tool_choice", _choice),
    _row(r"stream\.only", "", _fixed({"stream_only": True})),
    _row(r"messages\.reasoning_content\.required", "", _fixed({"reasoning_history": "reasoning_content", "reasoning_required": True})),
    _row(r"messages\.reasoning_content|messages\..*\breasoning(?:_content|_details)?", "", _history),
    _row(r"(?:messages\..*\b)?(?:reasoning_opaque|reasoning_encrypted|extra_content)(?:\..*)?", "", _fixed({"vendor_state": False})),
    _row(r"messages\.role\.developer", "", _fixed({"system_role": "system"})),
    _row(r"messages\.role\.system", "", _fixed({"mid_system": "user"}, {"system_as_user": True})),
    _row(r"messages\.role", "", _role),
    _row(r"messages\.alternation", "", _fixed({"alternation": True})),
    _row(r"messages\.after_tool", "", _fixed({"after_tool": AFTER_TOOL})),
    _row(r"messages\.prefill\.prefix", "", _fixed({"prefill": "prefix"})),
    _row(r"messages\.prefill", "", _fixed({"prefill": "instruct"})),
    _row(r"messages\.empty", "", _fixed({"empty_content": EMPTY})),
    _row(r"messages\.content", "", _fixed({"string_content": True})),
    _row(r"messages\.tool_calls\.arguments", "", _fixed({"broken_arguments": "object"})),
    _row(r"messages\.tool_call_id\.limit", "", _id_limit),
    _row(r"messages\.tool_call_id", "", _fixed({"tool_ids": "mistral9"})),
    _row(r"(context_management|output_config)(?:\..*)?", "", _native),
    _row(r"(messages)\.(thinking|tool_reference)", "", _native),
    _row(r"(thinking)\.(?:\w+\.)?(display)", "", _native),
    _row(r"(thinking)(?:\.\w+)*", "thinking", _native),
    _row(r"(tools)\.\d+\.(?:custom\.)?(defer_loading|eager_input_streaming|allowed_callers|input_examples|strict)", "", _native),
)


def lesson(error: ApiError, quirks: Quirks, sent: frozenset[str], fixed: frozenset[str] = frozenset()) -> Changes | None:
    """The quirk changes (field → value, for `quirks.override`) with which the request may go through when asked once more; None: none.

    `sent`: the optional fields that went out (`Prepared.added`); `fixed`: quirks that the configuration has set, which no refusal changes."""
    for row in LESSONS:
        match = row.field.fullmatch(error.field)
        if match and (not row.sent or not sent.isdisjoint(row.sent.split())):
            name = ".".join(filter(None, match.groups())) or error.field
            for changes in row.changes(error, quirks, name):
                free = {quirk: value for quirk, value in changes.items() if quirk not in fixed}
                if any(getattr(quirks, quirk) != value for quirk, value in free.items()):
                    return free
            return None
    return None


def lasting(error: ApiError) -> bool:
    """Whether a lesson from `error` may be kept for other requests: not if it comes from this one's size or from the credit that is left, nor
    if its words stand in this request, so that they may be the client's own."""
    return error.field not in PASSING and not error.echoed


#: Quirk → what two lessons about it, learned by requests that ran at the same time, amount to together.
_TOGETHER: dict[str, Callable[[Any, Any], Any]] = {
    "sampling": lambda a, b: a & b,
    "native_drop": lambda a, b: a | b,
    "max_tokens_limit": min,
}


def together(quirk: str, old: Any, new: Any) -> Any:
    """The value of `quirk` after two lessons about it; of most quirks the newer one counts."""
    return _TOGETHER[quirk](old, new) if quirk in _TOGETHER else new
