"""One request to /v1/messages: its attempts at upstreams, and its one answer.

Knows: the order of an attempt (prepare, send, read, close), the two pivots. Must not know: HTTP parsing, which deployment is next (router),
upstream formats (wires).
Invariants: exactly one answer, whatever fails; before `committed` a failure is an HTTP status, after it an `event: error`; after `delivered`
nothing is asked again; the upstream's response is left (closed or released) in every way out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import aiohttp

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.count import count, estimate
from a2py.messages.types import Call, Decoder, Outcome, Prepared, Usage
from a2py.proxy import upstream
from a2py.proxy.context import cut
from a2py.proxy.lean import BaseRequest, StreamResponse
from a2py.proxy.lessons import WIRE, changed
from a2py.proxy.log import Record
from a2py.proxy.pump import Flow, Gather, pull
from a2py.proxy.push import push
from a2py.proxy.upstream import Closed, failure, lower, part
from a2py.wires import wire as wire_of
from a2py.wires.failure import read
from a2py.wires.lessons import lasting, lesson

if TYPE_CHECKING:
    from a2py.config import Config
    from a2py.proxy.app import Proxy
    from a2py.proxy.capture import Capture
    from a2py.proxy.router import Plan, Step

#: Statuses of a path that an upstream does not have.
NO_WIRE = frozenset({404, 405})
#: What reading an upstream body raises.
BROKEN = (aiohttp.ClientError, asyncio.TimeoutError, OSError, RuntimeError)


def _refused(response: aiohttp.ClientResponse, body: bytes, deployment: Deployment) -> ApiError:
    headers = lower(response.headers)
    return read(response.status, headers, body, provider=deployment.provider, model=deployment.model, secrets=deployment.secrets)


#: Statuses of a redirect.
MOVED = frozenset((300, 301, 302, 303, 307, 308))


def _misled(status: int, deployment: Deployment) -> ApiError:
    """What is no answer at all: the address is wrong, and stays so."""
    told = f"{status}, a redirect: set api_base to its final address" if status in MOVED else f"HTTP {status}: check api_base"
    return ApiError("upstream", f"{deployment.provider} answered {told}", should_retry=False)


def _page(deployment: Deployment) -> ApiError:
    told = "a web page where a model's reply was expected: check api_base (most end in /v1)"
    return ApiError("upstream", f"{deployment.provider} answered with {told}", should_retry=False)


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
        self._silence: float | None = None  # the latest attempt's limits: seconds, loop time
        self._due: float | None = None
        self._once: dict[str, dict[str, Any]] = {}  # deployment id → quirk changes for this request
        self._task = asyncio.current_task()
        self._interruption: ApiError | None = None
        mode = call.request.thinking_mode
        if not mode:
            mode = "none" if self.config.settings.unasked_thinking == "hide" else "show"
        self.thinking = mode
        self.estimated = estimate(call.request)
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
            return error
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

    async def _attempts(self) -> ApiError | None:
        plan = self.proxy.router.plan(self.config, self.call.request.model)
        step: Step | None = plan.first()
        while True:
            assert step is not None
            if step.delay:
                await asyncio.sleep(step.delay)
            self.record.attempts += 1
            error = await self._attempt(step.deployment)
            self.proxy.metrics.add("a2py_attempts_total", deployment=step.deployment.id, result=error.kind if error else "ok")
            self._spoken(step.deployment, error)
            if error is None:
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
        return plan.after(original, error, delivered=self.delivered, reused=isinstance(error, Closed), patience=self.patience)

    def _learned(self, original: Deployment, error: ApiError) -> bool:
        """Whether `error` says what to leave out, so that asking once more is worth while. What only this request's size brought about is
        kept for this request alone."""
        if self.prepared is None or self.asked is None:
            return False
        wire = self._other_wire(original, self.asked, error)
        if wire:
            self._once[original.id] = {**self._once.get(original.id, {}), WIRE: wire}
            self.record.notes.append(f"no {self.asked.wire} wire here: asked by {wire}")
            return True
        changes = lesson(error, self._taught(original).quirks, self.prepared.added)
        if changes is None:
            return False
        if lasting(error):
            self.proxy.lessons.learn(original, changes)
        else:
            self._once[original.id] = {**self._once.get(original.id, {}), **changes}
        self.record.notes.append(f"learned {','.join(changes)}")
        return True

    def _other_wire(self, original: Deployment, asked: Deployment, error: ApiError) -> str:
        """The wire to try instead of one that the upstream does not speak, once; "": none, or the configuration chose."""
        if error.status not in NO_WIRE or original.wire_fixed or WIRE in self._once.get(original.id, ()):
            return ""
        if asked.wire != "chat":
            return "chat"
        return "responses" if "/responses" in error.message and not asked.path else ""  # OpenAI names it (codex, pro models, 2026)

    def _spoken(self, original: Deployment, error: ApiError | None) -> None:
        """The wire that was tried instead is remembered if the upstream speaks it (a model that nobody has is 404 on any)."""
        wire = self._once.get(original.id, {}).get(WIRE)
        if wire and (error is None or error.status not in NO_WIRE):
            self.proxy.lessons.learn(original, {WIRE: wire})

    def _taught(self, original: Deployment) -> Deployment:
        deployment = self.proxy.lessons.taught(original)
        once = self._once.get(original.id)
        return changed(deployment, once) if once else deployment

    async def _attempt(self, original: Deployment) -> ApiError | None:
        """One question to one deployment; None: answered."""
        proxy, record = self.proxy, self.record
        deployment = self.asked = self._taught(original)
        record.deployment, record.upstream, record.wire = deployment.id, deployment.model, deployment.wire
        self.prepared = None
        if deployment.problem:
            return ApiError("api", deployment.problem, should_retry=False)
        wire = wire_of(deployment.wire)
        try:
            prepared = self.prepared = wire.prepare(self.call, deployment, self.streams)
        except ApiError as error:
            return error
        self._begin(deployment, prepared)
        if deployment.quirks.context_probe:
            try:
                await proxy.contexts.check(proxy.upstream, deployment, proxy.counted(self.call.request, deployment.model))
            except ApiError as error:
                return error
        proxy.limits.begin(original)
        response: aiohttp.ClientResponse | None = None
        outcome: Outcome | None = None
        try:
            total, silence = self._times(deployment, prepared.stream)
            self._silence, self._due = silence, proxy.loop.time() + total if total else None
            if self.capture is not None:
                self.capture.asked(deployment, prepared)
            response = await proxy.upstream.send(deployment, prepared, total=total, silence=silence, hops=self.hops)
            prepared = self.prepared = prepared._replace(headers={}, body=b"")  # not kept for as long as the answer streams
            if self.capture is not None:
                self.capture.answered(response.status, response.headers)
            if not 200 <= response.status < 300:
                if response.status < 400:
                    return _misled(response.status, deployment)
                body = await self._error_body(response)
                if self.capture is not None:
                    self.capture.came(body)
                return _refused(response, body, deployment)
            outcome = await self._read(response, deployment, prepared)
            failed = self._settle(outcome)
            if failed is not None and not self.delivered and response.content_type == "text/html":
                return _page(deployment)
            return failed
        except ApiError as error:
            return error.with_traceback(None)  # its frames hold the body, and are held by what keeps the error
        finally:
            if response is not None:
                clean = outcome is not None and outcome.error is None and outcome.reason != "stop_sequence"
                part(response, finished=clean)
            usage = outcome.usage if outcome is not None else None
            proxy.limits.end(original, usage.input + usage.output + usage.cache_read if usage else 0)

    def _begin(self, deployment: Deployment, prepared: Prepared) -> None:
        """An attempt begins."""
        self.degraded = prepared.degraded

    def _times(self, deployment: Deployment, streams: bool) -> tuple[float | None, float | None]:
        """Seconds for the whole reply, and of silence. A stream may last as long as it is alive."""
        settings = self.config.settings
        whole = deployment.timeout or settings.timeout or settings.request_timeout or None
        if not streams:
            return whole, None
        return None if self.streams else whole, deployment.stream_timeout or settings.stream_timeout or whole

    async def _read(self, response: aiohttp.ClientResponse, deployment: Deployment, prepared: Prepared) -> Outcome:
        raise NotImplementedError

    def _settle(self, outcome: Outcome) -> ApiError | None:
        raise NotImplementedError

    def _pump(self, response: aiohttp.ClientResponse, flow: Flow) -> Coroutine[Any, Any, None]:
        if self.proxy.push:
            return push(response, flow, self._silence, self._due)
        return pull(response, flow)

    async def _error_body(self, response: aiohttp.ClientResponse) -> bytes:
        """As much of an error's body as is worth reading; what is wrong with the rest does not matter."""
        body = Gather(upstream.ERROR_BODY)
        timer = self.proxy.loop.call_later(upstream.ERROR_SECONDS, response.close)
        try:
            await self._pump(response, body)
        except BROKEN:
            pass
        finally:
            timer.cancel()
        return body.body()

    async def _whole_body(self, response: aiohttp.ClientResponse, deployment: Deployment) -> bytes:
        """The body of a unary reply; raises `ApiError`."""
        body = Gather(upstream.REPLY_BODY)
        try:
            await self._pump(response, body)
        except BROKEN as error:
            raise failure(error, deployment, reading=True) from None
        if body.ended:
            raise ApiError("upstream", f"{deployment.provider} answered with more than {upstream.REPLY_BODY} bytes")
        return body.body()

    def _ended(self, error: BaseException, outcome: Outcome, deployment: Deployment) -> Outcome:
        """The body broke off. What the decoder had seen whole is an answer nevertheless; else the break is the error."""
        if outcome.error is not None:
            outcome.error = failure(error, deployment, reading=True)
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
        return decoder if self.capture is None else self.capture.decoder(decoder)

    def _save(self, capture: Capture, error: ApiError | None, status: int) -> None:
        if error is not None and not capture.begun:
            capture.got(error.body(self.record.id))
        try:
            capture.save(status, error)
        except OSError as problem:
            self.proxy.log.warning("capture can't be written", error=problem.strerror or type(problem).__name__)

    def _count(self) -> None:
        """The careful count, where calibration wants one of this model."""
        if self.counted is None:
            model = self.asked.model if self.asked is not None else ""
            self.counted = count(self.call.request) if self.proxy.counts.wants(model) else 0

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
