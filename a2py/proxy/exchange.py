"""One request: its attempts at upstreams, and its one answer.

`Exchange` has the order of attempts, and what follows a failure. A `Conversation` is a request to /v1/messages, whose
attempts teach what upstreams accept.

Knows: attempts, lessons, what the log says in the end. Must not know: how one attempt goes (attempt.py), in which form
the client is answered (answer.py), which deployment is next (router).
Invariants: exactly one answer, whatever fails; before the answer is committed a failure is an HTTP status, after it an
`event: error`; once content was delivered nothing is asked again.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Generic

from a2py.deployment import Deployment
from a2py.errors import CLIENT_ERRORS, ApiError, Blame
from a2py.evidence.replies import judge
from a2py.messages.types import Outcome, Usage
from a2py.proxy import unsearched
from a2py.proxy.access import may_ask
from a2py.proxy.aiohttp_server import StreamResponse
from a2py.proxy.answer import AnswerT, DecodedAnswer
from a2py.proxy.attempt import Attempt, DecodedAttempt
from a2py.proxy.context import is_cut
from a2py.proxy.inbound import Inbound
from a2py.proxy.lessons import WIRE, Trial
from a2py.proxy.log import INTERNAL, Spent
from a2py.proxy.refusals import Refusals
from a2py.proxy.router import AtLimit, Plan, Step
from a2py.proxy.services import Services
from a2py.proxy.waiting import Waiting
from a2py.upstream.client import ConnectError
from a2py.wires.common import threads

if TYPE_CHECKING:
    from a2py.proxy.recording import Recording

#: Statuses that mean the upstream does not implement this path.
NO_SUCH_PATH = frozenset({404, 405})


class Exchange(Generic[AnswerT]):
    """`answer`: made for this exchange; every attempt writes into it."""

    def __init__(self, services: Services, inbound: Inbound, answer: AnswerT) -> None:
        self._services = services
        self._inbound = inbound
        self.answer = answer
        self._attempt: Attempt[AnswerT] | None = None  # the latest
        self.running_attempt: Attempt[AnswerT] | None = None  # None while the request waits
        self._outcome: Outcome | None = None  # of the latest attempt, None if it got no reply
        self._trial = Trial(services.lessons)
        self._refusals = Refusals()
        self._task = asyncio.current_task()
        self._interruption: ApiError | None = None
        self._silent = -1  # index in the account's usages: the latest attempt that may have worked, and counted nothing

    @property
    def inbound(self) -> Inbound:
        return self._inbound

    async def run(self) -> StreamResponse | ApiError:
        """Return the response; an `ApiError` if nothing was sent to the client yet.

        The error is returned, not raised: where it is still referred to, its traceback would be a cycle that holds the
        whole request."""
        answer, running = self.answer, self._services.running
        running.add(self)
        try:
            answer.start()
            try:
                error = await self._ask()
            finally:
                answer.stop()
            response = answer.finish(error)
            self._record_end(error, response.status)
            return response
        finally:
            running.remove(self)
            self._estimate_unknown()

    def interrupt(self, error: ApiError) -> None:
        """Answer with `error` now, whatever this exchange waits for. Called from outside its task."""
        if self._interruption is None and self._task is not None:
            self._interruption = error
            self._task.cancel()

    async def _ask(self) -> ApiError | None:
        """Ask until the answer is complete (None), or has failed for good."""
        try:
            return await self._try_deployments()
        except ApiError as error:
            return error.with_traceback(None)
        except asyncio.CancelledError:
            if self._interruption is None or self._inbound.request.transport is None:
                raise  # the client has left
            uncancel = getattr(self._task, "uncancel", None)  # since Python 3.11
            if uncancel is not None:
                uncancel()
            return self._interruption
        except Exception as error:
            self._services.log.crash(error, self._inbound.record.id)
            return ApiError("api", INTERNAL)
        finally:
            self._task = None  # a cancelled task keeps its error, whose frames refer to this exchange (Python 3.10)

    async def _try_deployments(self) -> ApiError | None:
        services, inbound = self._services, self._inbound
        plan = services.router.plan(inbound.config, inbound.model, inbound.size, inbound.asker)
        plan.on_join = self._note_place
        plan.may_ask = partial(may_ask, inbound.config, inbound.record.account.caller)
        if inbound.is_able is not None:
            plan.keep_only(inbound.is_able)
        try:
            return await self._follow_plan(plan)
        finally:
            plan.close()
            self._record_wait(plan.waiting)

    async def _follow_plan(self, plan: Plan) -> ApiError | None:
        services, record = self._services, self._inbound.record
        self._narrow(plan)
        step: Step | None = await plan.begin()
        while step is not None:
            if step.delay:
                await asyncio.sleep(step.delay)
            step = await plan.admit(step)
            original = step.deployment
            record.attempts += 1
            refusals = self._refusals if not step.delay else Refusals()  # after a pause the same may be asked again
            attempt = self._attempt = self._new_attempt(original, refusals)
            attempt.place, attempt.grant = plan.place, plan.grant
            error = await self._run_attempt(attempt)
            if isinstance(error, AtLimit):
                record.attempts -= 1
                step = await plan.begin()
                continue
            if attempt.is_repetition:
                record.attempts -= 1
                plan.skip(step)
            else:
                result = error.kind if error else "ok"
                services.metrics.add("a2py_attempts_total", deployment=original.id, result=result)
            if error is None:
                self._trial.confirm(original)
                services.router.cooldowns.record_success(original)
                services.discovery.note_success(original)
                self._learn_from_reply(attempt, original)
                return None
            if isinstance(error, ConnectError):
                services.discovery.note_failed_connection(original)
            error.hide(original.secrets)
            step = await self._next_step(plan, attempt, original, error)
        return error

    async def _run_attempt(self, attempt: Attempt[AnswerT]) -> ApiError | None:
        """Run `attempt`, and note for the ledger what it took, also if it is cancelled. Return its error."""
        is_cut_off, is_complete = True, False
        self.running_attempt = attempt
        try:
            error = await attempt.run()
            is_cut_off, is_complete = error is not None and error.kind == "timeout", error is None
            return error
        finally:
            self._outcome, self.running_attempt = attempt.outcome, None
            self._count_usage(attempt, is_complete=is_complete, is_cut_off=is_cut_off)

    def _narrow(self, plan: Plan) -> None:
        """Leave those deployments in the plan that can answer. Raise `ApiError` if there is none."""
        raise NotImplementedError

    def _new_attempt(self, original: Deployment, refusals: Refusals) -> Attempt[AnswerT]:
        raise NotImplementedError

    def _learn(self, attempt: Attempt[AnswerT], original: Deployment, error: ApiError) -> bool:
        """Return whether `error` says what to leave out or which wire to use, so that the same deployment is worth
        another question."""
        return False

    def _learn_from_reply(self, attempt: Attempt[AnswerT], original: Deployment) -> None:
        """Note what a complete reply shows of the deployment."""

    def _learn_size(self, deployment: Deployment, input_tokens: int) -> None:
        """Note how many input tokens the upstream has counted."""

    def _judge_cache(self, usage: Usage) -> None:
        """Note what the upstream's cache held of the prompt."""

    async def _next_step(
        self, plan: Plan, attempt: Attempt[AnswerT], original: Deployment, error: ApiError
    ) -> Step | None:
        """Return what follows the failure `error`; None if it is the answer."""
        recording = self._inbound.recording
        if recording is None:
            return await self._choose_step(plan, attempt, original, error)
        recording.end_attempt(error)
        step = await self._choose_step(plan, attempt, original, error)
        if step is not None:
            notes = self._inbound.record.notes
            recording.note_retry(notes[-1] if step.is_lesson and notes else _describe_step(step, original))
        return step

    async def _choose_step(
        self, plan: Plan, attempt: Attempt[AnswerT], original: Deployment, error: ApiError
    ) -> Step | None:
        is_delivered = self.answer.is_delivered
        if not is_delivered:
            is_taught = self._learn(attempt, original, error)
            if is_taught or error.kind in CLIENT_ERRORS:
                self._refusals.note(attempt.deployment, attempt.prepared, error)
            step = plan.repeat(original) if is_taught else None
            if step is not None:
                return step
        return await plan.follow(original, error, is_delivered=is_delivered, patience=self._inbound.patience)

    def _note_place(self, place: int) -> None:
        """Note that the request waits, at `place` of the line."""
        self._inbound.record.queue = (place, 0.0)
        self.answer.set_place(place)
        if self._inbound.recording is not None:
            self._inbound.recording.begin_wait(place)

    def _record_wait(self, waiting: Waiting) -> None:
        if waiting.end:
            self._inbound.record.queue = (waiting.place, waiting.seconds)
            add = self._services.metrics.add
            add("a2py_queue_seconds_sum", waiting.seconds)
            add("a2py_queue_seconds_count", end=waiting.end)

    def _record_end(self, error: ApiError | None, status: int) -> None:
        """Fill the log's record, and let the reply teach how many tokens prompts have."""
        inbound, outcome = self._inbound, self._outcome
        if inbound.recording is not None:
            self._end_recording(inbound.recording, error, status)
        record = inbound.record
        record.status = status
        record.degraded = self.answer.degraded
        if error is not None:
            record.error = f"{error.kind}: {error.message}"
        if outcome is None:
            return
        record.notes += outcome.notes
        record.reason = "" if error or outcome.error else outcome.final_reason or outcome.reason
        usage = outcome.usage
        if usage is None:
            return
        record.spent = Spent(usage.input, usage.cache_read, usage.output, outcome.is_estimated)
        if error is None and self._attempt is not None and not self._attempt.has_hops:
            self._learn_size(self._attempt.deployment, usage.prompt)
            self._judge_cache(usage)

    def _count_usage(self, attempt: Attempt[AnswerT], *, is_complete: bool, is_cut_off: bool) -> None:
        """Note for the ledger what `attempt` took: as the upstream counted it, otherwise as much as was seen.
        `is_cut_off`: the client has left, or the time is up, so that an upstream that was silent may have worked."""
        outcome, account = attempt.outcome, self._inbound.record.account
        if outcome is None:  # refused, or nothing came
            usage, is_estimated = Usage(), is_cut_off and attempt.prepared is not None
        else:
            tokens = self._inbound.size.estimated_tokens(attempt.deployment.model)
            usage, is_estimated = outcome.measure(tokens, is_complete)
        account.usages.append((attempt.deployment, usage))
        if is_estimated:
            account.is_estimated = True
            self._silent = len(account.usages) - 1 if usage.is_empty else self._silent

    def _estimate_unknown(self) -> None:
        """Let an answer of which no attempt counted anything take its input, if an upstream may have worked on it.

        For example, the client leaves before the upstream has answered. Such an answer would cost exactly 0."""
        usages = self._inbound.record.account.usages
        if self._silent >= 0 and all(usage.is_empty for _, usage in usages):
            source = usages[self._silent][0]
            usages[self._silent] = source, Usage(input=self._inbound.size.estimated_tokens(source.model))

    def _end_recording(self, recording: Recording, error: ApiError | None, status: int) -> None:
        """Complete the recording, and write the capture if there is a directory for it."""
        services, inbound = self._services, self._inbound
        if error is not None and not recording.has_answer:
            recording.add_answer(error.body(inbound.record.id))
        recording.end()
        directory = inbound.config.settings.capture_dir
        if directory:
            from a2py.proxy.capture import Capture  # not loaded where nothing is captured

            capture = Capture(directory, inbound.record.id, recording)
            services.running.run_in_background(capture.save_in_thread(status, error, services.log))


