"""One question to one deployment: prepare it, send it, read the reply into the answer.

`Attempt` has the order of these steps. A `DecodedAttempt` asks by a wire, and its reply is decoded.

Knows: the time limits of each step, what is counted towards the deployment's limits. Must not know: which deployment is
next (router), what the client gets (answer.py), HTTP parsing (a2py/upstream), upstream formats (wires).
Invariants: the upstream's response is closed or released, and the reservation is settled, in every way out; the request
body is not referred to once the reply has begun, except by `Prepared.sent_body`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.evidence.replies import Expectation, expectation_of
from a2py.messages.sent import SentBody
from a2py.messages.types import Call, Decoder, Outcome, Prepared, Usage
from a2py.proxy.answer import AnswerT, DecodedAnswer
from a2py.proxy.inbound import Inbound
from a2py.proxy.limits import Reservation, SharedGrant
from a2py.proxy.places import Place
from a2py.proxy.refusals import Refusals
from a2py.proxy.router import AtLimit
from a2py.proxy.services import Services
from a2py.upstream import Response
from a2py.upstream.client import api_error
from a2py.upstream.failure import Failure
from a2py.wires import wire as wire_of
from a2py.wires.common.ratelimits import rate_limits
from a2py.wires.failure import read
from a2py.wires.refusal.message import BARE_OVERFLOW
from a2py.wires.refusal.peer import Peer

if TYPE_CHECKING:
    from a2py.proxy.searching import Searching

#: Statuses of a redirect.
REDIRECTS = frozenset((300, 301, 302, 303, 307, 308))


class Attempt(Generic[AnswerT]):
    """`deployment`: as it is asked, after its lessons; `original`: as it is configured; `place`: of the request, at
    `original`; `refusals`: what this request need not ask again; `is_repetition`: it would have asked that, so nothing
    was sent; `expectation`: what the reply must
    obey; `prepared`: the request, None until it is prepared. Its body and headers are dropped once it is sent.
    `outcome`: once the attempt has ended, how its reply did; None if there was none."""

    def __init__(
        self,
        services: Services,
        inbound: Inbound,
        answer: AnswerT,
        original: Deployment,
        deployment: Deployment,
        refusals: Refusals,
    ) -> None:
        self._services = services
        self._inbound = inbound
        self._answer = answer
        self._original = original
        self.deployment = deployment
        self._refusals = refusals
        self.place: Place | None = None
        self.grant: SharedGrant | None = None
        self.is_repetition = False
        self.prepared: Prepared | None = None
        self.expectation = Expectation()
        self.outcome: Outcome | None = None
        self._response: Response | None = None  # that is being read
        self._outcome: Outcome | None = None  # of the latest response, None until it has ended
        self._is_refused = False  # the upstream did no work for the latest request, as far as one can tell
        self._reservation: Reservation | None = None

    @property
    def has_hops(self) -> bool:
        """Whether the model was asked several times, so that the reply's usage is that of several prompts."""
        return False

    @property
    def progress(self) -> int:
        """How many events with content have come: about as many as output tokens. 0 if nobody counts them."""
        return 0

    async def _prepare(self) -> None:
        """Build the upstream's request. Raise `ApiError` if it can't be built, or would not fit into the server's
        context."""
        raise NotImplementedError

    def _judge_refusal(self, error: ApiError, response: Response, body: bytes) -> ApiError:
        """Return the error for retries, cooldowns and the client. `error`: what the response means by itself."""
        raise NotImplementedError

    async def _read_reply(self, response: Response) -> Outcome:
        """Pass the body on to the answer. Return how the reply ended; if it broke off, `Outcome.error` says why."""
        raise NotImplementedError

    def _read_partial(self) -> Outcome | None:
        """Return the outcome of a reply that was cancelled; None if it had not begun."""
        raise NotImplementedError

    def _sum_up(self, outcome: Outcome | None) -> Outcome | None:
        """Return the outcome of the whole attempt; `outcome`: of its latest response, None if it has none."""
        return outcome

    async def run(self) -> ApiError | None:
        """Ask. Return None if the answer has what it needs, otherwise the error. `AtLimit` and `is_repetition` mean
        that nothing was sent."""
        services, deployment, record = self._services, self.deployment, self._inbound.record
        record.deployment, record.upstream, record.wire = deployment.id, deployment.model, deployment.wire
        if deployment.problem:
            return ApiError("api", deployment.problem, should_retry=False)
        try:
            await self._prepare()
        except ApiError as error:
            return error
        refusal = self._refusals.find(deployment, self.prepared)
        if refusal is not None:
            self.is_repetition = True
            return refusal
        reservation = services.limits.reserve(self._original, self._inbound.size, self.place, self.grant)
        if reservation is None:
            return AtLimit()
        self._reservation = reservation
        try:
            response = await self._send()
            if not 200 <= response.status < 300:
                self._is_refused = True
                return await self._read_refusal(response)
            outcome = self._outcome = await self._read_reply(response)
            failure = self._answer.complete(outcome, deployment.model)
            if failure is not None and not self._answer.is_delivered and response.content_type == "text/html":
                return web_page_error(deployment)
            return failure
        except ApiError as error:
            if self._response is None and self._outcome is None and error.kind != "timeout":
                self._is_refused = True
            return error.with_traceback(None)  # its frames hold the body, and are held by what keeps the error
        finally:
            self._leave()
            self._settle(reservation)

    async def _read_refusal(self, response: Response) -> ApiError:
        """Return the error that a response with a status outside of 2xx means."""
        deployment, prepared = self.deployment, self.prepared
        assert prepared is not None
        if response.status < 400:
            return address_error(response.status, deployment)
        body = await response.error_body()
        if self._inbound.recording is not None:
            self._inbound.recording.add_reply(body)
        error = read(response.status, response.headers, body, Peer.of(deployment, prepared.sent_body))
        error = self._judge_refusal(error, response, body)
        error.rate_limits = rate_limits(response.headers)
        return error

    def _leave(self) -> None:
        """End the exchange with the upstream, if there is one."""
        response, self._response, outcome = self._response, None, self._outcome
        if response is not None:
            # after a stop sequence the upstream goes on writing what nobody will read: close instead of reuse
            is_complete = outcome is not None and outcome.error is None and outcome.reason != "stop_sequence"
            response.leave(is_complete=is_complete)

    async def _send(self) -> Response:
        """Send the request, and return the response once its head has come. Raise `ApiError`."""
        prepared, inbound = self.prepared, self._inbound
        assert prepared is not None
        recording = inbound.recording
        if recording is not None:
            recording.begin_attempt(self.deployment, prepared)
        total, silence, contentless = self._time_limits(prepared.stream)
        self._outcome = None  # that of an earlier hop
        response = self._response = await self._services.upstream.send(
            self.deployment, prepared, total=total, silence=silence, contentless=contentless, hops=inbound.hops
        )
        if response.resent:
            inbound.record.notes.append("sent again: the kept connection had been closed")
        # The body is kept as `sent` until the reply begins, because an error may quote it.
        self.prepared = prepared._replace(headers={}, body=b"", sent_body=SentBody(prepared.body))
        self._answer.set_rate_limits(response.headers)
        if recording is not None:
            recording.add_head(response.status, response.headers)
        return response

    def _time_limits(self, is_upstream_stream: bool) -> tuple[float | None, float | None, float | None]:
        """Return seconds for the whole reply, without a byte, and without content; None for no limit.

        A stream may last as long as it brings content. DeepSeek and OpenRouter send comments while a request waits in
        their queue: comments alone keep a stream alive only for the time that a whole reply gets."""
        settings, deployment = self._inbound.config.settings, self.deployment
        whole = deployment.timeout or settings.timeout or settings.request_timeout or None
        if not is_upstream_stream:
            return whole, None, None
        silence = deployment.stream_timeout or settings.stream_timeout or whole
        return (None, silence, whole) if self._answer.is_stream else (whole, silence, None)

    def _settle(self, reservation: Reservation) -> None:
        """Replace the reserved tokens by those of the reply: as the upstream counted them, otherwise as many as were
        seen.

        A refused request costs nothing. A reply that broke off costs at least what was reserved: nobody knows how far
        the upstream has come."""
        outcome = self._outcome
        if outcome is None:  # cancelled, or refused
            outcome = self._read_partial()
        is_open = outcome is None and not self._is_refused  # nobody knows what the latest request costs
        outcome = self.outcome = self._sum_up(outcome)
        if outcome is None:
            reservation.settle(*((reservation.input, reservation.output) if is_open else (0, 0)))
            return
        usage = outcome.final_usage(Usage(input=reservation.input))
        is_complete = outcome.error is None and not is_open
        if is_complete and usage.output:
            reservation.settle(usage.prompt, usage.output, complete=True)
        elif is_complete and not reservation.output:  # no output was expected: embeddings have none
            reservation.settle(usage.prompt, 0)
        else:
            output = max(usage.output, outcome.output_estimate)
            reservation.settle(max(usage.prompt, reservation.input), max(output, reservation.output))


