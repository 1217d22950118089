"""GET /v1/models, /v1/models/{id} and LiteLLM's /v1/model/info.

Knows: Anthropic's ModelInfo and paging (docs.claude.com, List Models; anthropic 2.12), Claude Code's discovery: it drops ids without "claude"
or "anthropic", and the whole list where one `display_name` is null (2.1.330). Must not know: upstreams.
Invariants: every listed id routes; no secret and no address is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from a2py.errors import ApiError

if TYPE_CHECKING:
    from a2py.config import Config
    from a2py.deployment import Deployment

DEFAULT_LIMIT, MAX_LIMIT = 20, 1000
#: Anthropic's value for an unknown date.
EPOCH = "1970-01-01T00:00:00Z"


def info(id: str, name: str, deployment: Deployment | None) -> dict[str, Any]:
    """One ModelInfo; limits only where they are known."""
    return {
        "type": "model",
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


def catalogue(config: Config) -> list[tuple[str, str]]:
    """(id, name): the public names, then the ids under which Claude Code's discovery keeps those that it would drop."""
    names = config.listing()
    taken = set(names)
    offered = [(id, name) for name in names if (id := config.offered(name)) not in taken]
    return [(name, name) for name in names] + offered


def _deployment(config: Config, name: str) -> Deployment | None:
    try:
        return config.resolve(name)[0]
    except ApiError:
        return None


def page(config: Config, query: str) -> dict[str, Any]:
    """The page that `limit`, `after_id`, `before_id` ask for. A limit out of range or an unknown id is Anthropic's 400."""
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    limit = _limit(asked.get("limit"))
    entries = catalogue(config)
    ids = [id for id, _ in entries]
    start, stop = 0, min(limit, len(entries))
    if "after_id" in asked:
        start = _index(ids, asked["after_id"], "after_id") + 1
        stop = min(start + limit, len(entries))
    elif "before_id" in asked:
        stop = _index(ids, asked["before_id"], "before_id")
        start = max(stop - limit, 0)
    chosen = entries[start:stop]
    backwards = "before_id" in asked and "after_id" not in asked
    return {
        "data": [info(id, name, _deployment(config, name)) for id, name in chosen],
        "has_more": start > 0 if backwards else stop < len(entries),
        "first_id": chosen[0][0] if chosen else None,
        "last_id": chosen[-1][0] if chosen else None,
    }


def _limit(told: str | None) -> int:
    if told is None:
        return DEFAULT_LIMIT
    try:
        limit = int(told)
    except ValueError:
        raise ApiError("invalid_request", "limit: Input should be a valid integer") from None
    if not 1 <= limit <= MAX_LIMIT:
        raise ApiError("invalid_request", f"limit: Input should be between 1 and {MAX_LIMIT}")
    return limit


def _index(ids: list[str], id: str, field: str) -> int:
    try:
        return ids.index(id)
    except ValueError:
        raise ApiError("invalid_request", f"{field}: no model has this id") from None


def one(config: Config, id: str) -> dict[str, Any]:
    """Raises `ApiError` (not_found) for a name that nothing serves."""
    deployment = config.resolve(id)[0]
    return info(id, deployment.name if "*" not in deployment.name else id, deployment)


def litellm_info(config: Config) -> dict[str, Any]:
    """LiteLLM's `/v1/model/info`, as far as it is no secret."""
    return {
        "data": [
            {
                "model_name": deployment.name,
                "litellm_params": {"model": f"{deployment.provider}/{deployment.model}"},
                "model_info": {
                    "id": deployment.id,
                    "mode": "responses" if deployment.wire == "responses" else "chat",
                    "max_input_tokens": deployment.max_input_tokens or None,
                    "max_output_tokens": deployment.max_output_tokens or None,
                },
            }
            for deployment in config.deployments
        ]
    }