class Conversation(Exchange[DecodedAnswer]):
    """A request to /v1/messages."""

    async def _follow_plan(self, plan: Plan) -> ApiError | None:
        if unsearched.wants_only_search(self._inbound.call.request):
            first = plan.group[0]
            if not plan.keep_only(self._can_search):
                return self._answer_unsearched(first)
        return await super()._follow_plan(plan)

    def _can_search(self, deployment: Deployment) -> bool:
        """Return whether `deployment` writes text, and can search or is served by a search tool."""
        tool = self._inbound.config.search
        has_tool = tool is not None and tool.serves(deployment.provider)
        return deployment.is_chat and not unsearched.is_unserved(self._trial.apply(deployment), has_tool=has_tool)

    def _answer_unsearched(self, deployment: Deployment) -> ApiError | None:
        """Answer a request for nothing but a search with the error of a search, without asking the model."""
        answer, record = self.answer, self._inbound.record
        record.deployment, record.upstream, record.wire = deployment.id, deployment.model, deployment.wire
        self._services.metrics.add("a2py_searches_total", tool="none", result="unavailable")
        prepared = unsearched.make_prepared()
        answer.begin_attempt(deployment, prepared)
        sink = answer.open_sink(deployment, prepared)
        outcome = self._outcome = unsearched.write(sink, self._inbound.call.request, self._inbound.call.message_id)
        return answer.complete(outcome, deployment.model)

    def _narrow(self, plan: Plan) -> None:
        request = self._inbound.call.request
        if request.has_thread:
            if not plan.keep_only(threads.carries):
                raise threads.refusal(request.model)
            plan.forgo_fallbacks()
        elif not plan.keep_only(_is_chat):
            raise ApiError(
                "not_found",
                f"model: {self._inbound.model[:100]} does not write text (its `model_info: mode` says so): it is served"
                " at OpenAI's endpoint of its kind",
                should_retry=False,
            )

    def _new_attempt(self, original: Deployment, refusals: Refusals) -> DecodedAttempt:
        deployment = self._trial.apply(original)
        return DecodedAttempt(self._services, self._inbound, self.answer, original, deployment, refusals)

    def _learn(self, attempt: Attempt[DecodedAnswer], original: Deployment, error: ApiError) -> bool:
        deployment, prepared = attempt.deployment, attempt.prepared
        if prepared is None:
            return False
        notes = self._inbound.record.notes
        wire = self._other_wire(original, deployment, error)
        if wire:
            self._trial.use(original, error, {WIRE: wire})
            notes.append(f"no {deployment.wire} wire here: asked by {wire}")
            return True
        changes = self._trial.learn(original, deployment, error, prepared.added_fields)
        if changes:
            notes.append(f"learned {','.join(changes)}")
        return bool(changes)

    def _learn_from_reply(self, attempt: Attempt[DecodedAnswer], original: Deployment) -> None:
        """Note what the reply ignored, and ask in another way from now on if there is one.

        A value that a reply has changed before is not changed again: the other one did not help either."""
        deployment, outcome = attempt.deployment, attempt.outcome
        if deployment.wire == "native" or outcome is None:
            return
        finding = judge(attempt.expectation, deployment.quirks, outcome)
        if not finding.note:
            return
        self._inbound.record.notes.append(finding.note)
        changes = {
            name: value
            for name, value in finding.changes.items()
            if name not in original.fixed_quirks and getattr(deployment.quirks, name) == getattr(original.quirks, name)
        }
        if changes:
            self._services.lessons.learn(original, changes, "reply", finding.note)

    def _other_wire(self, original: Deployment, deployment: Deployment, error: ApiError) -> str:
        """Return the wire to try instead of one that the upstream does not implement; "" if there is none, if the
        configuration chose the wire, or if this request has changed it already."""
        if error.status not in NO_SUCH_PATH or error.blame is Blame.NONE:
            return ""
        if original.wire_fixed or self._trial.has_changed_wire(original) or self._inbound.call.request.has_thread:
            return ""
        if deployment.wire != "chat":
            return "chat"
        names_responses = "/responses" in error.message  # OpenAI does (codex, pro models, 2026)
        return "responses" if names_responses and not deployment.path else ""

    def _judge_cache(self, usage: Usage) -> None:
        """Let the log say why the upstream's cache lost this conversation, if it did."""
        inbound, record = self._inbound, self._inbound.record
        if inbound.prompt is None:
            return
        turn, losses = self._services.prompts.cache_health.note(
            inbound.asker.session, inbound.prompt, inbound.arrival, f"{record.deployment} {record.upstream}", usage
        )
        if losses:
            record.notes.insert(0, f"cache lost at turn {turn}: {', '.join(losses)}")
        for reason in losses:
            self._services.metrics.add("a2py_cache_lost_total", reason=reason)

    def _learn_size(self, deployment: Deployment, input_tokens: int) -> None:
        size = self._inbound.size
        if is_cut(deployment, size.estimate, input_tokens):
            self._inbound.record.notes.append("the upstream seems to have cut the prompt to its context")
        else:
            size.learn(deployment.model, input_tokens)


def _describe_step(step: Step, original: Deployment) -> str:
    """Return why something is asked after a failure."""
    if step.deployment.id != original.id:
        return f"next: {step.deployment.id}"
    return f"again after {step.delay:.1f} s"


def _is_chat(deployment: Deployment) -> bool:
    return deployment.is_chat
