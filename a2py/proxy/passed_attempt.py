"""One question to one deployment, of which the reply passes as it is.

Knows: what differs from an attempt whose reply is decoded (attempt.py). Must not know: which deployment is next, HTTP
parsing, what the client gets of a reply (passed_answer.py).
Invariants: as in attempt.py; an error that repeats the upstream's key passes without it; the client's body is released
once the reply has begun.
"""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.errors import ApiError, Blame
from a2py.messages.types import Outcome, Prepared
from a2py.proxy.attempt import Attempt, web_page_error
from a2py.proxy.inbound import Inbound
from a2py.proxy.passed_answer import PassedAnswer
from a2py.proxy.refusals import Refusals
from a2py.proxy.services import Services
from a2py.upstream import Response
from a2py.upstream.client import api_error
from a2py.upstream.failure import Failure
from a2py.wires.passthrough.deployments import build_address
from a2py.wires.passthrough.endpoints import Endpoint
from a2py.wires.passthrough.headers import upstream_headers
from a2py.wires.passthrough.request import Question

#: Name of this way in the log and the metrics, where other attempts have their wire.
WAY = "passthrough"
#: Statuses by which an upstream says that it does not have the endpoint, which says nothing about the model elsewhere.
NO_ENDPOINT = frozenset((404, 405, 501))


class PassedAttempt(Attempt[PassedAnswer]):
    def __init__(
        self,
        services: Services,
        inbound: Inbound,
        answer: PassedAnswer,
        deployment: Deployment,
        refusals: Refusals,
        endpoint: Endpoint,
        question: Question,
    ) -> None:
        super().__init__(services, inbound, answer, deployment, deployment, refusals)
        self._endpoint = endpoint
        self._question = question
        self._has_begun = False

    async def _prepare(self) -> None:
        deployment, question = self.deployment, self._question
        self._inbound.record.wire = WAY
        self.prepared = Prepared(
            url=build_address(deployment, self._endpoint),
            headers=upstream_headers(deployment, self._inbound.request.headers, question.content_type),
            body=question.body_for(deployment.model),
            stream=question.wants_stream,
            provider=deployment.provider,
            address=deployment.address,
        )

    def _time_limits(self, is_upstream_stream: bool) -> tuple[float | None, float | None, float | None]:
        """Return the limits without the one for content: what a piece means is not looked at."""
        total, silence, _ = super()._time_limits(is_upstream_stream)
        return total, silence, None

    def _judge_refusal(self, error: ApiError, response: Response, body: bytes) -> ApiError:
        """Hand the response on to the answer, because the client gets its own bytes."""
        from a2py.proxy.redact import Redactor  # not loaded before an upstream refuses something

        if response.status in NO_ENDPOINT:
            error.blame = Blame.NONE
        self._answer.note_refusal(error, response, Redactor(self.deployment.secrets).body(body)[0])
        return error

    async def _read_reply(self, response: Response) -> Outcome:
        if response.content_type == "text/html":
            return Outcome(error=web_page_error(self.deployment))
        flow = self._answer.begin_reply(response, self._release_body)
        self._has_begun = True
        try:
            await response.read(flow)
        except Failure as failure:
            outcome = self._answer.read_outcome()
            if not self._answer.is_complete:
                outcome.error = api_error(failure.cause, self.deployment)
            return outcome
        return self._answer.end_reply(response)

    def _release_body(self) -> None:
        """Free the client's body: its answer has begun, so nothing is asked again."""
        assert self.prepared is not None
        self.prepared.sent_body.forget()
        self._question.forget()

    def _read_partial(self) -> Outcome | None:
        if not self._has_begun:
            return None
        outcome = self._answer.read_outcome()
        if not self._answer.is_complete:
            outcome.error = ApiError("api", "the reply was not read to its end")
        return outcome
