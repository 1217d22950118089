"""Reasoning on the chat wire: how a request asks for it, and how the thinking of earlier turns goes back.

Knows: the dialects (rule A13) and the history fields (A14) of chat-completions servers.
Must not know: which provider has which (providers/).
Invariants: thinking goes only to the upstream that wrote it; a model without reasoning (`none`) gets no field for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from a2py.deployment import is_same_model
from a2py.messages import signatures
from a2py.messages.types import JSON
from a2py.quirks import Dialect, HistoryField
from a2py.wires.chat.delta import STATE, fields_of
from a2py.wires.common.draft import Draft
from a2py.wires.common.effort import PLACEHOLDER, Want, always_reasons
from a2py.wires.openai import thinking
from a2py.wires.openai.fields import REASONING
from a2py.wires.openai.thinking import pick_effort_word

#: What Google's documentation says to send for a thought signature that was not kept (ai.google.dev, thought
#: signatures, 2025-11).
GEMINI_PLACEHOLDER = "skip_thought_signature_validator"


def _switch(draft: Draft, want: Want) -> bool | None:
    """Return whether reasoning is to be on; None if the request should not say it."""
    if want.mode == "off":
        return None if always_reasons(draft.quirks) else False
    return True if want.mode == "on" or want.effort else None


def _write_effort(draft: Draft, want: Want) -> None:
    word = pick_effort_word(draft.quirks, want)
    if word:
        draft.body["reasoning_effort"] = word


def _write_openrouter(draft: Draft, want: Want) -> None:
    if want.mode == "off":
        word = pick_effort_word(draft.quirks, want)
        draft.body["reasoning"] = {"effort": word} if word else {"enabled": False}
    elif want.effort:
        draft.body["reasoning"] = {"effort": pick_effort_word(draft.quirks, want)}
    elif want.mode != "absent":
        draft.body["reasoning"] = {"enabled": True}


def _write_thinking_type(draft: Draft, want: Want) -> None:
    on = _switch(draft, want)
    if on is not None:
        draft.body["thinking"] = {
            "type": "enabled" if on else "disabled",
            **({"clear_thinking": False} if draft.quirks.keep_thinking else {}),
        }


def _write_thinking_effort(draft: Draft, want: Want) -> None:
    _write_thinking_type(draft, want)
    if want.mode != "off" or always_reasons(draft.quirks):
        _write_effort(draft, want)


def _write_enable_thinking(draft: Draft, want: Want) -> None:
    on = _switch(draft, want)
    if on is not None:
        draft.body["enable_thinking"] = on
    if on and want.budget:
        draft.body["thinking_budget"] = want.budget


def _write_template(draft: Draft, want: Want) -> None:
    on = _switch(draft, want)
    if on is not None:
        draft.body["chat_template_kwargs"] = {draft.quirks.template_key: on}


def _write_think(draft: Draft, want: Want) -> None:
    on = _switch(draft, want)
    if on is not None:
        draft.body["think"] = on


def _write_minimax(draft: Draft, want: Want) -> None:
    draft.body["reasoning_split"] = True
    if want.mode == "off" and draft.quirks.effort_off:
        draft.body["thinking"] = {"type": draft.quirks.effort_off}


def _write_together(draft: Draft, want: Want) -> None:
    on = _switch(draft, want)
    if on is not None:
        draft.body["reasoning"] = {"enabled": on}
    if on:
        _write_effort(draft, want)


#: Value of Quirks.reasoning → function that writes `want` into the body.
DIALECTS: dict[Dialect, Callable[[Draft, Want], None]] = {
    "none": lambda draft, want: None,
    "effort": _write_effort,
    "openrouter": _write_openrouter,
    "thinking_type": _write_thinking_type,
    "thinking_effort": _write_thinking_effort,
    "enable_thinking": _write_enable_thinking,
    "template": _write_template,
    "think": _write_think,
    "gemini": _write_effort,
    "minimax": _write_minimax,
    "together": _write_together,
}
#: Dialects that can switch reasoning off for one request.
_SWITCHES = frozenset(
    {"openrouter", "together", "thinking_type", "thinking_effort", "enable_thinking", "template", "think"}
)


def ask(draft: Draft) -> Want:
    """Write what the client wants of reasoning into the body. Return it: the output limit depends on it."""
    q = draft.quirks
    want = thinking.ask(draft, q.reasoning in _SWITCHES or bool(q.effort_off), q.reasoning_with_tools)
    DIALECTS[q.reasoning](draft, want)
    if any(field in draft.body for field in REASONING):
        draft.added_fields.add("reasoning")
    return want


#: Fields of a reply in which its reasoning may go back.
REPLY_FIELDS: dict[str, HistoryField] = {"reasoning_content": "reasoning_content", "reasoning": "reasoning"}
#: Values of `Quirks.reasoning_history` that the field of the reply replaces.
REPLACEABLE = ("reply", *REPLY_FIELDS)


class History:
    """The thinking of one turn of the assistant, on its way back to the upstream."""

    __slots__ = ("_details", "_draft", "_fields", "_reply_field", "_signature", "_texts")

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._texts: list[str] = []
        self._details: list[Any] = []
        self._signature = ""
        self._fields: dict[str, str] = {}
        self._reply_field: HistoryField | None = None  # where the reply had its reasoning

    def see(self, block: JSON) -> None:
        """Read a thinking block of the client's history. It is ignored if another upstream wrote it."""
        q, signature = self._draft.quirks, block.get("signature")
        if q.reasoning_history == "none" and (not q.vendor_state or signatures.is_plain(signature)):
            return
        vendor = signatures.read(signature)
        origin = self._draft.dep.origin
        if vendor is None or not is_same_model(vendor.origin, origin):
            return
        text = vendor.state.get("text")
        text = text if isinstance(text, str) else block["thinking"]
        if text:
            self._texts.append(text)
            field = vendor.state.get("r")
            self._reply_field = (
                REPLY_FIELDS.get(field, self._reply_field) if isinstance(field, str) else self._reply_field
            )
        if vendor.origin != origin:  # another account: its state is worth nothing here, and may be refused
            return
        if vendor.kind in ("details", "fields"):
            self._read_state(vendor.state)
        elif vendor.kind == "gemini":
            vendor_signature = vendor.state.get("s")
            self._signature = vendor_signature if isinstance(vendor_signature, str) else ""

    def _read_state(self, state: JSON) -> None:
        """Read what `Output.write_state` has written. It went through the client, so it may be forged."""
        details, strings = state.get("d"), state.get("f")
        if isinstance(details, list):
            self._details += [detail for detail in details if isinstance(detail, dict)]
        if isinstance(strings, dict):
            self._fields.update({name: value for name, value in strings.items() if isinstance(value, str)})

    def call_extra(self, is_first: bool) -> JSON:
        """Return the extra members of the next tool call: Gemini's thought signature. Gemini rejects a step whose first
        call has none."""
        q = self._draft.quirks
        signature, self._signature = self._signature if q.vendor_state else "", ""
        if not signature and is_first and q.reasoning_history == "thought_signature" and q.reasoning_required:
            signature = GEMINI_PLACEHOLDER
        return _google(signature) if signature else {}

    def put(self, message: JSON, recent: bool) -> None:
        """Write the turn's thinking into `message`. `recent`: there is no user text after the turn."""
        q = self._draft.quirks
        if q.reasoning_recent and not recent:
            return
        if not q.reasoning_beside_content and message.get("tool_calls") and message.get("content"):
            return
        text = "".join(self._texts)  # unmodified: Z.ai requires it, and prefix caches, too
        put = HISTORY.get(self._field())
        if put is not None and (text or self._details):
            put(message, text, self._details)
        elif put is not None and q.reasoning_required and message.get("tool_calls"):
            put(message, PLACEHOLDER, [])
        elif self._has_signed_details():
            message["reasoning_details"] = self._details
        if q.vendor_state and self._fields:
            self._put_fields(message, text)

    def _has_signed_details(self) -> bool:
        """Return whether there are reasoning details that the vendor wants back, whatever the field of the text is."""
        return self._draft.quirks.vendor_state and any(
            detail.get("signature") or detail.get("data") for detail in self._details
        )

    def _field(self) -> HistoryField:
        """Return where the text goes: a key of HISTORY, or another word for nowhere.

        The field in which the reply came counts more than what the tables say of the server, but not more than what the
        configuration says."""
        q = self._draft.quirks
        if q.reasoning_history == "reply" and self._has_signed_details():
            return "reasoning_details"  # the text is in them, too
        is_configured = "reasoning_history" in self._draft.dep.fixed_quirks
        if self._reply_field and q.reasoning_history in REPLACEABLE and not is_configured:
            return self._reply_field
        return q.reasoning_history

    def _put_fields(self, message: JSON, text: str) -> None:
        for name in fields_of(STATE):
            if name in self._fields:
                message[name] = self._fields[name]
        if (
            "reasoning_opaque" in message and text
        ):  # Copilot takes them only together (vscode-copilot-chat 2178, 2025-11)
            message["reasoning_text"] = text
        signature = self._fields.get("thought_signature")
        if signature:
            message.update(_google(signature))


def _google(signature: str) -> JSON:
    """Return the member of a call or message that holds a thought signature."""
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


#: Value of Quirks.reasoning_history → function that puts the text (and OpenRouter's details) into a message.
HISTORY: dict[HistoryField, Callable[[JSON, str, list[Any]], None]] = {
    "reasoning_content": _put_content,
    "reasoning": _put_reasoning,
    "reasoning_details": _put_details,
    "think": _put_think,
    "thinking_part": _put_part,
}