class DecodedAttempt(Attempt[DecodedAnswer]):
    """An attempt at a request to /v1/messages."""

    def __init__(
        self,
        services: Services,
        inbound: Inbound,
        answer: DecodedAnswer,
        original: Deployment,
        deployment: Deployment,
        refusals: Refusals,
    ) -> None:
        super().__init__(services, inbound, answer, original, deployment, refusals)
        self._decoder: Decoder | None = None
        self._searching: Searching | None = None
        if inbound.config.search is not None:
            from a2py.proxy.searching import begin  # not loaded where no search is configured

            self._searching = begin(services, inbound, deployment)

    @property
    def has_hops(self) -> bool:
        return self._searching is not None and self._searching.count > 1

    @property
    def progress(self) -> int:
        decoder = self._decoder
        if decoder is None:
            return 0
        return decoder.progress + (decoder.splice.count if decoder.splice is not None else 0)

    @property
    def _call(self) -> Call:
        return self._inbound.call if self._searching is None else self._searching.call

    async def _prepare(self) -> None:
        services, call, deployment = self._services, self._call, self.deployment
        prepared = await self._prepare_hop()
        if self._searching is None:
            self.expectation = expectation_of(call.request, prepared)
        self._answer.begin_attempt(deployment, prepared)
        if deployment.quirks.context_probe:
            tokens = await services.sizes.count(call.request, deployment.model)
            await services.prompts.contexts.check(services.upstream, deployment, tokens)

    async def _prepare_hop(self) -> Prepared:
        work = wire_of(self.deployment.wire).prepare_in_slices(self._call, self.deployment, self._answer.is_stream)
        prepared = self.prepared = await self._services.pace.run(work)
        return prepared

    def _judge_refusal(self, error: ApiError, response: Response, body: bytes) -> ApiError:
        """Return `error` with the context that is known of this model: its numbers, if the upstream gave none, and an
        overflow, with the upstream's own words, instead of a 400 of no known meaning, if the prompt has more tokens."""
        context = self.deployment.max_input_tokens
        is_bare = error.kind == "context_overflow" and error.message == BARE_OVERFLOW
        is_unknown = error.kind == "invalid_request" and not error.field and error.details is None
        is_vague = error.status == 400 and is_unknown
        if not context or not (is_bare or is_vague):
            return error
        tokens = self._inbound.size.input_tokens(self.deployment.model)
        if is_vague and tokens <= context:
            return error
        words = "" if is_bare else f" (the upstream said: {error.message})"
        message = f"{BARE_OVERFLOW}: {max(tokens, context + 1)} tokens > {context} maximum{words}"
        return ApiError("context_overflow", message, limit=context)

    async def _read_reply(self, response: Response) -> Outcome:
        outcome = await self._read_hop(response)
        if self._searching is not None:
            outcome = await self._follow_searches(self._searching, outcome)
        return outcome

    async def _follow_searches(self, searching: Searching, outcome: Outcome) -> Outcome:
        """Make the searches that the reply asks for, and ask the model again with what they bring, until it asks for
        none. Return the outcome of it all. Raise `ApiError` if a later question is refused."""
        while searches := searching.list_searches(outcome):
            self._leave()
            await self._answer.flush()  # the client sees the search before its results
            if not await searching.run(searches, outcome):
                break
            await self._answer.flush()
            await self._prepare_hop()
            assert self._reservation is not None
            self._reservation.count_hop()
            self._decoder = None
            response = await self._send()
            if not 200 <= response.status < 300:
                self._is_refused = True
                raise await self._read_refusal(response)
            outcome = await self._read_hop(response)
        return searching.finish(outcome)

    async def _read_hop(self, response: Response) -> Outcome:
        """Read one response."""
        deployment, prepared, answer = self.deployment, self.prepared, self._answer
        assert prepared is not None
        searching = self._searching
        if searching is None:
            sink = answer.open_sink(deployment, prepared)
        elif searching.is_open:
            sink = searching.open(None, deployment.origin)
        else:
            sink = searching.open(answer.open_sink(deployment, prepared), deployment.origin)
        decoder = wire_of(deployment.wire).decoder(prepared, sink)  # reads a JSON body as well as a stream
        recording = self._inbound.recording
        if recording is not None:
            decoder = recording.decoder(decoder)
        self._decoder = decoder
        cause = None
        try:
            await response.read(answer.flow_of(decoder))
        except Failure as failure:
            cause = failure.cause  # and not the exception, whose frames hold the whole exchange
        outcome = self._outcome = decoder.close()
        # A connection that breaks after the last event does no harm: the decoder has no error then.
        if cause is not None and outcome.error is not None:
            outcome.error = api_error(cause, deployment)
        if recording is not None:
            recording.end_attempt(outcome.error)
        return outcome

    def _read_partial(self) -> Outcome | None:
        return self._decoder.close() if self._decoder is not None else None

    def _sum_up(self, outcome: Outcome | None) -> Outcome | None:
        return outcome if self._searching is None else self._searching.sum_up(outcome)


def address_error(status: int, deployment: Deployment) -> ApiError:
    """Return the error for a status that no model's server gives: the configured address is wrong, and a retry will not
    help."""
    if status in REDIRECTS:
        problem = f"answered {status}, a redirect. Set `api_base` to the address that it redirects to."
    else:
        problem = f"answered HTTP {status}, which is not a reply. Check `api_base`."
    return ApiError("upstream", f"{Peer.of(deployment).host_and_model} {problem}", should_retry=False)


def web_page_error(deployment: Deployment) -> ApiError:
    problem = "answered with a web page instead of a model's reply. Check `api_base`: most end in /v1."
    return ApiError("upstream", f"{Peer.of(deployment).host_and_model} {problem}", should_retry=False)
