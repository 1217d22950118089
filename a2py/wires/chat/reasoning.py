"""Thinking on the chat wire: how it is asked for, and how a turn's own thinking goes back.

Knows: the dialects (rule A13) and the history fields (A14) of chat-completions servers.
Must not know: which provider speaks which (a2py/providers/).
Invariants: thinking of another origin never goes upstream; a plain model (`none`) gets nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2py.messages import signatures
from a2py.messages.types import JSON
from a2py.quirks import Dialect, HistoryField
from a2py.wires.chat.delta import STATE, fields
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import PLACEHOLDER, Want, always_reasons
from a2py.wires.openai import thinking
from a2py.wires.openai.thinking import effort_word

#: Google's documented stand-in for a thought signature that was not kept (ai.google.dev, thought signatures, 2025-11).
GEMINI_PLACEHOLDER = "skip_thought_signature_validator"


def _switch(draft: Draft, want: Want) -> bool | None:
    """On, off, or nothing to say."""
    if want.mode == "off":
        return None if always_reasons(draft.quirks) else False
    return True if want.mode == "on" or want.effort else None


def _effort(draft: Draft, want: Want) -> None:
    word = effort_word(draft.quirks, want)
    if word:
        draft.body["reasoning_effort"] = word


def _openrouter(draft: Draft, want: Want) -> None:
    if want.mode == "off":
        word = effort_word(draft.quirks, want)
        draft.body["reasoning"] = {"effort": word} if word else {"enabled": False}
    elif want.effort:
        draft.body["reasoning"] = {"effort": effort_word(draft.quirks, want)}
    elif want.mode != "absent":
        draft.body["reasoning"] = {"enabled": True}


def _thinking_type(draft: Draft, want: Want) -> None:
    on = _switch(draft, want)
    if on is not None:
        draft.body["thinking"] = {
            "type": "enabled" if on else "disabled",
            **({"clear_thinking": False} if draft.quirks.keep_thinking else {}),
        }


def _thinking_effort(draft: Draft, want: Want) -> None:
    _thinking_type(draft, want)
    if want.mode != "off" or always_reasons(draft.quirks):
        _effort(draft, want)


def _enable_thinking(draft: Draft, want: Want) -> None:
    on = _switch(draft, want)
    if on is not None:
        draft.body["enable_thinking"] = on
    if on and want.budget:
        draft.body["thinking_budget"] = want.budget


def _template(draft: Draft, want: Want) -> None:
    on = _switch(draft, want)
    if on is not None:
        draft.body["chat_template_kwargs"] = {draft.quirks.template_key: on}


def _think(draft: Draft, want: Want) -> None:
    on = _switch(draft, want)
    if on is not None:
        draft.body["think"] = on


def _minimax(draft: Draft, want: Want) -> None:
    draft.body["reasoning_split"] = True
    if want.mode == "off" and draft.quirks.effort_off:
        draft.body["thinking"] = {"type": draft.quirks.effort_off}


def _together(draft: Draft, want: Want) -> None:
    on = _switch(draft, want)
    if on is not None:
        draft.body["reasoning"] = {"enabled": on}
    if on:
        _effort(draft, want)


#: Quirks.reasoning → how `want` is told.
DIALECTS: dict[Dialect, Callable[[Draft, Want], None]] = {
    "none": lambda draft, want: None,
    "effort": _effort,
    "openrouter": _openrouter,
    "thinking_type": _thinking_type,
    "thinking_effort": _thinking_effort,
    "enable_thinking": _enable_thinking,
    "template": _template,
    "think": _think,
    "gemini": _effort,
    "minimax": _minimax,
    "together": _together,
}
_FIELDS = (
    "reasoning_effort",
    "reasoning",
    "thinking",
    "enable_thinking",
    "thinking_budget",
    "chat_template_kwargs",
    "think",
    "reasoning_split",
)
#: Dialects that can switch reasoning off for one request.
_SWITCHES = frozenset({"openrouter", "together", "thinking_type", "thinking_effort", "enable_thinking", "template", "think"})


def ask(draft: Draft) -> Want:
    """Put the client's wish into the body. Return it: the output limit depends on it."""
    q = draft.quirks
    want = thinking.ask(draft, q.reasoning in _SWITCHES or bool(q.effort_off), q.reasoning_with_tools)
    DIALECTS[q.reasoning](draft, want)
    if any(field in draft.body for field in _FIELDS):
        draft.added.add("reasoning")
    return want


