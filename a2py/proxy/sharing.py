"""Share limits with other processes, over Redis. Loaded only if the configuration names one.

Knows: which parts are shared, and how they are put together. Must not know: how Redis is asked.
Invariants: nothing waits for Redis to start or to end.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from a2py.caller import Caller
from a2py.proxy.admission import Admission
from a2py.proxy.discovery import Discovery
from a2py.proxy.limits import ROOM_SECONDS, SharedGrant, Tokens, fit_output
from a2py.proxy.log import Log
from a2py.proxy.news import News
from a2py.proxy.router import Router
from a2py.proxy.shared_line import SharedLine
from a2py.proxy.shared_news import SharedNews
from a2py.proxy.shared_plan import SharedPlan
from a2py.shared.store import Store
from a2py.shared.subject import PARALLEL, RPM, TPM, Ask, Subject, make_id

if TYPE_CHECKING:
    from a2py.config import Config
    from a2py.config.redis import RedisAddress
    from a2py.ledger.spending import Hold, Spending
    from a2py.shared.purse import Charge, Purses


class Sharing:
    """Needs a running loop, and begins to share at once."""

    def __init__(self, address: RedisAddress, router: Router, log: Log) -> None:
        self._address = address
        self._log = log
        self.store = Store(address.url, address.options, log, address.keys)
        self._line = router.line = SharedLine(router.limits.places)
        self._admission = Admission(self.store, router.limits)
        router.make_plan = partial(SharedPlan, self._admission, self._line)
        self._config: Config
        self.store.start()

    def renew(self, config: Config) -> None:
        """Know what others use of the limits of `config`, too. Another Redis needs a restart."""
        self._config = config
        self.store.mirror.watch(self._admission.list_ids(config.deployments))
        if config.redis != self._address:
            self._log.warning("another Redis is used after a restart only: run a2py restart")

    def join_workers(self, number: int, count: int) -> None:
        """Know of the other workers of this machine, in case Redis does not answer from the start."""
        self.store.mirror.assume(count, number)

    def exchange_news(self, news: News, discovery: Discovery) -> None:
        """Tell the others what this process learns, and learn from them."""
        SharedNews(self.store, news, discovery, lambda: [one.base for one in self._config.deployments])

    async def admit_key(self, caller: Caller, demand: Tokens) -> SharedGrant | None:
        """Count a request of a key, None if the key has no limits. Raise `ApiError` if one is reached."""
        if not (caller.rpm or caller.tpm or caller.max_parallel):
            return None
        subject = Subject(make_id("k", caller.name), caller.rpm, caller.tpm, caller.max_parallel)
        output = fit_output(demand.max_tokens, caller.tpm - demand.input)
        verdict = await self.store.take([(Ask(subject, demand.input, output) if caller.tpm else Ask(subject),)])
        if verdict.grant is not None:
            return verdict.grant
        from a2py.proxy.keylimits import refuse  # not loaded where no key has limits

        refusal = verdict.refusals[0]
        value = {RPM: caller.rpm, TPM: caller.tpm}.get(refusal.limit, caller.max_parallel)
        limit = "max_parallel" if refusal.limit == PARALLEL else refusal.limit
        raise refuse(caller, refusal.seconds or ROOM_SECONDS, f"{limit} {value}")

    @cached_property
    def _purses(self) -> Purses:
        from a2py.shared.purse import Purses  # not loaded where no key has a budget

        return Purses(self.store)

    async def charge_key(self, hold: Hold, before: Spending, ledger: str, now: float) -> Charge | None:
        """Reserve on all machines what this machine's ledger has reserved. Raise `ApiError` if all together have spent
        the key's budget."""
        from a2py.ledger.spending import Spending
        from a2py.proxy.budgets import refuse

        budget = hold.budget
        id, start = make_id("m", hold.key, budget.period), budget.find_start(now)
        total = await self._purses.reserve(id, ledger, start, budget.amount, before.spent, hold.cost)
        if not total.has_room:
            raise refuse(hold.key, budget, Spending(total.spent, total.reserved), now)
        return total.charge

    def report(self) -> dict[str, Any]:
        """Return what `/health` says of it. `processes`: as many as there were when Redis last answered."""
        return {"redis": self._address.label, "is_up": self.store.is_up, "processes": self.store.mirror.count}

    async def close(self) -> None:
        await self._line.close()
        await self.store.close()
