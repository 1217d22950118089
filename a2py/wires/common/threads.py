"""Threads: conversations that the vendor keeps, so that a request holds only what is new.

The first request says `"thread": {"type": "create"}`, each later one `{"type": "continue", "previous_message_id": …}`
and only the messages after that reply. Without the field a model would see one tool result and nothing before it. So
the field is never dropped: who cannot carry it refuses the request. The SDKs' tool runners then send the whole
conversation without it (anthropic 2.12.0, @anthropic-ai/sdk 1.12.0).

Knows: the field, the error by which the SDKs recover. Must not know: wires.
"""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.types import Request

#: `error.details.error_code` of the refusal. A list `unsupported` would name what else in the request is at fault.
CODE = "thread_unsupported_request"


def carries(deployment: Deployment) -> bool:
    """Return whether the deployment's upstream keeps threads: Anthropic itself, on its own wire."""
    return deployment.wire == "native" and deployment.quirks.native_betas == "all"


def check(request: Request, deployment: Deployment) -> None:
    """Raise `ApiError` if the request is one of a thread, and the deployment's upstream keeps none."""
    if request.has_thread and not carries(deployment):
        raise refusal(request.model)


def refusal(model: str) -> ApiError:
    message = f"thread: {model} keeps no conversations. Send the whole conversation without `thread`."
    error = ApiError("invalid_request", message, should_retry=False)
    error.details = {"error_code": CODE}
    return error
