"""What to learn from an upstream's error: the quirk changes with which a second attempt may succeed.

Knows: which quirk decides about a request field that an error names (`ApiError.field`, `limit`). Must not know:
wordings (refusal/), how long a lesson is kept (proxy/lessons.py).
Invariants: no lesson removes images, tools or messages; a change that the quirks have already is not returned again, so
a lesson that did not help is not tried twice.

Example: an upstream answers 400 with "Unsupported parameter: stream_options". The error's field is `stream_options`, so
the lesson is `{"stream_usage": False}`, and the request is sent again without that field.
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

#: Text for an upstream that rejects empty strings. Claude Code itself writes this into an empty turn.
EMPTY = "(no content)"
#: Text of the assistant's turn that is put between a tool's result and a user's text, for an upstream that rejects this
#: order.
AFTER_TOOL = "(continued)"


class Row(NamedTuple):
    """`field`: pattern for the error's field. `sent`: names in `Prepared.added`, of which one must have been sent; ""
    if it does not matter. `changes`: yields the changes to try, best first."""

    field: re.Pattern[str]
    sent: str
    changes: Candidates


def _fixed(*candidates: Changes) -> Candidates:
    return lambda error, quirks, name: iter(candidates)


def _sampling(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"sampling": quirks.sampling - {name}}


def _structured(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """Yield the next weaker form: json_schema, then json_object with the schema in the prompt, then the prompt
    alone."""
    yield {"structured": "json_object" if quirks.structured == "json_schema" else "none"}


def _limit(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """Yield the limit that the upstream named, or the other name of the field if it does not accept this one."""
    if error.limit > 0:
        if not quirks.max_tokens_limit or error.limit < quirks.max_tokens_limit:
            yield {"max_tokens_limit": error.limit}
    elif error.kind == "unsupported" and name == quirks.max_tokens_field:
        yield {"max_tokens_field": _OTHER_FIELD[name]}


_OTHER_FIELD = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


def _efforts(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """Yield the effort words that the upstream listed, then no reasoning at all."""
    listed = error.field.partition("=")[2].split(",")
    words = tuple(word for word in EFFORTS if word in listed)
    efforts = tuple(word for word in words if word != "none")
    if efforts:
        changes: Changes = {"efforts": efforts}
        if quirks.effort_off and quirks.effort_off not in words:
            changes["effort_off"] = words[0]
        yield changes
    yield {"reasoning": "none"}


def _with_tools(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"reasoning_with_tools": False, "effort_off": quirks.effort_off or "none"}


def _choice(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """Yield the next weaker form: the object, then the named tool alone with `required`, then no forced tool."""
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
    """Yield changes for a role that the error does not name. The least common roles are given up first."""
    yield {"system_role": "system"}
    yield {"mid_system": "user"}
    yield {"system_as_user": True}


def _id_limit(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    yield {"tool_id_limit": error.limit}


def _native(error: ApiError, quirks: Quirks, name: str) -> Iterator[Changes]:
    """Yield the deletion of an Anthropic field that a native upstream rejects."""
    yield {"native_drop": quirks.native_drop | {name}}


def _row(field: str, sent: str, changes: Candidates) -> Row:
    return Row(re.compile(field), sent, changes)


#: The first row that matches the error's field is used. If its pattern has groups, `changes` gets them, joined by dots,
#: as the name.
LESSONS: tuple[Row, ...] = (
    _row(r"stream_options(?:\..*)?|include_usage", "stream_options", _fixed({"stream_usage": False})),
    _row(r"reasoning_effort=.*", "reasoning", _efforts),
    _row(r"reasoning\.tools", "reasoning", _with_tools),
    _row(
        r"reasoning\.off", "reasoning thinking", _fixed({"effort_off": "", "min_tokens": ROOM}, {"reasoning": "none"})
    ),
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
    _row(
        r"response_format\.thinking", "response_format", _fixed({"structured_thinking": False}, {"structured": "none"})
    ),
    _row(r"response_format(?:\..*)?|text\.format(?:\..*)?", "response_format", _structured),
    _row(r"(max_tokens|max_completion_tokens)|room|credit|max_output_tokens", "max_tokens", _limit),
    _row(r"temperature\.max", "temperature", _temperature),
    _row(r"(temperature|top_p|top_k)", "", _sampling),
    _row(r"stop", "stop", _stops),
    _row(r"service_tier", "service_tier", _fixed({"service_tier": False})),
    _row(
        r"prompt_cache_(?:key|retention|options)|prompt_cache_breakpoint|.*\bcache_control",
        "",
        _fixed({"cache": "none"}),
    ),
    _row(r"tool_stream", "", _fixed({"tool_stream": False})),
    _row(r"tool_choice\.thinking", "tool_choice", _fixed({"tool_choice_thinking": False})),
    _row(r"tool_choice\.required", "tool_choice", _fixed({"tool_choice_any": ""})),
    _row(r"tool_choice(?:\..*)?", "tool_choice", _choice),
    _row(r"stream\.only", "", _fixed({"stream_only": True})),
    _row(
        r"messages\.reasoning_content\.required",
        "",
        _fixed({"reasoning_history": "reasoning_content", "reasoning_required": True}),
    ),
    _row(r"messages\.reasoning_content|messages\..*\breasoning(?:_content|_details)?", "", _history),
    _row(
        r"(?:messages\..*\b)?(?:reasoning_opaque|reasoning_encrypted|extra_content)(?:\..*)?",
        "",
        _fixed({"vendor_state": False}),
    ),
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
    _row(
        r"(tools)\.\d+\.(?:custom\.)?(defer_loading|eager_input_streaming|allowed_callers|input_examples|strict)",
        "",
        _native,
    ),
)


def find_lesson(error: ApiError, quirks: Quirks, sent: frozenset[str]) -> Changes | None:
    """Return the quirk changes (field → value, for `quirks.override`) for a second attempt; None if there is none to
    make.

    `sent`: the optional fields of the request (`Prepared.added`)."""
    for row in LESSONS:
        match = row.field.fullmatch(error.field)
        if match and (not row.sent or not sent.isdisjoint(row.sent.split())):
            name = ".".join(filter(None, match.groups())) or error.field
            for changes in row.changes(error, quirks, name):
                if any(getattr(quirks, quirk) != value for quirk, value in changes.items()):
                    return changes
            return None
    return None


def is_lasting(error: ApiError) -> bool:
    """Return whether a lesson from `error` applies to other requests, too. It does not if the cause is this request's
    size or the credit that is left. Nor does it if the request contains the error's words: then the client may have
    written them."""
    return error.field not in PASSING and not error.echoed


#: Quirk → function that joins the values of two lessons, which two requests have learned at the same time.
_JOIN: dict[str, Callable[[Any, Any], Any]] = {
    "sampling": lambda a, b: a & b,
    "native_drop": lambda a, b: a | b,
    "max_tokens_limit": min,
}


def join_lessons(quirk: str, old: Any, new: Any) -> Any:
    """Return the value of `quirk` after two lessons about it. For most quirks it is the newer one."""
    return _JOIN[quirk](old, new) if quirk in _JOIN else new
