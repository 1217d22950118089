"""A Messages request → a Responses request.

Knows: the top-level fields. Items, tools and reasoning have a module each; what chat completions shares is in
wires/openai.
Must not know: how the request is sent.
Invariants: the body is built from an allow-list, so that nothing unknown leaks upstream (`metadata` never does);
nothing is stored upstream; `extra_body` comes last; `Prepared.degraded` lists what is left out.
"""

from __future__ import annotations

from typing import Any

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Call, Prepared
from a2py.slices import Slices
from a2py.wires.common import threads
from a2py.wires.common.draft import Draft, make_prepared
from a2py.wires.common.headers import build_headers, build_url
from a2py.wires.openai import fields
from a2py.wires.openai.turns import JOINT
from a2py.wires.responses import items, reasoning, tools

#: Smallest max_output_tokens that OpenAI accepts (400 below it, 2025-06).
LEAST_OUTPUT = 16
VERBOSITIES = ("low", "medium", "high")


def prepare_in_slices(call: Call, dep: Deployment, stream: bool) -> Slices[Prepared]:
    """Return the request that sends `call` to `dep`."""
    threads.check(call.request, dep)
    draft = Draft(call, dep, stream)
    draft.body["model"] = dep.model
    yield from items.build(draft)
    yield from tools.add(draft)
    want = reasoning.ask(draft)
    name = "max_output_tokens" if draft.quirks.max_tokens_field else ""
    fields.write_limit(draft, name, max(fields.output_limit(draft, want), LEAST_OUTPUT))
    fields.write_sampling(draft)  # the API has no field for stop sequences, so the decoder applies them
    yield
    _text(draft)
    yield
    draft.body["store"] = False
    draft.added_fields.add("store")
    fields.write_cache_key(draft)
    if draft.stream:
        draft.body["stream"] = True
    yield from fields.finish(draft)
    yield
    limit: Any = draft.body.get("max_output_tokens")  # extra_body may have put anything there
    return make_prepared(
        draft,
        build_url(dep, "/responses"),
        build_headers(dep, draft.stream, call.session),
        limit=limit if isinstance(limit, int) else 0,
    )


def _text(draft: Draft) -> None:
    """Write `text.format` for structured output, and `text.verbosity` as the deployment sets it.

    A server that has no `text.format` gets the schema as a rule in the instructions."""
    form, rule = fields.build_format(draft)
    if rule and draft.quirks.system_as_user:
        content = [{"type": "input_text", "text": rule}]
        draft.body["input"].insert(0, {"type": "message", "role": "user", "content": content})
    elif rule:
        draft.body["instructions"] = JOINT.join(filter(None, (draft.body.get("instructions", ""), rule)))
    out: JSON = {} if form is None else {"format": form}
    verbosity = draft.dep.params.get("verbosity")
    if verbosity in VERBOSITIES:
        out["verbosity"] = verbosity
    if out:
        draft.body["text"] = out
