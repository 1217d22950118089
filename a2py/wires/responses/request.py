"""A Messages request → a Responses request.

Knows: the top-level fields and their limits. The rest has a module each: items, media, tools, reasoning.
Must not know: how the request is sent.
Invariants: the body is built from an allow-list, so nothing unknown leaks upstream (`metadata` never does); nothing is stored
upstream; `extra_body` comes last; what could not be carried stands in `Prepared.degraded`.
"""

from __future__ import annotations

from typing import Any

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call, Prepared
from a2py.wires.common.draft import Draft, prepared
from a2py.wires.common.headers import headers, url
from a2py.wires.common.limits import finish, key, output_limit, sampling
from a2py.wires.common.schema import schema_of, stepped, strict
from a2py.wires.common.text import dumps
from a2py.wires.responses import reasoning, tools
from a2py.wires.responses.items import JOINT, Conversation

#: Smallest max_output_tokens that OpenAI takes (400 below it, 2025-06).
LEAST_OUTPUT = 16
VERBOSITIES = ("low", "medium", "high")


def _text(draft: Draft) -> None:
    """`text.format` for structured output, `text.verbosity` as the deployment sets it."""
    out: JSON = {}
    schema = schema_of(draft.request.body)
    form = draft.quirks.structured
    if "tools" in draft.body and not draft.quirks.structured_with_tools:
        form = "none"
    if schema is not None and form == "json_schema":
        schema = stepped(schema, draft.quirks.schema)
        out["format"] = {"type": "json_schema", "name": "output", "schema": schema, "strict": strict(schema)}
    elif schema is not None:
        if form == "json_object":
            out["format"] = {"type": "json_object"}
        else:
            draft.lose("output_format")
        rule = f"Reply with one JSON object and nothing else. It must be valid against this JSON schema:\n{dumps(schema)}"
        if draft.quirks.system_as_user:
            draft.body["input"].insert(0, {"type": "message", "role": "user", "content": [{"type": "input_text", "text": rule}]})
        else:
            draft.body["instructions"] = JOINT.join(filter(None, (draft.body.get("instructions", ""), rule)))
    verbosity = draft.dep.params.get("verbosity")
    if verbosity in VERBOSITIES:
        out["verbosity"] = verbosity
    if out:
        draft.body["text"] = out
    if "format" in out:
        draft.added.add("response_format")


def prepare(call: Call, dep: Deployment, stream: bool) -> Prepared:
    """Return the request that asks `dep` for `call`."""
    draft = Draft(call, dep, stream)
    draft.body["model"] = dep.model
    Conversation(draft).build()
    tools.add(draft)
    want = reasoning.ask(draft)
    draft.body["max_output_tokens"] = max(output_limit(draft, want), LEAST_OUTPUT)
    draft.added.add("max_tokens")
    sampling(draft)  # stop sequences are always applied here: the API has no field for them
    _text(draft)
    draft.body["store"] = False
    draft.added.add("store")
    key(draft)
    if draft.stream:
        draft.body["stream"] = True
    finish(draft)
    limit: Any = draft.body.get("max_output_tokens")  # extra_body may have put anything there
    return prepared(
        draft,
        url(dep, "/responses"),
        headers(dep, draft.stream, call.session),
        limit=limit if isinstance(limit, int) else 0,
    )
