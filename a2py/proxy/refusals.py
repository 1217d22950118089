"""The questions of one request that upstreams have refused, so that none of them is asked twice.

A lesson may leave the upstream's request as it was: the server refused a field that another quirk keeps in, or that the
proxy did not send. Then the answer is known, and the next lesson, or the error, is what follows.

Knows: what makes two questions the same. Must not know: lessons, which deployment is next.
Invariants: nothing is read as long as nothing was refused; no body is kept.
"""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.sent import SentBody
from a2py.messages.types import Prepared

_Question = tuple[str, str, int]


class Refusals:
    def __init__(self) -> None:
        self._errors: dict[_Question, ApiError] = {}

    def note(self, deployment: Deployment, prepared: Prepared | None, error: ApiError) -> None:
        """Note that `prepared`, if it was sent, was refused with `error`."""
        if prepared is not None and prepared.sent_body:
            self._errors[prepared.url, deployment.key, prepared.sent_body.digest()] = error

    def find(self, deployment: Deployment, prepared: Prepared | None) -> ApiError | None:
        """Return the error with which `prepared` was refused before; None if it was not."""
        if prepared is None or not self._errors:
            return None
        return self._errors.get((prepared.url, deployment.key, SentBody(prepared.body).digest()))
