"""Run a request within what its key may take: requests, tokens, dollars.

Knows: the order of the checks, what an ended request has taken. Must not know: how each is counted (keylimits.py,
budgets.py), how a request is answered.
Invariants: a key without limits costs one look at it; whatever was reserved is settled, however the request ends;
limits and budgets are loaded when the first key that has some asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from a2py.deployment import Deployment
from a2py.errors import ApiError
from a2py.messages.types import Usage
from a2py.proxy.aiohttp_server import StreamResponse
from a2py.proxy.exchange import Exchange
from a2py.proxy.inbound import Inbound
from a2py.proxy.limits import Tokens
from a2py.proxy.log import Account, Record
from a2py.proxy.services import Services

if TYPE_CHECKING:
    from a2py.ledger.spending import Hold
    from a2py.proxy.budgets import Budgets


async def run_within(services: Services, inbound: Inbound, exchange: Exchange[Any]) -> StreamResponse | ApiError:
    """Return what `exchange` answers. Raise `ApiError` if a limit of the key is reached, or its budget is spent."""
    caller = inbound.record.account.caller
    if not caller.is_limited:
        return await exchange.run()
    deployments = inbound.config.resolve(inbound.model)
    demand = _estimate(services, inbound, deployments)
    sharing = services.router.sharing
    grant = await sharing.admit_key(caller, demand) if sharing is not None else None
    try:
        reservation = services.key_limits.reserve(caller, demand)
    except ApiError:
        if grant is not None:
            grant.cancel()
        raise
    try:
        if caller.budget is None:
            return await exchange.run()
        return await _run_within_budget(services, inbound, exchange, deployments, demand)
    finally:
        usage = _sum_up(inbound.record.account)
        reservation.settle(usage.prompt, usage.output)
        if grant is not None:
            grant.settle(usage.prompt, usage.output)
        _observe(services, inbound.record)


async def _run_within_budget(
    services: Services,
    inbound: Inbound,
    exchange: Exchange[Any],
    deployments: Sequence[Deployment],
    demand: Tokens,
) -> StreamResponse | ApiError:
    account, caller = inbound.record.account, inbound.record.account.caller
    budgets = services.books.open_budgets()
    if services.router.sharing is not None:
        budgets.share = services.router.sharing.charge_key
    prices, has_output = budgets.keeper.prices, inbound.size.has_output
    expected = Usage(input=demand.input, output=demand.max_tokens)
    cost = budgets.estimate(caller, deployments, expected, has_output=has_output)
    inbound.is_able = partial(prices.is_complete, has_output=has_output)
    try:
        hold = await budgets.reserve(caller, cost)
    except ApiError:
        if cost:
            raise
        # A model that costs nothing may be asked whatever is left.
        inbound.is_able = partial(prices.is_free, has_output=has_output)
        return await exchange.run()
    try:
        return await exchange.run()
    finally:
        budgets.settle(hold, _cost_of(budgets, account, hold))


def _cost_of(budgets: Budgets, account: Account, hold: Hold) -> float:
    """Return what the attempts of a request have cost: as the ledger has it. What it does not know costs what was
    reserved."""
    total, cost = budgets.keeper.sum_up(account.usages)
    if cost is None:
        cost = hold.cost if account.usages and not total.is_empty else 0.0
    return cost


def _estimate(services: Services, inbound: Inbound, deployments: Sequence[Deployment]) -> Tokens:
    """Return the input and the likely output of a request: the smaller of `max_tokens` and what the model usually
    gives."""
    size, input, output = inbound.size, 0, 0
    for one in deployments:
        input = max(input, size.input_tokens(one.model))
        most = min(size.max_tokens, one.max_output_tokens or size.max_tokens, services.limits.usual_output(one))
        output = max(output, most)
    return Tokens(input, output)


def _sum_up(account: Account) -> Usage:
    total = Usage()
    for _, usage in account.usages:
        total = total + usage
    return total


def _observe(services: Services, record: Record) -> None:
    """Let a complete reply count in its model's usual output. A deployment with `tpm` has done so itself."""
    account = record.account
    if account.usages and not record.error and not account.is_estimated:
        deployment, usage = account.usages[-1]
        if usage.output and not deployment.tpm:
            services.limits.observe(deployment, usage.output)
