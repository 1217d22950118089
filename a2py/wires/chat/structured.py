"""Structured output on the chat wire: a JSON schema that really constrains the reply.

Knows: response_format's two forms, and the words that stand in for them. Must not know: tools.
"""

from __future__ import annotations

from a2py.messages.types import JSON
from a2py.wires.common.draft import Draft
from a2py.wires.common.schema import schema_of, stepped, strict
from a2py.wires.common.text import dumps


def form_of(draft: Draft) -> str:
    """The form that the reply's schema will have: one of Quirks.structured; "" where the client gave none."""
    if schema_of(draft.request.body) is None:
        return ""
    q = draft.quirks
    return q.structured if q.structured_with_tools or not draft.body.get("tools") else "none"


def add(draft: Draft) -> None:
    """`response_format`, or the schema in the system message where the server has none."""
    schema = schema_of(draft.request.body)
    if schema is None:
        return
    form = form_of(draft)
    if form == "json_schema":
        schema = stepped(schema, draft.quirks.schema)
        spec: JSON = {"name": "output", "schema": schema}
        if strict(schema):
            spec["strict"] = True
        draft.body["response_format"] = {"type": "json_schema", "json_schema": spec}
        draft.added.add("response_format")
        return
    if form == "json_object":
        draft.body["response_format"] = {"type": "json_object"}
        draft.added.add("response_format")
    else:
        draft.lose("output_format")
    rule = f"Reply with one JSON object and nothing else. It must be valid against this JSON schema:\n{dumps(schema)}"
    messages = draft.body["messages"]
    first = messages[0]
    if first["role"] == draft.quirks.system_role and isinstance(first["content"], str):
        messages[0] = {**first, "content": f"{first['content']}\n\n{rule}"}
    elif draft.quirks.system_as_user and first["role"] == "user":
        content = first["content"]
        joined = f"{rule}\n\n{content}" if isinstance(content, str) else [{"type": "text", "text": rule}, *content]
        messages[0] = {**first, "content": joined}
    elif draft.quirks.system_as_user:
        messages.insert(0, {"role": "user", "content": rule})
    else:
        messages.insert(0, {"role": draft.quirks.system_role, "content": rule})
