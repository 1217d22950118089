"""One request to /v1/messages: its attempts at upstreams, and its one answer.

Knows: the order of an attempt (prepare, send, read, close), the two pivots. Must not know: HTTP parsing, which deployment is next (router),
upstream formats (wires).
Invariants: exactly one answer, whatever fails; before `committed` a failure is an HTTP status, after it an `event: error`; after `delivered`
nothing is asked again; the upstream's response is left (closed or released) in every way out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from a2py.deployment import Deployment
from a2py.errors import ApiError, Blame
from a2py.messages.count import count
from a2py.messages.sent import Sent
from a2py.messages.types import Call, Decoder, Outcome, Prepared, Usage
from a2py.proxy.aiohttp_server import BaseRequest, StreamResponse
from a2py.proxy.context import cut
from a2py.proxy.lessons import WIRE, Trial
from a2py.proxy.limits import Reservation
from a2py.proxy.log import Log, Record
from a2py.proxy.router import AtLimit
from a2py.upstream import Flow, Gather, Response
from a2py.upstream import client as upstream
from a2py.upstream.client import api_error
from a2py.upstream.failure import Cause, Failure
from a2py.wires import wire as wire_of
from a2py.wires.failure import read
from a2py.wires.refusal.peer import Peer

if TYPE_CHECKING:
    from a2py.config import Config
    from a2py.proxy.app import Proxy
    from a2py.proxy.capture import Capture
    from a2py.proxy.router import Plan, Step

#: Statuses of a path that an upstream does not have.
NO_WIRE = frozenset({404, 405})
#: Bytes of a request up to which its tokens are counted where that cannot be done in slices: for a token limit (above it takes the estimate), and
#: to teach the estimate. A MiB of text takes 4 ms, of very short blocks 50.
COUNTED_BYTES = 1024 * 1024


def _refused(response: Response, body: bytes, deployment: Deployment, sent: Sent) -> ApiError:
    return read(response.status, response.headers, body, Peer.of(deployment, sent))


#: Statuses of a redirect.
MOVED = frozenset((300, 301, 302, 303, 307, 308))


def _misled(status: int, deployment: Deployment) -> ApiError:
    """What is no answer at all: the address is wrong, and stays so."""
    told = f"{status}, a redirect: set api_base to its final address" if status in MOVED else f"HTTP {status}: check api_base"
    return ApiError("upstream", f"{deployment.provider} answered {told}", should_retry=False)


def _page(deployment: Deployment) -> ApiError:
    told = "a web page where a model's reply was expected: check api_base (most end in /v1)"
    return ApiError("upstream", f"{deployment.provider} answered with {told}", should_retry=False)


async def _write(capture: Capture, status: int, error: ApiError | None, log: Log) -> None:
    """Save a capture, in a thread: it may have some ten megabytes, and the disk may be slow."""
    try:
        await asyncio.get_running_loop().run_in_executor(None, capture.save, status, error)
    except OSError as problem:
        log.warning("capture can't be written", error=problem.strerror or type(problem).__name__)


class Exchange:
    """What a streamed and a whole answer share: the attempts. `config` stays the one the request began with, whatever is reloaded."""

    streams = False
    hops = ""  # value of the hop header

    def __init__(
        self, proxy: Proxy, request: BaseRequest, call: Call, record: Record, patience: float, capture: Capture | None = None
    ) -> None:
        self.capture = capture
        self.proxy = proxy
        self.config: Config = proxy.config
        self.request = request
        self.call = call
        self.record = record
        self.patience = patience
        self.begun = proxy.loop.time()
        self.degraded: tuple[str, ...] = ()
        self.outcome: Outcome | None = None
        self.asked: Deployment | None = None  # of the latest attempt, after its lessons
        self.prepared: Prepared | None = None  # of the latest attempt
        self._decoder: Decoder | None = None  # of the latest attempt
        self.trial = Trial(proxy.lessons)
        self._task = asyncio.current_task()
        self._interruption: ApiError | None = None
        mode = call.request.thinking_mode
        if not mode:
            mode = "none" if self.config.settings.unasked_thinking == "hide" else "show"
        self.thinking = mode
        self.estimated = call.estimate
        self.counted: int | None = None

    @property
    def delivered(self) -> bool:
        return False

    async def answer(self) -> StreamResponse | ApiError:
        """The response; an `ApiError` where nothing was committed."""
        raise NotImplementedError

    def interrupt(self, error: ApiError) -> None:
        """End this exchange with `error`, from outside, whatever it waits for."""
        if self._interruption is None and self._task is not None:
            self._interruption = error
            self._task.cancel()

    async def run(self) -> ApiError | None:
        """All attempts; None: the answer is complete."""
        try:
            return await self._attempts()
        except ApiError as error:
            return error.with_traceback(None)
        except asyncio.CancelledError:
            if self._interruption is None or self.request.transport is None:
                raise
            uncancel = getattr(self._task, "uncancel", None)  # since Python 3.11
            if uncancel is not None:
                uncancel()
            return self._interruption
        except Exception as error:
            self.proxy.log.crash(error, self.record.id)
            return ApiError("api", "Internal error of the proxy; its log has the place under this request id")
        finally:
            self._task = None  # a cancelled task keeps its error, whose frames refer to this exchange (Python 3.10)

    async def _attempts(self) -> ApiError | None:
        plan = self.proxy.router.plan(self.config, self.call.request.model, self)
        step: Step | None = plan.first()
        while True:
            assert step is not None
            if step.delay:
                await asyncio.sleep(step.delay)
            self.record.attempts += 1
            error = await self._attempt(step.deployment)
            if isinstance(error, AtLimit):
                self.record.attempts -= 1
                step = plan.instead()
                continue
            self.proxy.metrics.add("a2py_attempts_total", deployment=step.deployment.id, result=error.kind if error else "ok")
            if error is None:
                self.trial.succeeded(step.deployment)
                self.proxy.router.succeeded(step.deployment)
                return None
            error.hide(step.deployment.secrets)
            step = self._follow(plan, step.deployment, error)
            if step is None:
                return error

    def _follow(self, plan: Plan, original: Deployment, error: ApiError) -> Step | None:
        if not self.delivered and self._learned(original, error):
            step = plan.again(original)
            if step is not None:
                return step
        return plan.after(original, error, delivered=self.delivered, patience=self.patience)

    def _learned(self, original: Deployment, error: ApiError) -> bool:
        """Whether `error` says what to leave out, so that asking once more is worth while."""
        asked, prepared = self.asked, self.prepared
        if prepared is None or asked is None:
            return False
        wire = self._other_wire(original, asked, error)
        if wire:
            self.trial.change(original, error, {WIRE: wire})
            self.record.notes.append(f"no {asked.wire} wire here: asked by {wire}")
            return True
        changes = self.trial.learn(original, asked, error, prepared.added)
        if changes:
            self.record.notes.append(f"learned {','.join(changes)}")
        return bool(changes)

    def _other_wire(self, original: Deployment, asked: Deployment, error: ApiError) -> str:
        """The wire to try instead of one that the upstream does not speak, once; "": none, or the configuration chose."""
        if error.status not in NO_WIRE or error.blame is Blame.NONE or original.wire_fixed or self.trial.moved(original):
            return ""
        if asked.wire != "chat":
            return "chat"
        return "responses" if "/responses" in error.message and not asked.path else ""  # OpenAI names it (codex, pro models, 2026)

    async def _attempt(self, original: Deployment) -> ApiError | None:
        """One question to one deployment; None: answered."""
        proxy, record = self.proxy, self.record
        deployment = self.asked = self.trial.taught(original)
        record.deployment, record.upstream, record.wire = deployment.id, deployment.model, deployment.wire
        self.prepared = self._decoder = None
        if deployment.problem:
            return ApiError("api", deployment.problem, should_retry=False)
        wire = wire_of(deployment.wire)
        try:
            prepared = self.prepared = await proxy.pace.run(wire.prepare_in_slices(self.call, deployment, self.streams))
        except ApiError as error:
            return error
        self._begin(deployment, prepared)
        if deployment.quirks.context_probe:
            try:
                counted = await proxy.counted(self.call.request, deployment.model)
                await proxy.contexts.check(proxy.upstream, deployment, counted)
            except ApiError as error:
                return error
        reservation = proxy.limits.reserve(original, self)
        if reservation is None:
            return AtLimit()
        response: Response | None = None
        outcome: Outcome | None = None
        refused = False
        try:
            total, silence, contentless = self._times(deployment, prepared.stream)
            if self.capture is not None:
                self.capture.asked(deployment, prepared)
            response = await proxy.upstream.send(
                deployment, prepared, total=total, silence=silence, contentless=contentless, hops=self.hops
            )
            if response.resent:
                record.notes.append("sent again: the kept connection had been closed")
            sent = Sent(prepared.body)  # kept until the reply begins: an error may repeat it
            prepared = self.prepared = prepared._replace(headers={}, body=b"", sent=sent)
            if self.capture is not None:
                self.capture.answered(response.status, response.headers)
            if not 200 <= response.status < 300:
                refused = True
                if response.status < 400:
                    return _misled(response.status, deployment)
                body = await self._error_body(response)
                if self.capture is not None:
                    self.capture.came(body)
                return _refused(response, body, deployment, sent)
            outcome = await self._read(response, deployment, prepared)
            failed = self._settle(outcome)
            if failed is not None and not self.delivered and response.content_type == "text/html":
                return _page(deployment)
            return failed
        except ApiError as error:
            refused = response is None and error.kind != "timeout"
            return error.with_traceback(None)  # its frames hold the body, and are held by what keeps the error
        finally:
            if response is not None:
                clean = outcome is not None and outcome.error is None and outcome.reason != "stop_sequence"
                response.leave(finished=clean)
            self._settle_limits(reservation, outcome, refused)

    # -- token limits ------------------------------------------------------------------------------------------------

    @property
    def max_tokens(self) -> int:
        return self.call.request.max_tokens

    def input_tokens(self, model: str) -> int:
        """Input tokens for the upstream's `model`, before it has counted them."""
        request = self.call.request
        if request.size > COUNTED_BYTES:
            return self.proxy.estimates.apply(model, self.estimated)
        if not self.counted:
            self.counted = count(request)
        return self.proxy.counts.apply(model, self.counted)

    def _settle_limits(self, reservation: Reservation, outcome: Outcome | None, refused: bool) -> None:
        """Replace the reserved tokens by those of the answer: what the upstream counted, else what was seen of it. Nothing if it `refused`.
        An answer that broke off counts at least what was reserved: nobody knows how far the upstream has come."""
        if refused:
            reservation.settle(0, 0)
            return
        if outcome is None and self._decoder is not None:  # cancelled
            outcome = self._decoder.close()
        if outcome is None:
            reservation.settle(reservation.input, reservation.output)
            return
        usage = outcome.final_usage(Usage(input=reservation.input))
        input = usage.input + usage.cache_read + usage.cache_creation
        if outcome.error is None and usage.output:
            reservation.settle(input, usage.output, complete=True)
        else:
            output = max(usage.output, outcome.output_estimate)
            reservation.settle(max(input, reservation.input), max(output, reservation.output))

    def _begin(self, deployment: Deployment, prepared: Prepared) -> None:
        """An attempt begins."""
        self.degraded = prepared.degraded

    def _times(self, deployment: Deployment, streams: bool) -> tuple[float | None, float | None, float | None]:
        """Seconds for the whole reply, without a byte, and without content. A stream may last as long as it has content: comments alone, which
        DeepSeek and OpenRouter send while a request waits, keep it alive for the time that a whole reply gets."""
        settings = self.config.settings
        whole = deployment.timeout or settings.timeout or settings.request_timeout or None
        if not streams:
            return whole, None, None
        silence = deployment.stream_timeout or settings.stream_timeout or whole
        return (None, silence, whole) if self.streams else (whole, silence, None)

    async def _read(self, response: Response, deployment: Deployment, prepared: Prepared) -> Outcome:
        raise NotImplementedError

    def _settle(self, outcome: Outcome) -> ApiError | None:
        raise NotImplementedError

    async def _error_body(self, response: Response) -> bytes:
        """As much of an error's body as is worth reading; what is wrong with the rest does not matter."""
        body = Gather(upstream.ERROR_BODY)
        timer = self.proxy.loop.call_later(upstream.ERROR_SECONDS, response.close)
        try:
            await response.read(body)
        except Failure:
            pass
        finally:
            timer.cancel()
        return body.body()

    async def _read_body(self, response: Response, flow: Flow) -> Cause | None:
        """Pass the body on to `flow`; return why it broke off, None if it did not."""
        try:
            await response.read(flow)
        except Failure as failure:
            return failure.cause
        return None

    def _ended(self, cause: Cause | None, outcome: Outcome, deployment: Deployment) -> Outcome:
        """The body has ended, or broke off because of `cause`. If the decoder had seen the whole answer by then, that is the answer."""
        if cause is not None and outcome.error is not None:
            outcome.error = api_error(cause, deployment)
        return outcome

    def note(self, error: ApiError | None, status: int) -> None:
        """What the log tells of the end."""
        if self.capture is not None:
            self._save(self.capture, error, status)
        record = self.record
        record.status = status
        record.degraded = self.degraded
        if error is not None:
            record.error = f"{error.kind}: {error.message}"
        outcome = self.outcome
        if outcome is not None:
            record.notes += outcome.notes
            record.reason = (outcome.told or outcome.reason) if outcome.error is None else ""
            if outcome.usage is not None:
                usage = outcome.usage
                record.input, record.cached, record.output = usage.input, usage.cache_read, usage.output
                if error is None and self.asked is not None:
                    self._learn_size(self.asked, usage.input + usage.cache_read + usage.cache_creation)

    def _listened(self, decoder: Decoder) -> Decoder:
        self._decoder = decoder if self.capture is None else self.capture.decoder(decoder)
        return self._decoder

    def _save(self, capture: Capture, error: ApiError | None, status: int) -> None:
        if error is not None and not capture.begun:
            capture.got(error.body(self.record.id))
        self.proxy.finish_later(_write(capture, status, error, self.proxy.log))

    def _count(self) -> None:
        """The careful count, where calibration wants one of this model."""
        if self.counted is None:
            model = self.asked.model if self.asked is not None else ""
            small = self.call.request.size <= COUNTED_BYTES
            self.counted = count(self.call.request) if small and self.proxy.counts.wants(model) else 0

    def _learn_size(self, asked: Deployment, real: int) -> None:
        if cut(asked, self.estimated, real):
            self.record.notes.append("the upstream seems to have cut the prompt to its context")
            return
        self._count()
        self.proxy.estimates.observe(asked.model, self.estimated, real)
        if self.counted:
            self.proxy.counts.observe(asked.model, self.counted, real)

    def _usage(self, model: str = "") -> Usage:
        """What is told of the input before the upstream has counted."""
        if not self.config.settings.estimate_initial_input_tokens:
            return Usage()
        return Usage(input=self.proxy.estimates.apply(model, self.estimated))
