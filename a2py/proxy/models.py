"""GET /v1/models, /v1/models/{id} and LiteLLM's /v1/model/info.

Knows: Anthropic's ModelInfo and paging (docs.claude.com, List Models; anthropic 2.12); what Claude Code's discovery
drops: ids without "claude" or "anthropic", and the whole list if one `display_name` is null (2.1.332). Must not know:
upstreams.
Invariants: every listed id can be asked for; no secret and no address is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from a2py.caller import ANYBODY, Caller
from a2py.errors import ApiError
from a2py.proxy.access import may_ask, require_model

if TYPE_CHECKING:
    from a2py.config import Config
    from a2py.deployment import Deployment

MAX_LIMIT = 1000
#: Anthropic's value for an unknown date.
EPOCH = "1970-01-01T00:00:00Z"
#: Who owns a model of which nothing is known.
OWNER = "a2py"


def model_info(id: str, name: str, deployment: Deployment | None) -> dict[str, Any]:
    """Return one model as Anthropic's API and OpenAI's describe it, in one object. A limit that is not known is null.

    OpenAI's clients need `object`, `created` and `owned_by` (openai 3.57)."""
    return {
        "type": "model",
        "object": "model",
        "created": 0,
        "owned_by": deployment.provider if deployment else OWNER,
        "id": id,
        "display_name": name,
        "created_at": EPOCH,
        "lifecycle": "active",
        "max_input_tokens": (deployment.max_input_tokens or None) if deployment else None,
        "max_tokens": (deployment.max_output_tokens or None) if deployment else None,
        "capabilities": None,
        "deprecated_at": None,
        "retires_at": None,
        "line": None,
    }


def list_ids(config: Config, caller: Caller = ANYBODY) -> list[tuple[str, str]]:
    """Return (id, display name) of every model that `caller` may ask for: first the public names, then ids with
    "claude" in them for the names that Claude Code's discovery would drop."""
    names, chat_names = config.list_names(), config.list_chat_names()
    if caller.models:
        own = [
            name for name in caller.models if "*" not in name and name not in config.hidden_names and config.knows(name)
        ]
        names = _select(config, caller, [*names, *own])
        chat_names = _select(config, caller, [*chat_names, *filter(config.can_chat, own)])
    model_names = set(names)
    extra = [(id, name) for name in chat_names if (id := config.make_discovery_id(name)) not in model_names]
    return [(name, name) for name in names] + extra


def _select(config: Config, caller: Caller, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of `names` that `caller` may ask for, each once."""
    return tuple(name for name in dict.fromkeys(names) if may_ask(config, caller, name))


def _find_deployment(config: Config, name: str) -> Deployment | None:
    try:
        return config.resolve(name)[0]
    except ApiError:
        return None


def list_page(config: Config, query: str, caller: Caller = ANYBODY) -> dict[str, Any]:
    """Return the page of models that `limit`, `after_id` and `before_id` in the URL's query select: all of them without
    a limit.

    Raise `ApiError` with Anthropic's 400 for a limit out of range or an unknown id. Both ids together are the window
    between them, and there an unknown one is no bound: the SDK's own tests send placeholders
    (anthropic 2.14)."""
    parameters = {name: values[-1] for name, values in parse_qs(query).items()}
    entries = list_ids(config, caller)
    ids = [id for id, _ in entries]
    limit = _parse_limit(parameters.get("limit")) or len(entries)
    after, before = _find_bounds(ids, parameters)
    is_backwards = "before_id" in parameters and "after_id" not in parameters
    start, stop = (max(before - limit, 0), before) if is_backwards else (after, min(after + limit, before))
    page = entries[start:stop]
    return {
        "object": "list",
        "data": [model_info(id, name, _find_deployment(config, name)) for id, name in page],
        "has_more": start > 0 if is_backwards else stop < before,
        "first_id": page[0][0] if page else None,
        "last_id": page[-1][0] if page else None,
    }


def _find_bounds(ids: list[str], parameters: Mapping[str, str]) -> tuple[int, int]:
    """Return where the models after `after_id` begin, and where those before `before_id` end."""
    after, before = parameters.get("after_id"), parameters.get("before_id")
    if after is not None and before is not None:
        start = ids.index(after) + 1 if after in ids else 0
        end = ids.index(before) if before in ids else len(ids)
        return start, max(start, end)
    start = 0 if after is None else _find_id(ids, after, "after_id") + 1
    return start, len(ids) if before is None else _find_id(ids, before, "before_id")


def _parse_limit(text: str | None) -> int:
    """Return the limit; 0 for none."""
    if text is None:
        return 0
    try:
        limit = int(text)
    except ValueError:
        raise ApiError("invalid_request", "limit: Input should be a valid integer") from None
    if not 1 <= limit <= MAX_LIMIT:
        raise ApiError("invalid_request", f"limit: Input should be between 1 and {MAX_LIMIT}")
    return limit


def _find_id(ids: list[str], id: str, field: str) -> int:
    try:
        return ids.index(id)
    except ValueError:
        raise ApiError("invalid_request", f"{field}: no model has this id") from None


def show(config: Config, id: str, caller: Caller = ANYBODY) -> dict[str, Any]:
    """Return the ModelInfo of `id`. Raise `ApiError` for a name that nothing serves (404), or that `caller` may not ask
    for (403)."""
    require_model(config, caller, id)
    deployment = config.resolve(id)[0]
    return model_info(id, deployment.name if "*" not in deployment.name else id, deployment)


def list_for_litellm(config: Config, caller: Caller = ANYBODY) -> dict[str, Any]:
    """Return LiteLLM's `/v1/model/info`, without keys and addresses, of the names that `caller` may ask for."""
    return {
        "data": [
            {
                "model_name": deployment.name,
                "litellm_params": {"model": f"{deployment.provider}/{deployment.model}"},
                "model_info": {
                    "id": deployment.id,
                    "mode": deployment.mode or ("responses" if deployment.wire == "responses" else "chat"),
                    "max_input_tokens": deployment.max_input_tokens or None,
                    "max_output_tokens": deployment.max_output_tokens or None,
                },
            }
            for deployment in config.deployments
            if caller.lists(deployment.name)
        ]
    }
