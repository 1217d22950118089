"""How many input tokens a prompt has, before the upstream has counted them.

Two ways of counting are used. The *estimate* is cheap: every request gets one, for the usage in `message_start`. The
*count* is careful: a MiB of text takes 4 ms, so it is made only where a number decides something (token limits,
count_tokens). Both are corrected by the ratio of what upstreams have reported for earlier prompts of the same model
(`Calibration`).

Knows: both ways of counting, and which of them a request can afford. Must not know: upstreams, limits.
Invariants: a request of more than COUNTED_BYTES is never counted in one go.
"""

from __future__ import annotations

from collections.abc import Callable

from a2py.messages.count import Calibration, count, count_in_slices
from a2py.messages.types import Call, Request
from a2py.proxy.pace import Pace

#: Bytes of a request body up to which its tokens are counted in one go. A MiB of text takes 4 ms, of very short blocks
#: 50. A larger request uses its estimate.
COUNTED_BYTES = 1024 * 1024


class Sizes:
    """What replies have taught about the tokens of each model. Lives as long as the proxy. `report`: called with
    `counts` or `estimates` and the model whose calibration has changed, for other processes."""

    __slots__ = ("_pace", "counts", "estimates", "report")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.report: Callable[[str, str], object] = lambda way, model: None
        self.estimates = Calibration()
        self.counts = Calibration()

    async def count(self, request: Request, model: str) -> int:
        """Return the input tokens of `request`, counted carefully. `model` is the upstream's id, or "" if none is
        known."""
        return self.counts.apply(model, await self._pace.run(count_in_slices(request)))


class PassedSize:
    """The input tokens of a request that passes: an estimate, which no reply corrects. `max_tokens`: output that the
    client allows; `estimate`: input; `has_output`: the answer may have output tokens."""

    __slots__ = ("estimate", "has_output", "max_tokens")

    def __init__(self, estimate: int, max_tokens: int, has_output: bool = True) -> None:
        self.estimate = estimate
        self.has_output = has_output
        self.max_tokens = max_tokens

    def input_tokens(self, model: str) -> int:
        return self.estimate

    def estimated_tokens(self, model: str) -> int:
        return self.estimate

    def sample(self, model: str) -> None:
        pass

    def learn(self, model: str, input_tokens: int) -> None:
        pass


class PromptSize:
    """The input tokens of one request. Each number is computed once.

    It is the `Demand` that deployments' limits are asked with (proxy/limits.py)."""

    __slots__ = ("_count", "_request", "_sizes", "estimate")
    has_output = True

    def __init__(self, sizes: Sizes, call: Call) -> None:
        self._sizes = sizes
        self._request = call.request
        self.estimate = call.estimate
        self._count: int | None = None  # 0: not worth counting

    @property
    def max_tokens(self) -> int:
        """Output tokens that the client allows."""
        return self._request.max_tokens

    def input_tokens(self, model: str) -> int:
        """Return the input tokens for the upstream's `model`, as exactly as this request can be counted."""
        request = self._request
        if request.size > COUNTED_BYTES:
            return self.estimated_tokens(model)
        if not self._count:
            self._count = count(request)
        return self._sizes.counts.apply(model, self._count)

    def estimated_tokens(self, model: str) -> int:
        """Return the cheap estimate for the upstream's `model`."""
        return self._sizes.estimates.apply(model, self.estimate)

    def sample(self, model: str) -> None:
        """Count now, if the calibration of `model` wants another careful count. Must be called before the conversation
        is released."""
        if self._count is None:
            is_small = self._request.size <= COUNTED_BYTES
            self._count = count(self._request) if is_small and self._sizes.counts.wants(model) else 0

    def learn(self, model: str, input_tokens: int) -> None:
        """Correct later numbers for `model` by the tokens that the upstream reported for this prompt."""
        self.sample(model)
        sizes = self._sizes
        if sizes.estimates.observe(model, self.estimate, input_tokens):
            sizes.report("estimates", model)
        if self._count and sizes.counts.observe(model, self._count, input_tokens):
            sizes.report("counts", model)
