"""Apply the rules of `a2py: routes:` to a request, and tell the client, the log and the metrics which one decided.

Knows: where a request's facts come from, the header `x-a2py-route`. Must not know: what a rule asks
(messages/rules.py).
Invariants: a configuration without rules costs nothing; a name that nobody serves is not sent anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from a2py.config import Config
from a2py.errors import ApiError
from a2py.messages.facts import Facts, read_facts_in_slices
from a2py.messages.rules import choose, list_headers
from a2py.messages.types import Request
from a2py.proxy.access import may_ask, require_model
from a2py.proxy.log import Record
from a2py.proxy.pace import Pace
from a2py.proxy.responses import header_text

ROUTE_HEADER = "x-a2py-route"
#: Characters of each part of the header: the rule, the model, the reason.
PART_LIMIT = 300


async def choose_model(
    config: Config, pace: Pace, request: Request, headers: Mapping[str, str], tokens: int, record: Record
) -> str:
    """Return the name to serve the request by: a rule's model, otherwise the name that it asks for. Raise `ApiError` if
    the client's key may not ask for it.

    `tokens`: of the prompt, by `count.estimate`, which gives the same number for the same prompt. A corrected number
    would let a conversation at the limit of a rule go back and forth."""
    rules, model = config.settings.routes, request.model
    if rules and config.serves(model):
        facts = await pace.run(read_facts_in_slices(request, headers, list_headers(rules), tokens), size=request.size)
        model = apply_rules(config, facts, record)
    try:
        require_model(config, record.account.caller, model)
    except ApiError:
        record.account.choice = None  # its header would tell whether the configuration has the name
        raise
    return model


def apply_rules(config: Config, facts: Facts, record: Record) -> str:
    """Return the name to serve a request by of which only `facts` are known, and note the rule in `record`.

    A rule does not lead to a model that the client's key may not ask for: then the name that was asked for stays."""
    choice = choose(config.settings.routes, facts, config.has_name(facts.model))
    if choice.model and not may_ask(config, record.account.caller, choice.model):
        choice = choice._replace(model="", why=f"{choice.why}, but the key may not ask for the rule's model")
    record.account.choice = choice
    return choice.model or facts.model


def route_headers(record: Record) -> dict[str, str]:
    """Return the header that says which rule decided, and why; {} if there are no rules.

    `x-a2py-route: 2 tokens_over 60000; model="long"; why="about 61234 tokens > 60000"`."""
    choice = record.account.choice
    if choice is None:
        return {}
    values = (("model", choice.model), ("why", choice.why))
    parts = [choice.rule, *(f'{name}="{_unquote(value)}"' for name, value in values if value)]
    return {ROUTE_HEADER: "; ".join(header_text(part, PART_LIMIT) for part in parts)}


def _unquote(text: str) -> str:
    return text.replace('"', "'")
