"""Budgets of keys: reserve what a request may cost before it is asked, and settle what it has cost.

A request reserves its counted input and a likely output at the model's price, in one transaction on the thread of the
ledger's writer, so that all workers see it. This module is loaded when the first key with a budget asks.

Knows: prices of deployments, the transactions (ledger/spending.py). Must not know: how tokens are counted, HTTP.
Invariants: every reservation is settled exactly once, however its request ends; while the ledger can't be written, a
key with a budget is refused, because nobody would know what it spends; nobody waits longer than WAIT_SECONDS.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol, TypeVar

from a2py.budget import Budget
from a2py.caller import Caller
from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.ledger import spending
from a2py.ledger.spending import LEASE_SECONDS, Hold, Spending
from a2py.messages.types import Usage
from a2py.proxy.bookkeeper import Bookkeeper

T = TypeVar("T")
#: Seconds to wait for a reservation.
WAIT_SECONDS = 5.0
#: Seconds between two renewals of the reservations of this process. What could not be written is tried again then.
RENEW_SECONDS = LEASE_SECONDS / 3
#: Seconds after which running requests may have released what they reserved.
RELEASE_SECONDS = 5.0


class Charge(Protocol):
    """What a running request has reserved on all machines."""

    def settle(self, cost: float, start: float) -> None: ...


#: Reserves on all machines what was reserved in the ledger: (hold, what this ledger had spent and reserved before, name
#: of the ledger, now). Raises `ApiError` if all machines together have spent the budget.
Share = Callable[[Hold, Spending, str, float], Coroutine[Any, Any, "Charge | None"]]


class _Open:
    """A reservation that is not settled. `cost`: of its request, None as long as it runs; `is_queued`: its settlement
    is on its way to the file."""

    __slots__ = ("charge", "cost", "hold", "is_queued")

    def __init__(self, hold: Hold, charge: Charge | None = None) -> None:
        self.hold = hold
        self.charge = charge  # what counts on all machines
        self.cost: float | None = None
        self.is_queued = False


class Budgets:
    """`keeper`: of the ledger; `now`: seconds since the epoch; `share`: None if only this machine counts."""

    def __init__(self, keeper: Bookkeeper, now: Callable[[], float] = time.time) -> None:
        self.keeper = keeper
        self._now = now
        self._process = os.urandom(8).hex()
        self._count = 0
        self._open: dict[str, _Open] = {}  # by id: what the file has reserved, or may have
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.share: Share | None = None
        self._ledger = ""

    @property
    def open_count(self) -> int:
        """How many reservations are not settled."""
        return len(self._open)

    def estimate(
        self, caller: Caller, deployments: Sequence[Deployment], usage: Usage, *, has_output: bool = True
    ) -> float:
        """Return what `usage` costs at the dearest of `deployments` that have a price. Raise `ApiError` if none has
        one: a request without a price would make a budget mean nothing. `has_output`: of `PriceList.is_complete`."""
        keeper = self.keeper
        able = [one for one in deployments if keeper.prices.is_complete(one, has_output=has_output)]
        costs = [cost for one in able if (cost := keeper.cost(one, usage)) is not None]
        if not costs:
            raise ApiError(
                "permission",
                f"The key {caller.name} has a budget, and the price of {deployments[0].name[:100]!r} is not known: set"
                " `input_cost_per_token` and `output_cost_per_token` for it in `a2py: prices:` (0 if it costs nothing)",
                should_retry=False,
            )
        return max(costs)

    async def reserve(self, caller: Caller, cost: float) -> Hold:
        """Reserve `cost` US dollars for a request of `caller`. Raise `ApiError` if its budget is spent."""
        assert caller.budget is not None
        self._count += 1
        hold = Hold(f"{self._process}-{self._count}", caller.name, caller.budget, cost)
        now = self._now()
        future = self.keeper.writer.submit(partial(spending.reserve, hold=hold, now=now))
        try:
            before = await _wait(future)
        except BaseException as error:
            if not future.cancel() and (not future.done() or future.exception() is None):
                self._open[hold.id] = _Open(hold)  # it has been written, or will be
                self.settle(hold, 0.0)
            if not isinstance(error, Exception):
                raise  # the client has left
            raise self._explain_trouble(caller, error) from None
        if not spending.has_room(caller.budget, before):
            raise refuse(caller.name, caller.budget, before, now)
        one = self._open[hold.id] = _Open(hold)
        self._begin_renewals()
        if self.share is not None:
            try:
                one.charge = await self.share(hold, before, await self._identify(caller), now)
            except BaseException:
                self.settle(hold, 0.0)
                raise
        return hold

    async def _identify(self, caller: Caller) -> str:
        """Return the name of this machine's ledger. Raise `ApiError` if it can't be read."""
        if not self._ledger:
            try:
                self._ledger = await _wait(self.keeper.writer.submit(spending.identify))
            except Exception as error:
                raise self._explain_trouble(caller, error) from None
        return self._ledger

    def _explain_trouble(self, caller: Caller, error: BaseException) -> ApiError:
        return ApiError(
            "api",
            f"The budget of the key {caller.name} can't be checked, because the ledger can't be written"
            f" ({self.keeper.explain(error)}). Ask again; if it lasts, ask the owner of this proxy to read its log.",
            status=503,
            retry_after=RELEASE_SECONDS,
        )

    def settle(self, hold: Hold, cost: float) -> None:
        """Replace what is reserved by what the request has cost. Only the first call counts."""
        one = self._open.get(hold.id)
        if one is not None and one.cost is None:
            one.cost = cost
            if one.charge is not None:
                one.charge.settle(cost, hold.budget.find_start(self._now()))
            self._submit_settlement(one)
            self._begin_renewals()

    def _submit_settlement(self, one: _Open) -> None:
        one.is_queued = True
        job = partial(spending.settle, hold=one.hold, cost=one.cost or 0.0, now=self._now())
        self.keeper.writer.submit(job).add_done_callback(partial(self._note_settled, one))

    def _note_settled(self, one: _Open, future: Future[Any]) -> None:
        """Forget a reservation that is settled. One that could not be written is tried again later. This is called in
        the writer's thread."""
        if future.exception() is None:
            self._open.pop(one.hold.id, None)
        else:
            one.is_queued = False

    def _begin_renewals(self) -> None:
        if self._timer is None and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew)

    def _renew(self) -> None:
        """Renew what is reserved, and write again what could not be settled."""
        self._timer = None
        holds = list(self._open.values())
        if not holds:
            return
        running = [one.hold.id for one in holds if one.cost is None]
        if running:
            self.keeper.writer.submit(partial(spending.renew, ids=running, now=self._now()))
        for one in holds:
            if one.cost is not None and not one.is_queued:
                self._submit_settlement(one)
        self._begin_renewals()

    def close(self) -> None:
        """Renew nothing any more. What still runs is settled, if the ledger's writer still writes."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _wait(future: Future[T]) -> T:
    """Return the result of `future` within WAIT_SECONDS, else raise asyncio.TimeoutError. The future goes on.

    Not `asyncio.wait_for`: before Python 3.12 it forgets that it was cancelled, if the result comes at that moment."""
    waiter = asyncio.wrap_future(future)
    waiter.add_done_callback(_retrieve)
    done, _ = await asyncio.wait([waiter], timeout=WAIT_SECONDS)
    if not done:
        raise asyncio.TimeoutError
    return waiter.result()


def _retrieve(waiter: asyncio.Future[Any]) -> None:
    """Look at the error of a future that nobody may wait for any more, so that asyncio does not log it."""
    if not waiter.cancelled():
        waiter.exception()


def refuse(name: str, budget: Budget, before: Spending, now: float) -> ApiError:
    """Return the error for a key that has nothing left: until when, or that running requests hold the rest."""
    end = budget.find_end(now)
    cure = "Ask the owner of this proxy for a larger one (`budget` in keys.yaml)."
    renewal = "It does not renew." if math.isinf(end) else f"It renews at {_format_time(end)} UTC."
    if before.spent >= budget.amount:
        return ApiError(
            "billing",
            f"The key {name} has spent its budget of {budget} (US dollars): {before.spent:.4f}. {renewal} {cure}",
            should_retry=False,
        )
    return ApiError(
        "rate_limit",
        f"The key {name} has spent {before.spent:.4f} of its budget of {budget} (US dollars), and its running requests"
        f" have reserved the rest. Ask again in {RELEASE_SECONDS:.0f} s. {renewal}",
        retry_after=RELEASE_SECONDS,
    )


def _format_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
