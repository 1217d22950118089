"""One request to an endpoint of OpenAI's: its attempts, and its one answer.

It is an exchange without what translation needs. Its body is the client's, so an error teaches nothing that could be
asked differently.

Knows: which deployments may be asked, where a stored response is. Must not know: how one attempt goes
(passed_attempt.py), which deployment is next (router).
Invariants: as in exchange.py; a request that continues a stored response reaches the account that made it, or none.
"""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.errors import ApiError, unknown_model
from a2py.proxy.attempt import Attempt
from a2py.proxy.exchange import Exchange
from a2py.proxy.inbound import Inbound
from a2py.proxy.passed_answer import PassedAnswer
from a2py.proxy.passed_attempt import PassedAttempt
from a2py.proxy.refusals import Refusals
from a2py.proxy.router import Plan
from a2py.proxy.services import Services
from a2py.wires.passthrough.deployments import explain_refusal, find_account
from a2py.wires.passthrough.endpoints import Endpoint
from a2py.wires.passthrough.request import Question


class Passage(Exchange[PassedAnswer]):
    def __init__(
        self, services: Services, inbound: Inbound, answer: PassedAnswer, endpoint: Endpoint, question: Question
    ) -> None:
        super().__init__(services, inbound, answer)
        self._endpoint = endpoint
        self._question = question

    def _narrow(self, plan: Plan) -> None:
        endpoint, question = self._endpoint, self._question
        group = plan.group
        if not plan.keep_only(lambda deployment: not explain_refusal(deployment, endpoint)):
            reasons = {f"{one.id}: {explain_refusal(one, endpoint)}" for one in group}
            raise _not_served(question.model, endpoint, sorted(reasons))
        if endpoint.name == "responses" and question.previous:
            self._stay_with_account(plan, question.previous)

    def _stay_with_account(self, plan: Plan, response: str) -> None:
        """Leave the deployments in the plan whose account made the stored response `response`.

        One account needs no memory: whoever made the response, no other could be asked."""
        accounts = {find_account(one) for one in plan.group}
        account = self._services.router.accounts.find(response) or (accounts.pop() if len(accounts) == 1 else "")
        if not plan.keep_only(lambda one: find_account(one) == account):
            if account:
                reason = f"another account made it than those of {self._question.model[:100]!r}"
            else:
                reason = "it is not known which of several accounts made it (a restart forgets that)"
            error = ApiError(
                "invalid_request",
                f"Previous response with id {response[:100]!r} not found: {reason}. Send the whole"
                " conversation instead.",
                field="previous_response_id",
                should_retry=False,
            )
            error.code = "previous_response_not_found"
            raise error

    def _new_attempt(self, original: Deployment, refusals: Refusals) -> PassedAttempt:
        return PassedAttempt(
            self._services, self._inbound, self.answer, original, refusals, self._endpoint, self._question
        )

    def _learn_from_reply(self, attempt: Attempt[PassedAnswer], original: Deployment) -> None:
        """Note which account has the response, if the upstream keeps it."""
        if self._endpoint.name == "responses":
            id = self.answer.response_id
            if id:
                self._services.router.accounts.note(id, find_account(original))


def _not_served(model: str, endpoint: Endpoint, reasons: list[str]) -> ApiError:
    problem = f"{model[:100]!r} is not served at {endpoint.name}: {'; '.join(reasons[:3])}"
    return unknown_model(problem, should_retry=False)