class History:
    """The thinking of one assistant turn, on its way back."""

    __slots__ = ("_details", "_draft", "_fields", "_signature", "_texts")

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._texts: list[str] = []
        self._details: list[Any] = []
        self._signature = ""
        self._fields: dict[str, str] = {}

    def see(self, block: JSON) -> None:
        """A thinking block of the client's history."""
        q, signature = self._draft.quirks, block.get("signature")
        if q.reasoning_history == "none" and (not q.vendor_state or signatures.is_plain(signature)):
            return
        sealed = signatures.read(signature)
        if sealed is None or sealed.origin != self._draft.dep.origin:
            return
        text = sealed.state.get("text")
        text = text if isinstance(text, str) else block["thinking"]
        if text:
            self._texts.append(text)
        if sealed.kind in ("details", "fields"):
            details, fields = sealed.state.get("d"), sealed.state.get("f")
            if isinstance(details, list):
                self._details += [d for d in details if isinstance(d, dict)]
            if isinstance(fields, dict):
                self._fields.update({name: value for name, value in fields.items() if isinstance(value, str)})
        elif sealed.kind == "gemini":
            signature = sealed.state.get("s")
            self._signature = signature if isinstance(signature, str) else ""

    def call_extra(self, first: bool) -> JSON:
        """What the next tool call carries: Gemini's thought signature (only the first call of a step must have one)."""
        q = self._draft.quirks
        signature, self._signature = self._signature if q.vendor_state else "", ""
        if not signature and first and q.reasoning_history == "thought_signature" and q.reasoning_required:
            signature = GEMINI_PLACEHOLDER
        return _google(signature) if signature else {}

    def put(self, message: JSON, recent: bool) -> None:
        """Write the turn's thinking into `message`; `recent`: no user text has come since."""
        q = self._draft.quirks
        if q.reasoning_recent and not recent:
            return
        text = "".join(self._texts)  # as it came: Z.ai wants it unmodified, and a cache of prefixes, too
        put = HISTORY.get(q.reasoning_history)
        if put is not None and (text or self._details):
            put(message, text, self._details)
        elif put is not None and q.reasoning_required and message.get("tool_calls"):
            put(message, PLACEHOLDER, [])
        elif q.vendor_state and any(detail.get("signature") or detail.get("data") for detail in self._details):
            message["reasoning_details"] = self._details
        if q.vendor_state and self._fields:
            self._put_fields(message, text)

    def _put_fields(self, message: JSON, text: str) -> None:
        for name in fields(STATE):
            if name in self._fields:
                message[name] = self._fields[name]
        if "reasoning_opaque" in message and text:  # Copilot's pair (vscode-copilot-chat 2178, 2025-11)
            message["reasoning_text"] = text
        signature = self._fields.get("thought_signature")
        if signature:
            message.update(_google(signature))


def _google(signature: str) -> JSON:
    return {"extra_content": {"google": {"thought_signature": signature}}}


def _put_content(message: JSON, text: str, details: list[Any]) -> None:
    message["reasoning_content"] = text


def _put_reasoning(message: JSON, text: str, details: list[Any]) -> None:
    message["reasoning"] = text


def _put_details(message: JSON, text: str, details: list[Any]) -> None:
    if details:
        message["reasoning_details"] = details
    else:
        message["reasoning"] = text


def _put_think(message: JSON, text: str, details: list[Any]) -> None:
    content = message.get("content")
    head = f"<think>\n{text}\n</think>\n\n"
    if isinstance(content, list):
        message["content"] = [{"type": "text", "text": head}, *content]
    else:
        message["content"] = head + (content or "")


def _put_part(message: JSON, text: str, details: list[Any]) -> None:
    content = message.get("content")
    rest = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
    message["content"] = [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}, *rest]


#: Quirks.reasoning_history → where the text goes.
HISTORY: dict[HistoryField, Callable[[JSON, str, list[Any]], None]] = {
    "reasoning_content": _put_content,
    "reasoning": _put_reasoning,
    "reasoning_details": _put_details,
    "think": _put_think,
    "thinking_part": _put_part,
}
